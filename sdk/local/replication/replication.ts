import { formatNamespaceId, toHex } from '../../../src/encoding/index.ts'
import { ArtifactHubError, isHubError } from '../../../src/errors.ts'
import {
  type BlockServer,
  durableShare,
  HoldingAsker,
  type Holds,
  type KnownPeer,
  type NamespaceRoots,
  type NamespaceSyncStatus,
  Pace,
  type QuestionServer,
  Replicator,
  type ReplicatorCounters,
  serveBlocks,
  serveHolding,
} from '../../../src/exchange/index.ts'
import { parseTicket, type Ticket, ticketKindText } from '../../../src/identity/index.ts'
import { gcGraceMs, syncPace } from '../../../src/limits.ts'
import type { Namespace } from '../../../src/namespace/index.ts'
import type { FetchPolicy } from '../../peer-client.ts'
import type { LocalEnvironment } from '../environment.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import type { LocalNamespaces } from '../namespaces.ts'
import { Contacts } from './contacts.ts'
import { Announcement } from './discovery.ts'
import { EagerFetch } from './eager-fetch.ts'
import { Follows } from './follows.ts'
import { Joins, type JoinTarget } from './joins.ts'
import { keepReplica } from './keep-replica.ts'
import { deleteSettings, loadSettings, putSettings, type SettingsRow } from './rows.ts'

interface JoinCall extends Pick<JoinTarget, 'retryMs' | 'findsOthers'> {
  /** Local name; by default what the ticket proposes, or as before for what ended. */
  readonly name?: string | undefined
  /** Waits for a role until the signal fires. */
  readonly isWaiting: boolean
  /** The fetch policy at first, where none is remembered. */
  readonly policy?: FetchPolicy | undefined
  readonly signal?: AbortSignal | undefined
}

/** What runs for a namespace while it is open. */
interface Followed {
  readonly namespace: OpenNamespace
  readonly fetching: EagerFetch
  readonly announcement: Announcement
  /** Told when more of an artifact (in hex) may be here. */
  readonly listeners: Map<() => void, string>
  readonly unsubscribe: () => void
}

const noSettings: SettingsRow = { policy: { fetch: 'lazy' }, peers: [] }
/** Agents whom tickets named that are remembered of one namespace. */
const maxKnownPeers = 256

/** Keeps this node's namespaces in step with other members' nodes, and serves them to those. Offline it only remembers. */
export class Replication implements AsyncDisposable {
  readonly env: LocalEnvironment
  readonly namespaces: LocalNamespaces
  readonly contacts: Contacts
  readonly joins: Joins
  /** What other nodes hold. */
  readonly holdings: HoldingAsker
  #follows: Follows | undefined
  readonly #replicator: Replicator | undefined
  readonly #blockServer: BlockServer | undefined
  readonly #holdingServer: QuestionServer | undefined
  readonly #settings: Map<string, SettingsRow>
  readonly #followed = new Map<string, Followed>()
  readonly #answeredListeners = new Set<(agent: Uint8Array, jtis: readonly Uint8Array[]) => void>()
  readonly #ending = new AbortController()
  readonly #background = new Set<Promise<void>>()
  /** One change of what is remembered at a time: each goes on from the one before. */
  #remembering: Promise<unknown> = Promise.resolve()
  readonly #stops: (() => void)[]

  private constructor(
    env: LocalEnvironment,
    namespaces: LocalNamespaces,
    contacts: Contacts,
    settings: Map<string, SettingsRow>,
  ) {
    const { network, scheduler, engine, agent, isOnline } = env
    this.env = env
    this.namespaces = namespaces
    this.contacts = contacts
    this.#settings = settings
    const self = agent.publicKey
    this.holdings = new HoldingAsker(env)
    const chance = (): number => this.chance()
    const pace = new Pace(scheduler, syncPace)
    this.joins = new Joins({ network, scheduler, pace, discovery: env.discovery, chance, self, namespaces })
    if (isOnline) {
      const lookup = (id: Uint8Array) => this.#followed.get(toHex(id))
      this.#replicator = new Replicator({
        network,
        scheduler,
        random: chance,
        self,
        pace,
        onInvited: (namespace, from) => this.joins.invited(namespace, from),
        onAnswered: (agent, jtis) => {
          for (const listener of this.#answeredListeners) {
            try {
              listener(agent, jtis)
            } catch (error) {
              // What others are answered is not to fail by it.
              env.warn?.('who waits for answers to shares failed', { error: String(error) })
            }
          }
        },
      })
      this.#blockServer = serveBlocks({
        network,
        scheduler,
        engine,
        self,
        lookup: (id) => {
          const log = lookup(id)?.namespace.log
          if (log === undefined) return undefined
          return { blocks: log.blocks, ...readableOf(log, env.now) }
        },
      })
      this.#holdingServer = serveHolding({
        network,
        scheduler,
        self,
        lookup: (id) => {
          const followed = lookup(id)
          if (followed === undefined) return undefined
          const { namespace, listeners } = followed
          return {
            ...readableOf(namespace.log, env.now),
            holds: (artifact, root) => this.holds(namespace, artifact, root),
            onMore: (artifact, listener) => {
              listeners.set(listener, toHex(artifact))
              return () => listeners.delete(listener)
            },
          }
        },
      })
    }
    this.#stops = [
      namespaces.observe({
        opened: (namespace) => {
          // While it is being joined its log comes from one provider; the others follow.
          if (!this.joins.isJoining(namespace.log.id)) this.#follow(namespace)
        },
        closing: (namespace, isKept) => this.#unfollow(namespace, !isKept && namespace.log.partial === undefined),
      }),
      env.fetches.onWhole((log, artifact) => {
        const followed = this.#followed.get(toHex(log.id))
        if (followed !== undefined) tellOfMore(followed.listeners, [artifact])
      }),
      network.onPeer((agent, isConnected) => {
        if (isConnected) for (const { fetching } of this.#followed.values()) fetching.onConnected(agent)
      }),
    ]
    for (const namespace of namespaces.everything) this.#follow(namespace)
  }

  /** @throws CORRUPT */
  static async open(env: LocalEnvironment, namespaces: LocalNamespaces): Promise<Replication> {
    const contacts = await Contacts.open(env.store, env.network)
    const settings = new Map((await loadSettings(env.store)).map(({ id, row }) => [toHex(id), row]))
    const replication = new Replication(env, namespaces, contacts, settings)
    await replication.#openFollows()
    return replication
  }

  /** What is followed in namespaces that this agent is no member of. */
  get follows(): Follows {
    if (this.#follows === undefined) throw new ArtifactHubError('CLOSED', 'nothing is followed yet')
    return this.#follows
  }

  async #openFollows(): Promise<void> {
    const { env, namespaces } = this
    const chance = (): number => this.chance()
    this.#follows = await Follows.open({ env, namespaces, replicator: this.#replicator, chance })
    this.#follows.start()
  }

  /** Counts of what was served to others; zeros offline. */
  get counters(): { blocksServed: BlockServer['counters']; syncServed: ReplicatorCounters } | undefined {
    if (this.#blockServer === undefined || this.#replicator === undefined) return undefined
    return { blocksServed: { ...this.#blockServer.counters }, syncServed: this.#replicator.counters }
  }

  /**
   * Tells when an agent (32 bytes) has taken what it was answered by shares or links for it of these jtis (16 bytes each), a refusal of one that was good
   * here too; until the returned function is called.
   */
  onAnswered(listener: (agent: Uint8Array, jtis: readonly Uint8Array[]) => void): () => void {
    this.#answeredListeners.add(listener)
    return () => this.#answeredListeners.delete(listener)
  }

  /** A number from 0 up to 1: for jitter and choice, nothing secret. */
  chance(): number {
    return new DataView(this.env.random(4).buffer).getUint32(0) / 2 ** 32
  }

  syncStatus({ log }: OpenNamespace): NamespaceSyncStatus | undefined {
    return this.#replicator?.status(log.id)
  }

  /** Has members tell now what is new in a namespace. Gives whether somebody did, as soon as one has. @throws the signal's reason */
  async refresh({ log }: OpenNamespace, signal?: AbortSignal): Promise<boolean> {
    return ((await this.#replicator?.syncNow(log.id, { signal, isOneEnough: true })) ?? 0) > 0
  }

  policyOf({ log }: OpenNamespace): FetchPolicy {
    return this.#settingsOf(log.id).policy
  }

  /** Contents that an eager node is still to fetch. */
  missing({ log }: OpenNamespace): number {
    return this.#followed.get(toHex(log.id))?.fetching.missing ?? 0
  }

  /** Whether an agent is a contact, or has a role in a namespace or a group that is here. */
  isKnown(agent: Uint8Array): boolean {
    return (
      this.contacts.nameOf(agent) !== undefined ||
      this.namespaces.everything.some(({ log }) => log.roleOf(agent) !== undefined)
    )
  }

  /** Agents whom tickets of a namespace named. */
  peersOf({ log }: OpenNamespace): readonly KnownPeer[] {
    return this.#settingsOf(log.id).peers
  }

  async setPolicy({ log }: OpenNamespace, policy: FetchPolicy): Promise<void> {
    await this.#remember(log.id, (row) => ({ ...row, policy }))
    this.#followed.get(toHex(log.id))?.fetching.refresh()
  }

  /** The plan is another: what was over it may be fetched now. */
  planChanged({ log }: OpenNamespace): void {
    this.#followed.get(toHex(log.id))?.fetching.refresh()
  }

  /** Has those who were just given a role hear of it: as `know`, and those who are not connected are dialled. */
  async greet(namespace: OpenNamespace, peers: readonly KnownPeer[]): Promise<void> {
    await this.know(namespace, peers)
    this.#replicator?.greet(
      namespace.log.id,
      peers.map(({ agent }) => agent),
    )
  }

  /** Remembers where members may be dialled, past a restart. */
  async know(namespace: OpenNamespace, peers: readonly KnownPeer[]): Promise<void> {
    const { log } = namespace
    const self = toHex(this.env.agent.publicKey)
    const row = await this.#remember(log.id, ({ policy, peers: known }) => {
      const byAgent = new Map(known.map((peer) => [toHex(peer.agent), peer]))
      for (const { agent, addresses } of peers) {
        const key = toHex(agent)
        if (key === self || addresses.length === 0) continue
        byAgent.delete(key)
        byAgent.set(key, { agent, addresses })
      }
      return { policy, peers: [...byAgent.values()].slice(-maxKnownPeers) }
    })
    if (this.#followed.has(toHex(log.id))) this.#replicator?.follow(log, { peers: row.peers })
  }

  /**
   * Joins the namespace of a ticket.
   * @throws ACCESS_DENIED, UNAVAILABLE, ALREADY_EXISTS, CONFLICT, INVALID_ARGUMENT for another ticket; the signal's reason
   */
  async join(ticket: Ticket, { name, isWaiting, policy, signal, ...how }: JoinCall): Promise<OpenNamespace> {
    const kind = ticket.kind === 'group' ? ('group' as const) : ('namespace' as const)
    const proposed = ticket.name ?? formatNamespaceId(ticket.id).slice(0, 12)
    // What ended is called as it was.
    const isBack = this.namespaces.endingOf(ticket.id) !== undefined
    const target = {
      id: ticket.id,
      kind,
      name: name ?? (isBack ? this.namespaces.nameFor(kind, ticket.id, proposed) : proposed),
      peers: ticket.peers,
      ...how,
    }
    for (const { agent, addresses } of ticket.peers) this.env.network.addAddresses(agent, addresses)
    // Before anything of it may be fetched, and again if a try that failed forgot it.
    const setFirst = async (): Promise<boolean> => {
      if (policy === undefined || this.#settings.has(toHex(ticket.id))) return false
      await this.#remember(ticket.id, ({ peers }) => ({ policy, peers }))
      return true
    }
    const isFirst = await setFirst()
    const namespace = await this.joins.join(target, isWaiting, signal).catch(async (error) => {
      if (isFirst && !this.#ending.signal.aborted) await this.#forgetSettings(ticket.id)
      throw error
    })
    this.joins.forget(namespace.log.idText)
    try {
      await setFirst()
      await this.know(namespace, ticket.peers)
    } finally {
      // It is here, whatever the disk did not take of the rest.
      this.#follow(namespace)
    }
    return namespace
  }

  /**
   * Joins namespaces by their tickets in the background, as soon as this agent has a role in them, and fetches them eagerly; again when a role ended and
   * there is one again.
   * @throws INVALID_ARGUMENT for what is no ticket of a namespace
   */
  replicate(tickets: readonly string[]): void {
    for (const ticket of tickets.map(namespaceTicket)) {
      const work = keepReplica(this, ticket, this.#ending.signal).catch((error) => {
        if (this.#ending.signal.aborted) return
        const namespace = formatNamespaceId(ticket.id)
        this.env.warn?.('a namespace of a ticket is not replicated', { namespace, error: String(error) })
      })
      this.#background.add(work)
      void work.finally(() => this.#background.delete(work))
    }
  }

  /** How much of a content is durable on this node. */
  async holds({ log }: OpenNamespace, artifact: Uint8Array, digest: Uint8Array): Promise<Holds> {
    try {
      const root = await log.rootOf(artifact, digest, { endedAfterMs: this.env.now() - gcGraceMs })
      if (root === undefined) return 'none'
      if (!root.inline) return await durableShare(root, log.blocks)
      return (await log.blocks.has([digest]))[0] === true ? 'all' : 'none'
    } catch (error) {
      // A damaged block is not held.
      if (isHubError(error, 'CORRUPT')) return 'part'
      throw error
    }
  }

  /** Serves no more, and ends what is under way. Idempotent. */
  async close(): Promise<void> {
    this.#ending.abort(new ArtifactHubError('CLOSED', 'the node is closed'))
    for (const stop of this.#stops.splice(0)) stop()
    await this.#follows?.close()
    await Promise.all(this.#background)
    await Promise.all([this.#blockServer?.close(), this.#holdingServer?.close()])
    await Promise.all([...this.#followed.values()].map(({ namespace }) => this.#unfollow(namespace, false)))
    await this.#replicator?.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #settingsOf(id: Uint8Array): SettingsRow {
    return this.#settings.get(toHex(id)) ?? noSettings
  }

  #remember(id: Uint8Array, change: (row: SettingsRow) => SettingsRow): Promise<SettingsRow> {
    const changed = this.#remembering.then(async () => {
      const row = change(this.#settingsOf(id))
      await this.env.store.batch([putSettings(id, row)], { sync: true })
      this.#settings.set(toHex(id), row)
      return row
    })
    this.#remembering = changed.catch(() => {})
    return changed
  }

  async #forgetSettings(id: Uint8Array): Promise<void> {
    this.#settings.delete(toHex(id))
    await this.env.store.batch([deleteSettings(id)], { sync: true })
  }

  #follow(namespace: OpenNamespace): void {
    const { env } = this
    const { log } = namespace
    const key = toHex(log.id)
    if (log.partial !== undefined || !env.isOnline || this.#followed.has(key) || this.#ending.signal.aborted) return
    // It may have ended as soon as it was joined.
    if (!this.namespaces.has(log.id)) return
    const listeners = new Map<() => void, string>()
    this.#followed.set(key, {
      namespace,
      listeners,
      fetching: new EagerFetch({
        namespace,
        fetches: env.fetches,
        scheduler: env.scheduler,
        chance: () => this.chance(),
        self: env.agent.publicKey,
        warn: (message, fields) => env.warn?.(message, fields),
        policy: () => this.policyOf(namespace),
      }),
      announcement: new Announcement({ ...env, log }),
      unsubscribe: log.subscribe(({ artifacts }) => tellOfMore(listeners, artifacts)),
    })
    this.#replicator?.follow(log, { peers: this.peersOf(namespace) })
  }

  async #unfollow({ log }: OpenNamespace, isForgotten: boolean): Promise<void> {
    const key = toHex(log.id)
    const followed = this.#followed.get(key)
    this.#followed.delete(key)
    if (isForgotten) this.#settings.delete(key)
    if (log.partial !== undefined) await this.#replicator?.unfollow(log.id)
    if (followed === undefined) return
    followed.unsubscribe()
    await Promise.all([followed.fetching.close(), followed.announcement.close(), this.#replicator?.unfollow(log.id)])
  }
}

/** What of a namespace decides who may read what of it. */
function readableOf(log: Namespace, now: () => number): NamespaceRoots {
  return {
    roleOf: (agent) => log.roleOf(agent),
    allows: (question) => log.allows(question),
    isIssued: (claims) => log.isIssued(claims),
    rootOf: (artifact, digest, after) => log.rootOf(artifact, digest, { endedAfterMs: now() - gcGraceMs, after }),
  }
}

function tellOfMore(listeners: ReadonlyMap<() => void, string>, artifacts: readonly Uint8Array[]): void {
  if (listeners.size === 0) return
  const names = new Set(artifacts.map(toHex))
  for (const [listener, artifact] of listeners) if (names.has(artifact)) listener()
}

/** @throws INVALID_ARGUMENT unless it is the ticket of a namespace */
export function namespaceTicket(text: string): Ticket {
  const ticket = parseTicket(text)
  if (ticket.kind === 'namespace') return ticket
  throw new ArtifactHubError(
    'INVALID_ARGUMENT',
    `this is the ticket of ${ticketKindText(ticket.kind)}, and a namespace’s is needed`,
  )
}
