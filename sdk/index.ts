/**
 * The interface that programs are written against, safe to load in a browser: types, errors and links, no Node modules.
 */

export { ArtifactHubError, type ErrorCode, type ErrorDetails, errorTable, isHubError } from '../src/errors.ts'
export { type PlanLimits, type PlanName, plans } from '../src/limits.ts'
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
} from './client.ts'
export type { Group, GroupApi, GroupMember, GroupRef, GroupRole } from './group-client.ts'
export type { GatewayRef, LinkApi, ListedUrl, SignedUrlOptions } from './link-client.ts'
export type {
  AgentApi,
  AgentContact,
  AgentSelf,
  ArtifactEvent,
  ArtifactStatus,
  Contact,
  FetchPolicy,
  GrantableRole,
  GroupContact,
  GroupGrant,
  Holding,
  Member,
  MembershipApi,
  ReplicaOptions,
  ReplicaReport,
  ReplicationApi,
  Role,
  WatchOptions,
  WrittenArtifact,
} from './peer-client.ts'
export type {
  Access,
  InboxApi,
  InboxRequest,
  ListSharedOptions,
  Recipient,
  Share,
  SharedArtifact,
  ShareOptions,
  SharingApi,
} from './sharing-client.ts'
export { SignedUrl } from './signed-url.ts'
