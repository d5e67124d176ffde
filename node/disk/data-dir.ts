import { chmod, mkdir, open, readdir, readFile, realpath, rename, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ArtifactHubError, isHubError } from '../../src/errors.ts'
import { DiskReserve } from './disk-reserve.ts'
import { absolutePath, diskError, nodeFiles, systemCode } from './files.ts'
import { DirectoryLock } from './lock.ts'

/** Format number of a data directory: of all in it that has no number of its own. Frozen; a change needs a new one. */
const dataDirFormat = 1

/** What a directory may hold and still count as empty: ours from an opening that was cut off, and a new file system's own. */
const noContent = new Set(['lock', 'FORMAT.new', 'lost+found'])

/** A data directory that this process holds. */
export class DataDir implements AsyncDisposable {
  /** Absolute, without symbolic links. */
  readonly path: string
  readonly #lock: DirectoryLock

  private constructor(path: string, lock: DirectoryLock) {
    this.path = path
    this.#lock = lock
  }

  /**
   * Opens the directory, or makes it (0700, with its parents). An empty one that others may enter is tightened to 0700;
   * one with content that others may enter is refused, as ssh refuses such keys: somebody widened it after we made it, and
   * what it holds may have been read. Nothing is written to a directory that is refused.
   * @throws LOCKED when another process, or this one, has it open; its message names pid and host
   * @throws UNSUPPORTED_FORMAT when it has another format, of a newer release or of a build from before formats were settled
   * @throws INVALID_ARGUMENT when it is not a directory, or has content that is not ours
   * @throws ACCESS_DENIED when others may enter it, or we may not
   * @throws STORAGE_FULL, STORAGE_FAILED, CORRUPT when FORMAT is unreadable
   */
  static async open(options: { readonly path: string }): Promise<DataDir> {
    try {
      const path = await prepare(absolutePath(options.path))
      const lock = await acquireLock(path, options.path)
      try {
        // Again, now that nobody else can be changing it.
        if (!(await checkContent(path))) await writeFormat(path)
        return new DataDir(path, lock)
      } catch (error) {
        await lock.release()
        throw error
      }
    } catch (error) {
      const code = systemCode(error)
      if (!(error instanceof ArtifactHubError) && (code === 'EACCES' || code === 'EPERM')) {
        throw new ArtifactHubError('ACCESS_DENIED', `this user may not use ${options.path} (${code})`, { cause: error })
      }
      throw diskError(error, `open the data directory ${options.path}`)
    }
  }

  /** Lets others open it. Idempotent. */
  close(): Promise<void> {
    return this.#lock.release()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

/** On a full disk at the cost of the reserve: nobody else has the directory open then, and reading and deleting take a lock, too. */
async function acquireLock(path: string, forUser: string): Promise<DirectoryLock> {
  return await DirectoryLock.acquire(path, forUser).catch(async (error) => {
    if (!isHubError(error, 'STORAGE_FULL') || !(await reserveOf(path).release())) throw error
    return await DirectoryLock.acquire(path, forUser)
  })
}

/** What is given back of a data directory when its disk is full. */
export function reserveOf(path: string): DiskReserve {
  return new DiskReserve(join(path, 'reserve'))
}

async function prepare(path: string): Promise<string> {
  await makeDirectory(path)
  const real = await realpath(path)
  const known = await checkContent(real)
  const mode = (await stat(real)).mode & 0o777
  if (process.platform !== 'win32' && (mode & 0o077) !== 0) {
    if (known) {
      throw new ArtifactHubError(
        'ACCESS_DENIED',
        `${path} may be entered by other users (mode ${mode.toString(8)}): it holds names and keys. Run chmod 700 on it if nobody could have used that`,
        { details: { path, mode: mode.toString(8) } },
      )
    }
    await chmod(real, 0o700)
  }
  return real
}

/**
 * Makes a directory (0700) with its parents, unless it is there. Its name, and its new parents', last as long as what is
 * acknowledged in it. Not by `mkdir` with `recursive`: where the system lets nobody make a directory and calls it ENOENT, as
 * in /proc, that tries for ever.
 */
async function makeDirectory(path: string): Promise<void> {
  const made = await tryToMake(path).catch(async (error) => {
    const parent = dirname(path)
    if (systemCode(error) !== 'ENOENT' || parent === path) throw error
    await makeDirectory(parent)
    return await tryToMake(path)
  })
  if (made) await nodeFiles.syncDirectory(dirname(path))
}

/** Whether it was made; `false` when it is there already. */
async function tryToMake(path: string): Promise<boolean> {
  try {
    await mkdir(path, { mode: 0o700 })
    return true
  } catch (error) {
    // Of a read-only disk, or a folder that is not ours, the system may say that before it looks.
    const there = await stat(path).catch(() => undefined)
    if (there?.isDirectory() === true) return false
    const isOther = there !== undefined || ['EEXIST', 'ENOTDIR'].includes(systemCode(error) ?? '')
    if (!isOther) throw error
    throw new ArtifactHubError('INVALID_ARGUMENT', `${path} is not a directory`, { cause: error })
  }
}

/** Whether it is a data directory of a format we know; false when it is empty. */
async function checkContent(path: string): Promise<boolean> {
  let text: string
  try {
    text = await readFile(join(path, 'FORMAT'), 'utf8')
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    const foreign = (await readdir(path)).filter((name) => !noContent.has(name))
    if (foreign.length === 0) return false
    throw new ArtifactHubError(
      'INVALID_ARGUMENT',
      `${path} is not a data directory and not empty (it holds ${foreign.slice(0, 3).join(', ')}${foreign.length > 3 ? '…' : ''})`,
      { details: { path } },
    )
  }
  if (!/^\d{1,9}\n$/.test(text)) {
    throw new ArtifactHubError('CORRUPT', `${join(path, 'FORMAT')} holds no format number`, { details: { path } })
  }
  const format = Number(text)
  if (format !== dataDirFormat) {
    throw new ArtifactHubError(
      'UNSUPPORTED_FORMAT',
      `${path} has format ${format}; this release knows ${dataDirFormat}. Nothing was changed`,
      { details: { path, format, known: dataDirFormat } },
    )
  }
  return true
}

async function writeFormat(path: string): Promise<void> {
  const draft = join(path, 'FORMAT.new')
  const file = await open(draft, 'w', 0o600)
  try {
    await file.writeFile(`${dataDirFormat}\n`)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(draft, join(path, 'FORMAT'))
  await nodeFiles.syncDirectory(path)
}
