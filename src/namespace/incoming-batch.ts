import { artifactIdOf, bytesText, equalBytes, prefixEnd, record } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { maxSiblingEntries } from '../limits.ts'
import {
  decodeUnverifiedEntry,
  type Entry,
  isSignedBeside,
  isSignedByAuthor,
  publicBytes,
  publicPart,
} from '../log/index.ts'
import { chainOf } from './chains.ts'
import type { Ledger } from './ledger.ts'
import { isStripped } from './operations.ts'
import type { NamespaceParts } from './parts.ts'
import { decodeStored } from './stored-log.ts'
import { placeOf } from './tables.ts'

/** An entry that was not stored. */
export interface RefusedEntry {
  readonly hash: Uint8Array | undefined
  readonly code: string
  readonly why: string
}

/** So few signatures are checked on this thread, in 0.15 ms each: the way to another and back takes a third of that, and leaves garbage among old objects. */
const fewSignatures = 4

/** An entry of a batch that is well-formed, and the bytes it came as. */
export interface Candidate {
  readonly entry: Entry
  readonly bytes: Uint8Array
}

/** The well-formed entries of this namespace of a batch, each once: the fullest copy. */
export function decodeBatch(
  { id, partial }: NamespaceParts,
  batch: readonly Uint8Array[],
  refused: RefusedEntry[],
): Candidate[] {
  const found = new Map<string, Candidate>()
  for (const bytes of batch) {
    try {
      const entry = decodeUnverifiedEntry(bytes, { partial: true })
      const { hash, header, keys, body } = entry
      if (!equalBytes(header.namespace ?? hash, id))
        refused.push({ hash, code: 'CORRUPT', why: 'it is of another namespace' })
      // Whoever followed an artifact before it became a member may be told as a follower for a while: nobody's fault.
      else if (partial === undefined && header.keysHash !== undefined && keys === undefined)
        refused.push({ hash, code: 'void', why: 'it came without its keys' })
      // It is never erased, and whoever lacks it does not know of the share, nor can take it back.
      else if (partial === undefined && header.kind === 'share' && header.bodyHash !== undefined && body === undefined)
        refused.push({ hash, code: 'void', why: 'it came without its body' })
      else if (partsIn(entry) > partsIn(found.get(bytesText(hash))?.entry))
        found.set(bytesText(hash), record({ entry, bytes }))
    } catch (error) {
      if (!isHubError(error)) throw error
      refused.push({ hash: undefined, code: error.code, why: error.message })
    }
  }
  return [...found.values()]
}

/** How much there is of a copy of an entry: who shows several capabilities for one artifact is given by each what it lets see. */
export function partsIn(entry: Entry | undefined): number {
  if (entry === undefined) return -1
  return [entry.keys, entry.body, entry.leaf].filter((part) => part !== undefined).length
}

/**
 * What a partial log takes of a batch: of other artifacts than those that it is about only what proves a fork, two entries at one
 * place, or tells its branches apart, and of these only what is public.
 */
export async function ofFollowed(
  { parts: { id, keys, env, partial }, membership }: Ledger,
  decoded: readonly Candidate[],
  refused: RefusedEntry[],
): Promise<Candidate[]> {
  const taken: Candidate[] = []
  const others: Candidate[] = []
  const atPlace = new Map<string, number>()
  /** Hashes (text) that what is taken goes on from. */
  const before = new Set<string>()
  const take = (candidate: Candidate) => {
    taken.push(candidate)
    const { previous } = candidate.entry.header
    if (previous !== undefined) before.add(bytesText(previous))
  }
  for (const candidate of decoded) {
    const { header } = candidate.entry
    const place = bytesText(placeOf(chainOf(candidate.entry), header.seq))
    atPlace.set(place, (atPlace.get(place) ?? 0) + 1)
    const salt = header.data?.artifactSalt
    if (salt === undefined || partial?.has(artifactIdOf(id, salt)) === true) take(candidate)
    else others.push(candidate)
  }
  const heldAt = async (place: Uint8Array): Promise<Entry[]> => {
    const gte = keys.key('entries', place)
    const range = { gte, lt: prefixEnd(gte) as Uint8Array, limit: maxSiblingEntries }
    return await Array.fromAsync(env.store.entries(range), ([, bytes]) => decodeStored(bytes))
  }
  /** Whether it is named, or leads from what is held of a chain of whose branches one is named: so entries are told from those on that branch. */
  const isLink = async (entry: Entry): Promise<boolean> => {
    if (membership.isNamed(entry)) return true
    if (membership.namedBeside(entry).length === 0) return false
    if (before.has(bytesText(entry.hash))) return true
    const next = await heldAt(placeOf(chainOf(entry), entry.header.seq + 1))
    return next.some(({ header: { previous } }) => previous !== undefined && equalBytes(previous, entry.hash))
  }
  // What comes later in its chain first: from there it leads down.
  for (const { entry } of others.sort((a, b) => b.entry.header.seq - a.entry.header.seq)) {
    const place = placeOf(chainOf(entry), entry.header.seq)
    const isFork = (atPlace.get(bytesText(place)) ?? 0) > 1 || (await heldAt(place)).length > 0
    if (isFork || (await isLink(entry))) take({ entry: publicPart(entry), bytes: publicBytes(entry) })
    else refused.push({ hash: entry.hash, code: 'void', why: 'it is of an artifact that is not followed' })
  }
  return taken
}

/** Of a batch, what is not held and what is. */
export async function splitKnown(
  { env: { store }, keys }: NamespaceParts,
  decoded: readonly Candidate[],
): Promise<{ fresh: Candidate[]; held: Candidate[] }> {
  const places = await store.getMany(decoded.map(({ entry }) => keys.key('places', entry.hash)))
  return {
    fresh: decoded.filter((_, at) => places[at] === undefined),
    held: decoded.filter((_, at) => places[at] !== undefined),
  }
}

/**
 * Copies that have what is held of their entries lacks: of versions that are noted to lack their body or leaf, and of what came to a partial log as a bare header
 * before anything was in the catalog of it.
 * @param read gives rows as they are
 */
export async function findCompletions(
  { id, keys, catalog, partial }: NamespaceParts,
  held: readonly Candidate[],
  read: (keys: readonly Uint8Array[]) => Promise<(Uint8Array | undefined)[]>,
): Promise<Candidate[]> {
  const whole = held.filter(({ entry }) => entry.header.data !== undefined && !isStripped(entry) && hasKeys(entry))
  if (whole.length === 0) return []
  const notes = await read(whole.map(({ entry }) => keys.key('stripped', entry.hash)))
  const noted = whole.filter((_, at) => notes[at] !== undefined)
  if (partial === undefined) return noted
  // What is in the catalog and not noted ended, and may have been erased.
  const unnoted = whole.flatMap((candidate, at) => {
    const { hash, header } = candidate.entry
    if (notes[at] !== undefined || header.data === undefined || partsIn(candidate.entry) === 0) return []
    return [{ candidate, artifact: artifactIdOf(id, header.data.artifactSalt), entry: hash }]
  })
  const isHeld = await catalog.holds(unnoted)
  const others = unnoted.flatMap(({ candidate }, at) => (isHeld[at] === true ? [] : [candidate]))
  const own = await read(others.map(({ entry }) => keys.entry(chainOf(entry), entry.header.seq, entry.hash)))
  const lacks = (stored: Uint8Array | undefined, { entry }: Candidate) =>
    stored !== undefined && partsIn(decodeStored(stored)) < partsIn(entry)
  return [...noted, ...others.filter((candidate, at) => lacks(own[at], candidate))]
}

/** Those whose signature is the author’s. */
export async function checkSignatures(
  { env }: NamespaceParts,
  candidates: readonly Candidate[],
  refused: RefusedEntry[],
): Promise<ReadonlySet<Candidate>> {
  const entries = candidates.map(({ entry }) => entry)
  const isOf = entries.length > fewSignatures ? isSignedBeside : isSignedByAuthor
  const verdicts = await (env.verify?.(entries) ?? Promise.all(entries.map((entry) => isOf(entry))))
  const signed = candidates.filter((_, at) => verdicts[at] === true)
  for (const [at, { entry }] of candidates.entries()) {
    if (verdicts[at] === true) continue
    refused.push({ hash: entry.hash, code: 'CORRUPT', why: 'the signature is not the author’s' })
  }
  return new Set(signed)
}

function hasKeys({ header, keys }: Entry): boolean {
  return header.keysHash === undefined || keys !== undefined
}
