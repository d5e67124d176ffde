import { ArtifactHubError } from '../../src/errors.ts'
import type { Network } from './network.ts'
import type { StartNetworkOptions } from './network-options.ts'
import { OfflineNetwork } from './offline-network.ts'

/** All addresses of all interfaces, at ports that the system picks. */
const defaultListen = ['/ip4/0.0.0.0/tcp/0', '/ip6/::/tcp/0', '/ip4/0.0.0.0/tcp/0/ws', '/ip6/::/tcp/0/ws']

/** The IPFS network's own entry points, whose addresses DNS names. Source: Kubo's default configuration. */
const publicBootstrap = [
  '/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN',
  '/dnsaddr/bootstrap.libp2p.io/p2p/QmQCU2EcMqAqQPR2i9bChDtGNJchTbq5TbXJJ16u19uLTa',
  '/dnsaddr/bootstrap.libp2p.io/p2p/QmbLHAnMoJPWSCR5Zhtx6BHJX9KiKNN6tpvbUcqanj75Nb',
  '/dnsaddr/bootstrap.libp2p.io/p2p/QmcZf59bWwK5XFi76CZX8cbJ4BhTzzA3gU1ZjYZcYW3dwt',
]

/**
 * Starts this node's part of the network. Waits for nobody: without a network it starts as quickly, and joins when there is
 * one. `offline` loads nothing of libp2p.
 *
 * @throws INVALID_ARGUMENT for options that do not go together, addresses that are none, and when one of `listen` cannot be
 *   listened on; the signal's reason
 */
export async function startNetwork(options: StartNetworkOptions): Promise<Network> {
  const { mode, networkKey, signal } = options
  signal?.throwIfAborted()
  const refuse = (message: string): never => {
    throw new ArtifactHubError('INVALID_ARGUMENT', message)
  }
  if ((mode === 'private') !== (networkKey !== undefined))
    refuse('a private network needs a networkKey, others take none')
  if (networkKey !== undefined && networkKey.length !== 32) refuse('a networkKey has 32 bytes')
  if (mode === 'offline') {
    const asked = [options.listen, options.announce, options.bootstrap, options.relays].some(
      (list) => (list?.length ?? 0) > 0,
    )
    if (asked || options.relay === true) refuse('an offline node listens, dials and relays nothing')
    return new OfflineNetwork()
  }
  if (options.encryption?.length === 0) refuse('some encryption must be offered')
  const { startLibp2pNetwork } = await import('./start-libp2p-network.ts')
  return await startLibp2pNetwork({
    ...options,
    mode,
    listen: options.listen ?? defaultListen,
    mustListen: options.listen !== undefined,
    announce: options.announce ?? [],
    bootstrap: options.bootstrap ?? (mode === 'public' ? publicBootstrap : []),
    relays: options.relays ?? [],
    relay: options.relay ?? false,
    networkKey,
    encryption: options.encryption ?? ['tls', 'noise'],
    logger: options.logger,
  })
}
