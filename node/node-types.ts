import type { UnixFS } from '@helia/unixfs'
import type { Helia } from 'helia'
import type { Client } from '../sdk/client.ts'

/** Where log lines go. Never given a key, a passphrase or content. */
export interface Logger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
  error(message: string, fields?: Readonly<Record<string, unknown>>): void
}

export interface StartNodeOptions {
  /** Created (mode 0700) when absent. One process at a time: a second is `LOCKED`. */
  readonly dataDir: string
  /** Protects `identity.key`: given at creation it is needed ever after (`ACCESS_DENIED` without or with another). */
  readonly passphrase?: string | undefined
  /** Only `offline` (the default) does anything yet. */
  readonly network?: 'offline' | undefined
  /** Multiaddrs to listen on; must be empty while the only network is `offline`. */
  readonly listen?: readonly string[] | undefined
  readonly logger?: Logger | undefined
  /** Aborts the start. */
  readonly signal?: AbortSignal | undefined
}

/** Sizes and counts of one namespace on this node's disk. */
export interface DiskUsage {
  readonly namespace: string
  readonly name: string
  /** Bytes of pack files. */
  readonly packBytes: number
  /** Of those, bytes that no index row names any more; gc reclaims them. */
  readonly deadBytes: number
  readonly blocks: number
  /** Bytes of log entries. */
  readonly entryBytes: number
}

/** A node at a glance; JSON-safe but for the dates. */
export interface NodeStatus {
  readonly did: string
  readonly dataDir: string
  readonly version: string
  readonly network: 'offline'
  readonly startedAt: Date
  readonly namespaces: readonly {
    readonly id: string
    readonly name: string
    readonly current: boolean
    readonly plan: string
    readonly artifacts: number
    readonly usedBytes: number
    readonly entries: number
  }[]
}

/** Something that `check` found wrong, and what `repair` did about it. */
export interface Finding {
  /**
   * What is wrong: a block, an entry, an index row, the catalog, a pack. `block-unreadable` and `pack-missing` may pass
   * by themselves (a disk error, a folder not mounted): repair leaves them as they are.
   */
  readonly kind:
    | 'block-missing'
    | 'block-corrupt'
    | 'block-unreadable'
    | 'pack-missing'
    | 'pack-truncated'
    | 'index-wrong'
    | 'entry-corrupt'
    | 'catalog-differs'
    | 'usage-differs'
  readonly namespace: string
  /** In words, naming ids and places; no content. */
  readonly message: string
  /** Artifacts (`art_…`) that it is known to affect: they cannot be read whole, or only while what was derived before is kept. */
  readonly artifacts: readonly string[]
  /** Whether this call put it right, with nothing lost that a live version is known to need. */
  readonly repaired: boolean
}

export interface CheckOptions {
  /** Read and hash every block, too. */
  readonly readData?: boolean | undefined
  /**
   * Puts right what can be, and deletes no bytes of blocks or entries. Blocks that were read and are wrong leave the index
   * (copies go to `quarantine/`, their packs stay for good) and can be stored again. Lost index rows are made again from
   * the packs, the catalog from the log. While the log has damaged entries, what was derived from it before is kept.
   */
  readonly repair?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly onProgress?:
    | ((progress: { readonly step: string; readonly done: number; readonly total: number }) => void)
    | undefined
}

export interface CheckReport {
  readonly entries: number
  readonly versions: number
  readonly blocks: number
  /** Block bytes read and hashed; 0 without `readData`. */
  readonly bytesRead: number
  readonly findings: readonly Finding[]
}

export interface GcOptions {
  /** Skip the grace period (7 days). */
  readonly now?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * What gc did, in all namespaces but those that it leaves alone, with a warning to the logger: where a check found
 * damaged entries, until one finds none; where a live version lacks blocks; and one that is deleted meanwhile.
 */
export interface GcReport {
  readonly removedBlocks: number
  /** Bytes of those blocks. */
  readonly removedBytes: number
  /** Bytes given back to the file system: packs are compacted once a good part of them is dead. */
  readonly freedBytes: number
  /** Bodies of deleted versions erased from the log; their headers stay, so that chains still check. */
  readonly erasedBodies: number
  /** Blocks that would go but for the grace period or an open write. */
  readonly keptBlocks: number
}

/** A running node. Close it once done; `await using` does. */
export interface ArtifactHubNode extends AsyncDisposable {
  readonly client: Client
  readonly did: string
  readonly dataDir: string
  status(options?: { signal?: AbortSignal | undefined }): Promise<NodeStatus>
  check(options?: CheckOptions): Promise<CheckReport>
  gc(options?: GcOptions): Promise<GcReport>
  du(options?: { signal?: AbortSignal | undefined }): Promise<readonly DiskUsage[]>
  /** The Helia that shares this node's block store; started the first time it is asked for. */
  helia(): Promise<Helia>
  /** UnixFS over that Helia: `cat` of an artifact's `cid` gives its leaves, which are ciphertext, in order. */
  unixfs(): Promise<UnixFS>
  /** Waits for calls in flight to fail or finish, then releases everything. Idempotent. */
  close(): Promise<void>
}
