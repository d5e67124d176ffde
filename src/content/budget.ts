interface Waiter {
  readonly amount: number
  readonly grant: () => void
}

/** An amount of something (bytes, buffers) that tasks take and give back; those who wait are served in order. */
export class Budget {
  readonly #signal: AbortSignal
  readonly #waiting: Waiter[] = []
  #free: number

  /** Once `signal` is aborted, every `take` rejects with its reason. */
  constructor(amount: number, signal: AbortSignal) {
    this.#free = amount
    this.#signal = signal
    const onAbort = (): void => {
      for (const waiter of this.#waiting.splice(0)) waiter.grant()
    }
    signal.addEventListener('abort', onAbort, { once: true })
  }

  /** Resolves once `amount`, which must not exceed the whole, is taken. Give it back with `give`. */
  async take(amount: number): Promise<void> {
    this.#signal.throwIfAborted()
    if (this.#waiting.length === 0 && this.#free >= amount) {
      this.#free -= amount
      return
    }
    await new Promise<void>((grant) => this.#waiting.push({ amount, grant }))
    this.#signal.throwIfAborted()
  }

  give(amount: number): void {
    this.#free += amount
    for (let first = this.#waiting[0]; first !== undefined && first.amount <= this.#free; first = this.#waiting[0]) {
      this.#free -= first.amount
      this.#waiting.shift()
      first.grant()
    }
  }
}
