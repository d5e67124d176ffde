import { type BlockReader, type ContentRef, childrenOf, type Subtree, subtreeOfRoot } from '../content/index.ts'
import { toHex } from '../encoding/index.ts'

/** Nodes whose children are kept: two paths down the deepest tree, about 200 KiB each. */
const keptNodes = 4

/** The child of a node that is over, or is, a leaf. */
export function childOver(children: readonly Subtree[], leaf: number): Subtree | undefined {
  const first = children[0]
  // All have as many leaves as the first, but the last may have fewer.
  return first === undefined ? undefined : children[Math.floor((leaf - first.firstLeaf) / first.leaves)]
}

/** A content's tree as it lies in a store, read node by node for those who name leaves by their number. */
export class ServedTree {
  readonly #blocks: BlockReader
  readonly #root: Subtree
  readonly #children = new Map<string, readonly Subtree[]>()

  /** @throws CORRUPT when no content has such sizes */
  constructor(root: ContentRef, blocks: BlockReader) {
    this.#root = subtreeOfRoot(root)
    this.#blocks = blocks
  }

  /** How many leaves the content has. */
  get leaves(): number {
    return this.#root.leaves
  }

  /** A leaf by its number, below `leaves`; `undefined` when a node above it is not here. @throws CORRUPT for a damaged node, what the store throws */
  async leaf(index: number, signal: AbortSignal): Promise<Subtree | undefined> {
    return await this.#descend(index, signal)
  }

  /** The nodes above a leaf, from the root down; `undefined` when one is not here. @throws as `leaf` */
  async path(index: number, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>[] | undefined> {
    const nodes: Uint8Array<ArrayBuffer>[] = []
    return (await this.#descend(index, signal, nodes)) === undefined ? undefined : nodes
  }

  async #descend(index: number, signal: AbortSignal, nodes?: Uint8Array<ArrayBuffer>[]): Promise<Subtree | undefined> {
    let at = this.#root
    while (at.level > 0) {
      // One node may stand in several places, with other leaves below it.
      const key = `${at.firstLeaf} ${toHex(at.digest)}`
      let children = nodes === undefined ? this.#children.get(key) : undefined
      if (children === undefined) {
        const bytes = await this.#blocks.read(at.digest, { signal })
        if (bytes === undefined) return undefined
        children = childrenOf(at, bytes)
        nodes?.push(bytes)
        this.#keep(key, children)
      }
      const child = childOver(children, index)
      if (child === undefined) return undefined
      at = child
    }
    return at
  }

  #keep(key: string, children: readonly Subtree[]): void {
    this.#children.delete(key)
    this.#children.set(key, children)
    for (const oldest of this.#children.keys()) {
      if (this.#children.size <= keptNodes) return
      this.#children.delete(oldest)
    }
  }
}
