import { decodeCanonical, toHex } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { decodeEntry, type Entry, encodeEntry } from '../log/index.ts'
import type { KeyValueChange } from '../storage/index.ts'
import type { Namespace } from './namespace.ts'

const batchEntries = 200

/**
 * Erases the bodies and inline leaves of versions that ended before a time (milliseconds since 1970). Their headers stay,
 * so chains still check; damaged entries are left as they are. Gives how many were erased.
 */
export async function eraseBodies(
  namespace: Namespace,
  { before, signal }: { before: number; signal?: AbortSignal | undefined },
): Promise<number> {
  let erased = 0
  let batch: Uint8Array[] = []
  const flush = async () => {
    const hashes = batch
    batch = []
    if (hashes.length > 0) erased += await eraseSome(namespace, hashes)
  }
  for await (const { entry, endedMs } of namespace.catalog.endedVersions(undefined, { signal })) {
    if (endedMs >= before) continue
    batch.push(entry)
    if (batch.length === batchEntries) await flush()
  }
  await flush()
  return erased
}

async function eraseSome(namespace: Namespace, hashes: readonly Uint8Array[]): Promise<number> {
  const { store } = namespace.env
  const places = await store.getMany(hashes.map((hash) => namespace.keys.key('places', hash)))
  const rows = places.flatMap((place, at) =>
    place === undefined ? [] : [namespace.keys.key('entries', place, hashes[at] as Uint8Array)],
  )
  const stored = await store.getMany(rows)
  const erasures: { changes: KeyValueChange[]; freedBytes: number }[] = []
  stored.forEach((bytes, at) => {
    const entry = bytes === undefined ? undefined : readEntry(bytes)
    if (bytes === undefined || entry === undefined || (entry.body === undefined && entry.leaf === undefined)) return
    const value = encodeEntry({ ...entry, body: undefined, leaf: undefined })
    const changes: KeyValueChange[] = [{ type: 'put', key: rows[at] as Uint8Array, value }]
    const root = entry.header.data?.root
    if (entry.leaf !== undefined && root !== undefined) {
      changes.push({ type: 'del', key: namespace.keys.key('inlineLeaves', root.digest, entry.hash) })
    }
    erasures.push({ changes, freedBytes: bytes.length - value.length })
  })
  if (erasures.length === 0) return 0
  await namespace.commit(async (tx, mark) => {
    mark()
    for (const { changes, freedBytes } of erasures) {
      for (const change of changes) tx.add(change)
      tx.accounts.addEntryBytes(-freedBytes)
    }
  })
  return erasures.length
}

function readEntry(bytes: Uint8Array): Entry | undefined {
  try {
    return decodeEntry(bytes)
  } catch (error) {
    if (!isHubError(error, 'CORRUPT')) throw error
    return undefined
  }
}

/** Forgets uploads that began before a time, milliseconds since 1970, and are not under way. */
export async function removeStaleUploads(
  namespace: Namespace,
  { before, isUnderWay }: { before: number; isUnderWay: (rowKey: string) => boolean },
): Promise<void> {
  const stale: KeyValueChange[] = []
  for await (const [key, value] of namespace.env.store.entries(namespace.keys.all('uploads'))) {
    const row = decodeCanonical(value, { maxBytes: 1_024, what: 'an unfinished upload' }) as {
      startedMs?: unknown
    } | null
    const startedMs = typeof row?.startedMs === 'number' ? row.startedMs : 0
    if (startedMs < before && !isUnderWay(toHex(key))) stale.push({ type: 'del', key })
  }
  if (stale.length > 0) await namespace.env.store.batch(stale, { sync: false })
}
