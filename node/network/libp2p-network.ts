import type { Connection, IdentifyResult, Libp2p, PeerId, PeerInfo, Stream } from '@libp2p/interface'
import { ArtifactHubError } from '../../src/errors.ts'
import type { Misbehaviour, PeerStream, StreamHandler } from '../../src/exchange/peer-network.ts'
import { formatDid } from '../../src/identity/index.ts'
import {
  maxNearDials,
  maxStreamsPerConnection,
  maxStreamsPerProtocol,
  nearConnections,
  openTimeoutMs,
} from '../../src/limits.ts'
import type { Logger } from '../logger.ts'
import { AddressBook, addressOf } from './address-book.ts'
import { agentOf, peerIdOf } from './agent-peer.ts'
import type { BulkStreams } from './bulk-streams.ts'
import { Dialler } from './dialler.ts'
import { Failures } from './failures.ts'
import type { Gate } from './gate.ts'
import { Hints } from './hints.ts'
import type { KeepConnected, NamedPeer } from './keep-connected.ts'
import type { Services } from './libp2p.ts'
import type { ConnectedPeer, Network, NetworkMode, NetworkStatus, Reachability } from './network.ts'
import { LibP2pStream } from './peer-stream.ts'
import { connectedPeers, isRelayed } from './peers.ts'
import type { Penalties } from './penalties.ts'
import { findProviders, provide } from './providers.ts'

interface Libp2pNetworkInit {
  readonly mode: Exclude<NetworkMode, 'offline'>
  readonly libp2p: Libp2p<Services>
  readonly bulk: BulkStreams | undefined
  readonly penalties: Penalties
  readonly gate: Gate
  readonly keep: KeepConnected
  readonly relays: readonly NamedPeer[]
  readonly monotonic: () => number
  readonly now: () => number
  readonly random: (length: number) => Uint8Array
  readonly logger: Logger | undefined
}

/** The network over libp2p: agents for peer ids, our streams for its streams, our errors for its errors. */
export class Libp2pNetwork implements Network {
  readonly mode: NetworkMode
  readonly libp2p: Libp2p<Services>
  readonly #init: Libp2pNetworkInit
  readonly #book = new AddressBook()
  readonly #failures: Failures
  readonly #dialler: Dialler
  readonly #hints: Hints
  readonly #streams = new Set<LibP2pStream>()
  readonly #peerListeners = new Set<(agent: Uint8Array, connected: boolean) => void>()
  readonly #closing = new AbortController()
  #registering: Promise<void> = Promise.resolve()
  /** Dials to nodes found by multicast. */
  #nearDials = 0
  #closed: Promise<void> | undefined

  constructor(init: Libp2pNetworkInit) {
    const { libp2p, penalties, monotonic, logger } = init
    this.mode = init.mode
    this.libp2p = libp2p
    this.#init = init
    this.#failures = new Failures(init.now)
    this.#dialler = new Dialler({ libp2p, book: this.#book, penalties, failures: this.#failures })
    this.#hints = new Hints({
      pubsub: libp2p.services.pubsub,
      monotonic,
      random: init.random,
      onFlood: (agent) => this.penalise(agent, 'flood'),
      warn: (message, fields) => logger?.warn(message, fields),
    })
    libp2p.addEventListener('peer:connect', ({ detail }) => this.#tellPeer(detail, true))
    libp2p.addEventListener('peer:disconnect', ({ detail }) => this.#tellPeer(detail, false))
  }

  connected(): Uint8Array[] {
    if (this.#closed !== undefined) return []
    return this.libp2p.getPeers().flatMap((peer) => agentOf(peer) ?? [])
  }

  async open(
    agent: Uint8Array,
    protocol: string,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<PeerStream> {
    const stream = await this.#whileOpen(signal, (bounded) => this.#dialler.open(agent, protocol, bounded))
    if (this.#closed !== undefined) {
      stream.abort(closedError())
      throw closedError()
    }
    return this.#track(stream, agent)
  }

  async openBulk(
    agent: Uint8Array,
    protocol: string,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<PeerStream | undefined> {
    const { bulk, penalties } = this.#init
    if (bulk === undefined || this.#closed !== undefined || penalties.refused(agent)) return undefined
    const bounded = signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal])
    try {
      return await bulk.open(agent, protocol, await this.#dialler.tcpPlaces(agent), bounded)
    } catch {
      signal?.throwIfAborted()
      return undefined
    }
  }

  handle(protocol: string, handler: StreamHandler, { bulk = false }: { readonly bulk?: boolean } = {}): () => void {
    const serve = (stream: Stream, { remotePeer }: Connection): void => {
      const agent = agentOf(remotePeer)
      if (agent === undefined || this.#closed !== undefined) stream.abort(new Error('not served'))
      else void this.#serve((onCut) => this.#track(stream, agent, onCut), protocol, handler)
    }
    if (bulk) {
      this.#init.bulk?.handle(protocol, (begin) => {
        void this.#serve((onCut) => begin((reason) => reason !== undefined && onCut(reason)), protocol, handler)
      })
    }
    this.#register(() =>
      this.libp2p.handle(protocol, serve, {
        maxInboundStreams: maxStreamsPerProtocol,
        maxOutboundStreams: maxStreamsPerConnection,
        runOnLimitedConnection: true,
      }),
    )
    let handled = true
    return () => {
      if (!handled) return
      handled = false
      this.#init.bulk?.unhandle(protocol)
      this.#register(() => this.libp2p.unhandle(protocol))
    }
  }

  /** One after the other: a protocol may be let go and taken again at once. */
  #register(change: () => Promise<void>): void {
    this.#registering = this.#registering.then(change).catch((error: Error) => {
      if (this.#closed === undefined)
        this.#init.logger?.error('a protocol was not registered', { error: error.message })
    })
  }

  /** @param begin makes the stream, which says through its argument when it was cut */
  async #serve(
    begin: (onCut: (reason: Error) => void) => PeerStream,
    protocol: string,
    handler: StreamHandler,
  ): Promise<void> {
    const cut = new AbortController()
    const served = begin((reason) => cut.abort(reason))
    try {
      await handler(served, cut.signal)
      await served.close()
    } catch (error) {
      if (!cut.signal.aborted) {
        this.#init.logger?.debug('a stream was not served to its end', {
          protocol,
          did: formatDid(served.agent),
          error: error instanceof Error ? error.message : String(error),
        })
      }
      served.abort(error instanceof Error ? error : new Error(String(error)))
    }
  }

  #track(stream: Stream, agent: Uint8Array, onCut: (reason: Error) => void = () => {}): LibP2pStream {
    const tracked = new LibP2pStream(stream, agent, (reason) => {
      this.#streams.delete(tracked)
      if (reason !== undefined) onCut(reason)
    })
    this.#streams.add(tracked)
    return tracked
  }

  onPeer(listener: (agent: Uint8Array, connected: boolean) => void): () => void {
    const own = (agent: Uint8Array, connected: boolean): void => listener(agent, connected)
    this.#peerListeners.add(own)
    return () => this.#peerListeners.delete(own)
  }

  #tellPeer(peer: PeerId, connected: boolean): void {
    const agent = agentOf(peer)
    if (agent === undefined) return
    if (connected) this.#failures.reached(agent)
    for (const listener of this.#peerListeners) {
      try {
        listener(agent, connected)
      } catch (error) {
        this.#init.logger?.error('a listener to peers failed', { error: String(error) })
      }
    }
  }

  hint(topic: string, payload: Uint8Array): void {
    if (this.#closed === undefined) this.#hints.publish(topic, payload)
  }

  onHint(topic: string, listener: (payload: Uint8Array, from: Uint8Array) => void): () => void {
    return this.#hints.subscribe(topic, listener)
  }

  addAddresses(agent: Uint8Array, addresses: readonly string[]): void {
    const wrong = this.#book.add(agent, addresses)
    if (wrong.length > 0) {
      this.#init.logger?.debug('addresses that are not this agent’s', { did: formatDid(agent), addresses: wrong })
    }
  }

  addresses(): string[] {
    if (this.#closed !== undefined) return []
    const { libp2p } = this
    const own = libp2p.services.own.all().map(String)
    const self = `/p2p/${libp2p.peerId}`
    const whole = own.map((address) => (address.endsWith(self) ? address : address + self))
    return [...new Set([...libp2p.getMultiaddrs().map(String), ...whole])]
  }

  penalise(agent: Uint8Array, misbehaviour: Misbehaviour): void {
    if (!this.#init.penalties.add(agent, misbehaviour)) return
    this.#init.logger?.warn('an agent is refused for misbehaviour', { did: formatDid(agent), misbehaviour })
    for (const connection of this.libp2p.getConnections(peerIdOf(agent))) connection.abort(new Error('misbehaviour'))
    this.#init.bulk?.cut(agent, new Error('misbehaviour'))
  }

  async peers({ signal }: { signal?: AbortSignal | undefined } = {}): Promise<ConnectedPeer[]> {
    return this.#closed === undefined ? await connectedPeers(this.libp2p, signal) : []
  }

  reachability(agent: Uint8Array): Reachability {
    const connections = this.#closed === undefined ? this.libp2p.getConnections(peerIdOf(agent)) : []
    if (connections.length > 0) return { state: connections.every(isRelayed) ? 'relayed' : 'direct' }
    const failure = this.#failures.of(agent)
    if (failure === undefined) return { state: 'unknown' }
    const { error, since } = failure
    return { state: 'unreachable', reason: String(error.details.reason), message: error.message, since }
  }

  async ping(agent: Uint8Array, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<number> {
    return await this.#whileOpen(signal, async (bounded) => {
      const connection = await this.#dialler.connect(agent, bounded)
      try {
        const milliseconds = await this.libp2p.services.ping.ping(connection.remotePeer, {
          signal: AbortSignal.any([bounded, AbortSignal.timeout(openTimeoutMs)]),
        })
        connection.rtt = milliseconds
        return milliseconds
      } catch (cause) {
        bounded.throwIfAborted()
        throw new ArtifactHubError('UNAVAILABLE', `${formatDid(agent)} does not answer`, {
          details: { reason: 'timed-out', did: formatDid(agent) },
          cause,
        })
      }
    })
  }

  async provide(key: Uint8Array, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    await this.#whileOpen(signal, (bounded) => provide(this.libp2p, key, bounded))
  }

  async *findProviders(
    key: Uint8Array,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<Uint8Array> {
    if (this.#closed !== undefined) throw closedError()
    const bounded = signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal])
    for await (const { agent, addresses } of findProviders(this.libp2p, key, bounded)) {
      this.addAddresses(agent, addresses)
      yield agent
    }
  }

  onLearned(listener: (agent: Uint8Array, addresses: readonly string[]) => void): () => void {
    const own = ({ detail: { peerId, listenAddrs, connection } }: CustomEvent<IdentifyResult>): void => {
      const agent = agentOf(peerId)
      if (agent === undefined) return
      // Who dialled is not to be reached at the port that it dialled from.
      const reached = connection.direction === 'outbound' ? [connection.remoteAddr] : []
      const said = [...reached, ...listenAddrs].flatMap((address) => addressOf(agent, address.toString()) ?? [])
      listener(agent, [...new Set(said.map(String))])
    }
    this.libp2p.addEventListener('peer:identify', own)
    return () => this.libp2p.removeEventListener('peer:identify', own)
  }

  /** Connects to a node found by multicast, while connections are few. */
  foundNear({ id, multiaddrs }: PeerInfo): void {
    const agent = agentOf(id)
    if (agent === undefined || this.#closed !== undefined) return
    this.addAddresses(agent, multiaddrs.map(String))
    // Anyone may tell of any number, who all take the connection and say nothing: others are dialled beside them.
    if (this.#nearDials >= maxNearDials || this.libp2p.getConnections().length >= nearConnections) return
    this.#nearDials += 1
    const ended = (): void => {
      this.#nearDials -= 1
    }
    this.#dialler.connect(agent, this.#closing.signal).then(ended, ended)
  }

  keepRoomFor(isKnown: (agent: Uint8Array) => boolean): void {
    this.#init.gate.isKnown = isKnown
  }

  status(): NetworkStatus {
    const { gate, penalties, relays } = this.#init
    const open = this.#closed === undefined
    return {
      mode: this.mode,
      peerId: this.libp2p.peerId.toString(),
      addresses: this.addresses(),
      connections: open ? this.libp2p.getConnections().length : 0,
      relays: relays.map(({ address, peer }) => ({
        address: address.toString(),
        reserved: open && this.libp2p.services.relays.reserved(peer),
      })),
      refusedConnections: { ...gate.refused },
      misbehaviour: penalties.counts(),
      refusedAgents: penalties.refusedAgents().map((agent) => formatDid(Buffer.from(agent, 'hex'))),
    }
  }

  async #whileOpen<T>(signal: AbortSignal | undefined, work: (bounded: AbortSignal) => Promise<T>): Promise<T> {
    signal?.throwIfAborted()
    if (this.#closed !== undefined) throw closedError()
    const closing = this.#closing.signal
    try {
      return await work(signal === undefined ? closing : AbortSignal.any([signal, closing]))
    } catch (error) {
      signal?.throwIfAborted()
      if (closing.aborted) throw closedError()
      throw error
    }
  }

  async close(): Promise<void> {
    this.#closed ??= this.#end()
    await this.#closed
  }

  async #end(): Promise<void> {
    this.#closing.abort(closedError())
    await this.#init.keep.stop()
    // Cut first: libp2p would end them as if all had been said.
    for (const stream of [...this.#streams]) stream.abort(closedError())
    this.#init.bulk?.close(closedError())
    this.#hints.close()
    await this.libp2p.stop()
    this.#peerListeners.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

function closedError(): ArtifactHubError {
  return new ArtifactHubError('CLOSED', 'the network is closed')
}
