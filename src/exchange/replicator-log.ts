import { equalBytes, toHex } from '../encoding/index.ts'
import { type ErrorCode, isHubError } from '../errors.ts'
import { maxPushPeers, maxSyncStrangers, syncBackoffMs, syncEveryMs } from '../limits.ts'
import type { PeerNetwork } from './peer-network.ts'
import type { Scheduler } from './scheduler.ts'
import type { LogChange, ReplicatedLog } from './sync-log.ts'
import { hintTopic } from './sync-offer.ts'
import { runSync, type SyncOutcome } from './sync-run.ts'

/** What the logs of one replicator share. */
export interface ReplicatorContext {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  /** A number from 0 up to 1: for jitter and choice, nothing secret. */
  readonly random: () => number
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
  /** Runs a round when there is room for it. @throws the signal's reason */
  readonly inTurn: <T>(signal: AbortSignal, work: () => Promise<T>) => Promise<T>
  /** Sends new entries to a connected agent. */
  readonly push: (agent: Uint8Array, log: ReplicatedLog, entries: readonly Uint8Array[]) => void
  /** Who has a role may have changed. */
  readonly onAuthChanged: () => void
}

/** How it stands between this node and another agent in one namespace. */
export interface PeerSyncStatus {
  /** 32 bytes. */
  readonly agent: Uint8Array
  /** When the last round that worked ended, milliseconds since 1970. */
  readonly lastSyncAt: number | undefined
  /** How the last round ended. */
  readonly outcome: 'same' | 'exchanged' | 'denied' | 'failed' | undefined
  /** Code of the failure, if it failed. */
  readonly error: ErrorCode | undefined
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

interface Peer {
  readonly agent: Uint8Array
  lastSyncAt: number | undefined
  rounds: number
  outcome: PeerSyncStatus['outcome']
  error: PeerSyncStatus['error']
  /** It has shown, on this connection, that it has this log: what is new can be pushed to it. */
  inTouch: boolean
  /** The round under way. */
  running: Promise<void> | undefined
  /** Another round is due after the one under way, or when the wait is over. */
  again: boolean
  failures: number
  /** Ends the wait after a failure. */
  cooling: (() => void) | undefined
}

type TimerName = 'every' | 'hint' | 'hint-rest' | 'check' | 'dial' | 'heal'

/** Who may rotate heals after this; everybody else gives them time, each another: one is enough. */
const healDelayMs = 100
const healOfOthersMs = { from: 2_000, to: 10_000 }
/** Rounds that follow one another at once with one agent, while forks come to light. */
const maxRoundsInRow = 4
/** Own changes of a moment go into one hint. */
const hintDelayMs = 10
/** Others' changes are told later: whoever wrote them tells first. */
const hintOfOthersMs = 100
/** At most one hint in this time, and always one after the last change. */
const hintEveryMs = 500
/** An unknown hash is looked into after this, and twice as long at most: the entries are on their way. */
const hintCheckMs = 25
/** The same, when its sender pushes to this node: as long as entries come, hashes are bound to differ. */
const hintCheckPushedMs = 500
/** How often that is put off. */
const maxHintChecks = 10
/** Hashes of this log that were told or seen lately. */
const maxRecentHashes = 64
/** Agents that are dialled at once when nobody is connected. */
const dialsAtOnce = 3

/** One log that is kept in step: when to run a round with whom. */
export class ReplicatedNamespace {
  readonly log: ReplicatedLog
  readonly #context: ReplicatorContext
  readonly #topic: string
  readonly #ending = new AbortController()
  readonly #peers = new Map<string, Peer>()
  /** Agents named by tickets: they may know this node before its log knows them. */
  readonly #known = new Map<string, Uint8Array>()
  readonly #timers = new Map<TimerName, () => void>()
  readonly #stops: (() => void)[]
  readonly #recent = new Set<string>()
  readonly #behind = new Map<string, number>()
  readonly #healing = new Set<Promise<void>>()
  #lastError: NamespaceSyncStatus['lastError']
  #lastSyncAt: number | undefined
  #hintDue = false
  #changes = 0
  #dialFailures = 0

  constructor(log: ReplicatedLog, context: ReplicatorContext) {
    this.log = log
    this.#context = context
    this.#topic = hintTopic(log.id)
    this.#stops = [
      log.subscribe((change) => this.#onChange(change)),
      context.network.onHint(this.#topic, (payload, from) => this.#onHint(payload, from)),
    ]
    this.#every()
    this.#healSoon()
    this.dial()
  }

  /** Agents that may be dialled though the log does not know them. */
  know(agents: Iterable<Uint8Array>): void {
    for (const agent of agents) if (!equalBytes(agent, this.#context.self)) this.#known.set(toHex(agent), agent)
    this.dial()
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
    return this.#context.network
      .connected()
      .filter((agent) => this.#isOther(agent) && this.log.roleOf(agent) !== undefined)
  }

  /** Whether an agent has a role or is named by a ticket. */
  isOfInterest(agent: Uint8Array): boolean {
    return this.#isOther(agent) && (this.log.roleOf(agent) !== undefined || this.#known.has(toHex(agent)))
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
    return this.#peers.get(toHex(agent))?.rounds ?? 0
  }

  /** Runs a round with an agent soon: after the one under way, or after the wait that failures brought. */
  request(agent: Uint8Array, options: { urgent?: boolean; wants?: boolean } = {}): void {
    if (this.#ending.signal.aborted || !this.#isOther(agent)) return
    const peer = this.#peer(agent)
    if (peer === undefined) return
    if (options.urgent === true) {
      peer.cooling?.()
      peer.cooling = undefined
    }
    if (peer.running !== undefined || peer.cooling !== undefined) peer.again = true
    else this.#start(peer, options.wants === true)
  }

  /** A round with an agent, begun now, whoever waits; resolves when it is through. @throws what `runSync` throws */
  async sync(agent: Uint8Array, signal?: AbortSignal): Promise<SyncOutcome> {
    const both = signal === undefined ? this.#ending.signal : AbortSignal.any([signal, this.#ending.signal])
    const peer = this.#peer(agent)
    try {
      const outcome = await this.#round(agent, true, both)
      if (peer !== undefined) this.#succeeded(peer, outcome)
      return outcome
    } catch (error) {
      if (peer !== undefined && !both.aborted) this.#failed(peer, error)
      throw error
    }
  }

  /** The other side has shown that it is where this log is, or has brought it there. */
  heardFrom(agent: Uint8Array, result: 'same' | 'exchanged'): void {
    const peer = this.#peer(agent)
    if (peer === undefined) return
    peer.cooling?.()
    peer.cooling = undefined
    peer.again = false
    peer.failures = 0
    this.#worked(peer, result)
  }

  /** A connection is new: what failed on the one before says nothing. */
  onConnected(agent: Uint8Array): void {
    this.#stopTimer('dial')
    this.#dialFailures = 0
    const peer = this.#peers.get(toHex(agent))
    if (peer === undefined) return
    peer.cooling?.()
    peer.cooling = undefined
    peer.failures = 0
    peer.inTouch = false
  }

  /** Dials members, if nobody of them is connected. */
  dial(): void {
    if (this.#ending.signal.aborted || this.#timers.has('dial') || this.connectedMembers().length > 0) return
    const wait = this.#dialFailures === 0 ? 0 : this.#backoff(this.#dialFailures)
    this.#setTimer('dial', wait, () => {
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
    for (const stop of this.#stops.splice(0)) stop()
    for (const name of [...this.#timers.keys()]) this.#stopTimer(name)
    for (const peer of this.#peers.values()) peer.cooling?.()
    await Promise.all([...[...this.#peers.values()].map(({ running }) => running), ...this.#healing])
  }

  #isOther(agent: Uint8Array): boolean {
    return !equalBytes(agent, this.#context.self)
  }

  /** What is known of an agent; `undefined` when too many strangers have asked already. */
  #peer(agent: Uint8Array): Peer | undefined {
    const name = toHex(agent)
    const found = this.#peers.get(name)
    if (found !== undefined) return found
    if (this.log.roleOf(agent) === undefined && !this.#known.has(name)) {
      const strangers = [...this.#peers].filter(([, peer]) => this.log.roleOf(peer.agent) === undefined)
      const forgotten = strangers.find(([, peer]) => peer.running === undefined && peer.cooling === undefined)
      if (strangers.length >= maxSyncStrangers && forgotten === undefined) return undefined
      if (strangers.length >= maxSyncStrangers) this.#peers.delete((forgotten as [string, Peer])[0])
    }
    const peer: Peer = {
      agent: Uint8Array.from(agent),
      lastSyncAt: undefined,
      rounds: 0,
      outcome: undefined,
      error: undefined,
      inTouch: false,
      running: undefined,
      again: false,
      failures: 0,
      cooling: undefined,
    }
    this.#peers.set(name, peer)
    return peer
  }

  #start(peer: Peer, wants: boolean): void {
    peer.again = false
    peer.running = this.#rounds(peer, wants).finally(() => {
      peer.running = undefined
      if (peer.again && peer.cooling === undefined) this.request(peer.agent)
    })
  }

  async #rounds(peer: Peer, wants: boolean): Promise<void> {
    const { signal } = this.#ending
    try {
      for (let round = 0; round < maxRoundsInRow; round++) {
        const outcome = await this.#round(peer.agent, wants && round === 0, signal)
        this.#succeeded(peer, outcome)
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
      return await this.#context.inTurn(signal, () =>
        runSync({ network, scheduler, log: this.log, agent, wants, onBehind, signal }),
      )
    } finally {
      this.#behind.delete(name)
    }
  }

  #succeeded(peer: Peer, outcome: SyncOutcome): void {
    if (outcome.theirHash !== undefined) this.#remember(outcome.theirHash)
    if (outcome.result === 'denied') {
      peer.inTouch = false
      peer.outcome = 'denied'
      peer.error = 'ACCESS_DENIED'
      this.#cool(peer)
      return
    }
    this.#worked(peer, outcome.result)
    // Whoever is still a stranger after a round has only used it up.
    if (this.log.roleOf(peer.agent) === undefined) this.#cool(peer)
    else peer.failures = 0
  }

  #worked(peer: Peer, result: 'same' | 'exchanged'): void {
    peer.rounds += 1
    peer.inTouch = true
    peer.outcome = result
    peer.error = undefined
    peer.lastSyncAt = this.#context.scheduler.now()
    this.#lastSyncAt = peer.lastSyncAt
    this.#lastError = undefined
  }

  #failed(peer: Peer, error: unknown): void {
    peer.outcome = 'failed'
    peer.error = this.#note(error)
    this.#cool(peer)
  }

  #note(error: unknown): ErrorCode {
    const code = isHubError(error) ? error.code : 'INTERNAL'
    this.#lastError = { code, message: error instanceof Error ? error.message : String(error) }
    return code
  }

  #cool(peer: Peer): void {
    peer.failures += 1
    peer.cooling?.()
    const stop = this.#context.scheduler.setTimer(this.#backoff(peer.failures), () => {
      peer.cooling = undefined
      const isConnected = this.#context.network.connected().some((agent) => equalBytes(agent, peer.agent))
      if (peer.again || isConnected) this.request(peer.agent)
    })
    peer.cooling = stop
  }

  #backoff(failures: number): number {
    const { from, to } = syncBackoffMs
    return Math.min(to, from * 2 ** Math.min(failures - 1, 20)) * (0.5 + this.#context.random() / 2)
  }

  #every(): void {
    const { from, to } = syncEveryMs
    this.#setTimer('every', from + this.#context.random() * (to - from), () => {
      const members = this.connectedMembers()
      const agent = members[Math.floor(this.#context.random() * members.length)]
      if (agent === undefined) this.dial()
      else this.request(agent, { wants: true })
      this.#every()
    })
  }

  #onChange({ written, received, authChanged }: LogChange): void {
    this.#changes += 1
    if (written.length > 0) {
      const inTouch = this.connectedMembers().filter((agent) => this.#isInTouch(agent))
      for (const agent of inTouch.slice(0, maxPushPeers)) this.#context.push(agent, this.log, written)
    }
    if (written.length + received > 0) this.#hint(written.length > 0 ? hintDelayMs : hintOfOthersMs)
    if (authChanged) {
      this.#context.onAuthChanged()
      this.#healSoon()
      this.dial()
    }
  }

  #healSoon(): void {
    const role = this.log.roleOf(this.#context.self)
    if (this.log.heal === undefined || !['owner', 'admin', 'writer'].includes(role ?? '')) return
    const { from, to } = healOfOthersMs
    const delay = role === 'writer' ? from + this.#context.random() * (to - from) : healDelayMs
    this.#setTimer('heal', delay, () => {
      const healing = this.#heal()
      this.#healing.add(healing)
      void healing.then(() => this.#healing.delete(healing))
    })
  }

  async #heal(): Promise<void> {
    try {
      await this.log.heal?.()
    } catch (error) {
      if (!this.#ending.signal.aborted) this.#note(error)
    }
  }

  /** Who is not, or has failed lately, gets all of it in a round. */
  #isInTouch(agent: Uint8Array): boolean {
    const peer = this.#peers.get(toHex(agent))
    return peer?.inTouch === true && peer.cooling === undefined
  }

  #hint(delayMs: number): void {
    this.#hintDue = true
    if (this.#timers.has('hint-rest')) return
    if (this.#timers.has('hint') && delayMs > hintDelayMs) return
    this.#setTimer('hint', delayMs, () => {
      this.#hintDue = false
      const hash = this.log.vectorHash
      this.#remember(hash)
      this.#context.network.hint(this.#topic, hash)
      this.#setTimer('hint-rest', hintEveryMs, () => {
        if (this.#hintDue) this.#hint(hintDelayMs)
      })
    })
  }

  #onHint(payload: Uint8Array, from: Uint8Array): void {
    // Strangers that know the topic could keep this node busy: they are not heard.
    if (!this.#isOther(from) || this.log.roleOf(from) === undefined) return
    if (payload.length !== 32) {
      this.#context.network.penalise(from, 'bad-frame')
      return
    }
    if (this.#timers.has('check') || this.#isKnown(payload)) return
    this.#check(payload, from, 0)
  }

  #check(hash: Uint8Array, from: Uint8Array, checks: number): void {
    const isConnected = this.connectedMembers().some((agent) => equalBytes(agent, from))
    const delay = (isConnected && checks > 0 ? hintCheckPushedMs : hintCheckMs) * (1 + this.#context.random())
    const changes = this.#changes
    this.#setTimer('check', delay, () => {
      if (this.#isKnown(hash)) return
      const isMoving = this.#changes !== changes
      if (isConnected && isMoving && checks < maxHintChecks) {
        this.#check(hash, from, checks + 1)
        return
      }
      this.#remember(hash)
      const members = this.connectedMembers()
      const agent = isConnected ? from : members[Math.floor(this.#context.random() * members.length)]
      if (agent !== undefined) this.request(agent)
    })
  }

  #isKnown(hash: Uint8Array): boolean {
    return equalBytes(hash, this.log.vectorHash) || this.#recent.has(toHex(hash))
  }

  #remember(hash: Uint8Array): void {
    this.#recent.add(toHex(hash))
    if (this.#recent.size > maxRecentHashes) this.#recent.delete(this.#recent.keys().next().value as string)
  }

  #setTimer(name: TimerName, delayMs: number, work: () => void): void {
    this.#stopTimer(name)
    const stop = this.#context.scheduler.setTimer(delayMs, () => {
      this.#timers.delete(name)
      work()
    })
    this.#timers.set(name, stop)
  }

  #stopTimer(name: TimerName): void {
    this.#timers.get(name)?.()
    this.#timers.delete(name)
  }
}
