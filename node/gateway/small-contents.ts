import { timingSafeEqual } from 'node:crypto'
import { toHex } from '../../src/encoding/index.ts'
import type { LinkContent } from './content-source.ts'

/** Contents up to this many bytes are kept whole. */
const maxSmallBytes = 128 * 1024
/** All of them together, bytes. */
const maxBytes = 32 * 1024 * 1024

interface Kept {
  readonly bytes: Uint8Array
  readonly encryptionKey: Uint8Array
}

/**
 * Small contents that were read, verified and decrypted of late, in memory: of those that many ask for, finding and opening the leaf
 * would take most of the time. Whether a link may have one is decided before, each time.
 */
export class SmallContents {
  readonly #kept = new Map<string, Kept>()
  #bytes = 0

  /** Whether a content is kept once it was read. */
  takes({ root }: LinkContent): boolean {
    return root.sizeBytes > 0 && root.sizeBytes <= maxSmallBytes
  }

  /** The content, for whoever has its key. */
  get({ root, encryptionKey }: LinkContent): Uint8Array | undefined {
    const name = toHex(root.digest)
    const kept = this.#kept.get(name)
    if (kept === undefined || !timingSafeEqual(kept.encryptionKey, encryptionKey)) return undefined
    this.#kept.delete(name)
    this.#kept.set(name, kept)
    return kept.bytes
  }

  /** Forgets those that were not asked for the longest to make room. */
  add({ root, encryptionKey }: LinkContent, bytes: Uint8Array): void {
    const name = toHex(root.digest)
    this.#bytes += bytes.length - (this.#kept.get(name)?.bytes.length ?? 0)
    this.#kept.delete(name)
    this.#kept.set(name, { bytes, encryptionKey })
    for (const [oldest, kept] of this.#kept) {
      if (this.#bytes <= maxBytes) break
      this.#kept.delete(oldest)
      this.#bytes -= kept.bytes.length
    }
  }
}
