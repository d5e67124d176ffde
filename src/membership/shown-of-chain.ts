import { fromHex } from '../encoding/index.ts'
import { type Bounds, isWithin } from './chain-limit.ts'
import { type ChainLinks, seqKey } from './chain-links.ts'
import type { ChainBounds } from './linked-chain.ts'
import type { EntryPosition, ShownEntries } from './members.ts'

/** What is shown of a chain that is bounded, from what bounds it and what is linked of it. */
export class ShownOfChain implements ShownEntries {
  readonly awaited: number
  readonly era: unknown
  readonly #bounds: Bounds
  readonly #links: ChainLinks

  constructor({ bounds, awaited, era }: ChainBounds, links: ChainLinks) {
    this.#bounds = bounds
    this.awaited = awaited
    this.era = era
    this.#links = links
  }

  get settledUpTo(): number {
    return this.#bounds.settledUpTo
  }

  get hidden(): ShownEntries['hidden'] {
    const { forkSeq } = this.#links
    if (forkSeq === Number.POSITIVE_INFINITY) return undefined
    const from = Math.max(this.below, forkSeq)
    return { from, hashes: this.#hiddenFrom(from) }
  }

  *#hiddenFrom(from: number): Generator<string> {
    for (const level of this.#links.levelsFrom(from)) {
      for (const { seq, hash } of level) if (!this.has(seq, hash)) yield hash
    }
  }

  get below(): number {
    return this.#bounds.limit.below
  }

  has(seq: number, hash: string): boolean {
    const { limit, forks } = this.#bounds
    if (isWithin(limit, seq, hash)) return true
    return forks.get(seqKey(seq))?.some(({ lowest }) => lowest.includes(hash)) === true
  }

  get ends(): readonly EntryPosition[] {
    const { ends, forks } = this.#bounds
    const proofs = [...forks.values()].flat()
    const followed = new Set(proofs.map(({ previous }) => previous))
    const found = [...ends].filter(([hash]) => !followed.has(hash))
    const proving = proofs.flatMap(({ seq, lowest }) => lowest.map((hash): [string, number] => [hash, seq]))
    return [...found, ...proving].map(([hash, seq]) => ({ seq, hash: fromHex(hash) }))
  }
}
