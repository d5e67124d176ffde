import { hash } from 'node:crypto'
import { ArtifactHubError } from '../errors.ts'
import { leafOverheadBytes, maxBlockBytes, maxContentBytes, maxInlineBytes } from '../limits.ts'
import type { BlockWriter } from '../storage/blocks.ts'
import { Budget } from './budget.ts'
import { rawCodec } from './cid.ts'
import { copyBytes } from './copy-bytes.ts'
import type { ContentEngine, ContentScan } from './engine.ts'
import type { ContentKeys } from './keys.ts'
import { leafNonceBytes, sealLeaf } from './leaf.ts'
import type { KnownLeaf, KnownLeaves } from './leaf-memory.ts'
import { type ContentSource, openSource, type SourceReader } from './source.ts'
import { TreeBuilder } from './tree.ts'

const MiB = 1024 * 1024
/** The first slab, bytes: small, for small content. */
const firstSlabBytes = 1 * MiB
/** At least `maxChunkBytes`. */
const slabHeadroomBytes = 2 * MiB
/** New bytes that a later slab takes, after room for the tail of the one before. */
const slabBytes = 4 * MiB
/** Scanned at a time: the smaller, the sooner its chunks are sealed beside the scan of what follows. */
const scanBytes = 2 * MiB
/** Parts with the scan: with one or two it waits for this thread, an eighth of the time. */
const scansAhead = 6
/** One being filled, one being scanned, two being sealed. */
const slabCount = 4
/** Chunks being sealed and leaves being written, each with 2 MiB of memory. With the slabs: 48 MiB an upload, whatever its size. */
const leafCount = 12
/** An interrupted upload loses at most about this much, and the fsync at the end has at most this much to do. */
const syncEveryBytes = 32 * MiB

/** Content that is stored. */
export interface IngestedContent {
  /** SHA-256 digest of the root block, 32 bytes. */
  readonly digest: Uint8Array
  /** `raw` (0x55) when it is one leaf, else `dag-pb` (0x70). */
  readonly codec: number
  /** Plaintext bytes. */
  readonly sizeBytes: number
  /** Bytes of all leaves. */
  readonly storedBytes: number
  readonly leaves: number
  /** Bytes of the blocks, leaves and nodes, that were not there before. */
  readonly newBytes: number
  /** SHA-256 of the plaintext, 32 bytes. */
  readonly sha256: Uint8Array
}

export interface IngestOptions {
  readonly source: ContentSource
  readonly keys: ContentKeys
  readonly engine: ContentEngine
  /** Stays the caller's to close, after the entry that names the content is written. */
  readonly blocks: BlockWriter
  /** From `LeafMemory.under`: what is in it is not sealed again, what is new is added. */
  readonly known?: KnownLeaves | undefined
  /** Plaintext bytes; more fails with TOO_LARGE before the excess is stored. Default `maxContentBytes`. */
  readonly maxBytes?: number | undefined
  /** Told of each leaf once it is put, in no order; what it throws fails the call. */
  readonly onStored?: ((leafBytes: number, stored: boolean) => void) | undefined
  /** Told of the plaintext bytes done so far; what it throws fails the call. */
  readonly onProgress?: ((loadedBytes: number) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Cuts, encrypts and stores content in one pass and constant memory, and resolves when every block of it is durable.
 * The source is always closed, and nothing of the work is still running, when it settles.
 * @throws SOURCE_FAILED (the source's error is the cause), TOO_LARGE, what `blocks` throws, INTERNAL when a
 *   worker dies; after an abort the signal's reason
 */
export async function ingestContent(options: IngestOptions): Promise<IngestedContent> {
  return await new Ingest(options).run()
}

/** Content that fits its entry, sealed. */
export interface InlineContent extends Omit<IngestedContent, 'newBytes' | 'leaves'> {
  /** The one leaf. */
  readonly leaf: Uint8Array
}

/**
 * Seals content of at most `maxInlineBytes` as one leaf, at once and in this thread.
 * @throws TOO_LARGE
 */
export function sealInline(content: Uint8Array, keys: ContentKeys): InlineContent {
  if (content.length > maxInlineBytes) {
    throw new ArtifactHubError('TOO_LARGE', `Inline content is at most ${maxInlineBytes} bytes`)
  }
  const sealed = sealLeaf(content, keys)
  return {
    digest: sealed.digest,
    codec: rawCodec,
    sizeBytes: content.length,
    storedBytes: sealed.block.length,
    sha256: new Uint8Array(hash('sha256', content, 'buffer')),
    leaf: sealed.block,
  }
}

/** Memory that content is read into: room for the tail of the slab before, then new bytes. */
interface Slab {
  readonly bytes: Uint8Array
  readonly headroom: number
  /** Chunks in it that are being sealed, and its reader. At 0 it is free. */
  holders: number
}

/** A slab with content in it: `filled` new bytes after its headroom. */
interface FilledSlab {
  readonly slab: Slab
  readonly filled: number
  readonly isLast: boolean
}

/** Bytes `from` to `to` of a slab, and the places of cuts, counted from `from`. */
interface ScannedPart {
  readonly slab: Slab
  readonly from: number
  readonly to: number
  readonly cuts: Promise<number[]>
}

class Ingest {
  readonly #options: IngestOptions
  readonly #stop = new AbortController()
  readonly #slabs = new Budget(slabCount, this.#stop.signal)
  readonly #scans = new Budget(scansAhead, this.#stop.signal)
  readonly #inFlight = new Budget(leafCount, this.#stop.signal)
  readonly #freeSlabs: Slab[] = []
  readonly #allSlabs = new Set<Slab>()
  /** Memory for leaves that none is in. */
  readonly #leafMemory: Uint8Array[] = []
  readonly #tasks = new Set<Promise<void>>()
  readonly #tree: TreeBuilder
  readonly #source: SourceReader
  /** The task of the chunk before: trees are built in order. */
  #lastLeaf: Promise<void> = Promise.resolve()
  /** What follows the last cut of the parts so far. Its slab has a reader in it. */
  #tail: { readonly slab: Slab; readonly bytes: Uint8Array } | undefined
  #syncing = false
  #unsyncedBytes = 0
  #readBytes = 0
  #doneBytes = 0
  #storedBytes = 0
  #newBytes = 0

  constructor(options: IngestOptions) {
    this.#options = options
    this.#tree = new TreeBuilder((node) => this.#put(node.digest, node.bytes).then(() => {}))
    this.#source = openSource(options.source, this.#stop.signal)
  }

  async run(): Promise<IngestedContent> {
    const { signal, engine, keys, blocks } = this.#options
    const onAbort = (): void => this.#stop.abort(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    if (signal?.aborted === true) onAbort()
    const scan = engine.openScan(keys.chunking)
    try {
      this.#stop.signal.throwIfAborted()
      await this.#cutAll(scan)
      const sha256 = await scan.finish()
      await this.#settleTasks()
      this.#stop.signal.throwIfAborted()
      const root = await this.#tree.finish()
      await blocks.sync()
      this.#stop.signal.throwIfAborted()
      return {
        digest: root.digest,
        codec: root.codec,
        sizeBytes: this.#doneBytes,
        storedBytes: this.#storedBytes,
        leaves: this.#tree.leaves,
        newBytes: this.#newBytes,
        sha256,
      }
    } catch (error) {
      // The first failure is the one to tell: what fails after it fails because of it.
      this.#stop.abort(error)
      throw this.#stop.signal.reason
    } finally {
      await this.#settleTasks()
      signal?.removeEventListener('abort', onAbort)
      scan.close()
      for (const slab of this.#allSlabs) this.#dropSlab(slab)
      for (const memory of this.#leafMemory) engine.free(memory)
      await this.#source.close()
    }
  }

  /** Has all of the source scanned, in order, and its chunks stored as their cuts become known. */
  async #cutAll(scan: ContentScan): Promise<void> {
    let dealt = Promise.resolve()
    let filling = this.#track(this.#fill(0, firstSlabBytes))
    for (let isLast = false; !isLast; ) {
      const current = await filling
      isLast = current.isLast
      if (!isLast) filling = this.#track(this.#fill(slabHeadroomBytes, slabBytes))
      const { slab, filled } = current
      const end = slab.headroom + filled
      let from = slab.headroom
      do {
        await this.#scans.take(1)
        const to = Math.min(from + scanBytes, end)
        const part = { slab, from, to, cuts: this.#track(scan.update(slab.bytes.subarray(from, to))) }
        dealt = this.#track(dealt.then(() => this.#cut(part)))
        from = to
      } while (from < end)
    }
    await dealt
    // Empty content is one leaf of an empty chunk.
    const tail = this.#tail
    if (tail !== undefined && (tail.bytes.length > 0 || this.#readBytes === 0)) await this.#store(tail.slab, tail.bytes)
  }

  /** Stores the chunks that end in this part; the parts come in order. */
  async #cut({ slab, from, to, cuts }: ScannedPart): Promise<void> {
    const places = await cuts
    this.#scans.give(1)
    const tail = this.#tail
    let start = from - (tail?.bytes.length ?? 0)
    if (tail !== undefined && tail.slab !== slab) {
      copyBytes(tail.bytes, slab.bytes, start)
      this.#release(tail.slab)
    }
    for (const place of places) {
      await this.#store(slab, slab.bytes.subarray(start, from + place))
      start = from + place
    }
    this.#tail = { slab, bytes: slab.bytes.subarray(start, to) }
  }

  async #fill(headroom: number, newBytes: number): Promise<FilledSlab> {
    await this.#slabs.take(1)
    const slab = this.#freeSlabs.pop() ?? {
      bytes: this.#options.engine.allocate(headroom + newBytes),
      headroom,
      holders: 0,
    }
    this.#allSlabs.add(slab)
    slab.holders = 1
    const filled = await this.#source.fill(slab.bytes.subarray(headroom))
    this.#readBytes += filled
    const maxBytes = this.#options.maxBytes ?? maxContentBytes
    if (this.#readBytes > maxBytes) {
      throw new ArtifactHubError('TOO_LARGE', `The content is over ${maxBytes} bytes`, { details: { maxBytes } })
    }
    return { slab, filled, isLast: filled < newBytes }
  }

  async #store(slab: Slab, chunk: Uint8Array): Promise<void> {
    await this.#inFlight.take(1)
    slab.holders++
    const before = this.#lastLeaf
    this.#lastLeaf = this.#track(this.#storeChunk(slab, chunk, before))
  }

  async #storeChunk(slab: Slab, chunk: Uint8Array, before: Promise<void>): Promise<void> {
    const { onStored, onProgress } = this.#options
    const { digest, leafBytes, stored } = await this.#leafOf(slab, chunk)
    this.#inFlight.give(1)
    this.#storedBytes += leafBytes
    onStored?.(leafBytes, stored)
    await before
    await this.#tree.add(digest, leafBytes)
    this.#doneBytes += chunk.length
    onProgress?.(this.#doneBytes)
  }

  async #leafOf(slab: Slab, chunk: Uint8Array): Promise<KnownLeaf & { readonly stored: boolean }> {
    const { engine, keys, blocks, known } = this.#options
    const nonce = known !== undefined && known.size > 0 ? await engine.nonceOf(chunk, keys.nonce) : undefined
    const same = nonce === undefined ? undefined : known?.find(nonce)
    const fits = same?.leafBytes === chunk.length + leafOverheadBytes
    if (same !== undefined && fits && (await blocks.find(same.digest))) {
      this.#release(slab)
      return { ...same, stored: false }
    }
    const memory = this.#leafMemory.pop() ?? engine.allocate(maxBlockBytes)
    try {
      const { digest, block } = await engine.seal(chunk, keys, { nonce, into: memory })
      this.#release(slab)
      const stored = await this.#put(digest, block)
      const leaf = { digest, leafBytes: block.length }
      known?.add(block.subarray(0, leafNonceBytes), leaf)
      return { ...leaf, stored }
    } finally {
      this.#leafMemory.push(memory)
    }
  }

  async #put(digest: Uint8Array, block: Uint8Array): Promise<boolean> {
    this.#stop.signal.throwIfAborted()
    const { stored } = await this.#options.blocks.put(digest, block)
    if (!stored) return false
    this.#newBytes += block.length
    this.#unsyncedBytes += block.length
    if (this.#unsyncedBytes >= syncEveryBytes && !this.#syncing) void this.#track(this.#syncBehind())
    return true
  }

  async #syncBehind(): Promise<void> {
    this.#syncing = true
    this.#unsyncedBytes = 0
    await this.#options.blocks.sync()
    this.#syncing = false
  }

  #release(slab: Slab): void {
    slab.holders--
    if (slab.holders > 0) return
    if (slab.headroom > 0) this.#freeSlabs.push(slab)
    else this.#dropSlab(slab)
    this.#slabs.give(1)
  }

  #dropSlab(slab: Slab): void {
    this.#allSlabs.delete(slab)
    this.#options.engine.free(slab.bytes)
  }

  /** Has the first failure stop everything, and `#settleTasks` wait for this. */
  #track<T>(work: Promise<T>): Promise<T> {
    const task = work
      .then(
        () => {},
        (error) => this.#stop.abort(error),
      )
      .finally(() => this.#tasks.delete(task))
    this.#tasks.add(task)
    return work
  }

  async #settleTasks(): Promise<void> {
    while (this.#tasks.size > 0) await Promise.all(this.#tasks)
  }
}
