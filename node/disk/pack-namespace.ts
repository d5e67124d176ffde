import { join } from 'node:path'
import { ArtifactHubError } from '../../src/errors.ts'
import { maxBlockBytes } from '../../src/limits.ts'
import type { BlockPlace, BlockWriter, NamespaceBlocks } from '../../src/storage/blocks.ts'
import type { KeyValueStore } from '../../src/storage/key-value.ts'
import { type DiskFiles, diskError } from './files.ts'
import type { OpenPacks } from './open-packs.ts'
import { PackAppender, PendingBlock } from './pack-appender.ts'
import { commitRound } from './pack-commit.ts'
import { type DigestKey, digestKey, PackIndex, type PlacedBlock } from './pack-index.ts'
import { PackProtection } from './pack-protection.ts'
import { PackReader } from './pack-reader.ts'
import { recoverPacks } from './pack-recovery.ts'
import { type SweepOptions, type SweepResult, sweepPacks } from './pack-sweep.ts'
import { type PackUsage, packUsage } from './pack-usage.ts'
import { type PackFinding, quarantineBlocks, saveAside, type VerifyOptions, verifyPacks } from './pack-verify.ts'
import { PackWriter } from './pack-writer.ts'

/** What a namespace's packs are made from. */
export interface PackNamespaceOptions {
  readonly id: string
  /** Folder of its pack files; made when absent. Its parent must exist. */
  readonly directory: string
  readonly files: DiskFiles
  readonly openPacks: OpenPacks
  readonly store: KeyValueStore
  readonly keyPrefix: Uint8Array
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** A pack is full at this many bytes. */
  readonly maxPackBytes?: number
}

/**
 * The blocks of one namespace in pack files. A block that was put but never synced can be read, and may be gone after a
 * crash or a failed sync.
 */
export class PackNamespace implements NamespaceBlocks {
  readonly id: string
  readonly #options: PackNamespaceOptions
  readonly #index: PackIndex
  readonly #appender: PackAppender
  readonly #reader: PackReader
  /** Blocks on their way to the index. */
  readonly #pending = new Map<DigestKey, PendingBlock>()
  readonly #protection = new PackProtection()
  #maintenance: Promise<unknown> = Promise.resolve()
  #nextPack = 1
  #loading: Promise<void> | undefined
  #loaded = false
  #nextRound: Promise<void> | undefined
  #turn: Promise<unknown> = Promise.resolve()
  #closing: Promise<void> | undefined
  readonly #closed = new AbortController()

  private constructor(options: PackNamespaceOptions) {
    this.id = options.id
    this.#options = options
    this.#index = new PackIndex(options.store, options.keyPrefix)
    this.#appender = new PackAppender({
      files: options.files,
      namespace: options.id,
      directory: options.directory,
      takePackNumber: () => this.#nextPack++,
      isReady: () => this.#isReady,
      ready: () => this.ready(),
      maxPackBytes: options.maxPackBytes,
    })
    this.#reader = new PackReader({
      ...options,
      index: this.#index,
      pending: this.#pending,
      isReady: () => this.#isReady,
      ready: () => this.ready(),
    })
  }

  /** Opens, and recovers what a crash left. @throws STORAGE_FULL, STORAGE_FAILED, UNSUPPORTED_FORMAT */
  static async open(options: PackNamespaceOptions): Promise<PackNamespace> {
    const namespace = new PackNamespace(options)
    try {
      await options.files.mkdir(options.directory)
      await options.files.syncDirectory(join(options.directory, '..'))
    } catch (error) {
      throw diskError(error, 'make a folder for packs')
    }
    await namespace.ready()
    return namespace
  }

  async read(digest: Uint8Array, options: { signal?: AbortSignal } = {}): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return await this.#reader.read(digest, options.signal)
  }

  async readInto(
    digest: Uint8Array,
    into: Uint8Array,
    options: { signal?: AbortSignal } = {},
  ): Promise<number | undefined> {
    return await this.#reader.readInto(digest, into, options.signal)
  }

  async inPlace<T>(
    digest: Uint8Array,
    use: (place: BlockPlace) => Promise<T>,
    options: { signal?: AbortSignal } = {},
  ): Promise<T | undefined> {
    return await this.#reader.inPlace(digest, use, options.signal)
  }

  async has(digests: readonly Uint8Array[]): Promise<boolean[]> {
    for (;;) {
      await this.ready()
      const written = digests.map((digest) => this.#pending.get(digestKey(digest))?.state === 'written')
      const held = await this.#index.findMany(digests)
      if (this.#isReady) return held.map((location, i) => location !== undefined || written[i] === true)
    }
  }

  openWriter(): BlockWriter {
    if (this.#closing) throw this.#closedError()
    const writer = new PackWriter({
      seek: (digest, parts) => this.#seek(digest, parts),
      commit: () => this.#commit(),
      onClose: () => this.#protection.release(writer),
    })
    this.#protection.add(writer)
    return writer
  }

  /**
   * Removes blocks that are neither live nor protected and are older than the bound, then gives their room back.
   * Safe beside writers and readers, and stopping it anywhere loses nothing. See README.md for the races.
   * @throws STORAGE_FULL when there is no room to compact, STORAGE_FAILED
   */
  sweep(options: SweepOptions): Promise<SweepResult> {
    return this.#maintain(async () => {
      // What a failed write left comes into the index now: seen later, it would pass for live, and cost room to compact.
      await this.#commit()
      await this.ready()
      const { generation } = this.#index
      const context = {
        ...this.#options,
        index: this.#index,
        generation,
        takePackNumber: () => this.#nextPack++,
        removeUnprotected: (blocks: readonly PlacedBlock[]) =>
          this.#protection.removeUnprotected(blocks, (remove) =>
            this.#index.change({ remove, generation }, { sync: false }),
          ),
        rollPack: () =>
          this.#exclusive(async () => {
            await this.#appender.roll()
            await this.#runRound()
            await this.#appender.closeIdle()
          }),
        isBeingWritten: (pack: number) => this.#appender.isWriting(pack),
      }
      const signals = options.signal ? [options.signal, this.#closed.signal] : [this.#closed.signal]
      return await this.#protection.during(() => sweepPacks(context, { ...options, signal: AbortSignal.any(signals) }))
    })
  }

  /** Looks for damage, without changing anything. */
  async *verify(options: VerifyOptions = {}): AsyncGenerator<PackFinding> {
    await this.ready()
    yield* verifyPacks({ ...this.#options, index: this.#index }, options)
  }

  /**
   * Takes blocks that were read and are not what they should be out of the index, so that they are absent and can be
   * stored again. What there is of them is first copied to `directory` (made, with its parent), and their packs are held:
   * they keep their bytes for good. Blocks that cannot be read now, or whose pack is missing, stay in the index, for they
   * may come back. Gives the digests taken out.
   * @throws STORAGE_FULL, STORAGE_FAILED
   */
  quarantine(
    findings: readonly PackFinding[],
    options: { readonly directory: string },
  ): Promise<readonly Uint8Array[]> {
    return this.#maintain(() => quarantineBlocks({ ...this.#options, index: this.#index }, findings, options.directory))
  }

  /** Keeps other damaged bytes in the folder that `quarantine` uses. @throws STORAGE_FULL, STORAGE_FAILED */
  async putAside(bytes: Uint8Array, options: { readonly directory: string; readonly name: string }): Promise<void> {
    try {
      await saveAside(this.#options.files, options.directory, options.name, bytes)
    } catch (error) {
      throw diskError(error, 'move a damaged entry to quarantine')
    }
  }

  /**
   * Throws the index away and makes it again from the pack files, every block hashed. Deleted blocks whose bytes are
   * still there come back, to be swept again. Other calls wait. A kill in the middle is finished by the next open.
   */
  rebuildIndex(): Promise<void> {
    return this.#maintain(() => {
      const rebuilding = this.#exclusive(async () => {
        await this.#runRound()
        // Files removed before must not come back after a power cut and pass for damaged ones.
        await this.#options.files.syncDirectory(this.#options.directory).catch((error) => {
          throw diskError(error, 'rebuild the index')
        })
        this.#loaded = false
        await this.#index.clear({ rebuild: true })
        await this.#load()
      }).finally(() => {
        this.#loading = undefined
      })
      this.#loading = rebuilding
      return rebuilding
    })
  }

  /** Digests of all indexed blocks, in no promised order. */
  async *digests(options: { signal?: AbortSignal } = {}): AsyncGenerator<Uint8Array> {
    await this.ready()
    for await (const block of this.#index.blocks(options)) yield block.digest
  }

  /** What its packs hold; O(packs). */
  async usage(): Promise<PackUsage> {
    await this.ready()
    return await packUsage(this.#options, this.#index)
  }

  /** Resolves when index and files agree; reads them again after a change of the index was left in doubt. */
  async ready(): Promise<void> {
    if (this.#closing) throw this.#closedError()
    if (this.#isReady) return
    this.#loading ??= this.#exclusive(() => this.#load()).finally(() => {
      this.#loading = undefined
    })
    await this.#loading
  }

  get #isReady(): boolean {
    return this.#loaded && !this.#index.inDoubt && !this.#closing
  }

  /** Makes durable what was written, if that can be done, and closes. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#closed.abort(this.#closedError())
    await this.#maintenance
    this.#appender.failQueued(this.#closedError(), false)
    await this.#commit()
    await this.#turn
    await this.#appender.abandonAll(this.#closedError())
  }

  async #load(): Promise<void> {
    this.#loaded = false
    this.#appender.failQueued(new ArtifactHubError('STORAGE_FAILED', 'the packs are being read again'), true)
    const inDoubt = new ArtifactHubError(
      'STORAGE_FAILED',
      'an earlier write of the index failed; store this block again',
    )
    await this.#appender.abandonAll(inDoubt)
    for (const [key, block] of this.#pending) {
      if (block.state === 'failed') this.#pending.delete(key)
    }
    try {
      const { files, directory, id: namespace, maxPackBytes } = this.#options
      const found = await recoverPacks({ files, directory, namespace, index: this.#index, maxPackBytes })
      if (found.active) this.#appender.adopt(found.active)
      this.#nextPack = Math.max(this.#nextPack, found.nextPack)
      this.#loaded = true
    } catch (error) {
      throw diskError(error, 'open the packs')
    }
  }

  /**
   * The block on its way or in the index, if there is one (settled); else, with `parts`, it is appended.
   * `undefined` when it is nowhere and no parts were given.
   */
  async #seek(
    digest: Uint8Array,
    parts: readonly Uint8Array[] | undefined,
  ): Promise<{ block: PendingBlock | undefined; stored: boolean } | undefined> {
    const key = digestKey(digest)
    for (;;) {
      await this.ready()
      const condemned = this.#protection.removalOf(key)
      if (condemned) {
        await condemned
        continue
      }
      const other = this.#pending.get(key)
      if (other) {
        await other.settled
        if (other.state !== 'failed') return { block: other.state === 'found' ? undefined : other, stored: false }
        // It was another's failure; ours may succeed.
        this.#forget(other)
        continue
      }
      const { generation } = this.#index
      if (!parts) {
        const location = await this.#index.find(digest)
        if (!this.#isReady || this.#index.generation !== generation) continue
        return location && { block: undefined, stored: false }
      }
      const block = new PendingBlock(digest, parts, Math.floor(this.#options.now() / 1000))
      if (block.length > maxBlockBytes) {
        throw new ArtifactHubError('TOO_LARGE', `a block of ${block.length} bytes; at most ${maxBlockBytes}`)
      }
      this.#pending.set(key, block)
      try {
        if (await this.#index.find(digest)) block.become('found')
        else if (this.#isReady && this.#index.generation === generation) await this.#appender.append(block)
        else block.lookAgain = true
      } catch (error) {
        block.fail(error as Error)
      }
      if (block.state === 'written' || block.state === 'durable') return { block, stored: true }
      this.#forget(block)
      if (block.state === 'found') return { block: undefined, stored: false }
      if (!block.lookAgain) throw block.error
      if (!block.error) block.fail(new ArtifactHubError('STORAGE_FAILED', 'the packs are being read again'))
    }
  }

  /** Joins the round of making durable that starts next; what was written before the call is settled when it resolves. */
  #commit(): Promise<void> {
    this.#nextRound ??= this.#exclusive(() => {
      this.#nextRound = undefined
      return this.#runRound()
    })
    return this.#nextRound
  }

  /** Rounds, recovery and rebuilding change packs and index together: one at a time. */
  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {})
    return result
  }

  #runRound(): Promise<void> {
    return commitRound({
      ...this.#options,
      appender: this.#appender,
      index: this.#index,
      settled: (block) => this.#forget(block),
    })
  }

  #forget(block: PendingBlock): void {
    const key = digestKey(block.digest)
    if (this.#pending.get(key) === block) this.#pending.delete(key)
  }

  /** Sweeps, checks that move blocks, and rebuilding: one at a time. */
  #maintain<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#maintenance.then(async () => {
      await this.ready()
      return work()
    })
    this.#maintenance = result.catch(() => {})
    return result
  }

  #closedError(): ArtifactHubError {
    return new ArtifactHubError('CLOSED', 'the block store is closed')
  }
}
