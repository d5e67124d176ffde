import { type ArtifactState, Catalog, type ContentRoot, type VersionRecord } from '../catalog/index.ts'
import { artifactIdOf, bytesText, equalBytes, formatNamespaceId, orderedUint64, readUint64 } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import type { AgentKey } from '../identity/index.ts'
import {
  decodeEntry,
  decodeUnverifiedEntry,
  type Entry,
  encodeAuthBody,
  type GrantedRole,
  type HybridClock,
  type KeyWrap,
  signEntry,
} from '../log/index.ts'
import { type AuthEntry, Membership, type Owed, type Role, rankOf } from '../membership/index.ts'
import { ArtifactKey, Keyring } from '../sharing/index.ts'
import type { KeyValueChange, KeyValueStore, NamespaceBlocks } from '../storage/index.ts'
import { isEstimatedRoot, loadTotals, noTotals, type Totals } from './accounts.ts'
import type { ArtifactHandle } from './artifact-writes.ts'
import { admitAll, loadAuth, ownPrefixesIn, type SealingReader, unreadGenesis } from './auth-log.ts'
import { entriesBeyond } from './beyond.ts'
import { Chains, chainOf, type Tip } from './chains.ts'
import { CommitQueue } from './commit-queue.ts'
import { isHalfRebuilt, rebuildDerived } from './derive.ts'
import { type FeedEvent, readFeedRow } from './feed.ts'
import { isSuperseded, readKeyRow } from './key-rows.ts'
import { appendAdopt, appendBoxes, appendGrant, appendRevoke, appendRotate, requireAbove } from './members.ts'
import { EntryAndPackBlocks } from './namespace-blocks.ts'
import { type Received, receiveEntries } from './receive.ts'
import { recount } from './recount.ts'
import { openArtifactKey, readState, revealHidden } from './reveal.ts'
import { NamespaceKeys } from './tables.ts'
import { Transaction } from './transaction.ts'

/** What a namespace needs of the node that has it. */
export interface NamespaceEnvironment {
  readonly store: KeyValueStore
  /** This node's pack store, for one namespace (`ns_…`). */
  readonly packs: (namespace: string) => Promise<NamespaceBlocks>
  readonly agent: AgentKey
  /** 16 bytes: see incarnation. */
  readonly incarnation: Uint8Array
  readonly clock: HybridClock
  /** Cryptographically random bytes. */
  readonly random: (length: number) => Uint8Array<ArrayBuffer>
  /** Whether each entry is signed by its author, in order: on other threads, where there are some. */
  readonly verify?: ((entries: readonly Entry[]) => Promise<readonly boolean[]>) | undefined
  /** Told of what an operator should know. Never given a key or content. */
  readonly warn?: ((message: string, fields: Readonly<Record<string, unknown>>) => void) | undefined
}

/** What a namespace tells its listeners once a batch is durable. */
export interface NamespaceChange {
  /** Entries that this agent wrote. */
  readonly appended: number
  /** Their stored bytes, in the order of its chain. */
  readonly written: readonly Uint8Array[]
  /** Entries of others that were stored. */
  readonly received: number
  /** Whether who may do what may have changed. */
  readonly authChanged: boolean
  /** Artifacts (20 bytes) whose versions changed. */
  readonly artifacts: readonly Uint8Array[]
}

interface SignalOption {
  readonly signal?: AbortSignal | undefined
}

/** Pieces of work that share one batch: more would only make each wait longer. */
const maxGroup = 256
/** Rows of the feed read at a time. */
const feedBatch = 256

/**
 * One namespace on one node. Everything that changes it goes through `commit`, one batch at a time, so tips, catalog
 * and accounts never disagree with the log. What others wrote comes in by `receive`; what is held is told by `vector` and
 * given by `entriesBeyond`.
 */
export class Namespace {
  readonly id: Uint8Array
  /** `ns_…` */
  readonly idText: string
  readonly keys: NamespaceKeys
  readonly catalog: Catalog
  readonly blocks: NamespaceBlocks
  readonly env: NamespaceEnvironment
  readonly keyring: Keyring
  readonly #queue: CommitQueue<Transaction>
  readonly #listeners = new Set<(change: NamespaceChange) => void>()
  /** Prefixes (text) of the grants that this agent was ever given: what is sealed to them may be for it. */
  readonly #ownPrefixes = new Set<string>()
  #chains = new Chains()
  #totals: Totals = noTotals
  #membership: Membership
  #incarnation: Uint8Array
  #feedRow = 0
  #revealing: Promise<void> | undefined
  #stale = false
  #closed = false

  private constructor(env: NamespaceEnvironment, id: Uint8Array, packs: NamespaceBlocks, membership: Membership) {
    this.env = env
    this.id = id
    this.idText = formatNamespaceId(id)
    this.keys = new NamespaceKeys(id)
    this.catalog = new Catalog({ store: env.store, prefix: this.keys.key('catalog') })
    this.blocks = new EntryAndPackBlocks(packs, env.store, this.keys)
    this.keyring = new Keyring(id, env.agent)
    this.#incarnation = env.incarnation
    this.#membership = membership
    this.#queue = new CommitQueue(
      () => this.#begin(),
      (tx) => this.#write(tx),
      maxGroup,
    )
  }

  /**
   * Starts a namespace owned by this agent: its genesis, and the rotate that seals its first epoch to the owner.
   *
   * @param extra goes into the same atomic batch: how the node remembers that it has it
   */
  static async create(
    env: NamespaceEnvironment,
    extra: (id: Uint8Array) => readonly KeyValueChange[],
  ): Promise<Namespace> {
    const { agent, incarnation, clock, random } = env
    const start = { namespace: undefined, grant: undefined, incarnation, seq: 0, previous: undefined, heads: [] }
    const header = { kind: 'genesis' as const, ...start, clock: clock.tick(), keyId: undefined, data: undefined }
    const body = encodeAuthBody({ kind: 'genesis', nonce: random(16) })
    const genesis = signEntry(agent, header, { body })
    return await Namespace.#make(env, genesis, extra, true)
  }

  /**
   * Makes room for a namespace that others have: all but its genesis comes by `receive`.
   *
   * @param id 32 bytes
   * @param genesis the entry of that hash
   * @param extra as `create`
   * @throws CORRUPT when the bytes are not that genesis
   */
  static async join(
    env: NamespaceEnvironment,
    id: Uint8Array,
    genesis: Uint8Array,
    extra: (id: Uint8Array) => readonly KeyValueChange[],
  ): Promise<Namespace> {
    const entry = decodeEntry(genesis)
    if (entry.header.kind !== 'genesis' || !equalBytes(entry.hash, id)) {
      throw new ArtifactHubError('CORRUPT', 'that is not the beginning of this namespace')
    }
    return await Namespace.#make(env, { entry, bytes: genesis }, extra, false)
  }

  static async #make(
    env: NamespaceEnvironment,
    { entry, bytes }: { entry: Entry; bytes: Uint8Array },
    extra: (id: Uint8Array) => readonly KeyValueChange[],
    isOwn: boolean,
  ): Promise<Namespace> {
    const id = entry.hash
    const packs = await env.packs(formatNamespaceId(id))
    const namespace = new Namespace(env, id, packs, Membership.of(entry as AuthEntry))
    for (const prefix of ownPrefixesIn([entry], env.agent.publicKey)) namespace.#ownPrefixes.add(prefix)
    await namespace.commit(async (tx, mark) => {
      mark()
      await tx.storeEntry(entry, bytes, chainOf(entry))
      if (isOwn) await appendRotate(tx)
      for (const change of extra(id)) tx.add(change)
    })
    return namespace
  }

  /**
   * Opens a namespace that is in the store. Damaged rows that follow from the log are made again from it, as far as it
   * is whole itself.
   */
  static async open(env: NamespaceEnvironment, id: Uint8Array): Promise<Namespace> {
    const packs = await env.packs(formatNamespaceId(id))
    const namespace = new Namespace(env, id, packs, Membership.of(unreadGenesis(id, env.agent.publicKey)))
    try {
      await namespace.#reload(false)
    } catch (error) {
      if (!isHubError(error, 'CORRUPT')) throw error
      const reason = { namespace: namespace.idText, reason: error.message }
      env.warn?.('made rows of a namespace again from its log, for some were damaged: run check', reason)
      await rebuildDerived(namespace, {})
      await namespace.#reload(true)
    }
    for (const { clock } of namespace.#chains.all()) env.clock.merge(clock)
    if ((await env.store.get(namespace.keys.key('revealing'))) !== undefined) await namespace.#reveal(undefined)
    return namespace
  }

  /** Whether it was closed: nothing is committed any more. */
  get closed(): boolean {
    return this.#closed
  }

  /** Entries of the log. */
  get entries(): number {
    return this.#totals.entries
  }

  get totals(): Totals {
    return this.#totals
  }

  /** Who may do what, by the entries that are held. */
  get membership(): Membership {
    return this.#membership
  }

  /** What the members are owed: a rotation, boxes. `heal` writes what this agent may of it. */
  get owed(): Owed {
    return this.#membership.owed
  }

  /** The role of an agent (raw public key); `undefined` for a stranger. */
  roleOf(agent: Uint8Array): Role | undefined {
    return this.#membership.roleOf(agent)
  }

  /** Everybody who has a role. */
  *memberAgents(): Generator<Uint8Array> {
    for (const { agent } of this.#membership.members) yield agent
  }

  /** SHA-256 over chain ‖ seq (8) ‖ hash of every row of the vector: two logs with one hash hold the same entries. */
  get vectorHash(): Uint8Array {
    return this.#chains.vector.hash
  }

  /** The tips of all chains, ascending by chain, then hash. */
  vector(): readonly Tip[] {
    return this.#chains.vector.rows
  }

  /**
   * Stored bytes of the entries that whoever has the vector `theirs` lacks. Chains that carry membership first (the owner's,
   * admins', then the others'), each in order of seq. Where they have a tip that is not held here though the chain reaches
   * its seq, there is a fork at an unknown place, and the chain is given from its start.
   */
  entriesBeyond(
    theirs: Iterable<Pick<Tip, 'chain' | 'seq' | 'hash'>>,
    options: SignalOption = {},
  ): AsyncGenerator<Uint8Array, void, undefined> {
    return entriesBeyond(this, this.#chains, theirs, options)
  }

  /**
   * Checks entries that anyone may have made and stores those that are well, with all that follows from them, in one
   * durable batch. Idempotent.
   */
  async receive(batch: readonly Uint8Array[], { signal }: SignalOption = {}): Promise<Received> {
    signal?.throwIfAborted()
    const { received, needsReveal } = await receiveEntries(
      {
        namespace: this,
        chains: () => this.#chains,
        learn: (entries) => this.#learn(entries),
      },
      batch,
    )
    if (needsReveal) await this.#reveal(signal)
    return received
  }

  /** Gives an agent a role: the highest that it will have. Nothing is written when it has that role. @throws ACCESS_DENIED, INVALID_ARGUMENT */
  async grant({ agent, role }: { agent: Uint8Array; role: GrantedRole }): Promise<void> {
    await this.commit(async (tx, mark) => {
      const { membership } = tx
      if (equalBytes(agent, membership.owner))
        throw new ArtifactHubError('INVALID_ARGUMENT', 'the owner’s role does not change')
      requireAbove(tx, rankOf(role), `make anyone ${role}`)
      const grants = membership.grantsOf(agent)
      const obsolete = grants.filter(
        (grant) => rankOf(grant.role) > rankOf(role) || (role === 'replica' && grant.role !== 'replica'),
      )
      for (const { role: held } of obsolete) requireAbove(tx, rankOf(held), `take the role ${held} away`)
      if (obsolete.length === 0 && grants.some((grant) => grant.role === role)) return
      mark()
      if (obsolete.length > 0) await appendRevoke(tx, this.#chains, agent, obsolete)
      if (!grants.some((grant) => grant.role === role)) await appendGrant(tx, agent, role)
      await this.#recount(tx)
      if (obsolete.length > 0 && tx.epoch === undefined) await appendRotate(tx)
    })
  }

  /** Takes an agent's roles away and begins an epoch that it is not told of. What counts now goes on counting. @throws ACCESS_DENIED, NOT_FOUND */
  async revoke({ agent }: { agent: Uint8Array }): Promise<void> {
    await this.commit(async (tx, mark) => {
      const grants = tx.membership.grantsOf(agent)
      if (grants.length === 0) throw new ArtifactHubError('NOT_FOUND', 'that agent is no member of this namespace')
      for (const { role } of grants) requireAbove(tx, rankOf(role), `take the role ${role} away`)
      mark()
      await appendRevoke(tx, this.#chains, agent, grants)
      if (tx.epoch === undefined) await appendRotate(tx)
      await this.#recount(tx)
    })
  }

  /** Lets a chain count up to and with that entry, on its branch, whatever a fork or a revoke says. @throws ACCESS_DENIED, NOT_FOUND */
  async adopt({ hash }: { hash: Uint8Array }): Promise<void> {
    await this.commit(async (tx, mark) => {
      const target = await tx.entry(hash)
      const grant = target?.header.grant && (await tx.entry(target.header.grant))
      if (target === undefined || grant === undefined)
        throw new ArtifactHubError('NOT_FOUND', 'that entry is not held here')
      if (grant.auth?.kind !== 'grant')
        throw new ArtifactHubError('INVALID_ARGUMENT', 'all of the owner’s entries count')
      requireAbove(tx, rankOf(grant.auth.role), 'adopt what that agent wrote')
      mark()
      await appendAdopt(tx, target)
      await this.#recount(tx)
    })
  }

  /** Begins an epoch: keys of what is written from now on are wrapped under a fresh secret. @throws ACCESS_DENIED */
  async rotate(): Promise<void> {
    await this.commit(async (tx, mark) => {
      requireAbove(tx, 1, 'begin an epoch')
      mark()
      await appendRotate(tx)
    })
  }

  /** Writes what is owed and this agent may write: an epoch without former members, boxes that members lack. Gives how many entries. */
  async heal(): Promise<number> {
    return await this.commit(async (tx, mark) => {
      const role = tx.membership.roleOf(this.env.agent.publicKey)
      if (role === undefined || rankOf(role) < 1) return 0
      const before = tx.appended
      if (tx.membership.owed.rotation) {
        if (rankOf(role) < 2) return 0
        mark()
        await appendRotate(tx)
      } else if (tx.epoch !== undefined) {
        const lacking = tx.membership.lacking(tx.epoch.id)
        if (lacking.length === 0) return 0
        mark()
        await appendBoxes(tx, tx.epoch, lacking)
      }
      return tx.appended - before
    })
  }

  /** Calls `listener` after each durable batch, until the returned function is called. */
  subscribe(listener: (change: NamespaceChange) => void): () => void {
    // Wrapped, so that one function may listen twice.
    const own = (change: NamespaceChange) => listener(change)
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
  }

  /** The cursor of the newest change in the feed; -1 before the first. */
  get feedCursor(): number {
    return this.#feedRow - 1
  }

  /**
   * What a member sees change, in this node's order, from after a cursor on (without one: from now on), and then as it happens. Ends
   * when the namespace is closed.
   *
   * @throws NOT_FOUND when the feed no longer reaches back to the cursor; the signal's reason
   */
  async *feed({
    after,
    signal,
  }: { after?: number | undefined } & SignalOption = {}): AsyncGenerator<FeedEvent, void, undefined> {
    let cursor = after ?? this.#feedRow - 1
    for (;;) {
      signal?.throwIfAborted()
      const wake = Promise.withResolvers<void>()
      const stop = this.subscribe(() => wake.resolve())
      const abort = () => wake.resolve()
      signal?.addEventListener('abort', abort, { once: true })
      try {
        const rows = await this.#feedRows(cursor, signal)
        for (const row of rows) {
          yield row
          cursor = row.cursor
        }
        if (rows.length > 0) continue
        if (this.#closed) return
        await wake.promise
      } finally {
        stop()
        signal?.removeEventListener('abort', abort)
      }
    }
  }

  async #feedRows(after: number, signal: AbortSignal | undefined): Promise<FeedEvent[]> {
    const { lt, gte } = this.keys.all('feed')
    const range = { gte: this.keys.key('feed', orderedUint64(Math.max(0, after + 1))), lt, limit: feedBatch }
    const events: FeedEvent[] = []
    for await (const [key, row] of this.env.store.entries(range, signal && { signal })) {
      events.push({ cursor: readUint64(key.subarray(gte.length)), ...readFeedRow(row) })
    }
    const [first] = events
    if (first !== undefined && first.cursor > Math.max(0, after + 1)) {
      throw new ArtifactHubError('NOT_FOUND', 'the feed no longer reaches back to that cursor', {
        details: { oldest: first.cursor - 1 },
      })
    }
    return events
  }

  /**
   * Counts the leaves of a root that was estimated, once a fetch made its tree whole here. `false` when there is nothing to
   * count, or the tree is not whole.
   */
  async settle(artifact: Uint8Array, root: ContentRoot): Promise<boolean> {
    if (!(await this.isEstimated(artifact, root))) return false
    return await this.commit(async (tx, mark) => {
      mark()
      return await tx.accounts.settle(artifact, root)
    })
  }

  /** Whether a live root was not whole here when it became live and has not been settled since. */
  async isEstimated(artifact: Uint8Array, root: ContentRoot): Promise<boolean> {
    return await isEstimatedRoot(this.env.store, this.keys, artifact, root)
  }

  /** The root of that digest that some version of the artifact has: a live one, or one that ended after a time (ms since 1970). */
  async rootOf(
    artifact: Uint8Array,
    digest: Uint8Array,
    { endedAfterMs, signal }: { endedAfterMs: number } & SignalOption,
  ): Promise<ContentRoot | undefined> {
    for await (const { root } of this.catalog.liveRoots(artifact, { signal })) {
      if (equalBytes(root.digest, digest)) return root
    }
    for await (const { root, endedMs } of this.catalog.endedVersions(artifact, { signal })) {
      if (endedMs >= endedAfterMs && equalBytes(root.digest, digest)) return root
    }
    return undefined
  }

  /**
   * Runs `work` on a transaction that it shares with others, and resolves with what it gave once all of it is durable:
   * the batch is synced. `work` refuses by throwing before it calls `mark`; after that it must not fail.
   * @throws CLOSED, what `work` and the store throw
   */
  async commit<T>(work: (tx: Transaction, mark: () => void) => Promise<T>): Promise<T> {
    if (this.#closed) throw new ArtifactHubError('CLOSED', 'this namespace is closed')
    return await this.#queue.run(work)
  }

  /** Lets no more be committed, and resolves when nothing is being written. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#queue.idle()
    for (const listener of this.#listeners)
      listener({ appended: 0, written: [], received: 0, authChanged: false, artifacts: [] })
  }

  /** A fresh artifact key. */
  newArtifactKey(artifact: Uint8Array): ArtifactKey {
    return new ArtifactKey(this.env.random(32), this.id, artifact)
  }

  /**
   * Wraps an artifact key under the best epoch that this agent can open. For the node's own use until the write, which wraps
   * it anew when that epoch is no longer good. @throws ACCESS_DENIED when it can open none
   */
  wrap(key: ArtifactKey, artifact: Uint8Array): KeyWrap {
    const [fallback] = this.keyring.epochHeads()
    const best = this.#membership.epochs.find(
      ({ id }) => this.#membership.isGoodEpoch(id) && this.keyring.epoch(id) !== undefined,
    )
    const epoch = (best && this.keyring.epoch(best.id)) ?? fallback
    if (epoch === undefined) throw new ArtifactHubError('ACCESS_DENIED', 'this agent holds no key of the namespace')
    this.keyring.remember(artifact, key)
    return this.keyring.wrap(key, artifact, epoch)
  }

  /** Opens an artifact key by wraps that are not in the log yet. */
  unwrap(artifact: Uint8Array, keyId: Uint8Array, wraps: readonly KeyWrap[]): ArtifactKey | undefined {
    return this.keyring.open(artifact, keyId, wraps)
  }

  /**
   * What the next version of an artifact is written with: the key in force, or a fresh one when that is known to anyone who
   * is no member any more.
   *
   * @param record the current version
   * @throws ACCESS_DENIED, CORRUPT when the log lacks its entry
   */
  async handleOf({ artifact, entry: hash }: Pick<VersionRecord, 'artifact' | 'entry'>): Promise<ArtifactHandle> {
    const entry = await this.entry(hash)
    const { data, keyId } = entry?.header ?? {}
    if (data === undefined || keyId === undefined)
      throw new ArtifactHubError('CORRUPT', 'the log lacks the entry of a version that the catalog lists')
    const salt = data.artifactSalt
    const row = await this.env.store.get(this.keys.key('artifactKeys', artifact, keyId))
    if (isSuperseded(this.#membership, row, keyId)) {
      return { artifact, salt, key: this.newArtifactKey(artifact), isFresh: true }
    }
    return { artifact, salt, key: await this.artifactKey(artifact, keyId), isFresh: false }
  }

  /** The artifact key of that id. @throws ACCESS_DENIED when this agent cannot open it */
  async artifactKey(artifact: Uint8Array, keyId: Uint8Array): Promise<ArtifactKey> {
    const key = await openArtifactKey(this.#reader(this.keys), artifact, keyId, [])
    if (key === undefined) throw new ArtifactHubError('ACCESS_DENIED', 'this agent cannot open the artifact’s key')
    return key
  }

  /**
   * What a put's body says; `undefined` when it cannot be read here, and for other entries.
   *
   * @param keys whose rows of artifact keys to use
   */
  async stateOf(entry: Entry, keys = this.keys): Promise<ArtifactState | undefined> {
    return await readState(this.#reader(keys), entry)
  }

  /** An entry by its hash; `undefined` when it is not here. @throws CORRUPT */
  async entry(hash: Uint8Array): Promise<Entry | undefined> {
    const bytes = await this.entryBytes(hash)
    return bytes === undefined ? undefined : decodeEntry(bytes)
  }

  /** Stored bytes of an entry. */
  async entryBytes(hash: Uint8Array): Promise<Uint8Array | undefined> {
    const place = await this.env.store.get(this.keys.key('places', hash))
    return place === undefined ? undefined : await this.env.store.get(this.keys.key('entries', place, hash))
  }

  async hasEntry(hash: Uint8Array): Promise<boolean> {
    return (await this.env.store.get(this.keys.key('places', hash))) !== undefined
  }

  /** Every entry with its stored bytes, chain by chain. `place` is chain (16) ‖ seq (8) ‖ hash (32). */
  async *allEntries(signal?: AbortSignal): AsyncGenerator<{ place: Uint8Array; bytes: Uint8Array }> {
    const range = this.keys.all('entries')
    for await (const [key, bytes] of this.env.store.entries(range, signal === undefined ? {} : { signal })) {
      yield { place: key.subarray(range.gte.length), bytes }
    }
  }

  /** All entries that say who may do what, by hash. */
  async *authEntries({ signal }: SignalOption = {}): AsyncGenerator<{ hash: Uint8Array; bytes: Uint8Array }> {
    const { gte, lt } = this.keys.all('auth')
    for await (const [key, place] of this.env.store.entries({ gte, lt }, signal && { signal })) {
      const hash = key.subarray(gte.length)
      const bytes = await this.env.store.get(this.keys.key('entries', place, hash))
      if (bytes !== undefined) yield { hash, bytes }
    }
  }

  /** All entries of one artifact (20 bytes): those that count, and those that carry its keys. */
  async *artifactEntries(
    artifact: Uint8Array,
    { signal }: SignalOption = {},
  ): AsyncGenerator<{ hash: Uint8Array; bytes: Uint8Array }> {
    const hashes = new Map<string, Uint8Array>()
    for await (const hash of this.catalog.entriesOf(artifact, { signal })) hashes.set(bytesText(hash), hash)
    const { gte } = { gte: this.keys.key('artifactKeys', artifact) }
    const lt = this.keys.key('artifactKeys', artifact, new Uint8Array(17).fill(0xff))
    for await (const [key, row] of this.env.store.entries({ gte, lt }, signal && { signal })) {
      for (const hash of readKeyRow(row, key.subarray(gte.length)).entries) hashes.set(bytesText(hash), hash)
    }
    for (const hash of hashes.values()) {
      const bytes = await this.entryBytes(hash)
      if (bytes !== undefined) yield { hash, bytes }
    }
  }

  /**
   * Stored bytes of the entries that hold the keys of the time for an agent: its grants, and the rotate of the epoch to write
   * under. Handed to `receive` ahead of the log they do not link yet, but what comes after them is readable at once, where else
   * it would be tried a second time when they come in their place.
   */
  async *lettersFor(agent: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
    const epoch = this.#membership.epochs.find(({ id }) => this.#membership.isGoodEpoch(id))
    const hashes = this.#membership.grantsOf(agent).map(({ hash }) => hash)
    if (epoch !== undefined) hashes.push(epoch.rotate)
    for (const hash of hashes) {
      const bytes = await this.entryBytes(hash)
      if (bytes !== undefined) yield bytes
    }
  }

  /** Hashes of entries held without the body or leaf that a live version needs. */
  async *incomplete({ signal }: SignalOption = {}): AsyncGenerator<Uint8Array> {
    const { gte, lt } = this.keys.all('stripped')
    const done: KeyValueChange[] = []
    for await (const [key] of this.env.store.entries({ gte, lt }, signal && { signal })) {
      const hash = key.subarray(gte.length)
      const bytes = await this.entryBytes(hash)
      const header = bytes === undefined ? undefined : decodeUnverifiedEntry(bytes).header
      if (header?.data === undefined) continue
      const artifact = this.artifactOf(header.data.artifactSalt)
      const version = { gen: header.data.gen, clock: header.clock, entry: hash }
      if ((await this.catalog.liveRoot(artifact, version)) !== undefined) yield hash
      else if (await this.catalog.hasEnded(artifact, version)) done.push({ type: 'del', key })
    }
    // Should it live again, its artifact is counted anew, and this is noted again.
    if (done.length > 0) await this.env.store.batch(done, { sync: false })
  }

  /** The artifact that a salt names here. */
  artifactOf(salt: Uint8Array): Uint8Array {
    return artifactIdOf(this.id, salt)
  }

  /** Runs `work` while nothing is committed; what this object holds in memory is read again afterwards. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new ArtifactHubError('CLOSED', 'this namespace is closed')
    return await this.#queue.alone(async () => {
      this.#stale = true
      const result = await work()
      await this.#reload(true)
      return result
    })
  }

  /** Takes in the keys that auth entries hold for this agent. Gives whether any is new. */
  async #learn(entries: readonly Entry[]): Promise<boolean> {
    const before = this.#ownPrefixes.size
    for (const prefix of ownPrefixesIn(entries, this.env.agent.publicKey)) this.#ownPrefixes.add(prefix)
    const reader: SealingReader = { keyring: this.keyring, ownPrefixes: this.#ownPrefixes }
    let gained = admitAll(reader, entries)
    if (this.#ownPrefixes.size === before) return gained
    // What was sealed to a grant may have come before the grant itself.
    for await (const { bytes } of this.authEntries())
      gained = admitAll(reader, [decodeUnverifiedEntry(bytes)]) || gained
    return gained
  }

  /** Tries hidden versions with the keys that are there now. One run at a time; a later one sees all keys. */
  async #reveal(signal: AbortSignal | undefined): Promise<void> {
    const before = this.#revealing
    const run = (async () => {
      await before?.catch(() => {})
      await revealHidden(this, signal)
    })()
    this.#revealing = run
    try {
      await run
    } finally {
      if (this.#revealing === run) this.#revealing = undefined
    }
  }

  async #recount(tx: Transaction): Promise<void> {
    await recount(tx, this.#chains, [])
  }

  #reader(keys: NamespaceKeys) {
    const { store } = this.env
    return {
      namespace: this.id,
      keyring: this.keyring,
      keys,
      get: (key: Uint8Array) => store.get(key),
      entry: async (hash: Uint8Array) => {
        const bytes = await this.entryBytes(hash)
        return bytes === undefined ? undefined : decodeUnverifiedEntry(bytes)
      },
    }
  }

  async #begin(): Promise<Transaction> {
    // The batch before failed and may be in the store or not: what is there now decides.
    if (this.#stale) await this.#reload(true)
    const { id: namespace, keys, catalog, blocks, env, keyring } = this
    return new Transaction({
      ...env,
      namespace,
      keys,
      catalog,
      blocks,
      keyring,
      chains: this.#chains,
      totals: this.#totals,
      membership: this.#membership,
      nodeIncarnation: env.incarnation,
      incarnation: this.#incarnation,
      nextFeedRow: this.#feedRow,
    })
  }

  /** @param lenient passes over auth entries that are damaged or gone: `check` reports them */
  async #reload(lenient: boolean): Promise<void> {
    const { store, agent, incarnation } = this.env
    // Nothing is committed on tables of which some are made again and some are not.
    if (await isHalfRebuilt(this)) await rebuildDerived(this, {})
    const chains = await Chains.load(store, this.keys, agent.publicKey)
    this.#totals = await loadTotals(store, this.keys)
    const auth = await loadAuth(this, chains, lenient)
    for (const prefix of auth.ownPrefixes) this.#ownPrefixes.add(prefix)
    this.#membership = auth.membership
    const own = await store.get(this.keys.key('incarnation'))
    const isReplaced = own !== undefined && equalBytes(own.subarray(0, incarnation.length), incarnation)
    this.#incarnation = isReplaced ? own.slice(incarnation.length) : incarnation
    const { gte, lt } = this.keys.all('feed')
    this.#feedRow = 0
    for await (const [key] of store.entries({ gte, lt, reverse: true, limit: 1 })) {
      this.#feedRow = readUint64(key.subarray(gte.length)) + 1
    }
    this.#chains = chains
    this.#stale = false
  }

  async #write(tx: Transaction): Promise<void> {
    await tx.signed()
    this.#stale = true
    const { membership } = tx
    await this.env.store.batch(tx.changes, { sync: true })
    this.#stale = false
    for (const tips of tx.tips) this.#chains.set(tips)
    if (tx.appended > 0) this.#chains.noteNamed()
    const authChanged = membership !== this.#membership
    this.#membership = membership
    this.#totals = tx.accounts.totals
    this.#incarnation = tx.incarnation
    this.#feedRow = tx.nextFeedRow ?? this.#feedRow
    tx.releaseReservations()
    if (this.#listeners.size === 0) return
    const { appended, received, written } = tx
    const change = { appended, written, received, authChanged, artifacts: [...tx.changedArtifacts] }
    for (const listener of this.#listeners) listener(change)
  }
}
