/** Work that several wait for at once, under a name: done once at a time for all of them, and bounded. */
export class SharedWaits {
  readonly #patienceMs: number
  readonly #running = new Map<string, Promise<unknown>>()
  readonly #ending = new AbortController()

  /** @param patienceMs how long each piece of work may take, milliseconds */
  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs
  }

  /**
   * Resolves when the work of that name is through or has run out of time, whatever came of it. Who leaves does not end it for the others.
   * @throws the signal's reason
   */
  async wait(name: string, signal: AbortSignal, work: (bounded: AbortSignal) => Promise<unknown>): Promise<void> {
    signal.throwIfAborted()
    let running = this.#running.get(name)
    if (running === undefined) {
      running = this.#run(work).finally(() => this.#running.delete(name))
      this.#running.set(name, running)
    }
    const left = Promise.withResolvers<never>()
    const leave = (): void => left.reject(signal.reason)
    signal.addEventListener('abort', leave, { once: true })
    try {
      await Promise.race([running, left.promise])
    } finally {
      signal.removeEventListener('abort', leave)
    }
  }

  /** Ends all of it; resolves when nothing runs any more. Idempotent. */
  async close(): Promise<void> {
    this.#ending.abort(new DOMException('the gateway is closing', 'AbortError'))
    await Promise.all(this.#running.values())
  }

  async #run(work: (bounded: AbortSignal) => Promise<unknown>): Promise<void> {
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(new DOMException('it takes too long', 'TimeoutError')), this.#patienceMs)
    try {
      await work(AbortSignal.any([late.signal, this.#ending.signal]))
    } catch {
      // What it was for is looked at by whoever waited.
    } finally {
      clearTimeout(timer)
    }
  }
}
