/**
 * Taken from the system at a time, bytes: all that one upload needs, and what of it is not touched takes no memory. The allocator
 * gives pieces above 32 MiB back as soon as they are free (glibc's M_MMAP_THRESHOLD, mallopt(3)); smaller ones come to lie among
 * other things, and what is left between those stays resident.
 */
const regionBytes = 64 * 1024 * 1024
/**
 * Parts begin with a page, as what is read into them does in its file: a copy to the 16 bytes that follow takes five times as long, to the next 16 twice
 * (AMD's Zen 4). glibc's large pieces begin 16 bytes after a page. Memory that could grow begins with one, but `process.memoryUsage` does not count it.
 */
const alignment = 4096
const firstPart = alignment - 16

interface Region {
  readonly buffer: SharedArrayBuffer
  /** Where nothing was lent yet. */
  end: number
  /** Parts that are lent. */
  lent: number
  /** Parts that were, and may be again. */
  free: Uint8Array[]
}

/** Memory that threads share, lent in parts and used again and again: fresh pages cost time, and threads let go of old ones late. */
export class SharedMemory {
  #regions: Region[] = []

  allocate(bytes: number): Uint8Array {
    for (const region of this.#regions) {
      const part = region.free.findLast((one) => one.length === bytes)
      if (part === undefined) continue
      region.free.splice(region.free.lastIndexOf(part), 1)
      region.lent++
      return part
    }
    return this.#carve(this.#withRoom(bytes) ?? this.#newRegion(bytes), bytes)
  }

  /** Takes back what `allocate` gave. */
  free(memory: Uint8Array): void {
    const region = this.#regions.find(({ buffer }) => buffer === memory.buffer)
    if (region === undefined) return
    region.lent--
    region.free.push(memory)
    // One is kept for the next upload.
    const isKept = region.lent > 0 || this.#regions.length === 1
    if (!isKept) this.#regions = this.#regions.filter((one) => one !== region)
  }

  /** Lets go of all that is not lent; gives whether there was any. */
  drop(): boolean {
    const before = this.#regions.length
    this.#regions = this.#regions.filter(({ lent }) => lent > 0)
    return this.#regions.length < before
  }

  #withRoom(bytes: number): Region | undefined {
    for (const region of this.#regions) {
      if (region.end + bytes <= region.buffer.byteLength) return region
      if (region.lent > 0 || firstPart + bytes > region.buffer.byteLength) continue
      // Cut anew.
      region.free = []
      region.end = firstPart
      return region
    }
    return undefined
  }

  #newRegion(bytes: number): Region {
    const buffer = new SharedArrayBuffer(Math.max(regionBytes, firstPart + bytes))
    const region = { buffer, end: firstPart, lent: 0, free: [] }
    this.#regions.push(region)
    return region
  }

  #carve(region: Region, bytes: number): Uint8Array {
    const part = new Uint8Array(region.buffer, region.end, bytes)
    region.end += Math.ceil(bytes / alignment) * alignment
    region.lent++
    return part
  }
}
