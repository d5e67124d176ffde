/** Lengths are rounded up to this, so that blocks of nearly one length fit each other's memory. */
const grainBytes = 128 * 1024

/**
 * Memory that blocks take turns in. Fresh memory for each makes the collector run all the time: it counts what was allocated
 * since it last ran, not what is held.
 */
export class BlockMemory {
  readonly #maxIdleBytes: number
  /** The shortest first. */
  readonly #idle: ArrayBuffer[] = []
  #idleBytes = 0

  /** @param maxIdleBytes what is kept for later at most */
  constructor(maxIdleBytes: number) {
    this.#maxIdleBytes = maxIdleBytes
  }

  /** So many bytes, holding anything, often in a longer buffer. */
  take(length: number): Uint8Array<ArrayBuffer> {
    const at = this.#idle.findIndex((memory) => memory.byteLength >= length)
    const [memory] = at < 0 ? [] : this.#idle.splice(at, 1)
    if (memory === undefined) {
      // Not zeroed: whoever takes it writes all of it.
      const fresh = Buffer.allocUnsafeSlow(Math.ceil(length / grainBytes) * grainBytes).buffer as ArrayBuffer
      return new Uint8Array(fresh, 0, length)
    }
    this.#idleBytes -= memory.byteLength
    return new Uint8Array(memory, 0, length)
  }

  /** Takes back what `take` gave, once nobody reads or writes it any more. */
  give({ buffer }: Uint8Array<ArrayBuffer>): void {
    const at = this.#idle.findIndex((memory) => memory.byteLength >= buffer.byteLength)
    this.#idle.splice(at < 0 ? this.#idle.length : at, 0, buffer)
    this.#idleBytes += buffer.byteLength
    // The longest stay: they are of use for every block.
    while (this.#idleBytes > this.#maxIdleBytes) this.#idleBytes -= this.#idle.shift()?.byteLength ?? 0
  }
}
