import type { VersionRecord } from '../../src/catalog/index.ts'
import { toHex } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import { maxInlineBytes } from '../../src/limits.ts'
import { type ArtifactHandle, leafRowChanges, loadLeafRows, writeNextVersion } from '../../src/namespace/index.ts'
import type { OnProgress } from '../client.ts'
import { guessContentType } from './content-type.ts'
import { type Content, dataContent, fileContent } from './data-source.ts'
import { type Description, describe, type RawDescription, snippetOf } from './description.ts'
import type { LocalEnvironment } from './environment.ts'
import { type Found, findById } from './lookup.ts'
import type { OpenNamespace } from './namespace-book.ts'
import type { LocalNamespaces } from './namespaces.ts'
import { holdContent } from './store-content.ts'

type UpdateCall = RawDescription & {
  artifactId: string
  namespace?: string | undefined
  signal?: AbortSignal | undefined
  data?: unknown
  path?: string | undefined
  content?: unknown
  restore?: number | string | undefined
  expectedVersion?: number | string | undefined
  onProgress?: OnProgress | undefined
}

/** `artifact.update`. */
export async function updateArtifact(
  env: LocalEnvironment,
  namespaces: LocalNamespaces,
  options: UpdateCall,
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
  if (sources.length === 0 && Object.values(given).every((value) => value === undefined)) {
    throw new ArtifactHubError(
      'INVALID_ARGUMENT',
      'update needs something to change: data, path, content, restore, name, contentType or metadata',
    )
  }
  return await namespaces.during(namespace, async () => await writeUpdate(env, { namespace, record }, given, options))
}

async function writeUpdate(
  env: LocalEnvironment,
  { namespace, record }: Found,
  given: Description,
  options: UpdateCall,
): Promise<Found> {
  const { restore, expectedVersion } = options
  const handle = await namespace.log.artifactKeys.handleOf(record)
  await using file = options.path === undefined ? undefined : await env.files.openSource(options.path)
  const content = file === undefined ? updatedContent(options, given, record) : fileContent(file)
  // Looked at again when it is written; here it saves storing what is then refused.
  if (expectedVersion !== undefined) await checkExpected({ namespace, record }, expectedVersion)
  if (content !== undefined && (content.sizeBytes ?? Number.POSITIVE_INFINITY) > maxInlineBytes)
    await recallLeaves(env, namespace, handle, options.signal)
  await using held =
    content === undefined ? undefined : await holdContent(env, namespace, handle.key, content, false, options, file)
  if (content === undefined) await haveInline(env, { namespace, record }, restore, options.signal)
  // Under its old name an artifact keeps its type; a new name with new content is as good as a new artifact.
  const guessed =
    held === undefined || given.name === undefined ? undefined : await guessContentType(given.name, held.head)
  const rows = held === undefined ? [] : await leafRowChanges(namespace.log, handle, held.content)
  const next = await writeNextVersion(namespace.log, {
    handle,
    expectedVersion,
    restore,
    quota: namespace.quota,
    reservation: held?.reservation,
    also: rows,
    next: ({ state }) => ({
      state: {
        name: given.name ?? state.name,
        contentType: given.contentType ?? guessed ?? state.contentType,
        metadata: given.metadata ?? state.metadata,
      },
      content: held?.content,
    }),
  })
  return { namespace, record: next }
}

/**
 * A new entry carries small content again, so its bytes must be here. Larger content stays where it is: the new version names
 * its root, and whoever reads it fetches it.
 */
async function haveInline(
  env: LocalEnvironment,
  { namespace: { log }, record }: Found,
  restore: number | string | undefined,
  signal: AbortSignal | undefined,
): Promise<void> {
  const kept = restore === undefined ? record : await log.catalog.get(record.artifact, restore)
  if (kept?.root.inline !== true || (await log.blocks.has([kept.root.digest]))[0] === true) return
  await using fetch = env.fetches.open(log, kept, signal)
  await fetch.whole()
}

/** Has what was sealed under the artifact's key before this process began spared again. */
async function recallLeaves(
  { leafMemory }: LocalEnvironment,
  { log }: OpenNamespace,
  handle: ArtifactHandle,
  signal: AbortSignal | undefined,
): Promise<void> {
  const keysId = toHex(handle.key.id)
  if (leafMemory.knows(keysId)) return
  for await (const packed of loadLeafRows(log, handle, signal)) leafMemory.learn(keysId, packed)
}

/** @throws CONFLICT, as the write itself does */
async function checkExpected({ namespace, record }: Found, expectedVersion: number | string): Promise<void> {
  const expected = await namespace.log.catalog.get(record.artifact, expectedVersion)
  if (expected?.versionId === record.versionId) return
  throw new ArtifactHubError('CONFLICT', `the current version is ${record.versionId}, not ${expectedVersion}`, {
    details: { currentVersion: record.number, currentVersionId: record.versionId, expectedVersion },
  })
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
