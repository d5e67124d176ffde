import type { Scheduler } from './scheduler.ts'

/** Timers by name, of which each can be set once at a time. */
export class NamedTimers<Name extends string> {
  readonly #scheduler: Scheduler
  readonly #stops = new Map<Name, () => void>()
  #closed = false

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler
  }

  has(name: Name): boolean {
    return this.#stops.has(name)
  }

  /** Sets a timer, in place of one of that name. */
  set(name: Name, delayMs: number, work: () => void): void {
    this.stop(name)
    if (this.#closed) return
    const stop = this.#scheduler.setTimer(delayMs, () => {
      this.#stops.delete(name)
      work()
    })
    this.#stops.set(name, stop)
  }

  stop(name: Name): void {
    this.#stops.get(name)?.()
    this.#stops.delete(name)
  }

  /** Stops all; none can be set any more. Idempotent. */
  close(): void {
    this.#closed = true
    for (const name of [...this.#stops.keys()]) this.stop(name)
  }
}
