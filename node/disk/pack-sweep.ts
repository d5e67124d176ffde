import { join } from 'node:path'
import { compactDeadShare, maxPackBytes, packWriteBytes } from '../../src/limits.ts'
import { type DiskFile, type DiskFiles, diskError, writeFully } from './files.ts'
import type { OpenPacks } from './open-packs.ts'
import { PendingBlock, writeRecords } from './pack-appender.ts'
import { encodePackHeader, packFileName, packHeaderBytes, recordHeaderBytes } from './pack-format.ts'
import type { BlockLocation, PackIndex, PlacedBlock } from './pack-index.ts'
import { finishRetired } from './pack-recovery.ts'
import { scanRecords } from './pack-scan.ts'

/** What to remove. */
export interface SweepOptions {
  /**
   * Called once, when protection has begun: every block that a writer stores or finds from before this call on
   * survives this sweep. It gives the judge of all other blocks, and so may work from a list made inside the call.
   */
  readonly markLive: () => Promise<(digest: Uint8Array) => boolean>
  /** Blocks stored at or after this stay, milliseconds since 1970. */
  readonly storedBefore: number
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: SweepProgress) => void
}

/** How far a sweep has come. */
export interface SweepProgress {
  readonly phase: 'mark' | 'compact'
  /** Blocks looked at, or bytes of packs gone through. */
  readonly done: number
  readonly total: number
}

/** What a sweep did. */
export interface SweepResult {
  readonly removedBlocks: number
  /** Bytes of those blocks. */
  readonly removedBytes: number
  /** Bytes by which the pack files shrank in all. */
  readonly reclaimedBytes: number
  /** Packs left as they are because some block in them is, or was, damaged: see `verify` and `quarantine`. */
  readonly damagedPacks: readonly number[]
}

/** What sweeping needs of its namespace. */
export interface SweepContext {
  readonly id: string
  readonly files: DiskFiles
  readonly directory: string
  readonly index: PackIndex
  /** Of the index when the sweep began. A recovery meanwhile ends the sweep: it may see half-made packs. */
  readonly generation: number
  readonly openPacks: OpenPacks
  readonly maxPackBytes?: number
  readonly takePackNumber: () => number
  /**
   * Removes those of the blocks that no writer protects, in one index change; a writer that asks for one of them
   * meanwhile waits, then finds it gone. Gives the removed ones.
   */
  readonly removeUnprotected: (blocks: readonly PlacedBlock[]) => Promise<readonly PlacedBlock[]>
  /** Stops appending to that pack and settles what was appended. */
  readonly rollPack: (pack: number) => Promise<void>
  /** Whether it may still be appended to. */
  readonly isBeingWritten: (pack: number) => boolean
}

const blocksPerBatch = 1024
const switchBytes = 64 * 1024 * 1024
const switchBlocks = 4096

/** Runs a sweep. Stopping it at any point, by abort, failure or a kill, leaves every block that it did not report removed. */
export async function sweepPacks(context: SweepContext, options: SweepOptions): Promise<SweepResult> {
  const { index } = context
  const isLive = await options.markLive()
  let removedBlocks = 0
  let removedBytes = 0
  let seen = 0
  const total = [...index.packs.values()].reduce((sum, row) => sum + row.liveCount, 0)
  let doomed: PlacedBlock[] = []
  const flush = async () => {
    const removed = doomed.length > 0 ? await context.removeUnprotected(doomed) : []
    removedBlocks += removed.length
    removedBytes += removed.reduce((sum, block) => sum + block.location.length, 0)
    doomed = []
  }
  for await (const block of index.blocks(options)) {
    seen++
    if (block.location.storedAt * 1000 < options.storedBefore && !isLive(block.digest)) doomed.push(block)
    if (doomed.length === blocksPerBatch) await flush()
    if (seen % blocksPerBatch === 0) options.onProgress?.({ phase: 'mark', done: seen, total: Math.max(total, seen) })
  }
  await flush()
  const { reclaimedBytes, damagedPacks } = await reclaim(context, options)
  return { removedBlocks, removedBytes, reclaimedBytes, damagedPacks }
}

async function reclaim(
  context: SweepContext,
  options: SweepOptions,
): Promise<Pick<SweepResult, 'reclaimedBytes' | 'damagedPacks'>> {
  const { index, files, directory } = context
  const damagedPacks: number[] = []
  const worth: { pack: number; size: number }[] = []
  for (const [pack, row] of index.packs) {
    if (row.state === 'retired') continue
    const size = await sizeOf(files, join(directory, packFileName(pack)))
    if (size === undefined) continue
    const dead = size - packHeaderBytes - row.liveBytes
    if (dead <= 0 || dead / size < compactDeadShare) continue
    if (index.held.has(pack)) damagedPacks.push(pack)
    else worth.push({ pack, size })
  }
  for (const { pack } of worth) {
    if (context.isBeingWritten(pack)) await context.rollPack(pack)
  }
  const settled = worth.filter(({ pack }) => !context.isBeingWritten(pack))
  const empty = settled.filter(({ pack }) => index.packs.get(pack)?.liveCount === 0)
  await retire(
    context,
    empty.map(({ pack }) => pack),
  )
  let reclaimedBytes = empty.reduce((sum, { size }) => sum + size, 0)
  const rest = settled.filter((one) => !empty.includes(one))
  const total = rest.reduce((sum, { size }) => sum + size, 0)
  let done = 0
  const target = new CompactionTarget(context)
  try {
    for (const { pack, size } of rest) {
      const copied = await compact(context, target, { pack, size }, options)
      if (index.packs.get(pack)?.liveCount === 0) {
        await retire(context, [pack])
        reclaimedBytes += size - copied
      } else {
        damagedPacks.push(pack)
        reclaimedBytes -= copied
      }
      done += size
      options.onProgress?.({ phase: 'compact', done, total })
    }
  } finally {
    await target.close()
  }
  return { reclaimedBytes, damagedPacks }
}

/** The synced change also holds, before any file goes, all removals of rows that came before it. */
async function retire(context: SweepContext, packs: readonly number[]): Promise<void> {
  if (packs.length === 0) return
  const { files, directory, index, generation } = context
  const rows = new Map(packs.map((pack) => [pack, { state: 'retired' as const }]))
  await index.change({ packs: rows, generation }, { sync: true })
  for (const pack of packs) context.openPacks.forget(join(directory, packFileName(pack)))
  try {
    await finishRetired({ files, directory, index, generation })
  } catch (error) {
    throw diskError(error, 'remove a pack file')
  }
}

/** Moves the live blocks of a pack to the target; gives the bytes copied. A damaged one stays, and with it the pack. */
async function compact(
  context: SweepContext,
  target: CompactionTarget,
  source: { readonly pack: number; readonly size: number },
  options: SweepOptions,
): Promise<number> {
  const { files, index } = context
  const path = join(context.directory, packFileName(source.pack))
  let copied = 0
  let file: DiskFile
  try {
    file = await files.open(path, 'read')
  } catch (error) {
    throw diskError(error, 'read a pack file')
  }
  try {
    let chunk: PendingBlock[] = []
    let places: BlockLocation[] = []
    let bytes = 0
    const flush = async () => {
      const held = await index.findMany(chunk.map((block) => block.digest))
      const live = chunk.flatMap((block, i) => {
        const from = places[i] as BlockLocation
        return held[i]?.pack === from.pack && held[i]?.offset === from.offset ? [{ block, from }] : []
      })
      if (live.length > 0) copied += await target.append(live)
      chunk = []
      places = []
      bytes = 0
    }
    const range = { pack: source.pack, from: packHeaderBytes, to: source.size }
    for await (const record of scanRecords(file, range, options)) {
      if (!record.sound) continue
      const { digest, offset, length, storedAt } = record
      chunk.push(new PendingBlock(digest, [Uint8Array.from(record.block)], storedAt))
      places.push({ pack: source.pack, offset, length, storedAt })
      bytes += recordHeaderBytes + length
      if (bytes >= packWriteBytes || chunk.length >= 500) await flush()
    }
    await flush()
    await target.switchOver()
    return copied
  } catch (error) {
    throw options.signal?.aborted ? error : diskError(error, 'compact a pack file')
  } finally {
    await file.close().catch(() => {})
  }
}

interface Move {
  readonly block: PendingBlock
  readonly from: BlockLocation
}

interface TargetPack {
  readonly number: number
  readonly file: DiskFile
  end: number
  /** Up to here its copies are in the index. */
  indexedEnd: number
  /** Whether the index may name copies past that. */
  inDoubt: boolean
}

/** Where compaction copies to: packs of its own, so that writers are not held up. */
class CompactionTarget {
  readonly #context: SweepContext
  #pack: TargetPack | undefined
  #moves: Move[] = []

  constructor(context: SweepContext) {
    this.#context = context
  }

  /** Copies the blocks; gives the bytes by which pack files grew. */
  async append(moves: readonly Move[]): Promise<number> {
    const blocks = moves.map((move) => move.block)
    const bytes = blocks.reduce((sum, block) => sum + recordHeaderBytes + block.length, 0)
    if (this.#pack && this.#pack.end + bytes > (this.#context.maxPackBytes ?? maxPackBytes)) await this.close()
    const added = bytes + (this.#pack ? 0 : packHeaderBytes)
    this.#pack ??= await this.#create()
    this.#pack.end = await writeRecords(this.#pack, blocks)
    this.#moves.push(...moves)
    for (const block of blocks) block.become('written')
    if (this.#pack.end - this.#pack.indexedEnd > switchBytes || this.#moves.length > switchBlocks) {
      await this.switchOver()
    }
    return added
  }

  /** The copies are on the disk before the index names them, and named there for good before the originals may go. */
  async switchOver(): Promise<void> {
    const pack = this.#pack
    if (!pack || this.#moves.length === 0) return
    await pack.file.datasync()
    await this.#context.files.syncDirectory(this.#context.directory)
    const moves = this.#moves
    this.#moves = []
    pack.inDoubt = true
    await this.#context.index.change(
      {
        remove: moves.map(({ block, from }) => ({ digest: block.digest, location: from })),
        put: moves.map(({ block }) => ({ digest: block.digest, location: block.location as BlockLocation })),
        packs: new Map([[pack.number, { end: pack.end, state: 'sealed' }]]),
        generation: this.#context.generation,
      },
      { sync: true },
    )
    pack.inDoubt = false
    pack.indexedEnd = pack.end
  }

  /** Ends the pack; copies that were not switched over are cut off. */
  async close(): Promise<void> {
    const pack = this.#pack
    if (!pack) return
    this.#pack = undefined
    this.#moves = []
    const path = join(this.#context.directory, packFileName(pack.number))
    const { index, generation, files } = this.#context
    if (!pack.inDoubt && !index.inDoubt && index.generation === generation) {
      if (pack.indexedEnd === packHeaderBytes) await files.unlink(path).catch(() => {})
      else if (pack.end > pack.indexedEnd) await pack.file.truncate(pack.indexedEnd).catch(() => {})
    }
    await pack.file.close().catch(() => {})
  }

  async #create(): Promise<TargetPack> {
    const { files, directory, id } = this.#context
    const number = this.#context.takePackNumber()
    const file = await files.open(join(directory, packFileName(number)), 'create')
    const pack = { number, file, end: packHeaderBytes, indexedEnd: packHeaderBytes, inDoubt: false }
    this.#pack = pack
    await writeFully(file, [encodePackHeader(id, number)], 0)
    return pack
  }
}

async function sizeOf(files: DiskFiles, path: string): Promise<number | undefined> {
  try {
    return (await files.stat(path)).size
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined
    throw diskError(error, 'look at a pack file')
  }
}
