import type { Libp2p } from '@libp2p/interface'
import type { Misbehaviour, PeerNetwork } from '../../src/exchange/peer-network.ts'

/**
 * Whom a node talks to: nobody; whoever is near or named by an address; only holders of the network key; and, on top of
 * `lan`, the public IPFS DHT.
 */
export type NetworkMode = 'offline' | 'lan' | 'private' | 'public'

/** An agent with a connection now. */
export interface ConnectedPeer {
  /** Raw Ed25519 public key, 32 bytes. */
  readonly agent: Uint8Array
  readonly did: string
  /** Where its connections lead, multiaddr texts. */
  readonly addresses: readonly string[]
  readonly connection: 'direct' | 'relayed'
  readonly encryption: 'tls' | 'noise'
  /** Of the last ping, milliseconds. */
  readonly latencyMs: number | undefined
  readonly since: Date
  /** What it says it speaks; empty until it has said so. */
  readonly protocols: readonly string[]
}

/** How an agent can be reached, as far as is known. */
export type Reachability =
  | { readonly state: 'direct' | 'relayed' }
  | { readonly state: 'unreachable'; readonly reason: string; readonly message: string; readonly since: Date }
  /** Never tried. */
  | { readonly state: 'unknown' }

/** The network at a glance. */
export interface NetworkStatus {
  readonly mode: NetworkMode
  /** libp2p's name for this agent; absent offline. */
  readonly peerId: string | undefined
  readonly addresses: readonly string[]
  readonly connections: number
  /** Relays that this node was told to use, and whether it is reachable through each. */
  readonly relays: readonly { readonly address: string; readonly reserved: boolean }[]
  /** Connections turned away, by limit. */
  readonly refusedConnections: {
    readonly host: number
    readonly agent: number
    readonly stranger: number
    readonly penalised: number
  }
  readonly misbehaviour: Readonly<Record<Misbehaviour, number>>
  /** DIDs refused now for misbehaviour. */
  readonly refusedAgents: readonly string[]
}

/** This node's place among the others. Close it once done; `await using` does. */
export interface Network extends PeerNetwork, AsyncDisposable {
  readonly mode: NetworkMode
  /** The libp2p underneath, for Helia; `undefined` offline. Whoever takes it does not stop it. */
  readonly libp2p: Libp2p | undefined
  peers(options?: { signal?: AbortSignal | undefined }): Promise<readonly ConnectedPeer[]>
  reachability(agent: Uint8Array): Reachability
  /** Round trip to an agent, milliseconds; dials it when there is no connection. @throws UNAVAILABLE as `open` */
  ping(agent: Uint8Array, options?: { signal?: AbortSignal | undefined }): Promise<number>
  /**
   * Says on the DHT that this node has something to do with a key (32 bytes, blinded by the caller), and says so again as records
   * expire. A hint: whoever runs the DHT may drop it or make up others.
   * @throws UNAVAILABLE when nobody took it; the signal's reason
   */
  provide(key: Uint8Array, options?: { signal?: AbortSignal | undefined }): Promise<void>
  /** Agents of whom the DHT says that they provide a key, each once, their addresses remembered. A hint as well. */
  findProviders(key: Uint8Array, options?: { signal?: AbortSignal | undefined }): AsyncIterable<Uint8Array>
  /**
   * Calls `listener` when an agent that is connected says where it may be dialled, until the returned function is called: multiaddr texts,
   * the one that it was just reached at first.
   */
  onLearned(listener: (agent: Uint8Array, addresses: readonly string[]) => void): () => void
  /** Has places for connections kept for agents that are no strangers by `isKnown`, which is asked when one connects. Before, all are strangers. */
  keepRoomFor(isKnown: (agent: Uint8Array) => boolean): void
  status(): NetworkStatus
  /** Cuts all streams, closes all connections and stops listening. Idempotent. */
  close(): Promise<void>
}
