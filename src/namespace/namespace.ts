import { type ArtifactState, Catalog } from '../catalog/index.ts'
import { artifactIdOf, formatNamespaceId } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import { type AgentKey, Sealer } from '../identity/index.ts'
import {
  decodeEntry,
  type Entry,
  type EntrySections,
  encodeAuthBody,
  grantPrefix,
  type HybridClock,
  type KeyWrap,
  signEntry,
} from '../log/index.ts'
import { ArtifactKey, Keyring, keyIdOf } from '../sharing/index.ts'
import type { KeyValueChange, KeyValueStore, NamespaceBlocks } from '../storage/index.ts'
import { loadTotals, type Totals } from './accounts.ts'
import { decodeBody } from './body.ts'
import { Chains } from './chains.ts'
import { CommitQueue } from './commit-queue.ts'
import { isHalfRebuilt, rebuildDerived } from './derive.ts'
import { EntryAndPackBlocks } from './namespace-blocks.ts'
import { chainIdOf, NamespaceKeys } from './tables.ts'
import { decodeWraps, type EntryDraft, Transaction } from './transaction.ts'

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
  /** Told of what an operator should know. Never given a key or content. */
  readonly warn?: ((message: string, fields: Readonly<Record<string, unknown>>) => void) | undefined
}

/** Pieces of work that share one batch: more would only make each wait longer. */
const maxGroup = 256
const incarnationBytes = 16

/**
 * One namespace on one node. Everything that changes it goes through `commit`, one batch at a time, so heads, catalog
 * and accounts never disagree with the log.
 */
export class Namespace {
  readonly id: Uint8Array
  /** `ns_…` */
  readonly idText: string
  readonly keys: NamespaceKeys
  readonly catalog: Catalog
  readonly blocks: NamespaceBlocks
  readonly env: NamespaceEnvironment
  readonly #keyring: Keyring
  readonly #queue: CommitQueue<Transaction>
  #chains: Chains
  #totals: Totals
  /** The node's own, but where its chain ends in a damaged entry: then one drawn for as long as this object is used. */
  #incarnation: Uint8Array
  #stale = false
  #closed = false

  private constructor(
    env: NamespaceEnvironment,
    id: Uint8Array,
    packs: NamespaceBlocks,
    chains: Chains,
    totals: Totals,
  ) {
    this.env = env
    this.id = id
    this.idText = formatNamespaceId(id)
    this.keys = new NamespaceKeys(id)
    this.catalog = new Catalog({ store: env.store, prefix: this.keys.key('catalog') })
    this.blocks = new EntryAndPackBlocks(packs, env.store, this.keys)
    this.#keyring = new Keyring(id)
    this.#incarnation = env.incarnation
    this.#chains = chains
    this.#totals = totals
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
    const { entry, bytes } = signEntry(agent, header, { body: encodeAuthBody({ kind: 'genesis', nonce: random(16) }) })
    const id = entry.hash
    const chain = chainIdOf(agent.publicKey, id, incarnation)
    const chains = new Chains()
    chains.set({ chain, grant: id, incarnation, seq: 0, hash: id, clock: header.clock })
    const packs = await env.packs(formatNamespaceId(id))
    const namespace = new Namespace(env, id, packs, chains, { leafBytes: 0, entryBytes: 0 })
    const epoch = newEpoch(env, id)
    await namespace.commit(async (tx, mark) => {
      mark()
      tx.add({ type: 'put', key: namespace.keys.entry(chain, 0), value: bytes })
      await tx.index(entry, chain, bytes.length)
      await tx.append(epoch.draft, epoch.sections)
      for (const change of extra(id)) tx.add(change)
    })
    await namespace.loadEpochs(namespace.keys)
    return namespace
  }

  /**
   * Opens a namespace that is in the store. Damaged rows that follow from the log are made again from it, as far as it
   * is whole itself.
   */
  static async open(env: NamespaceEnvironment, id: Uint8Array): Promise<Namespace> {
    const packs = await env.packs(formatNamespaceId(id))
    const namespace = new Namespace(env, id, packs, new Chains(), { leafBytes: 0, entryBytes: 0 })
    try {
      await namespace.#reload()
      if ((await namespace.loadEpochs(namespace.keys)) > 0) throw new ArtifactHubError('CORRUPT', 'an epoch is missing')
    } catch (error) {
      if (!isHubError(error, 'CORRUPT')) throw error
      const reason = { namespace: namespace.idText, reason: error.message }
      env.warn?.('made rows of a namespace again from its log, for some were damaged: run check', reason)
      await rebuildDerived(namespace, {})
      await namespace.#reload()
    }
    for (const { clock } of namespace.#chains.values()) env.clock.merge(clock)
    return namespace
  }

  /** Whether it was closed: nothing is committed any more. */
  get closed(): boolean {
    return this.#closed
  }

  /** Entries of the log. */
  get entries(): number {
    return this.#chains.entries
  }

  get totals(): Totals {
    return this.#totals
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
  }

  /** A fresh artifact key. */
  newArtifactKey(artifact: Uint8Array): ArtifactKey {
    return new ArtifactKey(this.env.random(32), this.id, artifact)
  }

  /** Wraps an artifact key under the current epoch. */
  wrap(key: ArtifactKey, artifact: Uint8Array): ReturnType<Keyring['wrap']> {
    this.#keyring.remember(artifact, key)
    return this.#keyring.wrap(key, artifact)
  }

  /** Opens an artifact key by wraps that are not in the log yet. */
  unwrap(artifact: Uint8Array, keyId: Uint8Array, wraps: Parameters<Keyring['open']>[2]): ArtifactKey | undefined {
    return this.#keyring.open(artifact, keyId, wraps)
  }

  /**
   * The artifact key of that id.
   *
   * @param wraps to try before those that are recorded
   * @throws ACCESS_DENIED when this agent cannot open it
   */
  async artifactKey(artifact: Uint8Array, keyId: Uint8Array, wraps: readonly KeyWrap[] = []): Promise<ArtifactKey> {
    const key =
      this.#keyring.open(artifact, keyId, wraps) ??
      this.#keyring.open(
        artifact,
        keyId,
        decodeWraps(await this.env.store.get(this.keys.key('artifactKeys', artifact, keyId)), keyId),
      )
    if (key === undefined) throw new ArtifactHubError('ACCESS_DENIED', 'this agent cannot open the artifact’s key')
    return key
  }

  /**
   * What a put's body says; `undefined` when it was erased, and for other entries.
   *
   * @param wraps of the key, to try before those that are recorded
   * @throws CORRUPT, ACCESS_DENIED
   */
  async stateOf(entry: Entry, wraps?: readonly KeyWrap[]): Promise<ArtifactState | undefined> {
    const { header, body } = entry
    const { data, keyId, grant, author, incarnation, seq } = header
    if (data === undefined || keyId === undefined || grant === undefined || body === undefined) return undefined
    const key = await this.artifactKey(this.artifactOf(data.artifactSalt), keyId, wraps)
    return decodeBody(key.openBody(body, { namespace: this.id, author, grant, incarnation, seq }))
  }

  /** An entry by its hash; `undefined` when it is not here. @throws CORRUPT */
  async entry(hash: Uint8Array): Promise<Entry | undefined> {
    const place = await this.env.store.get(this.keys.key('places', hash))
    return place === undefined ? undefined : await this.entryAt(place)
  }

  /** An entry by its place: chain (16) ‖ seq (8). @throws CORRUPT */
  async entryAt(place: Uint8Array): Promise<Entry | undefined> {
    const bytes = await this.env.store.get(this.keys.key('entries', place))
    return bytes === undefined ? undefined : decodeEntry(bytes)
  }

  /** Every entry with its stored bytes, chain by chain. */
  async *allEntries(signal?: AbortSignal): AsyncGenerator<{ place: Uint8Array; bytes: Uint8Array }> {
    const range = this.keys.all('entries')
    for await (const [key, bytes] of this.env.store.entries(range, signal === undefined ? {} : { signal })) {
      yield { place: key.subarray(range.gte.length), bytes }
    }
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
      await this.#reload()
      return result
    })
  }

  async #begin(): Promise<Transaction> {
    // The batch before failed and may be in the store or not: what is there now decides.
    if (this.#stale) await this.#reload()
    const { store, agent, clock } = this.env
    const { id: namespace, keys, catalog, blocks } = this
    const [totals, incarnation] = [this.#totals, this.#incarnation]
    return new Transaction({
      namespace,
      store,
      keys,
      catalog,
      blocks,
      chains: this.#chains,
      totals,
      agent,
      incarnation,
      clock,
    })
  }

  async #reload(): Promise<void> {
    // Nothing is committed on tables of which some are made again and some are not.
    if (await isHalfRebuilt(this)) await rebuildDerived(this, {})
    const chains = await Chains.load(this.env.store, this.keys)
    this.#totals = await loadTotals(this.env.store, this.keys)
    if (chains.isBroken(chainIdOf(this.env.agent.publicKey, this.id, this.#incarnation))) {
      // What that entry was may be known elsewhere: another one in its place, or after it, would be a fork.
      this.#incarnation = this.env.random(incarnationBytes)
      this.env.warn?.('began a new chain in a namespace, for the newest entry of its own is damaged: run check', {
        namespace: this.idText,
      })
    }
    this.#chains = chains
    this.#stale = false
  }

  async #write(tx: Transaction): Promise<void> {
    await tx.signed()
    this.#stale = true
    await this.env.store.batch(tx.changes, { sync: true })
    this.#stale = false
    if (tx.head !== undefined) this.#chains.set(tx.head)
    if (tx.appended) this.#chains.noteNamed()
    this.#totals = tx.accounts.totals
    tx.releaseReservations()
  }

  /**
   * Takes the epoch secrets sealed to this agent from the rotates that `keys` lists. Gives how many could not be read;
   * that none is listed counts as one, for every namespace begins with one.
   */
  async loadEpochs(keys: NamespaceKeys): Promise<number> {
    const rotates: Entry[] = []
    let listed = 0
    for await (const [, place] of this.env.store.entries(keys.all('epochs'))) {
      listed += 1
      const entry = await this.entryAt(place).catch((error) => {
        if (!isHubError(error, 'CORRUPT')) throw error
      })
      if (entry?.header.kind === 'rotate') rotates.push(entry)
    }
    rotates.sort(
      (a, b) => a.header.clock.wallMs - b.header.clock.wallMs || a.header.clock.counter - b.header.clock.counter,
    )
    for (const { header, keys: section } of rotates) {
      if (header.keyId !== undefined && section !== undefined)
        this.#keyring.admitEpoch(header.keyId, section, this.env.agent)
    }
    return Math.max(1, listed) - rotates.length
  }
}

/** A fresh epoch secret, sealed to its one member. */
function newEpoch(env: NamespaceEnvironment, namespace: Uint8Array): { draft: EntryDraft; sections: EntrySections } {
  const secret = env.random(32)
  const keyId = keyIdOf(secret)
  const sealer = new Sealer(env.random(32))
  const box = sealer.seal(secret, env.agent.publicKey, { kind: 'epoch', namespace, subject: new Uint8Array(0), keyId })
  const keys = { wraps: [], ephemeral: sealer.ephemeral, boxes: [{ keyId, ...box }] }
  const body = encodeAuthBody({ kind: 'rotate', to: [grantPrefix(namespace)] })
  return { draft: { kind: 'rotate', keyId, data: undefined }, sections: { keys, body } }
}
