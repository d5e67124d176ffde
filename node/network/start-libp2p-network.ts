import type { PeerInfo } from '@libp2p/interface'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { ArtifactHubError } from '../../src/errors.ts'
import { privateKeyOf } from './agent-peer.ts'
import { BoundedDatastore } from './bounded-datastore.ts'
import { BulkStreams } from './bulk-streams.ts'
import { Gate } from './gate.ts'
import { KeepConnected, namedPeer } from './keep-connected.ts'
import { startLibp2p } from './libp2p.ts'
import { Libp2pNetwork } from './libp2p-network.ts'
import type { OnlineOptions } from './network-options.ts'
import { Penalties } from './penalties.ts'

/** @throws INVALID_ARGUMENT for an address that is none, and when one of `listen` cannot be listened on; the signal's reason */
export async function startLibp2pNetwork(options: OnlineOptions): Promise<Libp2pNetwork> {
  const { agent, mode, listen, logger, signal } = options
  const bootstrap = options.bootstrap.map((text) => namedPeer(text, 'bootstrap'))
  const relays = options.relays.map((text) => namedPeer(text, 'relays'))
  const loopback = listen.map(isLoopback)
  const penalties = new Penalties(options.monotonic)
  const gate = new Gate(penalties, options.monotonic)
  let near: (peer: PeerInfo) => void = () => {}
  const privateKey = await privateKeyOf(agent)
  // A private network's key would not be asked for on them, and without TLS there are none.
  const hasBulk = options.networkKey === undefined && options.encryption.includes('tls')
  const bulk = hasBulk ? new BulkStreams({ privateKey, gate, monotonic: options.monotonic }) : undefined
  const libp2p = await startLibp2p({
    privateKey,
    mode,
    listen,
    announce: options.announce.map((text) => addressOf(text, 'announce').toString()),
    multicast: loopback.includes(false),
    mustListen: options.mustListen,
    networkKey: options.networkKey,
    relay: options.relay,
    gate,
    monotonic: options.monotonic,
    bulk,
    datastore: options.datastore ?? new BoundedDatastore(),
    encryption: options.encryption,
    onNear: (peer) => near(peer),
  })
  const keep = new KeepConnected({ libp2p, bootstrap, relays, random: options.random, logger })
  const network = new Libp2pNetwork({ ...options, libp2p, bulk, penalties, gate, keep, relays })
  near = (peer) => network.foundNear(peer)
  try {
    signal?.throwIfAborted()
    keep.start()
    return network
  } catch (error) {
    await network.close()
    throw error
  }
}

/** @throws INVALID_ARGUMENT for a text that is no multiaddr */
function isLoopback(listen: string): boolean {
  return addressOf(listen, 'listen')
    .getComponents()
    .some(({ name, value }) => (name === 'ip4' && value?.startsWith('127.')) || (name === 'ip6' && value === '::1'))
}

/** @throws INVALID_ARGUMENT for a text that is no multiaddr */
function addressOf(text: string, what: string): Multiaddr {
  try {
    return multiaddr(text)
  } catch (cause) {
    throw new ArtifactHubError('INVALID_ARGUMENT', `${what}: ${text} is no multiaddr`, { cause })
  }
}
