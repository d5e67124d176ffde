import { formatArtifactId, formatGroupId, toHex } from '../../../src/encoding/index.ts'
import { formatDid } from '../../../src/identity/index.ts'
import type { InboxApi, InboxRequest } from '../../sharing-client.ts'
import { checked, shapes } from '../arguments.ts'
import { placeholderName } from '../groups/group-name.ts'
import type { OpenCalls } from '../open-calls.ts'
import type { OpenRequest } from './inbox.ts'
import type { Sharing } from './sharing.ts'

/** The inbox calls of a client in this process. */
export function createInboxApi({ inbox }: Sharing, calls: OpenCalls): InboxApi {
  return {
    list: async (options) =>
      await calls.run(checked('inbox.list', shapes.nothing, options), async () => (await inbox.list()).map(present)),
    accept: async (options) =>
      await calls.run(
        checked('inbox.accept', shapes.request, options),
        async ({ id, signal }) => await inbox.accept(fromHex(id), signal),
      ),
    drop: async (options) =>
      await calls.run(checked('inbox.drop', shapes.request, options), async ({ id }) => await inbox.drop(fromHex(id))),
  }
}

function present(request: OpenRequest): InboxRequest {
  const { name, sender, receivedMs } = request
  const common = { id: toHex(name), from: formatDid(sender), receivedAt: new Date(receivedMs) }
  const nothing = { artifactId: undefined, contentType: undefined, sizeBytes: undefined, message: undefined }
  if (request.group !== undefined) {
    const group = formatGroupId(request.group)
    return { ...common, ...nothing, kind: 'group', name: placeholderName(request.group), group }
  }
  const { content } = request
  return {
    ...common,
    kind: 'share',
    name: content.name,
    group: undefined,
    artifactId: formatArtifactId(content.capability.claims.artifact),
    contentType: content.contentType,
    sizeBytes: content.sizeBytes,
    message: content.message,
  }
}

function fromHex(id: string): Uint8Array {
  return new Uint8Array(Buffer.from(id, 'hex'))
}
