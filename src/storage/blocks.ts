/** Where a block's bytes are: in a file that this process has open. */
export interface BlockPlace {
  /** The file's descriptor, good in every thread. */
  readonly descriptor: number
  /** Where the block begins in it, bytes. */
  readonly offset: number
  /** Of the block, bytes. */
  readonly length: number
}

/**
 * The blocks of one namespace, by SHA-256 digest (32 bytes). A block is here only if this node wrote or
 * fetched it for this namespace, whatever other namespaces hold.
 */
export interface NamespaceBlocks {
  /**
   * The same without what entries carry, where some do. A tree's blocks are never found there alone, and looking for one of many
   * that is not here takes half the time.
   */
  readonly ofTrees?: NamespaceBlocks
  /**
   * The bytes, or `undefined` when the block is not here. Not verified: whoever uses them checks the hash first.
   * They are the caller's own, with all of their buffer: it may move them to another thread.
   * @throws STORAGE_FAILED on a disk error (never reported as absence), CORRUPT when the pack is shorter than its index says.
   */
  read(digest: Uint8Array, options?: { signal?: AbortSignal }): Promise<Uint8Array<ArrayBuffer> | undefined>
  /**
   * As `read`, into the caller's memory. `into` must be as long as the block; `maxBlockBytes` is enough for any.
   * @returns the length of the block, or `undefined` when it is not here
   */
  readInto(digest: Uint8Array, into: Uint8Array, options?: { signal?: AbortSignal }): Promise<number | undefined>
  /**
   * Has `use` read the block where it is, for those who do so in another thread. The place is good until `use` settles, which is
   * to reject as Node's own calls do, with code EOF when the file ends inside the block: it is called again when the block was moved
   * meanwhile. Absent where no block is in a file.
   * @returns what `use` gave, or `undefined` when the block is not here in a file
   * @throws as `read`, and errors of ours that `use` throws
   */
  inPlace?<T>(
    digest: Uint8Array,
    use: (place: BlockPlace) => Promise<T>,
    options?: { signal?: AbortSignal },
  ): Promise<T | undefined>
  /** Whether each is here, in order. */
  has(digests: readonly Uint8Array[]): Promise<boolean[]>
  /** Begins a set of writes. Until it is closed, gc keeps every block that it stored *or found*. */
  openWriter(): BlockWriter
}

/** One open write. Close it on every path; `await using` does. */
export interface BlockWriter extends AsyncDisposable {
  /**
   * Whether the block is here already; if it is, protects it from gc until this writer closes, exactly as `put` does.
   */
  find(digest: Uint8Array): Promise<boolean>
  /**
   * Appends the block unless it is here already (`stored: false`). `bytes` may come in parts, to spare a copy;
   * the parts must not change until it resolves. Resolves when the bytes are handed to the operating
   * system (which is the backpressure), not when they are durable. The caller vouches for the digest.
   * @throws STORAGE_FULL, STORAGE_FAILED. After either, what was stored before is intact and other writers go on.
   */
  put(digest: Uint8Array, bytes: Uint8Array | readonly Uint8Array[]): Promise<{ stored: boolean }>
  /** Makes durable all that was put before: pack bytes first, then their index. Concurrent calls share one fsync. */
  sync(): Promise<void>
  /** Ends the protection from gc; unsynced blocks may be lost. Idempotent. */
  close(): Promise<void>
}
