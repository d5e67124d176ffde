import type { Connection, ConnectionGater, MultiaddrConnection, PeerId } from '@libp2p/interface'
import type { Multiaddr } from '@multiformats/multiaddr'
import {
  maxConnectionsPerAgent,
  maxConnectionsPerHost,
  maxRelayedPerHour,
  maxRememberedAgents,
} from '../../src/limits.ts'
import { agentOf } from './agent-peer.ts'
import type { Penalties } from './penalties.ts'

const hourMs = 3_600_000

/**
 * Who may connect: nobody who is refused for misbehaviour, and no address or agent beyond its number of connections. Counts
 * those that it turned away.
 */
export class Gate {
  readonly refused = { host: 0, agent: 0, penalised: 0 }
  readonly #penalties: Penalties
  readonly #monotonic: () => number
  readonly #connections: () => Connection[]
  /** Relayed connections opened through this node, by source, since the hour began. */
  readonly #relayed = new Map<string, number>()
  #hour = 0

  /** @param connections those open now */
  constructor(penalties: Penalties, monotonic: () => number, connections: () => Connection[]) {
    this.#penalties = penalties
    this.#monotonic = monotonic
    this.#connections = connections
  }

  readonly rules: ConnectionGater = {
    denyDialPeer: (peer) => this.#penalised(peer),
    denyInboundConnection: (connection) => this.#hostFull(connection),
    denyInboundEncryptedConnection: (peer) => this.#penalised(peer) || this.#agentFull(peer),
    denyOutboundEncryptedConnection: (peer) => this.#penalised(peer),
    denyInboundRelayReservation: (peer) => this.#penalised(peer),
    denyOutboundRelayedConnection: (source) => this.#penalised(source) || this.#relayedEnough(source),
    denyInboundRelayedConnection: (_relay, peer) => this.#penalised(peer),
  }

  #penalised(peer: PeerId): boolean {
    const agent = agentOf(peer)
    if (agent === undefined || !this.#penalties.refused(agent)) return false
    this.refused.penalised++
    return true
  }

  #agentFull(peer: PeerId): boolean {
    const open = this.#connections().filter(({ remotePeer }) => remotePeer.equals(peer)).length
    if (open < maxConnectionsPerAgent) return false
    this.refused.agent++
    return true
  }

  #hostFull({ remoteAddr }: MultiaddrConnection): boolean {
    const host = hostOf(remoteAddr)
    // A relayed connection counts for its relay's streams, which have a limit of their own.
    if (host === undefined) return false
    const open = this.#connections().filter(
      (connection) => connection.direction === 'inbound' && hostOf(connection.remoteAddr) === host,
    ).length
    if (open < maxConnectionsPerHost) return false
    this.refused.host++
    return true
  }

  #relayedEnough(source: PeerId): boolean {
    const hour = Math.floor(this.#monotonic() / hourMs)
    if (hour !== this.#hour || this.#relayed.size >= maxRememberedAgents) this.#relayed.clear()
    this.#hour = hour
    const opened = (this.#relayed.get(source.toString()) ?? 0) + 1
    if (opened > maxRelayedPerHour) return true
    this.#relayed.set(source.toString(), opened)
    return false
  }
}

/** The IP address or name of a direct address. */
function hostOf(address: Multiaddr): string | undefined {
  const parts = address.getComponents()
  if (parts.some(({ name }) => name === 'p2p-circuit')) return undefined
  return parts.find(({ name }) => name === 'ip4' || name === 'ip6')?.value
}
