import type { Subtree } from '../content/index.ts'
import { toHex } from '../encoding/index.ts'
import type { Assignment } from './lane-request.ts'
import type { Lane } from './transfer-lane.ts'

/** Someone who waits for a block. */
export interface Waiter {
  /** A reader waits for the block now, which comes before what `whole` wants. */
  readonly isUrgent: boolean
  /** Whether it is to be given the bytes; else it reads them from where they are stored, if it needs them. */
  readonly takesBytes: boolean
  resolve(bytes: Uint8Array<ArrayBuffer> | undefined): void
  reject(error: unknown): void
}

/** A block that is not here. */
export class Want {
  readonly block: Subtree
  readonly waiters = new Set<Waiter>()
  /** Lanes that were asked for it and have not answered. */
  readonly lanes = new Set<Lane>()
  /** Agents (hex) that said they lack it. */
  readonly lackedBy = new Set<string>()
  /** It has been asked for a while ago. */
  isLate = false

  constructor(block: Subtree) {
    this.block = block
  }
}

/** What a transfer wants: what readers wait for first, then the rest, each in the order in which it came to be wanted. */
export class Wants {
  readonly #urgent = new Map<string, Want>()
  readonly #others = new Map<string, Want>()

  get size(): number {
    return this.#urgent.size + this.#others.size
  }

  get(digest: Uint8Array): Want | undefined {
    const key = toHex(digest)
    return this.#urgent.get(key) ?? this.#others.get(key)
  }

  add(block: Subtree, waiter: Waiter): Want {
    const key = toHex(block.digest)
    const want = this.#urgent.get(key) ?? this.#others.get(key) ?? new Want(block)
    want.waiters.add(waiter)
    if (!waiter.isUrgent && !this.#urgent.has(key)) this.#others.set(key, want)
    if (waiter.isUrgent) {
      this.#others.delete(key)
      this.#urgent.set(key, want)
    }
    return want
  }

  /** A block that is on its way though nobody waits for it. */
  expect(block: Subtree, lane: Lane): void {
    const want = this.get(block.digest) ?? new Want(block)
    want.lanes.add(lane)
    if (want.waiters.size === 0) this.#others.set(toHex(block.digest), want)
  }

  /** The waiter gives up. What is under way still comes. */
  leave(want: Want, waiter: Waiter): void {
    want.waiters.delete(waiter)
    if (want.waiters.size === 0 && want.lanes.size === 0) this.delete(want)
  }

  delete(want: Want): void {
    const key = toHex(want.block.digest)
    this.#urgent.delete(key)
    this.#others.delete(key)
  }

  *[Symbol.iterator](): Generator<Want, void, undefined> {
    yield* this.#urgent.values()
    yield* this.#others.values()
  }

  /** The next request for a lane: what nobody was asked for, else what has been waited for elsewhere for a while. */
  take(lane: Lane, root: Subtree): Assignment | undefined {
    return (
      this.#gather(lane, root, (want) => want.lanes.size === 0) ??
      this.#gather(lane, root, (want) => want.isLate && want.lanes.size === 1 && !want.lanes.has(lane))
    )
  }

  #gather(lane: Lane, root: Subtree, isOpen: (want: Want) => boolean): Assignment | undefined {
    const leaves: Want[] = []
    for (const want of this) {
      if (leaves.length >= lane.unitLeaves) break
      if (!isOpen(want) || want.waiters.size === 0 || want.lackedBy.has(lane.key)) continue
      if (want.block.level === 0) leaves.push(want)
      else if (leaves.length === 0) {
        want.lanes.add(lane)
        // Whoever has nothing yet begins, as a rule, at the beginning.
        return { kind: 'path', node: want.block, withLeaf: want.block === root }
      }
    }
    if (leaves.length === 0) return undefined
    for (const want of leaves) want.lanes.add(lane)
    return { kind: 'leaves', leaves: leaves.map((want) => want.block).sort((a, b) => a.firstLeaf - b.firstLeaf) }
  }
}
