import { join } from 'node:path'
import { ArtifactHubError } from '../../src/errors.ts'
import { diskError, readFully, systemCode } from './files.ts'
import type { OpenPacks } from './open-packs.ts'
import type { PendingBlock } from './pack-appender.ts'
import { packFileName, recordHeaderBytes } from './pack-format.ts'
import { type BlockLocation, type DigestKey, digestKey, type PackIndex } from './pack-index.ts'

/** What a reader of packs works with. */
export interface PackReaderInit {
  /** `ns_…`, for messages. */
  readonly id: string
  readonly directory: string
  readonly openPacks: OpenPacks
  readonly index: PackIndex
  /** Blocks on their way to the index: those that are written can be read. */
  readonly pending: ReadonlyMap<DigestKey, PendingBlock>
  /** Whether index and files agree now. */
  readonly isReady: () => boolean
  /** Resolves when they do. @throws CLOSED, STORAGE_FAILED */
  readonly ready: () => Promise<void>
}

/** Reads blocks out of packs that may be compacted, cut back or read again meanwhile. */
export class PackReader {
  readonly #init: PackReaderInit

  constructor(init: PackReaderInit) {
    this.#init = init
  }

  /** A block in memory of its own; `undefined` when it is not here. @throws CORRUPT, STORAGE_FAILED, CLOSED */
  async read(digest: Uint8Array, signal: AbortSignal | undefined): Promise<Uint8Array<ArrayBuffer> | undefined> {
    let block: Uint8Array<ArrayBuffer> | undefined
    await this.#read(digest, signal, (length) => {
      block = new Uint8Array(Buffer.allocUnsafeSlow(length).buffer as ArrayBuffer)
      return block
    })
    return block
  }

  /** A block into memory that is there, which must be long enough. Gives its length. @throws as `read` */
  async readInto(digest: Uint8Array, into: Uint8Array, signal: AbortSignal | undefined): Promise<number | undefined> {
    return await this.#read(digest, signal, (length) => {
      if (length > into.length) throw new ArtifactHubError('INTERNAL', 'a block is longer than the memory for it')
      return into.subarray(0, length)
    })
  }

  /** Gives the block's length once it is in the memory that `place` named, the last time if it was asked twice. */
  async #read(
    digest: Uint8Array,
    signal: AbortSignal | undefined,
    place: (length: number) => Uint8Array,
  ): Promise<number | undefined> {
    const { id, isReady, ready } = this.#init
    signal?.throwIfAborted()
    await ready()
    let failed: BlockLocation | undefined
    for (;;) {
      const location = await this.#locate(digest)
      if (!location) {
        if (isReady()) return undefined
        await ready()
        continue
      }
      try {
        await this.#readAt(location, place(location.length))
        return location.length
      } catch (error) {
        const damage = readDamage(error)
        if (!damage) throw diskError(error, 'read a pack file')
        // Compaction moves a block and then removes its pack; a block that never was durable can be cut off with a pack
        // that failed. Look again: only twice the same place is damage.
        if (failed?.pack === location.pack && failed.offset === location.offset) {
          throw new ArtifactHubError('CORRUPT', `pack ${location.pack} of ${id} ${damage}`, { cause: error })
        }
        failed = location
      }
      signal?.throwIfAborted()
    }
  }

  async #locate(digest: Uint8Array): Promise<BlockLocation | undefined> {
    const pending = this.#init.pending.get(digestKey(digest))
    if (pending?.state === 'written') return pending.location
    return this.#init.index.find(digest)
  }

  #readAt(location: BlockLocation, into: Uint8Array): Promise<void> {
    const path = join(this.#init.directory, packFileName(location.pack))
    return this.#init.openPacks.use(path, async (file) => {
      const count = await readFully(file, into, location.offset + recordHeaderBytes)
      if (count < into.length) throw new ShortRead()
    })
  }
}

class ShortRead extends Error {}

/** What a failed read says of its pack when it is not the disk's fault. */
function readDamage(error: unknown): string | undefined {
  if (error instanceof ShortRead) return 'ends inside a block'
  return systemCode(error) === 'ENOENT' ? 'is missing' : undefined
}
