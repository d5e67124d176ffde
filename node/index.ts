/**
 * A runnable node: the only place that opens disks, starts threads and builds Helia.
 *
 * - `start-node.ts`  opens a node's parts; `compose-node.ts` puts them together; `running-node.ts` is what that gives
 * - `network/`      libp2p: who is connected, streams and hints between agents
 * - `disk/`          the data directory: its lock, LevelDB, pack files, blocks as Helia sees them
 * - `gateway/`      serves links over HTTP
 * - `workers/`       the content pipeline's CPU work on worker threads
 * - `maintenance/`   check, repair, garbage collection
 * - `cli/`           the command line
 *
 * Programs that do not run a node of their own take `artifact-hub/sdk`.
 */

// biome-ignore lint/performance/noReExportAll: this entry is the node and all of the SDK, whose own list says what that is
export * from '../sdk/index.ts'
export type { GatewayOptions, Limits } from './gateway/gateway-options.ts'
export type { Logger } from './logger.ts'
export type { NetworkMode } from './network/index.ts'
export type {
  ArtifactHubNode,
  CheckOptions,
  CheckReport,
  DiskUsage,
  EndedStatus,
  Finding,
  ForkStatus,
  GatewayStatus,
  GcOptions,
  GcReport,
  LogStatus,
  NamespaceStatus,
  NodeStatus,
  Peer,
  PeerReach,
  StartNodeOptions,
  TransferStatus,
  VouchedStatus,
} from './node-types.ts'
export { startNode } from './start-node.ts'
