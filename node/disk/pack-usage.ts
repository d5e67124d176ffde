import { join } from 'node:path'
import { type DiskFiles, diskError } from './files.ts'
import { packHeaderBytes, packNumber } from './pack-format.ts'
import type { PackIndex } from './pack-index.ts'

/** What the packs of a namespace hold. */
export interface PackUsage {
  readonly packs: number
  /** Blocks in the index. */
  readonly blocks: number
  /** Bytes of the pack files. */
  readonly diskBytes: number
  /** Of these, records in the index. */
  readonly liveBytes: number
  /** Of these, records that no longer count, or do not count yet. */
  readonly deadBytes: number
}

/** What the pack files of a folder hold by their index; O(packs). @throws STORAGE_FAILED */
export async function packUsage(
  { files, directory }: { readonly files: DiskFiles; readonly directory: string },
  index: PackIndex,
): Promise<PackUsage> {
  let diskBytes = 0
  let packs = 0
  try {
    for (const name of await files.readdir(directory)) {
      if (packNumber(name) === undefined) continue
      diskBytes += (await files.stat(join(directory, name))).size
      packs++
    }
  } catch (error) {
    throw diskError(error, 'look at the pack files')
  }
  const rows = [...index.packs.values()]
  const liveBytes = rows.reduce((sum, row) => sum + row.liveBytes, 0)
  const blocks = rows.reduce((sum, row) => sum + row.liveCount, 0)
  return {
    packs,
    blocks,
    diskBytes,
    liveBytes,
    deadBytes: Math.max(0, diskBytes - liveBytes - packs * packHeaderBytes),
  }
}
