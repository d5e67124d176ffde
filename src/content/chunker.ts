import { createCipheriv } from 'node:crypto'
import { chunkMaskBits, maxChunkBytes, minChunkBytes } from '../limits.ts'

/** Bytes that the 32-bit gear hash remembers: each byte's influence is shifted out after 32 steps. */
const windowBytes = 32
const hashFrom = minChunkBytes - windowBytes
const cutMask = -1 << (32 - chunkMaskBits)

/**
 * The gear table of a chunking key (32 bytes): the first 1,024 bytes of the AES-256-CTR keystream under that key
 * from the all-zero counter block, read as 256 little-endian int32. Cut points, and so chunk sizes, then tell
 * nothing about known files to those without the key.
 */
export function expandGearTable(chunkingKey: Uint8Array): Int32Array {
  const cipher = createCipheriv('aes-256-ctr', chunkingKey, new Uint8Array(16))
  const keystream = cipher.update(new Uint8Array(1024))
  const table = new Int32Array(256)
  for (let i = 0; i < table.length; i++) table[i] = keystream.readInt32LE(4 * i)
  return table
}

/**
 * Content-defined chunking by a keyed gear hash (FastCDC, USENIX ATC '16, with one plain mask and no normalization):
 * `h = (h << 1) + gear[byte]` over 32 bits, a chunk ends after the byte that leaves the top `chunkMaskBits` bits of
 * `h` zero, never before `minChunkBytes` and at the latest at `maxChunkBytes`. The hash starts at zero 32 bytes
 * before the minimum, so its window is full at the first place where a cut is allowed. Cuts depend on the bytes
 * since the last cut and nothing else: not on how the input is split into pieces.
 */
export class Chunker {
  readonly #gear: Int32Array
  #length = 0
  #hash = 0

  constructor(chunkingKey: Uint8Array) {
    this.#gear = expandGearTable(chunkingKey)
  }

  /** Bytes since the last cut. */
  get pendingBytes(): number {
    return this.#length
  }

  /**
   * Takes in `bytes` from `offset` on, up to the next cut.
   * @returns the offset in `bytes` just past the cut, or -1 when all of `bytes` was taken in without one
   */
  next(bytes: Uint8Array, offset: number): number {
    let at = offset
    if (this.#length < hashFrom) {
      const skipped = Math.min(hashFrom - this.#length, bytes.length - at)
      at += skipped
      this.#length += skipped
    }
    if (this.#length < minChunkBytes - 1) {
      const until = Math.min(at + minChunkBytes - 1 - this.#length, bytes.length)
      this.#length += until - at
      let hash = this.#hash
      for (; at < until; at++) hash = ((hash << 1) + (this.#gear[bytes[at] as number] as number)) | 0
      this.#hash = hash
    }
    if (at === bytes.length) return -1
    const until = Math.min(at + maxChunkBytes - this.#length, bytes.length)
    const cut = findCut(bytes, at, until, this.#gear, this.#hash)
    if (cut < 0) {
      this.#length += until - at
      this.#hash = hashAfter
      if (this.#length < maxChunkBytes) return -1
    }
    this.#length = 0
    this.#hash = 0
    return cut < 0 ? until : cut
  }
}

/**
 * The table of the scan that runs now. Being one constant object lets V8 leave out the loads and bounds checks of a
 * table that could be any; with reading words instead of bytes that makes it two to three times as fast.
 */
const gear = new Int32Array(256)

/** Hash after `bytes` of the last call of `findCut`, when that found no cut. */
let hashAfter = 0

function findCut(bytes: Uint8Array, from: number, until: number, table: Int32Array, hashBefore: number): number {
  gear.set(table)
  let hash = hashBefore
  let at = from
  for (; at < until && ((bytes.byteOffset + at) & 3) !== 0; at++) {
    hash = ((hash << 1) + (gear[bytes[at] as number] as number)) | 0
    if ((hash & cutMask) === 0) return at + 1
  }
  if (at === until) {
    hashAfter = hash
    return -1
  }
  // Every platform that Node 24 and this project's users have is little-endian: the low byte comes first.
  const words = new Int32Array(bytes.buffer, bytes.byteOffset + at, (until - at) >> 2)
  let word = 0
  let next = hash
  for (const last = words.length - 1; word < last; word += 2) {
    const low = words[word] as number
    const high = words[word + 1] as number
    next = ((next << 1) + (gear[low & 255] as number)) | 0
    if ((next & cutMask) === 0) break
    next = ((next << 1) + (gear[(low >>> 8) & 255] as number)) | 0
    if ((next & cutMask) === 0) break
    next = ((next << 1) + (gear[(low >>> 16) & 255] as number)) | 0
    if ((next & cutMask) === 0) break
    next = ((next << 1) + (gear[low >>> 24] as number)) | 0
    if ((next & cutMask) === 0) break
    next = ((next << 1) + (gear[high & 255] as number)) | 0
    if ((next & cutMask) === 0) break
    next = ((next << 1) + (gear[(high >>> 8) & 255] as number)) | 0
    if ((next & cutMask) === 0) break
    next = ((next << 1) + (gear[(high >>> 16) & 255] as number)) | 0
    if ((next & cutMask) === 0) break
    next = ((next << 1) + (gear[high >>> 24] as number)) | 0
    if ((next & cutMask) === 0) break
    hash = next
  }
  // Which of the eight bytes cuts, and the bytes after the last pair of words. One way out of the loop above, because V8 throws
  // its code away whenever it takes one for the first time.
  for (at += 4 * word; at < until; at++) {
    hash = ((hash << 1) + (gear[bytes[at] as number] as number)) | 0
    if ((hash & cutMask) === 0) return at + 1
  }
  hashAfter = hash
  return -1
}
