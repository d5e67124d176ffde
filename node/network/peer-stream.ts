import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface'
import { streamQueueBytes, streamWriteBytes } from '../../src/limits.ts'
import { cutError } from './cut-error.ts'
import { type OnStreamEnd, TransportStream } from './transport-stream.ts'

/** Pieces are put together up to this length. */
const joinedBytes = 4096

/**
 * A libp2p stream as the exchange sees it, with backpressure both ways. Reading never holds more than `streamQueueBytes` and
 * what yamux's window lets the other side have under way (twice `streamWindowBytes`), however long the reader takes. Bytes
 * given to `write` must not be changed afterwards: they are sent without a copy.
 */
export class LibP2pStream extends TransportStream {
  readonly #stream: Stream
  readonly #queue: Uint8Array[] = []
  #queuedBytes = 0
  /** What the last of the queue is in, if that was put together. */
  #joined = new Uint8Array(0)
  #resuming = false
  #told = false

  constructor(stream: Stream, agent: Uint8Array, onEnd: OnStreamEnd = () => {}) {
    // The other side may have said all it had to say while the protocol was being agreed upon.
    super(agent, stream.status === 'open' && stream.remoteWriteStatus === 'closed', onEnd)
    this.#stream = stream
    stream.addEventListener('message', this.#onMessage)
    stream.addEventListener('remoteCloseWrite', this.onRemoteEnd)
    stream.addEventListener('drain', this.onProgress)
    stream.addEventListener('close', this.#onClose)
    // Later, for whoever makes this does not have it yet.
    if (stream.status !== 'open')
      queueMicrotask(() => this.ended(stream.status === 'reset' ? 'reset' : 'connection-lost'))
  }

  /** `Stream.onDrain` of @libp2p/utils 7.4 waits for the first 'drain' only: hence a wait of our own. */
  protected needsDrain(): boolean {
    return this.#stream.writableNeedsDrain
  }

  protected async send(bytes: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    for (let at = 0; at < bytes.length; at += streamWriteBytes) {
      await this.writable(signal)
      try {
        this.#stream.send(bytes.subarray(at, at + streamWriteBytes))
      } catch (error) {
        throw this.failure ?? cutError('closed', error)
      }
    }
  }

  async read({ signal }: { signal?: AbortSignal | undefined } = {}): Promise<Uint8Array | undefined> {
    for (;;) {
      signal?.throwIfAborted()
      const bytes = this.#queue.shift()
      if (bytes !== undefined) {
        this.#queuedBytes -= bytes.length
        if (this.#queuedBytes <= streamQueueBytes / 2) this.#resume()
        return bytes
      }
      if (this.#resume() > 0) continue
      if (this.closed) throw this.failure ?? cutError('closed')
      if (this.remoteEnded && this.#stream.readBufferLength === 0) return undefined
      this.throwIfCut()
      await this.changed.wait(signal)
    }
  }

  /** `Stream.close` of @libp2p/utils 7 never settles when the stream is cut while it waits for what was sent to go out: 'close' comes before it looks for that again. */
  protected async endWrite(): Promise<void> {
    let isEnded = false
    let failure: Error | undefined
    const settle = (error?: unknown): void => {
      isEnded = error === undefined
      if (!isEnded) failure = cutError('reset', error)
      this.changed.open()
    }
    this.#stream.close().then(() => settle(), settle)
    while (!isEnded) {
      this.throwIfCut()
      if (failure !== undefined) throw failure
      await this.changed.wait(undefined)
    }
  }

  protected dropHeld(): void {
    this.#queue.length = 0
    this.#queuedBytes = 0
  }

  protected destroy(reason: Error): void {
    this.#stream.abort(reason)
  }

  readonly #onMessage = ({ data }: StreamMessageEvent): void => {
    if (this.closed) {
      this.discard(data.byteLength)
      return
    }
    for (const part of data instanceof Uint8Array ? [data] : data) this.#hold(part)
    this.#queuedBytes += data.byteLength
    this.#pauseIfFull()
    if (this.#told) return
    // The first bytes of a turn of the event loop wake the reader at once, the rest together: TLS brings them 16 KiB at a time.
    this.#told = true
    setImmediate(this.#onTurn)
    this.changed.open()
  }

  /** Short pieces that wait are put together: each by itself takes a hundred times its length, and many of them long to be taken off a queue. */
  #hold(part: Uint8Array): void {
    const last = this.#queue.at(-1)
    const length = (last?.length ?? joinedBytes) + part.length
    if (last === undefined || length > joinedBytes) {
      this.#queue.push(part)
      return
    }
    if (last.buffer !== this.#joined.buffer) {
      this.#joined = new Uint8Array(joinedBytes)
      this.#joined.set(last)
    }
    this.#joined.set(part, last.length)
    this.#queue[this.#queue.length - 1] = this.#joined.subarray(0, length)
  }

  readonly #onTurn = (): void => {
    this.#told = false
    if (this.#queue.length > 0) this.changed.open()
  }

  /** A pause inside `resume` is undone by libp2p when `resume` returns: it waits until then. */
  #pauseIfFull(): void {
    if (this.#resuming || this.#queuedBytes < streamQueueBytes || this.#stream.readStatus !== 'readable') return
    this.#stream.pause()
  }

  protected resumeReading(): void {
    this.#resume()
  }

  /** Takes what libp2p holds and lets the other side go on. @returns bytes taken */
  #resume(): number {
    if (this.#stream.readStatus !== 'paused') return 0
    const before = this.#queuedBytes
    this.#resuming = true
    try {
      this.#stream.resume()
    } catch {
      // Its connection is gone: what was held has been handed over, and 'close' says the rest.
    } finally {
      this.#resuming = false
    }
    const taken = this.#queuedBytes - before
    this.#pauseIfFull()
    return taken
  }

  readonly #onClose = ({ error, local }: StreamCloseEvent): void => {
    if (error !== undefined) this.ended(local === true ? 'connection-lost' : 'reset', error)
    else this.ended(this.remoteEnded && this.writeEnding ? undefined : 'connection-lost')
  }
}
