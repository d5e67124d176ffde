import { writeDelete, writeDrop } from '../../src/namespace/index.ts'
import type { Artifact, ArtifactApi, CallOptions } from '../client.ts'
import type { ReplicaOptions, WrittenArtifact } from '../peer-client.ts'
import { checked, shapes } from './arguments.ts'
import { createArtifact, createSnippet, uploadFile } from './create.ts'
import { download, downloadFile, downloadStream } from './downloads.ts'
import { createListing } from './listing.ts'
import { type Found, findById, findByName, saltOf } from './lookup.ts'
import type { OpenCalls } from './open-calls.ts'
import { presentArtifact, presentVersion } from './present.ts'
import { confirmReplicas } from './replication/confirm-replicas.ts'
import type { Replication } from './replication/replication.ts'
import { updateArtifact } from './update.ts'

/** The artifact calls over this process's own namespaces. */
export function createArtifactApi({ env, namespaces, holdings }: Replication, calls: OpenCalls): ArtifactApi {
  const confirming = { ...env, self: env.agent.publicKey, holdings }
  const written = async (found: Found, call: ReplicaOptions & CallOptions): Promise<WrittenArtifact> => {
    const replicas = await confirmReplicas(confirming, found, call)
    return replicas === undefined ? present(found) : { ...present(found), replicas }
  }
  return {
    create: async (options) =>
      await calls.run(checked('create', shapes.create, options), async (call) =>
        written(await createArtifact(env, namespaces, call), call),
      ),
    uploadFile: async (options) =>
      await calls.run(checked('uploadFile', shapes.uploadFile, options), async (call) =>
        written(await uploadFile(env, namespaces, call), call),
      ),
    createSnippet: async (options) =>
      await calls.run(checked('createSnippet', shapes.createSnippet, options), async (call) =>
        written(await createSnippet(env, namespaces, call), call),
      ),
    update: async (options) =>
      await calls.run(checked('update', shapes.update, options), async (call) =>
        written(await updateArtifact(env, namespaces, call), call),
      ),
    get: async (options) =>
      await calls.run(checked('get', shapes.get, options), async (call) =>
        present('artifactId' in call ? await findById(namespaces, call) : await findByName(namespaces, call)),
      ),
    download: async (options) =>
      await calls.run(checked('download', shapes.download, options), async (call) => {
        const found = await findById(namespaces, call)
        return await namespaces.during(found.namespace, () => download(env, found, call))
      }),
    async *downloadStream(options) {
      yield* calls.stream(checked('downloadStream', shapes.download, options), async function* (call) {
        const found = await findById(namespaces, call)
        try {
          yield* downloadStream(env, found, call)
        } catch (error) {
          throw await namespaces.reasonOf(found.namespace, error)
        }
      })
    },
    downloadFile: async (options) =>
      await calls.run(checked('downloadFile', shapes.downloadFile, options), async (call) => {
        const found = await findById(namespaces, call)
        await namespaces.during(found.namespace, () => downloadFile(env, found, call))
        return present(found)
      }),
    list: (options) =>
      createListing(
        async (next) =>
          await calls.run(checked('list', shapes.list, options), async ({ namespace, cursor, ...query }) => {
            const { log } = namespaces.find(namespace)
            const page = { ...query, cursor: next ?? cursor } as Parameters<typeof log.catalog.list>[0]
            const { items, nextCursor } = await log.catalog.list(page)
            return { items: items.map((record) => presentArtifact(log.idText, record)), nextCursor }
          }),
      ),
    listVersions: (options) =>
      createListing(
        async (next) =>
          await calls.run(checked('listVersions', shapes.listVersions, options), async ({ cursor, limit, ...ref }) => {
            const { namespace, record } = await findById(namespaces, ref)
            const { log } = namespace
            const page = { limit, cursor: next ?? cursor, signal: ref.signal }
            const { items, nextCursor } = await log.catalog.listVersions(record.artifact, page)
            return { items: items.map((version) => presentVersion(log.idText, version)), nextCursor }
          }),
      ),
    delete: async (options) =>
      await calls.run(checked('delete', shapes.artifact, options), async (call) => {
        const found = await findById(namespaces, call)
        const { namespace, record } = found
        await namespaces.during(namespace, async () => {
          await writeDelete(namespace.log, { artifact: record.artifact, salt: await saltOf(found) })
        })
      }),
    deleteVersion: async (options) =>
      await calls.run(checked('deleteVersion', shapes.version, options), async ({ version, ...ref }) => {
        const found = await findById(namespaces, ref)
        const { namespace, record } = found
        await namespaces.during(namespace, async () => {
          await writeDrop(namespace.log, { artifact: record.artifact, salt: await saltOf(found) }, version)
        })
      }),
  }
}

function present({ namespace, record }: Found): Artifact {
  return presentArtifact(namespace.log.idText, record)
}
