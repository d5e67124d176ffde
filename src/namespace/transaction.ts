import type { Catalog, CatalogBatch, Operation } from '../catalog/index.ts'
import { artifactIdOf, decodeCanonical, encodeCanonical, toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import type { AgentKey } from '../identity/index.ts'
import {
  beginEntry,
  type Entry,
  type EntrySections,
  type HeaderDraft,
  type HybridClock,
  type KeyWrap,
} from '../log/index.ts'
import type { KeyValueChange, KeyValueStore, NamespaceBlocks } from '../storage/index.ts'
import { Accounts, type Totals } from './accounts.ts'
import { type ChainHead, type Chains, headChange } from './chains.ts'
import { Overlay } from './overlay.ts'
import type { Reservation } from './quota.ts'
import { chainIdOf, type NamespaceKeys, placeOf } from './tables.ts'

/** What a transaction works on. */
export interface TransactionInit {
  readonly namespace: Uint8Array
  readonly store: KeyValueStore
  readonly keys: NamespaceKeys
  readonly catalog: Catalog
  readonly blocks: NamespaceBlocks
  readonly chains: Chains
  readonly totals: Totals
  readonly agent: AgentKey
  readonly incarnation: Uint8Array
  readonly clock: HybridClock
}

/** The members of a header that an author chooses. */
export type EntryDraft = Pick<HeaderDraft, 'kind' | 'keyId' | 'data'>

/** Where the next entry of this agent's chain will stand: what a body is bound to. */
export interface NextPlace {
  readonly namespace: Uint8Array
  readonly author: Uint8Array
  readonly grant: Uint8Array
  readonly incarnation: Uint8Array
  readonly seq: number
}

/** Several entries of one agent and all that follows from them, as one atomic batch. One step at a time. */
export class Transaction {
  readonly catalog: CatalogBatch
  readonly accounts: Accounts
  readonly #init: TransactionInit
  readonly #overlay: Overlay
  readonly #chain: Uint8Array
  readonly #leaves = new Map<string, Uint8Array>()
  readonly #newArtifacts = new Set<string>()
  readonly #signing: Promise<void>[] = []
  #appended = false
  readonly #reservations: Reservation[] = []
  #reservedLeafBytes = 0
  #head: ChainHead | undefined

  constructor(init: TransactionInit) {
    this.#init = init
    this.#overlay = new Overlay(init.store)
    this.catalog = init.catalog.begin()
    this.accounts = new Accounts(init.keys, this.#overlay, init.blocks, init.totals, (artifact) =>
      this.#isNew(artifact),
    )
    this.#chain = chainIdOf(init.agent.publicKey, init.namespace, init.incarnation)
    this.#head = init.chains.get(this.#chain)
  }

  /** The newest entry of this agent's chain, with those appended here. */
  get head(): ChainHead | undefined {
    return this.#head
  }

  /** Whether an entry was appended. */
  get appended(): boolean {
    return this.#appended
  }

  /** Resolves when every entry appended so far has its signature. */
  async signed(): Promise<void> {
    await Promise.all(this.#signing)
  }

  /** What to write, once all is signed. */
  get changes(): KeyValueChange[] {
    const head = this.#head === undefined ? [] : [headChange(this.#init.keys, this.#head)]
    return [...this.#overlay.changes, ...this.accounts.changes, ...this.catalog.changes, ...head]
  }

  get nextPlace(): NextPlace {
    const { namespace, agent, incarnation } = this.#init
    const seq = this.#head === undefined ? 0 : this.#head.seq + 1
    return { namespace, author: agent.publicKey, grant: namespace, incarnation, seq }
  }

  /** Spares looking for what an artifact has in the store: its id was drawn just now, so there is nothing. */
  beginArtifact(artifact: Uint8Array): void {
    this.#newArtifacts.add(toHex(artifact))
    this.catalog.assumeNew(artifact)
  }

  /** Leaf bytes that this batch adds beside those that have a reservation. */
  get unreservedLeafBytes(): number {
    return this.accounts.addedLeafBytes - this.#reservedLeafBytes
  }

  /** Takes over the reservation for leaf bytes that are added here: once they are in the totals it must not count them again. */
  take(reservation: Reservation, leafBytes: number): void {
    this.#reservations.push(reservation)
    this.#reservedLeafBytes += Math.min(reservation.bytes, leafBytes)
  }

  /** Releases what it took over, at the moment that the totals have it. */
  releaseReservations(): void {
    for (const reservation of this.#reservations) reservation.release()
  }

  /** An inline leaf of an entry appended here, by its digest. */
  leaf(digest: Uint8Array): Uint8Array | undefined {
    return this.#leaves.get(toHex(digest))
  }

  /**
   * Makes the next entry of the chain, has it signed, and takes in what follows from it.
   * @throws CORRUPT when there is an entry in its place already: no entry is ever written over
   */
  async append(draft: EntryDraft, sections: EntrySections, operation?: (entry: Entry) => Operation): Promise<Entry> {
    const { namespace, grant, incarnation, seq } = this.nextPlace
    const { agent, clock, chains } = this.#init
    const previous = this.#head?.hash
    const key = this.#init.keys.entry(this.#chain, seq)
    if (!this.#appended && (await this.#init.store.get(key)) !== undefined) {
      throw new ArtifactHubError('CORRUPT', 'the place of the next entry is taken: the log is not what it should be')
    }
    // Nothing of others comes in while a transaction lasts: its first entry names all that is new.
    const heads = this.#appended ? [] : chains.headsBeside(this.#chain)
    this.#appended = true
    const header = { ...draft, namespace, grant, incarnation, seq, previous, heads, clock: clock.tick() }
    const { entry, bytes, signed } = beginEntry(agent, header, sections)
    // Looked at before the batch is written, if it comes to that.
    signed.catch(() => {})
    this.#signing.push(signed)
    this.#overlay.put(key, bytes)
    if (entry.leaf !== undefined && draft.data?.root !== undefined)
      this.#leaves.set(toHex(draft.data.root.digest), entry.leaf)
    this.#head = { chain: this.#chain, grant, incarnation, seq, hash: entry.hash, clock: header.clock }
    await this.index(entry, this.#chain, bytes.length)
    if (operation !== undefined) await this.apply(operation(entry))
    return entry
  }

  /** Takes in what follows from an entry's public part, which is, or is about to be, in the store. */
  async index(entry: Entry, chain: Uint8Array, entryBytes: number): Promise<void> {
    const { keys, namespace } = this.#init
    const { data, kind, keyId, seq } = entry.header
    const place = placeOf(chain, seq)
    this.accounts.addEntryBytes(entryBytes)
    this.#overlay.put(keys.key('places', entry.hash), place)
    if (kind === 'rotate') this.#overlay.put(keys.key('epochs', keyId as Uint8Array), place)
    if (data === undefined) return
    const artifact = artifactIdOf(namespace, data.artifactSalt)
    for (const wrap of entry.keys?.wraps ?? []) await this.#addWrap(artifact, wrap)
    if (entry.leaf !== undefined && data.root !== undefined) {
      this.#overlay.put(keys.key('inlineLeaves', data.root.digest, entry.hash), place)
    }
  }

  /** Takes in what a data entry says of its artifact. */
  async apply(operation: Operation): Promise<void> {
    const { began, ended } = await this.catalog.apply(operation)
    for (const root of began) await this.accounts.hold(operation.artifact, root)
    for (const root of ended) await this.accounts.release(operation.artifact, root)
  }

  /** A change beside the log, in the same batch. */
  add(change: KeyValueChange): void {
    this.#overlay.add(change)
  }

  #isNew(artifact: Uint8Array): boolean {
    return this.#newArtifacts.has(toHex(artifact))
  }

  async #addWrap(artifact: Uint8Array, { keyId, under, box }: KeyWrap): Promise<void> {
    const key = this.#init.keys.key('artifactKeys', artifact, keyId)
    const rows = decodeWraps(await this.#overlay.get(key, this.#isNew(artifact)), keyId)
    const known = rows.some((row) => Buffer.compare(row.under, under) === 0)
    if (!known)
      this.#overlay.put(key, encodeCanonical([...rows, { keyId, under, box }].map((row) => [row.under, row.box])))
  }
}

const maxWrapsBytes = 1 << 20

/** The wraps recorded of one artifact key. @throws CORRUPT */
export function decodeWraps(value: Uint8Array | undefined, keyId: Uint8Array): KeyWrap[] {
  if (value === undefined) return []
  const rows = decodeCanonical(value, { maxBytes: maxWrapsBytes, what: 'the wraps of a key' })
  if (!Array.isArray(rows)) throw new ArtifactHubError('CORRUPT', 'the wraps of a key are damaged')
  return rows.map(([under, box]) => ({ keyId, under, box }))
}
