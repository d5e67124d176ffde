import { writeDelete, writeDrop } from '../../src/namespace/index.ts'
import type { Artifact, ArtifactApi } from '../client.ts'
import { checked, shapes } from './arguments.ts'
import { createArtifact, createSnippet, uploadFile } from './create.ts'
import { download, downloadFile, downloadStream } from './downloads.ts'
import type { LocalEnvironment } from './environment.ts'
import { createListing } from './listing.ts'
import { type Found, findById, findByName, saltOf } from './lookup.ts'
import type { LocalNamespaces } from './namespaces.ts'
import { presentArtifact, presentVersion } from './present.ts'
import { updateArtifact } from './update.ts'

/** The artifact calls over this process's own namespaces. */
export function createArtifactApi(env: LocalEnvironment, namespaces: LocalNamespaces): ArtifactApi {
  return {
    create: async (options) =>
      present(await createArtifact(env, namespaces, checked('create', shapes.create, options))),
    uploadFile: async (options) =>
      present(await uploadFile(env, namespaces, checked('uploadFile', shapes.uploadFile, options))),
    createSnippet: async (options) =>
      present(await createSnippet(env, namespaces, checked('createSnippet', shapes.createSnippet, options))),
    update: async (options) =>
      present(await updateArtifact(env, namespaces, checked('update', shapes.update, options))),
    async get(options) {
      const call = checked('get', shapes.get, options)
      return present('artifactId' in call ? await findById(namespaces, call) : await findByName(namespaces, call))
    },
    async download(options) {
      const call = checked('download', shapes.download, options)
      return await download(env, await findById(namespaces, call), call)
    },
    async *downloadStream(options) {
      const call = checked('downloadStream', shapes.download, options)
      yield* downloadStream(env, await findById(namespaces, call), call)
    },
    async downloadFile(options) {
      const call = checked('downloadFile', shapes.downloadFile, options)
      const found = await findById(namespaces, call)
      await downloadFile(env, found, call)
      return present(found)
    },
    list: (options) =>
      createListing(async (next) => {
        const { namespace, cursor, ...query } = checked('list', shapes.list, options)
        const { log } = namespaces.find(namespace)
        const page = { ...query, cursor: next ?? cursor } as Parameters<typeof log.catalog.list>[0]
        const { items, nextCursor } = await log.catalog.list(page)
        return { items: items.map((record) => presentArtifact(log.idText, record)), nextCursor }
      }),
    listVersions: (options) =>
      createListing(async (next) => {
        const { cursor, limit, signal, ...ref } = checked('listVersions', shapes.listVersions, options)
        const { namespace, record } = await findById(namespaces, ref)
        const { log } = namespace
        const page = { limit, cursor: next ?? cursor, signal }
        const { items, nextCursor } = await log.catalog.listVersions(record.artifact, page)
        return { items: items.map((version) => presentVersion(log.idText, version)), nextCursor }
      }),
    async delete(options) {
      const found = await findById(namespaces, checked('delete', shapes.artifact, options))
      await writeDelete(found.namespace.log, { artifact: found.record.artifact, salt: await saltOf(found) })
    },
    async deleteVersion(options) {
      const { version, ...ref } = checked('deleteVersion', shapes.version, options)
      const found = await findById(namespaces, ref)
      await writeDrop(found.namespace.log, { artifact: found.record.artifact, salt: await saltOf(found) }, version)
    },
  }
}

function present({ namespace, record }: Found): Artifact {
  return presentArtifact(namespace.log.idText, record)
}
