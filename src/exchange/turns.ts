/** Lets so many pieces of work run at once; the others wait, first come, first served. */
export class Turns {
  readonly #max: number
  readonly #waiting = new Set<() => void>()
  #running = 0

  constructor(max: number) {
    this.#max = max
  }

  /** Runs `work` when it is its turn. @throws what `work` throws; the signal's reason while it waits */
  async run<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    signal?.throwIfAborted()
    if (this.#running < this.#max) this.#running += 1
    else await this.#wait(signal)
    try {
      return await work()
    } finally {
      // The turn goes to the next in line, or back.
      const [next] = this.#waiting
      if (next === undefined) this.#running -= 1
      else next()
    }
  }

  async #wait(signal: AbortSignal | undefined): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const end = (settle: () => void) => (): void => {
        this.#waiting.delete(go)
        signal?.removeEventListener('abort', stop)
        settle()
      }
      const go = end(resolve)
      const stop = end(() => reject(signal?.reason))
      this.#waiting.add(go)
      signal?.addEventListener('abort', stop, { once: true })
    })
  }
}
