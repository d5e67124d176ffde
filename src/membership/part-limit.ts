import type { Bounds, ChainFacts, Siblings } from './chain-limit.ts'
import type { Place, Position } from './statements.ts'

/**
 * The limit of a chain of which entries may be missing, as whoever holds a part has it: `For who holds a part` in this folder's README. Of a chain
 * that is held whole, up to all that is named, it is what `limitOfChain` gives.
 *
 * @param facts.links every held entry from the lowest fork, and the lowest adopt, up
 */
export function limitOfPart(facts: ChainFacts): Bounds {
  const { cuts } = facts
  const lowest = cuts.reduce((low, cut) => Math.min(low, cut?.seq ?? -1), Number.POSITIVE_INFINITY)
  const branches = new Branches(facts, lowest)
  const { forkSeq, adopts } = branches
  const adoptedBelow = adopts.reduce((most, { seq }) => Math.max(most, Math.min(seq + 1, forkSeq)), 0)
  const below = Math.max(0, adoptedBelow, Math.min(lowest, forkSeq))
  const beyond = new Map<string, number>()
  const lowestCuts = cuts.filter((cut) => cut !== undefined && cut.seq === lowest) as Position[]
  // An entry that stands where a cut does and is another one is not on the cut's path, whether or not the cut's entry is held.
  if (lowest <= forkSeq) for (const { seq, hash } of lowestCuts) if (seq >= below) beyond.set(hash, seq)
  for (const { seq, hash } of adopts) if (seq >= below) beyond.set(hash, seq)
  const { counting, forks, unclear } = branches.judge()
  for (const { seq, hash } of counting) if (seq >= below) beyond.set(hash, seq)
  return { limit: { below, beyond }, forks, unclear: forks.length > 0 ? [] : unclear }
}

/** By what is named, hashes of entries that cannot be on one branch with it. */
type RuledOut = ReadonlyMap<Position, ReadonlySet<string>>

interface Found {
  /** Hashes of entries that are on a branch that counts, as links show. */
  readonly proven: ReadonlySet<string>
  /** Of those that another stands in the way of. */
  readonly waiting: ReadonlySet<string>
  readonly ruledOut: RuledOut
}

/** What is known of the branches of one chain: entries that are held, and positions that are named. */
class Branches {
  /** The lowest number of an entry beside which another is held, or that does not fit what is adopted: infinity without a fork. */
  readonly forkSeq: number
  /** Those that can name something. */
  readonly adopts: readonly Position[]
  readonly #lowest: number
  readonly #lowestCuts: readonly Position[]
  readonly #named: readonly Position[]
  readonly #byHash: ReadonlyMap<string, Place>
  /** From the lowest fork up, in order. */
  readonly #levels: readonly (readonly [seq: number, held: readonly Place[]])[]

  constructor({ cuts, adopts, links }: ChainFacts, lowest: number) {
    this.#lowest = lowest
    this.#byHash = new Map(links.map((link) => [link.hash, link]))
    // What is held at another place than is said names nothing.
    const isSound = ({ seq, hash }: Position) => (this.#byHash.get(hash)?.seq ?? seq) === seq
    this.adopts = adopts.filter(isSound)
    this.#named = [...this.adopts, ...cuts.filter((cut) => cut !== undefined).filter(isSound)]
    this.#lowestCuts = cuts.filter((cut) => cut !== undefined && cut.seq === lowest) as Position[]
    const held = Map.groupBy(this.#byHash.values(), ({ seq }) => seq)
    const isForked = (seq: number, [first, second]: readonly Place[]) =>
      second !== undefined ||
      this.adopts.some(
        (adopt) =>
          (adopt.seq === seq && adopt.hash !== first?.hash) ||
          (adopt.seq === seq - 1 && adopt.hash !== first?.previous),
      )
    let forkSeq = Number.POSITIVE_INFINITY
    for (const [seq, entries] of held) if (seq < forkSeq && isForked(seq, entries)) forkSeq = seq
    this.forkSeq = forkSeq
    this.#levels = [...held].filter(([seq]) => seq >= forkSeq).sort(([one], [two]) => one - two)
  }

  /** The entries from the lowest fork up that count, and forks that nobody has settled. */
  judge(): { counting: Place[]; forks: Siblings[]; unclear: Place[] } {
    const [counting, unclear]: [Place[], Place[]] = [[], []]
    const forks: Siblings[] = []
    if (this.#levels.length === 0) return { counting, forks, unclear }
    const ends = [...this.#named, ...this.#lowestCuts]
    const ruledOut = new Map(ends.map((end) => [end, this.#ruledOutBy(end)]))
    const [adopted, cut, settled] = [this.adopts, this.#lowestCuts, this.#named].map((ends) => this.#pathsTo(ends))
    const [proven, waiting] = [new Set<string>(), new Set<string>()]
    for (const [seq, held] of this.#levels) {
      const open = held.filter((entry) => this.#mayCount(entry, ruledOut))
      const isAwaited = (hash: string) =>
        this.#named.some((named) => named.seq === seq && named.hash !== hash && !this.#byHash.has(named.hash))
      for (const entry of open) {
        const { hash, previous } = entry
        const isNamed = adopted?.has(hash) === true || cut?.has(hash) === true
        const isAlone = open.every((other) => other === entry || other.previous !== previous) && !isAwaited(hash)
        const isLed = isAlone && previous !== undefined && proven.has(previous)
        if (isNamed || (seq < this.#lowest && (settled?.has(hash) === true || isLed))) proven.add(hash)
        else if (open.length > 1 || isAwaited(hash) || (previous !== undefined && waiting.has(previous)))
          waiting.add(hash)
        if (waiting.has(hash)) unclear.push(entry)
        const isAfterFork = forks.length > 0 && !proven.has(hash)
        if (!waiting.has(hash) && !isAfterFork) counting.push(entry)
      }
      if (seq < this.#lowest) forks.push(...this.#forksAmong(seq, open, { proven, waiting, ruledOut }))
    }
    return { counting, forks, unclear }
  }

  /** What follows one entry, or stands at one number without that anybody could tell after what, and is settled for none. */
  #forksAmong(seq: number, open: readonly Place[], { proven, waiting, ruledOut }: Found): Siblings[] {
    const next = open.filter(({ previous }) => previous === undefined || !waiting.has(previous))
    const isSettled = (entries: readonly Place[]) =>
      this.#named.some(
        (named) => named.seq >= seq && entries.some(({ hash }) => ruledOut.get(named)?.has(hash) === false),
      )
    const groups = [...Map.groupBy(next, ({ previous }) => previous).values()].filter(({ length }) => length > 1)
    const isUnclear = next.length > 1 && next.some(({ hash }) => !proven.has(hash))
    return (groups.length > 0 ? groups : isUnclear ? [next] : [])
      .filter((entries) => !isSettled(entries))
      .map((entries) => ({ seq, entries }))
  }

  /** Whether nothing that is known keeps an entry from standing on a branch that counts. */
  #mayCount({ seq, hash }: Place, ruledOut: RuledOut): boolean {
    const isOpen = (position: Position) => ruledOut.get(position)?.has(hash) === false
    if (this.adopts.some((adopt) => adopt.seq >= seq && isOpen(adopt))) return true
    if (seq > this.#lowest) return false
    if (this.#lowestCuts.length > 0) return this.#lowestCuts.some(isOpen)
    return this.adopts.length === 0 || this.adopts.some(isOpen)
  }

  /** Hashes of entries that can neither be before a position nor after it: where both paths are known there are two entries at one number. */
  #ruledOutBy(end: Position): Set<string> {
    const path = new Map<number, string>([[end.seq, end.hash]])
    for (let at = this.#held(end); at?.previous !== undefined; at = this.#byHash.get(at.previous))
      path.set(at.seq - 1, at.previous)
    const isOther = (seq: number, hash: string) => path.has(seq) && path.get(seq) !== hash
    const out = new Set<string>()
    for (const [seq, held] of this.#levels) {
      for (const { hash, previous } of held) {
        const isBeforeOut = previous !== undefined && (out.has(previous) || isOther(seq - 1, previous))
        if (isBeforeOut || isOther(seq, hash)) out.add(hash)
      }
    }
    return out
  }

  #pathsTo(ends: readonly Position[]): Set<string> {
    const path = new Set<string>()
    for (const end of ends) {
      let at = this.#held(end)
      while (at !== undefined && at.seq >= this.forkSeq && !path.has(at.hash)) {
        path.add(at.hash)
        at = at.previous === undefined ? undefined : this.#byHash.get(at.previous)
      }
    }
    return path
  }

  /** A cut or adopt whose hash is held at another place than it says names nothing that is held. */
  #held({ seq, hash }: Position): Place | undefined {
    const link = this.#byHash.get(hash)
    return link?.seq === seq ? link : undefined
  }
}
