import { type ChainFacts, countedBelow, lowestOf } from './chain-limit.ts'
import type { ChainLinks, Link } from './chain-links.ts'
import { HexMap } from './hex-map.ts'
import type { Position } from './statements.ts'

/** What is known of the place of a held entry, from the lowest fork up. */
export interface Known {
  /** Whether its path is known down to the lowest number that is adopted. */
  readonly isKnownDown: boolean
  /** Whether something that is adopted is on its path. */
  readonly isAfterAdopt: boolean
  /** Whether nothing that is known keeps it from standing on a branch that counts. */
  readonly mayCount: boolean
}

/** Hashes on the paths to some positions, as far as they are held, from the lowest fork up; and how far down all paths are known. */
interface Paths {
  readonly hashes: ReadonlySet<string>
  /** Below this number not every path is known: minus infinity without any. */
  readonly highest: number
}

/**
 * What cuts and adopts name of a chain of which entries may be missing.
 *
 * Two paths are down from what they lead to, each known to some number. Where they are one at a number they are below, for an entry names the one before it:
 * so it is enough to look at the number of the lower of the two.
 */
export class NamedPaths {
  /** The lowest number of an entry beside which another is held, or that does not fit what is adopted: infinity without a fork. */
  readonly forkSeq: number
  readonly lowest: number
  /** As `ChainLimit`: of what is above, what counts whether or not it is held. */
  readonly below: number
  readonly beyond: HexMap<number>
  /** All that is named, held or not. */
  readonly #hashes: ReadonlySet<string>
  readonly #cuts: ChainFacts['cuts']
  readonly #adoptsBySeq: ReadonlyMap<number, ReadonlySet<string>>
  readonly #lowestAdopt: number
  readonly #missing: ReadonlyMap<number, ReadonlySet<string>>
  readonly #hasLowestCut: boolean
  readonly #adopted: Paths
  readonly #cut: Paths
  readonly #settled: Paths

  constructor({ cuts, adopts: said, links }: ChainFacts) {
    const { lowest, lowestCuts } = lowestOf(cuts)
    const listed = cuts.filter((cut) => cut !== undefined)
    // What is held at another place than is said names nothing.
    const isSound = ({ seq, hash }: Position) => (links.get(hash)?.seq ?? seq) === seq
    const adopts = said.filter(isSound)
    const named = [...adopts, ...listed.filter(isSound)]
    this.#hashes = new Set([...said, ...listed].map(({ hash }) => hash))
    this.#cuts = cuts
    this.#adoptsBySeq = hashesBySeq(adopts)
    this.#lowestAdopt = adopts.reduce((low, { seq }) => Math.min(low, seq), Number.POSITIVE_INFINITY)
    this.#missing = hashesBySeq(named.filter(({ hash }) => links.get(hash) === undefined))
    this.lowest = lowest
    this.#hasLowestCut = lowestCuts.length > 0
    const beside = adopts.flatMap(({ seq }) => [seq, seq + 1]).filter((seq) => this.#isForkedAt(links, seq))
    this.forkSeq = beside.reduce((low, seq) => Math.min(low, seq), links.forkSeq)
    this.below = countedBelow({ adopted: adopts, lowest, forkSeq: this.forkSeq })
    // An entry that stands where a cut does and is another one is not on the cut's path, whether or not the cut's entry is held.
    const counted = [...(lowest <= this.forkSeq ? lowestCuts : []), ...adopts].filter(({ seq }) => seq >= this.below)
    this.beyond = counted.reduce((beyond, { seq, hash }) => beyond.with(hash, seq), HexMap.empty<number>())
    const lows = new Map<string, number>()
    const [adopted, cut, settled] = [adopts, lowestCuts, named].map((ends) => this.#pathsTo(links, ends, lows))
    this.#adopted = adopted as Paths
    this.#cut = cut as Paths
    this.#settled = settled as Paths
  }

  /** The same with one more link; `undefined` when more is known of what is named. */
  with(links: ChainLinks, link: Link): NamedPaths | undefined {
    if (this.#hashes.has(link.hash)) return undefined
    if (link.seq < this.forkSeq) {
      if (!this.#isForkedAt(links, link.seq)) return this
      return this.#hashes.size > 0 ? undefined : new NamedPaths({ cuts: this.#cuts, adopts: [], links })
    }
    return links.after(link).some(({ hash }) => this.#settled.hashes.has(hash)) ? undefined : this
  }

  /** @param before what is known of the entry before it, if that is held from the lowest fork up */
  placeOf({ seq, hash, previous }: Link, before: Known | undefined): Known {
    const isKnownDown = before?.isKnownDown ?? (previous === undefined ? seq : seq - 1) <= this.#lowestAdopt
    const isAfterOne = previous !== undefined && this.#adoptsBySeq.get(seq - 1)?.has(previous) === true
    const isAfterAdopt = isAfterOne || before?.isAfterAdopt === true
    return { isKnownDown, isAfterAdopt, mayCount: this.#mayCount({ seq, hash }, { isKnownDown, isAfterAdopt }) }
  }

  #mayCount(entry: Position, { isKnownDown, isAfterAdopt }: Omit<Known, 'mayCount'>): boolean {
    if (isUnder(this.#adopted, entry)) return true
    if (entry.seq > this.lowest) return false
    if (this.#hasLowestCut) return isUnder(this.#cut, entry)
    // It may stand after one that is adopted: one is on its path, or that is not known so far down.
    return this.#adoptsBySeq.size === 0 || !isKnownDown || isAfterAdopt
  }

  /** Whether links show that it is, or is before, what is adopted or is the end of what was not cut. */
  isCounted(hash: string): boolean {
    return this.#adopted.hashes.has(hash) || this.#cut.hashes.has(hash)
  }

  /** Whether links show that it is, or is before, what is named. */
  isSettled(hash: string): boolean {
    return this.#settled.hashes.has(hash)
  }

  /** Whether something that is named at its number or above does not rule it out. */
  isOpen(entry: Position): boolean {
    return isUnder(this.#settled, entry)
  }

  /** Whether another at that number is named and not held. */
  isOtherMissing(seq: number, hash: string): boolean {
    return hasOther(this.#missing, seq, hash)
  }

  #isForkedAt(links: ChainLinks, seq: number): boolean {
    const [first, second] = links.at(seq)
    if (first === undefined || second !== undefined) return second !== undefined
    return hasOther(this.#adoptsBySeq, seq, first.hash) || hasOther(this.#adoptsBySeq, seq - 1, first.previous)
  }

  /** @param lows by hash, down to which number the path of a held entry is known */
  #pathsTo(links: ChainLinks, ends: readonly Position[], lows: Map<string, number>): Paths {
    const hashes = new Set<string>()
    let highest = Number.NEGATIVE_INFINITY
    for (const end of ends) {
      const path: Link[] = []
      let at = links.held(end)
      while (at !== undefined && at.seq >= this.forkSeq && !lows.has(at.hash)) {
        path.push(at)
        at = links.before(at)
      }
      const last = path.at(-1)
      const known = at === undefined ? undefined : lows.get(at.hash)
      const low = known ?? (last === undefined ? end.seq : last.previous === undefined ? last.seq : last.seq - 1)
      for (const { hash } of path) lows.set(hash, low)
      highest = Math.max(highest, low)
      for (
        at = links.held(end);
        at !== undefined && at.seq >= this.forkSeq && !hashes.has(at.hash);
        at = links.before(at)
      ) {
        hashes.add(at.hash)
      }
    }
    return { hashes, highest }
  }
}

/** Whether an entry may be one of what the paths lead to at its number or above, or before one: it is on a path, or that is not known so far down. */
function isUnder({ hashes, highest }: Paths, { seq, hash }: Position): boolean {
  return seq < highest || hashes.has(hash)
}

function hashesBySeq(positions: readonly Position[]): Map<number, Set<string>> {
  const hashes = new Map<number, Set<string>>()
  for (const { seq, hash } of positions) {
    const same = hashes.get(seq)
    if (same === undefined) hashes.set(seq, new Set([hash]))
    else same.add(hash)
  }
  return hashes
}

/** Whether one at that number is not `hash`. */
function hasOther(hashes: ReadonlyMap<number, ReadonlySet<string>>, seq: number, hash: string | undefined): boolean {
  const same = hashes.get(seq)
  return same !== undefined && (same.size > 1 || hash === undefined || !same.has(hash))
}
