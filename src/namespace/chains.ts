import type { ClockReading } from '../catalog/index.ts'
import { decodeCanonical, encodeCanonical, toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { maxParentHeads } from '../limits.ts'
import type { KeyValueChange, KeyValueStore } from '../storage/index.ts'
import type { NamespaceKeys } from './tables.ts'

/** The newest entry of a chain. */
export interface ChainHead {
  /** 16 bytes: see `chainIdOf`. */
  readonly chain: Uint8Array
  readonly grant: Uint8Array
  readonly incarnation: Uint8Array
  readonly seq: number
  readonly hash: Uint8Array
  readonly clock: ClockReading
}

/** The heads of all chains of a namespace, in memory: one row each, however long the chains. */
export class Chains {
  readonly #heads = new Map<string, ChainHead>()
  /** By chain, the seq up to which this node's entries have named it. */
  readonly #named = new Map<string, number>()

  static async load(store: KeyValueStore, keys: NamespaceKeys): Promise<Chains> {
    const chains = new Chains()
    for await (const [, value] of store.entries(keys.all('chains'))) chains.set(decodeHead(value))
    return chains
  }

  get(chain: Uint8Array): ChainHead | undefined {
    return this.#heads.get(toHex(chain))
  }

  set(head: ChainHead): void {
    this.#heads.set(toHex(head.chain), head)
  }

  values(): Iterable<ChainHead> {
    return this.#heads.values()
  }

  /** Entries in all chains. */
  get entries(): number {
    let count = 0
    for (const { seq } of this.#heads.values()) count += seq + 1
    return count
  }

  /**
   * Hashes of the newest entries of other chains that have grown since this was last noted, the latest 32, ascending. Old
   * incarnations never grow, so they are not named for ever.
   */
  headsBeside(chain: Uint8Array): Uint8Array[] {
    const own = toHex(chain)
    return [...this.#heads]
      .filter(([id, { seq }]) => id !== own && seq > (this.#named.get(id) ?? -1))
      .map(([, head]) => head)
      .sort((a, b) => b.clock.wallMs - a.clock.wallMs || b.clock.counter - a.clock.counter)
      .slice(0, maxParentHeads)
      .map(({ hash }) => hash)
      .sort(Buffer.compare)
  }

  /** Notes that an entry of this node names what `headsBeside` gave. */
  noteNamed(): void {
    for (const [id, { seq }] of this.#heads) this.#named.set(id, seq)
  }
}

/** The change that records a head. */
export function headChange(keys: NamespaceKeys, head: ChainHead): KeyValueChange {
  const { chain, grant, incarnation, seq, hash, clock } = head
  const value = encodeCanonical([chain, grant, incarnation, seq, hash, clock.wallMs, clock.counter])
  return { type: 'put', key: keys.key('chains', chain), value }
}

function decodeHead(value: Uint8Array): ChainHead {
  const row = decodeCanonical(value, { maxBytes: 512, what: 'a chain head' })
  if (!Array.isArray(row) || row.length !== 7) throw new ArtifactHubError('CORRUPT', 'a chain head is damaged')
  const [chain, grant, incarnation, seq, hash, wallMs, counter] = row
  return { chain, grant, incarnation, seq, hash, clock: { wallMs, counter } }
}
