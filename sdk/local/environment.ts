import type { ContentEngine, LeafMemory, OutputFile, PositionedSource } from '../../src/content/index.ts'
import type { PeerNetwork, Scheduler } from '../../src/exchange/index.ts'
import type { NamespaceEnvironment } from '../../src/namespace/index.ts'
import type { Discovery } from './replication/discovery.ts'
import type { Fetches } from './replication/fetches.ts'

/** A regular file being uploaded. Close it on every path. */
export interface SourceFile extends PositionedSource, AsyncDisposable {
  /** Its base name. */
  readonly name: string
  readonly sizeBytes: number
  /** Absolute: what tells one file from another when an upload is run again. */
  readonly path: string
  /** @throws SOURCE_FAILED when the file is not what it was when it was opened */
  checkUnchanged(): Promise<void>
}

/**
 * A file being downloaded: written beside its target, and renamed when whole. What others write through its descriptor must be done
 * before it is committed or closed.
 */
export interface TargetFile extends OutputFile, AsyncDisposable {
  /** Bytes from its beginning that an earlier, interrupted download left, if nobody has changed them. More than the content has when they are of something else. */
  readonly heldBytes: number
  write(bytes: Uint8Array, position: number): Promise<void>
  /** All before `end` is written, and nothing further than `maxUnorderedBytes` past it: should this download end here, the next goes on there. */
  keep(end: number): void
  /** SHA-256 of what is written so far. */
  sha256(signal: AbortSignal | undefined): Promise<Uint8Array>
  truncate(bytes: number): Promise<void>
  /** Makes it the target. @throws ALREADY_EXISTS when it may not replace what is there */
  commit(): Promise<void>
}

/** The files of the machine that a local client runs on. */
export interface LocalFiles {
  /** @throws NOT_FOUND, INVALID_ARGUMENT when it is not a regular file, SOURCE_FAILED */
  openSource(path: string): Promise<SourceFile>
  /**
   * @param content names the bytes, so that only a partial download of the same is resumed
   * @throws ALREADY_EXISTS, NOT_FOUND for a folder that is not there, INVALID_ARGUMENT
   */
  openTarget(path: string, options: { overwrite: boolean; content: string }): Promise<TargetFile>
}

/** All that a local client needs of the node that it is in. */
export interface LocalEnvironment extends NamespaceEnvironment {
  readonly engine: ContentEngine
  /** Leaves sealed of late, by their nonces: a new version need not seal them again. */
  readonly leafMemory: LeafMemory
  readonly files: LocalFiles
  readonly network: PeerNetwork
  /** Whether there are others on the network: offline nothing is served, kept in step or fetched ahead. */
  readonly isOnline: boolean
  readonly scheduler: Scheduler
  readonly discovery: Discovery
  /** How contents are read, wherever their blocks are. */
  readonly fetches: Fetches
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** Milliseconds of a clock that never jumps; for rates. */
  readonly monotonic: () => number
  /** Removes what a namespace has on the disk beside the database. */
  readonly removeBlocks: (namespace: string) => Promise<void>
}
