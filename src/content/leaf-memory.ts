/** A leaf that a chunk once became. */
export interface KnownLeaf {
  /** SHA-256 of the block, 32 bytes. */
  readonly digest: Uint8Array
  /** Length of the block. */
  readonly leafBytes: number
}

/** The leaves written under one set of content keys, by nonce: what makes the next version's unchanged chunks cheap. */
export interface KnownLeaves {
  /** How many there are. With none, nothing is looked up. */
  readonly size: number
  find(nonce: Uint8Array): KnownLeaf | undefined
  add(nonce: Uint8Array, leaf: KnownLeaf): void
}

/**
 * Remembers what this process sealed, so that an unchanged chunk of the next version costs one keyed hash and no
 * encryption or second hash. A nonce stands for its chunk: it is 96 bits of HMAC-SHA-256 over it, and GCM rests on
 * no two chunks sharing one anyway. Nothing is read back from a disk, which could lie about it.
 */
export class LeafMemory {
  readonly #maxLeaves: number
  readonly #byKeys = new Map<string, Map<string, KnownLeaf>>()
  #leaves = 0

  /** At most `maxLeaves` are remembered, about 250 bytes each; keys whose content was written longest ago go first. */
  constructor(maxLeaves: number) {
    this.#maxLeaves = maxLeaves
  }

  /** The leaves under one set of content keys. `keysId` names the keys and must never name others: the artifact key's id. */
  under(keysId: string): KnownLeaves {
    const leaves = this.#byKeys.get(keysId) ?? new Map<string, KnownLeaf>()
    this.#byKeys.delete(keysId)
    this.#byKeys.set(keysId, leaves)
    return {
      size: leaves.size,
      find: (nonce) => leaves.get(nameOf(nonce)),
      add: (nonce, leaf) => {
        const name = nameOf(nonce)
        if (leaves.has(name) || this.#byKeys.get(keysId) !== leaves || !this.#makeRoom(keysId)) return
        leaves.set(name, { digest: leaf.digest, leafBytes: leaf.leafBytes })
        this.#leaves++
      },
    }
  }

  /** Whether there is room now for one more under these keys. */
  #makeRoom(keysId: string): boolean {
    for (const [oldest, leaves] of this.#byKeys) {
      if (this.#leaves < this.#maxLeaves || oldest === keysId) break
      this.#byKeys.delete(oldest)
      this.#leaves -= leaves.size
    }
    return this.#leaves < this.#maxLeaves
  }
}

function nameOf(nonce: Uint8Array): string {
  return Buffer.from(nonce).toString('latin1')
}
