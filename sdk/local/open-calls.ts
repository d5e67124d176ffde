import { ArtifactHubError } from '../../src/errors.ts'

interface WithSignal {
  readonly signal?: AbortSignal | undefined
}

/** The calls under way on a node. Closing ends them, and no more are begun. */
export class OpenCalls {
  /** What ends each call, and its end; a stream has none, for nobody need ever read it to its end. */
  readonly #open = new Map<AbortController, Promise<unknown> | undefined>()
  #closed = false

  /**
   * Runs a call whose signal fires, besides when the caller's does, when the node closes.
   * @throws CLOSED, what `work` throws
   */
  async run<O extends WithSignal, T>(options: O, work: (call: O) => Promise<T>): Promise<T> {
    const end = this.#begin()
    try {
      const result = work({ ...options, signal: eitherOf(options.signal, end.signal) })
      this.#open.set(end, result)
      return await result
    } finally {
      this.#open.delete(end)
    }
  }

  /** As `run`, for a call whose results are taken one by one. */
  async *stream<O extends WithSignal, T>(options: O, work: (call: O) => AsyncIterable<T>): AsyncGenerator<T> {
    const end = this.#begin()
    try {
      yield* work({ ...options, signal: eitherOf(options.signal, end.signal) })
    } finally {
      this.#open.delete(end)
    }
  }

  /** Fails what is under way with CLOSED, unless it is past stopping, and waits for its end. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    for (const end of this.#open.keys()) end.abort(closedError())
    await Promise.allSettled(this.#open.values())
  }

  #begin(): AbortController {
    if (this.#closed) throw closedError()
    // One for each call: a signal that thousands listen to is slow to leave.
    const end = new AbortController()
    this.#open.set(end, undefined)
    return end
  }
}

function eitherOf(callers: AbortSignal | undefined, ours: AbortSignal): AbortSignal {
  return callers === undefined ? ours : AbortSignal.any([callers, ours])
}

function closedError(): ArtifactHubError {
  return new ArtifactHubError('CLOSED', 'the node is closed')
}
