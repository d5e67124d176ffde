/**
 * A runnable node: the only place that opens disks, starts threads and builds Helia.
 *
 * - `start-node.ts`  opens a node's parts; `compose-node.ts` puts them together; `running-node.ts` is what that gives
 * - `network/`      libp2p: who is connected, streams and hints between agents
 * - `disk/`          the data directory: its lock, LevelDB, pack files, blocks as Helia sees them
 * - `workers/`       the content pipeline's CPU work on worker threads
 * - `maintenance/`   check, repair, garbage collection
 * - `cli/`           the command line
 *
 * Programs that do not run a node of their own take `artifact-hub/sdk`.
 */
export type {
  AgentApi,
  AgentSelf,
  Artifact,
  ArtifactApi,
  ArtifactData,
  ArtifactEvent,
  ArtifactRef,
  ArtifactStatus,
  ArtifactVersion,
  ByteRange,
  CallOptions,
  Client,
  Contact,
  CreateOptions,
  CreateSnippetOptions,
  DownloadFileOptions,
  DownloadOptions,
  FetchPolicy,
  FilterCondition,
  GetOptions,
  GrantableRole,
  Holding,
  Json,
  JsonObject,
  Listing,
  ListOptions,
  ListVersionsOptions,
  Member,
  MembershipApi,
  MetadataFilter,
  Namespace,
  NamespaceApi,
  NamespaceRef,
  NamespaceUsage,
  OnProgress,
  Page,
  Progress,
  ReplicaOptions,
  ReplicaReport,
  ReplicationApi,
  Role,
  UpdateOptions,
  UploadFileOptions,
  VersionedRef,
  VersionRef,
  WatchOptions,
  WrittenArtifact,
} from '../sdk/index.ts'
export {
  ArtifactHubError,
  type ErrorCode,
  type ErrorDetails,
  errorTable,
  isHubError,
  type PlanLimits,
  type PlanName,
  plans,
} from '../sdk/index.ts'
export type { NetworkMode } from './network/index.ts'
export type {
  ArtifactHubNode,
  CheckOptions,
  CheckReport,
  DiskUsage,
  Finding,
  ForkStatus,
  GcOptions,
  GcReport,
  Logger,
  NamespaceStatus,
  NodeStatus,
  Peer,
  PeerReach,
  StartNodeOptions,
  TransferStatus,
} from './node-types.ts'
export { startNode } from './start-node.ts'
