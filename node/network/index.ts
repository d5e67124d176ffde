/**
 * The network: agents' nodes as `src/exchange` sees them, over libp2p.
 *
 * - `start-network.ts`          what a node starts; `offline-network.ts` when there is to be none; `network-options.ts`
 * - `libp2p.ts`                 the one place where libp2p is put together, with all its limits
 * - `libp2p-network.ts`         its adaptor; `peer-stream.ts`, `hints.ts`, `providers.ts`, `peers.ts` its parts
 * - `bulk-streams.ts`          streams on connections of their own; `bulk-stream.ts` one, `bulk-listener.ts` how they are told from libp2p's
 * - `dialler.ts`                finds and makes connections; `address-book.ts`, `failures.ts` what it remembers
 * - `gate.ts`, `penalties.ts`   who may connect; `silent-places.ts` how many that are to say yet what they are
 * - `keep-connected.ts`, `relay-listeners.ts`  bootstrap nodes and relays
 */
export type { ConnectedPeer, Network, NetworkMode, NetworkStatus, Reachability } from './network.ts'
export type { StartNetworkOptions } from './network-options.ts'
export { startNetwork } from './start-network.ts'
export { formatSwarmKey, parseSwarmKey } from './swarm-key.ts'
