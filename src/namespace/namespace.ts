import type { CapabilityClaims } from '../capability/index.ts'
import type { Catalog, ContentRoot } from '../catalog/index.ts'
import { artifactIdOf, equalBytes } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import type { AgentKey } from '../identity/index.ts'
import { decodeEntry, type Entry, encodeAuthBody, signEntry } from '../log/index.ts'
import { type AuthEntry, Membership, type Role } from '../membership/index.ts'
import type { HeldCapability, Keyring } from '../sharing/index.ts'
import type { KeyValueChange, NamespaceBlocks } from '../storage/index.ts'
import { isEstimatedRoot, type Totals } from './accounts.ts'
import { ArtifactKeys } from './artifact-keys.ts'
import { unreadGenesis } from './auth-log.ts'
import { type CapabilityQuestion, checkCapability, isIssuedHere } from './capability-check.ts'
import { chainOf } from './chains.ts'
import { removeDoubtful } from './doubtful.ts'
import { Feed } from './follow-feed.ts'
import type { FollowedArtifacts } from './followed.ts'
import { KnownDescriptors } from './group-descriptor.ts'
import { Healer } from './healer.ts'
import { HeldEntries } from './held-entries.ts'
import { Ledger, type NamespaceChange } from './ledger.ts'
import { appendRotate } from './members.ts'
import { NamespaceMembers } from './namespace-members.ts'
import { NamespaceSharing } from './namespace-sharing.ts'
import { type NamespaceEnvironment, type NamespaceParts, namespaceParts } from './parts.ts'
import { type Received, receiveEntries } from './receive.ts'
import { Revealer } from './reveal.ts'
import { provesRole } from './role-claim.ts'
import type { ShareBook } from './share-book.ts'
import type { StoredLog } from './stored-log.ts'
import type { NamespaceKeys } from './tables.ts'
import type { Transaction } from './transaction.ts'

interface SignalOption {
  readonly signal?: AbortSignal | undefined
}

/**
 * One namespace on one node. Everything that changes it goes through `commit`, one batch at a time, so tips, catalog
 * and accounts never disagree with the log. What others wrote comes in by `receive`; what is `held` is told and
 * given to others.
 */
export class Namespace implements NamespaceParts {
  readonly id: Uint8Array
  /** `ns_…` */
  readonly idText: string
  readonly folder: string
  readonly env: NamespaceEnvironment
  readonly keys: NamespaceKeys
  readonly log: StoredLog
  readonly catalog: Catalog
  readonly blocks: NamespaceBlocks
  readonly keyring: Keyring
  readonly shares: ShareBook
  readonly partial: FollowedArtifacts | undefined
  /** Giving artifacts to others and taking them back; `shares` reads what the log says of it. */
  readonly sharing: NamespaceSharing
  /** What of its log is here, as others are told and given it. */
  readonly held: HeldEntries
  readonly members: NamespaceMembers
  /** Of the groups that this namespace has to do with. */
  readonly descriptors: KnownDescriptors
  readonly artifactKeys: ArtifactKeys
  readonly healer: Healer
  readonly feed: Feed
  readonly #ledger: Ledger
  readonly #revealer: Revealer
  /** Settles once the batches handed to `receive` so far are on their way into the store. */
  #receiving: Promise<void> = Promise.resolve()
  #batchesReceiving = 0
  /** By which membership it was last looked at who gave what. */
  #judgedBy: Membership | undefined

  private constructor(ledger: Ledger) {
    const { id, idText, folder, env, keys, log, catalog, blocks, keyring, shares, partial } = ledger.parts
    this.id = id
    this.idText = idText
    this.folder = folder
    this.env = env
    this.keys = keys
    this.log = log
    this.catalog = catalog
    this.blocks = blocks
    this.keyring = keyring
    this.shares = shares
    this.partial = partial
    this.#ledger = ledger
    this.held = new HeldEntries(ledger)
    this.#revealer = new Revealer(ledger)
    this.members = new NamespaceMembers(ledger)
    this.descriptors = new KnownDescriptors(ledger)
    this.artifactKeys = new ArtifactKeys(ledger, this.descriptors)
    this.healer = new Healer(ledger, this.descriptors)
    this.feed = new Feed(ledger)
    this.sharing = new NamespaceSharing(ledger, this.descriptors)
  }

  /**
   * Starts a namespace, or a group, owned by this agent: its genesis, and the rotate that seals its first epoch to the owner.
   *
   * @param extra goes into the same atomic batch: how the node remembers that it has it
   */
  static async create(
    env: NamespaceEnvironment,
    extra: (id: Uint8Array) => readonly KeyValueChange[],
    { isGroup = false }: { isGroup?: boolean } = {},
  ): Promise<Namespace> {
    const { agent, incarnation, clock, random } = env
    const start = { namespace: undefined, grant: undefined, incarnation, seq: 0, previous: undefined, heads: [] }
    const header = { kind: 'genesis' as const, ...start, clock: clock.tick(), keyId: undefined, data: undefined }
    const body = encodeAuthBody({ kind: 'genesis', type: isGroup ? 'group' : 'namespace', nonce: random(16) })
    const genesis = signEntry(agent, header, { body })
    return await Namespace.#make(env, genesis, extra, { isOwn: true })
  }

  /**
   * Makes room for a namespace that others have: all but its genesis comes by `receive`.
   *
   * @param id 32 bytes
   * @param genesis the entry of that hash
   * @param extra as `create`
   * @param partial makes room for those artifacts only
   * @throws CORRUPT when the bytes are not that genesis
   */
  static async join(
    env: NamespaceEnvironment,
    id: Uint8Array,
    genesis: Uint8Array,
    extra: (id: Uint8Array) => readonly KeyValueChange[],
    partial?: FollowedArtifacts | undefined,
  ): Promise<Namespace> {
    const entry = decodeEntry(genesis)
    if (entry.header.kind !== 'genesis' || !equalBytes(entry.hash, id)) {
      throw new ArtifactHubError('CORRUPT', 'that is not the beginning of this namespace')
    }
    return await Namespace.#make(env, { entry, bytes: genesis }, extra, { isOwn: false, partial })
  }

  static async #make(
    env: NamespaceEnvironment,
    { entry, bytes }: { entry: Entry; bytes: Uint8Array },
    extra: (id: Uint8Array) => readonly KeyValueChange[],
    { isOwn, partial }: { isOwn: boolean; partial?: FollowedArtifacts | undefined },
  ): Promise<Namespace> {
    const membership = Membership.of(entry as AuthEntry, { isPart: partial !== undefined })
    const ledger = new Ledger(await namespaceParts(env, entry.hash, partial), membership)
    await ledger.learn([entry])
    await ledger.commit(async (tx, mark) => {
      mark()
      await tx.storeEntry(entry, bytes, chainOf(entry))
      if (isOwn) await appendRotate(tx)
      // It may have been here before, and what was written then may be known elsewhere only: another entry in its place would fork it.
      else if (partial === undefined) tx.drawIncarnation()
      for (const change of extra(entry.hash)) tx.add(change)
    })
    return new Namespace(ledger)
  }

  /**
   * Opens a namespace that is in the store. Damaged rows that follow from the log are made again from it, as far as it
   * is whole itself.
   *
   * @param partial there if it was made for some artifacts only
   */
  static async open(
    env: NamespaceEnvironment,
    id: Uint8Array,
    partial?: FollowedArtifacts | undefined,
  ): Promise<Namespace> {
    const parts = await namespaceParts(env, id, partial)
    const ledger = new Ledger(
      parts,
      Membership.of(unreadGenesis(id, env.agent.publicKey), { isPart: partial !== undefined }),
    )
    await ledger.load()
    for (const { clock } of ledger.chains.all()) env.clock.merge(clock)
    const namespace = new Namespace(ledger)
    await namespace.#judgeOrigins()
    await namespace.#revealer.resume()
    return namespace
  }

  /** Whether it was closed: nothing is committed any more. */
  get closed(): boolean {
    return this.#ledger.closed
  }

  get totals(): Totals {
    return this.#ledger.totals
  }

  /** Who may do what, by the entries that are held. */
  get membership(): Membership {
    return this.#ledger.membership
  }

  /** The role of an agent (raw public key); `undefined` for a stranger. */
  roleOf(agent: Uint8Array): Role | undefined {
    return this.membership.roleOf(agent)
  }

  /** Whether an agent had a role that was taken away. */
  hadRole(agent: Uint8Array): boolean {
    return this.membership.endingsOf(agent).length > 0
  }

  /** Whether a capability for this namespace is in force and for the agent that shows it. */
  allows(question: CapabilityQuestion): ReturnType<typeof checkCapability> {
    return checkCapability(this.membership, (group) => this.descriptors.newest(group), question)
  }

  /** Whether a grant that is held, live or ended, let the issuer of a capability write. */
  isIssued(claims: CapabilityClaims): boolean {
    return isIssuedHere(this.membership, claims)
  }

  /** Everybody who has a role. */
  *memberAgents(): Generator<Uint8Array> {
    for (const { agent } of this.membership.members) yield agent
  }

  /** Whether entries that anyone may have made, in the order of `claim`, are signed grants that lead from the owner to the agent. */
  provesRole(agent: Uint8Array, claim: readonly Uint8Array[]): boolean {
    return provesRole(this.membership, agent, claim)
  }

  /**
   * Checks entries that anyone may have made and stores those that are well, with all that follows from them, in one
   * durable batch. Idempotent. Batches are stored in the order of the calls, and checked beside what is stored before them.
   *
   * @param options.from the agent that gave them: a partial log takes the word of nobody whose role has ended. Absent: they are this node's own
   */
  async receive(
    batch: readonly Uint8Array[],
    { signal, from }: SignalOption & { readonly from?: Uint8Array | undefined } = {},
  ): Promise<Received> {
    signal?.throwIfAborted()
    const earlier = this.#receiving
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#receiving = promise
    this.#batchesReceiving += 1
    const received = await receiveEntries(this.#ledger, batch, earlier, resolve, from).finally(() => {
      this.#batchesReceiving -= 1
    })
    await this.#judgeOrigins()
    await this.#revealer.run(signal)
    return received
  }

  /** Of a partial log: takes out what nobody stands for any more, once who may do what has changed. */
  async #judgeOrigins(): Promise<void> {
    if (this.partial === undefined) return
    while (this.#judgedBy !== this.membership) {
      const { membership } = this
      // Without what is taken out who may do what may be otherwise.
      if (!(await removeDoubtful(this.#ledger))) this.#judgedBy = membership
    }
  }

  /** Whether entries were handed to `receive` that are not durable yet. */
  get isReceiving(): boolean {
    return this.#batchesReceiving > 0
  }

  /**
   * Holds capabilities, given to this agent or to groups that it is in, for as long as the namespace is open: what was sealed for them opens
   * from now on, what was hidden is tried again.
   */
  async holdCapabilities(held: Iterable<HeldCapability>): Promise<void> {
    let gained = false
    for (const one of held) gained = this.keyring.capabilities.hold(one) || gained
    if (gained) await this.#tryAgain()
  }

  /** As `holdCapabilities`, with the keys of a group that this agent is in: `epoch` is the id (16 bytes) of each one's epoch. */
  async holdGroupKeys(group: Uint8Array, keys: Iterable<{ epoch: Uint8Array; key: AgentKey }>): Promise<void> {
    const { capabilities } = this.keyring
    let gained = false
    for (const { epoch, key } of keys) gained = capabilities.admitGroupKey(group, epoch, key) || gained
    if (gained) await this.#tryAgain()
  }

  async #tryAgain(): Promise<void> {
    this.#ledger.noteKeysGained()
    // A batch that is on its way was not read with these keys, and is not to be found before it is written.
    await this.#ledger.settled()
    await this.#revealer.run(undefined)
  }

  /** Calls `listener` after each durable batch, until the returned function is called. */
  subscribe(listener: (change: NamespaceChange) => void): () => void {
    return this.#ledger.subscribe(listener)
  }

  /**
   * Counts the leaves of a root that was estimated, once a fetch made its tree whole here. `false` when there is nothing to
   * count, or the tree is not whole.
   */
  async settle(artifact: Uint8Array, root: ContentRoot): Promise<boolean> {
    if (!(await this.isEstimated(artifact, root))) return false
    return await this.#ledger.commit(async (tx, mark) => {
      mark()
      return await tx.accounts.settle(artifact, root)
    })
  }

  /** Whether a live root was not whole here when it became live and has not been settled since. */
  async isEstimated(artifact: Uint8Array, root: ContentRoot): Promise<boolean> {
    return await isEstimatedRoot(this.env.store, this.keys, artifact, root)
  }

  /** The root of that digest that some version of the artifact has: a live one, or one that ended after a time (ms since 1970); whose number is above `after`. */
  async rootOf(
    artifact: Uint8Array,
    digest: Uint8Array,
    { endedAfterMs, after = 0, signal }: { endedAfterMs: number; after?: number | undefined } & SignalOption,
  ): Promise<ContentRoot | undefined> {
    for await (const { root, number } of this.catalog.liveRoots(artifact, { signal })) {
      if (number > after && equalBytes(root.digest, digest)) return root
    }
    for await (const { root, number, endedMs } of this.catalog.endedVersions(artifact, { signal })) {
      if (number > after && endedMs >= endedAfterMs && equalBytes(root.digest, digest)) return root
    }
    return undefined
  }

  /**
   * Runs `work` on a transaction that it shares with others, and resolves with what it gave once all of it is durable:
   * the batch is synced. `work` refuses by throwing before it calls `mark`; after that it must not fail.
   * @throws CLOSED, what `work` and the store throw
   */
  async commit<T>(work: (tx: Transaction, mark: () => void) => Promise<T>): Promise<T> {
    return await this.#ledger.commit(work)
  }

  /** Runs `work` while nothing is committed; what this object holds in memory is read again afterwards. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    return await this.#ledger.alone(work)
  }

  /** Lets no more be committed, and resolves when nothing is being written. Idempotent. */
  async close(): Promise<void> {
    await this.#ledger.close()
  }

  /** The artifact that a salt names here. */
  artifactOf(salt: Uint8Array): Uint8Array {
    return artifactIdOf(this.id, salt)
  }
}
