/** How many of a kind are open, by whose they are and in all. Those of nobody any more take no memory. */
export class OpenCount {
  readonly #open = new Map<string, number>()
  #total = 0

  get total(): number {
    return this.#total
  }

  of(whose: string): number {
    return this.#open.get(whose) ?? 0
  }

  /** Counts one until the returned function is called, once or more. */
  add(whose: string): () => void {
    this.#open.set(whose, this.of(whose) + 1)
    this.#total += 1
    let isOpen = true
    return () => {
      if (!isOpen) return
      isOpen = false
      this.#total -= 1
      const left = this.of(whose) - 1
      if (left === 0) this.#open.delete(whose)
      else this.#open.set(whose, left)
    }
  }
}
