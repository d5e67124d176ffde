import type { Connection, Libp2p, PeerId, Stream } from '@libp2p/interface'
import type { SingleKadDHT } from '@libp2p/kad-dht'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { ArtifactHubError } from '../../src/errors.ts'
import { formatDid } from '../../src/identity/index.ts'
import { maxAddressesPerAgent, maxStreamsPerConnection, openTimeoutMs } from '../../src/limits.ts'
import { type AddressBook, addressOf } from './address-book.ts'
import { peerIdOf } from './agent-peer.ts'
import type { HostPort } from './bulk-streams.ts'
import { dialFailure, type Failures, unreachable } from './failures.ts'
import type { Services } from './libp2p.ts'
import type { Penalties } from './penalties.ts'

interface DiallerInit {
  readonly libp2p: Libp2p<Services>
  readonly book: AddressBook
  readonly penalties: Penalties
  readonly failures: Failures
}

/** Finds connections to agents and makes them where there are none. */
export class Dialler {
  readonly #init: DiallerInit

  constructor(init: DiallerInit) {
    this.#init = init
  }

  /**
   * A stream on the best connection there is: a direct one before a relayed one, a new one where there is none.
   * @throws UNAVAILABLE; the signal's reason
   */
  async open(agent: Uint8Array, protocol: string, signal: AbortSignal | undefined): Promise<Stream> {
    const bounded = bound(signal)
    const held = this.#held(peerIdOf(agent))
    try {
      if (held !== undefined) {
        try {
          return await newStream(held, protocol, bounded)
        } catch (error) {
          // A connection that just died says nothing about the agent: it is dialled once more.
          if (held.status === 'open' || bounded.aborted) throw error
        }
      }
      return await newStream(await this.connect(agent, bounded), protocol, bounded)
    } catch (error) {
      signal?.throwIfAborted()
      throw this.#streamFailure(agent, protocol, error)
    }
  }

  /**
   * The best connection there is, or a new one: dials what tickets and contacts said, what other nodes said and what was
   * found near by, and last what the DHT knows.
   * @throws UNAVAILABLE; the signal's reason
   */
  async connect(agent: Uint8Array, signal: AbortSignal | undefined): Promise<Connection> {
    const { libp2p, penalties, failures } = this.#init
    const peer = peerIdOf(agent)
    const did = formatDid(agent)
    if (peer.equals(libp2p.peerId)) throw unreachable(did, 'self', 'it is this node')
    if (penalties.refused(agent)) throw unreachable(did, 'penalised', 'it is refused for misbehaviour')
    const held = this.#held(peer)
    if (held !== undefined) return held
    const bounded = bound(signal)
    try {
      const connection = await this.#dial(agent, peer, did, bounded)
      failures.reached(agent)
      return connection
    } catch (error) {
      signal?.throwIfAborted()
      const failure = bounded.aborted ? unreachable(did, 'timed-out', 'its addresses do not answer') : error
      failures.failed(agent, failure as ArtifactHubError)
      throw failure
    }
  }

  /**
   * Where an agent that is connected over TCP, directly, can be dialled once more: where it was reached, or, if it dialled, where it says that it
   * listens on the host that it came from. Two at most.
   */
  async tcpPlaces(agent: Uint8Array): Promise<HostPort[]> {
    const held = this.#held(peerIdOf(agent))
    const reached = held === undefined ? undefined : hostPortOf(held.remoteAddr)
    if (held === undefined || reached === undefined) return []
    if (held.direction === 'outbound') return [reached]
    const said = (await this.#stored(agent, held.remotePeer)).flatMap((address) => hostPortOf(address) ?? [])
    return said.filter(({ host }) => host === reached.host).slice(0, 2)
  }

  async #dial(agent: Uint8Array, peer: PeerId, did: string, signal: AbortSignal): Promise<Connection> {
    // In turn: what anyone says of it leaves room for what it said itself.
    const known = inTurn(await this.#stored(agent, peer), this.#init.book.of(agent)).slice(0, maxAddressesPerAgent)
    let failure: unknown
    for (const addresses of [() => known, () => this.#fromDht(agent, peer, signal)]) {
      const dialled = failure === undefined ? [] : known.map(String)
      const fresh = (await addresses()).filter((address) => !dialled.includes(address.toString()))
      if (fresh.length === 0) continue
      try {
        return await this.#init.libp2p.dial(fresh.slice(0, maxAddressesPerAgent), { signal })
      } catch (error) {
        signal.throwIfAborted()
        failure = error
      }
    }
    if (failure === undefined) throw unreachable(did, 'unknown-address', 'no address of it is known')
    const { reason, message } = dialFailure(failure)
    throw unreachable(did, reason, message, failure)
  }

  #held(peer: PeerId): Connection | undefined {
    const open = this.#init.libp2p.getConnections(peer).filter(({ status }) => status === 'open')
    return open.find(({ limits }) => limits === undefined) ?? open[0]
  }

  /** What libp2p knows, first what the agent signed. */
  async #stored(agent: Uint8Array, peer: PeerId): Promise<Multiaddr[]> {
    try {
      const { addresses } = await this.#init.libp2p.peerStore.get(peer)
      const signed = (isSigned: boolean) => addresses.filter(({ isCertified }) => (isCertified === true) === isSigned)
      return withPeer(
        agent,
        [...signed(true), ...signed(false)].map(({ multiaddr }) => multiaddr),
      )
    } catch {
      return []
    }
  }

  async #fromDht(agent: Uint8Array, peer: PeerId, signal: AbortSignal): Promise<Multiaddr[]> {
    const { dht } = this.#init.libp2p.services
    // Asked with nobody to ask, it would wait for somebody.
    if ((dht as SingleKadDHT).routingTable.size === 0) return []
    try {
      for await (const event of dht.findPeer(peer, { signal }))
        if (event.name === 'FINAL_PEER') return withPeer(agent, event.peer.multiaddrs)
    } catch {
      signal.throwIfAborted()
    }
    return []
  }

  #streamFailure(agent: Uint8Array, protocol: string, error: unknown): unknown {
    if (!(error instanceof Error) || error.name === 'ArtifactHubError') return error
    const did = formatDid(agent)
    switch (error.name) {
      case 'UnsupportedProtocolError':
        return unreachable(did, 'protocol-not-spoken', `it does not speak ${protocol}`, error)
      case 'TooManyOutboundProtocolStreamsError':
        return unreachable(did, 'too-many-streams', 'too many streams to it are open', error)
      case 'TimeoutError':
      case 'AbortError':
        return unreachable(did, 'timed-out', 'it does not answer', error)
      default:
        return unreachable(did, 'refused', 'it refused the stream', error)
    }
  }
}

async function newStream(connection: Connection, protocol: string, signal: AbortSignal): Promise<Stream> {
  return await connection.newStream([protocol], {
    signal,
    runOnLimitedConnection: true,
    maxOutboundStreams: maxStreamsPerConnection,
  })
}

function bound(signal: AbortSignal | undefined): AbortSignal {
  const timeout = AbortSignal.timeout(openTimeoutMs)
  return signal === undefined ? timeout : AbortSignal.any([signal, timeout])
}

/** Of an address that is plain TCP; `undefined` for all others. */
function hostPortOf(address: Multiaddr): HostPort | undefined {
  const parts = address.getComponents().filter(({ name }) => name !== 'p2p')
  const [host, port] = parts
  if (parts.length !== 2 || host?.value === undefined || port?.value === undefined || port.name !== 'tcp')
    return undefined
  return ['ip4', 'ip6', 'dns', 'dns4', 'dns6'].includes(host.name)
    ? { host: host.value, port: Number(port.value) }
    : undefined
}

function withPeer(agent: Uint8Array, addresses: readonly Multiaddr[]): Multiaddr[] {
  return addresses.flatMap((address) => addressOf(agent, address.toString()) ?? [])
}

/** One of the first, one of the second, and so on; each once. */
function inTurn(first: readonly Multiaddr[], second: readonly Multiaddr[]): Multiaddr[] {
  const both = Array.from({ length: Math.max(first.length, second.length) }, (_, at) => [first[at], second[at]])
  const all = both.flat().filter((address) => address !== undefined)
  return [...new Map(all.map((address) => [address.toString(), address])).values()]
}
