import type { Catalog, CatalogBatch, Liveness, Operation } from '../catalog/index.ts'
import { artifactIdOf, bytesText, concatBytes, equalBytes, orderedUint64, toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import type { AgentKey } from '../identity/index.ts'
import {
  beginEntry,
  decodeUnverifiedEntry,
  type Entry,
  type EntrySections,
  type HeaderDraft,
  type HybridClock,
  type KeyWrap,
} from '../log/index.ts'
import { type AuthEntry, type EntryPlace, type Membership, rankOf } from '../membership/index.ts'
import type { EpochSecret, Keyring } from '../sharing/index.ts'
import { type KeyValueChange, type KeyValueStore, type NamespaceBlocks, Overlay } from '../storage/index.ts'
import { Accounts, type AccountsInit, type Totals } from './accounts.ts'
import { type Chains, chainOf, type Tip, tipChange, tipKey, tipOf, withTip } from './chains.ts'
import { feedChanges, feedRow, keptFeedRows } from './feed.ts'
import { addKeyRow, wayOf } from './key-rows.ts'
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
  readonly membership: Membership
  readonly keyring: Keyring
  readonly agent: AgentKey
  /** Of the node. */
  readonly nodeIncarnation: Uint8Array
  /** The one written under: another where the node's chain may not be gone on with. */
  readonly incarnation: Uint8Array
  readonly clock: HybridClock
  readonly random: (length: number) => Uint8Array<ArrayBuffer>
  /** Number of the next row of the feed; `undefined` writes none. */
  readonly nextFeedRow: number | undefined
  readonly isEstimated?: AccountsInit['isEstimated']
  readonly warn?: ((message: string, fields: Readonly<Record<string, unknown>>) => void) | undefined
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

/** The chain that this agent writes on, and what its next entry follows. */
interface Seat extends Omit<NextPlace, 'namespace' | 'seq'> {
  readonly chain: Uint8Array
  readonly tip: Tip | undefined
  /** Made under this membership: another may give another grant. */
  readonly membership: Membership
}

/** Several entries, of this agent and of others, and all that follows from them, as one atomic batch. One step at a time. */
export class Transaction {
  readonly catalog: CatalogBatch
  readonly accounts: Accounts
  /** Entries of this agent that were written here. */
  appended = 0
  /** Their stored bytes, whole once all are signed. */
  readonly written: Uint8Array[] = []
  /** Entries of others that were stored here. */
  received = 0
  /** By which membership the catalog, with what was done here, is what counts. */
  counted: Membership
  readonly #init: TransactionInit
  readonly #overlay: Overlay
  readonly #leaves = new Map<string, Uint8Array>()
  readonly #newArtifacts = new Set<string>()
  /** Artifacts of which the catalog had nothing. */
  readonly #unseenArtifacts = new Set<string>()
  readonly #signing: Promise<void>[] = []
  readonly #changedArtifacts = new Map<string, Uint8Array>()
  readonly #reservations: Reservation[] = []
  #reservedLeafBytes = 0
  /** Chains that grew, as they are with what was stored here. */
  readonly #tips = new Map<string, readonly Tip[]>()
  /** Entries stored here, by hash. */
  readonly #stored = new Map<string, Entry>()
  #feedRow: number | undefined
  #seat: Seat | undefined
  #incarnation: Uint8Array
  #membership: Membership
  #newAuth: AuthEntry[] = []
  #newLinks: EntryPlace[] = []
  #touched: ReadonlySet<string> | undefined = new Set()

  constructor(init: TransactionInit) {
    this.#init = init
    this.#overlay = new Overlay(init.store)
    this.catalog = init.catalog.begin()
    this.accounts = new Accounts({
      ...init,
      overlay: this.#overlay,
      isNew: (artifact) => this.#isNew(artifact) || this.#unseenArtifacts.has(bytesText(artifact)),
    })
    this.#incarnation = init.incarnation
    this.#membership = init.membership
    this.counted = init.membership
    this.#feedRow = init.nextFeedRow
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

  get random(): (length: number) => Uint8Array<ArrayBuffer> {
    return this.#init.random
  }

  /** Resolves when every entry appended so far has its signature. */
  async signed(): Promise<void> {
    await Promise.all(this.#signing)
  }

  /** What to write, once all is signed. */
  get changes(): KeyValueChange[] {
    return [...this.#overlay.changes, ...this.accounts.changes, ...this.catalog.changes]
  }

  /** The tips of chains that grew. */
  get tips(): Iterable<readonly Tip[]> {
    return this.#tips.values()
  }

  get incarnation(): Uint8Array {
    return this.#incarnation
  }

  get nextFeedRow(): number | undefined {
    return this.#feedRow
  }

  /** Artifacts whose versions changed. */
  get changedArtifacts(): Iterable<Uint8Array> {
    return this.#changedArtifacts.values()
  }

  /** Who may do what, with all that was stored here. */
  get membership(): Membership {
    if (this.#newAuth.length > 0 || this.#newLinks.length > 0) {
      this.#membership = this.#membership.with({ auth: this.#newAuth, links: this.#newLinks })
      const { touched } = this.#membership
      this.#touched = touched && this.#touched?.union(touched)
      this.#newAuth = []
      this.#newLinks = []
    }
    return this.#membership
  }

  /** Grants (hex) whose chains may count otherwise than before; `undefined` when any may. Up to date once `membership` is. */
  get touched(): ReadonlySet<string> | undefined {
    return this.#touched
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

  /** @throws ACCESS_DENIED when this agent may not write */
  get nextPlace(): NextPlace {
    const { author, grant, incarnation, tip } = this.#author
    return { namespace: this.#init.namespace, author, grant, incarnation, seq: tip === undefined ? 0 : tip.seq + 1 }
  }

  get #author(): Seat {
    const { membership } = this
    if (this.#seat?.membership === membership) return this.#seat
    const { agent } = this.#init
    const author = agent.publicKey
    const [grant] = membership.grantsOf(author)
    if (grant === undefined || rankOf(grant.role) < 1) {
      throw new ArtifactHubError('ACCESS_DENIED', 'this agent may not write in this namespace', {
        details: { role: grant?.role ?? null },
      })
    }
    for (;;) {
      const incarnation = this.#incarnation
      const chain = chainIdOf(author, grant.hash, incarnation)
      const tips = this.tipsOf(chain)
      if (!this.#init.chains.isBroken(chain) && tips.length <= 1) {
        this.#seat = { author, grant: grant.hash, incarnation, chain, tip: tips[0], membership }
        return this.#seat
      }
      // What its newest entry was may be known elsewhere: another one in its place, or after it, would be a fork.
      this.leaveIncarnation('its own chain ends in an entry that is damaged, or is forked')
    }
  }

  /** Begins a new chain with the next entry, and from then on. */
  leaveIncarnation(reason: string): void {
    const { keys, nodeIncarnation, random, warn, namespace } = this.#init
    this.#incarnation = random(nodeIncarnation.length)
    this.#seat = undefined
    this.#overlay.put(keys.key('incarnation'), concatBytes(nodeIncarnation, this.#incarnation))
    warn?.('began a new chain in a namespace: run check', { namespace: toHex(namespace), reason })
  }

  /** Whether an entry's chain is the one that this agent writes on now. */
  isOwnChain({ header }: Entry): boolean {
    return equalBytes(header.author, this.#init.agent.publicKey) && equalBytes(header.incarnation, this.#incarnation)
  }

  /** The tips of a chain with what was stored here, ascending by (seq, hash). */
  tipsOf(chain: Uint8Array): readonly Tip[] {
    return this.#tips.get(bytesText(chain)) ?? this.#init.chains.tipsOf(chain)
  }

  /** Spares looking for what an artifact has in the store: its id was drawn just now, so there is nothing. */
  beginArtifact(artifact: Uint8Array): void {
    this.#newArtifacts.add(bytesText(artifact))
    this.catalog.assumeNew(artifact)
  }

  /**
   * Looks at one go for what the artifacts of entries stored here have in the store. Gives those that had something before
   * and whose keys some of these entries bring.
   */
  async primeArtifacts(entries: readonly Entry[]): Promise<Iterable<Uint8Array>> {
    const artifacts = new Map<string, Uint8Array>()
    const keyed = new Map<string, Uint8Array>()
    for (const { header, keys } of entries) {
      if (header.data === undefined) continue
      const artifact = artifactIdOf(this.#init.namespace, header.data.artifactSalt)
      artifacts.set(bytesText(artifact), artifact)
      if (keys !== undefined) keyed.set(bytesText(artifact), artifact)
    }
    for (const artifact of await this.catalog.assumeUnseen([...artifacts.values()])) {
      this.#unseenArtifacts.add(bytesText(artifact))
      keyed.delete(bytesText(artifact))
    }
    return keyed.values()
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
    return this.#stored.values().filter(({ auth }) => auth !== undefined)
  }

  /** An entry that was stored here. */
  storedEntry(hash: Uint8Array): Entry | undefined {
    return this.#stored.get(bytesText(hash))
  }

  /**
   * Makes the next entry of this agent's chain, has it signed, and takes in what follows from it.
   * @throws ACCESS_DENIED; CORRUPT when there is an entry in its place already: no entry is ever written over
   */
  async append(
    draft: EntryDraft,
    sections: EntrySections,
    operation?: (entry: Entry) => Operation | undefined,
  ): Promise<Entry> {
    const { agent, clock, chains, store, keys } = this.#init
    const { chain, tip, grant, incarnation } = this.#author
    const { namespace, seq } = this.nextPlace
    if (!this.#tips.has(bytesText(chain))) {
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
    const heads = this.appended > 0 ? [] : chains.headsBeside(chain)
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
    if (this.#seat !== undefined) this.#seat = { ...this.#seat, tip: tipOf(entry, chain) }
    const applied = operation?.(entry)
    if (applied !== undefined) await this.apply(applied)
    return entry
  }

  /** Stores an entry whose predecessor is stored, and takes in what follows from its public part. */
  async storeEntry(entry: Entry, bytes: Uint8Array, chain: Uint8Array): Promise<void> {
    const { keys } = this.#init
    const { seq, previous } = entry.header
    this.#overlay.put(keys.entry(chain, seq, entry.hash), bytes)
    this.#stored.set(bytesText(entry.hash), entry)
    const before = this.tipsOf(chain)
    const after = withTip(before, tipOf(entry, chain), previous)
    this.#tips.set(bytesText(chain), after)
    this.#overlay.add(tipChange(keys, tipOf(entry, chain)))
    if (after.length === before.length && previous !== undefined) this.#overlay.del(tipKey(keys, chain, previous))
    await this.index(entry, chain, bytes.length)
    if (after.length > 1) await this.#linkBranches(entry, chain, after.length > before.length)
  }

  /** Takes in what follows from an entry's public part, which is, or is about to be, in the store. */
  async index(entry: Entry, chain: Uint8Array, entryBytes: number): Promise<void> {
    const { keys, namespace } = this.#init
    const { data, seq } = entry.header
    const place = placeOf(chain, seq)
    this.accounts.addEntry(entryBytes)
    this.#overlay.put(keys.key('places', entry.hash), place)
    if (entry.auth !== undefined) {
      this.#overlay.put(keys.key('auth', entry.hash), place)
      this.#newAuth.push(entry as AuthEntry)
      if (entry.auth.kind === 'adopt') await this.#linkHeld(entry.auth.hash)
    }
    if (this.#membership.needsLink(entry)) this.#newLinks.push(entry)
    if (data === undefined) return
    const artifact = artifactIdOf(namespace, data.artifactSalt)
    for (const wrap of entry.keys?.wraps ?? []) await this.#addKeyRow(artifact, wrap.keyId, wrap, entry)
    for (const keyId of distinctKeyIds(entry)) await this.#addKeyRow(artifact, keyId, undefined, entry)
    if (entry.leaf !== undefined && data.root !== undefined) {
      this.#overlay.put(keys.key('inlineLeaves', data.root.digest, entry.hash), place)
    }
  }

  /** Takes in what a data entry that counts says of its artifact. */
  async apply(operation: Operation): Promise<void> {
    await this.#account(operation.artifact, await this.catalog.apply(operation), operation)
  }

  /** Makes an artifact what exactly these operations make it. */
  async rebuildArtifact(artifact: Uint8Array, operations: readonly Operation[]): Promise<void> {
    await this.#account(artifact, await this.catalog.rebuild(artifact, operations), undefined)
  }

  async #account(artifact: Uint8Array, liveness: Liveness, by: Operation | undefined): Promise<void> {
    for (const root of liveness.began) await this.accounts.hold(artifact, root)
    for (const root of liveness.ended) await this.accounts.release(artifact, root)
    this.#changedArtifacts.set(bytesText(artifact), artifact)
    if (this.#feedRow === undefined) return
    const current = liveness.isShown && liveness.vanished.length > 0 ? await this.catalog.current(artifact) : undefined
    for (const change of feedChanges(artifact, liveness, by, current)) {
      const row = this.#feedRow++
      this.#overlay.put(this.#init.keys.key('feed', orderedUint64(row)), feedRow(change))
      if (row >= keptFeedRows) this.#overlay.del(this.#init.keys.key('feed', orderedUint64(row - keptFeedRows)))
    }
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
    const stored = this.#stored.get(bytesText(hash))
    if (stored !== undefined) return stored
    const { store, keys } = this.#init
    const place = await store.get(keys.key('places', hash))
    const bytes = place === undefined ? undefined : await store.get(keys.key('entries', place, hash))
    return bytes === undefined ? undefined : decodeUnverifiedEntry(bytes)
  }

  /** Entries of a chain that were in the store before, from a seq up, in order of seq. */
  async *storedOf(chain: Uint8Array, from: number): AsyncGenerator<Entry> {
    const { store, keys } = this.#init
    const lt = keys.key('entries', chain, new Uint8Array(8).fill(0xff))
    const range = { gte: keys.key('entries', placeOf(chain, Math.min(from, Number.MAX_SAFE_INTEGER))), lt }
    for await (const [, bytes] of store.entries(range)) yield decodeUnverifiedEntry(bytes)
  }

  /** Entries of a chain that were stored here. */
  *storedHere(chain: Uint8Array): Generator<Entry> {
    if (!this.#tips.has(bytesText(chain))) return
    for (const entry of this.#stored.values()) if (equalBytes(chainOf(entry), chain)) yield entry
  }

  async #linkHeld(hash: Uint8Array): Promise<void> {
    const held = await this.entry(hash)
    if (held !== undefined) this.#newLinks.push(held)
  }

  /** Gives the membership what it needs to tell branches apart: nothing of the owner's chains, of which all count. */
  async #linkBranches(entry: Entry, chain: Uint8Array, isNewFork: boolean): Promise<void> {
    if (entry.header.grant === undefined || equalBytes(entry.header.grant, this.#init.namespace)) return
    this.#newLinks.push(entry)
    if (!isNewFork) return
    const { seq } = entry.header
    for await (const held of this.storedOf(chain, seq)) this.#newLinks.push(held)
    for (const held of this.storedHere(chain)) if (held.header.seq >= seq) this.#newLinks.push(held)
  }

  #isNew(artifact: Uint8Array): boolean {
    return this.#newArtifacts.has(bytesText(artifact))
  }

  async #addKeyRow(
    artifact: Uint8Array,
    keyId: Uint8Array,
    wrap: KeyWrap | undefined,
    { header, hash }: Entry,
  ): Promise<void> {
    const key = this.#init.keys.key('artifactKeys', artifact, keyId)
    const before = await this.#overlay.get(key, this.#isNew(artifact))
    const after = addKeyRow(before, wayOf(header.grant ?? hash, hash, wrap))
    if (after !== undefined) this.#overlay.put(key, after)
  }
}

function distinctKeyIds({ keys }: Entry): Uint8Array[] {
  if (keys === undefined || keys.boxes.length === 0) return []
  return [...new Map(keys.boxes.map(({ keyId }) => [bytesText(keyId), keyId])).values()]
}
