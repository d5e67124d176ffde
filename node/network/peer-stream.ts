import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface'
import type { ArtifactHubError } from '../../src/errors.ts'
import { Gate } from '../../src/exchange/gate.ts'
import type { PeerStream } from '../../src/exchange/peer-network.ts'
import {
  streamFlushMs,
  streamLingerBytes,
  streamLingerMs,
  streamQueueBytes,
  streamWriteBytes,
} from '../../src/limits.ts'
import { type CutReason, cutError } from './cut-error.ts'

/**
 * A libp2p stream as the exchange sees it, with backpressure both ways. Reading never holds more than `streamQueueBytes` and
 * what yamux's window lets the other side have under way (twice `streamWindowBytes`), however long the reader takes. Bytes
 * given to `write` must not be changed afterwards: they are sent without a copy.
 */
export class LibP2pStream implements PeerStream {
  readonly agent: Uint8Array
  readonly #stream: Stream
  readonly #queue: Uint8Array[] = []
  /** Opened when something happened to the stream. */
  readonly #changed = new Gate()
  readonly #onEnd: (cut: Error | undefined) => void
  #queuedBytes = 0
  #remoteEnded: boolean
  #failure: ArtifactHubError | undefined
  #over = false
  #resuming = false
  #told = false
  #writing: Promise<void> = Promise.resolve()
  #closingWrite: Promise<void> | undefined
  #closing: Promise<void> | undefined
  /** Bytes thrown away since `close`; `undefined` while bytes are kept. */
  #discarded: number | undefined
  #linger: NodeJS.Timeout | undefined

  /** @param onEnd called once, when both sides are through or the stream was cut */
  constructor(stream: Stream, agent: Uint8Array, onEnd: (cut: Error | undefined) => void = () => {}) {
    this.agent = agent
    this.#stream = stream
    this.#onEnd = onEnd
    // The other side may have said all it had to say while the protocol was being agreed upon.
    this.#remoteEnded = stream.status === 'open' && stream.remoteWriteStatus === 'closed'
    stream.addEventListener('message', this.#onMessage)
    stream.addEventListener('remoteCloseWrite', this.#onRemoteEnd)
    stream.addEventListener('drain', this.#onDrain)
    stream.addEventListener('close', this.#onClose)
    // Later, for whoever makes this does not have it yet.
    if (stream.status !== 'open')
      queueMicrotask(() => this.#cut(stream.status === 'reset' ? 'reset' : 'connection-lost'))
  }

  async write(bytes: Uint8Array, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (this.#closingWrite !== undefined || this.#discarded !== undefined) throw this.#failure ?? cutError('closed')
    const turn = this.#writing.then(async () => {
      for (let at = 0; at < bytes.length; at += streamWriteBytes) {
        await this.#writable(signal)
        this.#send(bytes.subarray(at, at + streamWriteBytes))
      }
      await this.#writable(signal)
    })
    this.#writing = turn.catch(() => {})
    await turn
  }

  #send(bytes: Uint8Array): void {
    try {
      this.#stream.send(bytes)
    } catch (error) {
      throw this.#failure ?? cutError('closed', error)
    }
  }

  /** Its own wait for 'drain': `Stream.onDrain` of @libp2p/utils 7.4 waits for the first one only. */
  async #writable(signal: AbortSignal | undefined): Promise<void> {
    for (;;) {
      signal?.throwIfAborted()
      if (this.#failure !== undefined) throw this.#failure
      if (!this.#stream.writableNeedsDrain) return
      await this.#changed.wait(signal)
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
      if (this.#discarded !== undefined) throw this.#failure ?? cutError('closed')
      if (this.#remoteEnded && this.#stream.readBufferLength === 0) return undefined
      if (this.#failure !== undefined) throw this.#failure
      await this.#changed.wait(signal)
    }
  }

  async closeWrite(): Promise<void> {
    this.#closingWrite ??= this.#writing.then(async () => {
      if (this.#failure !== undefined) throw this.#failure
      try {
        await this.#stream.close()
      } catch (error) {
        throw this.#failure ?? cutError('reset', error)
      }
    })
    await this.#closingWrite
  }

  async close(): Promise<void> {
    this.#closing ??= this.#finish()
    await this.#closing
  }

  async #finish(): Promise<void> {
    this.#discarded = 0
    this.#queue.length = 0
    this.#queuedBytes = 0
    this.#changed.open()
    this.#resume()
    this.#abortAfter(streamFlushMs, 'the other side does not take what was sent')
    await this.closeWrite().catch(() => {})
    // yamux cannot tell the other side that nobody reads any more.
    this.#abortAfter(streamLingerMs, 'the other side did not end its half')
  }

  #abortAfter(milliseconds: number, why: string): void {
    clearTimeout(this.#linger)
    if (this.#over) return
    this.#linger = setTimeout(() => this.abort(new Error(why)), milliseconds)
    this.#linger.unref()
  }

  abort(reason: Error): void {
    if (this.#over) return
    this.#failure ??= cutError('aborted', reason)
    this.#queue.length = 0
    this.#queuedBytes = 0
    this.#stream.abort(reason)
    this.#end()
  }

  readonly #onMessage = ({ data }: StreamMessageEvent): void => {
    if (this.#discarded !== undefined) {
      this.#discarded += data.byteLength
      if (this.#discarded > streamLingerBytes) this.abort(new Error('the other side goes on after the end'))
      return
    }
    for (const part of data instanceof Uint8Array ? [data] : data) this.#queue.push(part)
    this.#queuedBytes += data.byteLength
    this.#pauseIfFull()
    if (this.#told) return
    // The first bytes of a turn of the event loop wake the reader at once, the rest together: TLS brings them 16 KiB at a time.
    this.#told = true
    setImmediate(this.#onTurn)
    this.#changed.open()
  }

  readonly #onTurn = (): void => {
    this.#told = false
    if (this.#queue.length > 0) this.#changed.open()
  }

  /** A pause inside `resume` is undone by libp2p when `resume` returns: it waits until then. */
  #pauseIfFull(): void {
    if (this.#resuming || this.#queuedBytes < streamQueueBytes || this.#stream.readStatus !== 'readable') return
    this.#stream.pause()
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

  readonly #onRemoteEnd = (): void => {
    this.#remoteEnded = true
    this.#changed.open()
  }

  readonly #onDrain = (): void => this.#changed.open()

  readonly #onClose = ({ error, local }: StreamCloseEvent): void => {
    if (error !== undefined) this.#cut(local === true ? 'connection-lost' : 'reset', error)
    else if (!this.#remoteEnded || this.#closingWrite === undefined) this.#cut('connection-lost')
    else this.#end()
  }

  #cut(reason: CutReason, cause?: unknown): void {
    this.#failure ??= cutError(reason, cause)
    this.#end()
  }

  #end(): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#linger)
    this.#changed.open()
    this.#onEnd(this.#failure)
  }
}
