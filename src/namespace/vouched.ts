import { artifactIdOf, bytesText, prefixEnd } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import { chainOf } from './chains.ts'
import { isBefore, isLedTo, namedBy } from './origins.ts'
import type { NamespaceParts } from './parts.ts'
import type { Transaction } from './transaction.ts'

/**
 * Entries of chains that end at a cut which a partial log takes from anybody, for others that it holds stand for them: versions that are named by what somebody
 * wrote who may, and entries that say who may do what right before one that is believed.
 */
export class Vouched {
  readonly #parts: NamespaceParts
  readonly #tx: Transaction
  /** What entries that were stored in this transaction name. */
  readonly #named = new Set<string>()

  constructor(parts: NamespaceParts, tx: Transaction) {
    this.#parts = parts
    this.#tx = tx
  }

  /** An entry was stored. */
  note(entry: Entry): void {
    const names = namedBy(entry)
    if (names.length > 0 && this.#tx.membership.counts(entry)) for (const name of names) this.#named.add(name)
  }

  async has(entry: Entry): Promise<boolean> {
    if (entry.header.data !== undefined) return await this.#isNamed(entry)
    return await isLedTo(this.#tx.membership, entry, (one) => this.#nextOf(one))
  }

  async #nextOf(entry: Entry): Promise<Entry | undefined> {
    const chain = chainOf(entry)
    for (const next of this.#tx.storedHere(chain)) if (isBefore(entry, next)) return next
    for await (const next of this.#tx.storedOf(chain, entry.header.seq + 1)) {
      if (next.header.seq > entry.header.seq + 1) return undefined
      if (isBefore(entry, next)) return next
    }
    return undefined
  }

  async #isNamed({ hash, header }: Entry): Promise<boolean> {
    const name = bytesText(hash)
    if (this.#named.has(name)) return true
    const { data } = header
    if (data === undefined) return false
    const artifact = artifactIdOf(this.#parts.id, data.artifactSalt)
    if (await this.#tx.catalog.isAwaited(artifact, hash)) return true
    for await (const share of sharesOf(this.#parts, artifact)) {
      if (namedBy(share).includes(name) && this.#tx.membership.counts(share)) return true
    }
    return false
  }
}

/** The share entries of an artifact that are in the store. */
export async function* sharesOf({ env, keys, log }: NamespaceParts, artifact: Uint8Array): AsyncGenerator<Entry> {
  const gte = keys.key('shares', artifact)
  const hashBytes = 32
  for await (const [key] of env.store.entries({ gte, lt: prefixEnd(gte) as Uint8Array })) {
    const share = await log.unverified(key.slice(-hashBytes))
    if (share !== undefined) yield share
  }
}
