import { createHash, randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, link, open, rename, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { LocalFiles, SourceFile, TargetFile } from '../sdk/local/index.ts'
import { ArtifactHubError } from '../src/errors.ts'
import { diskError, systemCode } from './disk/files.ts'

const hashBufferBytes = 1024 * 1024
/** UTF-8 bytes of a target's name that go into its partial file's: with the rest of it, less than the 255 that a name may have. */
const partialNameBytes = 180

/** Partial files that this process is writing. */
const partialsInUse = new Set<string>()

/** The files of this machine. */
export const localFiles: LocalFiles = { openSource, openTarget }

async function openSource(path: string): Promise<SourceFile> {
  const absolute = resolve(path)
  const before = await stat(absolute, { bigint: true }).catch((cause) => {
    throw sourceError(path, cause)
  })
  // Looked at before it is opened, for opening a pipe waits for its other end.
  if (!before.isFile()) {
    const kind = before.isDirectory() ? 'a directory' : 'not a regular file'
    throw new ArtifactHubError('INVALID_ARGUMENT', `${path} is ${kind}`, { details: { path } })
  }
  const handle = await open(absolute, 'r').catch((cause) => {
    throw sourceError(path, cause)
  })
  const opened = await handle.stat({ bigint: true })
  return {
    name: basename(absolute),
    path: absolute,
    sizeBytes: Number(opened.size),
    async read(into, position) {
      return (await handle.read(into, 0, into.length, position)).bytesRead
    },
    async checkUnchanged() {
      const now = await handle.stat({ bigint: true })
      if (now.size === opened.size && now.mtimeNs === opened.mtimeNs && now.ctimeNs === opened.ctimeNs) return
      throw new ArtifactHubError('SOURCE_FAILED', `${path} changed while it was read`, { details: { path } })
    },
    [Symbol.asyncDispose]: () => handle.close(),
  }
}

async function openTarget(
  path: string,
  { overwrite, content, sizeBytes }: { overwrite: boolean; content: string; sizeBytes: number },
): Promise<TargetFile> {
  const absolute = resolve(path)
  const existing = await stat(absolute).catch((cause) => {
    if (systemCode(cause) === 'ENOENT') return undefined
    throw targetError(path, cause)
  })
  if (existing !== undefined && !existing.isFile()) {
    // Not even to overwrite: a rename would put a file where a device or a pipe is.
    const kind = existing.isDirectory() ? 'a directory' : 'not a regular file'
    throw new ArtifactHubError('INVALID_ARGUMENT', `${path} is ${kind}`, { details: { path } })
  }
  if (existing !== undefined && !overwrite) throw alreadyThere(path)
  const name = Buffer.from(basename(absolute)).subarray(0, partialNameBytes).toString()
  const shared = join(dirname(absolute), `.${name}.${content.slice(0, 16)}.part`)
  // Of several downloads of the same to one place, one goes on with what is there and the others keep out of its way.
  const isOwn = partialsInUse.has(shared)
  const partial = isOwn ? `${shared}.${randomBytes(8).toString('hex')}` : shared
  partialsInUse.add(partial)
  try {
    const { handle, heldBytes } = await openPartial(partial).catch((cause) => {
      throw targetError(path, cause)
    })
    return new Target(handle, {
      path,
      absolute,
      partial,
      isOwn,
      replaces: existing !== undefined,
      overwrite,
      heldBytes: heldBytes <= sizeBytes ? heldBytes : 0,
    })
  } catch (error) {
    partialsInUse.delete(partial)
    throw error
  }
}

interface TargetPlace {
  readonly path: string
  readonly absolute: string
  readonly partial: string
  /** Whether nobody goes on with the partial file later. */
  readonly isOwn: boolean
  readonly overwrite: boolean
  /** Whether there is a file at the target. */
  readonly replaces: boolean
  readonly heldBytes: number
}

class Target implements TargetFile {
  readonly heldBytes: number
  readonly #handle: FileHandle
  readonly #place: TargetPlace
  #closing: Promise<void> | undefined

  constructor(handle: FileHandle, place: TargetPlace) {
    this.#handle = handle
    this.#place = place
    this.heldBytes = place.heldBytes
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    let done = 0
    while (done < bytes.length) {
      const { bytesWritten } = await this.#disk(this.#handle.write(bytes, done, bytes.length - done, position + done))
      done += bytesWritten
    }
  }

  async sha256(signal: AbortSignal | undefined): Promise<Uint8Array> {
    const hash = createHash('sha256')
    const buffer = new Uint8Array(hashBufferBytes)
    for (let at = 0; ; ) {
      signal?.throwIfAborted()
      const { bytesRead } = await this.#disk(this.#handle.read(buffer, 0, buffer.length, at))
      if (bytesRead === 0) return hash.digest()
      hash.update(buffer.subarray(0, bytesRead))
      at += bytesRead
    }
  }

  async truncate(bytes: number): Promise<void> {
    await this.#disk(this.#handle.truncate(bytes))
  }

  async commit(): Promise<void> {
    const { absolute, partial, overwrite, replaces, path } = this.#place
    // Else a power cut could leave neither the old file nor the new one.
    if (replaces) await this.#disk(this.#handle.datasync())
    await this.#close()
    if (overwrite) {
      await this.#disk(rename(partial, absolute))
      return
    }
    // A link refuses to replace what appeared meanwhile; a rename would not.
    await link(partial, absolute).catch(async (cause) => {
      if (systemCode(cause) === 'EEXIST') throw alreadyThere(path)
      await this.#disk(rename(partial, absolute))
    })
    await unlink(partial).catch(() => {})
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { partial, isOwn } = this.#place
    try {
      await this.#close()
      if (isOwn) await unlink(partial).catch(() => {})
    } finally {
      partialsInUse.delete(partial)
    }
  }

  #close(): Promise<void> {
    this.#closing ??= this.#disk(this.#handle.close())
    return this.#closing
  }

  async #disk<T>(work: Promise<T>): Promise<T> {
    return await work.catch((cause) => {
      throw diskError(cause, `write ${this.#place.path}`)
    })
  }
}

/** Not followed if a link, nor waited for if a pipe: the folder may be one that others write to. */
const partialFlags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK

async function openPartial(partial: string): Promise<{ handle: FileHandle; heldBytes: number }> {
  const handle = await open(partial, partialFlags).catch((cause) => {
    if (systemCode(cause) !== 'ELOOP') throw cause
    return undefined
  })
  const held = await handle?.stat()
  // One with a second name may be another's file, or the target itself when its first download was cut off at the end.
  if (handle !== undefined && held?.isFile() === true && held.nlink === 1) return { handle, heldBytes: held.size }
  await handle?.close()
  await unlink(partial)
  return { handle: await open(partial, partialFlags | constants.O_EXCL), heldBytes: 0 }
}

function alreadyThere(path: string): ArtifactHubError {
  return new ArtifactHubError('ALREADY_EXISTS', `${path} is there already; pass overwrite to replace it`, {
    details: { path },
  })
}

function targetError(path: string, cause: unknown): ArtifactHubError {
  const code = systemCode(cause)
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new ArtifactHubError('NOT_FOUND', `the folder of ${path} is not there`, { cause, details: { path } })
  }
  if (code === 'ENAMETOOLONG')
    return new ArtifactHubError('INVALID_ARGUMENT', `${path} is too long`, { cause, details: { path } })
  return diskError(cause, `write ${path}`)
}

function sourceError(path: string, cause: unknown): ArtifactHubError {
  const code = systemCode(cause)
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new ArtifactHubError('NOT_FOUND', `there is no file ${path}`, { cause, details: { path } })
  }
  return new ArtifactHubError('SOURCE_FAILED', `${path} cannot be read (${code ?? 'unknown error'})`, {
    cause,
    details: { path },
  })
}
