import { bytesText, equalBytes, orderedUint64, readUint64, toHex } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import type { Entry } from '../log/index.ts'
import type { Membership } from '../membership/index.ts'
import { loadTotals, noTotals, type Totals } from './accounts.ts'
import { loadMembership } from './auth-log.ts'
import { Chains, type Tip } from './chains.ts'
import { CommitQueue } from './commit-queue.ts'
import { type Derivable, rebuildDerived } from './derive.ts'
import { isHalfRebuilt } from './derived-tables.ts'
import { EpochWaits } from './epoch-waits.ts'
import { decodeEras, encodeEras, type FeedEra, withEra } from './feed-eras.ts'
import { healTips } from './heal-tips.ts'
import { HeldBack } from './held-back.ts'
import type { NamespaceParts } from './parts.ts'
import { SealedKeys, type Sealing } from './sealed-keys.ts'
import { isShownBy, shownTips } from './shown.ts'
import { Surplus } from './surplus.ts'
import { Transaction } from './transaction.ts'

/** What a namespace tells its listeners once a batch is durable. */
export interface NamespaceChange {
  /** Entries that this agent wrote. */
  readonly appended: number
  /** Their stored bytes, in the order of its chain. */
  readonly written: readonly Uint8Array[]
  /** Entries of others that were stored. */
  readonly received: number
  /** Entries of a partial log that were taken out, for another to give anew. */
  readonly removed: number
  /** Whether who may do what may have changed. */
  readonly authChanged: boolean
  /** Artifacts (20 bytes) whose versions changed. */
  readonly artifacts: readonly Uint8Array[]
  /** Artifacts of which shares, or keys for shares, were stored. */
  readonly shared: readonly Uint8Array[]
  /** Whether keys came with it: more may be readable than was. */
  readonly keysGained: boolean
  /** Whether those that something is shared with may lack keys of what others wrote: `Healer` looks. */
  readonly mayOweBoxes: boolean
  /** Every entry that was stored, but those beyond the limit of their chain. */
  readonly entries: Iterable<Entry>
}

/** Pieces of work that share one batch: more would only make each wait longer. */
const maxGroup = 256

const noChange: NamespaceChange = {
  appended: 0,
  written: [],
  received: 0,
  removed: 0,
  authChanged: false,
  artifacts: [],
  shared: [],
  keysGained: false,
  mayOweBoxes: false,
  entries: [],
}

/**
 * What this node keeps in memory of a namespace (tips, totals, who may do what), and the one way to change it: `commit`,
 * one synced batch at a time. Nothing in memory changes before its batch is durable; after one that failed, all of it is
 * read from the store again.
 */
export class Ledger {
  readonly parts: NamespaceParts
  readonly heldBack: HeldBack
  /** How much is held of what does not count. */
  readonly surplus = new Surplus()
  readonly #queue: CommitQueue<Transaction>
  readonly #sealedKeys: SealedKeys
  readonly #listeners = new Set<(change: NamespaceChange) => void>()
  readonly #waits = new EpochWaits()
  #chains = new Chains()
  #totals: Totals = noTotals
  #membership: Membership
  #incarnation: Uint8Array
  /** Number of the first row of a feed that has none: above those of any log of this namespace that was here before. */
  readonly #firstFeedRow: number
  #nextFeedRow: number
  #feedEras: readonly FeedEra[] = []
  /** The batch under way: the number of the row of the feed after its last, once it is in the tables here; `undefined` when it failed. */
  #writing: Promise<number | undefined> | undefined
  #keysGained = 0
  #keysTried = 0
  #keysTold = 0
  #stale = false
  #closed = false

  /** @param membership as far as it is known before anything is loaded: at least the owner */
  constructor(parts: NamespaceParts, membership: Membership) {
    this.parts = parts
    this.heldBack = new HeldBack(parts)
    this.#incarnation = parts.env.incarnation
    this.#firstFeedRow = Math.max(0, Math.floor(parts.env.clock.nowMs))
    this.#nextFeedRow = this.#firstFeedRow
    this.#membership = membership
    this.#sealedKeys = new SealedKeys(parts.keyring, parts.env.agent.publicKey)
    this.#queue = new CommitQueue(
      () => this.#begin(),
      async (tx) => {
        const writing = this.#write(tx)
        const nextRow = writing.then(
          () => tx.nextFeedRow,
          () => undefined,
        )
        this.#writing = nextRow
        await writing.finally(() => {
          this.#writing = undefined
        })
      },
      maxGroup,
    )
  }

  get closed(): boolean {
    return this.#closed
  }

  get chains(): Chains {
    return this.#chains
  }

  get totals(): Totals {
    return this.#totals
  }

  /** Who may do what, by the entries that are held. */
  get membership(): Membership {
    return this.#membership
  }

  /** Which rows of the feed were written under which incarnation. */
  get feedEras(): readonly FeedEra[] {
    return this.#feedEras
  }

  /** Number of the row of the feed that the next change gets. */
  get nextFeedRow(): number {
    return this.#nextFeedRow
  }

  /**
   * Number of the row of the feed that comes after all that could be read at the call: what a batch under way changes is there for
   * readers before that batch is through here. @throws what the store throws
   */
  async nextFeedRowNow(): Promise<number> {
    const row = this.#nextFeedRow
    const writing = this.#writing
    if (writing === undefined) return row
    const { keys, env } = this.parts
    const isReadable = (await env.store.get(keys.key('feed', orderedUint64(row)))) !== undefined
    return isReadable ? ((await writing) ?? row) : row
  }

  /**
   * Loads what is in the store. Damaged rows that follow from the log are made again from it, as far as it is whole itself.
   * @throws what the store throws; CORRUPT
   */
  async load(): Promise<void> {
    try {
      await this.#reload({ lenient: false })
    } catch (error) {
      if (!isHubError(error, 'CORRUPT')) throw error
      const { env, idText } = this.parts
      const reason = { namespace: idText, reason: error.message }
      env.warn?.('made rows of a namespace again from its log, for some were damaged: run check', reason)
      await rebuildDerived(this.#derivable, {})
      await this.#reload({ lenient: true })
    }
  }

  /**
   * Runs `work` on a transaction that it shares with others, and resolves with what it gave once all of it is durable:
   * the batch is synced. `work` refuses by throwing before it calls `mark`; after that it must not fail.
   * @throws CLOSED, what `work` and the store throw
   */
  async commit<T>(work: (tx: Transaction, mark: () => void) => Promise<T>): Promise<T> {
    this.#requireOpen()
    return await this.#queue.run(work)
  }

  /** Runs `work` while nothing is committed; what this object holds in memory is read again afterwards. @throws CLOSED */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    this.#requireOpen()
    return await this.#queue.alone(async () => {
      this.#stale = true
      const result = await work()
      await this.#reload({ lenient: true })
      return result
    })
  }

  /** Resolves when what was being committed at the call is written, or has failed. */
  async settled(): Promise<void> {
    await this.#queue.alone(async () => {})
  }

  /** Makes all that follows from the log again. @throws CLOSED, what the store throws */
  async rebuild(): Promise<void> {
    await this.alone(() => rebuildDerived(this.#derivable, {}))
    for (const listener of this.#listeners) listener({ ...noChange, authChanged: true })
  }

  /** Takes in the keys that auth entries, stored or about to be, hold for this agent. */
  async learn(entries: readonly Sealing[]): Promise<void> {
    // A batch that fails takes no keys back: what they open is owed from then on.
    if (await this.#sealedKeys.learn(entries, this.parts.log)) this.#keysGained += 1
  }

  /** As `learn`, of entries that may not be stored for long. */
  glance(entries: readonly Sealing[]): void {
    if (this.#sealedKeys.glance(entries)) this.#keysGained += 1
  }

  /** Keys came otherwise than by entries. */
  noteKeysGained(): void {
    this.#keysGained += 1
  }

  /** How often keys came. */
  get keysGained(): number {
    return this.#keysGained
  }

  /** Whether keys came that hidden versions were not all tried with. */
  get owesReveal(): boolean {
    return this.#keysTried < this.#keysGained
  }

  /** Hidden versions were all tried with the keys that had come by then. */
  noteRevealed(keysGained: number): void {
    this.#keysTried = Math.max(this.#keysTried, keysGained)
  }

  /** Calls `listener` after each durable batch, and on closing, until the returned function is called. */
  subscribe(listener: (change: NamespaceChange) => void): () => void {
    // Wrapped, so that one function may listen twice.
    const own = (change: NamespaceChange) => listener(change)
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
  }

  /** Lets no more be committed, and resolves when nothing is being written. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#queue.idle()
    for (const listener of this.#listeners) listener(noChange)
  }

  #requireOpen(): void {
    if (this.#closed) throw new ArtifactHubError('CLOSED', 'this namespace is closed')
  }

  get #derivable(): Derivable {
    return { ...this.parts, membership: this.#membership, totals: this.#totals }
  }

  async #begin(): Promise<Transaction> {
    // The batch before failed and may be in the store or not: what is there now decides.
    if (this.#stale) await this.#reload({ lenient: true })
    const { id: namespace, keys, catalog, blocks, env, keyring, partial } = this.parts
    return new Transaction({
      ...env,
      namespace,
      keys,
      catalog,
      blocks,
      keyring,
      waits: this.#waits,
      partial,
      chains: this.#chains,
      totals: this.#totals,
      membership: this.#membership,
      nodeIncarnation: env.incarnation,
      incarnation: this.#incarnation,
      nextFeedRow: this.#nextFeedRow,
      firstFeedRow: this.#feedEras[0]?.from ?? this.#nextFeedRow,
    })
  }

  async #write(tx: Transaction): Promise<void> {
    await tx.signed()
    this.#stale = true
    const { membership } = tx
    const { keys, env } = this.parts
    const hasRows = (tx.nextFeedRow ?? 0) > this.#nextFeedRow
    const feedEras = hasRows ? withEra(this.#feedEras, env.incarnation, this.#nextFeedRow) : this.#feedEras
    if (feedEras !== this.#feedEras) tx.add({ type: 'put', key: keys.key('feedEras'), value: encodeEras(feedEras) })
    await env.store.batch(tx.changes, { sync: true })
    const shown = await this.#shownOf(tx, membership)
    const shared = [...tx.sharedArtifacts]
    if (shared.length > 0) this.parts.shares.noteStored()
    const hasShares = await this.parts.shares.hasAny()
    this.#stale = false
    // Which epochs are wrapped under which: of what this agent wrote it is so only now.
    if (tx.appended > 0) this.#sealedKeys.take([...tx.storedAuth])
    for (const tips of tx.tips) this.#chains.set(tips)
    for (const { chain, tips } of shown) this.#chains.setShown(chain, tips)
    if (tx.appended > 0) this.#chains.noteNamed()
    const authChanged = membership !== this.#membership
    this.#membership = membership
    this.#totals = tx.accounts.totals
    this.#incarnation = tx.incarnation
    this.#nextFeedRow = tx.nextFeedRow ?? this.#nextFeedRow
    this.#feedEras = feedEras
    tx.releaseReservations()
    if (this.#listeners.size === 0) return
    const { appended, received, removed, written } = tx
    const stored = tx.storedEntries
    const entries = { [Symbol.iterator]: () => stored.filter((entry) => isShownBy(membership, entry)).values() }
    const artifacts = [...tx.changedArtifacts]
    const keysGained = this.#keysGained > this.#keysTold
    this.#keysTold = this.#keysGained
    const mayOweBoxes = received > 0 && artifacts.length + shared.length > 0 && hasShares
    const told = { appended, written, received, removed, authChanged, artifacts, shared }
    const change = { ...told, keysGained, mayOweBoxes, entries }
    for (const listener of this.#listeners) listener(change)
  }

  /** What is shown of the chains that grew, or whose limit may have moved. */
  async #shownOf(
    tx: Transaction,
    membership: Membership,
  ): Promise<{ chain: Uint8Array; tips: readonly Tip[] | undefined }[]> {
    // Nobody is told of a partial log by its vector.
    if (this.parts.partial !== undefined) return []
    const chains = new Map([...tx.tips].map((tips) => [bytesText((tips[0] as Tip).chain), tips]))
    const { touched } = tx
    if (membership !== this.#membership) {
      for (const tip of this.#chains.all()) {
        const name = bytesText(tip.chain)
        if (chains.has(name) || (touched !== undefined && !touched.has(toHex(tip.grant)))) continue
        chains.set(name, this.#chains.tipsOf(tip.chain))
      }
    }
    const { log } = this.parts
    const found = []
    for (const tips of chains.values()) {
      found.push({ chain: (tips[0] as Tip).chain, tips: await shownTips(log, membership, tips) })
    }
    return found
  }

  /** @param options.lenient passes over auth entries that are damaged or gone: `check` reports them */
  async #reload({ lenient }: { lenient: boolean }): Promise<void> {
    const { keys, env } = this.parts
    const { store, agent, incarnation } = env
    // Nothing is committed on tables of which some are made again and some are not.
    if (await isHalfRebuilt(this.parts)) await rebuildDerived(this.#derivable, {})
    const chains = await Chains.load(store, keys, agent.publicKey)
    await healTips(this.parts, chains)
    this.#totals = await loadTotals(store, keys)
    const { owner } = this.#membership
    this.#membership = await loadMembership(this.parts, chains, this.#sealedKeys, { owner, lenient })
    for (const { chain } of this.parts.partial === undefined ? [...chains.all()] : []) {
      chains.setShown(chain, await shownTips(this.parts.log, this.#membership, chains.tipsOf(chain)))
    }
    const own = await store.get(keys.key('incarnation'))
    const isReplaced = own !== undefined && equalBytes(own.subarray(0, incarnation.length), incarnation)
    this.#incarnation = isReplaced ? own.slice(incarnation.length) : incarnation
    const eras = await store.get(keys.key('feedEras'))
    this.#feedEras = eras === undefined ? [] : decodeEras(eras)
    const { gte, lt } = keys.all('feed')
    this.#nextFeedRow = this.#feedEras.at(-1)?.from ?? this.#firstFeedRow
    for await (const [key] of store.entries({ gte, lt, reverse: true, limit: 1 })) {
      this.#nextFeedRow = readUint64(key.subarray(gte.length)) + 1
    }
    this.#chains = chains
    this.surplus.forget()
    this.parts.shares.noteStored()
    this.heldBack.forget()
    this.#stale = false
  }
}
