import type { ClockReading } from '../catalog/index.ts'
import {
  bytesText,
  concatBytes,
  decodeCanonical,
  encodeCanonical,
  equalBytes,
  orderedUint64,
  prefixEnd,
  sha256,
} from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import { maxParentHeads } from '../limits.ts'
import { type AuthBody, decodeEntry, type Entry } from '../log/index.ts'
import type { KeyRange, KeyValueChange, KeyValueStore } from '../storage/index.ts'
import { decodeStored } from './stored-log.ts'
import { chainIdOf, type NamespaceKeys, placeOf } from './tables.ts'

/** What an adopt says. */
export type AdoptBody = Extract<AuthBody, { kind: 'adopt' }>

const chainBytes = 16
const seqBytes = 8

/** An entry that none follows. A chain has one; a forked one has one for each branch. */
export interface Tip {
  /** 16 bytes: see `chainIdOf`. */
  readonly chain: Uint8Array
  readonly author: Uint8Array
  readonly grant: Uint8Array
  readonly incarnation: Uint8Array
  readonly seq: number
  readonly hash: Uint8Array
  readonly clock: ClockReading
}

/** The tips of all chains of a namespace, in memory: one row each, however long the chains. */
export class Chains {
  /** By chain, ascending by (seq, hash). */
  readonly #tips = new Map<string, readonly Tip[]>()
  /** By chain, the seq up to which this node's entries have named it. */
  readonly #named = new Map<string, number>()
  /** Chains whose newest entry is not what it was, or gone: nothing may follow it. */
  readonly #broken = new Set<string>()
  /** Of chains of which not all is shown, the tips of what is. */
  readonly #shown = new Map<string, readonly Tip[]>()
  #vector: { rows: Tip[]; hash: Uint8Array } | undefined

  /**
   * The tips as the log has them: recorded ones are believed only where the chain's last entry is one of them, cannot be read,
   * or is gone; of chains with several it is not looked at the others (`healTips`). Two seeks and one entry a chain.
   *
   * @param author whose chains are written on here: their last entries are checked to the signature
   */
  static async load(store: KeyValueStore, keys: NamespaceKeys, author: Uint8Array): Promise<Chains> {
    const chains = new Chains()
    for await (const [, value] of store.entries(keys.all('tips'))) {
      const recorded = readTip(value)
      if (recorded === undefined) continue
      chains.#add(recorded)
      chains.#broken.add(bytesText(recorded.chain))
    }
    const { gte, lt } = keys.all('entries')
    for (let from = gte; ; ) {
      const first = await firstRow(store, { gte: from, lt })
      if (first === undefined) return chains
      const chain = first[0].slice(gte.length, gte.length + chainBytes)
      const range = { gte: keys.key('entries', chain), lt: prefixEnd(keys.key('entries', chain)) as Uint8Array }
      const [key, bytes] = (await firstRow(store, { ...range, reverse: true })) ?? first
      chains.#setLast(chain, tipAt(key.subarray(gte.length), bytes, author))
      from = range.lt
    }
  }

  #setLast(chain: Uint8Array, last: Tip | undefined): void {
    const name = bytesText(chain)
    const recorded = this.#tips.get(name) ?? []
    const isRecorded = last !== undefined && recorded.some(({ hash }) => equalBytes(hash, last.hash))
    // Where there were several it is not known which of them are left.
    const others = recorded.length > 1 ? recorded : []
    if (last !== undefined && !isRecorded) this.#tips.set(name, [...others, last].sort(compareTips))
    if (last === undefined || recorded.some(({ seq }) => seq > last.seq)) this.#broken.add(name)
    else this.#broken.delete(name)
  }

  #add(tip: Tip): void {
    const name = bytesText(tip.chain)
    this.#tips.set(name, [...(this.#tips.get(name) ?? []), tip].sort(compareTips))
  }

  /** Whether the chain's newest entry is damaged or gone: what would be appended could stand beside another entry. */
  isBroken(chain: Uint8Array): boolean {
    return this.#broken.has(bytesText(chain))
  }

  /** Ascending by (seq, hash). */
  tipsOf(chain: Uint8Array): readonly Tip[] {
    return this.#tips.get(bytesText(chain)) ?? []
  }

  /** A chain has these tips now, all of them. */
  set(tips: readonly Tip[]): void {
    const [first] = tips
    if (first === undefined) return
    this.#vector = undefined
    this.#tips.set(bytesText(first.chain), tips)
  }

  /** What others are told of that chain; `undefined` when all that there is. */
  setShown(chain: Uint8Array, tips: readonly Tip[] | undefined): void {
    this.#vector = undefined
    if (tips === undefined) this.#shown.delete(bytesText(chain))
    else this.#shown.set(bytesText(chain), tips)
  }

  /** The tips of what others are told of a chain. */
  shownTipsOf(chain: Uint8Array): readonly Tip[] {
    return this.#shown.get(bytesText(chain)) ?? this.tipsOf(chain)
  }

  /** The tips of each chain that has several. */
  *forked(): Generator<readonly [Tip, ...Tip[]]> {
    for (const [first, ...others] of this.#tips.values())
      if (first !== undefined && others.length > 0) yield [first, ...others]
  }

  /** Every tip, in no order. */
  *all(): Generator<Tip> {
    for (const tips of this.#tips.values()) yield* tips
  }

  /** Every tip of what others are told of, ascending by chain, then hash; and the SHA-256 over chain ‖ seq (8) ‖ hash of each. */
  get vector(): { readonly rows: readonly Tip[]; readonly hash: Uint8Array } {
    if (this.#vector === undefined) {
      const shown = [...this.#tips].flatMap(([name, tips]) => this.#shown.get(name) ?? tips)
      const rows = shown.sort((a, b) => Buffer.compare(a.chain, b.chain) || Buffer.compare(a.hash, b.hash))
      const parts = rows.flatMap(({ chain, seq, hash }) => [chain, orderedUint64(seq), hash])
      this.#vector = { rows, hash: sha256(concatBytes(...parts)) }
    }
    return this.#vector
  }

  /**
   * Hashes of the newest entries of other chains that have grown since this was last noted, the latest 32, ascending. Old
   * incarnations never grow, so they are not named for ever. What others are not told of is not named: they would wait for it.
   */
  headsBeside(chain: Uint8Array): Uint8Array[] {
    const own = bytesText(chain)
    const grown: Tip[] = []
    for (const [id, tips] of this.#tips) {
      const newest = (this.#shown.get(id) ?? tips).at(-1)
      if (id !== own && newest !== undefined && newest.seq > (this.#named.get(id) ?? -1)) grown.push(newest)
    }
    return grown
      .sort((a, b) => b.clock.wallMs - a.clock.wallMs || b.clock.counter - a.clock.counter)
      .slice(0, maxParentHeads)
      .map(({ hash }) => hash)
      .sort(Buffer.compare)
  }

  /** Notes that an entry of this node names what `headsBeside` gave. */
  noteNamed(): void {
    for (const [id, tips] of this.#tips) this.#named.set(id, (this.#shown.get(id) ?? tips).at(-1)?.seq ?? -1)
  }
}

/** The tips of a chain once an entry is stored: it is one, and the entry before it no longer is. */
export function withTip(tips: readonly Tip[], tip: Tip, previous: Uint8Array | undefined): readonly Tip[] {
  const [first] = tips
  // Nearly every chain: no fork, one after the other.
  if (first === undefined) return [tip]
  if (previous !== undefined && tips.length === 1 && equalBytes(first.hash, previous)) return [tip]
  const replaced = [tip.hash, ...(previous === undefined ? [] : [previous])]
  const others = tips.filter(({ hash }) => !replaced.some((one) => equalBytes(one, hash)))
  return [...others, tip].sort(compareTips)
}

/**
 * The tips of a chain of which not all is held, once an entry is stored: the newest entries, and the lowest that share a number.
 * There are several exactly if the chain is known to be forked.
 *
 * @param siblings entries held before at its number
 */
export function withPartialTip(tips: readonly Tip[], tip: Tip, siblings: readonly Tip[]): readonly Tip[] {
  const newest = Math.max(tip.seq, ...tips.map(({ seq }) => seq))
  const all = new Map([...tips, ...siblings, tip].map((one) => [bytesText(one.hash), one]))
  const sorted = [...all.values()].sort(compareTips)
  const forkSeq = sorted.find((one, at) => sorted[at + 1]?.seq === one.seq)?.seq
  return sorted.filter(({ seq }) => seq === newest || seq === forkSeq)
}

/** By (seq, hash). */
export function compareTips(a: Tip, b: Tip): number {
  return a.seq - b.seq || Buffer.compare(a.hash, b.hash)
}

/** The chain that an entry stands in. */
export function chainOf({ header, hash }: Pick<Entry, 'header' | 'hash'>): Uint8Array {
  return chainIdOf(header.author, header.grant ?? hash, header.incarnation)
}

/** The chain that an adopt is about. */
export function adoptedChainOf({ agent, grant, incarnation }: AdoptBody): Uint8Array {
  return chainIdOf(agent, grant, incarnation)
}

/** An entry as a tip. */
export function tipOf(entry: Pick<Entry, 'header' | 'hash'>, chain: Uint8Array): Tip {
  const { author, grant, incarnation, seq, clock } = entry.header
  return { chain, author, grant: grant ?? entry.hash, incarnation, seq, hash: entry.hash, clock }
}

/** The row of a tip. */
export function tipKey(keys: NamespaceKeys, chain: Uint8Array, hash: Uint8Array): Uint8Array {
  return keys.key('tips', chain, hash)
}

/** The change that records a tip. */
export function tipChange(keys: NamespaceKeys, tip: Tip): KeyValueChange {
  const { chain, author, grant, incarnation, seq, hash, clock } = tip
  const value = encodeCanonical([chain, author, grant, incarnation, seq, hash, clock.wallMs, clock.counter])
  return { type: 'put', key: tipKey(keys, chain, hash), value }
}

/** The change that has a tip recorded no more. */
export function tipRemoval(keys: NamespaceKeys, { chain, hash }: Tip): KeyValueChange {
  return { type: 'del', key: tipKey(keys, chain, hash) }
}

/** A recorded tip, or `undefined` when the row is damaged. */
export function readTip(value: Uint8Array): Tip | undefined {
  try {
    return decodeTip(value)
  } catch (error) {
    if (!isHubError(error)) throw error
    return undefined
  }
}

function decodeTip(value: Uint8Array): Tip {
  const row = decodeCanonical(value, { maxBytes: 512, what: 'the tip of a chain' })
  if (!Array.isArray(row) || row.length !== 8) throw damagedTip()
  const [chain, author, grant, incarnation, seq, hash, wallMs, counter] = row
  const isWell =
    [chain, author, grant, incarnation, hash].every((bytes) => bytes instanceof Uint8Array) &&
    [seq, wallMs, counter].every((figure) => Number.isSafeInteger(figure) && figure >= 0)
  if (!isWell) throw damagedTip()
  return { chain, author, grant, incarnation, seq, hash, clock: { wallMs, counter } }
}

function damagedTip(): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', 'the tip of a chain is damaged')
}

/** The tip that an entry is, or `undefined` when it is damaged or not where it says. */
function tipAt(row: Uint8Array, bytes: Uint8Array, author: Uint8Array): Tip | undefined {
  try {
    const unverified = decodeStored(bytes)
    const entry = equalBytes(unverified.header.author, author) ? decodeEntry(bytes, { partial: true }) : unverified
    const chain = chainOf(entry)
    const isThere =
      equalBytes(placeOf(chain, entry.header.seq), row.subarray(0, chainBytes + seqBytes)) &&
      equalBytes(entry.hash, row.subarray(chainBytes + seqBytes))
    return isThere ? tipOf(entry, chain) : undefined
  } catch (error) {
    if (!isHubError(error)) throw error
    return undefined
  }
}

async function firstRow(store: KeyValueStore, range: KeyRange): Promise<[Uint8Array, Uint8Array] | undefined> {
  for await (const row of store.entries({ ...range, limit: 1 })) return row
  return undefined
}
