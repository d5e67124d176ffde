import {
  type Capability,
  type CapabilityClaims,
  capabilityName,
  decodeCapability,
  decodeUnverifiedCapability,
  encodePresentation,
  type GroupProof,
  timeOf,
} from '../../../src/capability/index.ts'
import { equalBytes, toHex } from '../../../src/encoding/index.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import {
  afterOf,
  type Following,
  type KnownPeer,
  type Replicator,
  type SyncScope,
} from '../../../src/exchange/index.ts'
import type { AgentKey } from '../../../src/identity/index.ts'
import { clockSkewMs, endedFollowMs, forgetEveryMs, maxEndedFollows, maxPresentations } from '../../../src/limits.ts'
import type { Entry } from '../../../src/log/index.ts'
import type { Namespace } from '../../../src/namespace/index.ts'
import type { LocalEnvironment } from '../environment.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import type { LocalNamespaces, ReadRights } from '../namespaces.ts'
import type { FetchRights } from './fetches.ts'
import { Beginnings } from './follow-begin.ts'
import { FollowBook, type FollowBound, type FollowEntry } from './follow-book.ts'
import { deleteFollowRow, type FollowedClaims, loadFollowRows, putFollowRow } from './follow-rows.ts'

/** What to follow, as it came. */
export interface FollowOptions extends Omit<CheckedFollowOptions, 'capability'> {
  /** A capability whose audience this agent is, or a group that it is in. */
  readonly token: Uint8Array
}

/** What to follow. */
interface CheckedFollowOptions {
  /** Its audience is this agent, or a group that it is in. */
  readonly capability: Capability
  /** Who may have it, beside the members. They are dialled: leave out who should not be. */
  readonly peers: readonly KnownPeer[]
  /** `auth`: only who may do what in the namespace, to see whether the capability is in force. Default: the artifact too. */
  readonly scope?: 'artifact' | 'auth' | undefined
  /** Whether it is remembered past a restart; only what is counts towards how many may be. Default: true. */
  readonly isKept?: boolean | undefined
  /** What whoever shared it said with it. */
  readonly message?: string | undefined
  /** On whose word it is followed, if that is not whoever shared it: it counts as theirs then. */
  readonly by?: Uint8Array | undefined
}

/** Something that is followed, and how that stands. */
export interface Followed {
  readonly capability: Capability
  readonly peers: readonly KnownPeer[]
  readonly scope: 'artifact' | 'auth'
  readonly message: string | undefined
  /** `waiting`: nobody has told this node yet what is in it. `ended`: it gives nothing any more, for `reason`. */
  readonly state: 'waiting' | 'in-force' | 'ended'
  readonly reason: string | undefined
}

/** An artifact that this agent was let read and may not read any more. */
export interface LostArtifact {
  /** 32 bytes. */
  readonly namespace: Uint8Array
  /** 20 bytes. */
  readonly artifact: Uint8Array
  readonly reason: string
  /** When this node came to know it, milliseconds since 1970: no two capabilities end at the same. */
  readonly atMs: number
}

/** Told of what becomes of what is followed. */
export interface FollowObserver {
  /** The first version of a followed artifact is here. */
  arrived?(followed: Followed): void
  /** A capability gives nothing any more. */
  ended?(followed: Followed): void
  /** Nothing lets this agent read an artifact any more. */
  lost?(lost: LostArtifact): void
}

/** What this agent has as a member of groups (32 bytes each). */
export interface GroupKeys {
  /** The epoch that a group is in; `undefined` when this agent is not in it, or lacks its key. */
  epochOf(group: Uint8Array): Uint8Array | undefined
  /** Whether this agent has the key of that epoch (id, 16 bytes) of a group. */
  canOpen(group: Uint8Array, epoch: Uint8Array): boolean
  /** Proves to a provider that it is in a group, with the key of the newest epoch; `undefined` when it is not. */
  proveMember(options: { readonly group: Uint8Array; readonly provider: Uint8Array }): GroupProof | undefined
  /** The keys of the epochs that it can open. */
  keysOf(group: Uint8Array): Iterable<{ readonly epoch: Uint8Array; readonly key: AgentKey }>
}

interface FollowsOptions {
  readonly env: LocalEnvironment
  readonly namespaces: LocalNamespaces
  /** Absent offline. */
  readonly replicator: Replicator | undefined
  /** A number from 0 up to 1, for jitter. */
  readonly chance: () => number
}

/** Why what is shared with a group alone ended for this agent, until it is in the group again: others removed it, or it left. */
const outside = ['GROUP_EPOCH', 'LEFT'] as const

/** How long what is followed anew waits for more of it, milliseconds. */
const refreshDelayMs = 10
/** A timer is set for no longer than this, milliseconds. */
const maxTimerMs = 24 * 3600_000
/** Rows that one batch writes. */
const batchRows = 1_000

/**
 * The artifacts that this node follows in namespaces that its agent is no member of, by capabilities. What somebody else says of a
 * capability ends it only when the namespace's own entries do; when these say later that it is in force, it is followed again.
 */
export class Follows implements ReadRights, FetchRights {
  readonly #options: FollowsOptions
  readonly #book = new FollowBook()
  readonly #observers = new Set<FollowObserver>()
  /** Partial logs, by namespace in hex. */
  readonly #logs = new Map<string, OpenNamespace>()
  readonly #beginnings: Beginnings
  /** Namespaces (hex) of which more is followed than is asked for so far, and what. */
  readonly #stale = new Map<string, Set<FollowEntry>>()
  #stopRefreshing: (() => void) | undefined
  readonly #ending = new AbortController()
  readonly #listening = new Map<string, () => void>()
  #groups: GroupKeys | undefined
  #stopTimer: (() => void) | undefined
  #timerMs = Number.POSITIVE_INFINITY
  #stopForgetting: (() => void) | undefined
  #lastEndMs = 0
  #stopObserving = (): void => {}
  /** One change of what is remembered at a time: what was counted holds when it is written. */
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(options: FollowsOptions) {
    this.#options = options
    const { env, namespaces, chance } = options
    this.#beginnings = new Beginnings({
      env,
      namespaces,
      chance,
      live: (id) => this.#live(toHex(id)),
      present: (entry, agent) => this.#presentation(entry, agent),
      revoked: async (entry, unheard) => {
        entry.unheard ??= unheard
        await this.#end([{ entry, reason: 'REVOKED' }])
      },
      done: (id) => {
        if (this.#logs.has(toHex(id))) this.#refresh(toHex(id))
      },
    })
  }

  /** Whoever could not be asked whether something ended may say that it did not: each of them once. */
  async #askAfterAll(agent: Uint8Array): Promise<void> {
    const name = toHex(agent)
    const open = [...this.#book.ended].filter((entry) => entry.unheard?.includes(name) && this.#mayRevive(entry))
    await this.#revive([...open, ...this.#endedEarly()])
    for (const { capability, unheard } of open) {
      const again = this.#book.get(capabilityName(capability.claims))
      if (again !== undefined) again.unheard = unheard?.filter((one) => one !== name)
    }
  }

  /** @throws CORRUPT */
  static async open(options: FollowsOptions): Promise<Follows> {
    const follows = new Follows(options)
    const { env, namespaces } = options
    const rows = await loadFollowRows(env.store)
    // In the order of their ends.
    rows.sort((a, b) => (a.ended?.atMs ?? 0) - (b.ended?.atMs ?? 0))
    for (const row of rows) {
      // Checked before it was stored.
      const capability = decodeUnverifiedCapability(row.token)
      const { peers, ended, message, by } = row
      follows.#lastEndMs = Math.max(follows.#lastEndMs, ended?.atMs ?? 0)
      follows.#book.add({ ...entryOf(capability, { peers, message, by }), ended, isOut: ended !== undefined })
    }
    follows.#stopObserving = namespaces.observe({
      opened: (namespace) => follows.#onOpened(namespace),
      closing: async ({ log, row }, isKept) => follows.#onClosing(log, row.kind === 'group', isKept),
    })
    const stopHearing = env.network.onPeer((agent, isConnected) => {
      if (isConnected) follows.#inBackground(follows.#askAfterAll(agent))
    })
    const stopObserving = follows.#stopObserving
    follows.#stopObserving = () => {
      stopHearing()
      stopObserving()
    }
    for (const namespace of namespaces.partial) follows.#onOpened(namespace)
    namespaces.rights = follows
    env.fetches.useRights(follows)
    // What was followed for a while only.
    for (const { log } of namespaces.partial) {
      if (!follows.#isAnyLive(toHex(log.id))) await namespaces.unfollowPartial(log.id)
    }
    return follows
  }

  /** Begins: as far as there is a network, asks for what is new. */
  start(): void {
    this.#inBackground(this.#revive([...this.#endedEarly()]))
    for (const name of [...this.#book.namespaces]) this.#refresh(name)
    for (const entry of this.#book.all()) this.#expect(entry)
    this.#forgetEnded()
  }

  /** Takes the groups that this agent is in into account, and what becomes of them. */
  useGroups(groups: GroupKeys): void {
    this.#groups = groups
    for (const group of this.#options.namespaces.groups) this.#watchGroup(group.log)
    this.#groupsChanged()
  }

  #watchGroup(log: Namespace): void {
    const name = toHex(log.id)
    if (this.#listening.has(name)) return
    const stop = log.subscribe(({ authChanged, keysGained }) => {
      if (authChanged || keysGained) this.#groupsChanged()
    })
    this.#listening.set(name, stop)
  }

  /** Who may show what to whom may be another. */
  #groupsChanged(): void {
    for (const name of [...this.#book.namespaces]) {
      for (const entry of this.#book.of(name)) {
        if (!isForGroup(entry)) continue
        this.#refresh(name)
        this.#inBackground(this.#settle(name))
        break
      }
    }
  }

  observe(observer: FollowObserver): () => void {
    this.#observers.add(observer)
    return () => this.#observers.delete(observer)
  }

  /**
   * Follows an artifact, from now on, until the capability ends or `unfollow`. Resolves once that is remembered. Again: adds peers.
   * @throws CORRUPT, TOO_LARGE, UNSUPPORTED_FORMAT for what is no capability; INVALID_ARGUMENT for one that is not for this agent; TOO_LARGE when
   *   as many are followed as may be
   */
  async follow({ token, ...options }: FollowOptions): Promise<Followed> {
    const [followed] = await this.followAll([{ ...options, capability: decodeCapability(token) }])
    if (typeof followed === 'object') return followed
    throw new ArtifactHubError('TOO_LARGE', 'this node follows as many shared artifacts as it may', {
      details: { bound: followed ?? null },
    })
  }

  /**
   * As `follow`, several, remembered in one batch. Gives of each what stands in its way, if there is no room for it.
   * @throws INVALID_ARGUMENT for one that is not for this agent
   */
  followAll(all: readonly CheckedFollowOptions[]): Promise<(Followed | FollowBound)[]> {
    return this.#exclusively(async () => {
      const { store } = this.#options.env
      const entries = all.map((options) => this.#admitted(options))
      const added: FollowEntry[] = []
      const results: (FollowEntry | FollowBound)[] = []
      for (const entry of entries) {
        const bound = this.#boundFor(entry, added)
        results.push(bound ?? entry)
        if (bound === undefined) added.push(entry)
      }
      const rows = added.filter(({ isKept }) => isKept)
      if (rows.length > 0) await store.batch(rows.map(rowOf), { sync: true })
      for (const entry of added) {
        this.#book.add(entry)
        this.#expect(entry)
        this.#refreshSoon(entry)
      }
      return results.map((result) => (typeof result === 'object' ? this.#present(result) : result))
    })
  }

  #admitted({ capability, peers, scope = 'artifact', isKept = true, message, by }: CheckedFollowOptions): FollowEntry {
    const { claims } = capability
    const self = this.#self
    const isOwn = claims.audience.some(({ kind, id }) => kind === 'group' || equalBytes(id, self))
    if (!isOwn) throw new ArtifactHubError('INVALID_ARGUMENT', 'this capability is for other agents')
    const before = this.#book.get(capabilityName(claims))
    const others = peers.filter(({ agent }) => !equalBytes(agent, self))
    const known = (before?.peers ?? []).filter(({ agent }) => !others.some((one) => equalBytes(one.agent, agent)))
    return {
      ...entryOf(capability, { peers: [...others, ...known].slice(0, 16), message: message ?? before?.message, by }),
      scope: before?.scope === 'artifact' ? 'artifact' : scope,
      isKept: isKept || before?.isKept === true,
      hasArrived: before?.ended === undefined && before?.hasArrived === true,
    }
  }

  #boundFor(entry: FollowEntry, beside: readonly FollowEntry[]): FollowBound | undefined {
    const { capability, isKept } = entry
    const before = this.#book.get(capabilityName(capability.claims))
    const isCounted = before?.isKept === true && before.ended === undefined
    if (!isKept || isCounted) return undefined
    return this.#book.boundFor(entry, beside)
  }

  /** Follows it no more, and forgets it. What came of the artifact goes with the last that let this agent read it. Idempotent. */
  async unfollow(claims: FollowedClaims): Promise<void> {
    await this.#exclusively(async () => {
      const entry = this.#book.get(capabilityName(claims))
      if (entry === undefined) return
      if (entry.isKept) await this.#options.env.store.batch([deleteFollowRow(claims)], { sync: true })
      this.#book.remove(entry)
    })
    await this.#settle(toHex(claims.namespace), [])
  }

  /** Whether the capability of that name (`capabilityName`) is followed, or was and has ended. */
  has(name: Uint8Array): boolean {
    return this.#book.get(name) !== undefined
  }

  /** Whether the capability of that name was followed and has ended for good. */
  hasEnded(name: Uint8Array): boolean {
    const entry = this.#book.get(name)
    return entry?.ended !== undefined && !isOutside(entry)
  }

  /** Whether the capability of that name was followed and has ended, but not by what this node holds itself: it may be in force again. */
  mayRevive(name: Uint8Array): boolean {
    const entry = this.#book.get(name)
    return entry !== undefined && this.#mayRevive(entry)
  }

  /** Capabilities by which this agent follows an artifact (20 bytes), and that are in force, with what was said with them. */
  inForce(artifact: Uint8Array): Pick<FollowEntry, 'capability' | 'message'>[] {
    return [...this.#book.about(artifact)].filter((entry) => this.#isReadable(entry))
  }

  /** Everything that is followed, or was and has ended. */
  followed(): Followed[] {
    return [...this.#book.all()].map((entry) => this.#present(entry))
  }

  /** How many are followed past a restart, how many have ended, and senders (hex) of whom no more will be. */
  get counts(): { readonly followed: number; readonly ended: number; readonly fullSenders: readonly string[] } {
    return { followed: this.#book.size, ended: this.#book.ended.size, fullSenders: this.#book.fullSenders }
  }

  /** When the last of what is remembered ended: see `LostArtifact`. */
  get lastEndMs(): number {
    return this.#lastEndMs
  }

  /** What ended after a time and cannot be read now, each artifact once, the oldest end first: as far back as is remembered. */
  lostSince(ms: number): LostArtifact[] {
    const found = [...this.#book.ended].flatMap(({ capability, isKept, ended }) => {
      const { namespace, artifact } = capability.claims
      const isNew = ended !== undefined && ended.atMs > ms && isKept
      return isNew && this.refusalOf(artifact) !== undefined ? [{ namespace, artifact, ...ended }] : []
    })
    const newest = new Map(found.sort((a, b) => a.atMs - b.atMs).map((one) => [toHex(one.artifact), one]))
    return [...newest.values()].sort((a, b) => a.atMs - b.atMs)
  }

  /** The partial log of a namespace (32 bytes), once its beginning is here. */
  logOf(namespace: Uint8Array): Namespace | undefined {
    return this.#logs.get(toHex(namespace))?.log
  }

  /**
   * Has somebody tell now what is new in a namespace of which something is followed, from its beginning if need be. Gives whether
   * somebody did; `false` as soon as everybody who may be asked was.
   * @throws the signal's reason
   */
  async refresh(namespace: Uint8Array, signal?: AbortSignal): Promise<boolean> {
    const name = toHex(namespace)
    const before = this.#beginnings.asking(namespace)
    const stale = this.#stale.get(name)
    if (this.#stale.delete(name)) this.#refresh(name, stale)
    await untilAborted(this.#beginnings.asked(namespace, before), signal)
    if (this.logOf(namespace) === undefined) return false
    return ((await this.#options.replicator?.syncNow(namespace, { signal })) ?? 0) > 0
  }

  /** When somebody last told what is new in a namespace, milliseconds since 1970. */
  refreshedAt(namespace: Uint8Array): number | undefined {
    return this.#options.replicator?.status(namespace)?.lastSyncAt
  }

  refusalOf(artifact: Uint8Array): string | undefined {
    let refusal: string | undefined
    for (const entry of this.#book.about(artifact)) {
      if (entry.scope !== 'artifact') continue
      const reason = this.#refusal(entry)
      if (reason === undefined) return undefined
      refusal = reason
    }
    return refusal
  }

  present(namespace: Uint8Array, artifact: Uint8Array, provider: Uint8Array): Uint8Array[] {
    return [...this.#book.about(artifact)]
      .filter((entry) => equalBytes(entry.capability.claims.namespace, namespace) && this.#refusal(entry) === undefined)
      .flatMap((entry) => this.#presentation(entry, provider) ?? [])
      .slice(0, maxPresentations)
  }

  peersOf(namespace: Uint8Array): Uint8Array[] {
    return this.#book.peersOf(toHex(namespace)).map(({ agent }) => agent)
  }

  /** Stops; resolves when nothing of it is under way. Idempotent. */
  async close(): Promise<void> {
    this.#ending.abort(new ArtifactHubError('CLOSED', 'the node is closed'))
    this.#stopTimer?.()
    this.#stopRefreshing?.()
    this.#stopForgetting?.()
    this.#stopObserving()
    for (const stop of this.#listening.values()) stop()
    this.#listening.clear()
    await this.#beginnings.close()
    await this.#turn
  }

  get #self(): Uint8Array {
    return this.#options.env.agent.publicKey
  }

  /** Many come at once: what they change is seen to together. */
  #refreshSoon(entry: FollowEntry): void {
    const name = toHex(entry.capability.claims.namespace)
    this.#stale.set(name, (this.#stale.get(name) ?? new Set()).add(entry))
    this.#stopRefreshing ??= this.#options.env.scheduler.setTimer(refreshDelayMs, () => {
      this.#stopRefreshing = undefined
      const stale = [...this.#stale]
      this.#stale.clear()
      for (const [one, entries] of stale) this.#refresh(one, entries)
    })
  }

  /** Those of a namespace (hex) that have not ended. */
  *#live(name: string): Generator<FollowEntry> {
    for (const entry of this.#book.of(name)) if (this.#refusal(entry) === undefined) yield entry
  }

  #isAnyLive(name: string): boolean {
    for (const _ of this.#live(name)) return true
    return false
  }

  #mayRevive({ capability: { claims }, ended }: FollowEntry): boolean {
    if (ended?.reason !== 'REVOKED' && ended?.reason !== 'ISSUER_REMOVED') return false
    return this.logOf(claims.namespace)?.membership.refusalOf(claims) === undefined
  }

  /** Whether what this node holds by now says that it is in force, though it ended. */
  #isBack(entry: FollowEntry): boolean {
    const { claims } = entry.capability
    if (isOutside(entry)) return this.#refusal({ ...entry, ended: undefined }) === undefined
    const isIssued = this.logOf(claims.namespace)?.isIssued(claims) === true
    return isIssued && this.#mayRevive(entry) && this.#refusal({ ...entry, ended: undefined }) === undefined
  }

  /** What ended by its time while the clock was ahead: whoever serves it goes by another. */
  *#endedEarly(): Generator<FollowEntry> {
    const now = this.#options.env.now()
    for (const entry of this.#book.ended) {
      const isOver = timeOf(entry.capability.claims, now, clockSkewMs) === 'expired'
      if (entry.ended?.reason === 'EXPIRED' && !isOver) yield entry
    }
  }

  /** Follows again what ended, as far as there is room. */
  async #revive(entries: readonly FollowEntry[]): Promise<void> {
    if (entries.length > 0) await this.followAll(entries)
  }

  /** Whether it lets this agent read its artifact. */
  #isReadable(entry: FollowEntry): boolean {
    return entry.scope === 'artifact' && this.#refusal(entry) === undefined
  }

  #presentation({ capability }: FollowEntry, provider: Uint8Array): Uint8Array | undefined {
    const { audience } = capability.claims
    if (audience.some(({ kind, id }) => kind === 'agent' && equalBytes(id, this.#self)))
      return encodePresentation(capability.token, undefined)
    const proof = this.#proof(capability, provider)
    return proof && encodePresentation(capability.token, proof)
  }

  #proof({ claims }: Capability, provider: Uint8Array): GroupProof | undefined {
    for (const { kind, id } of claims.audience) {
      const proof = kind === 'group' ? this.#groups?.proveMember({ group: id, provider }) : undefined
      if (proof !== undefined) return proof
    }
    return undefined
  }

  /** The epoch by which this agent is of the audience, as a member of a group. */
  #epochOf({ audience }: CapabilityClaims): Uint8Array | undefined {
    for (const { kind, id } of audience) {
      const epoch = kind === 'group' ? this.#groups?.epochOf(id) : undefined
      if (epoch !== undefined) return epoch
    }
    return undefined
  }

  /** Why it gives nothing, by its time and by what this node holds of the namespace. */
  #refusal({ capability, ended, refusedEpoch }: FollowEntry): string | undefined {
    if (ended !== undefined) return ended.reason
    const { claims } = capability
    const self = this.#self
    const log = this.logOf(claims.namespace)
    const isOurs = claims.audience.some(({ kind, id }) =>
      kind === 'agent' ? equalBytes(id, self) : this.#isInGroup(id, log, refusedEpoch),
    )
    // First, for it is for good: what may come back is looked at again.
    if (timeOf(claims, this.#options.env.now(), clockSkewMs) === 'expired') return 'EXPIRED'
    if (!isOurs) return 'GROUP_EPOCH'
    const reason = log?.membership.refusalOf(claims)
    // What would say that it is in force may not have come yet.
    const mayCome = reason === 'ISSUER_REMOVED' && log?.isIssued(claims) !== true
    return mayCome ? undefined : reason
  }

  /**
   * Whether this agent is in a group, as far as it knows: with the key of an epoch that nobody refused. What a namespace knows of the group may be
   * older than that; when it is of an epoch that this agent cannot open, it was removed.
   */
  #isInGroup(group: Uint8Array, log: Namespace | undefined, refusedEpoch: Uint8Array | undefined): boolean {
    const epoch = this.#groups?.epochOf(group)
    if (epoch === undefined || (refusedEpoch !== undefined && equalBytes(refusedEpoch, epoch))) return false
    const known = log?.newestDescriptor(group)?.epoch
    return known === undefined || this.#groups?.canOpen(group, known) === true
  }

  #present(entry: FollowEntry): Followed {
    const { capability, peers, scope, message } = entry
    const reason = this.#refusal(entry)
    const isWaiting = this.logOf(capability.claims.namespace)?.isIssued(capability.claims) !== true
    const state = reason !== undefined ? 'ended' : isWaiting ? 'waiting' : 'in-force'
    return { capability, peers, scope, message, state, reason }
  }

  /** Has the replicator and the log do what is followed of a namespace (hex) now: of all, or of some that are new. */
  #refresh(name: string, some?: Iterable<FollowEntry>): void {
    const { namespaces, replicator } = this.#options
    if (this.#ending.signal.aborted) return
    const id = fromHex(name)
    // A member has all of it.
    if (namespaces.all.some(({ log }) => equalBytes(log.id, id))) return
    if (!this.#isAnyLive(name)) {
      this.#inBackground(this.#settle(name))
      return
    }
    const open = this.#logs.get(name)
    if (open === undefined) {
      if (replicator !== undefined) this.#beginnings.begin(id)
      return
    }
    const { log } = open
    const isFirst = !this.#listening.has(name)
    if (isFirst) {
      const stop = log.subscribe(({ authChanged, artifacts, entries }) => {
        if (authChanged) this.#onAuthChange(name, entries)
        if (artifacts.length > 0)
          this.#inBackground(this.#noteArrivals(artifacts.flatMap((one) => [...this.#book.about(one)])))
      })
      this.#listening.set(name, stop)
    }
    const fresh = [...((isFirst ? undefined : some) ?? this.#book.of(name))]
    const live = fresh.filter((entry) => this.#refusal(entry) === undefined)
    for (const entry of fresh) entry.following = undefined
    for (const entry of live) {
      const { artifact } = entry.capability.claims
      entry.following = this.#followingOf(entry)
      if (entry.scope !== 'artifact') continue
      const afters = [...this.#book.about(artifact)].filter((one) => this.#refusal(one) === undefined)
      log.partial?.set(artifact, Math.min(...afters.map((one) => afterOf(one.capability.claims))))
    }
    this.#inBackground(this.#hold(log, live).then(() => this.#noteArrivals(live)))
    const following: Following[] = []
    for (const entry of this.#book.of(name)) {
      if (entry.following !== undefined && !entry.isOut) following.push(entry.following)
    }
    replicator?.followPartial(log, following, this.#book.peersOf(name))
  }

  #followingOf(entry: FollowEntry): Following {
    const { capability, scope } = entry
    const { audience, artifact } = capability.claims
    const about: SyncScope = scope === 'auth' ? { kind: scope } : { kind: scope, artifact }
    const epochs = audience.map(({ kind, id }) =>
      kind === 'group' ? toHex(this.#groups?.epochOf(id) ?? new Uint8Array(0)) : '',
    )
    const name = `${scope} ${toHex(capabilityName(capability.claims))} ${epochs.join()}`
    return { capability, scope: about, present: (provider) => this.#presentation(entry, provider), name }
  }

  #onOpened(namespace: OpenNamespace): void {
    const { log, row } = namespace
    if (log.partial !== undefined) this.#logs.set(toHex(log.id), namespace)
    else if (row.kind === 'group') {
      this.#watchGroup(log)
      // One that ended may be here again.
      this.#groupsChanged()
    }
  }

  #onClosing({ id, partial }: Namespace, isGroup: boolean, isKept: boolean): void {
    const name = toHex(id)
    this.#listening.get(name)?.()
    this.#listening.delete(name)
    if (partial !== undefined) {
      this.#logs.delete(name)
      return
    }
    const { namespaces } = this.#options
    const changed = async (): Promise<void> => {
      await namespaces.settled()
      // Kept it is when others removed this agent.
      if (isGroup) await this.#leaveGroup(id, isKept ? 'GROUP_EPOCH' : 'LEFT')
      this.#groupsChanged()
    }
    this.#inBackground(changed())
    // A member that leaves may still follow what is shared with it.
    if (this.#isAnyLive(name)) this.#inBackground(namespaces.settled().then(() => this.#refresh(name)))
  }

  /** What this agent has by way of a group alone ends with its being in it, and is in force again when it is back. */
  async #leaveGroup(group: Uint8Array, reason: (typeof outside)[number]): Promise<void> {
    const isOther = ({ kind, id }: CapabilityClaims['audience'][number]): boolean =>
      kind === 'group' ? !equalBytes(id, group) : equalBytes(id, this.#self)
    const entries = [...this.#book.all()].filter(
      ({ capability, ended }) => ended === undefined && !capability.claims.audience.some(isOther),
    )
    await this.#end(entries.map((entry) => ({ entry, reason })))
    for (const name of new Set(entries.map(({ capability }) => toHex(capability.claims.namespace))))
      await this.#settle(name, [])
  }

  /** Has the log open what was sealed for these capabilities. */
  async #hold(log: Namespace, live: readonly FollowEntry[]): Promise<void> {
    const held = live.map(({ capability: { claims } }) => {
      const groups = claims.audience.filter(({ kind }) => kind === 'group').map(({ id }) => id)
      return { artifact: claims.artifact, jti: claims.jti, groups }
    })
    await log.holdCapabilities(held)
    const groups = new Map(held.flatMap((one) => one.groups.map((group) => [toHex(group), group] as const)))
    for (const group of groups.values()) await log.holdGroupKeys(group, this.#groups?.keysOf(group) ?? [])
  }

  #onAuthChange(name: string, entries: Iterable<Entry>): void {
    this.#inBackground(this.#settle(name, endedBy(entries)))
    // The next epoch of a group may have been recorded: what was shown before gives nothing any more.
    const isEpoch = [...entries].some(({ auth }) => auth?.kind === 'descriptor')
    if (isEpoch && [...this.#book.of(name)].some(isForGroup)) this.#refresh(name)
  }

  async #noteArrivals(entries: readonly FollowEntry[]): Promise<void> {
    for (const entry of entries) {
      if (entry.hasArrived || !this.#isReadable(entry)) continue
      const { artifact, namespace } = entry.capability.claims
      if ((await this.logOf(namespace)?.catalog.get(artifact)) === undefined || entry.hasArrived) continue
      entry.hasArrived = true
      for (const { arrived } of this.#observers) arrived?.(this.#present(entry))
    }
  }

  /**
   * Ends what has ended in a namespace (hex), and removes what nothing lets this agent read any more.
   * @param jtis (hex) of those to look at; absent: all
   */
  async #settle(name: string, jtis?: Iterable<string>): Promise<void> {
    const { namespaces, replicator } = this.#options
    const some =
      jtis === undefined ? this.#book.of(name) : [...jtis].flatMap((jti) => [...this.#book.withJti(name, jti)])
    const ends: { entry: FollowEntry; reason: string }[] = []
    const back: FollowEntry[] = []
    for (const entry of some) {
      if (this.#isBack(entry)) {
        back.push(entry)
        continue
      }
      const reason = this.#refusal(entry)
      if (reason === undefined) entry.isOut = false
      else if (reason === 'GROUP_EPOCH') {
        // Who leaves a group may come back, in another epoch of it.
        entry.refusedEpoch = this.#epochOf(entry.capability.claims)
        if (!entry.isOut) this.#noteLost(entry, reason, this.#nextEndMs())
        entry.isOut = true
      } else if (entry.ended === undefined) ends.push({ entry, reason })
    }
    await this.#end(ends)
    await this.#revive(back)
    if (this.#isAnyLive(name)) return
    this.#listening.get(name)?.()
    this.#listening.delete(name)
    const open = this.#logs.get(name)
    if (open === undefined) return
    await replicator?.unfollow(open.log.id)
    await namespaces.unfollowPartial(open.log.id)
  }

  /** Remembers that these give nothing any more, and why. */
  async #end(ends: readonly { readonly entry: FollowEntry; readonly reason: string }[]): Promise<void> {
    const { env } = this.#options
    for (let at = 0; at < ends.length; at += batchRows) {
      const some = ends.slice(at, at + batchRows)
      // What was told as lost is not told again.
      for (const { entry, reason } of some)
        this.#book.end(entry, { reason, atMs: (entry.isOut ? entry.outMs : undefined) ?? this.#nextEndMs() })
      const rows = some.flatMap(({ entry }) => (entry.isKept ? [rowOf(entry)] : []))
      if (rows.length > 0) await env.store.batch(rows, { sync: true })
      for (const { entry, reason } of some) {
        for (const { ended } of this.#observers) ended?.(this.#present(entry))
        if (!entry.isOut) this.#noteLost(entry, reason, entry.ended?.atMs ?? this.#lastEndMs)
        entry.isOut = true
      }
    }
    if (this.#book.ended.size > maxEndedFollows) this.#forgetEnded()
  }

  /** No two are the same. */
  #nextEndMs(): number {
    this.#lastEndMs = Math.max(this.#options.env.now(), this.#lastEndMs + 1)
    return this.#lastEndMs
  }

  #noteLost(entry: FollowEntry, reason: string, atMs: number): void {
    const { kind, namespace, artifact } = entry.capability.claims
    entry.outMs = atMs
    if (kind !== 'share' || entry.scope !== 'artifact') return
    // By another capability it may be readable still.
    for (const other of this.#book.about(artifact)) if (this.#isReadable(other)) return
    for (const { lost } of this.#observers) lost?.({ namespace, artifact, reason, atMs })
  }

  /** Looks again when this one ends by its time. */
  #expect({ capability: { claims }, ended }: FollowEntry): void {
    if (ended !== undefined || claims.expires === undefined) return
    const ms = claims.expires * 1000 + clockSkewMs + 1
    if (ms >= this.#timerMs || this.#ending.signal.aborted) return
    const { env } = this.#options
    this.#timerMs = ms
    this.#stopTimer?.()
    const delayMs = Math.min(maxTimerMs, Math.max(1_000, ms - env.now()))
    this.#stopTimer = env.scheduler.setTimer(delayMs, () => {
      this.#timerMs = Number.POSITIVE_INFINITY
      const expired = new Set<string>()
      for (const entry of this.#book.all()) {
        if (entry.ended === undefined && this.#refusal(entry) === 'EXPIRED')
          expired.add(toHex(entry.capability.claims.namespace))
        else this.#expect(entry)
      }
      for (const name of expired) this.#inBackground(this.#settle(name))
    })
  }

  /** Forgets what ended long ago, now and every day. */
  #forgetEnded(): void {
    const { env } = this.#options
    if (this.#ending.signal.aborted) return
    this.#stopForgetting?.()
    this.#stopForgetting = env.scheduler.setTimer(forgetEveryMs, () => this.#forgetEnded())
    const forget = async (): Promise<void> => {
      const old = [...this.#book.endedBefore(env.now() - endedFollowMs)]
      for (let at = 0; at < old.length; at += batchRows) {
        const some = old.slice(at, at + batchRows)
        const rows = some.map(({ capability }) => deleteFollowRow(capability.claims))
        await env.store.batch(rows, { sync: false })
        for (const entry of some) this.#book.remove(entry)
      }
    }
    this.#inBackground(this.#exclusively(forget))
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {})
    return result
  }

  #inBackground(work: Promise<void>): void {
    work.catch((error) => {
      if (!this.#ending.signal.aborted)
        this.#options.env.warn?.('could not follow what changed', { error: String(error) })
    })
  }
}

function entryOf(capability: Capability, more: Pick<FollowEntry, 'peers' | 'message' | 'by'>): FollowEntry {
  const fresh = { ended: undefined, hasArrived: false, isOut: false, following: undefined }
  return { capability, scope: 'artifact', isKept: true, ...fresh, ...more }
}

function rowOf({ capability, peers, ended, message, by }: FollowEntry) {
  return putFollowRow(capability.claims, { token: capability.token, peers, ended, message, by })
}

/** Jtis (hex) of the capabilities that entries may have ended; `undefined` when it may be any. */
function endedBy(entries: Iterable<Entry>): Set<string> | undefined {
  const jtis = new Set<string>()
  let isOfAuth = false
  for (const { header, auth } of entries) {
    if (header.data !== undefined) continue
    isOfAuth = true
    if (auth?.kind === 'revoke-capability') for (const jti of auth.jtis) jtis.add(toHex(jti))
    else if (auth?.kind !== 'rotate' && auth?.kind !== 'keys') return undefined
  }
  return isOfAuth ? jtis : undefined
}

function isOutside({ ended }: FollowEntry): boolean {
  return outside.some((reason) => reason === ended?.reason)
}

function isForGroup({ capability }: FollowEntry): boolean {
  return capability.claims.audience.some(({ kind }) => kind === 'group')
}

function fromHex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'hex'))
}

async function untilAborted(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return await work
  signal.throwIfAborted()
  const { promise, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await Promise.race([work, promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
