import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, link, open, rename, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { LocalFiles, SourceFile, TargetFile } from '../sdk/local/index.ts'
import { ArtifactHubError } from '../src/errors.ts'
import { diskError, systemCode } from './disk/files.ts'

const hashBufferBytes = 1024 * 1024

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
  const existing = await stat(absolute).catch((cause) => absent(path, cause))
  if (existing?.isDirectory())
    throw new ArtifactHubError('INVALID_ARGUMENT', `${path} is a directory`, { details: { path } })
  if (existing !== undefined && !overwrite) throw alreadyThere(path)
  const partial = join(dirname(absolute), `.${basename(absolute).slice(0, 100)}.${content.slice(0, 16)}.part`)
  const handle = await openPartial(partial, path)
  const held = (await handle.stat()).size
  return new Target(handle, { path, absolute, partial, overwrite, heldBytes: held <= sizeBytes ? held : 0 })
}

interface TargetPlace {
  readonly path: string
  readonly absolute: string
  readonly partial: string
  readonly overwrite: boolean
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
    const { absolute, partial, overwrite, path } = this.#place
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
    await this.#close()
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

async function openPartial(partial: string, path: string): Promise<FileHandle> {
  // Not followed if a link, nor waited for if a pipe: the folder may be one that others write to.
  return await open(partial, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    (cause) => {
      if (systemCode(cause) === 'ENOENT') {
        throw new ArtifactHubError('NOT_FOUND', `the folder of ${path} is not there`, { cause, details: { path } })
      }
      throw diskError(cause, `write ${path}`)
    },
  )
}

function alreadyThere(path: string): ArtifactHubError {
  return new ArtifactHubError('ALREADY_EXISTS', `${path} is there already; pass overwrite to replace it`, {
    details: { path },
  })
}

function absent(path: string, cause: unknown): undefined {
  if (systemCode(cause) === 'ENOENT') return undefined
  throw diskError(cause, `look at ${path}`)
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
