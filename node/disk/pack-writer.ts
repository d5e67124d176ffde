import { ArtifactHubError } from '../../src/errors.ts'
import type { BlockWriter } from '../../src/storage/blocks.ts'
import type { PendingBlock } from './pack-appender.ts'
import { type DigestKey, digestKey } from './pack-index.ts'

/** What a writer asks of its namespace. */
export interface PackWriterOptions {
  /** The block on its way (`block`) or in the index (no `block`); appended when absent and `parts` are given. */
  readonly seek: (
    digest: Uint8Array,
    parts: readonly Uint8Array[] | undefined,
  ) => Promise<{ block: PendingBlock | undefined; stored: boolean } | undefined>
  /** All that was written before is durable or failed when it resolves. */
  readonly commit: () => Promise<void>
  readonly onClose: () => void
}

/** One open write of a namespace. */
export class PackWriter implements BlockWriter {
  readonly #options: PackWriterOptions
  /** What gc leaves alone: stored or found here. */
  readonly #protected = new Set<DigestKey>()
  /** Ours, or another's that we rely on: not known to be durable. A failed one stays until it is put again. */
  readonly #unsynced = new Map<DigestKey, PendingBlock>()
  readonly #running = new Set<Promise<unknown>>()
  #closed = false

  constructor(options: PackWriterOptions) {
    this.#options = options
  }

  /** The blocks that it stored or found. */
  get protected(): ReadonlySet<DigestKey> {
    return this.#protected
  }

  async find(digest: Uint8Array): Promise<boolean> {
    return (await this.#track(this.#seek(digest, undefined))) !== undefined
  }

  async put(digest: Uint8Array, bytes: Uint8Array | readonly Uint8Array[]): Promise<{ stored: boolean }> {
    const parts = bytes instanceof Uint8Array ? [bytes] : bytes
    const result = await this.#track(this.#seek(digest, parts))
    return { stored: result?.stored ?? false }
  }

  async sync(): Promise<void> {
    this.#assertOpen()
    // Puts that were called but have not resolved are part of what was put before.
    await Promise.allSettled(this.#running)
    const waiting = [...this.#unsynced]
    if (waiting.some(([, block]) => block.state === 'written')) await this.#options.commit()
    let failure: Error | undefined
    for (const [key, block] of waiting) {
      if (block.state !== 'durable')
        failure ??= block.error ?? new ArtifactHubError('INTERNAL', 'a block was left behind')
      else if (this.#unsynced.get(key) === block) this.#unsynced.delete(key)
    }
    if (failure) throw failure
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#options.onClose()
    this.#unsynced.clear()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #seek(digest: Uint8Array, parts: readonly Uint8Array[] | undefined): Promise<{ stored: boolean } | undefined> {
    this.#assertOpen()
    const key = digestKey(digest)
    this.#protected.add(key)
    const result = await this.#options.seek(digest, parts)
    if (result?.block) this.#unsynced.set(key, result.block)
    else if (result) this.#unsynced.delete(key)
    return result
  }

  async #track<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work)
    try {
      return await work
    } finally {
      this.#running.delete(work)
    }
  }

  #assertOpen(): void {
    if (this.#closed) throw new ArtifactHubError('CLOSED', 'this writer is closed')
  }
}
