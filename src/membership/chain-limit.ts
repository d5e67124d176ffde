import type { ChainLinks, Link } from './chain-links.ts'
import { HexMap } from './hex-map.ts'
import type { Position } from './statements.ts'

/** Which entries of a chain count. */
export interface ChainLimit {
  /** Every held entry with a lower seq counts. Infinity: all. */
  readonly below: number
  /** Entries at or above `below` that count, by hash in hex, with their seq. */
  readonly beyond: HexMap<number>
}

/** A chain of which nothing counts. */
export const nothing: ChainLimit = { below: 0, beyond: HexMap.empty() }
/** A chain of which everything counts. */
export const everything: ChainLimit = { below: Number.POSITIVE_INFINITY, beyond: HexMap.empty() }

/** Whether the entry of that seq and hash (hex) counts. */
export function isWithin(limit: ChainLimit, seq: number, hash: string): boolean {
  return seq < limit.below || limit.beyond.get(hash) === seq
}

/** Entries at or above `below` of both limits that count by one of them only, by hash in hex. Takes the time that the difference does where one was made from the other. */
export function changedBetween(one: ChainLimit, two: ChainLimit): Iterable<string> {
  return HexMap.differences(one.beyond, two.beyond)
}

/** What was said of a chain by those who may. */
export interface ChainFacts {
  /** For each counting revoke of the chain's grant, its cut for this incarnation; `undefined` when it lists none. */
  readonly cuts: readonly (Position | undefined)[]
  /** Targets of counting adopts. */
  readonly adopts: readonly Position[]
  /** If the chain is forked, every held entry from the lowest fork up; besides, targets of adopts that are held, and for who holds a part all above. */
  readonly links: ChainLinks
}

/** Several entries after one entry of which nobody has said which counts. */
export interface OpenFork {
  readonly seq: number
  /** What they all come after, if that is known. */
  readonly previous: string | undefined
  /** Of those that are held, the two lowest hashes, ascending. */
  readonly lowest: readonly string[]
}

/** The limit of a chain, and the forks that bound it: the README of this folder gives the rule. */
export interface Bounds {
  readonly limit: ChainLimit
  /** By `seqKey`. */
  readonly forks: HexMap<readonly OpenFork[]>
  /** Of whoever holds all, entries of `limit.beyond` that no link among these follows, with their seq: what is named need not be held. */
  readonly ends: HexMap<number>
  /** See `ShownEntries`. */
  readonly settledUpTo: number
  /** Of whoever holds a part, hashes of entries that wait for links to tell which of several is on the branch that is named. */
  readonly unclear: Iterable<string>
  /**
   * What it is with one more link: the same as if it were made anew, in time that does not grow with what is held. `undefined` when
   * it must be made anew: a branch begins below all others, or what is named came.
   *
   * @param links all of them, with that one
   */
  with(links: ChainLinks, link: Link): Bounds | undefined
}

/** Those of the hashes that prove a fork. */
export function lowestTwo(hashes: readonly string[]): readonly string[] {
  const lowest: string[] = []
  for (const hash of hashes) {
    const [one, two] = lowest
    if (one === undefined || hash < one) lowest.splice(0, 2, ...(one === undefined ? [hash] : [hash, one]))
    else if (two === undefined || hash < two) lowest[1] = hash
  }
  return lowest
}

/** The highest seq of an entry that would move the limit and is not held, as far as the links tell; -1 without one. */
export function awaitedIn({ cuts, adopts, links }: ChainFacts): number {
  const isForked = links.forkSeq < Number.POSITIVE_INFINITY
  const named = [...adopts, ...(isForked ? cuts.filter((cut) => cut !== undefined) : [])]
  return named.reduce((most, { seq, hash }) => (links.get(hash) === undefined ? Math.max(most, seq) : most), -1)
}

/** The lowest seq of a cut, -1 for one that does not list the incarnation and infinity without any, and the cuts there. */
export function lowestOf(cuts: ChainFacts['cuts']): { readonly lowest: number; readonly lowestCuts: Position[] } {
  const lowest = cuts.reduce((low, cut) => Math.min(low, cut?.seq ?? -1), Number.POSITIVE_INFINITY)
  return { lowest, lowestCuts: cuts.filter((cut) => cut !== undefined && cut.seq === lowest) as Position[] }
}

/** Up to where every entry counts: below the fork there is one path, so a seq says it all. */
export function countedBelow(of: {
  readonly adopted: readonly Position[]
  readonly lowest: number
  readonly forkSeq: number
}): number {
  const { adopted, lowest, forkSeq } = of
  const adoptedBelow = adopted.reduce((most, { seq }) => Math.max(most, Math.min(seq + 1, forkSeq)), 0)
  return Math.max(0, adoptedBelow, Math.min(lowest, forkSeq))
}
