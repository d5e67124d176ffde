import {
  type Capability,
  capabilityName,
  decodeCapability,
  decodeUnverifiedCapability,
  encodePresentation,
  type GroupProof,
  timeOf,
} from '../../../src/capability/index.ts'
import { equalBytes, toHex } from '../../../src/encoding/index.ts'
import { ArtifactHubError, isHubError } from '../../../src/errors.ts'
import {
  afterOf,
  type Following,
  fetchGenesis,
  type KnownPeer,
  type Replicator,
  type SyncScope,
} from '../../../src/exchange/index.ts'
import type { AgentKey } from '../../../src/identity/index.ts'
import { clockSkewMs, maxPresentations, retryBackoffMs } from '../../../src/limits.ts'
import type { Namespace } from '../../../src/namespace/index.ts'
import type { LocalEnvironment } from '../environment.ts'
import type { LocalNamespaces, OpenNamespace, ReadRights } from '../namespaces.ts'
import type { FetchRights } from './fetches.ts'
import { deleteFollowRow, type FollowedClaims, type FollowRow, loadFollowRows, putFollowRow } from './follow-rows.ts'

/** What to follow. */
export interface FollowOptions {
  /** A capability whose audience this agent is, or a group that it is in. */
  readonly token: Uint8Array
  /** Who may have it, beside the members. They are dialled: leave out who should not be. */
  readonly peers: readonly KnownPeer[]
  /** `auth`: only who may do what in the namespace, to see whether the capability is in force. Default: the artifact too. */
  readonly scope?: 'artifact' | 'auth' | undefined
  /** Whether it is remembered past a restart. Default: true. */
  readonly isKept?: boolean | undefined
}

/** Something that is followed, and how that stands. */
export interface Followed {
  readonly capability: Capability
  readonly peers: readonly KnownPeer[]
  readonly scope: 'artifact' | 'auth'
  /** `waiting`: nobody has told this node yet what is in it. `ended`: it gives nothing any more, for `reason`. */
  readonly state: 'waiting' | 'in-force' | 'ended'
  readonly reason: string | undefined
}

/** Told of what becomes of what is followed. */
export interface FollowObserver {
  /** The first version of a followed artifact is here. */
  arrived?(followed: Followed): void
  /** A capability gives nothing any more. */
  ended?(followed: Followed): void
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

interface Entry {
  readonly capability: Capability
  readonly scope: 'artifact' | 'auth'
  readonly isKept: boolean
  peers: readonly KnownPeer[]
  ended: string | undefined
  hasArrived: boolean
  /** The epoch of a group in which this agent was a member last, when the namespace knows a later one. */
  refusedEpoch?: Uint8Array | undefined
}

/** A namespace whose beginning is being asked for, from all who may be asked, and after a while again. */
interface Opening {
  /** Resolves when the beginning is here, or is not asked for any more. */
  done: Promise<void>
  /** Resolves when the attempt under way, or the last one, has failed. */
  attempt: PromiseWithResolvers<void>
  /** Resolves when one that has not begun has. */
  next: PromiseWithResolvers<void>
  /** Makes the next attempt follow at once. */
  wake: () => void
}

interface FollowsOptions {
  readonly env: LocalEnvironment
  readonly namespaces: LocalNamespaces
  /** Absent offline. */
  readonly replicator: Replicator | undefined
  /** A number from 0 up to 1, for jitter. */
  readonly chance: () => number
}

/** How long what is followed anew waits for more of it, milliseconds. */
const refreshDelayMs = 10
/** A timer is set for no longer than this, milliseconds. */
const maxTimerMs = 24 * 3600_000

/**
 * The artifacts that this node follows in namespaces that its agent is no member of, by capabilities. What somebody else says of a
 * capability ends it only when the namespace's own entries do.
 */
export class Follows implements ReadRights, FetchRights {
  readonly #options: FollowsOptions
  /** By namespace in hex, then by name in hex: `capabilityName`. */
  readonly #all = new Map<string, Map<string, Entry>>()
  readonly #observers = new Set<FollowObserver>()
  /** By name in hex. */
  readonly #byName = new Map<string, Entry>()
  /** By artifact in hex. */
  readonly #byArtifact = new Map<string, Set<Entry>>()
  /** Namespaces (hex) of which other things are followed than what is asked for so far. */
  readonly #stale = new Set<string>()
  #stopRefreshing: (() => void) | undefined
  readonly #ending = new AbortController()
  /** Namespaces whose beginning is being asked for. */
  readonly #opening = new Map<string, Opening>()
  readonly #listening = new Map<string, () => void>()
  #groups: GroupKeys | undefined
  #stopTimer: (() => void) | undefined
  #stopObserving = (): void => {}

  private constructor(options: FollowsOptions) {
    this.#options = options
  }

  /** @throws CORRUPT */
  static async open(options: FollowsOptions): Promise<Follows> {
    const follows = new Follows(options)
    const { env, namespaces } = options
    for (const row of await loadFollowRows(env.store)) {
      // Checked before it was stored.
      const capability = decodeUnverifiedCapability(row.token)
      follows.#add({ ...row, capability, scope: 'artifact', isKept: true, hasArrived: false })
    }
    follows.#stopObserving = namespaces.observe({
      opened: ({ log, row }) => {
        if (row.kind === 'group') follows.#watchGroup(log)
      },
      closing: async ({ log }) => follows.#onClosing(log),
    })
    namespaces.rights = follows
    env.fetches.useRights(follows)
    // What was followed for a while only.
    for (const { log } of namespaces.partial) {
      if (follows.#live(log.id).length === 0) await namespaces.unfollowPartial(log.id)
    }
    return follows
  }

  /** Begins: as far as there is a network, asks for what is new. */
  start(): void {
    for (const name of this.#all.keys()) this.#refresh(fromHex(name))
    this.#setTimer()
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
    for (const [name, entries] of [...this.#all]) {
      if ([...entries.values()].some(isForGroup)) this.#refresh(fromHex(name))
    }
  }

  observe(observer: FollowObserver): () => void {
    this.#observers.add(observer)
    return () => this.#observers.delete(observer)
  }

  /**
   * Follows an artifact, from now on, until the capability ends or `unfollow`. Resolves once that is remembered. Again: adds peers.
   * @throws CORRUPT, TOO_LARGE, UNSUPPORTED_FORMAT for what is no capability; INVALID_ARGUMENT for one that is not for this agent
   */
  async follow({ token, peers, scope = 'artifact', isKept = true }: FollowOptions): Promise<Followed> {
    const capability = decodeCapability(token)
    const { claims } = capability
    const self = this.#self
    const isOwn = claims.audience.some(({ kind, id }) => kind === 'group' || equalBytes(id, self))
    if (!isOwn) throw new ArtifactHubError('INVALID_ARGUMENT', 'this capability is for other agents')
    const entries = this.#entriesOf(claims.namespace)
    const key = toHex(capabilityName(claims))
    const before = entries.get(key)
    const others = peers.filter(({ agent }) => !equalBytes(agent, self))
    const known = (before?.peers ?? []).filter(({ agent }) => !others.some((one) => equalBytes(one.agent, agent)))
    const entry: Entry = {
      capability,
      scope: before?.scope === 'artifact' ? 'artifact' : scope,
      isKept: isKept || before?.isKept === true,
      peers: [...others, ...known].slice(0, 16),
      ended: undefined,
      hasArrived: before?.hasArrived ?? false,
    }
    if (entry.isKept) await this.#store(entry)
    this.#add(entry)
    this.#refreshSoon(claims.namespace)
    return this.#present(entry)
  }

  /** Follows it no more, and forgets it. What came of the artifact goes with the last that let this agent read it. Idempotent. */
  async unfollow(claims: FollowedClaims): Promise<void> {
    const entries = this.#entriesOf(claims.namespace)
    const name = toHex(capabilityName(claims))
    const entry = entries.get(name)
    if (entry === undefined) return
    if (entry.isKept) await this.#options.env.store.batch([deleteFollowRow(claims)], { sync: true })
    this.#remove(entry)
    await this.#settle(claims.namespace)
  }

  /** Whether the capability of that name (`capabilityName`) is followed, or was and has ended. */
  has(name: Uint8Array): boolean {
    return this.#byName.has(toHex(name))
  }

  /** Capabilities by which this agent follows an artifact (20 bytes), and that are in force. */
  inForce(artifact: Uint8Array): Capability[] {
    const entries = [...(this.#byArtifact.get(toHex(artifact)) ?? [])]
    return entries
      .filter((entry) => entry.scope === 'artifact' && this.#refusal(entry) === undefined)
      .map(({ capability }) => capability)
  }

  /** Everything that is followed, or was and has ended. */
  followed(): Followed[] {
    return [...this.#all.values()].flatMap((entries) => [...entries.values()].map((entry) => this.#present(entry)))
  }

  /** The partial log of a namespace (32 bytes), once its beginning is here. */
  logOf(namespace: Uint8Array): Namespace | undefined {
    return this.#openNamespace(namespace)?.log
  }

  /**
   * Has somebody tell now what is new in a namespace of which something is followed, from its beginning if need be. Gives whether
   * somebody did; `false` as soon as everybody who may be asked was.
   * @throws the signal's reason
   */
  async refresh(namespace: Uint8Array, signal?: AbortSignal): Promise<boolean> {
    const name = toHex(namespace)
    const before = this.#opening.get(name)
    if (this.#stale.delete(name)) this.#refresh(namespace)
    const opening = this.#opening.get(name)
    if (opening !== undefined) {
      // One that is under way may not know of what is followed now.
      const { promise: failed } = opening === before ? opening.next : opening.attempt
      if (opening === before) opening.wake()
      await untilAborted(Promise.race([opening.done, failed]), signal)
    }
    if (this.logOf(namespace) === undefined) return false
    return ((await this.#options.replicator?.syncNow(namespace, { signal })) ?? 0) > 0
  }

  /** When somebody last told what is new in a namespace, milliseconds since 1970. */
  refreshedAt(namespace: Uint8Array): number | undefined {
    return this.#options.replicator?.status(namespace)?.lastSyncAt
  }

  refusalOf(artifact: Uint8Array): string | undefined {
    let refusal: string | undefined
    for (const entry of this.#byArtifact.get(toHex(artifact)) ?? []) {
      if (entry.scope !== 'artifact') continue
      const reason = this.#refusal(entry)
      if (reason === undefined) return undefined
      refusal = reason
    }
    return refusal
  }

  present(namespace: Uint8Array, artifact: Uint8Array, provider: Uint8Array): Uint8Array[] {
    return [...(this.#byArtifact.get(toHex(artifact)) ?? [])]
      .filter((entry) => equalBytes(entry.capability.claims.namespace, namespace) && this.#refusal(entry) === undefined)
      .flatMap((entry) => this.#presentation(entry, provider) ?? [])
      .slice(0, maxPresentations)
  }

  peersOf(namespace: Uint8Array): Uint8Array[] {
    return this.#live(namespace).flatMap(({ peers }) => peers.map(({ agent }) => agent))
  }

  /** Stops; resolves when nothing of it is under way. Idempotent. */
  async close(): Promise<void> {
    this.#ending.abort(new ArtifactHubError('CLOSED', 'the node is closed'))
    this.#stopTimer?.()
    this.#stopRefreshing?.()
    this.#stopObserving()
    for (const stop of this.#listening.values()) stop()
    this.#listening.clear()
    for (const opening of this.#opening.values()) opening.wake()
    await Promise.all([...this.#opening.values()].map(({ done }) => done))
  }

  get #self(): Uint8Array {
    return this.#options.env.agent.publicKey
  }

  #entriesOf(namespace: Uint8Array): Map<string, Entry> {
    const name = toHex(namespace)
    const entries = this.#all.get(name) ?? new Map<string, Entry>()
    this.#all.set(name, entries)
    return entries
  }

  #add(entry: Entry): void {
    const { claims } = entry.capability
    const [name, artifact] = [toHex(capabilityName(claims)), toHex(claims.artifact)]
    const entries = this.#entriesOf(claims.namespace)
    const before = entries.get(name)
    if (before !== undefined) this.#byArtifact.get(artifact)?.delete(before)
    entries.set(name, entry)
    this.#byName.set(name, entry)
    this.#byArtifact.set(artifact, (this.#byArtifact.get(artifact) ?? new Set<Entry>()).add(entry))
  }

  #remove(entry: Entry): void {
    const { claims } = entry.capability
    const [name, artifact] = [toHex(capabilityName(claims)), toHex(claims.artifact)]
    this.#all.get(toHex(claims.namespace))?.delete(name)
    this.#byName.delete(name)
    const ofArtifact = this.#byArtifact.get(artifact)
    ofArtifact?.delete(entry)
    if (ofArtifact?.size === 0) this.#byArtifact.delete(artifact)
  }

  /** Many come at once: what they change is seen to together. */
  #refreshSoon(id: Uint8Array): void {
    this.#stale.add(toHex(id))
    this.#stopRefreshing ??= this.#options.env.scheduler.setTimer(refreshDelayMs, () => {
      this.#stopRefreshing = undefined
      const stale = [...this.#stale]
      this.#stale.clear()
      for (const name of stale) this.#refresh(fromHex(name))
      this.#setTimer()
    })
  }

  /** Those that have not ended. */
  #live(namespace: Uint8Array): Entry[] {
    return [...(this.#all.get(toHex(namespace))?.values() ?? [])].filter((entry) => this.#refusal(entry) === undefined)
  }

  #openNamespace(id: Uint8Array): OpenNamespace | undefined {
    return this.#options.namespaces.findPartial(id)
  }

  #presentation({ capability }: Entry, provider: Uint8Array): Uint8Array | undefined {
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

  /** Why it gives nothing, by its time and by what this node holds of the namespace. */
  #refusal({ capability, ended, refusedEpoch }: Entry): string | undefined {
    if (ended !== undefined) return ended
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

  #present(entry: Entry): Followed {
    const { capability, peers, scope } = entry
    const reason = this.#refusal(entry)
    const isWaiting = this.logOf(capability.claims.namespace)?.isIssued(capability.claims) !== true
    return {
      capability,
      peers,
      scope,
      state: reason !== undefined ? 'ended' : isWaiting ? 'waiting' : 'in-force',
      reason,
    }
  }

  async #store({ capability, peers, ended }: Entry): Promise<void> {
    const row: FollowRow = { token: capability.token, peers, ended }
    await this.#options.env.store.batch([putFollowRow(capability.claims, row)], { sync: true })
  }

  /** Has the replicator, the log and the timers do what is followed of a namespace now. */
  #refresh(id: Uint8Array): void {
    const { namespaces, replicator } = this.#options
    if (this.#ending.signal.aborted) return
    // A member has all of it.
    if (namespaces.all.some(({ log }) => equalBytes(log.id, id))) return
    const live = this.#live(id)
    if (live.length === 0) {
      this.#inBackground(this.#settle(id))
      return
    }
    const open = this.#openNamespace(id)
    if (open === undefined) {
      this.#begin(id)
      return
    }
    const { log } = open
    for (const { capability, scope } of live) {
      const { artifact } = capability.claims
      if (scope !== 'artifact') continue
      const afters = [...(this.#byArtifact.get(toHex(artifact)) ?? [])].filter(
        (one) => this.#refusal(one) === undefined,
      )
      log.partial?.set(artifact, Math.min(...afters.map((one) => afterOf(one.capability.claims))))
    }
    if (!this.#listening.has(toHex(id))) {
      const stop = log.subscribe(({ authChanged, artifacts }) => this.#onChange(id, authChanged, artifacts))
      this.#listening.set(toHex(id), stop)
    }
    this.#inBackground(this.#hold(log, live).then(() => this.#noteArrivals(id, undefined)))
    const following = live.map((entry): Following => {
      const { capability, scope } = entry
      const about: SyncScope =
        scope === 'auth' ? { kind: scope } : { kind: scope, artifact: capability.claims.artifact }
      const { audience } = capability.claims
      const shows = audience
        .map(({ kind, id }) => (kind === 'group' ? toHex(this.#groups?.epochOf(id) ?? new Uint8Array(0)) : ''))
        .join()
      return { capability, scope: about, present: (provider) => this.#presentation(entry, provider), shows }
    })
    replicator?.followPartial(
      log,
      following,
      live.flatMap(({ peers }) => peers),
    )
  }

  #onClosing({ id, partial }: Namespace): void {
    const name = toHex(id)
    this.#listening.get(name)?.()
    this.#listening.delete(name)
    if (partial !== undefined) return
    this.#inBackground(this.#options.namespaces.settled().then(() => this.#groupsChanged()))
    // A member that leaves may still follow what is shared with it.
    if (this.#live(id).length > 0) this.#inBackground(this.#options.namespaces.settled().then(() => this.#refresh(id)))
  }

  /** Has the log open what was sealed for these capabilities. */
  async #hold(log: Namespace, live: readonly Entry[]): Promise<void> {
    const held = live.map(({ capability: { claims } }) => {
      const groups = claims.audience.filter(({ kind }) => kind === 'group').map(({ id }) => id)
      return { artifact: claims.artifact, jti: claims.jti, groups }
    })
    await log.holdCapabilities(held)
    for (const group of new Map(
      held.flatMap(({ groups }) => groups.map((one) => [toHex(one), one] as const)),
    ).values()) {
      await log.holdGroupKeys(group, this.#groups?.keysOf(group) ?? [])
    }
  }

  #onChange(id: Uint8Array, authChanged: boolean, artifacts: readonly Uint8Array[]): void {
    if (authChanged) {
      this.#inBackground(this.#settle(id))
      // The next epoch of a group may have been recorded: what was shown before gives nothing any more.
      if (this.#live(id).some(isForGroup)) this.#refresh(id)
    }
    if (artifacts.length > 0) this.#inBackground(this.#noteArrivals(id, artifacts))
  }

  async #noteArrivals(id: Uint8Array, artifacts: readonly Uint8Array[] | undefined): Promise<void> {
    const entries =
      artifacts === undefined
        ? this.#live(id)
        : artifacts.flatMap((artifact) => [...(this.#byArtifact.get(toHex(artifact)) ?? [])])
    for (const entry of entries) {
      const { artifact } = entry.capability.claims
      if (entry.hasArrived || entry.scope !== 'artifact' || this.#refusal(entry) !== undefined) continue
      if ((await this.logOf(id)?.catalog.get(artifact)) === undefined || entry.hasArrived) continue
      entry.hasArrived = true
      for (const { arrived } of this.#observers) arrived?.(this.#present(entry))
    }
  }

  /** Ends what has ended, and removes what nothing lets this agent read any more. */
  async #settle(id: Uint8Array): Promise<void> {
    const { namespaces, replicator } = this.#options
    const name = toHex(id)
    for (const entry of this.#all.get(name)?.values() ?? []) {
      const reason = this.#refusal(entry)
      // Who leaves a group may come back, in another epoch of it.
      if (reason === 'GROUP_EPOCH') entry.refusedEpoch = this.#proof(entry.capability, this.#self)?.epoch
      if (reason === undefined || entry.ended !== undefined || reason === 'GROUP_EPOCH') continue
      await this.#end(entry, reason)
    }
    if (this.#live(id).length > 0) return
    if (this.#all.get(name)?.size === 0) this.#all.delete(name)
    this.#listening.get(name)?.()
    this.#listening.delete(name)
    if (this.#openNamespace(id) === undefined) return
    await replicator?.unfollow(id)
    await namespaces.unfollowPartial(id)
  }

  async #end(entry: Entry, reason: string): Promise<void> {
    entry.ended = reason
    if (entry.isKept) await this.#store(entry)
    for (const { ended } of this.#observers) ended?.(this.#present(entry))
  }

  /** Asks for the beginning of a namespace until somebody gives it. */
  #begin(id: Uint8Array): void {
    const name = toHex(id)
    if (this.#options.replicator === undefined || this.#opening.has(name)) return
    const opening: Opening = {
      done: Promise.resolve(),
      attempt: Promise.withResolvers(),
      next: Promise.withResolvers(),
      wake: () => {},
    }
    this.#opening.set(name, opening)
    opening.done = this.#open(id, opening).finally(() => {
      this.#opening.delete(name)
      if (this.#openNamespace(id) !== undefined) this.#refresh(id)
    })
  }

  async #open(id: Uint8Array, opening: Opening): Promise<void> {
    const { env, namespaces, chance } = this.#options
    const { signal } = this.#ending
    const { network } = env
    for (let failures = 0; !signal.aborted && this.#live(id).length > 0; failures++) {
      const again = Promise.withResolvers<void>()
      opening.wake = again.resolve
      opening.attempt = opening.next
      opening.next = Promise.withResolvers()
      const stopListening = network.onPeer((agent, isConnected) => {
        if (isConnected && this.peersOf(id).some((one) => equalBytes(one, agent))) again.resolve()
      })
      let stopTimer = (): void => {}
      try {
        const genesis = await this.#genesisOf(id, signal)
        if (genesis !== undefined) {
          await namespaces.followPartial(id, genesis)
          return
        }
        opening.attempt.resolve()
        const delayMs = Math.min(retryBackoffMs.to, retryBackoffMs.from * 2 ** Math.min(failures, 20))
        stopTimer = env.scheduler.setTimer(delayMs * (0.5 + chance() / 2), again.resolve)
        await again.promise
      } catch (error) {
        if (signal.aborted || isHubError(error, 'ALREADY_EXISTS')) return
        env.warn?.('could not begin to follow an artifact', { namespace: toHex(id), error: String(error) })
        return
      } finally {
        stopListening()
        stopTimer()
      }
    }
  }

  async #genesisOf(namespace: Uint8Array, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const { network, scheduler } = this.#options.env
    const scope: SyncScope = { kind: 'auth' }
    for (const entry of this.#live(namespace)) {
      for (const { agent, addresses } of entry.peers) {
        const presentation = this.#presentation(entry, agent)
        if (presentation === undefined) continue
        network.addAddresses(agent, addresses)
        try {
          const { claims } = entry.capability
          return await fetchGenesis({ network, scheduler, agent, namespace, scope, presentation, claims, signal })
        } catch (error) {
          signal.throwIfAborted()
          if (isHubError(error, 'REVOKED')) await this.#end(entry, error.code)
        }
      }
    }
    return undefined
  }

  /** Looks again when the next capability ends by its time. */
  #setTimer(): void {
    const { env } = this.#options
    this.#stopTimer?.()
    const ends = [...this.#all.values()].flatMap((entries) =>
      [...entries.values()].flatMap(({ capability, ended }) =>
        ended === undefined && capability.claims.expires !== undefined ? [capability.claims.expires * 1000] : [],
      ),
    )
    if (ends.length === 0 || this.#ending.signal.aborted) return
    const inMs = Math.min(...ends) + clockSkewMs - env.now() + 1
    this.#stopTimer = env.scheduler.setTimer(Math.min(maxTimerMs, Math.max(1_000, inMs)), () => {
      for (const name of [...this.#all.keys()]) this.#inBackground(this.#settle(fromHex(name)))
      this.#setTimer()
    })
  }

  #inBackground(work: Promise<void>): void {
    work.catch((error) => {
      if (!this.#ending.signal.aborted)
        this.#options.env.warn?.('could not follow what changed', { error: String(error) })
    })
  }
}

function isForGroup({ capability }: Entry): boolean {
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
