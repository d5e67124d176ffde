import { ArtifactHubError } from '../errors.ts'
import { leafOverheadBytes, maxBlockBytes } from '../limits.ts'
import type { NamespaceBlocks } from '../storage/index.ts'
import { rawCodec } from './cid.ts'
import type { ContentEngine } from './engine.ts'
import type { ContentKeys } from './keys.ts'
import type { TreeMemory } from './tree-memory.ts'
import { type BlockReader, type ContentRef, missingBlock, type TreeBlock, walkTree } from './tree-walk.ts'

const MiB = 1024 * 1024
/** Read-ahead at the start: little, for the sake of the first byte and of those who want no more than that. */
const firstReadAheadBytes = 2 * MiB

export interface ReadContentOptions {
  readonly root: ContentRef
  readonly keys: Pick<ContentKeys, 'encryption'>
  readonly blocks: BlockReader
  readonly engine: ContentEngine
  /** Plaintext bytes, inside the content. Without `length`: to the end. Default all. */
  readonly range?: { readonly offset: number; readonly length?: number | undefined } | undefined
  /** Asked from time to time: reads ahead by so many bytes at most, of what is allowed anyway. One leaf is always read. */
  readonly maxAheadBytes?: (() => number) | undefined
  /** Nodes of the tree that are known from earlier reads. */
  readonly treeMemory?: TreeMemory | undefined
  readonly signal?: AbortSignal | undefined
}

type Leaf = Extract<TreeBlock, { kind: 'leaf' }>

/** A leaf's chunk, and the lent memory that it is in. */
interface OpenedLeaf<M extends ArrayBufferLike> {
  readonly chunk: Uint8Array<M>
  readonly memory?: Uint8Array
}

/** What was asked for of one leaf. */
interface Piece<M extends ArrayBufferLike> {
  readonly bytes: Uint8Array<M>
  /** Where it begins in the plaintext. */
  readonly offset: number
  readonly memory: Uint8Array | undefined
}

/** One way to have leaves read and opened. */
interface LeafOpener<M extends ArrayBufferLike> {
  readonly open: (leaf: Leaf, signal: AbortSignal) => Promise<OpenedLeaf<M>>
  /** What a leaf takes of `maxAheadBytes`. */
  readonly cost: (leaf: Leaf) => number
  readonly maxAheadBytes: number
  /** Given at once, if they are ready. */
  readonly maxPieces: number
}

/**
 * The plaintext, in order, in pieces that are the consumer's own. Every block is verified before a byte of it is used. Reads
 * ahead of the consumer by at most 8 MiB. Ending the iteration early stops all of it; nothing of it is still running when the
 * iterator has ended.
 * @throws RANGE_INVALID, UNAVAILABLE when a block is missing (`details.cid` names it), CORRUPT, what `blocks` throws;
 *   after an abort the signal's reason
 */
export async function* readContent(
  options: ReadContentOptions,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  const { blocks, engine, keys } = options
  const opener: LeafOpener<ArrayBuffer> = {
    async open({ digest }, signal) {
      const bytes = await blocks.read(digest, { signal })
      if (bytes === undefined) throw missingBlock(digest, rawCodec)
      signal.throwIfAborted()
      return { chunk: await engine.open(bytes, digest, keys.encryption) }
    },
    cost: (leaf) => leaf.blockBytes,
    maxAheadBytes: 8 * MiB,
    maxPieces: 1,
  }
  for await (const pieces of openLeaves(options, opener)) {
    for (const { bytes } of pieces) yield bytes
  }
}

export interface CopyContentOptions extends ReadContentOptions {
  readonly blocks: BlockReader & Pick<NamespaceBlocks, 'readInto'>
  /** Takes the plaintext that begins at `offset`; called in order, one at a time. The parts are reused when it settles. */
  readonly write: (parts: readonly Uint8Array[], offset: number) => Promise<void>
}

/**
 * As `readContent`, but hands the plaintext to `write`, as much at a time as is ready, and reads on while that is at work. Its
 * memory, at most 48 MiB, is used again and again. Nothing of it is still running when it settles.
 * @throws as `readContent`, and what `write` throws
 */
export async function copyContent(options: CopyContentOptions): Promise<void> {
  const { blocks, engine, keys, write } = options
  const allMemory: Uint8Array[] = []
  const freeMemory: Uint8Array[] = []
  const newMemory = (): Uint8Array => {
    const memory = engine.allocate(maxBlockBytes)
    allMemory.push(memory)
    return memory
  }
  const opener: LeafOpener<ArrayBufferLike> = {
    async open({ digest }, signal) {
      const memory = freeMemory.pop() ?? newMemory()
      const length = await blocks.readInto(digest, memory, { signal })
      if (length === undefined) throw missingBlock(digest, rawCodec)
      signal.throwIfAborted()
      return { chunk: await engine.open(memory.subarray(0, length), digest, keys.encryption), memory }
    },
    cost: () => maxBlockBytes,
    maxAheadBytes: 32 * MiB,
    maxPieces: 4,
  }
  let writing = Promise.resolve()
  try {
    for await (const pieces of openLeaves(options, opener)) {
      await writing
      const parts = pieces.map(({ bytes }) => bytes)
      writing = write(parts, (pieces[0] as Piece<ArrayBufferLike>).offset).then(() => {
        for (const { memory } of pieces) freeMemory.push(memory as Uint8Array)
      })
      // A failure is told when its turn comes; until then it must not count as unhandled.
      writing.catch(() => {})
    }
    await writing
  } finally {
    await writing.catch(() => {})
    for (const memory of allMemory) engine.free(memory)
  }
}

/** What was asked for, in order, at least one piece at a time; none is empty. */
async function* openLeaves<M extends ArrayBufferLike>(
  options: ReadContentOptions,
  opener: LeafOpener<M>,
): AsyncGenerator<readonly Piece<M>[], void, undefined> {
  const { root } = options
  const { start, end } = resolveRange(options)
  const stop = new AbortController()
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal])
  // Of empty content the one leaf is still fetched and checked.
  const range = root.sizeBytes === 0 ? undefined : { start, end }
  const blocks = walkTree({ root, blocks: options.blocks, range, memory: options.treeMemory, signal })
  const opening: { readonly leaf: Leaf; readonly opened: Promise<OpenedLeaf<M>>; isReady: boolean }[] = []
  let aheadBytes = 0
  let readAheadBytes = firstReadAheadBytes
  let walked = false
  const maxAheadBytes = options.maxAheadBytes ?? (() => opener.maxAheadBytes)
  if (range !== undefined && start === end) return
  try {
    for (;;) {
      while (!walked && (opening.length === 0 || aheadBytes < Math.min(readAheadBytes, maxAheadBytes()))) {
        signal.throwIfAborted()
        const step = await blocks.next()
        if (step.done === true) walked = true
        else if (step.value.kind === 'leaf') {
          const next = { leaf: step.value, opened: opener.open(step.value, signal), isReady: false }
          const ready = (): void => {
            next.isReady = true
          }
          // A failure is told when its turn comes; until then it must not count as unhandled.
          next.opened.then(ready, ready)
          opening.push(next)
          aheadBytes += opener.cost(next.leaf)
        }
      }
      if (opening.length === 0) return
      const pieces: Piece<M>[] = []
      do {
        const { leaf, opened } = opening[0] as (typeof opening)[number]
        const { chunk, memory } = await opened
        signal.throwIfAborted()
        if (chunk.length !== leaf.blockBytes - leafOverheadBytes) {
          throw new ArtifactHubError('CORRUPT', 'A leaf is not as long as its tree says')
        }
        opening.shift()
        aheadBytes -= opener.cost(leaf)
        const bytes = chunk.subarray(Math.max(0, start - leaf.offset), end - leaf.offset)
        if (bytes.length > 0) pieces.push({ bytes, offset: Math.max(start, leaf.offset), memory })
      } while (pieces.length < opener.maxPieces && opening[0]?.isReady === true)
      readAheadBytes = Math.min(opener.maxAheadBytes, readAheadBytes * 2)
      if (pieces.length > 0) yield pieces
    }
  } finally {
    stop.abort()
    await Promise.allSettled(opening.map(({ opened }) => opened))
  }
}

function resolveRange({ root, range }: ReadContentOptions): { start: number; end: number } {
  const start = range?.offset ?? 0
  const end = range?.length === undefined ? root.sizeBytes : start + range.length
  const isInside =
    Number.isSafeInteger(start) && Number.isSafeInteger(end) && 0 <= start && start <= end && end <= root.sizeBytes
  if (isInside) return { start, end }
  throw new ArtifactHubError('RANGE_INVALID', 'The range lies outside the content', {
    details: { sizeBytes: root.sizeBytes, offset: start, length: range?.length ?? null },
  })
}
