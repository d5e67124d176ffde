import type { Libp2pOptions } from 'libp2p'
import type { AgentKey } from '../../src/identity/index.ts'
import type { Logger } from '../logger.ts'
import type { NetworkMode } from './network.ts'

/** What a node asks of its network. */
export interface StartNetworkOptions {
  /** Whose node this is: the peer id is this agent. */
  readonly agent: AgentKey
  readonly mode: NetworkMode
  /** Multiaddrs to listen on; by default TCP and WebSocket on all addresses. Empty: dials only. No multicast when all are loopback. */
  readonly listen?: readonly string[] | undefined
  /** Multiaddrs that others reach this node by, beside those that it listens on. */
  readonly announce?: readonly string[] | undefined
  /** Nodes to stay connected to, multiaddrs ending in `/p2p/…`; `public` has the IPFS network's by default. */
  readonly bootstrap?: readonly string[] | undefined
  /** Relays to be reachable through, for a node behind NAT; written like `bootstrap`. */
  readonly relays?: readonly string[] | undefined
  /** Whether this node relays for others, within limits. */
  readonly relay?: boolean | undefined
  /** The key of the private network, 32 bytes; needed for `private` and only there. */
  readonly networkKey?: Uint8Array | undefined
  /** Encryptions offered, in order of preference; TLS, then noise by default. */
  readonly encryption?: readonly ('tls' | 'noise')[] | undefined
  /** Where libp2p keeps what it knows of peers and the DHT; by default bounded, in memory. */
  readonly datastore?: Libp2pOptions['datastore']
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** Milliseconds that never go back. */
  readonly monotonic: () => number
  readonly random: (length: number) => Uint8Array
  readonly logger?: Logger | undefined
  readonly signal?: AbortSignal | undefined
}

/** The options of a network that is not offline, with their defaults. */
export interface OnlineOptions extends Omit<StartNetworkOptions, 'mode' | 'logger' | 'networkKey'> {
  readonly mode: Exclude<NetworkMode, 'offline'>
  readonly listen: readonly string[]
  /** Whether `listen` was asked for, so that an address that cannot be listened on is an error. */
  readonly mustListen: boolean
  readonly announce: readonly string[]
  readonly bootstrap: readonly string[]
  readonly relays: readonly string[]
  readonly relay: boolean
  readonly networkKey: Uint8Array | undefined
  readonly encryption: readonly ('tls' | 'noise')[]
  readonly logger: Logger | undefined
}
