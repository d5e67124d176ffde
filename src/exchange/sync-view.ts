import { bytesText, sha256 } from '../encoding/index.ts'
import type { SyncScope } from './sync-codec.ts'
import type { ArtifactViewOptions, ReplicatedLog, StoredEntry, VectorRow } from './sync-log.ts'

/** What one side has: rows in a round about a namespace, ids in any other. */
export interface SyncContents {
  readonly rows: readonly VectorRow[]
  readonly ids: readonly Uint8Array[]
}

/** A log through the scope of a round: what there is to compare, and the entries to send. */
export interface SyncView {
  /** 32 bytes; two sides with one hash have the same entries in this scope. */
  hash(): Promise<Uint8Array>
  contents(): Promise<SyncContents>
  /** What whoever has `theirs` lacks of what is here. */
  beyond(theirs: SyncContents, signal: AbortSignal): AsyncIterable<Uint8Array>
  /** Those of the wanted entries that are in this scope and held. */
  wanted(hashes: readonly Uint8Array[], signal: AbortSignal): AsyncIterable<Uint8Array>
}

const idBytes = 16

/**
 * The view of a log that a scope gives.
 * @param options what of an artifact is in view: both sides must have the same
 */
export function viewOf(
  log: ReplicatedLog,
  scope: SyncScope,
  options: Omit<ArtifactViewOptions, 'signal'> = {},
): SyncView {
  if (scope.kind === 'namespace') return new NamespaceView(log)
  return new PartView(log, scope, options)
}

class NamespaceView implements SyncView {
  readonly #log: ReplicatedLog

  constructor(log: ReplicatedLog) {
    this.#log = log
  }

  async hash(): Promise<Uint8Array> {
    return this.#log.held.vectorHash
  }

  async contents(): Promise<SyncContents> {
    return { rows: [...this.#log.held.vector()], ids: [] }
  }

  beyond(theirs: SyncContents, signal: AbortSignal): AsyncIterable<Uint8Array> {
    return this.#log.held.entriesBeyond(theirs.rows, { signal })
  }

  async *wanted(hashes: readonly Uint8Array[]): AsyncIterable<Uint8Array> {
    for (const hash of hashes) {
      const bytes = await this.#log.held.bytes(hash)
      if (bytes !== undefined) yield bytes
    }
  }
}

/** What of an artifact is in view by a capability, beside the entries that say who may do what; nothing when it is about these alone. */
export class ArtifactView {
  readonly #log: ReplicatedLog
  readonly #scope: SyncScope
  readonly #options: Omit<ArtifactViewOptions, 'signal'>

  constructor(log: ReplicatedLog, scope: SyncScope, options: Omit<ArtifactViewOptions, 'signal'>) {
    this.#log = log
    this.#scope = scope
    this.#options = options
  }

  /** The first 16 bytes of the hash of each entry, ascending. */
  async ids(): Promise<Uint8Array[]> {
    const ids: Uint8Array[] = []
    for await (const { hash } of this.entries()) ids.push(hash.slice(0, idBytes))
    return ids.sort(Buffer.compare)
  }

  async *entries(signal?: AbortSignal): AsyncIterable<StoredEntry> {
    const { kind } = this.#scope
    if (kind === 'artifact') yield* this.#log.held.artifactEntries(this.#scope.artifact, { ...this.#options, signal })
  }

  /** Those whose id (as text) is not among these. */
  async *beyond(without: ReadonlySet<string>, signal: AbortSignal): AsyncIterable<Uint8Array> {
    for await (const { hash, bytes } of this.entries(signal)) {
      if (!without.has(bytesText(hash.subarray(0, idBytes)))) yield bytes
    }
  }

  /** Those whose hash (as text) is among these. */
  async *among(hashes: ReadonlySet<string>, signal: AbortSignal): AsyncIterable<Uint8Array> {
    for await (const { hash, bytes } of this.entries(signal)) if (hashes.has(bytesText(hash))) yield bytes
  }
}

/** The entries that say who may do what, and those of one artifact, if there is one. */
class PartView implements SyncView {
  readonly #log: ReplicatedLog
  readonly #artifact: ArtifactView

  constructor(log: ReplicatedLog, scope: SyncScope, options: Omit<ArtifactViewOptions, 'signal'>) {
    this.#log = log
    this.#artifact = new ArtifactView(log, scope, options)
  }

  async hash(): Promise<Uint8Array> {
    const { hash } = await this.#log.held.authIds()
    return sha256(hash, ...(await this.#artifact.ids()))
  }

  async contents(): Promise<SyncContents> {
    const { ids } = await this.#log.held.authIds()
    return { rows: [], ids: [...ids, ...(await this.#artifact.ids())].sort(Buffer.compare) }
  }

  async *beyond(theirs: SyncContents, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const without = new Set(theirs.ids.map(bytesText))
    for await (const { bytes } of this.#log.held.authEntries({ without, signal })) yield bytes
    yield* this.#artifact.beyond(without, signal)
  }

  async *wanted(hashes: readonly Uint8Array[], signal: AbortSignal): AsyncIterable<Uint8Array> {
    if (hashes.length > 0) yield* this.#artifact.among(new Set(hashes.map(bytesText)), signal)
  }
}
