import { equalBytes, toHex } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import type { Misbehaviour, PeerNetwork, PeerStream, StreamHandler } from '../../src/exchange/index.ts'
import type { Chance } from './chance.ts'
import type { VirtualTime } from './virtual-time.ts'

/** How kind the network is. */
export interface Weather {
  /** One way, longest. */
  latencyMs: number
  /** Probability that a hint gets lost on the way to one node. */
  hintLoss: number
  /** Probability that a hint comes twice. */
  hintTwice: number
  /** Probability that a piece of a stream is where its connection ends. */
  cut: number
}

/** The weather in which everything arrives. */
export const fine: Weather = { latencyMs: 20, hintLoss: 0, hintTwice: 0, cut: 0 }

const windowBytes = 256 * 1024
/** How often a piece that cannot get through tries again. */
const retryMs = 250

/** Nodes and what lies between them. Streams are ordered and reliable until they are cut; hints are neither. */
export class SimulatedNetwork {
  readonly time: VirtualTime
  readonly chance: Chance
  weather: Weather
  readonly #endpoints = new Set<Endpoint>()

  constructor(time: VirtualTime, chance: Chance, weather: Weather) {
    this.time = time
    this.chance = chance
    this.weather = weather
  }

  /** A node of an agent. Several may be of one: copies of a machine. */
  join(agent: Uint8Array): Endpoint {
    const endpoint = new Endpoint(this, agent)
    this.#endpoints.add(endpoint)
    return endpoint
  }

  /** The node stops at once and hears nothing more; others notice when their connections end, some time later. */
  leave(endpoint: Endpoint): void {
    endpoint.isUp = false
    this.#endpoints.delete(endpoint)
    for (const link of [...endpoint.links]) this.time.setTimer(this.chance.between(0, 3_000), () => link.end())
  }

  /** Connects two nodes if they can reach each other and are not connected. */
  connect(one: Endpoint, two: Endpoint): Link | undefined {
    if (!this.#canReach(one, two)) return undefined
    const known = [...one.links].find((link) => link.other(one) === two)
    if (known !== undefined) return known
    const link = new Link(this, one, two)
    one.add(link)
    two.add(link)
    return link
  }

  /** Puts every node on a side; what is on different sides cannot reach each other until `heal`. */
  split(sideOf: (endpoint: Endpoint) => number): void {
    for (const endpoint of this.#endpoints) endpoint.side = sideOf(endpoint)
    for (const endpoint of this.#endpoints) {
      for (const link of [...endpoint.links]) {
        // Some connections break; of others nobody notices for a while, and what is sent waits.
        if (link.isBlocked) {
          this.time.setTimer(this.chance.is(0.5) ? 0 : this.chance.between(0, 45_000), () => {
            if (link.isBlocked) link.end()
          })
        }
      }
    }
  }

  heal(): void {
    for (const endpoint of this.#endpoints) endpoint.side = 0
  }

  /** Connects nodes that find each other: each pair with that probability. */
  discover(probability: number): void {
    const all = [...this.#endpoints]
    for (const [at, one] of all.entries()) {
      for (const two of all.slice(at + 1)) if (this.chance.is(probability)) this.connect(one, two)
    }
  }

  /** A node of that agent that can be reached. */
  find(from: Endpoint, agent: Uint8Array): Endpoint | undefined {
    return this.chance.pick(
      [...this.#endpoints].filter((to) => equalBytes(to.agent, agent) && this.#canReach(from, to)),
    )
  }

  /** Takes a hint to every node that can be reached. */
  gossip(from: Endpoint, topic: string, payload: Uint8Array): void {
    const { hintLoss, hintTwice } = this.weather
    for (const to of this.#endpoints) {
      if (!this.#canReach(from, to) || ![...from.links].some((link) => to.links.has(link))) continue
      const times = this.chance.is(hintLoss) ? 0 : this.chance.is(hintTwice) ? 2 : 1
      for (let time = 0; time < times; time++) {
        this.time.setTimer(this.latency() * 3, () => to.hear(topic, payload.slice(), from.agent))
      }
    }
  }

  latency(): number {
    return this.chance.between(0.1, this.weather.latencyMs)
  }

  #canReach(one: Endpoint, two: Endpoint): boolean {
    return one.isUp && two.isUp && one.side === two.side && !equalBytes(one.agent, two.agent)
  }
}

/** A connection. */
class Link {
  readonly network: SimulatedNetwork
  readonly #ends: readonly [Endpoint, Endpoint]
  readonly streams = new Set<Stream>()
  hasEnded = false

  constructor(network: SimulatedNetwork, one: Endpoint, two: Endpoint) {
    this.network = network
    this.#ends = [one, two]
  }

  get isBlocked(): boolean {
    const [one, two] = this.#ends
    return one.side !== two.side || !one.isUp || !two.isUp
  }

  other(endpoint: Endpoint): Endpoint {
    return this.#ends[0] === endpoint ? this.#ends[1] : this.#ends[0]
  }

  end(): void {
    if (this.hasEnded) return
    this.hasEnded = true
    for (const stream of [...this.streams]) stream.abort(new Error('the connection ended'))
    for (const endpoint of this.#ends) endpoint.drop(this)
  }
}

/** One node on the network. */
export class Endpoint implements PeerNetwork {
  readonly agent: Uint8Array
  readonly links = new Set<Link>()
  readonly penalties: { readonly agent: string; readonly misbehaviour: Misbehaviour }[] = []
  readonly #network: SimulatedNetwork
  readonly #handlers = new Map<string, StreamHandler>()
  readonly #peerListeners = new Set<(agent: Uint8Array, connected: boolean) => void>()
  readonly #hintListeners = new Map<string, Set<(payload: Uint8Array, from: Uint8Array) => void>>()
  /** What handlers here rejected with. */
  readonly handlerErrors: unknown[] = []
  isUp = true
  side = 0

  constructor(network: SimulatedNetwork, agent: Uint8Array) {
    this.#network = network
    this.agent = agent
  }

  connected(): readonly Uint8Array[] {
    return [...new Map([...this.links].map((link) => [toHex(link.other(this).agent), link.other(this).agent])).values()]
  }

  async open(
    agent: Uint8Array,
    protocol: string,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<PeerStream> {
    const { time, chance } = this.#network
    options.signal?.throwIfAborted()
    await abortable(time.sleep(this.#network.latency()), options.signal)
    if (!this.isUp) return await new Promise<never>(() => {})
    let link = chance.pick([...this.links].filter((one) => equalBytes(one.other(this).agent, agent)))
    if (link === undefined) {
      const peer = this.#network.find(this, agent)
      await abortable(time.sleep(peer === undefined ? chance.between(100, 4_000) : 0), options.signal)
      link = peer && this.#network.connect(this, peer)
      if (link === undefined || link.hasEnded)
        throw new ArtifactHubError('UNAVAILABLE', 'The agent cannot be reached', { details: { reason: 'timed out' } })
    }
    const peer = link.other(this)
    const [there, back] = [new Pipe(link), new Pipe(link)]
    const mine = new Stream(link, { owner: this, agent: peer.agent, from: back, to: there })
    const theirs = new Stream(link, { owner: peer, agent: this.agent, from: there, to: back })
    mine.other = theirs
    theirs.other = mine
    time.setTimer(this.#network.latency(), () => void peer.#serve(protocol, theirs))
    return mine
  }

  async openBulk(): Promise<undefined> {}

  handle(protocol: string, handler: StreamHandler): () => void {
    this.#handlers.set(protocol, handler)
    return () => void this.#handlers.delete(protocol)
  }

  onPeer(listener: (agent: Uint8Array, connected: boolean) => void): () => void {
    this.#peerListeners.add(listener)
    return () => this.#peerListeners.delete(listener)
  }

  hint(topic: string, payload: Uint8Array): void {
    if (this.isUp) this.#network.gossip(this, topic, payload.slice())
  }

  onHint(topic: string, listener: (payload: Uint8Array, from: Uint8Array) => void): () => void {
    const listeners = this.#hintListeners.get(topic) ?? new Set()
    this.#hintListeners.set(topic, listeners)
    listeners.add(listener)
    return () => listeners.delete(listener)
  }

  /** Where everybody is, the network knows. */
  addAddresses(): void {}

  addresses(): readonly string[] {
    return []
  }

  penalise(agent: Uint8Array, misbehaviour: Misbehaviour): void {
    this.penalties.push({ agent: toHex(agent), misbehaviour })
  }

  hear(topic: string, payload: Uint8Array, from: Uint8Array): void {
    if (this.isUp) for (const listener of this.#hintListeners.get(topic) ?? []) listener(payload, from)
  }

  add(link: Link): void {
    const { agent } = link.other(this)
    const isFirst = !this.#isConnected(agent)
    this.links.add(link)
    if (isFirst && this.isUp) for (const listener of this.#peerListeners) listener(agent, true)
  }

  drop(link: Link): void {
    const { agent } = link.other(this)
    if (!this.links.delete(link) || this.#isConnected(agent) || !this.isUp) return
    for (const listener of this.#peerListeners) listener(agent, false)
  }

  #isConnected(agent: Uint8Array): boolean {
    return [...this.links].some((link) => equalBytes(link.other(this).agent, agent))
  }

  async #serve(protocol: string, stream: Stream): Promise<void> {
    if (!this.isUp) return
    const handler = this.#handlers.get(protocol)
    if (handler === undefined) {
      stream.abort(new Error('protocol not spoken'))
      return
    }
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
class Pipe {
  readonly #link: Link
  readonly #flying: { bytes: Uint8Array | undefined; at: number }[] = []
  readonly #ready: Uint8Array[] = []
  readonly #waiting = new Set<() => void>()
  #bytes = 0
  #isPumping = false
  /** The writer has ended, and the reader knows. */
  hasEnded = false
  /** The reader wants no more. */
  isUnread = false
  failure: Error | undefined

  constructor(link: Link) {
    this.#link = link
  }

  get isFull(): boolean {
    return this.#bytes >= windowBytes && !this.isUnread
  }

  /** @param bytes nothing: the end */
  push(bytes: Uint8Array | undefined): void {
    if (this.isUnread && bytes !== undefined) return
    const { time } = this.#link.network
    const at = Math.max(time.now() + this.#link.network.latency(), this.#flying.at(-1)?.at ?? 0)
    this.#flying.push({ bytes: bytes?.slice(), at })
    this.#bytes += bytes?.length ?? 0
    this.#pump()
  }

  take(): Uint8Array | undefined {
    const piece = this.#ready.shift()
    if (piece === undefined) return undefined
    const { chance } = this.#link.network
    const taken = piece.length > 1 && chance.is(0.1) ? piece.subarray(0, 1 + chance.int(piece.length - 1)) : piece
    if (taken !== piece) this.#ready.unshift(piece.subarray(taken.length))
    this.#bytes -= taken.length
    this.changed()
    return taken
  }

  drop(): void {
    this.isUnread = true
    this.#ready.length = 0
    this.#bytes = 0
    this.changed()
  }

  changed(): void {
    for (const wake of [...this.#waiting]) wake()
  }

  async change(signal: AbortSignal | undefined): Promise<void> {
    const changed = Promise.withResolvers<void>()
    this.#waiting.add(changed.resolve)
    try {
      await abortable(changed.promise, signal)
    } finally {
      this.#waiting.delete(changed.resolve)
    }
  }

  #pump(): void {
    const [first] = this.#flying
    if (this.#isPumping || first === undefined || this.failure !== undefined) return
    this.#isPumping = true
    const { time, chance, weather } = this.#link.network
    time.setTimer(first.at - time.now(), () => {
      this.#isPumping = false
      if (this.failure !== undefined || this.#link.hasEnded) return
      if (this.#link.isBlocked) first.at = time.now() + retryMs
      else if (chance.is(weather.cut)) return this.#link.end()
      else this.#arrive()
      this.#pump()
    })
  }

  #arrive(): void {
    const now = this.#link.network.time.now()
    while (this.#flying[0] !== undefined && this.#flying[0].at <= now) {
      const { bytes } = this.#flying.shift() as { bytes: Uint8Array | undefined }
      if (bytes === undefined) this.hasEnded = true
      else if (!this.isUnread && bytes.length > 0) this.#ready.push(bytes)
    }
    this.changed()
  }
}

class Stream implements PeerStream {
  readonly agent: Uint8Array
  readonly #owner: Endpoint
  readonly #link: Link
  readonly #in: Pipe
  readonly #out: Pipe
  readonly #cut = new AbortController()
  #hasClosed = false
  other: Stream | undefined

  constructor(link: Link, ends: { owner: Endpoint; agent: Uint8Array; from: Pipe; to: Pipe }) {
    this.#link = link
    this.#owner = ends.owner
    this.agent = ends.agent
    this.#in = ends.from
    this.#out = ends.to
    link.streams.add(this)
  }

  /** Aborted when the stream is cut, by either side. */
  get cut(): AbortSignal {
    return this.#cut.signal
  }

  async write(bytes: Uint8Array, options: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    await this.#alive()
    options.signal?.throwIfAborted()
    if (this.#hasClosed) throw failed(new Error('it was closed'))
    if (this.#out.failure !== undefined) throw failed(this.#out.failure)
    this.#out.push(bytes)
    while (this.#out.isFull && this.#out.failure === undefined) await this.#out.change(options.signal)
    await this.#alive()
    if (this.#out.failure !== undefined) throw failed(this.#out.failure)
  }

  async read(options: { signal?: AbortSignal | undefined } = {}): Promise<Uint8Array | undefined> {
    options.signal?.throwIfAborted()
    for (;;) {
      await this.#alive()
      if (this.#in.failure !== undefined) throw failed(this.#in.failure)
      const piece = this.#in.take()
      if (piece !== undefined) return piece
      if (this.#in.hasEnded || this.#in.isUnread) return undefined
      await this.#in.change(options.signal)
    }
  }

  async closeWrite(): Promise<void> {
    if (this.#hasClosed) return
    this.#hasClosed = true
    this.#out.push(undefined)
  }

  async close(): Promise<void> {
    this.#in.drop()
    await this.closeWrite()
    this.#link.streams.delete(this)
  }

  abort(reason: Error): void {
    if (this.#cut.signal.aborted) return
    this.#link.streams.delete(this)
    for (const pipe of [this.#in, this.#out]) {
      pipe.failure ??= reason
      pipe.drop()
    }
    this.#cut.abort(reason)
    this.other?.abort(reason)
  }

  /** Nobody is told anything on a machine that does not run. */
  async #alive(): Promise<void> {
    if (!this.#owner.isUp) await new Promise<never>(() => {})
  }
}

function failed(cause: Error): ArtifactHubError {
  return new ArtifactHubError('UNAVAILABLE', 'The stream was cut', { cause })
}

/** @throws the signal's reason, as soon as it fires */
async function abortable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const onAbort = () => aborted.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([work, aborted.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
