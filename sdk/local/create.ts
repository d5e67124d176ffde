import { validateName } from '../../src/catalog/index.ts'
import { artifactSaltBytes, toHex } from '../../src/encoding/index.ts'
import { maxInlineBytes } from '../../src/limits.ts'
import {
  leafRowChanges,
  loadUpload,
  type PendingUpload,
  pendingUploadKey,
  putUpload,
  writeFirstVersion,
} from '../../src/namespace/index.ts'
import type { KeyValueChange } from '../../src/storage/index.ts'
import type { OnProgress } from '../client.ts'
import { guessContentType } from './content-type.ts'
import { type Content, dataContent, fileContent } from './data-source.ts'
import { type Description, describe, named, type RawDescription, snippetOf } from './description.ts'
import type { LocalEnvironment, SourceFile } from './environment.ts'
import type { Found } from './lookup.ts'
import type { OpenNamespace } from './namespace-book.ts'
import type { LocalNamespaces } from './namespaces.ts'
import { holdContent } from './store-content.ts'

/** `artifact.create`. */
export async function createArtifact(
  env: LocalEnvironment,
  namespaces: LocalNamespaces,
  options: RawDescription & { data?: unknown; onProgress?: OnProgress | undefined },
): Promise<Found> {
  const description = named(describe(options))
  const content = dataContent(options.data)
  const namespace = namespaces.find(options.namespace)
  return await namespaces.during(namespace, () =>
    storeFirst(env, namespace, description, content, newUpload(env, namespace), [], options),
  )
}

/** `artifact.createSnippet`. */
export async function createSnippet(
  env: LocalEnvironment,
  namespaces: LocalNamespaces,
  options: RawDescription & { content?: unknown },
): Promise<Found> {
  const description = named(describe(options))
  const snippet = snippetOf(options.content, description)
  const namespace = namespaces.find(options.namespace)
  return await namespaces.during(namespace, () =>
    storeFirst(env, namespace, snippet.description, snippet.content, newUpload(env, namespace), [], options),
  )
}

/** `artifact.uploadFile`. Run again after an interruption, it stores only what is missing. */
export async function uploadFile(
  env: LocalEnvironment,
  namespaces: LocalNamespaces,
  options: RawDescription & { path: string; onProgress?: OnProgress | undefined },
): Promise<Found> {
  const given = describe(options)
  const namespace = namespaces.find(options.namespace)
  await using file = await env.files.openSource(options.path)
  const description = named({ ...given, name: given.name ?? validateName(file.name) })
  namespace.quota.checkFile(file.sizeBytes)
  const rowKey = pendingUploadKey(namespace.log, description.name, file.path)
  const mark = toHex(rowKey)
  const content = fileContent(file)
  if (namespace.uploading.has(mark)) {
    return await namespaces.during(namespace, () =>
      storeFirst(env, namespace, description, content, newUpload(env, namespace), [], options, file),
    )
  }
  namespace.uploading.add(mark)
  try {
    let upload = await loadUpload(namespace.log, rowKey)
    if (upload === undefined) {
      upload = newUpload(env, namespace)
      // What fits its entry leaves nothing behind when it is interrupted.
      if (file.sizeBytes > maxInlineBytes)
        await env.store.batch([putUpload(rowKey, upload, env.now())], { sync: false })
    }
    const found = upload
    const done: KeyValueChange[] = [{ type: 'del', key: rowKey }]
    return await namespaces.during(namespace, () =>
      storeFirst(env, namespace, description, content, found, done, options, file),
    )
  } finally {
    namespace.uploading.delete(mark)
  }
}

async function storeFirst(
  env: LocalEnvironment,
  namespace: OpenNamespace,
  description: Description & { name: string },
  content: Content,
  upload: PendingUpload,
  done: readonly KeyValueChange[],
  options: { signal?: AbortSignal | undefined; onProgress?: OnProgress | undefined },
  file?: SourceFile,
): Promise<Found> {
  await using held = await holdContent(env, namespace, upload.key, content, true, options, file)
  const { name, metadata = {} } = description
  const contentType = description.contentType ?? (await guessContentType(name, held.head))
  const rows = await leafRowChanges(namespace.log, upload, held.content)
  options.signal?.throwIfAborted()
  const record = await writeFirstVersion(namespace.log, {
    handle: upload,
    wrap: upload.wrap,
    isNew: upload.isNew,
    state: { name, contentType, metadata },
    content: held.content,
    quota: namespace.quota,
    reservation: held.reservation,
    also: [...done, ...rows],
  })
  return { namespace, record }
}

function newUpload(env: LocalEnvironment, { log }: OpenNamespace): PendingUpload {
  const salt = env.random(artifactSaltBytes)
  const artifact = log.artifactOf(salt)
  const key = log.artifactKeys.fresh(artifact)
  return { salt, artifact, key, wrap: log.artifactKeys.wrap(key, artifact), isNew: true }
}
