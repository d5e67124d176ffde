import type { Writable } from 'node:stream'
import { ArtifactHubError } from '../../src/errors.ts'

/** Why a command stops when whoever reads its output went away: nothing is wrong, and nothing is said. */
export class OutputClosed extends Error {
  override readonly name = 'OutputClosed'
}

/**
 * Where results go. A write resolves when the stream has taken the bytes, which is the backpressure. A closed pipe calls
 * `onClosed` once, and fails this and every later write with `OutputClosed`.
 */
export class Output {
  readonly #stream: Writable
  #failure: Error | undefined

  constructor(stream: Writable, onClosed: (reason: OutputClosed) => void) {
    this.#stream = stream
    stream.on('error', (error) => {
      if (this.#failure === undefined) {
        this.#failure = writeFailure(error)
        if (this.#failure instanceof OutputClosed) onClosed(this.#failure)
      }
    })
  }

  /** @throws STORAGE_FULL, STORAGE_FAILED when the output is a file on a disk that fails; OutputClosed */
  async write(bytes: Uint8Array | string): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    await new Promise<void>((resolve, reject) => {
      this.#stream.write(bytes, (error) => (error ? reject(writeFailure(error)) : resolve()))
    })
  }
}

function writeFailure(error: NodeJS.ErrnoException): Error {
  if (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED') return new OutputClosed()
  const full = error.code === 'ENOSPC' || error.code === 'EDQUOT'
  return new ArtifactHubError(full ? 'STORAGE_FULL' : 'STORAGE_FAILED', `cannot write the output: ${error.message}`, {
    cause: error,
  })
}
