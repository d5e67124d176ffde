import { type DiskFiles, diskError } from './files.ts'
import type { PackAppender, PendingBlock } from './pack-appender.ts'
import type { BlockLocation, PackIndex } from './pack-index.ts'

/**
 * Makes durable all that was written before: one datasync a pack, then one change of the index. Never rejects: each block
 * learns its own fate, and `settled` is called with every block whose fate is known. Runs one at a time.
 */
export async function commitRound(options: {
  readonly files: DiskFiles
  readonly directory: string
  readonly appender: PackAppender
  readonly index: PackIndex
  readonly settled: (block: PendingBlock) => void
}): Promise<void> {
  const { files, directory, appender, index, settled } = options
  const durable: PendingBlock[] = []
  const packs = new Map<number, { end: number; state?: 'sealed' | 'retired' }>()
  await Promise.all(
    appender.dirtyPacks().map(async (pack) => {
      const blocks = pack.unsynced
      const end = pack.end
      pack.unsynced = []
      try {
        await pack.file.datasync()
        if (pack.isNew) await files.syncDirectory(directory)
      } catch (error) {
        pack.unsynced = [...blocks, ...pack.unsynced]
        const { failed, removed } = await appender.abandon(pack, diskError(error, 'make a pack file durable'))
        for (const block of failed) settled(block)
        // Were the cut not to hold, recovery must not take what the page cache shows for what the disk has.
        const state = pack.isNew ? 'retired' : 'sealed'
        if (!removed) packs.set(pack.number, { end: pack.durableEnd, state })
        return
      }
      pack.isNew = false
      pack.durableEnd = end
      packs.set(pack.number, { end })
      durable.push(...blocks)
    }),
  )
  if (packs.size === 0) return
  const put = durable.map((block) => ({ digest: block.digest, location: block.location as BlockLocation }))
  try {
    // The blocks are durable by their packs alone (recovery indexes them), so the batch need not be.
    await index.change({ put, packs }, { sync: false })
    for (const block of durable) block.become('durable')
  } catch (error) {
    for (const block of durable) block.fail(diskError(error, 'write the index'))
  }
  for (const block of durable) settled(block)
  await appender.closeIdle()
}
