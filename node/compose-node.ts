import {
  createLocalClient,
  Fetches,
  Groups,
  Links,
  type LocalEnvironment,
  LocalNamespaces,
  OpenCalls,
  Replication,
  Sharing,
} from '../sdk/local/index.ts'
import { LeafMemory } from '../src/content/index.ts'
import { keySpaces } from '../src/namespace/index.ts'
import { PackStore, type PackStoreOptions } from './disk/index.ts'
import type { Gateway, GatewaySettings } from './gateway/index.ts'
import { KnownAddresses } from './known-addresses.ts'
import { localFiles } from './local-files.ts'
import type { Logger } from './logger.ts'
import type { Network } from './network/index.ts'
import { RunningNode } from './running-node.ts'

/** 128 GiB of content, so a file of any size that is allowed; 17 MB of memory. */
const maxRememberedLeaves = 131_072

/** The parts of a node that touch a machine, and what the data directory said. */
export interface NodeParts
  extends Pick<
    LocalEnvironment,
    'store' | 'agent' | 'incarnation' | 'clock' | 'random' | 'engine' | 'verify' | 'openBodies' | 'now' | 'monotonic'
  > {
  readonly dataDir: string
  /** Being started; closed by whoever made it, after all that is opened here. */
  readonly network: Promise<Network>
  readonly packs: Pick<PackStoreOptions, 'directory' | 'files' | 'maxPackBytes'>
  /** Closed with the node, last first; what is opened here goes on top. Whoever made it disposes of it if this throws. */
  readonly resources: AsyncDisposableStack
  /** Present when the node is to serve links. */
  readonly gateway?: GatewaySettings | undefined
  readonly logger: Logger | undefined
}

/**
 * Puts a node together from its parts. `startNode` takes them from the machine; tests of faults take some that fail.
 *
 * @throws CORRUPT, UNSUPPORTED_FORMAT, STORAGE_FULL, STORAGE_FAILED, what the network's start throws
 */
export async function composeNode({
  dataDir,
  packs: packOptions,
  network: startingNetwork,
  resources,
  gateway: settings,
  logger,
  ...parts
}: NodeParts): Promise<RunningNode> {
  const index = { index: parts.store, keyPrefix: Uint8Array.of(keySpaces.packIndex), now: parts.now }
  const packs = resources.use(await PackStore.open({ ...packOptions, ...index }))
  const network = await startingNetwork
  const scheduler = { now: parts.now, setTimer }
  const { agent, monotonic, engine } = parts
  const fetches = resources.use(new Fetches({ network, scheduler, engine, monotonic, self: agent.publicKey }))
  const env: LocalEnvironment = {
    ...parts,
    network,
    discovery: network,
    isOnline: network.mode !== 'offline',
    scheduler,
    fetches,
    files: localFiles,
    leafMemory: new LeafMemory(maxRememberedLeaves),
    packs: (id) => packs.namespace(id),
    warn: (message, fields) => logger?.warn(message, fields),
    removeBlocks: (id) => packs.removeNamespace(id),
  }
  const addresses = await KnownAddresses.open({ store: parts.store, network, now: parts.now, logger })
  const namespaces = await LocalNamespaces.open(env)
  resources.defer(() => namespaces.close())
  const replication = resources.use(await Replication.open(env, namespaces))
  addresses.begin((id) => replication.isKnown(id))
  resources.use(addresses)
  const links = await Links.open(env)
  const groups = resources.use(await Groups.open(replication))
  const sharing = resources.use(await Sharing.open(groups))
  network.keepRoomFor((id) => replication.isKnown(id) || sharing.isParty(id))
  const calls = new OpenCalls()
  const gateway = settings && (await openGateway(settings, replication, resources, logger))
  if (gateway !== undefined) await links.gatewayRuns(gateway.url)
  return new RunningNode({
    dataDir,
    env,
    network,
    replication,
    groups,
    sharing,
    packs,
    client: createLocalClient(sharing, links, calls),
    calls,
    gateway,
    resources,
    logger,
  })
}

async function openGateway(
  settings: GatewaySettings,
  replication: Replication,
  resources: AsyncDisposableStack,
  logger: Logger | undefined,
): Promise<Gateway> {
  // Loaded when asked for: it takes longer to load than a node without a network takes to start.
  const { LinkSource, startGateway } = await import('./gateway/index.ts')
  const { engine, store, agent, now, monotonic } = replication.env
  const { open, allowPrivateProviders, maxViewAgeSeconds, strangerCacheBytes } = settings
  const maxViewAgeMs = maxViewAgeSeconds * 1000
  const source = new LinkSource({ replication, open, allowPrivateProviders, maxViewAgeMs, strangerCacheBytes })
  resources.use(source)
  const parts = { settings, source, engine, store, self: agent.publicKey, now, monotonic, logger }
  return resources.use(await startGateway(parts))
}

function setTimer(delayMs: number, work: () => void): () => void {
  const timer = setTimeout(work, delayMs)
  return () => clearTimeout(timer)
}
