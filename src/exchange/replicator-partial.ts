import type { Capability } from '../capability/index.ts'
import { equalBytes, toHex } from '../encoding/index.ts'
import { type ErrorCode, isHubError } from '../errors.ts'
import { maxDenialsExplained, maxFollowsInFrame, maxFollowsLookedAt, syncBackoffMs, syncEveryMs } from '../limits.ts'
import { type FollowItem, runFollowBatch } from './follow-batch.ts'
import { runFollowRound } from './follow-round.ts'
import { NamedTimers } from './named-timers.ts'
import type { NamespaceSyncStatus, ReplicatorContext } from './replicator-log.ts'
import { type SyncPeer, SyncPeers, warmUp } from './replicator-peers.ts'
import type { ReplicatedLog } from './sync-log.ts'
import { onStream } from './sync-run.ts'
import type { SyncStream } from './sync-stream.ts'
import { UnderWay } from './under-way.ts'

/** Something that this agent follows in a namespace that it is no member of. */
export interface Following {
  readonly capability: Capability
  readonly scope: FollowItem['scope']
  /** What shows the right to an agent (`encodePresentation`); `undefined` while it cannot be shown. */
  readonly present: (provider: Uint8Array) => Uint8Array | undefined
  /** Of this alone, and another when something else is shown: whoever was shown that is asked again. */
  readonly name: string
}

/** Agents that news are awaited from at once: the others are asked when these are gone. */
const maxSources = 3
/** Rounds that follow one another at once about one thing, while forks come to light. */
const maxRoundsInRow = 4

/**
 * One log of which only some artifacts are here: asks members, and whom tokens name, for what capabilities let this agent see.
 * Nothing is brought to them, and what they say against a capability is believed only as far as entries prove it.
 */
export class ReplicatedPartial {
  readonly log: ReplicatedLog
  readonly #context: ReplicatorContext
  readonly #ending = new AbortController()
  readonly #timers: NamedTimers<'every' | 'dial'>
  readonly #peers: SyncPeers
  /** Agents that tokens name: they are dialled first. */
  readonly #known = new Map<string, Uint8Array>()
  #following: readonly Following[] = []
  /** By agent in hex, what it has told all of on this connection, as far as is known. */
  readonly #told = new Map<string, Set<string>>()
  /** Where among what is followed a look at what is in step goes on. */
  #nextLook = 0
  #lastSyncAt: number | undefined
  #lastError: NamespaceSyncStatus['lastError']
  #dialFailures = 0
  /** Those that somebody waits for. */
  readonly #syncing = new UnderWay()
  readonly #stopListening: () => void

  constructor(log: ReplicatedLog, context: ReplicatorContext) {
    this.log = log
    this.#context = context
    this.#timers = new NamedTimers(context.scheduler)
    this.#peers = new SyncPeers((agent) => !this.isOfInterest(agent))
    this.#stopListening = log.subscribe(({ removed = 0 }) => {
      if (removed > 0) this.#askAnew()
    })
    this.#every()
  }

  /** What is followed from now on, all of it, and who may be asked. */
  set(following: readonly Following[], peers: Iterable<Uint8Array>): void {
    this.#following = following
    this.#known.clear()
    for (const agent of peers) if (this.#isOther(agent)) this.#known.set(toHex(agent), agent)
    for (const peer of this.#peers.values()) {
      const told = this.#told.get(toHex(peer.agent))
      // What was shown before may be worth nothing now, and there may be more to ask for.
      if (told !== undefined && following.every(({ name }) => told.has(name))) continue
      warmUp(peer)
      peer.inTouch = false
    }
    this.#askConnected()
  }

  get status(): NamespaceSyncStatus {
    const peers = [...this.#peers.values()].map(({ agent, lastSyncAt, outcome, error }) => ({
      agent,
      lastSyncAt,
      outcome,
      error,
    }))
    return { behind: 0, lastSyncAt: this.#lastSyncAt, lastError: this.#lastError, peers }
  }

  /** Whether an agent is a member, or named by a token. */
  isOfInterest(agent: Uint8Array): boolean {
    return this.#known.has(toHex(agent)) || (this.#isOther(agent) && this.log.roleOf(agent) !== undefined)
  }

  /** Asks an agent soon: after the round under way, or after the wait that failures brought. */
  request(agent: Uint8Array): void {
    if (this.#ending.signal.aborted || !this.#isOther(agent)) return
    const peer = this.#peers.get(agent)
    if (peer === undefined) return
    if (peer.running !== undefined || peer.cooling !== undefined) peer.again = true
    else this.#start(peer)
  }

  /** A connection is new: what failed on the one before says nothing. */
  onConnected(agent: Uint8Array): void {
    this.#told.delete(toHex(agent))
    const peer = this.#peers.find(agent)
    if (peer !== undefined) {
      warmUp(peer)
      peer.inTouch = false
    }
    this.#dialFailures = 0
    this.#askConnected()
  }

  onLost(agent: Uint8Array): void {
    this.#told.delete(toHex(agent))
    const peer = this.#peers.find(agent)
    if (peer !== undefined) peer.inTouch = false
    this.#dialFailures = 0
    this.#askConnected()
  }

  /**
   * Asks one after another, the connected ones first, until somebody has told all that there is. Gives whether somebody did.
   * @throws the signal's reason
   */
  async sync(signal?: AbortSignal): Promise<boolean> {
    return await this.#syncing.add(this.#sync(signal))
  }

  async #sync(signal: AbortSignal | undefined): Promise<boolean> {
    const both = signal === undefined ? this.#ending.signal : AbortSignal.any([signal, this.#ending.signal])
    const connected = this.#connected()
    const names = new Set(connected.map(toHex))
    for (const agent of [...connected, ...this.#dialable().filter((one) => !names.has(toHex(one)))]) {
      both.throwIfAborted()
      const peer = this.#peers.get(agent)
      if (peer === undefined) continue
      const isTold = await this.#rounds(agent, both).catch((error) => {
        this.#note(error)
        return false
      })
      if (!isTold) continue
      this.#worked(peer)
      return true
    }
    both.throwIfAborted()
    return false
  }

  /** Stops; resolves when nothing of it is under way. Idempotent. */
  async close(): Promise<void> {
    this.#ending.abort(new DOMException('it is not followed any more', 'AbortError'))
    this.#timers.close()
    this.#stopListening()
    for (const peer of this.#peers.values()) peer.cooling?.()
    await Promise.all([...[...this.#peers.values()].map(({ running }) => running), this.#syncing.ended()])
  }

  #isOther(agent: Uint8Array): boolean {
    return !equalBytes(agent, this.#context.self)
  }

  #connected(): Uint8Array[] {
    return this.#context.network.connected().filter((agent) => this.isOfInterest(agent))
  }

  /** Asks those who are connected, as many as are enough; dials if nobody is. */
  #askConnected(): void {
    if (this.#ending.signal.aborted || this.#following.length === 0) return
    const connected = this.#connected()
    let sources = connected.filter((agent) => this.#peers.find(agent)?.inTouch === true).length
    for (const agent of this.#shuffled(connected)) {
      if (sources >= maxSources) break
      const peer = this.#peers.get(agent)
      if (peer === undefined || peer.inTouch || peer.cooling !== undefined) continue
      this.request(agent)
      sources += 1
    }
    if (sources === 0) this.#dial()
  }

  /** Entries were taken out: whoever has told all has to be asked for these. */
  #askAnew(): void {
    this.#told.clear()
    for (const peer of this.#peers.values()) peer.inTouch = false
    this.#askConnected()
  }

  #dial(): void {
    if (this.#ending.signal.aborted || this.#timers.has('dial') || this.#hasSource()) return
    const wait = this.#dialFailures === 0 ? 0 : this.#backoff(this.#dialFailures)
    this.#timers.set('dial', wait, () => {
      if (this.#hasSource() || this.#following.length === 0) return
      const candidates = this.#dialable()
      if (candidates.length === 0) return
      for (const agent of candidates) this.request(agent)
      this.#dialFailures += 1
      this.#dial()
    })
  }

  #hasSource(): boolean {
    return this.#connected().some((agent) => this.#peers.find(agent)?.inTouch === true)
  }

  /** Some to try: of those whom tokens name, then of the members. */
  #dialable(): Uint8Array[] {
    const members = [...this.log.memberAgents()].filter(
      (agent) => this.#isOther(agent) && !this.#known.has(toHex(agent)),
    )
    const named = this.#shuffled([...this.#known.values()])
    // One of the others too: those whom a token names may be gone for good.
    const first = named.slice(0, members.length > 0 ? maxSources - 1 : maxSources)
    return [...first, ...this.#shuffled(members).slice(0, maxSources - first.length)]
  }

  #shuffled(agents: readonly Uint8Array[]): Uint8Array[] {
    return agents
      .map((agent) => ({ agent, at: this.#context.random() }))
      .sort((a, b) => a.at - b.at)
      .map(({ agent }) => agent)
  }

  #every(): void {
    const { from, to } = syncEveryMs
    this.#timers.set('every', (from + this.#context.random() * (to - from)) * this.#context.stretch(), () => {
      const [agent] = this.#shuffled(this.#connected())
      if (agent !== undefined) this.request(agent)
      this.#askConnected()
      this.#every()
    })
  }

  #start(peer: SyncPeer): void {
    peer.again = false
    const run = async (): Promise<void> => {
      try {
        const isTold = await this.#context.inTurn(peer.agent, this.#ending.signal, (signal) =>
          this.#rounds(peer.agent, signal),
        )
        if (isTold) this.#worked(peer)
        else this.#failed(peer, 'ACCESS_DENIED')
      } catch (error) {
        if (!this.#ending.signal.aborted) this.#failed(peer, this.#note(error))
      }
    }
    peer.running = run().finally(() => {
      peer.running = undefined
      if (peer.again && peer.cooling === undefined && !this.#ending.signal.aborted) this.#start(peer)
    })
  }

  /**
   * Asks for what an agent has not told yet on this connection; when that is nothing, looks at some of it again. Gives whether the other
   * served any.
   */
  async #rounds(agent: Uint8Array, signal: AbortSignal): Promise<boolean> {
    const { network, scheduler } = this.#context
    const told = this.#told.get(toHex(agent)) ?? new Set<string>()
    this.#told.set(toHex(agent), told)
    const fresh = this.#following.filter(({ name }) => !told.has(name))
    const due = fresh.length > 0 ? fresh : this.#someAgain()
    if (due.length === 0) return false
    return await onStream({ network, scheduler, agent, signal }, async (stream) => {
      let isServed = false
      for (let at = 0; at < due.length; ) {
        const { asked, served } = await this.#batch(stream, due.slice(at, at + maxFollowsInFrame))
        for (const { name } of due.slice(at, at + asked)) {
          if (served.has(name)) told.add(name)
          else told.delete(name)
        }
        isServed ||= served.size > 0
        at += asked
      }
      return isServed
    })
  }

  /** Asks about as many as one message takes, from the first on, until they are in step. Gives how many it was about, and which were served. */
  async #batch(
    stream: SyncStream,
    some: readonly Following[],
  ): Promise<{ readonly asked: number; readonly served: ReadonlySet<string> }> {
    const { agent } = stream
    const shown = some.flatMap((one) => {
      const presentation = one.present(agent)
      const { claims } = one.capability
      return presentation === undefined ? [] : [{ one, item: { scope: one.scope, claims, presentation } }]
    })
    const served = new Set<string>()
    if (shown.length === 0) return { asked: some.length, served }
    let open = shown
    let asked = 0
    for (let rounds = 0; rounds < maxRoundsInRow && open.length > 0; rounds++) {
      const outcome = await runFollowBatch(
        stream,
        this.log,
        open.map(({ item }) => item),
      )
      const isWhole = outcome.asked === open.length
      if (rounds === 0) asked = isWhole ? some.length : some.indexOf((open[outcome.asked] as (typeof open)[0]).one)
      const denied = open.filter((_, at) => outcome.denied.has(at))
      for (const { one } of open.slice(0, outcome.asked)) served.add(one.name)
      for (const { one } of denied) served.delete(one.name)
      await this.#explain(stream, denied)
      open = outcome.stored === 0 ? [] : open.filter((_, at) => outcome.lacking.has(at))
    }
    return { asked, served }
  }

  /** Asks why some are denied, unless what was said of one before ended them. What is said is for whoever follows them to see: a denial alone ends nothing. */
  async #explain(
    stream: SyncStream,
    denied: readonly { readonly one: Following; readonly item: FollowItem }[],
  ): Promise<void> {
    for (const { item } of denied.slice(0, maxDenialsExplained)) {
      if (this.log.isIssued?.(item.claims) === true && this.#isEnded(item)) continue
      const outcome = await runFollowRound(stream, { log: this.log, ...item })
      if (outcome.evidence.length > 0)
        await this.log.receive(outcome.evidence, { signal: stream.signal, from: stream.agent })
    }
  }

  /** Whether the log says itself that it gives nothing, whoever shows it. */
  #isEnded({ claims }: FollowItem): boolean {
    const { self } = this.#context
    const presentation = { capability: { claims, token: new Uint8Array(0) }, proof: undefined }
    const verdict = this.log.allows?.({
      presentation,
      agent: self,
      provider: self,
      nowMs: this.#context.scheduler.now(),
    })
    return verdict?.allowed === false && (verdict.reason === 'REVOKED' || verdict.reason === 'ISSUER_REMOVED')
  }

  /** Some of what is in step as far as is known: in turn all of it. */
  #someAgain(): Following[] {
    const some = this.#following.slice(this.#nextLook, this.#nextLook + maxFollowsLookedAt)
    this.#nextLook += some.length
    if (this.#nextLook >= this.#following.length) this.#nextLook = 0
    return some
  }

  #worked(peer: SyncPeer): void {
    warmUp(peer)
    peer.rounds += 1
    peer.inTouch = this.#context.network.connected().some((agent) => equalBytes(agent, peer.agent))
    peer.outcome = 'exchanged'
    peer.error = undefined
    peer.lastSyncAt = this.#context.scheduler.now()
    this.#lastSyncAt = peer.lastSyncAt
    this.#lastError = undefined
    this.#timers.stop('dial')
    this.#dialFailures = 0
  }

  #failed(peer: SyncPeer, code: ErrorCode): void {
    if (this.#ending.signal.aborted) return
    this.#told.delete(toHex(peer.agent))
    peer.outcome = code === 'ACCESS_DENIED' ? 'denied' : 'failed'
    peer.error = code
    peer.inTouch = false
    peer.failures += 1
    peer.cooling?.()
    peer.cooling = this.#context.scheduler.setTimer(this.#backoff(peer.failures), () => {
      peer.cooling = undefined
      const isConnected = this.#context.network.connected().some((agent) => equalBytes(agent, peer.agent))
      if (peer.again || isConnected) this.request(peer.agent)
    })
    this.#dial()
  }

  #note(error: unknown): ErrorCode {
    const code = isHubError(error) ? error.code : 'INTERNAL'
    this.#lastError = { code, message: error instanceof Error ? error.message : String(error) }
    return code
  }

  #backoff(failures: number): number {
    const { from, to } = syncBackoffMs
    return Math.min(to, from * 2 ** Math.min(failures - 1, 20)) * (0.5 + this.#context.random() / 2)
  }
}
