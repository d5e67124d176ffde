import type { CatalogBatch, Operation } from '../catalog/index.ts'
import { bytesText, equalBytes, orderedUint64 } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import type { AgentKey } from '../identity/index.ts'
import {
  beginEntry,
  type Entry,
  type EntrySections,
  type HeaderDraft,
  type HybridClock,
  type KeySection,
} from '../log/index.ts'
import type { Membership } from '../membership/index.ts'
import type { EpochSecret, Keyring } from '../sharing/index.ts'
import { type KeyValueChange, type KeyValueStore, Overlay } from '../storage/index.ts'
import type { Accounts } from './accounts.ts'
import { ArtifactChanges, type ArtifactChangesInit } from './artifact-changes.ts'
import { type Tip, tipOf } from './chains.ts'
import { type EpochWaits, headsOfRotate, headsWith } from './epoch-waits.ts'
import type { FollowedArtifacts } from './followed.ts'
import { LogGrowth } from './log-growth.ts'
import { MembershipGrowth } from './membership-growth.ts'
import { OpenedArtifacts } from './opened-artifacts.ts'
import type { OpenedBodies } from './opened-bodies.ts'
import { type NextPlace, OwnChain, type OwnChainInit } from './own-chain.ts'
import type { Reservation } from './quota.ts'
import { type NamespaceKeys, placeOf } from './tables.ts'

/** Of those that bring one epoch which does not count: anyone can go on saying to begin it. */
const maxRotatesLookedAt = 32

/** What a transaction works on. */
export interface TransactionInit extends OwnChainInit, ArtifactChangesInit {
  readonly store: KeyValueStore
  readonly membership: Membership
  readonly keyring: Keyring
  readonly clock: HybridClock
  readonly waits: EpochWaits
  readonly partial: FollowedArtifacts | undefined
}

/** The members of a header that an author chooses. */
export interface EntryDraft extends Pick<HeaderDraft, 'kind' | 'keyId' | 'data'> {
  /** Entries of other chains that it names in any case, before others that its author had seen. */
  readonly names?: readonly Uint8Array[]
}

/** Several entries, of this agent and of others, and all that follows from them, as one atomic batch. One step at a time. */
export class Transaction {
  /** Entries of this agent that were written here. */
  appended = 0
  /** Their stored bytes, whole once all are signed. */
  readonly written: Uint8Array[] = []
  /** Entries of others that were stored here. */
  received = 0
  /** Entries that were taken out here, for others to give anew. */
  removed = 0
  /** By which membership the catalog, with what was done here, is what counts. */
  counted: Membership
  /** Of which artifacts the log speaks, with what was stored here. */
  readonly opened: OpenedArtifacts
  readonly #init: TransactionInit
  readonly #overlay: Overlay
  readonly #ownChain: OwnChain
  readonly #growth: MembershipGrowth
  readonly #artifacts: ArtifactChanges
  readonly #log: LogGrowth
  readonly #leaves = new Map<string, Uint8Array>()
  #opened: OpenedBodies = new Map()
  readonly #signing: Promise<void>[] = []
  readonly #reservations: Reservation[] = []
  #reservedLeafBytes = 0

  constructor(init: TransactionInit) {
    this.#init = init
    this.#overlay = new Overlay(init.store)
    this.#ownChain = new OwnChain(init, this.#overlay, this)
    this.#growth = new MembershipGrowth(init.membership)
    this.#artifacts = new ArtifactChanges(init, this.#overlay)
    this.opened = new OpenedArtifacts(init)
    this.#log = new LogGrowth(init, this.#overlay, this.#growth, this.#artifacts, this.opened)
    this.counted = init.membership
  }

  get namespace(): Uint8Array {
    return this.#init.namespace
  }

  get keys(): NamespaceKeys {
    return this.#init.keys
  }

  get agent(): AgentKey {
    return this.#init.agent
  }

  get keyring(): Keyring {
    return this.#init.keyring
  }

  get catalog(): CatalogBatch {
    return this.#artifacts.catalog
  }

  get accounts(): Accounts {
    return this.#artifacts.accounts
  }

  get random(): (length: number) => Uint8Array<ArrayBuffer> {
    return this.#init.random
  }

  /** Resolves when every entry appended so far has its signature. */
  async signed(): Promise<void> {
    await Promise.all(this.#signing)
  }

  /** What to write, once all is signed. */
  get changes(): KeyValueChange[] {
    return [...this.#overlay.changes, ...this.#log.tipChanges, ...this.accounts.changes, ...this.catalog.changes]
  }

  /** The tips of chains that grew. */
  get tips(): Iterable<readonly Tip[]> {
    return this.#log.tips
  }

  /** The one that this agent writes under from now on. */
  get incarnation(): Uint8Array {
    return this.#ownChain.incarnation
  }

  get nextFeedRow(): number | undefined {
    return this.#artifacts.nextFeedRow
  }

  /** See `ArtifactChanges.tellAgain`. */
  async tellAgain(artifact: Uint8Array): Promise<void> {
    await this.#artifacts.tellAgain(artifact)
  }

  /** Artifacts whose versions changed. */
  get changedArtifacts(): Iterable<Uint8Array> {
    return this.#artifacts.changed
  }

  /** Artifacts of which shares, or keys for shares, were stored. */
  get sharedArtifacts(): Iterable<Uint8Array> {
    return this.#log.sharedArtifacts
  }

  /** Who may do what, with all that was stored here. */
  get membership(): Membership {
    return this.#growth.membership
  }

  /** Grants (hex) whose chains may count otherwise than before; `undefined` when any may. */
  get touched(): ReadonlySet<string> | undefined {
    return this.#growth.touched
  }

  /** The epoch that new keys are wrapped under: the best that excludes everyone who left, of those that this agent can open. */
  get epoch(): EpochSecret | undefined {
    const { membership } = this
    for (const { id } of membership.epochs) {
      const epoch = this.#init.keyring.epoch(id)
      if (epoch !== undefined && membership.isGoodEpoch(id)) return epoch
    }
    return undefined
  }

  /** What wall time is here, milliseconds since 1970. */
  get now(): number {
    return this.#init.clock.now
  }

  /** Whether an epoch must not be sealed to anyone yet: its author knew entries that are not held here. */
  async mustWait(id: Uint8Array): Promise<boolean> {
    const epoch = this.membership.epochs.find((one) => equalBytes(one.id, id))
    const rotates = epoch === undefined ? this.membership.rotatesOf(id).slice(0, maxRotatesLookedAt) : [epoch.rotate]
    let isWhole = true
    for (const hash of rotates) {
      const { heads } = (await this.entry(hash))?.header ?? { heads: [] }
      const rows = await this.prime(heads.map((head) => this.keys.key('places', head)))
      isWhole &&= heads.every((head, at) => rows[at] !== undefined || this.storedEntry(head) !== undefined)
    }
    // One wait for all that bring the epoch: anyone can go on saying to begin one that does not count.
    return this.#init.waits.mustWait(id, isWhole, this.now)
  }

  /** @throws ACCESS_DENIED when this agent may not write */
  get nextPlace(): NextPlace {
    return this.#ownChain.nextPlace
  }

  /** Begins a new chain with the next entry, and from then on. */
  leaveIncarnation(reason: string): void {
    this.#ownChain.leave(reason)
  }

  /** As `leaveIncarnation`, where nothing went wrong. */
  drawIncarnation(): void {
    this.#ownChain.drawIncarnation()
  }

  /** Whether an entry's chain is the one that this agent writes on now. */
  isOwnChain(entry: Entry): boolean {
    return this.#ownChain.has(entry)
  }

  /** The tips of a chain with what was stored here, ascending by (seq, hash). */
  tipsOf(chain: Uint8Array): readonly Tip[] {
    return this.#log.tipsOf(chain)
  }

  /** Spares looking for what an artifact has in the store: its id was drawn just now, so there is nothing. */
  beginArtifact(artifact: Uint8Array): void {
    this.#artifacts.begin(artifact)
  }

  /**
   * Looks at one go for what the artifacts of entries stored here have in the store. Gives those that had something before
   * and whose keys some of these entries bring.
   */
  async primeArtifacts(entries: readonly Entry[]): Promise<Iterable<Uint8Array>> {
    return await this.#artifacts.prime(entries)
  }

  /** Bodies of entries that are about to be stored here are not opened again. */
  useOpened(bodies: OpenedBodies): void {
    this.#opened = bodies
  }

  /** What the body of an entry says, if it was opened ahead. */
  openedBody(entry: Entry): Uint8Array | undefined {
    return this.#opened.get(entry)
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
    return this.#leaves.get(bytesText(digest))
  }

  /** Auth entries stored here, this agent's and others'. */
  get storedAuth(): Iterable<Entry> {
    return this.#log.storedAuth
  }

  /** Entries of an artifact stored here that are shares, or carry boxes for capabilities. */
  storedSharing(artifact: Uint8Array): Iterable<Entry> {
    return this.#log.storedSharing(artifact)
  }

  /** All entries stored here, this agent's and others'. */
  get storedEntries(): readonly Entry[] {
    return this.#log.storedEntries
  }

  /** An entry that was stored here. */
  storedEntry(hash: Uint8Array): Entry | undefined {
    return this.#log.storedEntry(hash)
  }

  /**
   * Makes the next entry of this agent's chain, has it signed, and takes in what follows from it.
   * @throws ACCESS_DENIED; CORRUPT when there is an entry in its place already: no entry is ever written over
   */
  async append(
    { names = [], ...draft }: EntryDraft,
    sections: EntrySections,
    operation?: (entry: Entry) => Operation | undefined,
  ): Promise<Entry> {
    const { agent, clock, chains, store, keys } = this.#init
    const { chain, tip } = this.#ownChain.seat
    const { namespace, grant, incarnation, seq } = this.nextPlace
    if (!this.#log.hasGrown(chain)) {
      const taken = keys.key('entries', placeOf(chain, seq))
      for await (const _ of store.entries({
        gte: taken,
        lt: keys.key('entries', chain, orderedUint64(seq + 1)),
        limit: 1,
      })) {
        throw new ArtifactHubError('CORRUPT', 'the place of the next entry is taken: the log is not what it should be')
      }
    }
    // Nothing of others is named twice: the first entry of a transaction names all that is new.
    const beside = this.appended > 0 ? [] : chains.headsBeside(chain)
    const isRotate = draft.kind === 'rotate'
    const heads = isRotate ? headsOfRotate(this.membership, chains, this.tips, chain, beside) : headsWith(names, beside)
    this.appended += 1
    const header = { ...draft, namespace, grant, incarnation, seq, previous: tip?.hash, heads, clock: clock.tick() }
    const { entry, bytes, signed } = beginEntry(agent, header, sections)
    // Looked at before the batch is written, if it comes to that.
    signed.catch(() => {})
    this.#signing.push(signed)
    if (entry.leaf !== undefined && draft.data?.root !== undefined)
      this.#leaves.set(bytesText(draft.data.root.digest), entry.leaf)
    await this.storeEntry(entry, bytes, chain)
    this.written.push(bytes)
    this.#ownChain.advance(tipOf(entry, chain))
    const applied = operation?.(entry)
    if (applied !== undefined) await this.apply(applied)
    return entry
  }

  /** Stores an entry whose predecessor is stored, and takes in what follows from its public part. */
  async storeEntry(entry: Entry, bytes: Uint8Array, chain: Uint8Array): Promise<void> {
    await this.#log.store(entry, bytes, chain)
  }

  /** Takes in what follows from an entry's public part, which is, or is about to be, in the store. */
  async index(entry: Entry, chain: Uint8Array, entryBytes: number): Promise<void> {
    await this.#log.index(entry, chain, entryBytes)
  }

  /** Notes where keys of its artifact are found in a data entry that was stored without them. */
  async indexKeys(entry: Entry): Promise<void> {
    await this.#log.indexKeys(entry)
  }

  /** What an entry lacked that was stored without came, and is a change of this transaction. */
  noteWhole(entry: Entry): void {
    this.#log.noteWhole(entry)
  }

  /** Takes in what a data entry that counts says of its artifact. */
  async apply(operation: Operation): Promise<void> {
    await this.#artifacts.apply(operation)
  }

  /** Makes an artifact what exactly these operations make it. */
  async rebuildArtifact(artifact: Uint8Array, operations: readonly Operation[]): Promise<void> {
    await this.#artifacts.rebuild(artifact, operations)
  }

  /** A change beside the log, in the same batch. */
  add(change: KeyValueChange): void {
    this.#overlay.add(change)
  }

  /** A row as it is with what was changed here. */
  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return await this.#overlay.get(key)
  }

  /** As `Overlay.prime`. */
  async prime(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    return await this.#overlay.prime(keys)
  }

  /** An entry by its hash, stored here or before. @throws CORRUPT */
  async entry(hash: Uint8Array): Promise<Entry | undefined> {
    return await this.#log.entry(hash)
  }

  /** Of an entry the keys section. @throws CORRUPT */
  async keysIn(hash: Uint8Array): Promise<KeySection | undefined> {
    return (await this.entry(hash))?.keys
  }

  /** Entries of a chain that were in the store before, from a seq up, in order of seq. */
  storedOf(chain: Uint8Array, from: number): AsyncGenerator<Entry> {
    return this.#log.storedBefore(chain, from)
  }

  /** Where the auth entries of a chain are, of those stored before. Looks through all chains. */
  async authBefore(chain: Uint8Array): Promise<{ readonly seq: number; readonly hash: Uint8Array }[]> {
    return await this.#log.authBefore(chain)
  }

  /** Entries of a chain from a seq up and below another, stored here or before: those from before first, in order of seq. */
  heldBetween(chain: Uint8Array, from: number, to: number): AsyncGenerator<Entry> {
    return this.#log.heldBetween(chain, from, to)
  }

  /** Entries of a chain that were stored here. */
  storedHere(chain: Uint8Array): Generator<Entry> {
    return this.#log.storedHere(chain)
  }
}
