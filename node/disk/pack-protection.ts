import { type DigestKey, digestKey, type PlacedBlock } from './pack-index.ts'
import type { PackWriter } from './pack-writer.ts'

/**
 * Which blocks a sweep must leave alone. Correct because each method's look and its mark happen in one step of the event
 * loop: either a sweep sees that a writer wants a block, or the writer sees that the sweep removes it.
 */
export class PackProtection {
  readonly #writers = new Set<PackWriter>()
  /** What writers stored or found which have closed since the running sweep began. */
  #closedDuringSweep: Set<DigestKey> | undefined
  /** Blocks whose rows are being removed. */
  readonly #condemned = new Map<DigestKey, Promise<void>>()

  /** From now on its blocks are protected; a writer adds a digest to its set before it looks it up. */
  add(writer: PackWriter): void {
    this.#writers.add(writer)
  }

  /** The writer closed. What it committed during a sweep may be live, though the sweep was told it is not. */
  release(writer: PackWriter): void {
    this.#writers.delete(writer)
    if (this.#closedDuringSweep) for (const key of writer.protected) this.#closedDuringSweep.add(key)
  }

  /** Resolves when the removal of that block that is under way, if one is, has ended. */
  removalOf(key: DigestKey): Promise<void> | undefined {
    return this.#condemned.get(key)
  }

  /** Runs a sweep: what writers protect now or later stays protected until it ends. */
  async during<T>(sweep: () => Promise<T>): Promise<T> {
    this.#closedDuringSweep = new Set()
    try {
      return await sweep()
    } finally {
      this.#closedDuringSweep = undefined
    }
  }

  /** Calls `remove` with those of the blocks that nobody protects; gives them when it is done. */
  async removeUnprotected(
    blocks: readonly PlacedBlock[],
    remove: (doomed: readonly PlacedBlock[]) => Promise<void>,
  ): Promise<readonly PlacedBlock[]> {
    const removing = Promise.withResolvers<void>()
    const doomed = blocks.filter(({ digest }) => {
      const key = digestKey(digest)
      if (this.#closedDuringSweep?.has(key)) return false
      for (const writer of this.#writers) if (writer.protected.has(key)) return false
      this.#condemned.set(key, removing.promise)
      return true
    })
    try {
      await remove(doomed)
    } finally {
      for (const { digest } of doomed) this.#condemned.delete(digestKey(digest))
      removing.resolve()
    }
    return doomed
  }
}
