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
   * the block is not its header. `bad-data`: the bytes are not the block. `unreadable`: the disk gave an error,
   * which may pass. `bad-pack-header`: the file's first bytes are not those of this pack (its blocks may be fine).
   */
  readonly kind: 'missing-pack' | 'outside-pack' | 'bad-record' | 'bad-data' | 'unreadable' | 'bad-pack-header'
  readonly pack: number
  /** SHA-256, 32 bytes; absent when it is the pack's header. */
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
    if (systemCode(error) !== 'ENOENT') yield { kind: 'unreadable', pack, offset: 0, length: 0 }
    return
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
): Promise<readonly Uint8Array[]> {
  const { index } = context
  const remove: PlacedBlock[] = []
  try {
    for (const { digest, pack, offset } of findings) {
      if (!digest) continue
      const location = await index.find(digest)
      if (!location || location.pack !== pack || location.offset !== offset) continue
      const bytes = await readBlock(context, location)
      if (!bytes || isBlockOf(digest, bytes)) continue
      const name = `${context.id}-${pack}-${offset}-${Buffer.from(digest).toString('hex')}.block`
      await saveAside(context.files, directory, name, bytes)
      remove.push({ digest, location })
    }
  } catch (error) {
    throw diskError(error, 'move damaged blocks to quarantine')
  }
  const hold = [...new Set(remove.map(({ location }) => location.pack))]
  if (remove.length > 0) await index.change({ remove, hold }, { sync: true })
  return remove.map(({ digest }) => digest)
}

/** What the file has of a block, fewer bytes when it ends before it; `undefined` when the disk gives an error, which may pass. */
async function readBlock(context: VerifyContext, location: PlacedBlock['location']): Promise<Uint8Array | undefined> {
  const bytes = Buffer.alloc(location.length)
  try {
    return await context.openPacks.use(pathOf(context, location.pack), async (file) => {
      const count = await readFully(file, bytes, location.offset + recordHeaderBytes)
      return bytes.subarray(0, count)
    })
  } catch {
    return undefined
  }
}

/** Writes a file of its own to a folder, both made durable. The folder is made when absent, with its parent. */
export async function saveAside(files: DiskFiles, directory: string, name: string, bytes: Uint8Array): Promise<void> {
  for (const folder of [dirname(directory), directory]) {
    await files.mkdir(folder)
    await files.syncDirectory(dirname(folder))
  }
  const path = join(directory, name)
  await files.unlink(path).catch(() => {})
  const copy = await files.open(path, 'create')
  try {
    await writeFully(copy, [bytes], 0)
    await copy.datasync()
  } finally {
    await copy.close()
  }
  await files.syncDirectory(directory)
}

function pathOf(context: VerifyContext, pack: number): string {
  return join(context.directory, packFileName(pack))
}
