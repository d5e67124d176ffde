/**
 * Runs work in groups: whatever arrives while one group is being written goes into the next, so many callers share one
 * synced batch. One group at a time.
 */
export class CommitQueue<Tx> {
  readonly #begin: () => Promise<Tx>
  readonly #write: (tx: Tx) => Promise<void>
  readonly #maxGroup: number
  readonly #waiting: (Work<Tx> | Lone)[] = []
  #running: Promise<void> | undefined

  /**
   * @param begin starts a group
   * @param write makes a group's work durable; when it fails, all of the group fails
   */
  constructor(begin: () => Promise<Tx>, write: (tx: Tx) => Promise<void>, maxGroup: number) {
    this.#begin = begin
    this.#write = write
    this.#maxGroup = maxGroup
  }

  /**
   * Resolves with what `work` gave once its group is written. `work` may refuse by throwing before it has changed
   * anything of the transaction: then it alone fails. It says that it is about to change by calling `mark`; a throw
   * after that fails the whole group, for half a piece of work must not be written.
   */
  run<T>(work: (tx: Tx, mark: () => void) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({
        run: async (tx, mark) => {
          const result = await work(tx, mark)
          return () => resolve(result)
        },
        fail: reject,
      })
      this.#running ??= this.#drain()
    })
  }

  /** Runs `work` while no group is open, and no group while it runs. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ alone: () => work().then(resolve), fail: reject })
      this.#running ??= this.#drain()
    })
  }

  /** Resolves when nothing is waiting or being written. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running
  }

  async #drain(): Promise<void> {
    // Begun on the next turn, so that calls made together share the first group too.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const first = this.#waiting[0] as Work<Tx> | Lone
      if ('alone' in first) {
        this.#waiting.shift()
        await first.alone().catch(first.fail)
      } else {
        await this.#group(this.#takeGroup())
      }
    }
    this.#running = undefined
  }

  #takeGroup(): Work<Tx>[] {
    const group: Work<Tx>[] = []
    for (const work of this.#waiting) {
      if ('alone' in work || group.length === this.#maxGroup) break
      group.push(work)
    }
    this.#waiting.splice(0, group.length)
    return group
  }

  async #group(group: readonly Work<Tx>[]): Promise<void> {
    const accepted: (() => void)[] = []
    let marked = false
    try {
      const tx = await this.#begin()
      for (const work of group) {
        marked = false
        try {
          const settle = await work.run(tx, () => {
            marked = true
          })
          accepted.push(settle)
        } catch (error) {
          if (marked) throw error
          work.fail(error)
        }
      }
      if (accepted.length > 0) await this.#write(tx)
    } catch (error) {
      for (const work of group) work.fail(error)
      return
    }
    for (const settle of accepted) settle()
  }
}

interface Lone {
  alone(): Promise<void>
  fail(error: unknown): void
}

interface Work<Tx> {
  /** Gives what to call once it is written. */
  run(tx: Tx, mark: () => void): Promise<() => void>
  fail(error: unknown): void
}
