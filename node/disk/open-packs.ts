import type { DiskFile, DiskFiles } from './files.ts'

interface OpenPack {
  readonly file: Promise<DiskFile>
  users: number
  forgotten: boolean
}

/**
 * Pack files open for reading, at most `maxOpen` of them; a file stays open while it is used, then until it is the
 * longest unused. One that was deleted meanwhile serves those who use it and is closed after the last.
 */
export class OpenPacks {
  readonly #files: DiskFiles
  readonly #maxOpen: number
  /** In order of last use. */
  readonly #open = new Map<string, OpenPack>()
  #opened = 0
  readonly #waiting: (() => void)[] = []
  readonly #closes = new Set<Promise<void>>()

  constructor(files: DiskFiles, maxOpen: number) {
    this.#files = files
    this.#maxOpen = maxOpen
  }

  /** @throws the system's own error when the file cannot be opened */
  async use<T>(path: string, body: (file: DiskFile) => Promise<T>): Promise<T> {
    const pack = this.#take(path) ?? (await this.#takeNew(path))
    try {
      return await body(await pack.file)
    } finally {
      pack.users--
      if (pack.users === 0 && pack.forgotten) this.#close(pack)
      this.#waiting.shift()?.()
    }
  }

  /** The file was, or is about to be, removed or replaced: nobody new gets this handle. */
  forget(path: string): void {
    const pack = this.#open.get(path)
    if (!pack) return
    this.#open.delete(path)
    pack.forgotten = true
    if (pack.users === 0) this.#close(pack)
  }

  /** Closes what is idle now and the rest after its last use; resolves when the idle ones are closed. */
  async close(): Promise<void> {
    for (const path of [...this.#open.keys()]) this.forget(path)
    await Promise.allSettled(this.#closes)
  }

  /** Counts the user in the same step as the look-up, so that nobody evicts it between the two. */
  #take(path: string): OpenPack | undefined {
    const pack = this.#open.get(path)
    if (!pack) return undefined
    this.#open.delete(path)
    this.#open.set(path, pack)
    pack.users++
    return pack
  }

  async #takeNew(path: string): Promise<OpenPack> {
    while (this.#opened >= this.#maxOpen) {
      this.#evict()
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    const existing = this.#take(path)
    if (existing) {
      this.#waiting.shift()?.()
      return existing
    }
    this.#opened++
    const file = this.#openFile(path)
    const pack: OpenPack = { file, users: 1, forgotten: false }
    this.#open.set(path, pack)
    file.catch(() => {
      pack.forgotten = true
      if (this.#open.get(path) === pack) this.#open.delete(path)
    })
    return pack
  }

  async #openFile(path: string): Promise<DiskFile> {
    for (;;) {
      try {
        return await this.#files.open(path, 'read')
      } catch (error) {
        // Out of descriptors: ours are a cache, so give one back before giving up.
        if ((error as { code?: string }).code !== 'EMFILE' || !this.#evict()) throw error
        await Promise.allSettled(this.#closes)
      }
    }
  }

  #evict(): boolean {
    for (const [path, pack] of this.#open) {
      if (pack.users > 0) continue
      this.#open.delete(path)
      pack.forgotten = true
      this.#close(pack)
      return true
    }
    return false
  }

  #close(pack: OpenPack): void {
    // A handle that only read has nothing to lose in a failed close.
    const closing = pack.file.then((file) => file.close()).catch(() => {})
    this.#closes.add(closing)
    void closing.finally(() => {
      this.#closes.delete(closing)
      this.#opened--
      this.#waiting.shift()?.()
    })
  }
}
