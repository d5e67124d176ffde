import { toHex } from '../encoding/index.ts'
import type { Subtree } from './tree-walk.ts'

/** A tree node that was read and verified. */
export interface KnownNode {
  readonly blockBytes: number
  readonly children: readonly Subtree[]
}

/**
 * Nodes of trees that were verified of late, so that whoever reads many small ranges of one content does not verify and decode its nodes
 * each time: a full one takes longer than its leaves. Some 300 KiB a node.
 */
export class TreeMemory {
  readonly #maxNodes: number
  readonly #nodes = new Map<string, KnownNode>()

  constructor(maxNodes: number) {
    this.#maxNodes = maxNodes
  }

  /** The node that its parent describes in just this way. */
  get(subtree: Subtree): KnownNode | undefined {
    const name = nameOf(subtree)
    const node = this.#nodes.get(name)
    if (node === undefined) return undefined
    this.#nodes.delete(name)
    this.#nodes.set(name, node)
    return node
  }

  /** Forgets the one that was not asked for the longest when there are too many. */
  add(subtree: Subtree, node: KnownNode): void {
    if (this.#nodes.size >= this.#maxNodes) this.#nodes.delete(this.#nodes.keys().next().value as string)
    this.#nodes.set(nameOf(subtree), node)
  }
}

/** All that the checks of a node and the places of its children follow from. */
function nameOf({ digest, level, leaves, leafBytes, dagBytes, firstLeaf, offset }: Subtree): string {
  return `${toHex(digest)} ${level} ${leaves} ${leafBytes} ${dagBytes} ${firstLeaf} ${offset}`
}
