import { join } from 'node:path'
import { maxPackBytes, packWriteBytes, packWriteParts } from '../../src/limits.ts'
import { type DiskFile, type DiskFiles, diskError, systemCode, writeFully } from './files.ts'
import {
  encodePackHeader,
  encodeRecordHeader,
  packFileName,
  packHeaderBytes,
  recordHeaderBytes,
} from './pack-format.ts'
import type { BlockLocation } from './pack-index.ts'

/** A block on its way to the disk. */
export class PendingBlock {
  readonly digest: Uint8Array
  /**
   * `seeking`: the index is asked whether it is here. `queued`: waits for its write. `written`: the operating system has
   * it. `durable`: on the disk and in the index. `failed`: not stored. `found`: the index had it.
   */
  state: 'seeking' | 'queued' | 'written' | 'durable' | 'failed' | 'found' = 'seeking'
  location: BlockLocation | undefined
  error: Error | undefined
  /** Whether a failed one was not tried: look again, then put it once more. */
  lookAgain = false
  parts: readonly Uint8Array[]
  readonly length: number
  /** Seconds since 1970. */
  readonly storedAt: number
  readonly #settled = Promise.withResolvers<void>()

  constructor(digest: Uint8Array, parts: readonly Uint8Array[], storedAt: number) {
    this.digest = digest
    this.parts = parts
    this.storedAt = storedAt
    this.length = parts.reduce((sum, part) => sum + part.length, 0)
  }

  /** Resolves, never rejects, when it is past `queued`: look at `state` then. */
  get settled(): Promise<void> {
    return this.#settled.promise
  }

  become(state: 'written' | 'durable' | 'found'): void {
    this.state = state
    this.parts = []
    this.#settled.resolve()
  }

  fail(error: Error): void {
    this.state = 'failed'
    this.error = error
    this.parts = []
    this.#settled.resolve()
  }
}

/** A pack file that is, or was just now, written to. */
export interface WritablePack {
  readonly number: number
  readonly file: DiskFile
  /** Where the next record goes. */
  end: number
  /** All before this is on the disk. */
  durableEnd: number
  /** Whether its directory entry is not yet on the disk. */
  isNew: boolean
  /** Written, not yet durable. */
  unsynced: PendingBlock[]
}

/** What the appender needs from its namespace. */
export interface AppenderOptions {
  readonly files: DiskFiles
  readonly namespace: string
  readonly directory: string
  readonly takePackNumber: () => number
  /** Whether writing may go on; `ready` brings it about, or rejects. */
  readonly isReady: () => boolean
  readonly ready: () => Promise<void>
  readonly maxPackBytes?: number
}

/**
 * Appends queued blocks to the active pack, many to one write. After a failed write it goes on in a fresh pack; what the
 * old one held before stays good.
 */
export class PackAppender {
  readonly #options: AppenderOptions
  readonly #maxPackBytes: number
  #active: WritablePack | undefined
  /** Packs with unsynced blocks, and the active one. */
  readonly #packs = new Set<WritablePack>()
  #queue: PendingBlock[] = []
  #pumping: Promise<void> | undefined
  #writing: Promise<void> | undefined

  constructor(options: AppenderOptions) {
    this.#options = options
    this.#maxPackBytes = options.maxPackBytes ?? maxPackBytes
  }

  /** Resolves with `block` settled: written or failed. */
  append(block: PendingBlock): Promise<void> {
    block.state = 'queued'
    this.#queue.push(block)
    this.#pumping ??= this.#pump()
    return block.settled
  }

  /** Goes on at the end of an existing pack. */
  adopt(pack: WritablePack): void {
    this.#active = pack
    this.#packs.add(pack)
  }

  /** The next block starts a new pack; resolves when nothing more is written to the one before. */
  async roll(): Promise<void> {
    this.#active = undefined
    await this.#writing
  }

  /** Packs that hold something not yet durable. */
  dirtyPacks(): WritablePack[] {
    return [...this.#packs].filter((pack) => pack.unsynced.length > 0)
  }

  /** Whether the pack is active or dirty. */
  isWriting(pack: number): boolean {
    return [...this.#packs].some((one) => one.number === pack)
  }

  /** Closes packs that are neither active nor dirty. */
  async closeIdle(): Promise<void> {
    for (const pack of this.#packs) {
      if (pack === this.#active || pack.unsynced.length > 0) continue
      this.#packs.delete(pack)
      await pack.file.close().catch(() => {})
    }
  }

  /**
   * Nothing of `pack` past its durable end is to be trusted: fails those blocks and cuts them off, if that can be done.
   * Gives those blocks, and whether the file is gone, for nothing of it was durable.
   */
  async abandon(pack: WritablePack, error: Error): Promise<{ failed: readonly PendingBlock[]; removed: boolean }> {
    if (this.#active === pack) this.#active = undefined
    // A write to it may be under way; its blocks join the failed ones.
    await this.#writing?.catch(() => {})
    const failed = pack.unsynced.splice(0)
    for (const block of failed) block.fail(error)
    this.#packs.delete(pack)
    const removed = pack.isNew && (await this.#remove(pack.number))
    if (!removed) await pack.file.truncate(pack.durableEnd).catch(() => {})
    await pack.file.close().catch(() => {})
    return { failed, removed }
  }

  /** Waits for the write under way, fails every written block that is not durable and closes all packs. */
  async abandonAll(error: Error): Promise<void> {
    await this.#writing?.catch(() => {})
    this.#active = undefined
    for (const pack of this.#packs) {
      for (const block of pack.unsynced.splice(0)) block.fail(error)
      await pack.file.close().catch(() => {})
    }
    this.#packs.clear()
  }

  /** Fails what is queued; with `lookAgain`, so that it is looked up and put once more. */
  failQueued(error: Error, lookAgain: boolean): void {
    for (const block of this.#queue.splice(0)) {
      block.lookAgain = lookAgain
      block.fail(error)
    }
  }

  async #pump(): Promise<void> {
    try {
      while (this.#queue.length > 0) {
        try {
          while (!this.#options.isReady()) await this.#options.ready()
        } catch (error) {
          this.failQueued(error as Error, false)
          break
        }
        this.#writing = this.#writeNext()
        await this.#writing
        this.#writing = undefined
      }
    } finally {
      this.#pumping = undefined
    }
  }

  async #writeNext(): Promise<void> {
    const first = this.#queue[0]
    if (!first) return
    const active = this.#active
    if (active && active.end + recordHeaderBytes + first.length > this.#maxPackBytes && active.end > packHeaderBytes) {
      this.#active = undefined
    }
    let pack: WritablePack
    try {
      pack = this.#active ?? (await this.#create())
    } catch (error) {
      this.#queue.shift()?.fail(diskError(error, 'make a pack file'))
      return
    }
    const blocks = this.#takeBatch(pack)
    const end = pack.end
    try {
      pack.end = await writeRecords(pack, blocks)
    } catch (error) {
      const failure = diskError(error, 'write a pack file')
      for (const block of blocks) block.fail(failure)
      await this.#retire(pack, end)
      return
    }
    pack.unsynced.push(...blocks)
    for (const block of blocks) block.become('written')
  }

  #takeBatch(pack: WritablePack): PendingBlock[] {
    let bytes = 0
    let parts = 0
    let count = 0
    for (const block of this.#queue) {
      const record = recordHeaderBytes + block.length
      const full =
        bytes + record > packWriteBytes ||
        parts + 1 + block.parts.length > packWriteParts ||
        pack.end + bytes + record > this.#maxPackBytes
      if (count > 0 && full) break
      bytes += record
      parts += 1 + block.parts.length
      count++
    }
    return this.#queue.splice(0, count)
  }

  /** A pack in which a write failed takes no more; what it held before that write stays. */
  async #retire(pack: WritablePack, goodEnd: number): Promise<void> {
    if (this.#active === pack) this.#active = undefined
    if (goodEnd === packHeaderBytes && pack.isNew && pack.unsynced.length === 0) {
      this.#packs.delete(pack)
      await pack.file.close().catch(() => {})
      await this.#remove(pack.number)
      return
    }
    await pack.file.truncate(goodEnd).catch(() => {})
  }

  async #create(): Promise<WritablePack> {
    const { files, namespace } = this.#options
    for (;;) {
      const number = this.#options.takePackNumber()
      let file: DiskFile
      try {
        file = await files.open(this.#path(number), 'create')
      } catch (error) {
        if (systemCode(error) === 'EEXIST') continue
        throw error
      }
      try {
        await writeFully(file, [encodePackHeader(namespace, number)], 0)
      } catch (error) {
        await file.close().catch(() => {})
        await this.#remove(number)
        throw error
      }
      const pack = { number, file, end: packHeaderBytes, durableEnd: packHeaderBytes, isNew: true, unsynced: [] }
      this.adopt(pack)
      return pack
    }
  }

  async #remove(pack: number): Promise<boolean> {
    return this.#options.files.unlink(this.#path(pack)).then(
      () => true,
      () => false,
    )
  }

  #path(pack: number): string {
    return join(this.#options.directory, packFileName(pack))
  }
}

/** Writes the blocks as records at the end of `pack` and gives each its location; returns the new end. */
export async function writeRecords(
  pack: { readonly number: number; readonly file: DiskFile; readonly end: number },
  blocks: readonly PendingBlock[],
): Promise<number> {
  const headers = Buffer.allocUnsafe(blocks.length * recordHeaderBytes)
  const parts: Uint8Array[] = []
  let offset = pack.end
  for (const [i, block] of blocks.entries()) {
    const location = { pack: pack.number, offset, length: block.length, storedAt: block.storedAt }
    block.location = location
    const at = i * recordHeaderBytes
    encodeRecordHeader(headers, at, { digest: block.digest, ...location }, pack.number, offset)
    parts.push(headers.subarray(at, at + recordHeaderBytes), ...block.parts)
    offset += recordHeaderBytes + block.length
  }
  await writeFully(pack.file, parts, pack.end)
  return offset
}
