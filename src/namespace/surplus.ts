import { bytesText, equalBytes, fromHex, toHex } from '../encoding/index.ts'
import { maxSurplusBytes, maxSurplusEntries } from '../limits.ts'
import { type Entry, encodeEntry } from '../log/index.ts'
import type { ShownEntries } from '../membership/index.ts'
import type { Chains, Tip } from './chains.ts'
import { isAmong } from './shown.ts'
import type { Transaction } from './transaction.ts'

/** What is held of a chain beyond its limit. */
interface Held {
  /** See `ShownEntries`: while it is this one, nothing of that comes to be shown. */
  readonly era: unknown
  entries: number
  bytes: number
}

/** What is held beyond the limits of one grant's chains. */
export class SurplusOfGrant {
  readonly #byChain: Map<string, Held>
  #entries = 0
  #bytes = 0

  constructor(byChain: Map<string, Held>) {
    this.#byChain = byChain
    for (const { entries, bytes } of byChain.values()) {
      this.#entries += entries
      this.#bytes += bytes
    }
  }

  hasRoomFor(bytes: number): boolean {
    return this.#entries < maxSurplusEntries && this.#bytes + bytes <= maxSurplusBytes
  }

  /** One more is kept. */
  add(chain: Uint8Array, bytes: number, { era }: ShownEntries): void {
    const held = this.#byChain.get(bytesText(chain)) ?? { era, entries: 0, bytes: 0 }
    this.#byChain.set(bytesText(chain), held)
    held.entries += 1
    held.bytes += bytes
    this.#entries += 1
    this.#bytes += bytes
  }
}

/**
 * How much is held beyond the limits of chains, in case it is adopted. Looked through once, then counted along: what is no longer shown
 * later is not counted until the next start, so somewhat more may be kept.
 */
export class Surplus {
  /** By grant, then chain. */
  readonly #held = new Map<string, Map<string, Held>>()

  /** What is held may be less than was counted. */
  forget(): void {
    this.#held.clear()
  }

  async of(grant: Uint8Array, tx: Transaction, chains: Chains): Promise<SurplusOfGrant> {
    const { membership } = tx
    const known = this.#held.get(toHex(grant))
    const held = new Map<string, Held>()
    for (const tip of [...chains.all(), ...[...tx.tips].flat()]) {
      const name = bytesText(tip.chain)
      if (held.has(name) || !equalBytes(tip.grant, grant)) continue
      const shown = membership.shownOf(tip)
      if (shown === undefined) continue
      const before = known?.get(name)
      held.set(name, before !== undefined && before.era === shown.era ? before : await heldBeyond(tx, tip, shown))
    }
    this.#held.set(toHex(grant), held)
    return new SurplusOfGrant(held)
  }
}

async function heldBeyond(tx: Transaction, { chain }: Tip, shown: ShownEntries): Promise<Held> {
  const held = { era: shown.era, entries: 0, bytes: 0 }
  for await (const entry of entriesBeyond(tx, chain, shown)) {
    held.entries += 1
    held.bytes += encodeEntry(entry).length
    if (held.entries >= maxSurplusEntries) break
  }
  return held
}

async function* entriesBeyond(tx: Transaction, chain: Uint8Array, shown: ShownEntries): AsyncGenerator<Entry> {
  const { from, hashes } = shown.hidden ?? { from: Number.POSITIVE_INFINITY, hashes: [] }
  for await (const entry of tx.heldBetween(chain, shown.below, from)) {
    if (!isAmong(shown, entry.header.seq, entry.hash)) yield entry
  }
  for (const name of hashes) {
    const entry = await tx.entry(fromHex(name))
    if (entry !== undefined) yield entry
  }
}
