import {
  type ArtifactState,
  type VersionRecord,
  validateContentType,
  validateMetadata,
  validateName,
} from '../../src/catalog/index.ts'
import { artifactSaltBytes, toHex } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import { maxInlineBytes } from '../../src/limits.ts'
import {
  loadUpload,
  type PendingUpload,
  pendingUploadKey,
  putUpload,
  type StoredContent,
  writeFirstVersion,
  writeNextVersion,
} from '../../src/namespace/index.ts'
import type { KeyValueChange } from '../../src/storage/index.ts'
import type { OnProgress } from '../client.ts'
import { guessContentType } from './content-type.ts'
import { openData } from './data-source.ts'
import type { LocalEnvironment, SourceFile } from './environment.ts'
import { type Found, findById, saltOf } from './lookup.ts'
import type { LocalNamespaces, OpenNamespace } from './namespaces.ts'
import { ProgressMeter } from './progress.ts'
import { type HeldContent, storeContent } from './store-content.ts'

const textEncoder = new TextEncoder()

/** Options whose values nobody has looked at yet. */
interface RawDescription {
  readonly name?: unknown
  readonly contentType?: unknown
  readonly metadata?: unknown
  readonly namespace?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/** A description as given, checked. */
interface Description {
  readonly name: string | undefined
  readonly contentType: string | undefined
  readonly metadata: ArtifactState['metadata'] | undefined
}

interface Content {
  readonly source: Parameters<typeof storeContent>[1]['source']
  readonly sizeBytes: number | undefined
}

/** `artifact.create`. */
export async function createArtifact(
  env: LocalEnvironment,
  namespaces: LocalNamespaces,
  options: RawDescription & { data?: unknown; onProgress?: OnProgress | undefined },
): Promise<Found> {
  const description = named(describe(options))
  const content = dataContent(options.data)
  const namespace = namespaces.find(options.namespace)
  return await storeFirst(env, namespace, description, content, newUpload(env, namespace), [], options)
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
  return await storeFirst(env, namespace, snippet.description, snippet.content, newUpload(env, namespace), [], options)
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
    return await storeFirst(env, namespace, description, content, newUpload(env, namespace), [], options, file)
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
    const done: KeyValueChange[] = [{ type: 'del', key: rowKey }]
    return await storeFirst(env, namespace, description, content, upload, done, options, file)
  } finally {
    namespace.uploading.delete(mark)
  }
}

/** `artifact.update`. */
export async function updateArtifact(
  env: LocalEnvironment,
  namespaces: LocalNamespaces,
  options: RawDescription & {
    artifactId: string
    data?: unknown
    path?: string | undefined
    content?: unknown
    restore?: number | string | undefined
    expectedVersion?: number | string | undefined
    onProgress?: OnProgress | undefined
  },
): Promise<Found> {
  const given = describe(options)
  const sources = (['data', 'path', 'content', 'restore'] as const).filter((name) => options[name] !== undefined)
  if (sources.length > 1) {
    throw new ArtifactHubError(
      'INVALID_ARGUMENT',
      `update takes one of data, path, content and restore, not ${sources.join(' and ')}`,
    )
  }
  const { namespace, record } = await findById(namespaces, options)
  const salt = await saltOf({ namespace, record })
  const key = await namespace.log.artifactKey(record.artifact, record.root.keyId)
  const handle = { artifact: record.artifact, salt, key }
  const { restore, expectedVersion } = options
  if (restore !== undefined) return await restoreVersion({ namespace, record }, handle, given, restore, expectedVersion)
  if (sources.length === 0 && Object.values(given).every((value) => value === undefined)) {
    throw new ArtifactHubError(
      'INVALID_ARGUMENT',
      'update needs something to change: data, path, content, restore, name, contentType or metadata',
    )
  }
  await using file = options.path === undefined ? undefined : await env.files.openSource(options.path)
  const content = file === undefined ? updatedContent(options, given, record) : fileContent(file)
  await using held =
    content === undefined ? undefined : await hold(env, namespace, handle.key, content, false, options, file)
  // Under its old name an artifact keeps its type; a new name with new content is as good as a new artifact.
  const guessed =
    held === undefined || given.name === undefined ? undefined : await guessContentType(given.name, held.head)
  const next = await writeNextVersion(namespace.log, {
    handle,
    expectedVersion,
    quota: namespace.quota,
    reservedBytes: held?.reservedBytes ?? 0,
    next: (current) => ({
      state: {
        name: given.name ?? current.state.name,
        contentType: given.contentType ?? guessed ?? current.state.contentType,
        metadata: given.metadata ?? current.state.metadata,
      },
      content: held?.content,
    }),
  })
  return { namespace, record: next }
}

async function restoreVersion(
  found: Found,
  handle: Parameters<typeof writeNextVersion>[1]['handle'],
  given: Description,
  restore: number | string,
  expectedVersion: number | string | undefined,
): Promise<Found> {
  const { namespace } = found
  const old = await findVersion(found, restore)
  const leaf = old.root.inline ? await namespace.log.blocks.read(old.root.digest) : undefined
  if (old.root.inline && leaf === undefined)
    throw new ArtifactHubError('UNAVAILABLE', `the content of version ${restore} is not here`)
  const content: StoredContent = { root: old.root, sha256: old.state.sha256, leaf }
  const { sha256: _, ...state } = { ...old.state, metadata: old.state.metadata }
  const next = { state: withGiven(state, given), content }
  const options = { handle, expectedVersion, quota: namespace.quota, reservedBytes: 0, next: () => next }
  return { namespace, record: await writeNextVersion(namespace.log, options) }
}

async function findVersion({ namespace, record }: Found, version: number | string): Promise<VersionRecord> {
  const found = await namespace.log.catalog.get(record.artifact, version)
  if (found !== undefined) return found
  throw new ArtifactHubError('NOT_FOUND', `there is no version ${version} to restore`, { details: { version } })
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
  await using held = await hold(env, namespace, upload.key, content, true, options, file)
  const { name, metadata = {} } = description
  const contentType = description.contentType ?? (await guessContentType(name, held.head))
  options.signal?.throwIfAborted()
  const record = await writeFirstVersion(namespace.log, {
    handle: upload,
    wrap: upload.wrap,
    state: { name, contentType, metadata },
    content: held.content,
    quota: namespace.quota,
    reservedBytes: held.reservedBytes,
    also: done,
  })
  return { namespace, record }
}

async function hold(
  env: LocalEnvironment,
  namespace: OpenNamespace,
  key: PendingUpload['key'],
  { source, sizeBytes }: Content,
  isNew: boolean,
  { signal, onProgress }: { signal?: AbortSignal | undefined; onProgress?: OnProgress | undefined },
  file?: SourceFile,
): Promise<HeldContent> {
  const meter = new ProgressMeter(onProgress, sizeBytes, env.monotonic)
  const held = await storeContent(env, { namespace, key, source, sizeBytes, isNew, meter, signal })
  try {
    // Files in /proc say that they are empty; more than what was announced is not read to its end.
    if (sizeBytes !== undefined && held.content.root.sizeBytes !== sizeBytes) {
      throw new ArtifactHubError('SOURCE_FAILED', `the data is not the ${sizeBytes} bytes that it said it was`, {
        details: { sizeBytes },
      })
    }
    await file?.checkUnchanged()
    signal?.throwIfAborted()
    return held
  } catch (error) {
    await held[Symbol.asyncDispose]()
    throw error
  }
}

function newUpload(env: LocalEnvironment, { log }: OpenNamespace): PendingUpload {
  const salt = env.random(artifactSaltBytes)
  const artifact = log.artifactOf(salt)
  const key = log.newArtifactKey(artifact)
  return { salt, artifact, key, wrap: log.wrap(key, artifact) }
}

function dataContent(data: unknown): Content {
  const { pieces, sizeBytes } = openData(data)
  return { source: pieces, sizeBytes }
}

function fileContent(file: SourceFile): Content {
  return { source: file, sizeBytes: file.sizeBytes }
}

function updatedContent(
  options: { data?: unknown; content?: unknown },
  given: Description,
  record: VersionRecord,
): Content | undefined {
  if (options.data !== undefined) return dataContent(options.data)
  if (options.content === undefined) return undefined
  return snippetOf(options.content, { ...given, name: given.name ?? record.state.name }).content
}

function describe(options: RawDescription): Description {
  return {
    name: options.name === undefined ? undefined : validateName(options.name),
    contentType: options.contentType === undefined ? undefined : validateContentType(options.contentType),
    metadata: options.metadata === undefined ? undefined : validateMetadata(options.metadata),
  }
}

function named(description: Description): Description & { name: string } {
  const { name } = description
  if (name === undefined)
    throw new ArtifactHubError('INVALID_ARGUMENT', 'name is missing', { details: { option: 'name' } })
  return { ...description, name }
}

function withGiven(state: Omit<ArtifactState, 'sha256'>, given: Description): Omit<ArtifactState, 'sha256'> {
  return {
    name: given.name ?? state.name,
    contentType: given.contentType ?? state.contentType,
    metadata: given.metadata ?? state.metadata,
  }
}

/** A snippet's text and what it is: a string as it stands, anything else as JSON. */
function snippetOf(
  content: unknown,
  description: Description & { name: string },
): { description: typeof description; content: Content } {
  if (content === undefined)
    throw new ArtifactHubError('INVALID_ARGUMENT', 'content is missing', { details: { option: 'content' } })
  const bytes = textEncoder.encode(typeof content === 'string' ? content : jsonText(content))
  const isJson = typeof content !== 'string' && !description.name.includes('.')
  return {
    description: { ...description, contentType: description.contentType ?? (isJson ? 'application/json' : undefined) },
    content: dataContent(bytes),
  }
}

function jsonText(content: unknown): string {
  try {
    const text = JSON.stringify(content, undefined, 2)
    if (text !== undefined) return text
  } catch (cause) {
    throw new ArtifactHubError('INVALID_ARGUMENT', 'content is not JSON', { cause, details: { option: 'content' } })
  }
  throw new ArtifactHubError('INVALID_ARGUMENT', `content is not JSON but ${typeof content}`, {
    details: { option: 'content' },
  })
}
