import {
  type Bounds,
  type ChainFacts,
  type ChainLimit,
  countedBelow,
  lowestOf,
  lowestTwo,
  type OpenFork,
} from './chain-limit.ts'
import { type ChainLinks, type Link, seqKey } from './chain-links.ts'
import { HexMap } from './hex-map.ts'
import type { Position } from './statements.ts'

/** What one more link does not change, unless it is named. */
interface Said {
  /** Hashes that cuts and adopts name. */
  readonly named: ReadonlySet<string>
  /** Of the entries from the lowest fork up that are, or are before, what is named: if not only these count. */
  readonly settled: ReadonlySet<string> | undefined
  readonly forkSeq: number
  readonly lowest: number
  /** The highest number of what is named, held and linked; -1 without any. */
  readonly settledUpTo: number
}

/** The limit of a chain that is held whole. */
export class WholeBounds implements Bounds {
  readonly limit: ChainLimit
  readonly forks: HexMap<readonly OpenFork[]>
  readonly ends: HexMap<number>
  readonly unclear = []
  readonly #said: Said

  private constructor(said: Said, { below, beyond, forks, ends }: Found) {
    this.#said = said
    this.limit = { below, beyond }
    this.forks = forks
    this.ends = ends
  }

  /** Costs what is named and what counts from the lowest fork up, each once. */
  static of({ cuts, adopts, links }: ChainFacts): Bounds {
    const { lowest, lowestCuts } = lowestOf(cuts)
    const { forkSeq } = links
    const listed = cuts.filter((cut) => cut !== undefined)
    const isHeld = (position: Position) => links.held(position) !== undefined
    const adopted = adopts.filter(isHeld)
    const found = new Found(countedBelow({ adopted, lowest, forkSeq }))
    const named = new Set([...adopts, ...listed].map(({ hash }) => hash))
    const settledUpTo = [...adopted, ...listed.filter(isHeld)].reduce((most, { seq }) => Math.max(most, seq), -1)
    const said = { named, settled: undefined, forkSeq, lowest, settledUpTo }
    // An entry that stands where a cut does and is another one is not on the cut's path, whether or not the cut's entry is held.
    if (lowest < forkSeq) for (const cut of lowestCuts) found.count(cut)
    if (forkSeq === Number.POSITIVE_INFINITY) return new WholeBounds(said, found.closed(links))
    const onPaths = pathsTo(links, adopted)
    if (lowest >= forkSeq) for (const link of pathsTo(links, lowestCuts)) onPaths.add(link)
    for (const link of onPaths) found.count(link)
    const isCut = lowestCuts.length > 0 && lowestCuts.every(isHeld)
    if (lowest < forkSeq || isCut) return new WholeBounds(said, found.closed(links))
    const settled = new Set([...pathsTo(links, [...adopted, ...listed])].map(({ hash }) => hash))
    followSettled(links, { settled, forkSeq, lowest }, onPaths, found)
    return new WholeBounds({ ...said, settled }, found.closed(links))
  }

  get settledUpTo(): number {
    return this.#said.forkSeq < Number.POSITIVE_INFINITY ? this.#said.settledUpTo : -1
  }

  with(links: ChainLinks, link: Link): Bounds | undefined {
    const { named, settled, forkSeq, lowest } = this.#said
    const { hash, seq, previous } = link
    if (named.has(hash) || links.forkSeq !== forkSeq || links.after(link).length > 0) return undefined
    const { limit } = this
    const before = links.before(link)
    const isReached = seq === forkSeq || (before !== undefined && limit.beyond.get(before.hash) === before.seq)
    if (settled === undefined || seq < forkSeq || seq >= lowest || !isReached) return this
    const beside = links.at(seq).filter((one) => one.previous === previous && one.hash !== hash)
    if (beside.some((one) => settled.has(one.hash))) return this
    const found = new Found(limit.below, this)
    const [only] = beside
    if (only === undefined) found.countAfter(before, link)
    else if (beside.length === 1) found.drop(links, before, only)
    if (only !== undefined) found.fork(seq, previous, [...beside.map((one) => one.hash), hash])
    return new WholeBounds(this.#said, found)
  }
}

/** What was found so far. */
class Found {
  readonly below: number
  beyond: HexMap<number>
  forks: HexMap<readonly OpenFork[]>
  ends: HexMap<number>

  constructor(below: number, from?: Bounds) {
    this.below = below
    this.beyond = from?.limit.beyond ?? HexMap.empty()
    this.forks = from?.forks ?? HexMap.empty()
    this.ends = from?.ends ?? HexMap.empty()
  }

  count({ seq, hash }: Position): void {
    if (seq >= this.below) this.beyond = this.beyond.with(hash, seq)
  }

  countAfter(before: Link | undefined, link: Link): void {
    this.count(link)
    if (before !== undefined) this.ends = this.ends.without(before.hash)
    this.ends = this.ends.with(link.hash, link.seq)
  }

  /** Has an entry, and all after it, count no more. */
  drop(links: ChainLinks, before: Link | undefined, first: Link): void {
    const left = [first]
    for (let link = left.pop(); link !== undefined; link = left.pop()) {
      this.beyond = this.beyond.without(link.hash)
      this.ends = this.ends.without(link.hash)
      left.push(...links.after(link).filter(({ hash }) => this.beyond.has(hash)))
      this.#setForks(link.seq + 1, (forks) => forks.filter(({ previous }) => previous !== link.hash))
    }
    if (before !== undefined && this.beyond.has(before.hash)) this.ends = this.ends.with(before.hash, before.seq)
  }

  fork(seq: number, previous: string | undefined, hashes: readonly string[]): void {
    const fork = { seq, previous, lowest: lowestTwo(hashes) }
    this.#setForks(seq, (forks) => [...forks.filter((one) => one.previous !== previous), fork])
  }

  #setForks(seq: number, change: (forks: readonly OpenFork[]) => readonly OpenFork[]): void {
    const key = seqKey(seq)
    const before = this.forks.get(key) ?? []
    const after = change(before)
    if (after.length > 0) this.forks = this.forks.with(key, after)
    else if (before.length > 0) this.forks = this.forks.without(key)
  }

  /** Once all that counts was found. */
  closed(links: ChainLinks): this {
    const followed = new Set<string | undefined>()
    for (const hash of this.beyond.keys()) {
      const link = links.get(hash)
      followed.add(link && links.before(link)?.hash)
    }
    for (const [hash, seq] of this.beyond) if (!followed.has(hash)) this.ends = this.ends.with(hash, seq)
    return this
  }
}

/** Held entries from the lowest fork up that are, or are before, those positions. */
function pathsTo(links: ChainLinks, ends: readonly Position[]): Set<Link> {
  const path = new Set<Link>()
  for (const end of ends) {
    let at = links.held(end)
    while (at !== undefined && at.seq >= links.forkSeq && !path.has(at)) {
      path.add(at)
      at = links.before(at)
    }
  }
  return path
}

/** Walks up from the lowest fork and from what counts already, through forks that are settled, to below `lowest`. */
function followSettled(
  links: ChainLinks,
  { settled, forkSeq, lowest }: { settled: ReadonlySet<string>; forkSeq: number; lowest: number },
  counting: Iterable<Link>,
  found: Found,
): void {
  const reached = new Set(counting)
  const left = [...reached]
  const goOn = (seq: number, previous: string | undefined, entries: readonly Link[]) => {
    if (seq >= lowest || entries.length === 0) return
    const counted = entries.length === 1 ? entries : entries.filter(({ hash }) => settled.has(hash))
    if (counted.length === 0) {
      const hashes = entries.map(({ hash }) => hash)
      found.fork(seq, previous, hashes)
    }
    for (const link of counted) {
      if (reached.has(link)) continue
      reached.add(link)
      found.count(link)
      left.push(link)
    }
  }
  for (const [previous, entries] of Map.groupBy(links.at(forkSeq), (link) => link.previous))
    goOn(forkSeq, previous, entries)
  for (let link = left.pop(); link !== undefined; link = left.pop()) goOn(link.seq + 1, link.hash, links.after(link))
}
