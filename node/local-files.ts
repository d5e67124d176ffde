import { createHash, randomBytes } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import { chmod, type FileHandle, link, lstat, open, rename, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { LocalFiles, SourceFile, TargetFile } from '../sdk/local/index.ts'
import { ArtifactHubError } from '../src/errors.ts'
import { maxUnorderedBytes } from '../src/limits.ts'
import { absolutePath, diskError, systemCode, writeFully } from './disk/files.ts'

const hashBufferBytes = 1024 * 1024
/** UTF-8 bytes of a target's name that go into its partial file's: with the rest of it, less than the 255 that a name may have. */
const partialNameBytes = 180

/** Partial files that this process is writing. */
const partialsInUse = new Set<string>()

/** The files of this machine. */
export const localFiles: LocalFiles = { openSource, openTarget }

async function openSource(path: string): Promise<SourceFile> {
  const absolute = absolutePath(path)
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
  { overwrite, content }: { overwrite: boolean; content: string },
): Promise<TargetFile> {
  const absolute = absolutePath(path)
  const existing = await stat(absolute).catch((cause) => {
    if (systemCode(cause) === 'ENOENT') return undefined
    throw targetError(path, cause)
  })
  if (existing !== undefined && !existing.isFile()) {
    // Not even to overwrite: a rename would put a file where a device or a pipe is.
    const kind = existing.isDirectory() ? 'a directory' : 'not a regular file'
    throw new ArtifactHubError('INVALID_ARGUMENT', `${path} is ${kind}`, { details: { path } })
  }
  // A link that leads nowhere is there too.
  const isThere = existing !== undefined || (await lstat(absolute).catch(() => undefined)) !== undefined
  if (isThere && !overwrite) throw alreadyThere(path)
  const name = Buffer.from(basename(absolute)).subarray(0, partialNameBytes).toString()
  const shared = join(dirname(absolute), `.${name}.${content.slice(0, 16)}.part`)
  const claim = await claimPartial(shared).catch((cause) => {
    throw targetError(path, cause)
  })
  // A download that was killed may have left gaps before the end: see `keep`.
  const heldBytes = Math.max(0, claim.heldBytes - maxUnorderedBytes)
  return new Target({ ...claim, path, absolute, replaces: existing !== undefined, overwrite, heldBytes })
}

interface PartialClaim {
  readonly handle: FileHandle
  readonly partial: string
  /** Whether nobody goes on with the partial file later. */
  readonly isOwn: boolean
  /** Its length; of a `TargetPlace` what of it is sure. */
  readonly heldBytes: number
}

/** Of several downloads of the same to one place, one goes on with what is there and the others keep out of its way. */
async function claimPartial(shared: string): Promise<PartialClaim> {
  if (!partialsInUse.has(shared)) {
    partialsInUse.add(shared)
    try {
      const opened = await openShared(shared)
      if (opened !== undefined) return { ...opened, partial: shared, isOwn: false }
    } catch (error) {
      partialsInUse.delete(shared)
      throw error
    }
    partialsInUse.delete(shared)
  }
  const partial = `${shared}.${randomBytes(8).toString('hex')}`
  const handle = await open(partial, partialFlags | constants.O_EXCL, partialMode)
  partialsInUse.add(partial)
  return { handle, partial, isOwn: true, heldBytes: 0 }
}

interface TargetPlace extends PartialClaim {
  readonly path: string
  readonly absolute: string
  readonly overwrite: boolean
  /** Whether there is a file at the target. */
  readonly replaces: boolean
}

class Target implements TargetFile {
  readonly path: string
  readonly heldBytes: number
  readonly #handle: FileHandle
  readonly #place: TargetPlace
  /** All before is written. */
  #end: number
  #closing: Promise<void> | undefined

  constructor(place: TargetPlace) {
    this.#handle = place.handle
    this.#place = place
    this.path = place.path
    this.heldBytes = place.heldBytes
    this.#end = place.heldBytes
  }

  get descriptor(): number {
    return this.#handle.fd
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    const file = {
      writev: async (rest: readonly Uint8Array[], at: number) => (await this.#handle.writev(rest, at)).bytesWritten,
    }
    await this.#disk(writeFully(file, [bytes], position))
  }

  keep(end: number): void {
    this.#end = end
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
    this.#end = Math.min(this.#end, bytes)
    await this.#disk(this.#handle.truncate(bytes))
  }

  async commit(): Promise<void> {
    const { absolute, partial, overwrite, replaces, path } = this.#place
    // The rights of what it replaces, else those that any new file gets.
    const replaced = await stat(absolute).catch(() => undefined)
    const mode = replaced?.isFile() === true ? replaced.mode & 0o777 : 0o666 & ~process.umask()
    await setMode(this.#handle, mode)
    // Else a power cut could leave neither the old file nor the new one.
    if (replaces) await this.#disk(this.#handle.datasync())
    const whole = await this.#disk(this.#handle.stat())
    await this.#close()
    if (overwrite) {
      await rename(partial, absolute).catch(async (cause) => {
        // Another process wrote the same into the same file, and was done first.
        const there = systemCode(cause) === 'ENOENT' ? await lstat(absolute).catch(() => undefined) : undefined
        if (there === undefined || !isSame(whole, there)) throw diskError(cause, `write ${path}`)
      })
      return
    }
    // A link refuses to replace what appeared meanwhile; a rename would not.
    await link(partial, absolute).catch(async () => {
      const isThere = (await lstat(absolute).catch(() => undefined)) !== undefined
      if (!isThere) return await this.#disk(rename(partial, absolute))
      await chmod(partial, partialMode).catch(() => {})
      throw alreadyThere(path)
    })
    await unlink(partial).catch(() => {})
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { partial, isOwn } = this.#place
    try {
      if (this.#closing === undefined && !isOwn) await this.#leave().catch(() => {})
      await this.#close()
      if (isOwn) await unlink(partial).catch(() => {})
    } finally {
      partialsInUse.delete(partial)
    }
  }

  /**
   * Makes it as long as that of a download may be that was killed here: so the length alone says what is sure to be there. Another process
   * may go on with the same file, and be further, or have made it its target: then it stays as it is.
   */
  async #leave(): Promise<void> {
    if (this.#end === 0) return
    const length = this.#end + maxUnorderedBytes
    const held = await this.#handle.stat()
    if (held.size < length && isSame(held, await lstat(this.#place.partial))) await this.#handle.truncate(length)
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

/** What it holds is for its owner alone until it is whole. */
const partialMode = 0o600

/** Opens the partial file that an earlier try left, or a new one; `undefined` when another's is in its place to stay. */
async function openShared(partial: string): Promise<{ handle: FileHandle; heldBytes: number } | undefined> {
  const handle = await open(partial, partialFlags, partialMode).catch((cause) => {
    if (!foreignCodes.has(systemCode(cause) ?? '')) throw cause
    return undefined
  })
  const held = await handle?.stat()
  if (handle !== undefined && held !== undefined && isOurs(held)) {
    await setMode(handle, partialMode)
    return { handle, heldBytes: held.size }
  }
  await handle?.close()
  try {
    await unlink(partial).catch((cause) => {
      if (systemCode(cause) !== 'ENOENT') throw cause
    })
    return { handle: await open(partial, partialFlags | constants.O_EXCL, partialMode), heldBytes: 0 }
  } catch (cause) {
    if (!foreignCodes.has(systemCode(cause) ?? '')) throw cause
    return undefined
  }
}

/** How the system refuses what another user has put there, links too. */
const foreignCodes: ReadonlySet<string> = new Set(['ELOOP', 'EACCES', 'EPERM', 'EEXIST', 'EISDIR', 'ENXIO'])

/** One with a second name may be another's file, or the target itself when its first download was cut off at the end. */
function isOurs(held: Stats): boolean {
  return held.isFile() && held.nlink === 1 && (process.getuid === undefined || held.uid === process.getuid())
}

/** Whether both are one file under one name. */
function isSame(held: Stats, there: Stats): boolean {
  return held.ino === there.ino && held.dev === there.dev && there.nlink === 1
}

/** Some file systems have no modes: what they cannot set says nothing about the bytes. */
async function setMode(handle: FileHandle, mode: number): Promise<void> {
  await handle.chmod(mode).catch(() => {})
}

function alreadyThere(path: string): ArtifactHubError {
  return new ArtifactHubError('ALREADY_EXISTS', `${path} is there already, and was not to be replaced`, {
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
