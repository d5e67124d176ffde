import { HexMap } from './hex-map.ts'

/** An entry of a chain, and what it names as the one before it. */
export interface Link {
  /** Hex, as all in here. */
  readonly hash: string
  readonly seq: number
  readonly previous: string | undefined
}

/** Entries of one chain with branches. Immutable: `with` gives another that shares what was there. */
export class ChainLinks {
  static readonly none = new ChainLinks(HexMap.empty(), HexMap.empty(), Number.POSITIVE_INFINITY)
  readonly #byHash: HexMap<Link>
  readonly #bySeq: HexMap<readonly Link[]>
  /** The lowest number of which there are several: infinity without any. */
  readonly forkSeq: number

  private constructor(byHash: HexMap<Link>, bySeq: HexMap<readonly Link[]>, forkSeq: number) {
    this.#byHash = byHash
    this.#bySeq = bySeq
    this.forkSeq = forkSeq
  }

  static of(links: Iterable<Link>): ChainLinks {
    let all = ChainLinks.none
    for (const link of links) all = all.with(link)
    return all
  }

  get size(): number {
    return this.#byHash.size
  }

  with({ hash, seq, previous }: Link): ChainLinks {
    if (this.#byHash.has(hash)) return this
    // One copy of each hash.
    const before = previous === undefined ? undefined : (this.#byHash.get(previous)?.hash ?? previous)
    const link = { hash, seq, previous: before }
    const level = [...this.at(seq), link]
    const forkSeq = level.length > 1 ? Math.min(this.forkSeq, seq) : this.forkSeq
    return new ChainLinks(this.#byHash.with(hash, link), this.#bySeq.with(seqKey(seq), level), forkSeq)
  }

  get(hash: string): Link | undefined {
    return this.#byHash.get(hash)
  }

  /** The one of that hash, if it stands where that says. */
  held({ seq, hash }: Pick<Link, 'seq' | 'hash'>): Link | undefined {
    const link = this.#byHash.get(hash)
    return link?.seq === seq ? link : undefined
  }

  /** What a link names as the one before it: at another number it is none. */
  before({ seq, previous }: Link): Link | undefined {
    return previous === undefined ? undefined : this.held({ seq: seq - 1, hash: previous })
  }

  /** Those of one number. */
  at(seq: number): readonly Link[] {
    return this.#bySeq.get(seqKey(seq)) ?? []
  }

  /** Those right after one. */
  after({ seq, hash }: Link): readonly Link[] {
    const next = this.at(seq + 1)
    return next.length === 1 && next[0]?.previous === hash ? next : next.filter(({ previous }) => previous === hash)
  }

  /** Numbers from one up of which there are any, ascending, with those. */
  levelsFrom(seq: number): Iterable<readonly Link[]> {
    return seq === Number.POSITIVE_INFINITY ? [] : this.#bySeq.from(seqKey(seq)).map(([, level]) => level)
  }
}

/** A number as a key: in order. */
export function seqKey(seq: number): string {
  return seq.toString(16).padStart(14, '0')
}
