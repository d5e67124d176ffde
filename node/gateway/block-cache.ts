import { bytesText } from '../../src/encoding/index.ts'
import type { BlockWriter, NamespaceBlocks } from '../../src/storage/index.ts'

/**
 * Blocks that were fetched for links into namespaces that this node has no part in: ciphertext, in memory, a bounded amount of
 * it. The least recently used go first, so a block may be gone right after it came.
 */
export class BlockCache {
  readonly #maxBytes: number
  /** Least recently used first. */
  readonly #blocks = new Map<string, Uint8Array>()
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** What is held, bytes. */
  get bytes(): number {
    return this.#bytes
  }

  /** Its blocks of one namespace (32 bytes): others' are not found there. */
  of(namespace: Uint8Array): NamespaceBlocks {
    const nameOf = (digest: Uint8Array): string => bytesText(namespace) + bytesText(digest)
    const read = async (digest: Uint8Array): Promise<Uint8Array<ArrayBuffer> | undefined> =>
      this.#get(nameOf(digest))?.slice() as Uint8Array<ArrayBuffer> | undefined
    return {
      read,
      readInto: async (digest, into) => {
        const bytes = this.#get(nameOf(digest))
        if (bytes !== undefined) into.set(bytes)
        return bytes?.length
      },
      has: async (digests) => digests.map((digest) => this.#blocks.has(nameOf(digest))),
      openWriter: () => this.#writer(nameOf),
    }
  }

  #writer(nameOf: (digest: Uint8Array) => string): BlockWriter {
    return {
      find: async (digest) => this.#blocks.has(nameOf(digest)),
      put: async (digest, bytes) => {
        const parts = bytes instanceof Uint8Array ? [bytes] : bytes
        return { stored: this.#put(nameOf(digest), parts) }
      },
      sync: async () => {},
      close: async () => {},
      [Symbol.asyncDispose]: async () => {},
    }
  }

  #get(name: string): Uint8Array | undefined {
    const bytes = this.#blocks.get(name)
    if (bytes === undefined) return undefined
    this.#blocks.delete(name)
    this.#blocks.set(name, bytes)
    return bytes
  }

  #put(name: string, parts: readonly Uint8Array[]): boolean {
    if (this.#blocks.has(name)) return false
    const length = parts.reduce((sum, part) => sum + part.length, 0)
    if (length > this.#maxBytes) return false
    // A copy: the caller's memory is not kept from being used again.
    const bytes = new Uint8Array(length)
    let at = 0
    for (const part of parts) {
      bytes.set(part, at)
      at += part.length
    }
    this.#blocks.set(name, bytes)
    this.#bytes += length
    for (const [oldest, old] of this.#blocks) {
      if (this.#bytes <= this.#maxBytes) break
      this.#blocks.delete(oldest)
      this.#bytes -= old.length
    }
    return true
  }
}
