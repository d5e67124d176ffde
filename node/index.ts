/**
 * A runnable node: the only place that opens disks, starts threads and builds Helia.
 *
 * - `start-node.ts`  opens a node's parts; `compose-node.ts` puts them together; `running-node.ts` is what that gives
 * - `disk/`          the data directory: its lock, LevelDB, pack files, blocks as Helia sees them
 * - `workers/`       the content pipeline's CPU work on worker threads
 * - `maintenance/`   check, repair, garbage collection
 * - `cli/`           the command line
 *
 * Programs that do not run a node of their own take `artifact-hub/sdk`.
 */
export type {
  Artifact,
  ArtifactApi,
  ArtifactData,
  ArtifactRef,
  ArtifactVersion,
  ByteRange,
  CallOptions,
  Client,
  CreateOptions,
  CreateSnippetOptions,
  DownloadFileOptions,
  DownloadOptions,
  FilterCondition,
  GetOptions,
  Json,
  JsonObject,
  Listing,
  ListOptions,
  ListVersionsOptions,
  MetadataFilter,
  Namespace,
  NamespaceApi,
  NamespaceRef,
  NamespaceUsage,
  OnProgress,
  Page,
  Progress,
  UpdateOptions,
  UploadFileOptions,
  VersionedRef,
  VersionRef,
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
export type {
  ArtifactHubNode,
  CheckOptions,
  CheckReport,
  DiskUsage,
  Finding,
  GcOptions,
  GcReport,
  Logger,
  NodeStatus,
  StartNodeOptions,
} from './node-types.ts'
export { startNode } from './start-node.ts'
