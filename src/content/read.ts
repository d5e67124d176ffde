import { ArtifactHubError } from '../errors.ts'
import { leafOverheadBytes, maxBlockBytes, maxUnorderedBytes } from '../limits.ts'
import type { BlockPlace } from '../storage/index.ts'
import { rawCodec } from './cid.ts'
import type { ContentEngine, OutputFile, PlacedLeaf } from './engine.ts'
import type { ContentKeys } from './keys.ts'
import type { ChunkPart } from './leaf.ts'
import type { TreeMemory } from './tree-memory.ts'
import { type BlockReader, type ContentRef, missingBlock, type TreeBlock, walkTree } from './tree-walk.ts'

const MiB = 1024 * 1024
/** Read-ahead at the start: little, for the sake of the first byte and of those who want no more than that. */
const firstReadAheadBytes = 2 * MiB
const streamAheadBytes = 8 * MiB

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

/** What is wanted of one leaf. */
interface WantedLeaf {
  readonly leaf: Leaf
  readonly part: ChunkPart
  /** Where the part begins in the plaintext. */
  readonly offset: number
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
  const read = async (wanted: WantedLeaf, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>[]> => {
    const files = options.engine.inFiles?.(wanted.leaf.blockBytes)
    const pieces = files && (await inPlace(wanted, options, signal, (leaf) => files.read(leaf, signal)))
    return pieces ?? [await openHere(wanted, options, signal)]
  }
  for await (const { result: pieces } of inOrder(options, streamAheadBytes, read)) {
    for (const piece of pieces) if (piece.length > 0) yield piece
  }
}

export interface CopyContentOptions extends ReadContentOptions {
  /** Where the plaintext goes, each byte to its place. */
  readonly output: OutputFile & {
    /** Called in order, one at a time. */
    write(bytes: Uint8Array, offset: number): Promise<void>
  }
  /** Told up to where all is written; what it throws fails the call. */
  readonly onWritten: (end: number) => void
}

/**
 * Writes the plaintext into a file, its leaves in any order: none further than `maxUnorderedBytes` past the end that `onWritten` was told of
 * last. Every block is verified before a byte of it is used. Nothing of it is still running when it settles.
 * @throws as `readContent`, and what `output` throws
 */
export async function copyContent(options: CopyContentOptions): Promise<void> {
  const { engine, output, onWritten } = options
  /** Gives what is yet to be written, if it is. */
  const copy = async (wanted: WantedLeaf, signal: AbortSignal): Promise<Uint8Array | undefined> => {
    const files = engine.inFiles?.(wanted.leaf.blockBytes)
    const isCopied =
      files !== undefined &&
      (await inPlace(wanted, options, signal, async (leaf) => {
        await files.copy(leaf, output, wanted.offset, signal)
        return true
      })) === true
    return isCopied ? undefined : await openHere(wanted, options, signal)
  }
  for await (const { wanted, result: bytes } of inOrder(options, maxUnorderedBytes - maxBlockBytes, copy)) {
    const { offset, part } = wanted
    if (bytes !== undefined) await output.write(bytes, offset)
    onWritten(offset + part.to - part.from)
  }
}

/**
 * As `BlockReader.inPlace` does it, for those of `blocks` that can. A leaf that others have is brought there, not handed over: fresh memory for
 * each had the collector run all the time.
 */
async function inPlace<T>(
  { leaf, part }: WantedLeaf,
  { blocks, keys }: ReadContentOptions,
  signal: AbortSignal,
  use: (leaf: PlacedLeaf) => Promise<T>,
): Promise<T | undefined> {
  const { digest } = leaf
  const usePlace = async (place: BlockPlace): Promise<T> => {
    assertLength(leaf, place.length)
    return await use({ place, digest, encryptionKey: keys.encryption, part })
  }
  const there = await blocks.inPlace?.(digest, usePlace, { signal })
  if (there !== undefined || blocks.inPlace === undefined || blocks.bring === undefined) return there
  await blocks.bring(digest, { signal })
  return await blocks.inPlace(digest, usePlace, { signal })
}

/** Reads a leaf into memory of ours; gives what is wanted of it. */
async function openHere(
  { leaf, part }: WantedLeaf,
  { blocks, engine, keys }: ReadContentOptions,
  signal: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const { digest } = leaf
  const bytes = await blocks.read(digest, { signal })
  if (bytes === undefined) throw missingBlock(digest, rawCodec)
  signal.throwIfAborted()
  const chunk = await engine.open(bytes, digest, keys.encryption)
  assertLength(leaf, chunk.length + leafOverheadBytes)
  return chunk.subarray(part.from, part.to)
}

function assertLength(leaf: Leaf, blockBytes: number): void {
  if (blockBytes === leaf.blockBytes) return
  throw new ArtifactHubError('CORRUPT', 'A leaf is not as long as its tree says')
}

/** Has `work` done for each leaf of what was asked for, those that follow ahead of time; gives the results in order. */
async function* inOrder<T>(
  options: ReadContentOptions,
  mostAheadBytes: number,
  work: (wanted: WantedLeaf, signal: AbortSignal) => Promise<T>,
): AsyncGenerator<{ readonly wanted: WantedLeaf; readonly result: T }, void, undefined> {
  const { root } = options
  const { start, end } = resolveRange(options)
  const stop = new AbortController()
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal])
  // Of empty content the one leaf is still fetched and checked.
  const range = root.sizeBytes === 0 ? undefined : { start, end }
  const blocks = walkTree({ root, blocks: options.blocks, range, memory: options.treeMemory, signal })
  const working: { readonly wanted: WantedLeaf; readonly result: Promise<T> }[] = []
  let aheadBytes = 0
  let readAheadBytes = firstReadAheadBytes
  let walked = false
  const maxAheadBytes = options.maxAheadBytes ?? (() => mostAheadBytes)
  if (range !== undefined && start === end) return
  // It may take a while until it is ready; meanwhile the tree is read.
  options.engine.inFiles?.(Math.min(root.storedBytes, maxBlockBytes))
  try {
    for (;;) {
      while (!walked && (working.length === 0 || aheadBytes < Math.min(readAheadBytes, maxAheadBytes()))) {
        signal.throwIfAborted()
        const step = await blocks.next()
        if (step.done === true) walked = true
        else if (step.value.kind === 'leaf') {
          const leaf = step.value
          const chunkBytes = leaf.blockBytes - leafOverheadBytes
          const part = { from: Math.max(0, start - leaf.offset), to: Math.min(chunkBytes, end - leaf.offset) }
          const wanted = { leaf, part, offset: leaf.offset + part.from }
          const result = work(wanted, signal)
          // A failure is told when its turn comes; until then it must not count as unhandled.
          result.catch(() => {})
          working.push({ wanted, result })
          aheadBytes += leaf.blockBytes
        }
      }
      const next = working[0]
      if (next === undefined) return
      const { wanted } = next
      const result = await next.result
      signal.throwIfAborted()
      working.shift()
      aheadBytes -= wanted.leaf.blockBytes
      readAheadBytes = Math.min(mostAheadBytes, readAheadBytes * 2)
      yield { wanted, result }
    }
  } finally {
    stop.abort()
    await Promise.allSettled(working.map(({ result }) => result))
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
