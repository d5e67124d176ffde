import { createHash, type Hash, hash } from 'node:crypto'
import type { BlockPlace } from '../storage/index.ts'
import { Chunker } from './chunker.ts'
import type { ContentKeys } from './keys.ts'
import { type ChunkPart, nonceOf, openLeaf, type SealedLeaf, type SealOptions, sealLeaf } from './leaf.ts'

/**
 * The pipeline's CPU work: hashing, cutting, encrypting. In the caller's thread or spread over others; the
 * results are the same bytes. What every call is given must not change until it settles.
 */
export interface ContentEngine {
  /** Memory that the engine reaches without copying: best for what is scanned or sealed, and what it is sealed into. */
  allocate(bytes: number): Uint8Array
  /** Gives back what `allocate` gave, for reuse. */
  free(memory: Uint8Array): void
  /** Begins one pass over one content. Close it on every path. */
  openScan(chunkingKey: Uint8Array): ContentScan
  /** As `nonceOf`. */
  nonceOf(chunk: Uint8Array, nonceKey: Uint8Array): Promise<Uint8Array>
  /** As `sealLeaf`. */
  seal(chunk: Uint8Array, keys: ContentKeys, options?: SealOptions): Promise<SealedLeaf>
  /**
   * As `openLeaf`. The leaf is taken over: its memory may be moved to another thread, so the caller must own all of it and not
   * touch it again.
   * @throws CORRUPT as `openLeaf`
   */
  open(leaf: Uint8Array<ArrayBuffer>, digest: Uint8Array, encryptionKey: Uint8Array): Promise<Uint8Array<ArrayBuffer>>
  /**
   * How to have a leaf of that many bytes opened where it lies. Absent, and `undefined`, when this thread had better read it itself: also
   * while the engine gets ready for the first one, which it then begins to.
   */
  inFiles?(leafBytes: number): LeafFiles | undefined
  /** SHA-256 of a block that others have sent or will get. Its memory may be moved to another thread and back: the caller must own all of it, and go on with what is given. */
  digest(block: Uint8Array<ArrayBuffer>): Promise<DigestedBlock>
  /**
   * As `digest`, of a block that is first read into that memory from where it lies. Absent, and `undefined`, when this thread had better read it itself.
   * @throws as `NamespaceBlocks.inPlace` says where the file cannot be read; the memory is gone then
   */
  digestInPlace?(place: BlockPlace, into: Uint8Array<ArrayBuffer>): Promise<DigestedBlock> | undefined
}

/** A leaf in a file, and what is wanted of it. */
export interface PlacedLeaf {
  readonly place: BlockPlace
  readonly digest: Uint8Array
  readonly encryptionKey: Uint8Array
  readonly part: ChunkPart
}

/** A file that is written to. */
export interface OutputFile {
  /** Its descriptor, good in every thread. */
  readonly descriptor: number
  /** For messages. */
  readonly path: string
}

/**
 * Leaves opened by who reads them from their files, so that only what is wanted of them comes here, or nothing at all. A file must stay open
 * until the call settles.
 */
export interface LeafFiles {
  /**
   * The part, in pieces that are the caller's own, with all of their memory.
   * @throws CORRUPT as `openLeaf`; as `NamespaceBlocks.inPlace` says where the file cannot be read; the signal's reason when it was
   *   aborted before the work began
   */
  read(leaf: PlacedLeaf, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>[]>
  /**
   * Writes the part at `offset` of another file, once the leaf is verified.
   * @throws as `read`; STORAGE_FULL or STORAGE_FAILED where it cannot be written
   */
  copy(leaf: PlacedLeaf, output: OutputFile, offset: number, signal?: AbortSignal): Promise<void>
}

/** A block and its SHA-256, 32 bytes. */
export interface DigestedBlock {
  readonly block: Uint8Array<ArrayBuffer>
  readonly digest: Uint8Array
}

/** One pass over one content: its cut points and its SHA-256. Calls are worked off in order, and may be made ahead. */
export interface ContentScan {
  /** Takes in the next bytes; gives the offsets in them, ascending, just past each cut. */
  update(bytes: Uint8Array): Promise<number[]>
  /** SHA-256 of everything, 32 bytes. */
  finish(): Promise<Uint8Array>
  /** Forgets it. Idempotent. */
  close(): void
}

/** The state of a scan, for those who run one in their own thread. */
export class ScanState {
  readonly #chunker: Chunker
  readonly #sha256: Hash = createHash('sha256')

  constructor(chunkingKey: Uint8Array) {
    this.#chunker = new Chunker(chunkingKey)
  }

  /** As `ContentScan.update`. */
  update(bytes: Uint8Array): number[] {
    this.#sha256.update(bytes)
    const cuts: number[] = []
    for (let cut = this.#chunker.next(bytes, 0); cut >= 0; cut = this.#chunker.next(bytes, cut)) cuts.push(cut)
    return cuts
  }

  /** As `ContentScan.finish`. */
  finish(): Uint8Array {
    return new Uint8Array(this.#sha256.digest())
  }
}

/** The engine that works in the caller's own thread: for small content, where a hop to another thread costs more. */
export const inThreadEngine: ContentEngine = {
  allocate: (bytes) => new Uint8Array(bytes),
  free: () => {},
  openScan: (chunkingKey) => {
    const state = new ScanState(chunkingKey)
    return {
      update: async (bytes) => state.update(bytes),
      finish: async () => state.finish(),
      close: () => {},
    }
  },
  nonceOf: async (chunk, nonceKey) => nonceOf(chunk, nonceKey),
  seal: async (chunk, keys, options) => sealLeaf(chunk, keys, options),
  open: async (leaf, digest, encryptionKey) => openLeaf(leaf, digest, encryptionKey),
  digest: async (block) => ({ block, digest: hash('sha256', block, 'buffer') }),
}
