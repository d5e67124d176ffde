import { equalBytes, fromHex, toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { maxLogsInStep, maxSyncDials, maxSyncOffers, maxSyncRounds, syncPace } from '../limits.ts'
import { Pace } from './pace.ts'
import type { PeerNetwork } from './peer-network.ts'
import { type NamespaceSyncStatus, ReplicatedNamespace, type ReplicatorContext } from './replicator-log.ts'
import { type Following, ReplicatedPartial } from './replicator-partial.ts'
import { RoundPlaces } from './round-places.ts'
import type { Scheduler } from './scheduler.ts'
import type { SyncServiceCounters } from './served-stream.ts'
import type { OfferRow } from './sync-codec.ts'
import type { ReplicatedLog } from './sync-log.ts'
import { offerState, offerTag, sendOffer } from './sync-offer.ts'
import { PushLink } from './sync-push.ts'
import { claimRole } from './sync-run.ts'
import { SyncService } from './sync-serve.ts'

/** What a replicator is made of. */
export interface ReplicatorOptions {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  /** A number from 0 up to 1: for jitter and choice, nothing secret. */
  readonly random: () => number
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
  /** How fast streams are opened to one agent, where others open some as well. */
  readonly pace?: Pace | undefined
  /** An agent says that this one has a role in a namespace (32 bytes) that is not followed here. Anyone may say so, and again. */
  readonly onInvited?: ((namespace: Uint8Array, from: Uint8Array) => void) | undefined
  /** An agent has taken what it was answered by capabilities for it of these jtis (16 bytes each), a refusal of one that was good here too. */
  readonly onAnswered?: ((agent: Uint8Array, jtis: readonly Uint8Array[]) => void) | undefined
}

/** What was served, and how many agents are being told of new entries now: who closes before that is through leaves it to a later round. */
export interface ReplicatorCounters extends Readonly<SyncServiceCounters> {
  readonly pushing: number
}

/** An agent and where it may be dialled. */
export interface KnownPeer {
  /** 32 bytes. */
  readonly agent: Uint8Array
  /** Multiaddr texts. */
  readonly addresses: readonly string[]
}

/** Offers of a moment go together. */
const offerDelayMs = 5
/** How long the agent whose part it is to begin after an offer has for it. */
const offerGraceMs = 2_000
/** Namespaces that are not known here which one offer may make this node ask for. */
const maxUnknownOffers = 64

/**
 * Keeps logs in step with the other members' nodes. New entries are pushed to connected members; everything else comes by
 * rounds: when a connection is made, when a hint tells of a hash that is not known here, and every now and then with
 * somebody. Serves the same to others. Never says the id of a namespace to an agent that has no role in it.
 */
export class Replicator implements AsyncDisposable {
  readonly #options: ReplicatorOptions
  readonly #service: SyncService
  readonly #ending = new AbortController()
  readonly #followed = new Map<string, ReplicatedNamespace>()
  /** Logs of which only some artifacts are here. */
  readonly #partial = new Map<string, ReplicatedPartial>()
  readonly #links = new Map<string, PushLink>()
  /** By connected agent, the namespaces that it was offered on this connection. */
  readonly #offered = new Map<string, Set<string>>()
  /** Agents in hex that are about to be offered something. */
  readonly #offering = new Set<string>()
  readonly #running = new Set<Promise<void>>()
  readonly #rounds: RoundPlaces
  /** Of rounds with agents that are to be dialled, which may take long and come to nothing. */
  readonly #dials: RoundPlaces
  readonly #pace: Pace
  readonly #graces = new Set<() => void>()
  readonly #stopPeers: () => void
  #stopOffering: (() => void) | undefined

  constructor(options: ReplicatorOptions) {
    this.#options = options
    const { network, scheduler } = options
    this.#pace = options.pace ?? new Pace(scheduler, syncPace)
    this.#rounds = new RoundPlaces(scheduler, maxSyncRounds)
    this.#dials = new RoundPlaces(scheduler, maxSyncDials)
    this.#service = new SyncService({
      network,
      scheduler,
      self: options.self,
      lookup: (namespace) => this.#followed.get(toHex(namespace))?.log,
      onAnswered: options.onAnswered,
      lookupPartial: (namespace) => this.#partial.get(toHex(namespace))?.log,
      onFollowed: (log, agent, followed) => this.#of(log)?.followers.add(agent, followed),
      onRound: (log, agent, { result }) => {
        const followed = this.#of(log)
        // It has all of the log now: what it followed of it comes as to any member.
        followed?.followers.forget(agent)
        followed?.heardFrom(agent, result)
      },
      onPushed: (log, agent, { unlinked }) => {
        // Here is where it is known what is missing: the one who pushed does nothing about it.
        if (unlinked > 0) (this.#of(log) ?? this.#partial.get(toHex(log.id)))?.request(agent)
      },
      onDenied: (namespace, agent, log) => {
        // Who knows the id may have been granted a role that was not heard of here; that it shows, and nobody else is asked in return.
        if (log === undefined) this.#invited(namespace, agent)
        else if (log.hadRole?.(agent) === true) this.#of(log)?.request(agent)
      },
      onClaim: (namespace, agent, entries) => {
        const followed = this.#followed.get(toHex(namespace))
        if (followed?.log.provesRole?.(agent, entries) === true) followed.request(agent, { wants: true })
      },
      onOffer: (agent, rows) => this.#onOffer(agent, rows),
      onNames: (agent, namespaces) => {
        for (const namespace of namespaces) this.#invited(namespace, agent)
      },
    })
    this.#stopPeers = network.onPeer((agent, connected) => this.#onPeer(agent, connected))
    for (const agent of network.connected()) this.#onPeer(agent, true)
  }

  /** Counts of what was served. */
  get counters(): ReplicatorCounters {
    const pushing = [...this.#links.values()].filter(({ isBusy }) => isBusy).length
    return { ...this.#service.counters, pushing }
  }

  /**
   * Keeps a log in step until it is unfollowed. Following it again only adds peers.
   * @param options.peers whom a ticket names: dialled when no member is connected
   * @throws CLOSED
   */
  follow(log: ReplicatedLog, options: { peers?: readonly KnownPeer[] } = {}): void {
    if (this.#ending.signal.aborted) throw new ArtifactHubError('CLOSED', 'this node is closed')
    const { network } = this.#options
    const peers = options.peers ?? []
    for (const { agent, addresses } of peers) network.addAddresses(agent, addresses)
    const id = toHex(log.id)
    let followed = this.#followed.get(id)
    if (followed === undefined) {
      followed = new ReplicatedNamespace(log, this.#context)
      this.#followed.set(id, followed)
    }
    followed.know(peers.map(({ agent }) => agent))
    this.#offerSoon()
  }

  /**
   * Keeps single artifacts of a log in step, by what capabilities allow, until it is unfollowed. Again: with these from now on.
   * @throws CLOSED
   */
  followPartial(log: ReplicatedLog, following: readonly Following[], peers: readonly KnownPeer[]): void {
    if (this.#ending.signal.aborted) throw new ArtifactHubError('CLOSED', 'this node is closed')
    for (const { agent, addresses } of peers) this.#options.network.addAddresses(agent, addresses)
    const id = toHex(log.id)
    const partial = this.#partial.get(id) ?? new ReplicatedPartial(log, this.#context)
    this.#partial.set(id, partial)
    partial.set(
      following,
      peers.map(({ agent }) => agent),
    )
  }

  /** Has agents (32 bytes each) hear of a role in a namespace (32 bytes) that they were just given, as far as they can be dialled: a few of them at once. */
  greet(namespace: Uint8Array, agents: readonly Uint8Array[]): void {
    this.#followed.get(toHex(namespace))?.greet(agents)
  }

  /** Stops keeping a namespace (32 bytes) in step, and waits until nothing of it is under way. Idempotent. */
  async unfollow(namespace: Uint8Array): Promise<void> {
    const id = toHex(namespace)
    // Both at once: what is followed while they close stays.
    const [partial, followed] = [this.#partial.get(id), this.#followed.get(id)]
    this.#partial.delete(id)
    this.#followed.delete(id)
    for (const offered of this.#offered.values()) offered.delete(id)
    if (followed !== undefined) for (const link of this.#links.values()) link.forget(followed.log)
    await Promise.all([partial?.close(), followed?.close()])
  }

  /** How far a namespace is in step; `undefined` when it is not followed. */
  status(namespace: Uint8Array): NamespaceSyncStatus | undefined {
    const id = toHex(namespace)
    return (this.#followed.get(id) ?? this.#partial.get(id))?.status
  }

  /**
   * Runs a round now with every connected member, or with known ones that are dialled. Resolves with how many worked.
   * @param options.isOneEnough resolves with 1 as soon as one has worked; the others go on
   * @throws NOT_FOUND when it is not followed; the signal's reason
   */
  async syncNow(
    namespace: Uint8Array,
    options: { signal?: AbortSignal | undefined; isOneEnough?: boolean } = {},
  ): Promise<number> {
    const partial = this.#partial.get(toHex(namespace))
    if (partial !== undefined) return (await partial.sync(options.signal)) ? 1 : 0
    const followed = this.#followed.get(toHex(namespace))
    if (followed === undefined) throw new ArtifactHubError('NOT_FOUND', 'this namespace is not followed')
    const members = followed.connectedMembers()
    const agents = members.length > 0 ? members : followed.dialable()
    const rounds = agents.map(async (agent) => {
      const { result } = await followed.sync(agent, options.signal)
      if (result === 'denied') throw new ArtifactHubError('ACCESS_DENIED', 'it does not take this agent for a member')
    })
    if (options.isOneEnough === true) {
      const first = await Promise.any(rounds.map((round) => round.then(() => true))).catch(() => false)
      if (first) return 1
    }
    const outcomes = await Promise.allSettled(rounds)
    options.signal?.throwIfAborted()
    return outcomes.filter(({ status }) => status === 'fulfilled').length
  }

  /** Serves no more, cuts what is under way and waits until nothing runs. Idempotent. */
  async close(): Promise<void> {
    this.#ending.abort(new ArtifactHubError('CLOSED', 'this node is closing'))
    this.#stopPeers()
    this.#stopOffering?.()
    for (const stop of this.#graces) stop()
    await Promise.all([
      this.#service.close(),
      ...[...this.#followed.values(), ...this.#partial.values()].map((followed) => followed.close()),
      ...[...this.#links.values()].map((link) => link.close()),
    ])
    this.#followed.clear()
    this.#partial.clear()
    this.#links.clear()
    while (this.#running.size > 0) await Promise.all(this.#running)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  get #context(): ReplicatorContext {
    const { network, scheduler, random, self } = this.#options
    return {
      network,
      scheduler,
      random,
      self,
      inTurn: (agent, signal, work) => this.#inTurn(agent, signal, work),
      stretch: () => Math.max(1, (this.#followed.size + this.#partial.size) / maxLogsInStep),
      push: (agent, from, entries) => this.#link(agent).push(from, entries),
      onAuthChanged: (log) => this.#onAuthChanged(log),
    }
  }

  async #inTurn<T>(agent: Uint8Array, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return await this.#pace.run(agent, signal, () => {
      const isConnected = this.#options.network.connected().some((one) => equalBytes(one, agent))
      return isConnected ? this.#rounds.run(signal, work) : this.#dials.run(signal, work, this.#rounds)
    })
  }

  #of(log: ReplicatedLog): ReplicatedNamespace | undefined {
    return this.#followed.get(toHex(log.id))
  }

  #invited(namespace: Uint8Array, from: Uint8Array): void {
    const id = toHex(namespace)
    if (!this.#followed.has(id)) this.#options.onInvited?.(namespace, from)
  }

  #onPeer(agent: Uint8Array, connected: boolean): void {
    const name = toHex(agent)
    const all = [...this.#followed.values(), ...this.#partial.values()]
    if (connected) {
      for (const followed of all) if (followed.isOfInterest(agent)) followed.onConnected(agent)
      this.#offered.set(name, new Set())
      this.#offerSoon()
      return
    }
    this.#offered.delete(name)
    const link = this.#links.get(name)
    this.#links.delete(name)
    if (link !== undefined) this.#keep(link.close())
    for (const { followers } of this.#followed.values()) followers.forget(agent)
    for (const followed of all) if (followed.isOfInterest(agent)) followed.onLost(agent)
  }

  #link(agent: Uint8Array): PushLink {
    const name = toHex(agent)
    const found = this.#links.get(name)
    if (found !== undefined) return found
    const { network, scheduler } = this.#options
    const link = new PushLink(agent, {
      network,
      scheduler,
      signal: this.#ending.signal,
      onDone: (log, { hash }) => {
        if (equalBytes(hash, log.held.vectorHash)) this.#of(log)?.heardFrom(agent, 'same')
      },
      onLost: (log) => {
        // Who only follows artifacts asks by itself.
        if (log.roleOf(agent) !== undefined) this.#of(log)?.request(agent)
      },
    })
    this.#links.set(name, link)
    return link
  }

  #onAuthChanged(log: ReplicatedLog): void {
    const id = toHex(log.id)
    // Whose role ended is told anew when it has one again: it may not keep the log in step any more.
    for (const [name, offered] of this.#offered)
      if (offered.has(id) && log.roleOf(fromHex(name)) === undefined) offered.delete(id)
    this.#offerSoon()
  }

  #offerSoon(): void {
    if (this.#stopOffering !== undefined || this.#ending.signal.aborted) return
    this.#stopOffering = this.#options.scheduler.setTimer(offerDelayMs, () => {
      this.#stopOffering = undefined
      for (const agent of this.#options.network.connected()) this.#keep(this.#offer(agent).catch(() => {}))
    })
  }

  /** Offers what that agent has a role in and was not offered before on this connection; what comes while that waits for its turn goes along. */
  async #offer(agent: Uint8Array): Promise<void> {
    const name = toHex(agent)
    if (this.#offering.has(name) || equalBytes(agent, this.#options.self)) return
    this.#offering.add(name)
    const began = (): boolean => this.#offering.delete(name)
    const offering = this.#pace.run(agent, this.#ending.signal, async () => {
      began()
      const logs = this.#toOffer(name, agent)
      if (logs.length > 0) await this.#sendOffer(agent, logs)
    })
    await offering.finally(began)
  }

  #toOffer(name: string, agent: Uint8Array): ReplicatedLog[] {
    const offered = this.#offered.get(name)
    if (offered === undefined) return []
    const due = [...this.#followed].filter(([id, { log }]) => !offered.has(id) && log.roleOf(agent) !== undefined)
    if (due.length > maxSyncOffers) this.#offerSoon()
    const logs = due.slice(0, maxSyncOffers)
    for (const [id] of logs) offered.add(id)
    return logs.map(([, { log }]) => log)
  }

  async #sendOffer(agent: Uint8Array, logs: readonly ReplicatedLog[]): Promise<void> {
    const { network, scheduler, self } = this.#options
    const { signal } = this.#ending
    try {
      const { inStep, unknown } = await sendOffer({ network, scheduler, self, signal }, agent, logs)
      for (const log of inStep) this.#of(log)?.heardFrom(agent, 'same')
      // It may have the log all the same, and not know that this agent has a role.
      for (const log of unknown) {
        const claiming = this.#inTurn(agent, signal, (timely) =>
          claimRole({ network, scheduler, log, agent, signal: timely }),
        )
        this.#keep(claiming.catch(() => {}))
      }
    } catch {
      // A round says why that agent cannot be talked to.
      for (const log of logs) this.#of(log)?.request(agent)
    }
  }

  #onOffer(agent: Uint8Array, rows: readonly OfferRow[]): { same: number[]; unknown: number[] } {
    const { self } = this.#options
    // Each tag is a hash: a stranger has none made.
    const logs = new Map(
      [...this.#followed.values()]
        .filter(({ log }) => log.roleOf(agent) !== undefined || log.hadRole?.(agent) === true)
        .map((followed) => [toHex(offerTag(followed.log.id, self, agent)), followed]),
    )
    const same: number[] = []
    const unknown: number[] = []
    rows.forEach(({ tag, state }, index) => {
      const followed = logs.get(toHex(tag))
      // A stranger who knows an id is not told whether the namespace is here.
      if (followed === undefined || followed.log.roleOf(agent) === undefined) {
        if (unknown.length < maxUnknownOffers && this.#options.onInvited !== undefined) unknown.push(index)
        followed?.request(agent)
        return
      }
      const { log } = followed
      if (equalBytes(offerState(tag, log.held.vectorHash), state)) {
        same.push(index)
        followed.heardFrom(agent, 'same')
      }
      // Both sides see the difference, if both know each other as members: one begins.
      else if (Buffer.compare(self, agent) < 0) followed.request(agent, { urgent: true, wants: true })
      else this.#unlessItBegins(followed, agent)
    })
    return { same, unknown }
  }

  #unlessItBegins(followed: ReplicatedNamespace, agent: Uint8Array): void {
    const before = followed.roundsHeard(agent)
    const stop = this.#options.scheduler.setTimer(offerGraceMs, () => {
      this.#graces.delete(stop)
      if (followed.roundsHeard(agent) === before) followed.request(agent, { wants: true })
    })
    this.#graces.add(stop)
  }

  #keep(work: Promise<void>): void {
    const kept = work.finally(() => this.#running.delete(kept))
    this.#running.add(kept)
  }
}
