import { open, rename, rm, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'

/** What LevelDB may write when it is opened again after a failed write: its log of up to 16 MiB once more as a table, and room to spare. */
const reserveBytes = 32 * 1024 * 1024
/** Made only where this many times as much is free: where it is scarce it is left to those who have something to store. */
const leastFreeShare = 4
const zeros = new Uint8Array(1024 * 1024)

/**
 * A file that only takes room, to be given back when the disk is full. LevelDB cannot be opened again without some, and without it
 * nothing could be read, deleted or collected either.
 */
export class DiskReserve {
  readonly #path: string

  /** @param path of the file, on the file system of the database */
  constructor(path: string) {
    this.#path = path
  }

  /** Makes the file unless it is there or room is scarce. Never fails: without it things are as they were. */
  async fill(): Promise<void> {
    const fresh = `${this.#path}.new`
    try {
      const { bavail, bsize } = await statfs(dirname(this.#path))
      if (bavail * bsize < leastFreeShare * reserveBytes) return
      await using file = await open(this.#path, 'r').catch(() => undefined)
      if (file !== undefined) return
      await using filling = await open(fresh, 'w', 0o600)
      for (let written = 0; written < reserveBytes; written += zeros.length) await filling.write(zeros)
      await filling.datasync()
      await rename(fresh, this.#path)
    } catch {
      await rm(fresh, { force: true }).catch(() => {})
    }
  }

  /** Gives the room back. `false` when there was none to give. */
  async release(): Promise<boolean> {
    return await rm(this.#path).then(
      () => true,
      () => false,
    )
  }
}
