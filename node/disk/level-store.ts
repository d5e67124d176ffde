import { chmod, mkdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Level } from 'level'
import { ArtifactHubError, isHubError } from '../../src/errors.ts'
import type { KeyRange, KeyValueChange, KeyValueStore } from '../../src/storage/key-value.ts'
import type { DiskReserve } from './disk-reserve.ts'
import { diskError, nodeFiles, systemCode } from './files.ts'
import { fromLevel, toLevel } from './level-values.ts'

/** A database smaller than this opens again in next to no room. */
const bytesBeforeReserve = 1024 * 1024

/**
 * Rows that are read on this thread. A row is in LevelDB's or the system's cache as a rule: 3 µs here, where a thread's way there
 * and back takes 20 to 60.
 */
const readHere = 32

/**
 * More rows than that are as a rule looked for once, and mostly not there, as in a sync: their blocks would push out what single reads find in the
 * cache again. With them a new member of 100,000 artifacts held 11 MB more, and no page of a list was there sooner.
 */
const readOnce = { fillCache: false } as object

/** How a LevelStore is opened. */
export interface LevelStoreOptions {
  /** Folder of the database; made when absent, 0700: LevelDB's files have modes of their own. Its parent must exist. */
  readonly path: string
  /** Whether it was there before: when it is not there now it is CORRUPT, and none is made in its place. Default no. */
  readonly mustExist?: boolean
  /** Room to open the database again on a full disk. */
  readonly reserve?: DiskReserve
  /**
   * Called as soon as a batch has failed, before its promise rejects. From then on the outcome of that batch, and
   * of any in flight beside it, is in doubt: what the caller holds in memory must be read again from here.
   */
  readonly onInDoubt?: (epoch: number) => void
}

/**
 * A KeyValueStore in LevelDB (through `level` 10).
 *
 * A failed write of LevelDB's log leaves it refusing writes, or with a torn record that would hide later ones. So
 * after a failed batch this store closes the database and opens it again before the next use. Whether the failed
 * batch is there then is not known until it is read; `epoch` counts these events.
 *
 * @throws STORAGE_FULL, STORAGE_FAILED (`details.inDoubt` on a batch that may have happened), CLOSED after `close`
 */
export class LevelStore implements KeyValueStore, AsyncDisposable {
  readonly #options: LevelStoreOptions
  #level: Level<Uint8Array, Uint8Array>
  #epoch = 0
  #broken = false
  #reopening: Promise<void> | undefined
  #filling: Promise<void> | undefined
  /** Bytes written since the reserve was last looked after. */
  #sinceFill = 0
  #closing: Promise<void> | undefined

  private constructor(options: LevelStoreOptions, level: Level<Uint8Array, Uint8Array>) {
    this.#options = options
    this.#level = level
  }

  /** @throws LOCKED when another process has this database open, CORRUPT, STORAGE_FULL, STORAGE_FAILED */
  static async open(options: LevelStoreOptions): Promise<LevelStore> {
    const { path, mustExist = false } = options
    if (mustExist) await requireDatabase(path)
    await makePrivate(path)
    const level = await openWithReserve(options)
    // Its beginning lasts as long as what others make once they know of it.
    if (!mustExist) await nodeFiles.syncDirectory(path)
    return new LevelStore(options, level)
  }

  /** How many times a batch has been left in doubt since opening. */
  get epoch(): number {
    return this.#epoch
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    const level = this.#usable ?? (await this.#ready())
    try {
      const value = level.getSync(key)
      return value && fromLevel(plain(value))
    } catch (error) {
      throw this.#failure(error, 'read the database')
    }
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    if (keys.length === 0) return []
    const level = this.#usable ?? (await this.#ready())
    try {
      const values =
        keys.length > readHere
          ? await level.getMany(keys as Uint8Array[], readOnce)
          : keys.map((key) => level.getSync(key))
      return values.map((value) => value && fromLevel(plain(value)))
    } catch (error) {
      throw this.#failure(error, 'read the database')
    }
  }

  async *entries(
    range: KeyRange,
    options: { signal?: AbortSignal } = {},
  ): AsyncGenerator<[Uint8Array, Uint8Array], void, undefined> {
    const { signal } = options
    signal?.throwIfAborted()
    const level = this.#usable ?? (await this.#ready())
    const iterator = level.iterator(definedBounds(range))
    try {
      // Few rows first, for most ranges have no more, and each step is a thread's way there and back; then growing ones, bounded so that an abort
      // is seen soon.
      for (let step = 8; ; step = Math.min(step * 4, 512)) {
        let rows: [Uint8Array, Uint8Array][]
        try {
          rows = await iterator.nextv(step)
        } catch (error) {
          throw this.#failure(error, 'read the database')
        }
        if (rows.length === 0) return
        for (const row of rows) {
          signal?.throwIfAborted()
          yield [plain(row[0]), fromLevel(plain(row[1]))]
        }
      }
    } finally {
      await iterator.close()
    }
  }

  async batch(changes: readonly KeyValueChange[], options: { sync: boolean }): Promise<void> {
    const level = this.#usable ?? (await this.#ready())
    try {
      await writeBatch(level, changes, options)
      this.#keepReserve(changes)
    } catch (error) {
      if (this.#closing) throw closedError()
      if (level === this.#level && !this.#broken) {
        this.#broken = true
        this.#epoch++
        this.#options.onInDoubt?.(this.#epoch)
      }
      const mapped = this.#failure(error, 'write the database')
      throw new ArtifactHubError(mapped.code, mapped.message, {
        cause: mapped.cause,
        details: { ...mapped.details, inDoubt: true },
      })
    }
  }

  /** Waits for what runs, then closes. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<void> {
    await this.#reopening?.catch(() => {})
    await this.#filling
    try {
      await this.#level.close()
    } catch (error) {
      throw diskError(error, 'close the database')
    }
  }

  /** Makes the reserve once enough was written that it may be needed: a small database opens in little room. */
  #keepReserve(changes: readonly KeyValueChange[]): void {
    const { reserve } = this.#options
    if (reserve === undefined || this.#sinceFill >= bytesBeforeReserve) return
    for (const change of changes)
      this.#sinceFill += change.key.length + (change.type === 'put' ? change.value.length : 0)
    if (this.#sinceFill >= bytesBeforeReserve) this.#filling = reserve.fill()
  }

  get #usable(): Level<Uint8Array, Uint8Array> | undefined {
    return this.#broken || this.#closing ? undefined : this.#level
  }

  async #ready(): Promise<Level<Uint8Array, Uint8Array>> {
    if (this.#closing) throw closedError()
    this.#reopening ??= this.#reopen().finally(() => {
      this.#reopening = undefined
    })
    await this.#reopening
    if (this.#closing) throw closedError()
    return this.#level
  }

  async #reopen(): Promise<void> {
    // Each failed attempt leaves the store broken, so the next use tries again.
    try {
      await this.#level.close()
    } catch (error) {
      throw diskError(error, 'close the database')
    }
    await requireDatabase(this.#options.path)
    this.#level = await openWithReserve(this.#options)
    this.#broken = false
    this.#sinceFill = 0
  }

  #failure(error: unknown, doing: string): ArtifactHubError {
    return this.#closing ? closedError() : levelError(error, doing)
  }
}

/**
 * LevelDB takes a folder without its file CURRENT for a new database, and removes what is left of the old one.
 * @throws CORRUPT
 */
async function requireDatabase(path: string): Promise<void> {
  await stat(join(path, 'CURRENT')).catch((error) => {
    if (systemCode(error) !== 'ENOENT') throw diskError(error, 'look for the database')
    throw new ArtifactHubError(
      'CORRUPT',
      `the database ${path} is not there, or its file CURRENT is not: put it back from a backup, all of it. Nothing was changed`,
      { cause: error, details: { path } },
    )
  })
}

async function makePrivate(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 })
    await nodeFiles.syncDirectory(dirname(path))
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw diskError(error, 'make the folder of the database')
    // Some file systems have no modes, and the data directory is closed to others in any case.
    await chmod(path, 0o700).catch(() => {})
  }
}

/** Opens the database, at the cost of the reserve when the disk is full. */
async function openWithReserve({ path, reserve }: LevelStoreOptions): Promise<Level<Uint8Array, Uint8Array>> {
  return await openLevel(path).catch(async (error) => {
    if (!isHubError(error, 'STORAGE_FULL') || !(await reserve?.release())) throw error
    return await openLevel(path)
  })
}

async function openLevel(path: string): Promise<Level<Uint8Array, Uint8Array>> {
  const level = new Level<Uint8Array, Uint8Array>(path, {
    keyEncoding: 'view',
    valueEncoding: 'view',
    cacheSize: 32 * 1024 * 1024,
    writeBufferSize: 16 * 1024 * 1024,
  } as object)
  try {
    await level.open()
    return level
  } catch (error) {
    throw levelError((error as Error).cause ?? error, 'open the database')
  }
}

function levelError(error: unknown, doing: string): ArtifactHubError {
  const { code, message } = error as { code?: string; message?: string }
  if (code === 'LEVEL_LOCKED') {
    return new ArtifactHubError('LOCKED', 'another process, maybe in another container, has the database open', {
      cause: error,
    })
  }
  if (code === 'LEVEL_CORRUPTION') {
    return new ArtifactHubError('CORRUPT', `the database is damaged: ${message}`, { cause: error })
  }
  // LevelDB gives no errno, only strerror's text.
  if (/no space left|quota exceeded|file too large/i.test(message ?? '')) {
    return new ArtifactHubError('STORAGE_FULL', `no room to ${doing}`, { cause: error })
  }
  return new ArtifactHubError('STORAGE_FAILED', `cannot ${doing}: ${message ?? code}`, { cause: error })
}

function closedError(): ArtifactHubError {
  return new ArtifactHubError('CLOSED', 'the database is closed')
}

/** Level gives Buffers, whose `slice` shares memory where a Uint8Array's copies. */
function plain(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length)
}

/** One call for each row: given as a list, whose rows the binding takes apart member by member, they take twice the time. */
async function writeBatch(
  level: Level<Uint8Array, Uint8Array>,
  changes: readonly KeyValueChange[],
  { sync }: { sync: boolean },
): Promise<void> {
  const batch = level.batch()
  try {
    for (const change of changes) {
      if (change.type === 'del') batch.del(change.key)
      else batch.put(change.key, toLevel(change.value))
    }
    await batch.write({ sync } as object)
  } finally {
    await batch.close()
  }
}

/** Level rejects a bound that is present but undefined. */
function definedBounds(range: KeyRange): KeyRange {
  return Object.fromEntries(Object.entries(range).filter(([, value]) => value !== undefined))
}
