import { hash } from 'node:crypto'
import { childrenOf, type Subtree } from '../content/index.ts'
import { equalBytes } from '../encoding/index.ts'
import { type LeafRun, malformed } from './frames.ts'
import { badBlock, LaneFailure } from './lane-end.ts'
import { childOver } from './served-tree.ts'

/** What a provider is asked for in one request. */
export type Assignment =
  /** The nodes from the root down to `node`, on to the parent of its first leaf; with it that leaf, if there is to be one. */
  | { readonly kind: 'path'; readonly node: Subtree; readonly withLeaf: boolean }
  /** Distinct leaves, ascending. */
  | { readonly kind: 'leaves'; readonly leaves: readonly Subtree[] }

/** A node that came, and what it says. */
interface ReceivedNode {
  readonly node: Subtree
  readonly children: readonly Subtree[]
  /** Of those the one that comes next, if any does. */
  readonly next: Subtree | undefined
}

/**
 * One request that is open on a stream: what was asked for and has not come. Every answer is held against it (kind, number, length, and a node's hash);
 * what does not fit throws.
 */
export class LaneRequest {
  readonly assignment: Assignment
  /** When it became the one that is answered. */
  startedAt: number
  /** Leaves that are neither here nor said to be missing. */
  readonly #leaves = new Map<number, Subtree>()
  /** Down the path: what comes next. */
  #at: Subtree
  #isAccepted = false

  /** @param now milliseconds on the clock that `startedAt` is read from */
  constructor(assignment: Assignment, root: Subtree, now: number) {
    this.assignment = assignment
    this.startedAt = now
    this.#at = root
    if (assignment.kind === 'leaves') for (const leaf of assignment.leaves) this.#leaves.set(leaf.firstLeaf, leaf)
  }

  /** As the request says it. */
  get runs(): LeafRun[] {
    const { assignment } = this
    return assignment.kind === 'leaves'
      ? runsOf(assignment.leaves)
      : [{ first: assignment.node.firstLeaf, count: assignment.withLeaf ? 1 : 0 }]
  }

  accept(): void {
    if (this.#isAccepted) throw malformed('a second answer')
    this.#isAccepted = true
  }

  refuse(code: string, message: string): never {
    if (this.#isAccepted) throw malformed('a second answer')
    throw new LaneFailure('refused', `refused: ${code}, ${printable(message)}`)
  }

  /**
   * The next node down the path.
   * @param broken told when the node is what was asked for, and is no node: the content's fault, not the provider's
   */
  node(bytes: Uint8Array<ArrayBuffer>, broken: (error: unknown) => void): ReceivedNode {
    this.#mustBeAccepted()
    const { assignment } = this
    const node = this.#at
    if (assignment.kind !== 'path' || node.level === 0) throw malformed('a node that was not asked for')
    if (!isBlock(bytes, node)) throw badBlock()
    let children: readonly Subtree[]
    try {
      children = childrenOf(node, bytes)
    } catch (error) {
      broken(error)
      throw new LaneFailure('done', 'sent a tree that is malformed')
    }
    const child = childOver(children, assignment.node.firstLeaf)
    if (child === undefined) throw malformed('a node without the leaf')
    this.#at = child
    if (child.level === 0 && assignment.withLeaf) this.#leaves.set(child.firstLeaf, child)
    return { node, children, next: child.level > 0 || assignment.withLeaf ? child : undefined }
  }

  /** A leaf of the right length; what it hashes to is still to be looked at. */
  leaf(index: number, length: number): Subtree {
    this.#mustBeAccepted()
    const leaf = this.#leaves.get(index)
    if (leaf === undefined) throw malformed('a leaf that was not asked for')
    if (length !== leaf.leafBytes) throw badBlock()
    this.#leaves.delete(index)
    return leaf
  }

  /** @returns the blocks that the provider says it lacks */
  missing({ first, count }: LeafRun): Subtree[] {
    this.#mustBeAccepted()
    if (count > 0) {
      const leaves: Subtree[] = []
      for (let index = first; index < first + count; index++) leaves.push(this.#missingLeaf(index))
      return leaves
    }
    const { assignment } = this
    const at = this.#at
    if (assignment.kind !== 'path' || at.level === 0 || first !== assignment.node.firstLeaf) {
      throw malformed('missing nodes that were not asked for')
    }
    // From here on nothing but what is missing can follow.
    if (assignment.withLeaf) this.#leaves.set(first, at)
    this.#at = { ...at, level: 0 }
    return [assignment.node, at]
  }

  #missingLeaf(index: number): Subtree {
    const leaf = this.#leaves.get(index)
    if (leaf === undefined) throw malformed('missing leaves that were not asked for')
    this.#leaves.delete(index)
    return leaf
  }

  /** The provider says that this was all. */
  end(): void {
    this.#mustBeAccepted()
    if (this.#leaves.size > 0 || (this.assignment.kind === 'path' && this.#at.level > 0)) {
      throw new LaneFailure('false-claim', 'accepted a request and left blocks out')
    }
  }

  #mustBeAccepted(): void {
    if (!this.#isAccepted) throw malformed('blocks before an answer')
  }
}

function isBlock(bytes: Uint8Array, block: Subtree): boolean {
  return equalBytes(hash('sha256', bytes, 'buffer'), block.digest)
}

function runsOf(leaves: readonly Subtree[]): LeafRun[] {
  const runs: { first: number; count: number }[] = []
  for (const { firstLeaf } of leaves) {
    const last = runs.at(-1)
    if (last !== undefined && last.first + last.count === firstLeaf) last.count++
    else runs.push({ first: firstLeaf, count: 1 })
  }
  return runs
}

/** Another agent's text, for a message: short, and nothing that moves a cursor. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 200)
}
