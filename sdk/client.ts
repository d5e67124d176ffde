import type { PlanLimits, PlanName } from '../src/limits.ts'
import type { GroupApi } from './group-client.ts'
import type { LinkApi } from './link-client.ts'
import type { AgentApi, MembershipApi, ReplicaOptions, ReplicationApi, WrittenArtifact } from './peer-client.ts'
import type { InboxApi, SharingApi } from './sharing-client.ts'

/** A JSON value, as metadata and snippets hold it. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

/** A JSON object. */
export type JsonObject = { readonly [key: string]: Json }

/** A number as people use it (1, 2, 3…) or a version id (`3-1f2e3d4c`), which stays unique when two agents write at once. */
export type VersionRef = number | string

/** One version of one artifact. */
export interface Artifact {
  /** `art_…`; unique everywhere, bound to its namespace. */
  readonly id: string
  /** `ns_…` of the namespace it is in. */
  readonly namespace: string
  readonly name: string
  readonly contentType: string
  /** Plaintext bytes. */
  readonly sizeBytes: number
  /** SHA-256 of the plaintext, lowercase hex: what `sha256sum` prints. */
  readonly sha256: string
  readonly metadata: JsonObject
  readonly version: number
  readonly versionId: string
  /** When the artifact's first version was written. */
  readonly createdAt: Date
  /** When this version was written. */
  readonly updatedAt: Date
  /** DID of the agent that wrote the artifact's first version. */
  readonly createdBy: string
  /** CID of the content root (encrypted blocks). */
  readonly cid: string
}

/** One row of an artifact's history. */
export interface ArtifactVersion extends Artifact {
  /** DID of the agent that wrote this version. */
  readonly author: string
  /** Other versions with the same number, written at the same time by others; reach them by version id. */
  readonly siblings: readonly string[]
  /** Whether this is what a call without a version gets. */
  readonly current: boolean
}

/** How far a transfer has come. The last event has `loaded === total`. */
export interface Progress {
  /** Plaintext bytes done. */
  readonly loaded: number
  /** Plaintext bytes in all; `undefined` while a stream's length is unknown. */
  readonly total: number | undefined
  /** Over the last few seconds. */
  readonly bytesPerSecond: number
}

/** Reports progress at most about 20 times a second; what it throws ends the call and comes out of it as it is. */
export type OnProgress = (progress: Progress) => void

/** What `create` and `update` take as content. A string is refused: see `uploadFile` and `createSnippet`. */
export type ArtifactData = Uint8Array | ArrayBuffer | Blob | ReadableStream<Uint8Array> | AsyncIterable<Uint8Array>

/** Options of every asynchronous call. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

/** How an artifact is described where one is written. */
interface Description {
  /** At most 1 KiB of UTF-8, no control characters; need not be unique. */
  readonly name: string
  /** Guessed from the name and the first bytes when absent. */
  readonly contentType?: string | undefined
  /** At most 16 KiB as JSON. */
  readonly metadata?: JsonObject | undefined
  /** Name or id; the current one when absent. */
  readonly namespace?: string | undefined
}

export interface CreateOptions extends CallOptions, ReplicaOptions, Description {
  readonly data: ArtifactData
  readonly onProgress?: OnProgress | undefined
}

export interface UploadFileOptions extends CallOptions, ReplicaOptions, Partial<Description> {
  /** A regular file. Its base name is the artifact's name when `name` is absent. */
  readonly path: string
  readonly onProgress?: OnProgress | undefined
}

export interface CreateSnippetOptions extends CallOptions, ReplicaOptions, Description {
  /** A string is stored as it is; anything else as indented JSON text. */
  readonly content: Json
}

/** At most one of `data`, `path`, `content` and `restore`; whatever is absent stays as it is. */
export interface UpdateOptions extends CallOptions, ReplicaOptions {
  readonly artifactId: string
  readonly namespace?: string | undefined
  readonly data?: ArtifactData | undefined
  readonly path?: string | undefined
  readonly content?: Json | undefined
  /** Makes this older version's content, name, type and metadata the newest again. */
  readonly restore?: VersionRef | undefined
  readonly name?: string | undefined
  readonly contentType?: string | undefined
  /** Replaces the whole metadata object. */
  readonly metadata?: JsonObject | undefined
  /** Compare and set: `CONFLICT` (its details name the current one) unless this is the current version. */
  readonly expectedVersion?: VersionRef | undefined
  readonly onProgress?: OnProgress | undefined
}

/** Names one artifact. */
export interface ArtifactRef extends CallOptions {
  readonly artifactId: string
  /** When given, must be the artifact's own. */
  readonly namespace?: string | undefined
}

/** Names one version; the current one when `version` is absent. */
export interface VersionedRef extends ArtifactRef {
  readonly version?: VersionRef | undefined
}

/** By id, or by name: of several artifacts with one name, the most recently updated. */
export type GetOptions =
  | VersionedRef
  | (CallOptions & {
      readonly name: string
      readonly namespace?: string | undefined
      readonly version?: VersionRef | undefined
    })

/** Part of the content, plaintext bytes. Without `length`: to the end. */
export interface ByteRange {
  readonly offset: number
  readonly length?: number | undefined
}

export interface DownloadOptions extends VersionedRef {
  readonly range?: ByteRange | undefined
  readonly onProgress?: OnProgress | undefined
}

export interface DownloadFileOptions extends VersionedRef {
  /**
   * The bytes go to a file beside it, for its owner alone (0600), that is renamed when complete; run again, it resumes. Then
   * it has the mode of the file that it replaces, else that of any new file.
   */
  readonly path: string
  /** Replace what is at `path`; otherwise that is `ALREADY_EXISTS`. */
  readonly overwrite?: boolean | undefined
  readonly onProgress?: OnProgress | undefined
}

/** A condition on one value of the metadata. */
export type FilterCondition =
  | Json
  | {
      readonly $in?: readonly Json[]
      readonly $gt?: number | string
      readonly $gte?: number | string
      readonly $lt?: number | string
      readonly $lte?: number | string
      readonly $exists?: boolean
      readonly $prefix?: string
    }

/**
 * All conditions must hold. Keys are paths: `{ 'a.b': 1 }` and `{ a: { b: 1 } }` say the same. A condition on
 * an array holds if it holds for one element. Comparison is within one type: numbers with numbers, strings by
 * Unicode code points.
 */
export type MetadataFilter = { readonly [path: string]: FilterCondition | MetadataFilter | undefined }

export interface ListOptions extends CallOptions {
  readonly namespace?: string | undefined
  readonly metadataFilter?: MetadataFilter | undefined
  readonly namePrefix?: string | undefined
  readonly contentType?: string | undefined
  /** At or after. */
  readonly createdAfter?: Date | undefined
  /** Before. */
  readonly createdBefore?: Date | undefined
  /** Default `{ by: 'createdAt', direction: 'desc' }`. */
  readonly order?:
    | { readonly by: 'createdAt' | 'updatedAt' | 'name'; readonly direction?: 'asc' | 'desc' | undefined }
    | undefined
  /** Items of a page, 1 to 1,000; default 100. */
  readonly limit?: number | undefined
  /** `nextCursor` of the page before; only with the same other options. */
  readonly cursor?: string | undefined
}

export interface ListVersionsOptions extends ArtifactRef {
  /** Items of a page, 1 to 1,000; default 100. Newest first. */
  readonly limit?: number | undefined
  readonly cursor?: string | undefined
}

/** One page of a list. */
export interface Page<T> {
  readonly items: readonly T[]
  /** Absent on the last page. */
  readonly nextCursor?: string | undefined
}

/** Await it for one page; iterate it for everything. Nothing is asked before either. */
export interface Listing<T> extends PromiseLike<Page<T>>, AsyncIterable<T> {}

export interface ArtifactApi {
  create(options: CreateOptions): Promise<WrittenArtifact>
  uploadFile(options: UploadFileOptions): Promise<WrittenArtifact>
  createSnippet(options: CreateSnippetOptions): Promise<WrittenArtifact>
  /**
   * A stale `expectedVersion` is refused before any of the content is read, and looked at again when the version is written.
   * What the content adds is not known ahead, so unlike with `create` it is counted against the plan while it is stored:
   * QUOTA_EXCEEDED may come midway, and then nothing has changed.
   */
  update(options: UpdateOptions): Promise<WrittenArtifact>
  get(options: GetOptions): Promise<Artifact>
  /**
   * At most 2 GiB. Here and below: what is not on this node is fetched from the other members, and kept.
   * @throws UNAVAILABLE (`details.asked`: each provider and its answer) when nobody brings it, ACCESS_DENIED for one who has no key to it
   */
  download(options: DownloadOptions): Promise<Uint8Array<ArrayBuffer>>
  downloadStream(options: DownloadOptions): AsyncIterable<Uint8Array<ArrayBuffer>>
  downloadFile(options: DownloadFileOptions): Promise<Artifact>
  list(options?: ListOptions): Listing<Artifact>
  listVersions(options: ListVersionsOptions): Listing<ArtifactVersion>
  /**
   * The artifact and all versions written so far. Its bytes stop counting against the plan at once, and leave the disk when
   * the node's `gc` is run after the grace period of 7 days (or with `now`): nothing runs `gc` by itself.
   */
  delete(options: ArtifactRef): Promise<void>
  /** Its bytes go as those of `delete` do, unless another version has them. */
  deleteVersion(options: ArtifactRef & { readonly version: VersionRef }): Promise<void>
}

/** One signed log plus its members: the unit of isolation. */
export interface Namespace {
  /** `ns_…`: the hash of its first entry. */
  readonly id: string
  /** Local to this node. */
  readonly name: string
  readonly plan: PlanName
  readonly owner: string
  readonly createdAt: Date
  readonly current: boolean
}

/** What a namespace holds against its plan. */
export interface NamespaceUsage {
  readonly namespace: string
  readonly plan: PlanName
  /** Distinct live leaves, bytes. */
  readonly usedBytes: number
  readonly artifacts: number
  readonly limits: PlanLimits
}

export interface NamespaceRef extends CallOptions {
  /** Name or id. */
  readonly namespace: string
}

export interface NamespaceApi {
  /** @throws ALREADY_EXISTS when this node has a namespace of that name. */
  create(options: CallOptions & { readonly name: string; readonly plan?: PlanName | undefined }): Promise<Namespace>
  list(options?: CallOptions): Promise<readonly Namespace[]>
  get(options: NamespaceRef): Promise<Namespace>
  /** Makes it the one that create, upload, snippet and list use; remembered in the data directory. */
  use(options: NamespaceRef): Promise<Namespace>
  setPlan(options: NamespaceRef & { readonly plan: PlanName }): Promise<Namespace>
  /** The current one when `namespace` is absent. */
  usage(options?: CallOptions & { readonly namespace?: string | undefined }): Promise<NamespaceUsage>
  /**
   * Removes it, its log and its blocks from this node, at once: no grace period. Calls under way in it fail with NOT_FOUND.
   * @throws CONFLICT for the current one
   */
  delete(options: NamespaceRef): Promise<void>
}

/** What a program does with a node; the same in process and over HTTP. Once the node is closed every call is CLOSED. */
export interface Client {
  /** DID of the agent that this client acts as. */
  readonly did: string
  readonly agent: AgentApi
  readonly artifact: ArtifactApi & ReplicationApi & SharingApi & LinkApi
  readonly namespace: NamespaceApi & MembershipApi
  readonly group: GroupApi
  readonly inbox: InboxApi
}
