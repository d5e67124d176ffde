import { artifactIdOf, bytesText } from '../encoding/index.ts'
import { decodeUnverifiedEntry } from '../log/index.ts'
import type { Membership } from '../membership/index.ts'
import type { KeyValueChange } from '../storage/index.ts'
import { readKeyRow } from './key-rows.ts'
import type { NamespaceParts } from './parts.ts'
import { isShownBy } from './shown.ts'
import type { StoredEntry } from './stored-log.ts'

/** See `Namespace.artifactEntries`. */
export async function* artifactEntries(
  { catalog, keys, env, log }: NamespaceParts,
  membership: Membership,
  artifact: Uint8Array,
  signal: AbortSignal | undefined,
): AsyncGenerator<StoredEntry> {
  const hashes = new Map<string, Uint8Array>()
  for await (const hash of catalog.entriesOf(artifact, { signal })) hashes.set(bytesText(hash), hash)
  const gte = keys.key('artifactKeys', artifact)
  const lt = keys.key('artifactKeys', artifact, new Uint8Array(17).fill(0xff))
  for await (const [key, row] of env.store.entries({ gte, lt }, signal && { signal })) {
    for (const hash of readKeyRow(row, key.subarray(gte.length)).entries) hashes.set(bytesText(hash), hash)
  }
  for (const hash of hashes.values()) {
    const bytes = await log.bytes(hash)
    if (bytes !== undefined && isShownBy(membership, decodeUnverifiedEntry(bytes))) yield { hash, bytes }
  }
}

/** See `Namespace.authEntries`. */
export async function* authEntries(
  { log }: NamespaceParts,
  membership: Membership,
  signal: AbortSignal | undefined,
): AsyncGenerator<StoredEntry> {
  for await (const entry of log.auth({ signal })) {
    if (isShownBy(membership, decodeUnverifiedEntry(entry.bytes))) yield entry
  }
}

/** See `Namespace.lettersFor`. */
export async function* lettersFor(
  { log }: NamespaceParts,
  membership: Membership,
  agent: Uint8Array,
): AsyncGenerator<Uint8Array, void, undefined> {
  const epoch = membership.epochs.find(({ id }) => membership.isGoodEpoch(id))
  const hashes = membership.grantsOf(agent).map(({ hash }) => hash)
  if (epoch !== undefined) hashes.push(epoch.rotate)
  for (const hash of hashes) {
    const bytes = await log.bytes(hash)
    if (bytes !== undefined) yield bytes
  }
}

/** See `Namespace.incomplete`. */
export async function* incompleteEntries(
  { id, keys, env, log, catalog }: NamespaceParts,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const { gte, lt } = keys.all('stripped')
  const done: KeyValueChange[] = []
  for await (const [key] of env.store.entries({ gte, lt }, signal && { signal })) {
    const hash = key.subarray(gte.length)
    const header = (await log.unverified(hash))?.header
    if (header?.data === undefined) continue
    const artifact = artifactIdOf(id, header.data.artifactSalt)
    const version = { gen: header.data.gen, clock: header.clock, entry: hash }
    if ((await catalog.liveRoot(artifact, version)) !== undefined) yield hash
    else if (await catalog.hasEnded(artifact, version)) done.push({ type: 'del', key })
  }
  // Should it live again, its artifact is counted anew, and this is noted again.
  if (done.length > 0) await env.store.batch(done, { sync: false })
}
