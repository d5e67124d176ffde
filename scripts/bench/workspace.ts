import { rmSync } from 'node:fs'
import { lstat, mkdir, mkdtemp, readdir, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'

/** A folder of its own for everything that the bench writes; gone when the process ends, however it ends. */
export class Workspace {
  readonly path: string
  #made = 0

  private constructor(path: string) {
    this.path = path
  }

  /** @throws Error when the disk has less than `neededBytes` free */
  static async create(parentDir: string, neededBytes: number): Promise<Workspace> {
    const { bavail, bsize } = await statfs(parentDir)
    const freeBytes = bavail * bsize
    if (freeBytes < neededBytes) {
      const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`
      throw new Error(
        `${parentDir} has ${gigabytes(freeBytes)} free and this run needs ${gigabytes(neededBytes)}: pass --dir, --size or --quick`,
      )
    }
    const path = await mkdtemp(join(parentDir, 'artifact-hub-bench-'))
    process.on('exit', () => rmSync(path, { recursive: true, force: true, maxRetries: 3 }))
    return new Workspace(path)
  }

  /** A path in the workspace that nothing is at. */
  newPath(name: string): string {
    this.#made += 1
    return join(this.path, `${this.#made}-${name}`)
  }

  /** An empty folder. */
  async newFolder(name: string): Promise<string> {
    const path = this.newPath(name)
    await mkdir(path)
    return path
  }

  /** Removes a file or folder of the workspace. */
  async remove(path: string): Promise<void> {
    await rm(path, { recursive: true, force: true })
  }
}

/** What a file or folder takes on the disk, bytes, as `du` counts. */
export async function diskBytes(path: string): Promise<number> {
  const about = await lstat(path)
  let bytes = about.blocks * 512
  if (!about.isDirectory()) return bytes
  for (const name of await readdir(path)) bytes += await diskBytes(join(path, name))
  return bytes
}
