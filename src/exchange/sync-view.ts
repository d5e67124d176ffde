import { sha256, toHex } from '../encoding/index.ts'
import type { ReplicatedLog, StoredEntry, VectorRow } from './sync-log.ts'

/** What a round is about: a whole namespace, or its auth entries and one artifact (20 bytes). */
export type SyncScope = { readonly kind: 'namespace' } | { readonly kind: 'artifact'; readonly artifact: Uint8Array }

/** What one side has: rows in a round about a namespace, ids in one about an artifact. */
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

/** The view of a log that a scope gives. */
export function viewOf(log: ReplicatedLog, scope: SyncScope): SyncView {
  return scope.kind === 'namespace' ? new NamespaceView(log) : new ArtifactView(log, scope.artifact)
}

class NamespaceView implements SyncView {
  readonly #log: ReplicatedLog

  constructor(log: ReplicatedLog) {
    this.#log = log
  }

  async hash(): Promise<Uint8Array> {
    return this.#log.vectorHash
  }

  async contents(): Promise<SyncContents> {
    return { rows: [...this.#log.vector()], ids: [] }
  }

  beyond(theirs: SyncContents, signal: AbortSignal): AsyncIterable<Uint8Array> {
    return this.#log.entriesBeyond(theirs.rows, { signal })
  }

  async *wanted(hashes: readonly Uint8Array[]): AsyncIterable<Uint8Array> {
    for (const hash of hashes) {
      const bytes = await this.#log.entryBytes(hash)
      if (bytes !== undefined) yield bytes
    }
  }
}

class ArtifactView implements SyncView {
  readonly #log: ReplicatedLog
  readonly #artifact: Uint8Array

  constructor(log: ReplicatedLog, artifact: Uint8Array) {
    this.#log = log
    this.#artifact = artifact
  }

  async hash(): Promise<Uint8Array> {
    return sha256(...(await this.contents()).ids)
  }

  async contents(): Promise<SyncContents> {
    const ids: Uint8Array[] = []
    for await (const { hash } of this.#entries()) ids.push(hash.slice(0, idBytes))
    return { rows: [], ids: ids.sort(Buffer.compare) }
  }

  async *beyond(theirs: SyncContents, signal: AbortSignal): AsyncIterable<Uint8Array> {
    const held = new Set(theirs.ids.map(toHex))
    for await (const { hash, bytes } of this.#entries(signal)) {
      if (!held.has(toHex(hash.subarray(0, idBytes)))) yield bytes
    }
  }

  async *wanted(hashes: readonly Uint8Array[], signal: AbortSignal): AsyncIterable<Uint8Array> {
    const wanted = new Set(hashes.map(toHex))
    if (wanted.size === 0) return
    for await (const { hash, bytes } of this.#entries(signal)) {
      if (wanted.has(toHex(hash))) yield bytes
    }
  }

  async *#entries(signal?: AbortSignal): AsyncIterable<StoredEntry> {
    yield* this.#log.authEntries({ signal })
    yield* this.#log.artifactEntries(this.#artifact, { signal })
  }
}
