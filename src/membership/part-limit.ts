import { type Bounds, type ChainFacts, countedBelow, lowestOf, type Siblings } from './chain-limit.ts'
import type { Place, Position } from './statements.ts'

/**
 * The limit of a chain of which entries may be missing, as whoever holds a part has it: `For who holds a part` in this folder's README. Of a chain
 * that is held whole, up to all that is named, it is what `limitOfChain` gives. Costs what is held and what is named, each once: both may be written by somebody hostile.
 *
 * @param facts.links every held entry from the lowest fork, and the lowest adopt, up
 */
export function limitOfPart(facts: ChainFacts): Bounds {
  const branches = new Branches(facts)
  const { forkSeq, adopts, lowest, lowestCuts } = branches
  const below = countedBelow({ adopted: adopts, lowest, forkSeq })
  const beyond = new Map<string, number>()
  // An entry that stands where a cut does and is another one is not on the cut's path, whether or not the cut's entry is held.
  if (lowest <= forkSeq) for (const { seq, hash } of lowestCuts) if (seq >= below) beyond.set(hash, seq)
  for (const { seq, hash } of adopts) if (seq >= below) beyond.set(hash, seq)
  const { counting, forks, unclear } = branches.judge()
  for (const { seq, hash } of counting) if (seq >= below) beyond.set(hash, seq)
  return { limit: { below, beyond }, forks, unclear: forks.length > 0 ? [] : unclear }
}

interface Found {
  /** Hashes of entries that are on a branch that counts, as links show. */
  readonly proven: ReadonlySet<string>
  /** Of those that another stands in the way of. */
  readonly waiting: ReadonlySet<string>
  /** Whether something that is named at its number or above does not rule an entry out. */
  readonly isOpen: (entry: Place) => boolean
}

/** What is known of the branches of one chain: entries that are held, and positions that are named. */
class Branches {
  /** The lowest number of an entry beside which another is held, or that does not fit what is adopted: infinity without a fork. */
  readonly forkSeq: number
  /** Those that can name something. */
  readonly adopts: readonly Position[]
  readonly lowest: number
  readonly lowestCuts: readonly Position[]
  readonly #named: readonly Position[]
  readonly #byHash: ReadonlyMap<string, Place>
  /** From the lowest fork up, in order. */
  readonly #levels: readonly (readonly [seq: number, held: readonly Place[]])[]
  /** By hash, down to which number the path of an entry from the lowest fork up is known: to the one below that fork, further down all are one. */
  readonly #lows = new Map<string, number>()

  constructor({ cuts, adopts, links }: ChainFacts) {
    const { lowest, lowestCuts } = lowestOf(cuts)
    this.lowest = lowest
    this.lowestCuts = lowestCuts
    this.#byHash = new Map(links.map((link) => [link.hash, link]))
    // What is held at another place than is said names nothing.
    const isSound = ({ seq, hash }: Position) => (this.#byHash.get(hash)?.seq ?? seq) === seq
    this.adopts = adopts.filter(isSound)
    this.#named = [...this.adopts, ...cuts.filter((cut) => cut !== undefined).filter(isSound)]
    const held = Map.groupBy(this.#byHash.values(), ({ seq }) => seq)
    const adopted = hashesBySeq(this.adopts)
    const isForked = (seq: number, [first, second]: readonly Place[]) =>
      second !== undefined || hasOther(adopted, seq, first?.hash) || hasOther(adopted, seq - 1, first?.previous)
    let forkSeq = Number.POSITIVE_INFINITY
    for (const [seq, entries] of held) if (seq < forkSeq && isForked(seq, entries)) forkSeq = seq
    this.forkSeq = forkSeq
    this.#levels = [...held].filter(([seq]) => seq >= forkSeq).sort(([one], [two]) => one - two)
    for (const [seq, entries] of this.#levels) {
      for (const entry of entries) {
        const before = this.#before(entry)
        const known = before && this.#lows.get(before.hash)
        this.#lows.set(entry.hash, known ?? (entry.previous === undefined ? seq : seq - 1))
      }
    }
  }

  /** The entries from the lowest fork up that count, and forks that nobody has settled. */
  judge(): { counting: Place[]; forks: Siblings[]; unclear: Place[] } {
    const [counting, unclear]: [Place[], Place[]] = [[], []]
    const forks: Siblings[] = []
    if (this.#levels.length === 0) return { counting, forks, unclear }
    const mayCount = this.#mayCount()
    const isOpen = this.#openUnder(this.#named)
    const [adopted, cut, settled] = [this.adopts, this.lowestCuts, this.#named].map((ends) => this.#pathsTo(ends))
    const missing = hashesBySeq(this.#named.filter(({ hash }) => !this.#byHash.has(hash)))
    const [proven, waiting] = [new Set<string>(), new Set<string>()]
    for (const [seq, held] of this.#levels) {
      const open = held.filter(mayCount)
      const siblings = Map.groupBy(open, ({ previous }) => previous)
      const isAwaited = (hash: string) => hasOther(missing, seq, hash)
      for (const entry of open) {
        const { hash, previous } = entry
        const isNamed = adopted?.has(hash) === true || cut?.has(hash) === true
        const isAlone = siblings.get(previous)?.length === 1 && !isAwaited(hash)
        const isLed = isAlone && previous !== undefined && proven.has(previous)
        if (isNamed || (seq < this.lowest && (settled?.has(hash) === true || isLed))) proven.add(hash)
        else if (open.length > 1 || isAwaited(hash) || (previous !== undefined && waiting.has(previous)))
          waiting.add(hash)
        if (waiting.has(hash)) unclear.push(entry)
        const isAfterFork = forks.length > 0 && !proven.has(hash)
        if (!waiting.has(hash) && !isAfterFork) counting.push(entry)
      }
      if (seq < this.lowest) forks.push(...this.#forksAmong(seq, open, { proven, waiting, isOpen }))
    }
    return { counting, forks, unclear }
  }

  /** What follows one entry, or stands at one number without that anybody could tell after what, and is settled for none. */
  #forksAmong(seq: number, open: readonly Place[], { proven, waiting, isOpen }: Found): Siblings[] {
    const next = open.filter(({ previous }) => previous === undefined || !waiting.has(previous))
    const groups = [...Map.groupBy(next, ({ previous }) => previous).values()].filter(({ length }) => length > 1)
    const isUnclear = next.length > 1 && next.some(({ hash }) => !proven.has(hash))
    return (groups.length > 0 ? groups : isUnclear ? [next] : [])
      .filter((entries) => !entries.some(isOpen))
      .map((entries) => ({ seq, entries }))
  }

  /** Of each entry from the lowest fork up, whether nothing that is known keeps it from standing on a branch that counts. */
  #mayCount(): (entry: Place) => boolean {
    const isBelowAdopt = this.#openUnder(this.adopts)
    const isBelowCut = this.#openUnder(this.lowestCuts)
    const isAboveAdopt = this.#openAbove(this.adopts)
    return (entry) => {
      if (isBelowAdopt(entry)) return true
      if (entry.seq > this.lowest) return false
      if (this.lowestCuts.length > 0) return isBelowCut(entry)
      return this.adopts.length === 0 || isAboveAdopt(entry)
    }
  }

  /*
   * Two paths are down from what they lead to, each known to some number. Where they are one at a number they are below, for an entry names the one before it:
   * so it is enough to look at the number of the lower of the two.
   */

  /** Of each entry, whether it may be one of some positions at its number or above, or before one: it is on the path to one, or that is not known so far down. */
  #openUnder(ends: readonly Position[]): (entry: Place) => boolean {
    const paths = this.#pathsTo(ends)
    const lowOf = (end: Position) => (this.#held(end) && this.#lows.get(end.hash)) ?? end.seq
    const highest = ends.reduce((most, end) => Math.max(most, lowOf(end)), Number.NEGATIVE_INFINITY)
    return ({ seq, hash }) => seq < highest || paths.has(hash)
  }

  /** Of each entry, whether it may stand after one of some positions: one is on its path, or that is not known so far down. */
  #openAbove(ends: readonly Position[]): (entry: Place) => boolean {
    const lowest = ends.reduce((low, { seq }) => Math.min(low, seq), Number.POSITIVE_INFINITY)
    const named = hashesBySeq(ends)
    const after = new Set<string>()
    for (const [seq, held] of this.#levels) {
      for (const entry of held) {
        const { hash, previous } = entry
        if (previous === undefined) continue
        if (named.get(seq - 1)?.has(previous) === true || after.has(this.#before(entry)?.hash ?? '')) after.add(hash)
      }
    }
    return ({ hash }) => lowest < (this.#lows.get(hash) ?? Number.NEGATIVE_INFINITY) || after.has(hash)
  }

  /** Hashes of held entries from the lowest fork up that stand on paths to positions, or at these. */
  #pathsTo(ends: readonly Position[]): Set<string> {
    const path = new Set<string>()
    for (const end of ends) {
      let at = this.#held(end)
      while (at !== undefined && at.seq >= this.forkSeq && !path.has(at.hash)) {
        path.add(at.hash)
        at = this.#before(at)
      }
    }
    return path
  }

  /** What an entry names as the one before it, if that is held: at another number it is none. */
  #before({ seq, previous }: Place): Place | undefined {
    return previous === undefined ? undefined : this.#held({ seq: seq - 1, hash: previous })
  }

  /** A cut or adopt whose hash is held at another place than it says names nothing that is held. */
  #held({ seq, hash }: Position): Place | undefined {
    const link = this.#byHash.get(hash)
    return link?.seq === seq ? link : undefined
  }
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
