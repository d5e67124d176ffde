import { dirname } from 'node:path'
import type { DiskFile, DiskFiles } from '../files.ts'

type FileChange =
  | { readonly kind: 'write'; readonly position: number; readonly bytes: Buffer }
  | { readonly kind: 'truncate'; readonly length: number }

class Inode {
  /** As the page cache shows it. */
  content: Buffer = Buffer.alloc(0)
  /** As the disk has it for certain. */
  durable: Buffer = Buffer.alloc(0)
  unsynced: FileChange[] = []
}

type Entry = Inode | Directory

class Directory {
  entries = new Map<string, Entry>()
  durable = new Map<string, Entry>()
  unsynced: ((entries: Map<string, Entry>) => void)[] = []

  change(apply: (entries: Map<string, Entry>) => void): void {
    apply(this.entries)
    this.unsynced.push(apply)
  }
}

/** One operation, as a test sees it before it runs. */
export interface DiskOperation {
  /** Counted from 0. */
  readonly index: number
  readonly kind:
    | 'open'
    | 'read'
    | 'write'
    | 'datasync'
    | 'truncate'
    | 'close'
    | 'rename'
    | 'unlink'
    | 'readdir'
    | 'stat'
    | 'mkdir'
    | 'rmdir'
    | 'syncDirectory'
  readonly path: string
}

/** What to make of an operation: an error to fail with, or for a write how many bytes go (and then the error, if one is given). */
export type Fault = Error | { readonly shortWrite: number; readonly error?: Error } | undefined

/** An error as Node gives it. */
export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code })
}

/** A repeatable source of numbers from 0 to 1 (mulberry32). */
export function numbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/**
 * A disk in memory that can fail at any operation and lose power. It is as unkind as Linux may be: what was not synced
 * may be there in any part or not at all, in any order, with zeros in the gaps; a new name is lost unless its directory
 * was synced; and after a failed datasync the page cache shows bytes that will never reach the disk.
 */
export class SimulatedDisk implements DiskFiles {
  #root = new Directory()
  operations = 0
  /** Asked before each operation. */
  fault: (operation: DiskOperation) => Fault = () => undefined
  /** Waited for before each operation, to let others come between. */
  pause: (() => Promise<void>) | undefined

  async open(path: string, mode: 'read' | 'write' | 'create'): Promise<DiskFile> {
    await this.#begin('open', path)
    const directory = this.#directory(dirname(path))
    const name = nameOf(path)
    let inode = directory.entries.get(name)
    if (mode === 'create') {
      if (inode) throw systemError('EEXIST')
      const created = new Inode()
      inode = created
      directory.change((entries) => entries.set(name, created))
    }
    if (!inode) throw systemError('ENOENT')
    if (inode instanceof Directory) throw systemError('EISDIR')
    return this.#file(inode, path)
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#begin('rename', from)
    const directory = this.#directory(dirname(from))
    if (directory !== this.#directory(dirname(to))) throw systemError('EXDEV')
    const entry = directory.entries.get(nameOf(from))
    if (!entry) throw systemError('ENOENT')
    directory.change((entries) => {
      entries.delete(nameOf(from))
      entries.set(nameOf(to), entry)
    })
  }

  async unlink(path: string): Promise<void> {
    await this.#begin('unlink', path)
    const directory = this.#directory(dirname(path))
    if (!(directory.entries.get(nameOf(path)) instanceof Inode)) throw systemError('ENOENT')
    directory.change((entries) => entries.delete(nameOf(path)))
  }

  async readdir(path: string): Promise<string[]> {
    await this.#begin('readdir', path)
    return [...this.#directory(path).entries.keys()]
  }

  async stat(path: string): Promise<{ size: number; isDirectory: boolean }> {
    await this.#begin('stat', path)
    const entry = this.#directory(dirname(path)).entries.get(nameOf(path))
    if (!entry) throw systemError('ENOENT')
    return entry instanceof Directory
      ? { size: 0, isDirectory: true }
      : { size: entry.content.length, isDirectory: false }
  }

  async mkdir(path: string): Promise<void> {
    await this.#begin('mkdir', path)
    const directory = this.#directory(dirname(path))
    if (directory.entries.has(nameOf(path))) return
    const made = new Directory()
    directory.change((entries) => entries.set(nameOf(path), made))
  }

  async rmdir(path: string): Promise<void> {
    await this.#begin('rmdir', path)
    const directory = this.#directory(dirname(path))
    const entry = directory.entries.get(nameOf(path))
    if (!(entry instanceof Directory)) throw systemError('ENOENT')
    if (entry.entries.size > 0) throw systemError('ENOTEMPTY')
    directory.change((entries) => entries.delete(nameOf(path)))
  }

  async syncDirectory(path: string): Promise<void> {
    await this.#begin('syncDirectory', path)
    const directory = this.#directory(path)
    for (const change of directory.unsynced.splice(0)) change(directory.durable)
  }

  /** Bytes of a file, to look at and to damage. */
  bytes(path: string): Buffer {
    const entry = this.#directory(dirname(path)).entries.get(nameOf(path))
    if (!(entry instanceof Inode)) throw systemError('ENOENT')
    return entry.content
  }

  /** The disk as a power cut may leave it; `random` gives numbers from 0 to 1. This one is not changed. */
  afterPowerCut(random: () => number): SimulatedDisk {
    const disk = new SimulatedDisk()
    disk.#root = crashDirectory(this.#root, random)
    return disk
  }

  #file(inode: Inode, path: string): DiskFile {
    let closed = false
    const begin = (kind: DiskOperation['kind']) => {
      if (closed) throw systemError('EBADF')
      return this.#begin(kind, path)
    }
    return {
      read: async (buffer, position) => {
        await begin('read')
        const some = inode.content.subarray(position, position + buffer.length)
        buffer.set(some)
        return some.length
      },
      writev: async (parts, position) => {
        const fault = await begin('write')
        const bytes = Buffer.concat(parts)
        const taken = fault ? bytes.subarray(0, Math.min(fault.shortWrite, bytes.length)) : bytes
        inode.content = changed(inode.content, { kind: 'write', position, bytes: taken })
        inode.unsynced.push({ kind: 'write', position, bytes: taken })
        if (fault?.error) throw fault.error
        return taken.length
      },
      datasync: async () => {
        const pending = [...inode.unsynced]
        try {
          await begin('datasync')
        } catch (error) {
          inode.unsynced = []
          throw error
        }
        inode.unsynced = inode.unsynced.slice(pending.length)
        for (const change of pending) inode.durable = changed(inode.durable, change)
      },
      truncate: async (length) => {
        await begin('truncate')
        inode.content = changed(inode.content, { kind: 'truncate', length })
        inode.unsynced.push({ kind: 'truncate', length })
      },
      size: async () => inode.content.length,
      close: async () => {
        await begin('close')
        closed = true
      },
    }
  }

  async #begin(kind: DiskOperation['kind'], path: string): Promise<{ shortWrite: number; error?: Error } | undefined> {
    await this.pause?.()
    const fault = this.fault({ index: this.operations++, kind, path })
    if (fault instanceof Error) throw fault
    return fault
  }

  #directory(path: string): Directory {
    let at = this.#root
    for (const name of path.split('/').filter((part) => part !== '' && part !== '.')) {
      const next = at.entries.get(name)
      if (!(next instanceof Directory)) throw systemError('ENOENT')
      at = next
    }
    return at
  }
}

function nameOf(path: string): string {
  return path.split('/').at(-1) as string
}

function changed(content: Buffer, change: FileChange): Buffer {
  if (change.kind === 'truncate') {
    if (change.length <= content.length) return Buffer.from(content.subarray(0, change.length))
    return Buffer.concat([content, Buffer.alloc(change.length - content.length)])
  }
  const end = change.position + change.bytes.length
  const next = Buffer.alloc(Math.max(content.length, end))
  content.copy(next)
  change.bytes.copy(next, change.position)
  return next
}

function crashDirectory(directory: Directory, random: () => number): Directory {
  const entries = new Map(directory.durable)
  for (const change of directory.unsynced) if (random() < 0.5) change(entries)
  const after = new Directory()
  for (const [name, entry] of entries) {
    const survivor = entry instanceof Directory ? crashDirectory(entry, random) : crashFile(entry, random)
    after.entries.set(name, survivor)
    after.durable.set(name, survivor)
  }
  return after
}

function crashFile(inode: Inode, random: () => number): Inode {
  let content = inode.durable
  for (const change of inode.unsynced) {
    const luck = random()
    if (luck < 0.35) continue
    if (change.kind === 'write' && luck < 0.6) {
      // Torn: some run of it.
      const from = Math.floor(random() * change.bytes.length)
      const to = from + Math.floor(random() * (change.bytes.length - from + 1))
      content = changed(content, {
        ...change,
        position: change.position + from,
        bytes: change.bytes.subarray(from, to),
      })
    } else {
      content = changed(content, change)
    }
  }
  const after = new Inode()
  after.content = content
  after.durable = content
  return after
}
