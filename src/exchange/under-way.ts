/** Work that is waited for at the end, however it ends. */
export class UnderWay {
  readonly #works = new Set<Promise<void>>()

  get size(): number {
    return this.#works.size
  }

  /** Gives the same. */
  add<T>(work: Promise<T>): Promise<T> {
    const settled = work.then(
      () => {},
      () => {},
    )
    this.#works.add(settled)
    void settled.then(() => this.#works.delete(settled))
    return work
  }

  /** Resolves when nothing of it runs any more, what came meanwhile included. */
  async ended(): Promise<void> {
    while (this.#works.size > 0) await Promise.all(this.#works)
  }
}
