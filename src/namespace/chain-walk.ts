import { toHex } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import { type Tip, tipOf } from './chains.ts'

/** One chain, entry by entry in order of seq. */
export class ChainWalk {
  readonly chain: Uint8Array
  readonly #tips = new Map<string, Tip>()
  #seq = -1
  /** Entries at `#seq`, and hashes of those one below. */
  #level: Entry[] = []
  #below = new Set<string>()
  #isForked = false
  #branches: Entry[] = []

  constructor(chain: Uint8Array) {
    this.chain = chain
  }

  get tips(): Iterable<Tip> {
    return this.#tips.values()
  }

  /** Whether the entry follows one that was taken. */
  take(entry: Entry): boolean {
    const { seq, previous } = entry.header
    if (seq !== this.#seq) {
      this.#below = new Set(seq === this.#seq + 1 ? this.#level.map(({ hash }) => toHex(hash)) : [])
      this.#level = []
      this.#seq = seq
    }
    this.#level.push(entry)
    if (previous !== undefined) this.#tips.delete(toHex(previous))
    this.#tips.set(toHex(entry.hash), tipOf(entry, this.chain))
    if (this.#isForked) this.#branches.push(entry)
    else if (this.#level.length > 1) {
      this.#isForked = true
      this.#branches.push(...this.#level)
    }
    return previous === undefined ? seq === 0 : this.#below.has(toHex(previous))
  }

  /** Entries from the lowest fork up that were not given yet. */
  takeBranches(): Entry[] {
    const taken = this.#branches
    this.#branches = []
    return taken
  }
}
