/** Where tasks wait for something to change. Every one that waits is woken by every change and looks for itself. */
export class Gate {
  readonly #waiting = new Set<() => void>()

  /** Wakes all who wait. */
  open(): void {
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }

  /** Resolves at the next `open`. @throws the signal's reason */
  async wait(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted()
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake)
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      this.#waiting.add(wake)
      signal?.addEventListener('abort', wake, { once: true })
    })
    signal?.throwIfAborted()
  }
}
