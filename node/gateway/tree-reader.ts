import { type BlockReader, type ContentRef, childrenOf, type Subtree, subtreeOfRoot } from '../../src/content/index.ts'
import { toHex } from '../../src/encoding/index.ts'

/** How often a block is asked for that was forgotten between its arrival and its being read. */
const maxTries = 8

/**
 * Blocks of one content over a fetch that writes into a store which may forget them. A fetch asks for a block only once: after that it
 * looks for it in the store, until the node above it is read again, which tells of its children anew.
 */
export class TreeReader implements BlockReader {
  readonly #inner: BlockReader
  readonly #nodes = new Map<string, Subtree>()
  readonly #parents = new Map<string, Uint8Array>()

  constructor(inner: BlockReader, root: ContentRef) {
    this.#inner = inner
    this.#nodes.set(toHex(root.digest), subtreeOfRoot(root))
  }

  async read(digest: Uint8Array, options?: { signal?: AbortSignal }): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const name = toHex(digest)
    for (let tries = 0; tries < maxTries; tries++) {
      const bytes = await this.#inner.read(digest, options)
      if (bytes !== undefined) {
        this.#learn(name, bytes)
        return bytes
      }
      const parent = this.#parents.get(name)
      if (parent === undefined || (await this.read(parent, options)) === undefined) return undefined
    }
    return undefined
  }

  #learn(name: string, bytes: Uint8Array<ArrayBuffer>): void {
    const node = this.#nodes.get(name)
    if (node === undefined || node.level === 0) return
    for (const child of childrenOf(node, bytes.slice())) {
      const childName = toHex(child.digest)
      this.#parents.set(childName, node.digest)
      if (child.level > 0) this.#nodes.set(childName, child)
    }
  }
}
