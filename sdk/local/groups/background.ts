import { ArtifactHubError } from '../../../src/errors.ts'

/** Work that nobody waits for, which ends with what it belongs to. */
export class Background {
  readonly #ending = new AbortController()
  readonly #running = new Set<Promise<void>>()
  readonly #failed: (error: unknown) => void

  /** @param failed told of what went wrong, unless it is the end */
  constructor(failed: (error: unknown) => void) {
    this.#failed = failed
  }

  /** Fires at the end. */
  get signal(): AbortSignal {
    return this.#ending.signal
  }

  run(work: (signal: AbortSignal) => Promise<unknown>): void {
    if (this.signal.aborted) return
    const running = work(this.signal).then(
      () => {},
      (error) => {
        if (!this.signal.aborted) this.#failed(error)
      },
    )
    const kept = running.finally(() => this.#running.delete(kept))
    this.#running.add(kept)
  }

  /** Ends what is under way and waits for it. Idempotent. */
  async close(): Promise<void> {
    this.#ending.abort(new ArtifactHubError('CLOSED', 'the node is closed'))
    while (this.#running.size > 0) await Promise.all(this.#running)
  }
}
