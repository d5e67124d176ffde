import { toHex } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import type { Misbehaviour, PeerNetwork, PeerStream, StreamHandler } from '../../src/exchange/peer-network.ts'
import type { Scheduler } from '../../src/exchange/scheduler.ts'

/** How streams behave. */
export interface MemoryNetworkOptions {
  /** Bytes that one half of a stream takes before its writer waits. Default 256 KiB, yamux's first window. */
  readonly windowBytes?: number
  /** Longest piece that a read gives; asked for every piece. Default 64 KiB. */
  readonly pieceBytes?: () => number
}

/** What one stream delivers in one turn of the event loop at most. */
const turnBytes = 256 * 1024

/**
 * Agents' nodes in one process. Streams are ordered, cut bytes as they like, copy them (nobody sees a later change of what
 * it was handed), and hold at most a window a half. Nothing is delivered in the step that sent it.
 */
export class MemoryNetwork {
  readonly windowBytes: number
  readonly pieceBytes: () => number
  readonly #peers = new Map<string, MemoryPeer>()

  constructor(options: MemoryNetworkOptions = {}) {
    this.windowBytes = options.windowBytes ?? 256 * 1024
    this.pieceBytes = options.pieceBytes ?? (() => 64 * 1024)
  }

  /** A node for an agent (32 bytes), connected to nobody yet. Its address is `/memory/<hex of the agent>`. */
  join(agent: Uint8Array): MemoryPeer {
    const peer = new MemoryPeer(this, agent)
    this.#peers.set(toHex(agent), peer)
    return peer
  }

  /** The node of an agent that joined and has not left. */
  find(agent: Uint8Array): MemoryPeer | undefined {
    return this.#peers.get(toHex(agent))
  }

  /** Connects two nodes; both hear of it. */
  connect(a: MemoryPeer, b: MemoryPeer): void {
    a.link(b)
    b.link(a)
  }

  /** Ends the connection of two nodes and cuts its streams; both hear of it. */
  disconnect(a: MemoryPeer, b: MemoryPeer): void {
    a.unlink(b)
    b.unlink(a)
  }

  /** Cuts all connections of a node; nobody reaches it until its agent joins again. */
  leave(peer: MemoryPeer): void {
    this.#peers.delete(toHex(peer.agent))
    for (const agent of peer.connected()) {
      const other = this.find(agent)
      if (other !== undefined) this.disconnect(peer, other)
    }
  }

  /** Ends of streams that neither were closed or cut, nor have both halves ended. */
  get openStreams(): number {
    let open = 0
    for (const peer of this.#peers.values()) open += peer.openStreams
    return open
  }
}

/** One agent's node. */
export class MemoryPeer implements PeerNetwork {
  readonly agent: Uint8Array
  /** What was held against whom, in order: agent in hex and what it did. */
  readonly penalties: { readonly agent: string; readonly misbehaviour: Misbehaviour }[] = []
  /** What handlers here rejected with. */
  readonly handlerErrors: unknown[] = []
  /** Bulk streams that this node has opened. */
  bulkStreams = 0
  /** Whether others may open bulk streams to it. */
  servesBulk = true
  readonly #network: MemoryNetwork
  readonly #links = new Map<string, MemoryPeer>()
  readonly #addresses = new Set<string>()
  readonly #handlers = new Map<string, StreamHandler>()
  readonly #bulk = new Set<string>()
  readonly #peerListeners = new Set<(agent: Uint8Array, connected: boolean) => void>()
  readonly #hintListeners = new Map<string, Set<(payload: Uint8Array, from: Uint8Array) => void>>()
  readonly #streams = new Set<MemoryStream>()

  constructor(network: MemoryNetwork, agent: Uint8Array) {
    this.#network = network
    this.agent = agent
  }

  get openStreams(): number {
    return this.#streams.size
  }

  connected(): readonly Uint8Array[] {
    return [...this.#links.values()].map((peer) => peer.agent)
  }

  async open(
    agent: Uint8Array,
    protocol: string,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<PeerStream> {
    options.signal?.throwIfAborted()
    await nextStep()
    options.signal?.throwIfAborted()
    let peer = this.#links.get(toHex(agent))
    if (peer === undefined) {
      if (!this.#addresses.has(addressOf(agent))) throw unreachable('unknown address')
      peer = this.#network.find(agent)
      if (peer === undefined) throw unreachable('refused')
      this.#network.connect(this, peer)
    }
    const handler = peer.#handlers.get(protocol)
    if (handler === undefined) throw unreachable('protocol not spoken')
    const there = new Half(this.#network)
    const back = new Half(this.#network)
    const mine = new MemoryStream(peer.agent, back, there, this.#streams)
    const theirs = new MemoryStream(this.agent, there, back, peer.#streams)
    mine.other = theirs
    theirs.other = mine
    void peer.#serve(handler, theirs)
    return mine
  }

  /** As `open`, to agents that serve that protocol so. */
  async openBulk(
    agent: Uint8Array,
    protocol: string,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<PeerStream | undefined> {
    const peer = this.#links.get(toHex(agent))
    if (peer === undefined || !peer.servesBulk || !peer.#bulk.has(protocol)) return undefined
    this.bulkStreams++
    return await this.open(agent, protocol, options)
  }

  handle(protocol: string, handler: StreamHandler, { bulk = false }: { readonly bulk?: boolean } = {}): () => void {
    this.#handlers.set(protocol, handler)
    if (bulk) this.#bulk.add(protocol)
    return () => {
      if (this.#handlers.get(protocol) !== handler) return
      this.#handlers.delete(protocol)
      this.#bulk.delete(protocol)
    }
  }

  onPeer(listener: (agent: Uint8Array, connected: boolean) => void): () => void {
    this.#peerListeners.add(listener)
    return () => this.#peerListeners.delete(listener)
  }

  hint(topic: string, payload: Uint8Array): void {
    if (payload.length > 64 * 1024) throw new RangeError('a hint is at most 64 KiB')
    const copy = payload.slice()
    for (const peer of this.#links.values()) {
      void nextStep().then(() => {
        for (const listener of peer.#hintListeners.get(topic) ?? []) listener(copy.slice(), this.agent)
      })
    }
  }

  onHint(topic: string, listener: (payload: Uint8Array, from: Uint8Array) => void): () => void {
    const listeners = this.#hintListeners.get(topic) ?? new Set()
    this.#hintListeners.set(topic, listeners)
    listeners.add(listener)
    return () => listeners.delete(listener)
  }

  addAddresses(_agent: Uint8Array, addresses: readonly string[]): void {
    for (const address of addresses) this.#addresses.add(address)
  }

  addresses(): readonly string[] {
    return [addressOf(this.agent)]
  }

  penalise(agent: Uint8Array, misbehaviour: Misbehaviour): void {
    this.penalties.push({ agent: toHex(agent), misbehaviour })
  }

  /** For `MemoryNetwork`. */
  link(peer: MemoryPeer): void {
    if (this.#links.has(toHex(peer.agent))) return
    this.#links.set(toHex(peer.agent), peer)
    for (const listener of this.#peerListeners) listener(peer.agent, true)
  }

  /** For `MemoryNetwork`. */
  unlink(peer: MemoryPeer): void {
    if (!this.#links.delete(toHex(peer.agent))) return
    for (const stream of [...this.#streams]) {
      if (toHex(stream.agent) === toHex(peer.agent)) stream.abort(new Error('the connection ended'))
    }
    for (const listener of this.#peerListeners) listener(peer.agent, false)
  }

  async #serve(handler: StreamHandler, stream: MemoryStream): Promise<void> {
    await nextStep()
    try {
      await handler(stream, stream.cut)
      await stream.close()
    } catch (error) {
      this.handlerErrors.push(error)
      stream.abort(error as Error)
    }
  }
}

/** Bytes on their way in one direction. */
class Half {
  readonly #network: MemoryNetwork
  readonly #pieces: Uint8Array[] = []
  readonly #waiting = new Set<() => void>()
  #bytes = 0
  ended = false
  /** The reader wants no more: what is written vanishes. */
  unread = false
  failure: Error | undefined

  constructor(network: MemoryNetwork) {
    this.#network = network
  }

  get isFull(): boolean {
    return this.#bytes >= this.#network.windowBytes && !this.unread
  }

  push(bytes: Uint8Array): void {
    if (this.unread || bytes.length === 0) return
    this.#pieces.push(bytes.slice())
    this.#bytes += bytes.length
    this.changed()
  }

  take(): Uint8Array | undefined {
    const first = this.#pieces.shift()
    if (first === undefined) return undefined
    const piece = first.subarray(0, Math.max(1, this.#network.pieceBytes()))
    if (piece.length < first.length) this.#pieces.unshift(first.subarray(piece.length))
    this.#bytes -= piece.length
    this.changed()
    return piece
  }

  drop(): void {
    this.unread = true
    this.#pieces.length = 0
    this.#bytes = 0
    this.changed()
  }

  changed(): void {
    for (const wake of this.#waiting) wake()
  }

  /** Resolves at the next change. @throws the signal's reason */
  async change(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake)
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      this.#waiting.add(wake)
      signal?.addEventListener('abort', wake)
    })
    signal?.throwIfAborted()
  }
}

class MemoryStream implements PeerStream {
  readonly agent: Uint8Array
  readonly #in: Half
  readonly #out: Half
  readonly #open: Set<MemoryStream>
  readonly #cut = new AbortController()
  #sinceTurn = 0
  /** The end at the other agent. */
  other: MemoryStream | undefined

  constructor(agent: Uint8Array, from: Half, to: Half, open: Set<MemoryStream>) {
    this.agent = agent
    this.#in = from
    this.#out = to
    this.#open = open
    open.add(this)
  }

  /** Aborted when the stream is cut, by either side. */
  get cut(): AbortSignal {
    return this.#cut.signal
  }

  async write(bytes: Uint8Array, options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    options.signal?.throwIfAborted()
    this.#assertWritable()
    this.#out.push(bytes)
    while (this.#out.isFull && this.#out.failure === undefined) await this.#out.change(options.signal)
    if (this.#out.failure !== undefined) this.#assertWritable()
  }

  async read(options: { signal?: AbortSignal | undefined } = {}): Promise<Uint8Array | undefined> {
    options.signal?.throwIfAborted()
    for (;;) {
      if (this.#in.failure !== undefined) throw this.#failed(this.#in.failure)
      const piece = this.#in.take()
      if (piece !== undefined) {
        this.#sinceTurn += piece.length
        // Bytes do not come without end while nothing else gets to run.
        if (this.#sinceTurn >= turnBytes) {
          this.#sinceTurn = 0
          await nextStep()
        }
        return piece
      }
      if (this.#in.ended || this.#in.unread) {
        this.#settle()
        return undefined
      }
      await this.#in.change(options.signal)
    }
  }

  async closeWrite(): Promise<void> {
    this.#out.ended = true
    this.#out.changed()
    this.#settle()
  }

  async close(): Promise<void> {
    this.#in.drop()
    await this.closeWrite()
    this.#open.delete(this)
  }

  abort(reason: Error): void {
    if (this.#cut.signal.aborted) return
    this.#open.delete(this)
    for (const half of [this.#in, this.#out]) {
      if (half.failure !== undefined) continue
      half.failure = reason
      half.drop()
    }
    this.#cut.abort(reason)
    this.other?.abort(reason)
  }

  #settle(): void {
    if (this.#out.ended && this.#in.ended) this.#open.delete(this)
    if (this.#in.failure !== undefined) this.#open.delete(this)
  }

  #assertWritable(): void {
    if (this.#out.failure !== undefined) throw this.#failed(this.#out.failure)
    if (this.#out.ended) throw new ArtifactHubError('UNAVAILABLE', 'The stream ended')
  }

  #failed(cause: Error): ArtifactHubError {
    this.#open.delete(this)
    return new ArtifactHubError('UNAVAILABLE', 'The stream was cut', { cause })
  }
}

/** Timers that run when told to: nothing waits for real time. */
export class ManualScheduler implements Scheduler {
  readonly #timers = new Set<{ readonly at: number; readonly work: () => void }>()
  #now = 1_700_000_000_000

  now(): number {
    return this.#now
  }

  setTimer(delayMs: number, work: () => void): () => void {
    const timer = { at: this.#now + delayMs, work }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#timers.size
  }

  /** Moves time on, running what falls due in its order. */
  advance(ms: number): void {
    const end = this.#now + ms
    for (;;) {
      // No sorting: it took most of the time of a test with a thousand logs.
      let next: { readonly at: number; readonly work: () => void } | undefined
      for (const timer of this.#timers) if (timer.at < (next?.at ?? Number.POSITIVE_INFINITY)) next = timer
      if (next === undefined || next.at > end) break
      this.#timers.delete(next)
      this.#now = next.at
      next.work()
    }
    this.#now = end
  }

  /** Lets time pass, so much at a go and with what follows from it, until a piece of work is through. */
  async until<T>(work: Promise<T>, stepMs = 20): Promise<T> {
    let isDone = false
    const finish = () => {
      isDone = true
    }
    work.then(finish, finish)
    while (!isDone) {
      for (let turn = 0; turn < 40 && !isDone; turn++) await nextStep()
      if (!isDone) this.advance(stepMs)
    }
    return await work
  }
}

function addressOf(agent: Uint8Array): string {
  return `/memory/${toHex(agent)}`
}

function unreachable(reason: string): ArtifactHubError {
  return new ArtifactHubError('UNAVAILABLE', 'The agent cannot be reached', { details: { reason } })
}

async function nextStep(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve))
}
