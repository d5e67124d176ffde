import type { ConnectionGater, MultiaddrConnection, PeerId } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import { OpenCount } from '../../src/exchange/open-count.ts'
import {
  maxBulkStreamsOfAgent,
  maxConnectionsPerAgent,
  maxConnectionsPerHost,
  maxNewConnectionsPerHost,
  maxPendingConnectionsPerHost,
  maxRelayedPerHour,
  maxRememberedAgents,
  maxStrangerConnections,
} from '../../src/limits.ts'
import { agentOf } from './agent-peer.ts'
import type { Penalties } from './penalties.ts'
import { RelayPlaces } from './relay-places.ts'

const secondMs = 1_000
const hourMs = 3_600_000

/**
 * Who may connect: nobody who is refused for misbehaviour, no address or agent beyond its number of connections, and no stranger beyond
 * that of all strangers. Counts those that it turned away.
 */
export class Gate {
  readonly refused = { host: 0, agent: 0, stranger: 0, penalised: 0 }
  /** Whether an agent is no stranger. */
  isKnown: (agent: Uint8Array) => boolean = () => false
  readonly relayPlaces = new RelayPlaces()
  readonly #penalties: Penalties
  readonly #hosts = new Places(maxConnectionsPerHost)
  readonly #agents = new Places(maxConnectionsPerAgent)
  readonly #bulk = new Places(maxBulkStreamsOfAgent)
  /** Those whose handshake is not through. */
  readonly #pending = new Places(maxPendingConnectionsPerHost)
  readonly #strangers = new Places(maxStrangerConnections)
  /** Relayed connections opened through this node, by source, since the hour began. */
  readonly #relayed: Rate
  /** Connections for bulk streams by host, since the second began: libp2p counts its own. */
  readonly #newBulk: Rate

  constructor(penalties: Penalties, monotonic: () => number) {
    this.#penalties = penalties
    this.#relayed = new Rate(maxRelayedPerHour, hourMs, monotonic)
    this.#newBulk = new Rate(maxNewConnectionsPerHost, secondMs, monotonic)
  }

  readonly rules: ConnectionGater = {
    denyDialPeer: (peer) => this.#penalised(peer),
    denyInboundConnection: (connection) => this.#hostFull(connection) || this.#hostFull(connection, this.#pending),
    denyInboundEncryptedConnection: (peer, connection) =>
      this.#penalised(peer) || this.#agentFull(peer, connection) || this.#strangersFull(peer, connection),
    denyInboundUpgradedConnection: (_peer, connection) => {
      this.#pending.leave(connection)
      return false
    },
    denyOutboundEncryptedConnection: (peer) => this.#penalised(peer),
    denyInboundRelayReservation: (peer) =>
      this.#penalised(peer) || !this.relayPlaces.mayReserve(peer, this.#isStranger(peer)),
    denyOutboundRelayedConnection: (source) => this.#penalised(source) || !this.#relayed.take(source.toString()),
    denyInboundRelayedConnection: (_relay, peer) => this.#penalised(peer),
  }

  /** Whether an inbound connection that is to be a bulk stream is one too many from its address, or in this second. */
  denyBulkHost(connection: MultiaddrConnection): boolean {
    if (this.#newBulk.take(hostOf(connection.remoteAddr) ?? '')) return this.#hostFull(connection)
    this.refused.host++
    return true
  }

  /** Counts a connection that was one too many from its address before libp2p heard of it. */
  turnAway(): void {
    this.refused.host++
  }

  /** Whether an agent is refused for misbehaviour. */
  denyAgent(peer: PeerId): boolean {
    return this.#penalised(peer)
  }

  /** Whether its agent may not have it. */
  denyBulk(peer: PeerId, connection: MultiaddrConnection): boolean {
    return this.#penalised(peer) || this.#agentFull(peer, connection, this.#bulk)
  }

  #penalised(peer: PeerId): boolean {
    const agent = agentOf(peer)
    if (agent === undefined || !this.#penalties.refused(agent)) return false
    this.refused.penalised++
    return true
  }

  #agentFull(peer: PeerId, connection: MultiaddrConnection, places = this.#agents): boolean {
    if (places.take(peer.toString(), connection)) return false
    this.refused.agent++
    return true
  }

  #isStranger(peer: PeerId): boolean {
    const agent = agentOf(peer)
    return agent === undefined || !this.isKnown(agent)
  }

  #strangersFull(peer: PeerId, connection: MultiaddrConnection): boolean {
    if (!this.#isStranger(peer)) return false
    if (this.#strangers.take('', connection)) return false
    this.refused.stranger++
    return true
  }

  #hostFull(connection: MultiaddrConnection, places = this.#hosts): boolean {
    const host = hostOf(connection.remoteAddr)
    // A relayed connection counts for its relay's streams, which have a limit of their own.
    if (host === undefined || places.take(host, connection)) return false
    this.refused.host++
    return true
  }
}

/** So many by each in a time. */
class Rate {
  readonly #max: number
  readonly #milliseconds: number
  readonly #monotonic: () => number
  readonly #taken = new Map<string, number>()
  #period = 0

  constructor(max: number, milliseconds: number, monotonic: () => number) {
    this.#max = max
    this.#milliseconds = milliseconds
    this.#monotonic = monotonic
  }

  /** @returns whether there was one left */
  take(whose: string): boolean {
    const period = Math.floor(this.#monotonic() / this.#milliseconds)
    if (period !== this.#period || this.#taken.size >= maxRememberedAgents) this.#taken.clear()
    this.#period = period
    const taken = (this.#taken.get(whose) ?? 0) + 1
    if (taken > this.#max) return false
    this.#taken.set(whose, taken)
    return true
  }
}

/** Inbound connections by whom they are from, counted until they leave or close. */
class Places {
  readonly #max: number
  readonly #taken = new OpenCount()
  readonly #leave = new WeakMap<MultiaddrConnection, () => void>()

  constructor(max: number) {
    this.#max = max
  }

  take(whose: string, connection: MultiaddrConnection): boolean {
    // It would never be told of: what comes of it is nothing.
    if (connection.timeline.close !== undefined) return true
    if (this.#taken.of(whose) >= this.#max) return false
    const leave = this.#taken.add(whose)
    this.#leave.set(connection, leave)
    connection.addEventListener('close', leave, { once: true })
    return true
  }

  leave(connection: MultiaddrConnection): void {
    this.#leave.get(connection)?.()
  }
}

/** The IP address of a direct connection. */
export function hostOf(address: Multiaddr): string | undefined {
  const parts = address.getComponents()
  if (parts.some(({ name }) => name === 'p2p-circuit')) return undefined
  return parts.find(({ name }) => name === 'ip4' || name === 'ip6')?.value
}
