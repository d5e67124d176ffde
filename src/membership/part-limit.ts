import { type Bounds, type ChainFacts, type ChainLimit, lowestTwo, type OpenFork } from './chain-limit.ts'
import { type ChainLinks, type Link, seqKey } from './chain-links.ts'
import { HexMap } from './hex-map.ts'
import { type Known, NamedPaths } from './named-paths.ts'

/** What is found of a held entry, from the lowest fork up. */
interface Standing extends Known {
  /** Whether it is on a branch that counts, as links show. */
  readonly isProven: boolean
  /** Whether another stands in its way. */
  readonly isWaiting: boolean
}

/** What was found of a chain, by number from the lowest fork up. */
interface Found {
  readonly limit: ChainLimit
  readonly forks: HexMap<readonly OpenFork[]>
  readonly standings: HexMap<Standing>
}

/**
 * The limit of a chain of which entries may be missing, as whoever holds a part has it: `For who holds a part` in this folder's README. Of a chain
 * that is held whole, up to all that is named, it is what `WholeBounds` gives.
 */
export class PartBounds implements Bounds {
  readonly limit: ChainLimit
  readonly forks: HexMap<readonly OpenFork[]>
  readonly ends = HexMap.empty<number>()
  readonly settledUpTo = -1
  readonly #named: NamedPaths
  readonly #standings: HexMap<Standing>

  private constructor(named: NamedPaths, { limit, forks, standings }: Found) {
    this.#named = named
    this.limit = limit
    this.forks = forks
    this.#standings = standings
  }

  /**
   * Costs what is held and what is named, each once: both may be written by somebody hostile.
   * @param facts.links every held entry from the lowest fork, and the lowest adopt, up
   */
  static of(facts: ChainFacts): Bounds {
    const named = new NamedPaths(facts)
    const judge = new Judge(facts.links, named)
    for (const level of facts.links.levelsFrom(named.forkSeq)) judge.look(level)
    for (const level of facts.links.levelsFrom(named.forkSeq)) judge.judge(level)
    for (const level of facts.links.levelsFrom(named.forkSeq)) judge.count(level)
    return new PartBounds(named, judge.found)
  }

  get unclear(): string[] {
    return this.forks.size > 0 ? [] : [...this.#standings].flatMap(([hash, { isWaiting }]) => (isWaiting ? [hash] : []))
  }

  with(links: ChainLinks, link: Link): Bounds | undefined {
    const named = this.#named.with(links, link)
    if (named === undefined) return undefined
    if (link.seq < named.forkSeq) return this
    const judge = new Judge(links, named, { limit: this.limit, forks: this.forks, standings: this.#standings })
    judge.add(link, this.#named.forkSeq)
    return new PartBounds(named, judge.found)
  }
}

/** Goes through held entries from the lowest fork up, and over those again that one more changes. */
class Judge {
  readonly #links: ChainLinks
  readonly #named: NamedPaths
  readonly #below: number
  #beyond: HexMap<number>
  #forks: HexMap<readonly OpenFork[]>
  #standings: HexMap<Standing>

  constructor(links: ChainLinks, named: NamedPaths, from?: Found) {
    this.#links = links
    this.#named = named
    this.#below = named.below
    this.#beyond = from?.limit.beyond ?? named.beyond
    this.#forks = from?.forks ?? HexMap.empty()
    this.#standings = from?.standings ?? HexMap.empty()
  }

  get found(): Found {
    const limit = { below: this.#below, beyond: this.#beyond }
    return { limit, forks: this.#forks, standings: this.#standings }
  }

  /** Finds what is known of the places of entries of one number, once that is so of those before. */
  look(level: readonly Link[]): void {
    for (const link of level) {
      const place = this.#named.placeOf(link, this.#before(link))
      this.#standings = this.#standings.with(link.hash, { ...place, isProven: false, isWaiting: false })
    }
  }

  /** Finds which entries of one number are shown to count, which wait, and forks that nobody has settled. Tells whether that changed. */
  judge(level: readonly Link[]): boolean {
    const [{ seq } = { seq: 0 }] = level
    const { lowest } = this.#named
    const open = level.filter(({ hash }) => this.#of(hash)?.mayCount)
    const siblings = new Map<string | undefined, number>()
    for (const { previous } of open) siblings.set(previous, (siblings.get(previous) ?? 0) + 1)
    let isChanged = false
    for (const link of level) {
      const { hash, previous } = link
      const before = this.#before(link)
      const standing = this.#of(hash) as Standing
      const isAwaited = this.#named.isOtherMissing(seq, hash)
      const isLed = siblings.get(previous) === 1 && !isAwaited && before?.isProven === true
      const isShown = this.#named.isCounted(hash) || (seq < lowest && (this.#named.isSettled(hash) || isLed))
      const isProven = standing.mayCount && isShown
      const isHeldUp = open.length > 1 || isAwaited || before?.isWaiting === true
      const isWaiting = standing.mayCount && !isProven && isHeldUp
      if (standing.isProven === isProven && standing.isWaiting === isWaiting) continue
      this.#standings = this.#standings.with(hash, { ...standing, isProven, isWaiting })
      isChanged = true
    }
    this.#setForks(seq, seq < lowest ? this.#forksAmong(seq, open) : [])
    return isChanged
  }

  /** Notes which entries of one number count. */
  count(level: readonly Link[]): void {
    const firstFork = this.#firstFork
    for (const { seq, hash } of level) {
      const { mayCount, isProven, isWaiting } = this.#of(hash) as Standing
      const isAfterFork = firstFork < seq && !isProven
      // A cut may say of what is held here that it stands elsewhere.
      const place = mayCount && !isWaiting && !isAfterFork ? seq : this.#named.beyond.get(hash)
      this.#beyond = place === undefined ? this.#beyond.without(hash) : this.#beyond.with(hash, place)
    }
  }

  /**
   * Takes in one more.
   * @param forkSeq the lowest fork before
   */
  add(link: Link, forkSeq: number): void {
    const firstBefore = this.#firstFork
    const isLower = this.#named.forkSeq < forkSeq
    const from = isLower ? this.#named.forkSeq : link.seq
    if (isLower) for (const level of this.#levels(from, forkSeq - 1)) this.look(level)
    else this.look([link])
    // What comes after it, and was held before, has more before it now.
    const upTo = isLower ? forkSeq : this.#lookAfter(link)
    const judged: (readonly Link[])[] = []
    let changedAt = Number.NaN
    for (const level of this.#levels(from, Number.POSITIVE_INFINITY)) {
      const { seq } = level[0] as Link
      if (seq > upTo && seq !== changedAt + 1) break
      if (this.judge(level)) changedAt = seq
      judged.push(level)
    }
    for (const level of judged) this.count(level)
    const [low, high] = [this.#firstFork, firstBefore].sort((one, two) => one - two) as [number, number]
    if (low < high) for (const level of this.#levels(low + 1, high)) this.count(level)
  }

  /** Finds again what is known of the places of those after one that came later; gives up to which number they are judged anew. */
  #lookAfter(first: Link): number {
    let upTo = first.seq
    const left = [...this.#links.after(first)]
    for (let link = left.pop(); link !== undefined; link = left.pop()) {
      const standing = this.#of(link.hash) as Standing
      const place = this.#named.placeOf(link, this.#before(link))
      const { isKnownDown, isAfterAdopt, mayCount } = standing
      if (place.isKnownDown === isKnownDown && place.isAfterAdopt === isAfterAdopt && place.mayCount === mayCount)
        continue
      this.#standings = this.#standings.with(link.hash, { ...standing, ...place })
      upTo = Math.max(upTo, link.seq)
      left.push(...this.#links.after(link))
    }
    return upTo
  }

  *#levels(from: number, to: number): Generator<readonly Link[]> {
    for (const level of this.#links.levelsFrom(from)) {
      if ((level[0] as Link).seq > to) return
      yield level
    }
  }

  get #firstFork(): number {
    for (const [, [fork]] of this.#forks) return fork?.seq ?? Number.POSITIVE_INFINITY
    return Number.POSITIVE_INFINITY
  }

  #of(hash: string): Standing | undefined {
    return this.#standings.get(hash)
  }

  #before(link: Link): Standing | undefined {
    const before = this.#links.before(link)
    return before && this.#of(before.hash)
  }

  /** What follows one entry, or stands at one number without that anybody could tell after what, and is settled for none. */
  #forksAmong(seq: number, open: readonly Link[]): OpenFork[] {
    if (open.length < 2) return []
    const next = open.filter((link) => this.#before(link)?.isWaiting !== true)
    const groups = [...Map.groupBy(next, ({ previous }) => previous).values()].filter(({ length }) => length > 1)
    const isUnclear = next.length > 1 && next.some(({ hash }) => this.#of(hash)?.isProven !== true)
    return (groups.length > 0 ? groups : isUnclear ? [next] : [])
      .filter((entries) => !entries.some((entry) => this.#named.isOpen(entry)))
      .map((entries) => ({ seq, previous: undefined, lowest: lowestTwo(entries.map(({ hash }) => hash)) }))
  }

  #setForks(seq: number, forks: readonly OpenFork[]): void {
    const key = seqKey(seq)
    this.#forks = forks.length > 0 ? this.#forks.with(key, forks) : this.#forks.without(key)
  }
}
