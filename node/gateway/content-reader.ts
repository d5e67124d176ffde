import { type ContentEngine, readContent, TreeMemory } from '../../src/content/index.ts'
import { concatBytes } from '../../src/encoding/index.ts'
import type { LinkContent } from './content-source.ts'
import { withNodesRead } from './known-trees.ts'
import { SmallContents } from './small-contents.ts'

/** Nodes of trees that are remembered: each is of 1 GiB of content, and takes some 300 KiB. */
const maxNodes = 64

/** A content that is read. Close it on every path. */
export interface OpenContent extends AsyncDisposable {
  /** Pieces in order, from an offset up to the end that was named. `aheadBytes` says from time to time how much to read ahead. */
  read(offset: number, aheadBytes: () => number): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined>
}

/** How a gateway reads contents: verified and decrypted piece by piece, in memory alone. */
export class ContentReader {
  readonly #engine: ContentEngine
  readonly #trees = new TreeMemory(maxNodes)
  readonly #small = new SmallContents()

  constructor(engine: ContentEngine) {
    this.#engine = engine
  }

  /**
   * All of a small content, if it is one. Not to be changed.
   * @throws as `readContent`
   */
  small(content: LinkContent, signal: AbortSignal): Uint8Array | Promise<Uint8Array> | undefined {
    if (!this.#small.takes(content)) return undefined
    return this.#small.get(content) ?? this.#readSmall(content, signal)
  }

  /** Plaintext bytes of a content, `end` exclusive. @throws as `readContent` */
  open(content: LinkContent, { start, end }: { start: number; end: number }, signal: AbortSignal): OpenContent {
    const { root, encryptionKey } = content
    const opened = content.open(signal)
    const blocks = withNodesRead(opened.blocks, root, { start, end }, signal)
    return {
      read: (offset, maxAheadBytes) =>
        readContent({
          root,
          keys: { encryption: encryptionKey },
          blocks,
          engine: this.#engine,
          range: { offset, length: end - offset },
          maxAheadBytes,
          treeMemory: this.#trees,
          signal,
        }),
      [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
    }
  }

  async #readSmall(content: LinkContent, signal: AbortSignal): Promise<Uint8Array> {
    const { sizeBytes } = content.root
    await using opened = this.open(content, { start: 0, end: sizeBytes }, signal)
    const pieces = await Array.fromAsync(opened.read(0, () => sizeBytes))
    const bytes = concatBytes(...pieces)
    this.#small.add(content, bytes)
    return bytes
  }
}
