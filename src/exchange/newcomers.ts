/** A stream that has to show yet that its agent may do anything here. */
export interface Newcomer {
  /** Aborted when it has to make room. */
  readonly signal: AbortSignal
  /** It may: it makes room for nobody. Idempotent. */
  settle(): void
}

/** Streams of a kind on which nothing was permitted so far: strangers, of whom there may be any number, keep nobody out who may do something here. */
export class Newcomers {
  /** The oldest first. */
  readonly #open = new Set<AbortController>()

  add(): Newcomer {
    const own = new AbortController()
    this.#open.add(own)
    return { signal: own.signal, settle: () => void this.#open.delete(own) }
  }

  /** Ends the oldest for that reason, so that another may come. Gives whether there was one. */
  makeRoom(reason: Error): boolean {
    const [oldest] = this.#open
    if (oldest === undefined) return false
    this.#open.delete(oldest)
    oldest.abort(reason)
    return true
  }
}
