import { ArtifactHubError } from '../errors.ts'
import { leafOverheadBytes } from '../limits.ts'
import { rawCodec } from './cid.ts'
import type { ContentEngine } from './engine.ts'
import type { ContentKeys } from './keys.ts'
import { type BlockReader, type ContentRef, missingBlock, type TreeBlock, walkTree } from './tree-walk.ts'

const MiB = 1024 * 1024
/** Read-ahead at the start: little, for the sake of the first byte and of those who want no more than that. */
const firstReadAheadBytes = 2 * MiB
/** Leaves being read, opened or waiting for the consumer, bytes. */
const maxReadAheadBytes = 16 * MiB

export interface ReadContentOptions {
  readonly root: ContentRef
  readonly keys: Pick<ContentKeys, 'encryption'>
  readonly blocks: BlockReader
  readonly engine: ContentEngine
  /** Plaintext bytes, inside the content. Without `length`: to the end. Default all. */
  readonly range?: { readonly offset: number; readonly length?: number | undefined } | undefined
  readonly signal?: AbortSignal | undefined
}

type Leaf = Extract<TreeBlock, { kind: 'leaf' }>

interface OpeningLeaf {
  readonly leaf: Leaf
  readonly chunk: Promise<Uint8Array<ArrayBuffer>>
}

/**
 * The plaintext, in order, in pieces that are the consumer's own; one that is done with a piece early may detach its
 * buffer to spare memory. Every block is verified before a byte of it is used. Reads ahead of the consumer by at most
 * 16 MiB. Ending the iteration early stops all of it; nothing of it is still running when the iterator has ended.
 * @throws RANGE_INVALID, UNAVAILABLE when a block is missing (`details.cid` names it), CORRUPT, what `blocks` throws;
 *   after an abort the signal's reason
 */
export async function* readContent(
  options: ReadContentOptions,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  const { root } = options
  const { start, end } = resolveRange(options)
  const stop = new AbortController()
  const signal = options.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, options.signal])
  // Of empty content the one leaf is still fetched and checked.
  const range = root.sizeBytes === 0 ? undefined : { start, end }
  const blocks = walkTree({ root, blocks: options.blocks, range, signal })
  const opening: OpeningLeaf[] = []
  let aheadBytes = 0
  let readAheadBytes = firstReadAheadBytes
  let walked = false
  if (range !== undefined && start === end) return
  try {
    for (;;) {
      while (!walked && (opening.length === 0 || aheadBytes < readAheadBytes)) {
        signal.throwIfAborted()
        const step = await blocks.next()
        if (step.done === true) walked = true
        else if (step.value.kind === 'leaf') {
          const chunk = openLeaf(step.value, options, signal)
          // A failure is told when its turn comes; until then it must not count as unhandled.
          chunk.catch(() => {})
          opening.push({ leaf: step.value, chunk })
          aheadBytes += step.value.blockBytes
        }
      }
      const next = opening[0]
      if (next === undefined) return
      const chunk = await next.chunk
      signal.throwIfAborted()
      opening.shift()
      aheadBytes -= next.leaf.blockBytes
      readAheadBytes = Math.min(maxReadAheadBytes, readAheadBytes * 2)
      const wanted = chunk.subarray(Math.max(0, start - next.leaf.offset), end - next.leaf.offset)
      if (wanted.length > 0) yield wanted
    }
  } finally {
    stop.abort()
    await Promise.allSettled(opening.map((leaf) => leaf.chunk))
  }
}

async function openLeaf(
  leaf: Leaf,
  options: ReadContentOptions,
  signal: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await options.blocks.read(leaf.digest, { signal })
  if (bytes === undefined) throw missingBlock(leaf.digest, rawCodec)
  signal.throwIfAborted()
  const chunk = await options.engine.open(bytes, leaf.digest, options.keys.encryption)
  if (chunk.length === leaf.blockBytes - leafOverheadBytes) return chunk
  throw new ArtifactHubError('CORRUPT', 'A leaf is not as long as its tree says')
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
