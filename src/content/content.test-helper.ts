import { createCipheriv, createHash } from 'node:crypto'
import type { BlockWriter, NamespaceBlocks } from '../storage/blocks.ts'
import type { ContentKeys } from './keys.ts'

/** Bytes that look random and are always the same: the AES-256-CTR keystream under SHA-256(`seed`). */
export function seededBytes(seed: string, length: number): Uint8Array<ArrayBuffer> {
  const cipher = createCipheriv('aes-256-ctr', createHash('sha256').update(seed).digest(), new Uint8Array(16))
  return new Uint8Array(cipher.update(new Uint8Array(length)))
}

/** Keys for tests. */
export const testKeys: ContentKeys = {
  encryption: seededBytes('encryption key', 32),
  nonce: seededBytes('nonce key', 32),
  chunking: seededBytes('chunking key', 32),
}

/** `bytes` in pieces of `pieceBytes`, taken in turn. */
export async function* inPieces(bytes: Uint8Array, ...pieceBytes: number[]): AsyncGenerator<Uint8Array> {
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const end = at + (pieceBytes[turn % pieceBytes.length] as number)
    yield bytes.subarray(at, end)
    at = end
  }
}

/** The blocks of a namespace in a map, for tests of what stands on them. */
export class MemoryBlocks implements NamespaceBlocks {
  readonly blocks = new Map<string, Uint8Array<ArrayBuffer>>()
  syncs = 0
  openWriters = 0
  /** Called before each put; may throw or wait. */
  beforePut: () => Promise<void> | void = () => {}
  /** Called before each sync; may throw or wait. */
  beforeSync: () => Promise<void> | void = () => {}

  async read(digest: Uint8Array): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return this.blocks.get(keyOf(digest))?.slice()
  }

  async readInto(digest: Uint8Array, into: Uint8Array): Promise<number | undefined> {
    const block = this.blocks.get(keyOf(digest))
    if (block !== undefined) into.set(block)
    return block?.length
  }

  async has(digests: readonly Uint8Array[]): Promise<boolean[]> {
    return digests.map((digest) => this.blocks.has(keyOf(digest)))
  }

  openWriter(): BlockWriter {
    this.openWriters++
    let closed = false
    const close = async (): Promise<void> => {
      if (!closed) this.openWriters--
      closed = true
    }
    return {
      find: async (digest) => this.blocks.has(keyOf(digest)),
      put: async (digest, bytes) => {
        await this.beforePut()
        const key = keyOf(digest)
        if (this.blocks.has(key)) return { stored: false }
        this.blocks.set(key, new Uint8Array(Buffer.concat(bytes instanceof Uint8Array ? [bytes] : bytes)))
        return { stored: true }
      },
      sync: async () => {
        await this.beforeSync()
        this.syncs++
      },
      close,
      [Symbol.asyncDispose]: close,
    }
  }
}

function keyOf(digest: Uint8Array): string {
  return Buffer.from(digest).toString('hex')
}
