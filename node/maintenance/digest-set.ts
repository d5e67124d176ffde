const digestBytes = 32

/** A set of SHA-256 digests in about 50 bytes each: a hash table in two flat arrays, for sets of millions. */
export class DigestSet {
  #digests = new Uint8Array(digestBytes * 1_024)
  /** Positions in `#digests` plus one; 0 is free. Its length is a power of two, at most half of it used. */
  #slots = new Uint32Array(2_048)
  #size = 0

  get size(): number {
    return this.#size
  }

  has(digest: Uint8Array): boolean {
    return this.#slots[this.#find(digest)] !== 0
  }

  /** Whether it was not in the set before. */
  add(digest: Uint8Array): boolean {
    if (this.#size * 2 >= this.#slots.length) this.#grow()
    const slot = this.#find(digest)
    if (this.#slots[slot] !== 0) return false
    this.#digests.set(digest, this.#size * digestBytes)
    this.#size += 1
    this.#slots[slot] = this.#size
    return true
  }

  /** The slot that holds it, or the free one where it belongs. */
  #find(digest: Uint8Array): number {
    const mask = this.#slots.length - 1
    const start = new DataView(digest.buffer, digest.byteOffset).getUint32(0)
    for (let slot = start & mask; ; slot = (slot + 1) & mask) {
      const at = this.#slots[slot] as number
      if (at === 0 || this.#isAt(at - 1, digest)) return slot
    }
  }

  #isAt(index: number, digest: Uint8Array): boolean {
    for (let at = 0, from = index * digestBytes; at < digestBytes; at++) {
      if (this.#digests[from + at] !== digest[at]) return false
    }
    return true
  }

  #grow(): void {
    const digests = new Uint8Array(this.#slots.length * digestBytes)
    digests.set(this.#digests.subarray(0, this.#size * digestBytes))
    this.#digests = digests
    this.#slots = new Uint32Array(this.#slots.length * 2)
    for (let index = 0; index < this.#size; index++) {
      const slot = this.#find(digests.subarray(index * digestBytes, (index + 1) * digestBytes))
      this.#slots[slot] = index + 1
    }
  }
}
