const nonceBytes = 12
const digestBytes = 32
/** A remembered leaf: nonce (12) ‖ SHA-256 of its block (32) ‖ length of its block (4, big-endian). */
export const rememberedLeafBytes = nonceBytes + digestBytes + 4
const firstCapacity = 64

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

/** What one upload knows, and what it met: the leaves that it found or added, each once. */
export interface LeafSession extends KnownLeaves {
  readonly met: LeafTable
}

/** Leaves by nonce, packed: about 130 bytes each. */
export class LeafTable {
  readonly #places = new Map<string, number>()
  #packed = Buffer.alloc(0)

  get size(): number {
    return this.#places.size
  }

  find(nonce: Uint8Array): KnownLeaf | undefined {
    const place = this.#places.get(nameOf(nonce))
    if (place === undefined) return undefined
    const { digest, leafBytes } = this.#leafAt(place)
    return { digest: new Uint8Array(digest), leafBytes }
  }

  /** All of them, in the order in which they were added. Their digests are parts of memory of the table. */
  *[Symbol.iterator](): Generator<KnownLeaf> {
    for (let place = 0; place < this.size; place++) yield this.#leafAt(place)
  }

  /** Gives whether it was not there yet; what is there stays. */
  add(nonce: Uint8Array, { digest, leafBytes }: KnownLeaf): boolean {
    const name = nameOf(nonce)
    if (this.#places.has(name)) return false
    const at = this.#places.size * rememberedLeafBytes
    if (at === this.#packed.length) {
      const larger = Buffer.alloc(Math.max(firstCapacity * rememberedLeafBytes, 2 * at))
      larger.set(this.#packed)
      this.#packed = larger
    }
    this.#packed.set(nonce, at)
    this.#packed.set(digest, at + nonceBytes)
    this.#packed.writeUInt32BE(leafBytes, at + nonceBytes + digestBytes)
    this.#places.set(name, this.#places.size)
    return true
  }

  /** All of them as `rememberedLeafBytes` each, in the order in which they were added, at most `maxLeaves` a piece. */
  *packed(maxLeaves: number): Generator<Uint8Array> {
    for (let first = 0; first < this.size; first += maxLeaves) {
      const end = Math.min(first + maxLeaves, this.size)
      yield this.#packed.subarray(first * rememberedLeafBytes, end * rememberedLeafBytes)
    }
  }

  #leafAt(place: number): KnownLeaf {
    const at = place * rememberedLeafBytes + nonceBytes
    return {
      digest: this.#packed.subarray(at, at + digestBytes),
      leafBytes: this.#packed.readUInt32BE(at + digestBytes),
    }
  }
}

/**
 * Remembers what was sealed, so that an unchanged chunk of the next version costs one keyed hash and no encryption or
 * second hash. A nonce stands for its chunk: it is 96 bits of a keyed hash over it, and GCM rests on no two chunks
 * sharing one anyway. A wrong leaf here would quietly become part of a new version: only what this process sealed, or
 * what it once wrote down and finds unaltered (authenticated under the artifact's key), may be put here.
 */
export class LeafMemory {
  readonly #maxLeaves: number
  readonly #byKeys = new Map<string, LeafTable>()
  #leaves = 0

  /** At most `maxLeaves` are remembered, about 130 bytes each; keys whose content was written longest ago go first. */
  constructor(maxLeaves: number) {
    this.#maxLeaves = maxLeaves
  }

  /** Whether anything is remembered under these keys. */
  knows(keysId: string): boolean {
    return (this.#byKeys.get(keysId)?.size ?? 0) > 0
  }

  /** The leaves under one set of content keys. `keysId` names the keys and must never name others: the artifact key's id. */
  under(keysId: string): LeafSession {
    const leaves = this.#touch(keysId)
    const met = new LeafTable()
    return {
      size: leaves.size,
      met,
      find: (nonce) => {
        const leaf = leaves.find(nonce)
        if (leaf !== undefined) met.add(nonce, leaf)
        return leaf
      },
      add: (nonce, leaf) => {
        met.add(nonce, leaf)
        this.#add(keysId, leaves, nonce, leaf)
      },
    }
  }

  /** Takes in what `LeafTable.packed` gave, of leaves under the same keys. */
  learn(keysId: string, packed: Uint8Array): void {
    const leaves = this.#touch(keysId)
    const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength)
    for (let at = 0; at + rememberedLeafBytes <= packed.length; at += rememberedLeafBytes) {
      const digest = packed.subarray(at + nonceBytes, at + nonceBytes + digestBytes)
      const leafBytes = view.getUint32(at + nonceBytes + digestBytes)
      this.#add(keysId, leaves, packed.subarray(at, at + nonceBytes), { digest, leafBytes })
    }
  }

  #touch(keysId: string): LeafTable {
    const leaves = this.#byKeys.get(keysId) ?? new LeafTable()
    this.#byKeys.delete(keysId)
    this.#byKeys.set(keysId, leaves)
    return leaves
  }

  #add(keysId: string, leaves: LeafTable, nonce: Uint8Array, leaf: KnownLeaf): void {
    if (this.#byKeys.get(keysId) !== leaves || !this.#makeRoom(keysId)) return
    if (leaves.add(nonce, leaf)) this.#leaves++
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
  return Buffer.from(nonce.buffer, nonce.byteOffset, nonce.byteLength).toString('latin1')
}
