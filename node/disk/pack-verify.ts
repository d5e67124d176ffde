import { dirname, join } from 'node:path'
import { type DiskFiles, diskError, readFully, systemCode, writeFully } from './files.ts'
import type { OpenPacks } from './open-packs.ts'
import {
  checkPackHeader,
  decodeRecordHeader,
  isBlockOf,
  packFileName,
  packHeaderBytes,
  recordHeaderBytes,
} from './pack-format.ts'
import type { PackIndex, PlacedBlock } from './pack-index.ts'

/** One thing that is wrong. */
export interface PackFinding {
  /**
   * `missing-pack`: the file is gone. `outside-pack`: the file ends before the block does. `bad-record`: what precedes
   * the block is not its header. `bad-data`: the bytes are not the block. `unreadable`: the disk gave an error.
   * `bad-pack-header`: the file's first bytes are not those of this pack (its blocks may be fine).
   */
  readonly kind: 'missing-pack' | 'outside-pack' | 'bad-record' | 'bad-data' | 'unreadable' | 'bad-pack-header'
  readonly pack: number
  /** SHA-256, 32 bytes; absent for `bad-pack-header`. */
  readonly digest?: Uint8Array
  /** Of the record, or 0. */
  readonly offset: number
  /** Bytes of the block. */
  readonly length: number
}

export interface VerifyOptions {
  /** Reads and hashes every block too. */
  readonly readData?: boolean
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: {
    readonly blocks: number
    readonly totalBlocks: number
    readonly bytes: number
  }) => void
}

interface VerifyContext {
  readonly id: string
  readonly files: DiskFiles
  readonly directory: string
  readonly openPacks: OpenPacks
  readonly index: PackIndex
}

const rowsPerGroup = 4096
const blocksAtOnce = 4

/** Checks every index row against its pack file, in the order of the files within groups of rows. */
export async function* verifyPacks(context: VerifyContext, options: VerifyOptions): AsyncGenerator<PackFinding> {
  const { index } = context
  for (const [pack, row] of [...index.packs].sort(([a], [b]) => a - b)) {
    if (row.state !== 'retired') yield* verifyPackHeader(context, pack)
  }
  const totalBlocks = [...index.packs.values()].reduce((sum, row) => sum + row.liveCount, 0)
  let blocks = 0
  let bytes = 0
  let group: PlacedBlock[] = []
  const check = async function* () {
    group.sort((a, b) => a.location.pack - b.location.pack || a.location.offset - b.location.offset)
    for (let i = 0; i < group.length; i += blocksAtOnce) {
      options.signal?.throwIfAborted()
      const some = group.slice(i, i + blocksAtOnce)
      const findings = await Promise.all(some.map((block) => verifyBlock(context, block, options)))
      blocks += some.length
      for (const { location } of some) bytes += location.length
      for (const finding of findings) if (finding) yield finding
      options.onProgress?.({ blocks, totalBlocks: Math.max(totalBlocks, blocks), bytes })
    }
    group = []
  }
  for await (const block of index.blocks(options)) {
    group.push(block)
    if (group.length === rowsPerGroup) yield* check()
  }
  yield* check()
}

async function* verifyPackHeader(context: VerifyContext, pack: number): AsyncGenerator<PackFinding> {
  const header = new Uint8Array(packHeaderBytes)
  try {
    const count = await context.openPacks.use(pathOf(context, pack), (file) => readFully(file, header, 0))
    if (checkPackHeader(header.subarray(0, count), context.id, pack) === 'ok') return
  } catch (error) {
    // Blocks of a missing file are found one by one.
    if (systemCode(error) === 'ENOENT') return
  }
  yield { kind: 'bad-pack-header', pack, offset: 0, length: 0 }
}

async function verifyBlock(
  context: VerifyContext,
  block: PlacedBlock,
  options: VerifyOptions,
): Promise<PackFinding | undefined> {
  const kind = await damageOf(context, block, options.readData === true)
  if (!kind) return undefined
  const { pack, offset, length } = block.location
  // A sweep may have moved or removed it since the snapshot was taken.
  const now = await context.index.find(block.digest)
  if (now?.pack !== pack || now.offset !== offset) return undefined
  return { kind, pack, digest: block.digest, offset, length }
}

async function damageOf(
  context: VerifyContext,
  { digest, location }: PlacedBlock,
  readData: boolean,
): Promise<PackFinding['kind'] | undefined> {
  const { pack, offset, length } = location
  const bytes = Buffer.allocUnsafe(recordHeaderBytes + (readData ? length : 0))
  try {
    return await context.openPacks.use(pathOf(context, pack), async (file) => {
      if ((await file.size()) < offset + recordHeaderBytes + length) return 'outside-pack'
      const count = await readFully(file, bytes, offset)
      if (count < bytes.length) return 'outside-pack'
      const header = decodeRecordHeader(bytes, 0, pack, offset)
      if (!header || header.length !== length || !Buffer.from(header.digest).equals(digest)) return 'bad-record'
      if (readData && !isBlockOf(digest, bytes.subarray(recordHeaderBytes))) return 'bad-data'
      return undefined
    })
  } catch (error) {
    return systemCode(error) === 'ENOENT' ? 'missing-pack' : 'unreadable'
  }
}

/** See PackNamespace.quarantine. */
export async function quarantineBlocks(
  context: VerifyContext,
  findings: readonly PackFinding[],
  directory: string,
): Promise<number> {
  const { files, index } = context
  const remove: PlacedBlock[] = []
  try {
    for (const folder of [dirname(directory), directory]) {
      await files.mkdir(folder)
      await files.syncDirectory(dirname(folder))
    }
    for (const { digest, pack, offset } of findings) {
      if (!digest) continue
      const location = await index.find(digest)
      if (!location || location.pack !== pack || location.offset !== offset) continue
      await saveBytes(
        context,
        location,
        join(directory, `${context.id}-${pack}-${offset}-${Buffer.from(digest).toString('hex')}.block`),
      )
      remove.push({ digest, location })
    }
    await files.syncDirectory(directory)
  } catch (error) {
    throw diskError(error, 'move damaged blocks to quarantine')
  }
  if (remove.length > 0) await index.change({ remove }, { sync: true })
  return remove.length
}

/** Copies what can be read of a block, in 4 KiB steps, so that one bad sector costs no more than itself. */
async function saveBytes(context: VerifyContext, location: PlacedBlock['location'], path: string): Promise<void> {
  const bytes = Buffer.alloc(location.length)
  try {
    await context.openPacks.use(pathOf(context, location.pack), async (file) => {
      for (let at = 0; at < bytes.length; at += 4096) {
        const step = bytes.subarray(at, at + 4096)
        await readFully(file, step, location.offset + recordHeaderBytes + at).catch(() => step.fill(0))
      }
    })
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return
    throw error
  }
  await context.files.unlink(path).catch(() => {})
  const copy = await context.files.open(path, 'create')
  try {
    await writeFully(copy, [bytes], 0)
    await copy.datasync()
  } finally {
    await copy.close()
  }
}

function pathOf(context: VerifyContext, pack: number): string {
  return join(context.directory, packFileName(pack))
}
