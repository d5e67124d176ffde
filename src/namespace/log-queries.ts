import { artifactIdOf, bytesText, prefixEnd } from '../encoding/index.ts'
import { publicBytes } from '../log/index.ts'
import type { Membership } from '../membership/index.ts'
import type { KeyValueChange } from '../storage/index.ts'
import { readKeyRow } from './key-rows.ts'
import type { NamespaceParts } from './parts.ts'
import { isShownBy } from './shown.ts'
import { decodeStored, type StoredEntry } from './stored-log.ts'

/** What of an artifact is asked for. */
export interface ArtifactEntriesOptions {
  /** Of versions whose number is not above it only what is public. */
  readonly after?: number | undefined
  /** Of shares only the one of that id (16 bytes), and what has boxes for it; without it none. */
  readonly share?: Uint8Array | undefined
  readonly signal?: AbortSignal | undefined
}

/** See `Namespace.artifactEntries`. */
export async function* artifactEntries(
  { catalog, keys, env, log, shares }: NamespaceParts,
  membership: Membership,
  artifact: Uint8Array,
  { after = 0, share, signal }: ArtifactEntriesOptions,
): AsyncGenerator<StoredEntry> {
  const hashes = new Map<string, Uint8Array>()
  for await (const hash of catalog.entriesOf(artifact, { signal })) hashes.set(bytesText(hash), hash)
  const gte = keys.key('artifactKeys', artifact)
  const lt = keys.key('artifactKeys', artifact, new Uint8Array(17).fill(0xff))
  for await (const [key, row] of env.store.entries({ gte, lt }, signal && { signal })) {
    const keyId = key.slice(gte.length)
    for (const hash of readKeyRow(row, keyId).entries) hashes.set(bytesText(hash), hash)
    if (share === undefined) continue
    const labelled = keys.key('labelledBoxes', artifact, keyId, share)
    for await (const [, ways] of env.store.entries({ gte: labelled, lt: prefixEnd(labelled) as Uint8Array })) {
      for (const hash of readKeyRow(ways, keyId).entries) hashes.set(bytesText(hash), hash)
    }
  }
  if (share !== undefined) for (const hash of await shares.entriesOf(artifact, share)) hashes.set(bytesText(hash), hash)
  for (const hash of hashes.values()) {
    const bytes = await log.bytes(hash)
    if (bytes === undefined) continue
    const entry = decodeStored(bytes)
    if (!isShownBy(membership, entry)) continue
    const { kind, data } = entry.header
    yield { hash, bytes: kind === 'put' && data !== undefined && data.gen <= after ? publicBytes(entry) : bytes }
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
  { id, keys, env, log, catalog, partial }: NamespaceParts,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const { gte, lt } = keys.all('stripped')
  const done: KeyValueChange[] = []
  for await (const [key] of env.store.entries({ gte, lt }, signal && { signal })) {
    const hash = key.subarray(gte.length)
    const header = (await log.unverified(hash))?.header
    if (header?.data === undefined) continue
    const artifact = artifactIdOf(id, header.data.artifactSalt)
    // It is not for this agent, who follows only what comes after.
    if (partial !== undefined && header.data.gen <= partial.after(artifact)) continue
    const version = { gen: header.data.gen, clock: header.clock, entry: hash }
    if ((await catalog.liveRoot(artifact, version)) !== undefined) yield hash
    else if (await catalog.hasEnded(artifact, version)) done.push({ type: 'del', key })
  }
  // Should it live again, its artifact is counted anew, and this is noted again.
  if (done.length > 0) await env.store.batch(done, { sync: false })
}
