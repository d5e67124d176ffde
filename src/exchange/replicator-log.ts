import { equalBytes, toHex } from '../encoding/index.ts'
import { type ErrorCode, isHubError } from '../errors.ts'
import { healAgainMs, maxPushPeers, syncBackoffMs, syncEveryMs, syncRedialMs } from '../limits.ts'
import { FollowerNews } from './follower-news.ts'
import { NamedTimers } from './named-timers.ts'
import type { PeerNetwork } from './peer-network.ts'
import { LogHints } from './replicator-hints.ts'
import { type PeerSyncStatus, type SyncPeer, SyncPeers, warmUp } from './replicator-peers.ts'
import type { Scheduler } from './scheduler.ts'
import type { LogChange, ReplicatedLog } from './sync-log.ts'
import { runSync, type SyncOutcome } from './sync-run.ts'
import { UnderWay } from './under-way.ts'

/** What the logs of one replicator share. */
export interface ReplicatorContext {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  /** A number from 0 up to 1: for jitter and choice, nothing secret. */
  readonly random: () => number
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
  /**
   * Runs a round with an agent when there is room for it, and the agent takes another; again, if it had to give way to others by the signal that it is given.
   * @throws what it throws; the signal's reason
   */
  readonly inTurn: <T>(agent: Uint8Array, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>) => Promise<T>
  /** How many times as seldom as one alone each of all logs is compared with somebody, so that all together are not too much. */
  readonly stretch: () => number
  /** Sends new entries to a connected agent. */
  readonly push: (agent: Uint8Array, log: ReplicatedLog, entries: readonly Uint8Array[]) => void
  /** Who has a role in a log may have changed. */
  readonly onAuthChanged: (log: ReplicatedLog) => void
}

/** How far a namespace on this node is in step with others. */
export interface NamespaceSyncStatus {
  /** Entries known to be missing here: those that a round under way is to bring. */
  readonly behind: number
  readonly lastSyncAt: number | undefined
  /** What the latest failure said, until a round works. */
  readonly lastError: { readonly code: string; readonly message: string } | undefined
  readonly peers: readonly PeerSyncStatus[]
}

/** Who may rotate heals after this; everybody else gives them time, each another: one is enough. */
const healDelayMs = 100
const healOfOthersMs = { from: 2_000, to: 10_000 }
/** Rounds that follow one another at once with one agent, while forks come to light. */
const maxRoundsInRow = 4
/** Agents that are dialled at once when nobody is connected. */
const dialsAtOnce = 3
/** Agents that are dialled because they were given a role just now; of more the others hear when they connect, or as their turn to be dialled comes. */
const greetedAtOnce = 16

/** One log that is kept in step: when to run a round with whom. */
export class ReplicatedNamespace {
  readonly log: ReplicatedLog
  /** Connected agents that follow artifacts and are no members. */
  readonly followers: FollowerNews
  readonly #context: ReplicatorContext
  readonly #hints: LogHints
  readonly #ending = new AbortController()
  readonly #peers: SyncPeers
  /** Agents named by tickets: they may know this node before its log knows them. */
  readonly #known = new Map<string, Uint8Array>()
  readonly #timers: NamedTimers<'every' | 'dial' | 'heal' | 'healAgain'>
  readonly #unsubscribe: () => void
  readonly #behind = new Map<string, number>()
  /** Heals, and rounds that somebody waits for. */
  readonly #underWay = new UnderWay()
  #lastError: NamespaceSyncStatus['lastError']
  #lastSyncAt: number | undefined
  #dialFailures = 0

  constructor(log: ReplicatedLog, context: ReplicatorContext) {
    this.log = log
    this.#context = context
    this.followers = new FollowerNews(log, context)
    this.#timers = new NamedTimers(context.scheduler)
    this.#peers = new SyncPeers((agent) => !this.isOfInterest(agent))
    this.#hints = new LogHints({
      ...context,
      log,
      isMember: (agent) => this.#isMember(agent),
      connectedMembers: () => this.connectedMembers(),
      onNews: (agent) => this.request(agent),
    })
    this.#unsubscribe = log.subscribe((change) => this.#onChange(change))
    this.#every()
    this.#healSoon()
    this.dial()
  }

  /** Agents that may be dialled though the log does not know them. */
  know(agents: Iterable<Uint8Array>): void {
    for (const agent of agents) if (!equalBytes(agent, this.#context.self)) this.#known.set(toHex(agent), agent)
    this.dial()
  }

  /** Dials agents that were just given a role, a few of them: over the connection they are told so. */
  greet(agents: readonly Uint8Array[]): void {
    const away = agents.filter((agent) => this.#isMember(agent) && !this.#isConnected(agent))
    for (const agent of away.slice(0, greetedAtOnce)) this.request(agent, { wants: true })
  }

  get status(): NamespaceSyncStatus {
    return {
      behind: Math.max(0, ...this.#behind.values()),
      lastSyncAt: this.#lastSyncAt,
      lastError: this.#lastError,
      peers: [...this.#peers.values()].map(({ agent, lastSyncAt, outcome, error }) => ({
        agent,
        lastSyncAt,
        outcome,
        error,
      })),
    }
  }

  /** Connected agents that have a role. */
  connectedMembers(): Uint8Array[] {
    return this.#context.network.connected().filter((agent) => this.#isMember(agent))
  }

  /** Whether an agent has a role or is named by a ticket. */
  isOfInterest(agent: Uint8Array): boolean {
    return this.#isMember(agent) || this.#known.has(toHex(agent))
  }

  /** Agents to try when nobody is connected, a few of those known, by chance. */
  dialable(): Uint8Array[] {
    const candidates = [...this.log.memberAgents()].filter(
      (agent) => this.#isOther(agent) && !this.#known.has(toHex(agent)),
    )
    candidates.push(...this.#known.values())
    const chosen: Uint8Array[] = []
    while (chosen.length < dialsAtOnce && candidates.length > 0) {
      chosen.push(...candidates.splice(Math.floor(this.#context.random() * candidates.length), 1))
    }
    return chosen
  }

  /** Rounds with an agent that worked, whoever began them. */
  roundsHeard(agent: Uint8Array): number {
    return this.#peers.find(agent)?.rounds ?? 0
  }

  /** Runs a round with an agent soon: after the one under way, or after the wait that failures brought. */
  request(agent: Uint8Array, options: { urgent?: boolean; wants?: boolean } = {}): void {
    if (this.#ending.signal.aborted || !this.#isOther(agent)) return
    const peer = this.#peers.get(agent)
    if (peer === undefined) return
    if (options.urgent === true) warmUp(peer)
    if (peer.running !== undefined || peer.cooling !== undefined) peer.again = true
    else this.#start(peer, options.wants === true)
  }

  /** A round with an agent, begun now, whoever waits; resolves when it is through. @throws what `runSync` throws */
  async sync(agent: Uint8Array, signal?: AbortSignal): Promise<SyncOutcome> {
    return await this.#underWay.add(this.#sync(agent, signal))
  }

  async #sync(agent: Uint8Array, signal: AbortSignal | undefined): Promise<SyncOutcome> {
    const both = signal === undefined ? this.#ending.signal : AbortSignal.any([signal, this.#ending.signal])
    const peer = this.#peers.get(agent)
    const isMember = this.#isMember(agent)
    try {
      const outcome = await this.#round(agent, true, both)
      if (peer !== undefined) this.#succeeded(peer, outcome, isMember)
      return outcome
    } catch (error) {
      if (peer !== undefined && !both.aborted) this.#failed(peer, error)
      throw error
    }
  }

  /** The other side has shown that it is where this log is, or has brought it there. */
  heardFrom(agent: Uint8Array, result: 'same' | 'exchanged'): void {
    const peer = this.#peers.get(agent)
    if (peer === undefined) return
    warmUp(peer)
    peer.again = false
    this.#worked(peer, result)
  }

  /** A connection is new: what failed on the one before says nothing. */
  onConnected(agent: Uint8Array): void {
    this.#timers.stop('dial')
    this.#dialFailures = 0
    const peer = this.#peers.find(agent)
    if (peer === undefined) return
    warmUp(peer)
    peer.inTouch = false
    peer.lostAt = undefined
  }

  /** A connection was lost: whoever comes back may know nobody's address, so it is dialled again, others connected or not. */
  onLost(agent: Uint8Array): void {
    this.#dialFailures = 0
    this.#timers.stop('dial')
    this.dial()
    const peer = this.#ending.signal.aborted ? undefined : this.#peers.get(agent)
    if (peer === undefined) return
    warmUp(peer)
    peer.inTouch = false
    peer.lostAt = this.#context.scheduler.now()
    // A round under way fails now, and is what the first wait follows.
    if (peer.running === undefined) this.#cool(peer)
  }

  /** Dials members, if nobody of them is connected. */
  dial(): void {
    if (this.#ending.signal.aborted || this.#timers.has('dial') || this.connectedMembers().length > 0) return
    const wait = this.#dialFailures === 0 ? 0 : this.#backoff(this.#dialFailures)
    this.#timers.set('dial', wait, () => {
      if (this.connectedMembers().length > 0) return
      const candidates = this.dialable()
      // Nobody to dial until the log or a ticket names somebody.
      if (candidates.length === 0) return
      for (const agent of candidates) this.request(agent, { wants: true })
      this.#dialFailures += 1
      this.dial()
    })
  }

  /** Stops, cuts what is under way and waits until nothing runs. Idempotent. */
  async close(): Promise<void> {
    this.#ending.abort(new DOMException('The namespace is no longer replicated', 'AbortError'))
    this.#unsubscribe()
    this.#hints.close()
    this.#timers.close()
    for (const peer of this.#peers.values()) peer.cooling?.()
    await Promise.all([...[...this.#peers.values()].map(({ running }) => running), this.#underWay.ended()])
  }

  #isOther(agent: Uint8Array): boolean {
    return !equalBytes(agent, this.#context.self)
  }

  #isMember(agent: Uint8Array): boolean {
    return this.#isOther(agent) && this.log.roleOf(agent) !== undefined
  }

  #start(peer: SyncPeer, wants: boolean): void {
    peer.again = false
    peer.running = this.#rounds(peer, wants).finally(() => {
      peer.running = undefined
      if (peer.again && peer.cooling === undefined) this.request(peer.agent)
    })
  }

  async #rounds(peer: SyncPeer, wants: boolean): Promise<void> {
    const { signal } = this.#ending
    try {
      for (let round = 0; round < maxRoundsInRow; round++) {
        const isMember = this.#isMember(peer.agent)
        const outcome = await this.#round(peer.agent, wants && round === 0, signal)
        this.#succeeded(peer, outcome, isMember)
        const moved = outcome.stored + outcome.sent > 0
        if (!moved || outcome.lacking + outcome.unlinked === 0) return
      }
    } catch (error) {
      if (!signal.aborted) this.#failed(peer, error)
    }
  }

  async #round(agent: Uint8Array, wants: boolean, signal: AbortSignal): Promise<SyncOutcome> {
    const { network, scheduler } = this.#context
    const name = toHex(agent)
    const onBehind = (entries: number): void => void this.#behind.set(name, entries)
    try {
      return await this.#context.inTurn(agent, signal, (timely) =>
        runSync({ network, scheduler, log: this.log, agent, wants, onBehind, signal: timely }),
      )
    } finally {
      this.#behind.delete(name)
    }
  }

  /** @param wasMember whether it had a role when the round began */
  #succeeded(peer: SyncPeer, outcome: SyncOutcome, wasMember: boolean): void {
    if (outcome.result === 'denied') {
      peer.inTouch = false
      peer.outcome = 'denied'
      peer.error = 'ACCESS_DENIED'
      this.#cool(peer)
      return
    }
    this.#worked(peer, outcome.result)
    // Whoever is still a stranger after a round has only used it up; who was removed during it is to hear of that.
    if (!wasMember && this.log.roleOf(peer.agent) === undefined) this.#cool(peer)
    else peer.failures = 0
  }

  #worked(peer: SyncPeer, result: 'same' | 'exchanged'): void {
    peer.rounds += 1
    peer.inTouch = true
    peer.outcome = result
    peer.error = undefined
    peer.lastSyncAt = this.#context.scheduler.now()
    this.#lastSyncAt = peer.lastSyncAt
    this.#lastError = undefined
  }

  #failed(peer: SyncPeer, error: unknown): void {
    peer.outcome = 'failed'
    peer.error = this.#note(error)
    this.#cool(peer)
  }

  #note(error: unknown): ErrorCode {
    const code = isHubError(error) ? error.code : 'INTERNAL'
    this.#lastError = { code, message: error instanceof Error ? error.message : String(error) }
    return code
  }

  #cool(peer: SyncPeer): void {
    if (this.#ending.signal.aborted) return
    peer.failures += 1
    peer.cooling?.()
    const stop = this.#context.scheduler.setTimer(this.#backoff(peer.failures, this.#isAwaited(peer)), () => {
      peer.cooling = undefined
      const isWorth = this.isOfInterest(peer.agent) && this.#isConnected(peer.agent)
      if (peer.again || isWorth || this.#isAwaited(peer)) this.request(peer.agent)
    })
    peer.cooling = stop
  }

  /** Whether it was connected a short time ago and is worth a dial every few seconds. */
  #isAwaited({ lostAt }: SyncPeer): boolean {
    if (lostAt === undefined || this.connectedMembers().length >= maxPushPeers) return false
    return this.#context.scheduler.now() - lostAt < syncRedialMs.during
  }

  #backoff(failures: number, isAwaited = false): number {
    const { from, to } = syncBackoffMs
    return (
      Math.min(isAwaited ? syncRedialMs.to : to, from * 2 ** Math.min(failures - 1, 20)) *
      (0.5 + this.#context.random() / 2)
    )
  }

  #every(): void {
    const { from, to } = syncEveryMs
    this.#timers.set('every', (from + this.#context.random() * (to - from)) * this.#context.stretch(), () => {
      const members = this.connectedMembers()
      const agent = members[Math.floor(this.#context.random() * members.length)]
      if (agent === undefined) this.dial()
      else {
        this.request(agent, { wants: true })
        this.#dialAnother(members)
      }
      this.#every()
    })
  }

  /** Those who are connected may all be cut off from the rest together. */
  #dialAnother(connected: readonly Uint8Array[]): void {
    if (connected.length >= maxPushPeers) return
    const names = new Set(connected.map(toHex))
    const other = this.dialable().find((agent) => !names.has(toHex(agent)))
    if (other !== undefined) this.request(other)
  }

  #onChange(change: LogChange): void {
    const { written, received, authChanged, mayOweBoxes = false } = change
    this.followers.tell(change)
    if (written.length > 0) {
      const inTouch = this.connectedMembers().filter((agent) => this.#isInTouch(agent))
      for (const agent of inTouch.slice(0, maxPushPeers)) this.#context.push(agent, this.log, written)
    }
    if (written.length + received > 0) this.#hints.changed(written.length > 0)
    if (authChanged || mayOweBoxes) this.#healSoon()
    // What it waits for may have come.
    else if (received > 0 && this.log.healer?.isPutOff === true && !this.#timers.has('heal')) this.#healSoon()
    if (authChanged) {
      this.#tellRemoved()
      this.#context.onAuthChanged(this.log)
      this.dial()
    }
  }

  /** Whoever was in touch and has lost its role is told so. */
  #tellRemoved(): void {
    for (const peer of this.#peers.values()) {
      if (!peer.inTouch || this.log.hadRole?.(peer.agent) !== true || !this.#isConnected(peer.agent)) continue
      peer.inTouch = false
      this.request(peer.agent)
    }
  }

  #isConnected(agent: Uint8Array): boolean {
    return this.#context.network.connected().some((one) => equalBytes(one, agent))
  }

  #healSoon(): void {
    const role = this.log.roleOf(this.#context.self)
    if (this.log.healer === undefined || !['owner', 'admin', 'writer'].includes(role ?? '')) return
    const { from, to } = healOfOthersMs
    this.#healAfter('heal', role === 'writer' ? from + this.#context.random() * (to - from) : healDelayMs)
  }

  #healAfter(name: 'heal' | 'healAgain', delayMs: number): void {
    this.#timers.set(name, delayMs, () => {
      this.#underWay.add(this.#heal()).catch(() => {})
    })
  }

  async #heal(): Promise<void> {
    try {
      await this.log.healer?.run()
    } catch (error) {
      if (!this.#ending.signal.aborted) this.#note(error)
    }
    if (this.log.healer?.isPutOff === true && !this.#ending.signal.aborted) this.#healAfter('healAgain', healAgainMs)
  }

  /** Who is not, or has failed lately, gets all of it in a round. */
  #isInTouch(agent: Uint8Array): boolean {
    const peer = this.#peers.find(agent)
    return peer?.inTouch === true && peer.cooling === undefined
  }
}
