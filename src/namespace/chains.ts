import type { ClockReading } from '../catalog/index.ts'
import { decodeCanonical, encodeCanonical, equalBytes, prefixEnd, toHex } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import { maxParentHeads } from '../limits.ts'
import { decodeEntry } from '../log/index.ts'
import type { KeyRange, KeyValueChange, KeyValueStore } from '../storage/index.ts'
import { chainIdOf, type NamespaceKeys, placeOf } from './tables.ts'

const chainBytes = 16

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
  /** Chains whose newest entry is not what it was, or gone: nothing may follow it. */
  readonly #broken = new Set<string>()

  /**
   * The heads as the log has them: a recorded head is believed only where the chain's last entry cannot be read, or is
   * gone. Two seeks and one entry a chain.
   */
  static async load(store: KeyValueStore, keys: NamespaceKeys): Promise<Chains> {
    const chains = new Chains()
    for await (const [, value] of store.entries(keys.all('chains'))) {
      const recorded = readHead(value)
      if (recorded === undefined) continue
      chains.set(recorded)
      chains.#broken.add(toHex(recorded.chain))
    }
    const { gte, lt } = keys.all('entries')
    for (let from = gte; ; ) {
      const first = await firstRow(store, { gte: from, lt })
      if (first === undefined) return chains
      const chain = first[0].slice(gte.length, gte.length + chainBytes)
      const range = { gte: keys.key('entries', chain), lt: prefixEnd(keys.key('entries', chain)) as Uint8Array }
      const [key, bytes] = (await firstRow(store, { ...range, reverse: true })) ?? first
      chains.#setLast(chain, headAt(key.subarray(gte.length), bytes))
      from = range.lt
    }
  }

  #setLast(chain: Uint8Array, last: ChainHead | undefined): void {
    const name = toHex(chain)
    const recorded = this.#heads.get(name)
    if (last !== undefined) this.#heads.set(name, last)
    if (last === undefined || (recorded !== undefined && recorded.seq > last.seq)) this.#broken.add(name)
    else this.#broken.delete(name)
  }

  /** Whether the chain's newest entry is damaged or gone: what would be appended could stand beside another entry. */
  isBroken(chain: Uint8Array): boolean {
    return this.#broken.has(toHex(chain))
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

/** A recorded head, or `undefined` when the row is damaged. */
export function readHead(value: Uint8Array): ChainHead | undefined {
  try {
    return decodeHead(value)
  } catch (error) {
    if (!isHubError(error)) throw error
    return undefined
  }
}

function decodeHead(value: Uint8Array): ChainHead {
  const row = decodeCanonical(value, { maxBytes: 512, what: 'a chain head' })
  if (!Array.isArray(row) || row.length !== 7) throw damagedHead()
  const [chain, grant, incarnation, seq, hash, wallMs, counter] = row
  const isWell =
    [chain, grant, incarnation, hash].every((bytes) => bytes instanceof Uint8Array) &&
    [seq, wallMs, counter].every((figure) => Number.isSafeInteger(figure) && figure >= 0)
  if (!isWell) throw damagedHead()
  return { chain, grant, incarnation, seq, hash, clock: { wallMs, counter } }
}

function damagedHead(): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', 'a chain head is damaged')
}

/** The head that an entry is, or `undefined` when it is damaged or not where it says. */
function headAt(place: Uint8Array, bytes: Uint8Array): ChainHead | undefined {
  try {
    const { header, hash } = decodeEntry(bytes)
    const { author, incarnation, seq, clock } = header
    const grant = header.grant ?? hash
    const chain = chainIdOf(author, grant, incarnation)
    return equalBytes(placeOf(chain, seq), place) ? { chain, grant, incarnation, seq, hash, clock } : undefined
  } catch (error) {
    if (!isHubError(error)) throw error
    return undefined
  }
}

async function firstRow(store: KeyValueStore, range: KeyRange): Promise<[Uint8Array, Uint8Array] | undefined> {
  for await (const row of store.entries({ ...range, limit: 1 })) return row
  return undefined
}
