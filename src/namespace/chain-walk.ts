import { toHex } from '../encoding/index.ts'
import type { Entry } from '../log/index.ts'
import { type Tip, tipOf, withPartialTip } from './chains.ts'

/** One chain, entry by entry in order of seq. */
export interface ChainWalk {
  readonly chain: Uint8Array
  readonly tips: Iterable<Tip>
  /** Whether the entry follows one that was taken. */
  take(entry: Entry): boolean
  /** Entries from the lowest fork up that were not given yet. */
  takeBranches(): Entry[]
}

/** Of a chain that is held from its beginning. */
export class WholeChainWalk implements ChainWalk {
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

  takeBranches(): Entry[] {
    const taken = this.#branches
    this.#branches = []
    return taken
  }
}

/** Of a chain of which some entries are held: each may stand by itself. */
export class PartialChainWalk implements ChainWalk {
  readonly chain: Uint8Array
  #tips: readonly Tip[] = []
  #level: Entry[] = []
  #isForked = false
  #branches: Entry[] = []

  constructor(chain: Uint8Array) {
    this.chain = chain
  }

  get tips(): Iterable<Tip> {
    return this.#tips
  }

  take(entry: Entry): boolean {
    if (this.#level[0]?.header.seq !== entry.header.seq) this.#level = []
    this.#tips = withPartialTip(
      this.#tips,
      tipOf(entry, this.chain),
      this.#level.map((one) => tipOf(one, this.chain)),
    )
    this.#level.push(entry)
    if (this.#isForked) this.#branches.push(entry)
    else if (this.#level.length > 1) {
      this.#isForked = true
      this.#branches.push(...this.#level)
    }
    return true
  }

  takeBranches(): Entry[] {
    const taken = this.#branches
    this.#branches = []
    return taken
  }
}
