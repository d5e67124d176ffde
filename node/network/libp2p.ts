/**
 * The one place where libp2p is put together, every limit set on purpose: its defaults suit a public server. What a bound is and
 * why stands in `src/limits.ts`, what is particular to libp2p here.
 */
import { noise } from '@chainsafe/libp2p-noise'
import { autoNAT } from '@libp2p/autonat'
import { type CircuitRelayService, circuitRelayServer, circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { dcutr } from '@libp2p/dcutr'
import { type GossipSub, gossipsub } from '@libp2p/gossipsub'
import { identify, identifyPush } from '@libp2p/identify'
import { FaultTolerance, type Libp2p, type PeerInfo, type PrivateKey } from '@libp2p/interface'
import { type KadDHT, kadDHT, passthroughMapper, removePrivateAddressesMapper } from '@libp2p/kad-dht'
import { mdns } from '@libp2p/mdns'
import { type Ping, ping } from '@libp2p/ping'
import { preSharedKey } from '@libp2p/pnet'
import { type TCPOptions, tcp } from '@libp2p/tcp'
import { createLibp2p, type Libp2pOptions } from 'libp2p'
import { ArtifactHubError } from '../../src/errors.ts'
import {
  handshakeMs,
  maxAddressesPerAgent,
  maxBulkStreams,
  maxConnections,
  maxHintBytes,
  maxNewConnectionsPerHost,
  maxPendingConnections,
  maxRelayReservations,
  maxSilentConnections,
  maxStreamsPerConnection,
  maxStreamsPerProtocol,
  openTimeoutMs,
  relayedConnectionBytes,
  relayedConnectionMs,
  streamWindowBytes,
  streamWriteBufferBytes,
} from '../../src/limits.ts'
import { packageVersion } from '../version.ts'
import { boundedYamux } from './bounded-yamux.ts'
import { withBulkStreams } from './bulk-listener.ts'
import type { BulkStreams } from './bulk-streams.ts'
import { connectsInTime } from './connect-limit.ts'
import type { Gate } from './gate.ts'
import { lookUpInTurn } from './name-lookups.ts'
import type { NetworkMode } from './network.ts'
import { OverlappingDials } from './overlapping-dials.ts'
import { OwnAddresses } from './own-addresses.ts'
import { RelayListeners } from './relay-listeners.ts'
import { formatSwarmKey } from './swarm-key.ts'
import { tlsOnSocket } from './tls-on-socket.ts'
import { boundedWebSockets } from './web-sockets.ts'

/** What this node's DHT is called; a DHT of another name is another DHT. */
const kadProtocol = '/artifact-hub/kad/1.0.0'
const publicKadProtocol = '/ipfs/kad/1.0.0'
/** Under the name that libp2p uses by default every IPFS node near would be asked. */
const mdnsService = '_artifact-hub._udp.local'

/** libp2p's services; this node uses the first five by name. */
export type Services = {
  dht: KadDHT
  pubsub: GossipSub
  ping: Ping
  relays: RelayListeners
  own: OwnAddresses
  dials: OverlappingDials
  identify: unknown
  identifyPush: unknown
  dcutr: unknown
  autoNAT?: unknown
  relay?: CircuitRelayService
}

export interface Libp2pParts {
  readonly privateKey: PrivateKey
  readonly mode: Exclude<NetworkMode, 'offline'>
  readonly listen: readonly string[]
  /** Told of beside those that it listens on. */
  readonly announce: readonly string[]
  /** Whether an address that cannot be listened on is an error. */
  readonly mustListen: boolean
  /** Whether to look for other nodes by multicast. */
  readonly multicast: boolean
  readonly networkKey: Uint8Array | undefined
  readonly relay: boolean
  readonly gate: Gate
  /** Milliseconds that never go back. */
  readonly monotonic: () => number
  /** Takes what begins with TLS at our TCP addresses, if it is there. */
  readonly bulk: BulkStreams | undefined
  readonly datastore: NonNullable<Libp2pOptions['datastore']>
  /** In the order in which they are offered. */
  readonly encryption: readonly ('tls' | 'noise')[]
  /** Told of nodes found near by. */
  readonly onNear: (peer: PeerInfo) => void
}

/**
 * A started libp2p. Starting waits for no network: without one it listens where it can and dials nobody.
 *
 * @throws INVALID_ARGUMENT when it must listen on an address and cannot
 */
export async function startLibp2p(parts: Libp2pParts): Promise<Libp2p<Services>> {
  const { mode, networkKey } = parts
  const encrypters = { tls: tlsOnSocket(), noise: noise() }
  const version = await packageVersion()
  // All of it is what `net.connect` is given.
  const dialOpts = { noDelay: true, lookup: lookUpInTurn }
  const plainTcp = tcpToHosts({
    // Those that are no libp2p connection yet, and bulk streams, take no place of its own.
    maxConnections: maxConnections + maxSilentConnections + maxBulkStreams,
    backlog: maxPendingConnections,
    dialOpts,
    listenOpts: { noDelay: true },
  })
  const starting = createLibp2p<Services>({
    privateKey: parts.privateKey,
    nodeInfo: { name: 'artifact-hub', version, userAgent: `artifact-hub/${version}` },
    datastore: parts.datastore,
    addresses: { listen: [...parts.listen], appendAnnounce: [...parts.announce] },
    transportManager: { faultTolerance: parts.mustListen ? FaultTolerance.FATAL_ALL : FaultTolerance.NO_FATAL },
    transports: [
      connectsInTime(parts.bulk === undefined ? plainTcp : withBulkStreams(plainTcp, parts.bulk, parts.gate)),
      connectsInTime(boundedWebSockets(parts.gate)),
      circuitRelayTransport({
        maxInboundStopStreams: maxStreamsPerProtocol,
        maxOutboundStopStreams: maxStreamsPerProtocol,
      }),
    ],
    ...(networkKey === undefined
      ? {}
      : { connectionProtector: preSharedKey({ psk: Buffer.from(formatSwarmKey(networkKey)) }) }),
    // The dialler's first that the other side knows is taken: TLS where both have it, for it measures faster.
    connectionEncrypters: parts.encryption.map((name) => encrypters[name]),
    streamMuxers: [
      boundedYamux(
        {
          maxInboundStreams: maxStreamsPerConnection,
          maxOutboundStreams: maxStreamsPerConnection,
          streamOptions: {
            maxStreamWindowSize: streamWindowBytes,
            // A paused stream gets no more than one window, so this is never reached by a slow reader.
            maxReadBufferLength: 2 * streamWindowBytes,
            maxWriteBufferLength: streamWriteBufferBytes,
          },
        },
        parts.monotonic,
      ),
    ],
    connectionGater: parts.gate.rules,
    connectionManager: {
      maxConnections,
      maxIncomingPendingConnections: maxPendingConnections,
      inboundConnectionThreshold: maxNewConnectionsPerHost,
      maxParallelDials: 32,
      maxDialQueueLength: 256,
      maxPeerAddrsToDial: maxAddressesPerAgent,
      dialTimeout: openTimeoutMs,
      addressDialTimeout: handshakeMs,
      inboundUpgradeTimeout: handshakeMs,
      // One round trip.
      inboundStreamProtocolNegotiationTimeout: 10_000,
      outboundStreamProtocolNegotiationTimeout: 10_000,
      reconnectRetries: 3,
    },
    connectionMonitor: {
      pingInterval: 20_000,
      // A busy peer answers late; one whose cable was pulled never does, and TCP itself would notice after 2 minutes.
      pingTimeout: { minTimeout: 20_000, maxTimeout: 60_000 },
    },
    peerDiscovery: parts.multicast
      ? [
          (components) => {
            const service = mdns({ serviceTag: mdnsService })(components)
            service.addEventListener('peer', ({ detail }) => parts.onNear(detail))
            return service
          },
        ]
      : [],
    services: {
      identify: identify({ maxInboundStreams: 2, maxOutboundStreams: 2 }),
      identifyPush: identifyPush({ maxInboundStreams: 2, maxOutboundStreams: 2, runOnLimitedConnection: true }),
      ping: ping({ maxInboundStreams: 4, maxOutboundStreams: 4, runOnLimitedConnection: true }),
      dht: kadDHT({
        protocol: mode === 'public' ? publicKadProtocol : kadProtocol,
        // Without the mapper for all addresses it drops those of a LAN; a node there is reachable, so it serves.
        ...(mode === 'public'
          ? { peerInfoMapper: removePrivateAddressesMapper }
          : { peerInfoMapper: passthroughMapper, clientMode: false }),
        maxInboundStreams: maxStreamsPerProtocol,
        maxOutboundStreams: maxStreamsPerProtocol,
      }),
      pubsub: gossipsub({
        // A node alone in its topic is normal, and so are many nodes behind one address.
        allowPublishToZeroTopicPeers: true,
        scoreParams: { IPColocationFactorWeight: 0 },
        emitSelf: false,
        // A hint is heard from the neighbour that tells it, whose key the connection has proven, and goes no further: whoever learns
        // something by it tells of that itself. Signatures of twenty members' hints took half of the processor time.
        globalSignaturePolicy: 'StrictNoSign',
        asyncValidation: true,
        floodPublish: true,
        batchPublish: true,
        fallbackToFloodsub: false,
        runOnLimitedConnection: true,
        maxInboundStreams: 2,
        maxOutboundStreams: 2,
        maxInboundDataLength: maxHintBytes + 4096,
        maxOutboundBufferSize: streamWriteBufferBytes,
        // A frame of gossip names at most as many messages as a member's minute brings.
        decodeRpcLimits: {
          maxSubscriptions: 1_000,
          maxMessages: 256,
          maxIhaveMessageIDs: 5_000,
          maxIwantMessageIDs: 5_000,
          maxIdontwantMessageIDs: 5_000,
          maxControlMessages: 1_000,
          maxPeerInfos: 16,
        },
      }),
      dcutr: dcutr(),
      // Asks peers whether they can dial this node: of use only where its addresses are public.
      ...(mode === 'public' ? { autoNAT: autoNAT() } : {}),
      ...(parts.relay
        ? {
            relay: circuitRelayServer({
              maxInboundHopStreams: maxStreamsPerProtocol,
              maxOutboundHopStreams: maxStreamsPerProtocol,
              reservations: {
                maxReservations: maxRelayReservations,
                // libp2p's relay takes this for milliseconds, whatever its messages say.
                defaultDurationLimit: relayedConnectionMs,
                defaultDataLimit: BigInt(relayedConnectionBytes),
              },
            }),
          }
        : {}),
      relays: ({ transportManager }) => new RelayListeners(transportManager),
      own: (components) => new OwnAddresses(components, mode !== 'public'),
      dials: (components) => new OverlappingDials(components),
    },
  })
  const libp2p = await starting.catch((cause: unknown) => {
    if (!(cause instanceof Error) || cause.name !== 'UnsupportedListenAddressesError') throw cause
    const listen = [...parts.listen]
    throw new ArtifactHubError('INVALID_ARGUMENT', `cannot listen on all of ${listen.join(', ')}`, {
      details: { listen },
      cause,
    })
  })
  const { relay } = libp2p.services
  if (relay !== undefined) parts.gate.relayPlaces.follow(libp2p, relay)
  return libp2p
}

/** libp2p's TCP, which would also dial sockets in this machine's file system, whoever names them. */
function tcpToHosts(options: TCPOptions): ReturnType<typeof tcp> {
  const make = tcp(options)
  return (components) => {
    const transport = make(components)
    const dialFilter = transport.dialFilter.bind(transport)
    transport.dialFilter = (addresses) =>
      dialFilter(addresses).filter((address) => address.getComponents().every(({ name }) => name !== 'unix'))
    return transport
  }
}
