import type { CapabilityClaims } from '../capability/index.ts'
import type { ClockReading } from '../catalog/index.ts'
import { artifactIdOf, bytesText, equalBytes, prefixEnd } from '../encoding/index.ts'
import { maxEvidenceLinks } from '../limits.ts'
import { type Entry, publicBytes } from '../log/index.ts'
import type { Membership } from '../membership/index.ts'
import type { KeyValueChange } from '../storage/index.ts'
import { chainOf, type Tip } from './chains.ts'
import { readKeyRow } from './key-rows.ts'
import { isStripped } from './operations.ts'
import { isBefore } from './origins.ts'
import type { NamespaceParts } from './parts.ts'
import { isShownBy } from './shown.ts'
import { decodeStored, readStored, type StoredEntry, type StoredLog } from './stored-log.ts'

/** What of an artifact is asked for. */
export interface ArtifactEntriesOptions {
  /** Of versions whose number is not above it only what is public. */
  readonly after?: number | undefined
  /** Of shares only the one of that id (16 bytes), and what has boxes for it; without it none. */
  readonly share?: Uint8Array | undefined
  readonly signal?: AbortSignal | undefined
}

/** See `HeldEntries.hasOwnWrites`. */
export async function hasWritesOf(log: StoredLog, tips: Iterable<Tip>, agent: Uint8Array): Promise<boolean> {
  for (const { author, chain } of tips) {
    if (!equalBytes(author, agent)) continue
    for await (const { bytes } of log.ofChain(chain, 0)) if (readStored(bytes)?.header.data !== undefined) return true
  }
  return false
}

/** See `HeldEntries.artifactEntries`. */
export async function* artifactEntries(
  { catalog, keys, env, log, shares, partial }: NamespaceParts,
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
  const given = (entry: Entry, bytes: Uint8Array): StoredEntry => {
    const { kind, data } = entry.header
    const isKept = kind === 'put' && data !== undefined && data.gen <= after
    return { hash: entry.hash, bytes: isKept ? publicBytes(entry) : bytes }
  }
  const bounded: { readonly hash: Uint8Array; readonly clock: ClockReading }[] = []
  for (const hash of hashes.values()) {
    const bytes = await log.bytes(hash)
    if (bytes === undefined) continue
    const entry = decodeStored(bytes)
    // Of one that came as proof of a fork the rest is to come.
    if (partial !== undefined && entry.header.kind === 'share' && isStripped(entry)) continue
    const shown = membership.shownOf({ ...entry.header, grant: entry.header.grant ?? hash })
    if (shown === undefined) yield given(entry, bytes)
    else if (isShownBy(membership, entry, shown)) bounded.push({ hash, clock: entry.header.clock })
  }
  // Of chains that end at a cut the newest first, after the others: versions are believed by those that go on from them.
  bounded.sort((a, b) => b.clock.wallMs - a.clock.wallMs || b.clock.counter - a.clock.counter)
  for (const { hash } of bounded) {
    const bytes = await log.bytes(hash)
    if (bytes !== undefined) yield given(decodeStored(bytes), bytes)
  }
}

/** See `HeldEntries.evidenceAgainst`. */
export async function* evidenceAgainst(
  { log }: NamespaceParts,
  membership: Membership,
  claims: CapabilityClaims,
): AsyncGenerator<Uint8Array, void, undefined> {
  const given = new Set<string>()
  const entries: Entry[] = []
  for (const hash of membership.evidenceAgainst(claims)) {
    const entry = await log.unverified(hash)
    if (entry === undefined) continue
    given.add(bytesText(hash))
    entries.push(entry)
    yield publicBytes(entry)
  }
  // Of a former admin it is believed by what comes after it, up to what somebody above names.
  for (const entry of entries) {
    for await (const support of supportOf(log, membership, entry)) {
      if (given.has(bytesText(support.hash))) continue
      given.add(bytesText(support.hash))
      yield publicBytes(support)
    }
  }
}

/** What has others believe an entry who hold little of the log, from whoever it comes. */
async function* supportOf(log: StoredLog, membership: Membership, entry: Entry): AsyncGenerator<Entry> {
  if (membership.shownOf({ ...entry.header, grant: entry.header.grant ?? entry.hash }) === undefined) return
  for (const adopt of membership.adoptsOf(entry)) {
    const held = await log.unverified(adopt)
    if (held !== undefined) yield held
  }
  for (let [last, steps]: [Entry | undefined, number] = [entry, 0]; steps < maxEvidenceLinks; steps++) {
    if (last === undefined || membership.isNamed(last)) return
    last = await nextOf(log, membership, last)
    if (last !== undefined) yield last
  }
}

async function nextOf(log: StoredLog, membership: Membership, entry: Entry): Promise<Entry | undefined> {
  for await (const { bytes } of log.ofChain(chainOf(entry), entry.header.seq + 1)) {
    const next = decodeStored(bytes)
    if (next.header.seq > entry.header.seq + 1) return undefined
    if (isBefore(entry, next) && isShownBy(membership, next)) return next
  }
  return undefined
}

/** See `HeldEntries.lettersFor`. */
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

/** See `HeldEntries.incomplete`. */
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
