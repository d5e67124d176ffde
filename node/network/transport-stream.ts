import type { ArtifactHubError } from '../../src/errors.ts'
import { Gate } from '../../src/exchange/gate.ts'
import type { PeerStream } from '../../src/exchange/peer-network.ts'
import { streamFlushMs, streamLingerBytes, streamLingerMs } from '../../src/limits.ts'
import { type CutReason, cutError } from './cut-error.ts'

interface Abortable {
  signal?: AbortSignal | undefined
}

/** Called once, when both sides of a stream are through or it was cut, with why. */
export type OnStreamEnd = (cut: Error | undefined) => void

/**
 * How a stream begins, waits and ends, whatever carries it: writing in turns, backpressure, two halves, and a bounded patience with
 * a side that goes on after this one closed. What carries it extends this, says what happened to it and does what it is asked.
 */
export abstract class TransportStream implements PeerStream {
  readonly agent: Uint8Array
  /** Opened when something happened to the stream. */
  protected readonly changed = new Gate()
  protected remoteEnded: boolean
  protected failure: ArtifactHubError | undefined
  readonly #onEnd: OnStreamEnd
  #over = false
  #writing: Promise<void> = Promise.resolve()
  #closingWrite: Promise<void> | undefined
  #closing: Promise<void> | undefined
  /** Bytes thrown away since `close`; `undefined` while bytes are kept. */
  #discarded: number | undefined
  #linger: NodeJS.Timeout | undefined

  protected constructor(agent: Uint8Array, remoteEnded: boolean, onEnd: OnStreamEnd) {
    this.agent = agent
    this.remoteEnded = remoteEnded
    this.#onEnd = onEnd
  }

  abstract read(options?: Abortable): Promise<Uint8Array | undefined>

  /** Whether the carrier wants no more bytes until `changed` opens. */
  protected abstract needsDrain(): boolean
  /** Hands bytes to the carrier, with `writable` between pieces. */
  protected abstract send(bytes: Uint8Array, signal: AbortSignal | undefined): Promise<void>
  /** Ends this half; resolves when the carrier has sent all. */
  protected abstract endWrite(): Promise<void>
  /** Forgets bytes that nobody has read. */
  protected abstract dropHeld(): void
  /** Lets bytes come again after the carrier was paused. */
  protected abstract resumeReading(): void
  /** Ends the carrier at once. */
  protected abstract destroy(reason: Error): void

  async write(bytes: Uint8Array, { signal }: Abortable = {}): Promise<void> {
    if (this.#closingWrite !== undefined || this.closed) throw this.failure ?? cutError('closed')
    const turn = this.#writing.then(async () => {
      await this.send(bytes, signal)
      await this.writable(signal)
    })
    this.#writing = turn.catch(() => {})
    await turn
  }

  protected async writable(signal: AbortSignal | undefined): Promise<void> {
    for (;;) {
      signal?.throwIfAborted()
      this.throwIfCut()
      if (!this.needsDrain()) return
      await this.changed.wait(signal)
    }
  }

  protected throwIfCut(): void {
    if (this.failure !== undefined) throw this.failure
  }

  async closeWrite(): Promise<void> {
    this.#closingWrite ??= this.#writing.then(async () => {
      this.throwIfCut()
      await this.endWrite()
    })
    await this.#closingWrite
  }

  async close(): Promise<void> {
    this.#closing ??= this.#finish()
    await this.#closing
  }

  async #finish(): Promise<void> {
    this.#discarded = 0
    this.dropHeld()
    this.changed.open()
    this.resumeReading()
    this.#abortAfter(streamFlushMs, 'the other side does not take what was sent')
    await this.closeWrite().catch(() => {})
    // Neither yamux nor TLS can tell the other side that nobody reads any more.
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
    this.dropHeld()
    this.ended('aborted', reason)
    this.destroy(reason)
  }

  /** Whether `close` was called: nothing can be read any more. */
  protected get closed(): boolean {
    return this.#discarded !== undefined
  }

  /** Throws away bytes that came after `close`, and cuts the stream when they go on. */
  protected discard(length: number): void {
    this.#discarded = (this.#discarded ?? 0) + length
    if (this.#discarded > streamLingerBytes) this.abort(new Error('the other side goes on after the end'))
  }

  protected readonly onProgress = (): void => this.changed.open()

  protected readonly onRemoteEnd = (): void => {
    this.remoteEnded = true
    this.changed.open()
  }

  /** Whether this half has ended, or will once all is sent. */
  protected get writeEnding(): boolean {
    return this.#closingWrite !== undefined
  }

  /** The carrier is through: to be called when it closed, with why when one of the halves had not ended. */
  protected ended(cut: CutReason | undefined, cause?: unknown): void {
    if (cut !== undefined) this.failure ??= cutError(cut, cause)
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#linger)
    this.changed.open()
    this.#onEnd(this.failure)
  }
}
