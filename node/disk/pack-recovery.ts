import { join } from 'node:path'
import { ArtifactHubError } from '../../src/errors.ts'
import { maxPackBytes } from '../../src/limits.ts'
import { type DiskFile, type DiskFiles, readFully, systemCode, writeFully } from './files.ts'
import type { WritablePack } from './pack-appender.ts'
import {
  checkPackHeader,
  encodePackHeader,
  packFileName,
  packHeaderBytes,
  packNumber,
  recordHeaderBytes,
} from './pack-format.ts'
import type { PackIndex, PlacedBlock } from './pack-index.ts'
import { scanRecords } from './pack-scan.ts'

const recordsPerBatch = 1024

/** What a namespace's folder held. */
export interface RecoveredPacks {
  /** The pack to go on in, if there is one. */
  readonly active: WritablePack | undefined
  /** Above every number in use. */
  readonly nextPack: number
}

/**
 * Brings index and pack files together: O(packs), plus the bytes that were written after the last index change.
 * - Finishes the removal of retired packs.
 * - A file that the index does not know and that holds no sound record never was durable: removed (not when the index
 *   is being rebuilt, for then it is evidence).
 * - What an open pack holds past its indexed end is scanned: sound records that the index lacks are made durable, then
 *   indexed; a torn tail of the newest pack is cut off. A pack that the index does not know is scanned whole, and
 *   nothing of it is cut: its row may have been lost with an index that is being rebuilt.
 * Stopping anywhere and starting again gives the same.
 * @throws UNSUPPORTED_FORMAT for a pack of another format; whatever the files throw
 */
export async function recoverPacks(options: {
  readonly files: DiskFiles
  readonly namespace: string
  readonly directory: string
  readonly index: PackIndex
  readonly maxPackBytes?: number
  readonly signal?: AbortSignal
}): Promise<RecoveredPacks> {
  const { files, directory, index } = options
  await index.load()
  const sizes = new Map<number, number>()
  for (const name of await files.readdir(directory)) {
    const number = packNumber(name)
    if (number !== undefined) sizes.set(number, (await files.stat(join(directory, name))).size)
  }
  for (const number of await finishRetired({ files, directory, index })) sizes.delete(number)

  const numbers = [...sizes.keys()].sort((a, b) => a - b)
  const newest = numbers.at(-1)
  let active: WritablePack | undefined
  for (const number of numbers) {
    const size = sizes.get(number) as number
    const row = index.packs.get(number)
    const writable = number === newest && row?.state === 'open' && row.end >= packHeaderBytes && size >= row.end
    if (row && (row.state === 'sealed' || size <= row.end) && !writable) continue
    const file = await files.open(join(directory, packFileName(number)), 'write')
    let kept = false
    try {
      const end = await indexTail(options, { number, file, size })
      if (end === undefined) {
        await files.unlink(join(directory, packFileName(number)))
        if (row) await index.change({ dropPacks: [number] }, { sync: false })
        sizes.delete(number)
      } else if (writable) {
        if (end < size) await file.truncate(end)
        if (end < (options.maxPackBytes ?? maxPackBytes)) {
          active = { number, file, end, durableEnd: end, isNew: false, unsynced: [] }
          kept = true
        }
      }
    } finally {
      if (!kept) await file.close().catch(() => {})
    }
  }
  if (index.rebuilding) await index.endRebuild()
  const nextPack = [...sizes.keys()].reduce((next, number) => Math.max(next, number + 1), index.nextPack)
  return { active, nextPack }
}

/** Removes the files of retired packs, then, when that is on the disk, their rows. Gives their numbers. */
export async function finishRetired(options: {
  readonly files: DiskFiles
  readonly directory: string
  readonly index: PackIndex
  readonly generation?: number
}): Promise<readonly number[]> {
  const { files, directory, index } = options
  const retired = [...index.packs].filter(([, row]) => row.state === 'retired').map(([number]) => number)
  if (retired.length === 0) return retired
  for (const number of retired) {
    await files.unlink(join(directory, packFileName(number))).catch((error) => {
      if (systemCode(error) !== 'ENOENT') throw error
    })
  }
  await files.syncDirectory(directory)
  await index.change({ dropPacks: retired, generation: options.generation }, { sync: false })
  return retired
}

/**
 * Indexes the sound records past the pack's indexed end; gives the end of the last one, or `undefined` when the file
 * can go: the index does not know it and it holds no sound record, so nothing in it ever was durable.
 */
async function indexTail(
  options: {
    readonly namespace: string
    readonly index: PackIndex
    readonly directory: string
    readonly files: DiskFiles
    readonly signal?: AbortSignal
  },
  pack: { readonly number: number; readonly file: DiskFile; readonly size: number },
): Promise<number | undefined> {
  const { index } = options
  const header = Buffer.alloc(packHeaderBytes)
  await readFully(pack.file, header, 0)
  const check = checkPackHeader(header, options.namespace, pack.number)
  if (check === 'unknown') {
    throw new ArtifactHubError('UNSUPPORTED_FORMAT', `pack ${pack.number} has a format that this release does not know`)
  }
  const row = index.packs.get(pack.number)
  const known = row !== undefined && row.end >= packHeaderBytes
  const from = Math.max(row?.end ?? 0, packHeaderBytes)
  let end = from
  let records = 0
  let found: PlacedBlock[] = []
  let namedOnDisk = false
  const flush = async (packs: Map<number, { end: number; state: 'open' | 'sealed' }> | undefined) => {
    // Seen only in the page cache, perhaps: on the disk before the index says so.
    await pack.file.datasync()
    if (!namedOnDisk) await options.files.syncDirectory(options.directory)
    namedOnDisk = true
    const digests = found.map((block) => block.digest)
    const held = await index.findMany(digests)
    const fresh = new Map<string, PlacedBlock>()
    for (const [i, block] of found.entries()) {
      const id = Buffer.from(block.digest).toString('latin1')
      if (!held[i] && !fresh.has(id)) fresh.set(id, block)
    }
    await index.change({ put: [...fresh.values()], packs }, { sync: false })
    found = []
  }
  for await (const record of scanRecords(pack.file, { pack: pack.number, from, to: pack.size }, options)) {
    if (!record.sound) continue
    const { digest, offset, length, storedAt } = record
    if (records++ === 0 && !known && (check === 'bad' || !index.rebuilding)) {
      // It may be torn; the records carry their place themselves.
      await writeFully(pack.file, [encodePackHeader(options.namespace, pack.number)], 0)
    }
    // After a failed fsync the page cache may show what the disk does not have, and a later fsync succeeds all the same:
    // only what is written again is known to be on the disk. A rebuild reads what was indexed before, and need not.
    if (!index.rebuilding) await writeFully(pack.file, [record.bytes], offset)
    end = offset + recordHeaderBytes + length
    found.push({ digest, location: { pack: pack.number, offset, length, storedAt } })
    if (found.length >= recordsPerBatch)
      await flush(known ? new Map([[pack.number, { end, state: 'open' }]]) : undefined)
  }
  if (!known && records === 0 && (!index.rebuilding || pack.size <= packHeaderBytes)) return undefined
  // An unknown pack stays as it is and takes no more records.
  if (!known || end !== row.end) await flush(new Map([[pack.number, { end, state: known ? 'open' : 'sealed' }]]))
  return end
}
