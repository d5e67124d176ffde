import type { TLSSocket } from 'node:tls'
import { streamQueueBytes } from '../../src/limits.ts'
import { cutError } from './cut-error.ts'
import { type OnStreamEnd, TransportStream } from './transport-stream.ts'

/** What `read` gives at most. */
const pieceBytes = 64 * 1024

/** Memory for bytes that nobody waits for is taken in pieces of this length at least, however short they come. */
const heldBytes = 256

/** Where bytes go that come next. */
interface Target {
  readonly bytes: Uint8Array
  filled: number
  /** When so many are there, who waits for them is woken. */
  readonly enough: number
}

/**
 * A stream that has a TLS connection to itself. An end of the other half is what TLS or TCP says: whoever must tell all from less
 * counts. Bytes that somebody waits for go straight to where they are wanted; of others no more than `streamQueueBytes` and what TLS
 * had decrypted are held, then TCP has the other side wait. Bytes given to `write` must not be changed until the other side has them.
 */
export class BulkStream extends TransportStream {
  readonly #socket: TLSSocket
  readonly #backlog: Uint8Array[] = []
  #backlogBytes = 0
  #target: Target | undefined
  #paused = false
  #told = false
  #receivedBytes = 0

  /** @param socket after its handshake; what it reads is handed to `received` */
  constructor(socket: TLSSocket, agent: Uint8Array, onEnd: OnStreamEnd = () => {}) {
    super(agent, socket.readableEnded, onEnd)
    this.#socket = socket
    socket.on('drain', this.onProgress)
    socket.on('finish', this.onProgress)
    socket.on('end', this.onRemoteEnd)
    socket.on('error', (error) => this.#lost(error))
    socket.on('close', this.#onClose)
    // Later, for whoever makes this does not have it yet.
    if (socket.destroyed) queueMicrotask(this.#onClose)
  }

  /** Whether the other side ended its half, or its connection ended. */
  get isRemoteEnded(): boolean {
    return this.remoteEnded
  }

  /** Takes bytes that came; they may be overwritten afterwards. @returns whether more may come, without `resume` being called */
  received(bytes: Uint8Array): boolean {
    if (this.closed) {
      this.discard(bytes.length)
      return true
    }
    this.#receivedBytes += bytes.length
    this.#hold(this.#place(bytes))
    this.#paused = this.#backlogBytes >= streamQueueBytes
    return !this.#paused
  }

  /** As much as fits where somebody waits for it. @returns the rest */
  #place(bytes: Uint8Array): Uint8Array {
    const target = this.#target
    if (target === undefined) return bytes
    const part = bytes.subarray(0, target.bytes.length - target.filled)
    target.bytes.set(part, target.filled)
    target.filled += part.length
    if (target.filled === target.bytes.length) {
      this.#target = undefined
      this.changed.open()
    } else if (target.filled >= target.enough) this.#tell()
    return bytes.subarray(part.length)
  }

  /** Keeps a copy. */
  #hold(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.#backlogBytes += bytes.length
    const last = this.#backlog.at(-1)
    const room = last === undefined ? 0 : last.buffer.byteLength - last.byteOffset - last.length
    const rest = bytes.subarray(room)
    if (last !== undefined && room > 0) {
      const longer = new Uint8Array(last.buffer, last.byteOffset, last.length + bytes.length - rest.length)
      longer.set(bytes.subarray(0, room), last.length)
      this.#backlog[this.#backlog.length - 1] = longer
    }
    if (rest.length === 0) return
    const fresh = new Uint8Array(Math.max(heldBytes, rest.length))
    fresh.set(rest)
    this.#backlog.push(fresh.subarray(0, rest.length))
  }

  /** Wakes a reader who takes what there is, once a turn of the event loop: TLS brings bytes 16 KiB at a time. */
  #tell(): void {
    if (this.#told) return
    this.#told = true
    setImmediate(() => {
      this.#told = false
      this.changed.open()
    })
  }

  get receivedBytes(): number {
    return this.#receivedBytes
  }

  async readInto(bytes: Uint8Array, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<number> {
    return await this.#readInto(bytes, bytes.length, signal)
  }

  async read({ signal }: { signal?: AbortSignal | undefined } = {}): Promise<Uint8Array | undefined> {
    signal?.throwIfAborted()
    const bytes = Buffer.allocUnsafeSlow(pieceBytes)
    const length = await this.#readInto(bytes, 1, signal)
    return length === 0 ? undefined : bytes.subarray(0, length)
  }

  /** Waits for `enough` bytes at least, unless the stream ends or the caller gives up before. */
  async #readInto(bytes: Uint8Array, enough: number, signal: AbortSignal | undefined): Promise<number> {
    const target: Target = { bytes, filled: this.#takeBacklog(bytes), enough }
    try {
      while (target.filled < enough) {
        const isOver = signal?.aborted === true || this.closed || this.remoteEnded || this.failure !== undefined
        // What came before would be lost.
        if (isOver && target.filled > 0) break
        signal?.throwIfAborted()
        if (this.closed) throw this.failure ?? cutError('closed')
        if (this.remoteEnded) return 0
        this.throwIfCut()
        this.#target = target
        await this.changed.wait(signal).catch(() => {})
      }
      return target.filled
    } finally {
      if (this.#target === target) this.#target = undefined
    }
  }

  #takeBacklog(bytes: Uint8Array): number {
    let at = 0
    for (let first = this.#backlog[0]; first !== undefined && at < bytes.length; first = this.#backlog[0]) {
      const part = first.subarray(0, bytes.length - at)
      bytes.set(part, at)
      at += part.length
      if (part.length === first.length) this.#backlog.shift()
      else this.#backlog[0] = first.subarray(part.length)
    }
    this.#backlogBytes -= at
    if (this.#paused && this.#backlogBytes <= streamQueueBytes / 2) this.resumeReading()
    return at
  }

  protected resumeReading(): void {
    this.#paused = false
    this.#socket.resume()
  }

  protected needsDrain(): boolean {
    return this.#socket.writableNeedDrain
  }

  protected async send(bytes: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    await this.writable(signal)
    this.#socket.write(bytes)
  }

  protected async endWrite(): Promise<void> {
    this.#socket.end()
    while (!this.#socket.writableFinished) {
      this.throwIfCut()
      await this.changed.wait(undefined)
    }
  }

  protected dropHeld(): void {
    this.#backlog.length = 0
    this.#backlogBytes = 0
  }

  protected destroy(): void {
    this.#socket.destroy()
  }

  readonly #onClose = (): void => {
    if (this.remoteEnded && this.#socket.writableFinished) this.ended(undefined)
    else this.#lost()
  }

  #lost(cause?: unknown): void {
    this.ended('connection-lost', cause)
    this.#socket.destroy()
  }
}
