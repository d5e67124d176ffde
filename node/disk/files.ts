import type { FileHandle } from 'node:fs/promises'
import { mkdir, open, readdir, rename, rmdir, stat, unlink } from 'node:fs/promises'
import { resolve } from 'node:path'
import { ArtifactHubError, type ErrorDetails } from '../../src/errors.ts'

/** One open file. All positions and lengths are bytes; nothing here moves a shared file position. */
export interface DiskFile {
  /** Its descriptor, for other threads; absent where it is no file of the system's. */
  readonly descriptor?: number
  /** Reads into `buffer` from `position`; gives how many bytes came, fewer only at the end of the file. */
  read(buffer: Uint8Array, position: number): Promise<number>
  /** Writes the parts one after the other at `position`; gives how many bytes went, which may be fewer than asked. */
  writev(parts: readonly Uint8Array[], position: number): Promise<number>
  /** Resolves when the file's bytes and length are on the disk. After it failed, nothing since the last success is known. */
  datasync(): Promise<void>
  truncate(length: number): Promise<void>
  size(): Promise<number>
  close(): Promise<void>
}

/**
 * The few file operations that the pack store is built from: the real ones below, and in tests a disk that
 * fails, fills up and loses power. Implementations reject with Node's own errors (`code: 'ENOSPC'`…).
 */
export interface DiskFiles {
  /** `read`: an existing file, for reading. `write`: an existing file, both. `create`: a new file, both; `EEXIST` if there is one. */
  open(path: string, mode: 'read' | 'write' | 'create'): Promise<DiskFile>
  rename(from: string, to: string): Promise<void>
  unlink(path: string): Promise<void>
  /** Names, in no order. */
  readdir(path: string): Promise<string[]>
  stat(path: string): Promise<{ size: number; isDirectory: boolean }>
  /** Makes the directory; no error when it is there already. Its parent must exist. */
  mkdir(path: string): Promise<void>
  /** Removes an empty directory. */
  rmdir(path: string): Promise<void>
  /** Resolves when the directory's entries are on the disk: what was created, renamed and removed in it. */
  syncDirectory(path: string): Promise<void>
}

/** The codes of `error` that say where the failure came from, as Node gives them (`ENOSPC`), or `undefined`. */
export function systemCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code
  return typeof code === 'string' ? code : undefined
}

/**
 * A path from the root of the file system.
 * @throws INVALID_ARGUMENT for one that begins where this process is, when that folder was removed
 */
export function absolutePath(path: string): string {
  try {
    return resolve(path)
  } catch (cause) {
    throw new ArtifactHubError('INVALID_ARGUMENT', `${path} begins in the current folder, which was removed`, {
      cause,
      details: { path },
    })
  }
}

const fullCodes = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/**
 * A failed disk operation as one of ours: STORAGE_FULL when there is no room (ENOSPC, EDQUOT, EFBIG), else
 * STORAGE_FAILED. One of ours passes through unchanged. Never an absence.
 * @param doing what was attempted, as the rest of "cannot …"
 */
export function diskError(error: unknown, doing: string): ArtifactHubError {
  if (error instanceof ArtifactHubError) return error
  const code = systemCode(error)
  const details: ErrorDetails = code === undefined ? {} : { systemCode: code }
  if (code !== undefined && fullCodes.has(code)) {
    return new ArtifactHubError('STORAGE_FULL', `no room to ${doing} (${code})`, { cause: error, details })
  }
  const reason = code ?? (error instanceof Error ? error.message : String(error))
  return new ArtifactHubError('STORAGE_FAILED', `cannot ${doing}: ${reason}`, { cause: error, details })
}

/** The error for a file that ends too soon, with the code that libuv has for it. */
export function endOfFile(): Error {
  return Object.assign(new Error('the file ends too soon'), { code: 'EOF' })
}

/** Reads until `buffer` is full or the file ends; gives the bytes read. */
export async function readFully(file: DiskFile, buffer: Uint8Array, position: number): Promise<number> {
  let done = 0
  while (done < buffer.length) {
    const count = await file.read(done === 0 ? buffer : buffer.subarray(done), position + done)
    if (count === 0) break
    done += count
  }
  return done
}

/** Writes all of `parts` at `position`, going on after a short write, so that the real reason of one comes out. */
export async function writeFully(
  file: Pick<DiskFile, 'writev'>,
  parts: readonly Uint8Array[],
  position: number,
): Promise<void> {
  let rest = parts
  let at = position
  while (rest.length > 0) {
    let count = await file.writev(rest, at)
    if (count === 0 && rest.some((part) => part.length > 0)) throw new Error('the disk took no bytes')
    at += count
    let first = 0
    while (first < rest.length && count >= (rest[first] as Uint8Array).length) {
      count -= (rest[first] as Uint8Array).length
      first++
    }
    if (first === rest.length) return
    rest = [(rest[first] as Uint8Array).subarray(count), ...rest.slice(first + 1)]
  }
}

class NodeFile implements DiskFile {
  readonly #handle: FileHandle

  constructor(handle: FileHandle) {
    this.#handle = handle
  }

  get descriptor(): number {
    return this.#handle.fd
  }

  async read(buffer: Uint8Array, position: number): Promise<number> {
    return (await this.#handle.read(buffer, 0, buffer.length, position)).bytesRead
  }

  async writev(parts: readonly Uint8Array[], position: number): Promise<number> {
    return (await this.#handle.writev(parts, position)).bytesWritten
  }

  datasync(): Promise<void> {
    return this.#handle.datasync()
  }

  truncate(length: number): Promise<void> {
    return this.#handle.truncate(length)
  }

  async size(): Promise<number> {
    return (await this.#handle.stat()).size
  }

  close(): Promise<void> {
    return this.#handle.close()
  }
}

const openFlags = { read: 'r', write: 'r+', create: 'wx+' } as const

/** The operating system's files. New files are 0600 and new directories 0700. */
export const nodeFiles: DiskFiles = {
  async open(path, mode) {
    return new NodeFile(await open(path, openFlags[mode], 0o600))
  },
  rename,
  unlink,
  readdir: (path) => readdir(path),
  async stat(path) {
    const found = await stat(path)
    return { size: found.size, isDirectory: found.isDirectory() }
  },
  async mkdir(path) {
    try {
      await mkdir(path, { mode: 0o700 })
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error
    }
  },
  rmdir,
  async syncDirectory(path) {
    // Windows cannot open a directory; NTFS journals its entries.
    if (process.platform === 'win32') return
    const handle = await open(path, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  },
}
