import type { ArtifactState, HiddenVersion } from '../catalog/index.ts'
import { artifactIdOf } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { decodeUnverifiedEntry, type Entry, type KeyWrap } from '../log/index.ts'
import type { ArtifactKey, Keyring } from '../sharing/index.ts'
import { operationOf } from './artifact-writes.ts'
import { decodeBody } from './body.ts'
import { readKeyRow } from './key-rows.ts'
import type { Namespace } from './namespace.ts'
import type { NamespaceKeys } from './tables.ts'

const batchVersions = 500

/** Where what is secret is read with: the store, or a transaction over it. */
export interface StateReader {
  readonly namespace: Uint8Array
  readonly keyring: Keyring
  readonly keys: NamespaceKeys
  get(key: Uint8Array): Promise<Uint8Array | undefined>
  entry(hash: Uint8Array): Promise<Entry | undefined>
}

/**
 * The artifact key of that id; `undefined` when this agent cannot open it.
 *
 * @param wraps to try before those that are recorded
 */
export async function openArtifactKey(
  reader: StateReader,
  artifact: Uint8Array,
  keyId: Uint8Array,
  wraps: readonly KeyWrap[],
): Promise<ArtifactKey | undefined> {
  const { keyring, keys } = reader
  const own = keyring.open(artifact, keyId, wraps)
  if (own !== undefined) return own
  const ways = readKeyRow(await reader.get(keys.key('artifactKeys', artifact, keyId)), keyId)
  const key = keyring.open(artifact, keyId, ways.wraps)
  if (key !== undefined) return key
  for (const hash of ways.boxed) {
    const section = (await reader.entry(hash))?.keys
    const sealed = section && keyring.openSealed(artifact, keyId, section)
    if (sealed !== undefined) return sealed
  }
  return undefined
}

/**
 * What a put's body says; `undefined` when it cannot be read here: no key, no body, or one that says what no artifact may
 * be (whoever wrote it has written nothing).
 */
export async function readState(reader: StateReader, entry: Entry): Promise<ArtifactState | undefined> {
  const { header, body, keys } = entry
  const { data, keyId, grant, author, incarnation, seq } = header
  if (data?.root === undefined || keyId === undefined || grant === undefined || body === undefined) return undefined
  const { namespace } = reader
  const key = await openArtifactKey(reader, artifactIdOf(namespace, data.artifactSalt), keyId, keys?.wraps ?? [])
  if (key === undefined) return undefined
  try {
    return decodeBody(key.openBody(body, { namespace, author, grant, incarnation, seq }))
  } catch (error) {
    if (!isHubError(error, 'CORRUPT') && !isHubError(error, 'UNSUPPORTED_FORMAT')) throw error
    return undefined
  }
}

/** Tries every hidden version with the keys that are there now, some to a batch. */
export async function revealHidden(namespace: Namespace, signal: AbortSignal | undefined): Promise<void> {
  const { catalog, env, keys } = namespace
  let last: HiddenVersion | undefined
  for (;;) {
    signal?.throwIfAborted()
    const some: HiddenVersion[] = []
    for await (const { artifact, entry } of catalog.hidden(last, { signal })) {
      // Copies: the rows are the store's.
      some.push({ artifact: artifact.slice(), entry: entry.slice() })
      if (some.length === batchVersions) break
    }
    last = some.at(-1) ?? last
    const found: { entry: Entry; state: ArtifactState }[] = []
    for (const entry of await storedEntries(namespace, some)) {
      const state = await namespace.stateOf(entry)
      if (state !== undefined) found.push({ entry, state })
    }
    if (found.length > 0) {
      await namespace.commit(async (tx, mark) => {
        mark()
        for (const { entry, state } of found) {
          const salt = entry.header.data?.artifactSalt
          // It may have lost its right to count meanwhile.
          if (salt === undefined || !tx.membership.counts(entry)) continue
          const operation = operationOf(namespace.artifactOf(salt), entry, state)
          if (operation !== undefined) await tx.apply(operation)
        }
      })
    }
    if (some.length < batchVersions) break
  }
  await env.store.batch([{ type: 'del', key: keys.key('revealing') }], { sync: false })
}

/** Entries by hash, as they are stored: they were checked when they came. */
async function storedEntries(
  { env: { store }, keys }: Namespace,
  versions: readonly HiddenVersion[],
): Promise<Entry[]> {
  const places = await store.getMany(versions.map(({ entry }) => keys.key('places', entry)))
  const rows = versions.flatMap(({ entry }, at) => {
    const place = places[at]
    return place === undefined ? [] : [keys.key('entries', place, entry)]
  })
  return (await store.getMany(rows)).flatMap((bytes) => (bytes === undefined ? [] : [decodeUnverifiedEntry(bytes)]))
}
