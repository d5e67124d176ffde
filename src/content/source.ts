import { ArtifactHubError, isHubError } from '../errors.ts'

/** Content that can be read anywhere, such as an open file: it is read straight into the pipeline's memory. */
export interface PositionedSource {
  /**
   * Fills `into` from byte `position` on, as far as it likes.
   * @returns how many bytes; 0 only at the end
   */
  read(into: Uint8Array, position: number): Promise<number>
}

/** Where content comes from: pieces of any size, empty ones too, or a positioned source. */
export type ContentSource = AsyncIterable<Uint8Array> | PositionedSource

/** Which of the two it is. A Node stream is pieces, though it has a method `read` of its own. */
export function isPositioned(source: ContentSource): source is PositionedSource {
  return !(Symbol.asyncIterator in source)
}

/** A source being read once, front to back. One `fill` at a time. */
export interface SourceReader {
  /**
   * Fills all of `into`, or less at the end of the source.
   * @throws SOURCE_FAILED with the source's error as cause; our own errors and the signal's reason as they are
   */
  fill(into: Uint8Array): Promise<number>
  /** Tells a source of pieces that no more are wanted. Idempotent. */
  close(): Promise<void>
}

/** Begins reading. An abort of `signal` ends a `fill` of pieces at once, one of a positioned source after its read. */
export function openSource(source: ContentSource, signal: AbortSignal): SourceReader {
  return isPositioned(source) ? openPositioned(source, signal) : openPieces(source, signal)
}

function openPositioned(source: PositionedSource, signal: AbortSignal): SourceReader {
  let position = 0
  return {
    async fill(into) {
      let filled = 0
      while (filled < into.length) {
        signal.throwIfAborted()
        let got: number
        try {
          got = await source.read(into.subarray(filled), position)
        } catch (error) {
          throw sourceError(error, signal)
        }
        if (got === 0) break
        filled += got
        position += got
      }
      return filled
    },
    close: async () => {},
  }
}

function openPieces(source: AsyncIterable<Uint8Array>, signal: AbortSignal): SourceReader {
  const iterator = source[Symbol.asyncIterator]()
  let piece: Uint8Array = new Uint8Array(0)
  let pending = false
  let ended = false

  async function next(): Promise<void> {
    pending = true
    const step = iterator.next().finally(() => {
      pending = false
    })
    let result: IteratorResult<Uint8Array>
    try {
      result = await orAborted(step, signal)
    } catch (error) {
      // An iterator that threw has ended and gets no return(); one that we only stopped waiting for does.
      if (!pending && !signal.aborted) ended = true
      throw sourceError(error, signal)
    }
    if (result.done === true) ended = true
    else if (result.value instanceof Uint8Array) piece = result.value
    else throw new ArtifactHubError('INVALID_ARGUMENT', 'The source yielded something that is not a Uint8Array')
  }

  return {
    async fill(into) {
      let filled = 0
      while (filled < into.length) {
        if (piece.length === 0) {
          if (ended) break
          await next()
          continue
        }
        const part = piece.subarray(0, into.length - filled)
        into.set(part, filled)
        filled += part.length
        piece = piece.subarray(part.length)
      }
      return filled
    },
    async close() {
      if (ended) return
      ended = true
      const returned = Promise.resolve(iterator.return?.()).catch(() => {})
      // A generator stuck in its own await answers only after it: waiting for that could take for ever.
      if (!pending) await returned
    },
  }
}

function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason)
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

function sourceError(error: unknown, signal: AbortSignal): unknown {
  const isAbort = signal.aborted && error === signal.reason
  if (isAbort || isHubError(error) || (error instanceof Error && error.name === 'AbortError')) return error
  return new ArtifactHubError('SOURCE_FAILED', 'The data to store could not be read', { cause: error })
}
