import { join } from 'node:path'
import { ArtifactHubError } from '../../src/errors.ts'
import type { BlockPlace } from '../../src/storage/index.ts'
import { type DiskFile, diskError, endOfFile, readFully, systemCode } from './files.ts'
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
    return await this.#use(digest, signal, async (file, offset, length) => {
      const block = new Uint8Array(Buffer.allocUnsafeSlow(length).buffer as ArrayBuffer)
      await readAt(file, block, offset)
      return block
    })
  }

  /** A block into memory that is there, which must be long enough. Gives its length. @throws as `read` */
  async readInto(digest: Uint8Array, into: Uint8Array, signal: AbortSignal | undefined): Promise<number | undefined> {
    return await this.#use(digest, signal, async (file, offset, length) => {
      if (length > into.length) throw new ArtifactHubError('INTERNAL', 'a block is longer than the memory for it')
      await readAt(file, into.subarray(0, length), offset)
      return length
    })
  }

  /** As `NamespaceBlocks.inPlace`. */
  async inPlace<T>(
    digest: Uint8Array,
    use: (place: BlockPlace) => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<T | undefined> {
    return await this.#use(digest, signal, async ({ descriptor }, offset, length) =>
      descriptor === undefined ? undefined : await use({ descriptor, offset, length }),
    )
  }

  /** Has `use` read the block from its pack, and again from where it went when it was moved meanwhile. */
  async #use<T>(
    digest: Uint8Array,
    signal: AbortSignal | undefined,
    use: (file: DiskFile, offset: number, length: number) => Promise<T>,
  ): Promise<T | undefined> {
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
        const path = join(this.#init.directory, packFileName(location.pack))
        const { offset, length } = location
        return await this.#init.openPacks.use(path, (file) => use(file, offset + recordHeaderBytes, length))
      } catch (error) {
        signal?.throwIfAborted()
        const damage = readDamage(error)
        if (!damage) throw diskError(error, 'read a pack file')
        // Compaction moves a block and then removes its pack; a block that never was durable can be cut off with a pack
        // that failed. Look again: only twice the same place is damage.
        if (failed?.pack === location.pack && failed.offset === location.offset) {
          throw new ArtifactHubError('CORRUPT', `pack ${location.pack} of ${id} ${damage}`, { cause: error })
        }
        failed = location
      }
    }
  }

  async #locate(digest: Uint8Array): Promise<BlockLocation | undefined> {
    const pending = this.#init.pending.get(digestKey(digest))
    if (pending?.state === 'written') return pending.location
    return this.#init.index.find(digest)
  }
}

async function readAt(file: DiskFile, into: Uint8Array, offset: number): Promise<void> {
  if ((await readFully(file, into, offset)) < into.length) throw endOfFile()
}

/** What a failed read says of its pack when it is not the disk's fault. */
function readDamage(error: unknown): string | undefined {
  const code = systemCode(error)
  if (code === 'EOF') return 'ends inside a block'
  return code === 'ENOENT' ? 'is missing' : undefined
}
