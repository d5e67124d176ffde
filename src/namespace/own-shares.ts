import { bytesText, equalBytes } from '../encoding/index.ts'
import type { Ledger, NamespaceChange } from './ledger.ts'
import type { Share } from './share-book.ts'
import { SharingView } from './sharing-view.ts'

/** The shares in force that one agent gave. */
export interface SharesGiven {
  /** Artifacts (20 bytes) of which there may be one; none is left out. */
  readonly artifacts: Iterable<Uint8Array>
  /** How many these are. */
  readonly size: number
  /** Those of an artifact that are in force. */
  of(artifact: Uint8Array): readonly Share[]
}

interface OfArtifact {
  readonly artifact: Uint8Array
  readonly shares: Share[]
}

/**
 * What this node's agent shares of a namespace, by artifact. Looked for once, when it is first asked for; from then on only what changed
 * is read again.
 */
export class OwnShares {
  readonly #ledger: Ledger
  /** By artifact as text; `undefined` until it is asked for, and once keys have come that may open more. */
  #all: Map<string, OfArtifact> | undefined
  /** Artifacts that changed since they were read. */
  #stale = new Map<string, Uint8Array>()
  #turn: Promise<unknown> = Promise.resolve()

  constructor(ledger: Ledger) {
    this.#ledger = ledger
    ledger.subscribe((change) => this.#note(change))
  }

  /** All that is stored by now. @throws what the store throws; the signal's reason */
  async given(signal?: AbortSignal): Promise<SharesGiven> {
    const reading = this.#turn.then(() => this.#read(signal))
    this.#turn = reading.catch(() => {})
    const all = await reading
    const view = SharingView.stored(this.#ledger.parts, this.#ledger.membership)
    return {
      artifacts: { [Symbol.iterator]: () => all.values().map(({ artifact }) => artifact) },
      size: all.size,
      of: (artifact) => (all.get(bytesText(artifact))?.shares ?? []).filter((share) => view.isInForce(share)),
    }
  }

  #note({ shared, keysGained }: NamespaceChange): void {
    if (keysGained) this.#all = undefined
    if (this.#all !== undefined) for (const artifact of shared) this.#stale.set(bytesText(artifact), artifact)
  }

  async #read(signal: AbortSignal | undefined): Promise<ReadonlyMap<string, OfArtifact>> {
    const stale = this.#stale
    this.#stale = new Map()
    // What comes from here on is noted.
    const all = this.#all ?? new Map<string, OfArtifact>()
    const isNew = this.#all === undefined
    this.#all = all
    try {
      if (isNew) {
        for await (const share of this.#ledger.parts.shares.ofChains(this.#ownChains(), signal)) this.#add(all, share)
        return all
      }
      for (const [name, artifact] of stale) {
        const shares = await this.#ledger.parts.shares.of(artifact)
        all.delete(name)
        for (const share of shares) this.#add(all, share)
      }
      return all
    } catch (error) {
      this.#all = undefined
      throw error
    }
  }

  #add(all: Map<string, OfArtifact>, share: Share): void {
    const { issuer, artifact } = share.claims
    if (!equalBytes(issuer, this.#self)) return
    const name = bytesText(artifact)
    const known = all.get(name)
    if (known === undefined) all.set(name, { artifact, shares: [share] })
    else known.shares.push(share)
  }

  #ownChains(): Set<string> {
    const chains = [...this.#ledger.chains.all()].filter(({ author }) => equalBytes(author, this.#self))
    return new Set(chains.map(({ chain }) => bytesText(chain)))
  }

  get #self(): Uint8Array {
    return this.#ledger.parts.env.agent.publicKey
  }
}
