import { sealInline } from '../../../src/content/index.ts'
import { artifactSaltBytes, formatGroupId } from '../../../src/encoding/index.ts'
import { maxLabelBytes } from '../../../src/limits.ts'
import { writeFirstVersion } from '../../../src/namespace/index.ts'
import type { OpenNamespace } from '../namespaces.ts'

const contentType = 'application/vnd.artifact-hub.group'

/** What a group is called here until its own name is known. */
export function placeholderName(group: Uint8Array): string {
  return formatGroupId(group).slice(0, 12)
}

/** Writes a group's name into its log, for its members: a record that bears it. */
export async function writeGroupName({ log, quota }: OpenNamespace, name: string): Promise<void> {
  const salt = log.env.random(artifactSaltBytes)
  const artifact = log.artifactOf(salt)
  const key = log.newArtifactKey(artifact)
  const { leaf, sha256, ...root } = sealInline(new Uint8Array(0), key.content)
  await writeFirstVersion(log, {
    handle: { artifact, salt, key },
    wrap: undefined,
    isNew: true,
    state: { name, contentType, metadata: {} },
    content: { root: { ...root, inline: true, keyId: key.id }, sha256, leaf },
    quota,
    reservation: undefined,
    also: [],
  })
}

/** The name that a group's log says, if this agent can read it: the newest. */
export async function readGroupName({ log }: OpenNamespace): Promise<string | undefined> {
  const { items } = await log.catalog.list({ contentType, limit: 1 })
  const name = items[0]?.state.name
  // Any member may have written it.
  return name !== undefined && Buffer.byteLength(name) <= maxLabelBytes ? name : undefined
}
