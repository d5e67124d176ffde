import type { TLSSocket } from 'node:tls'
import type { ArtifactHubError } from '../../src/errors.ts'
import { Gate } from '../../src/exchange/gate.ts'
import type { PeerStream } from '../../src/exchange/peer-network.ts'
import { streamFlushMs, streamLingerBytes, streamLingerMs, streamQueueBytes } from '../../src/limits.ts'
import { type CutReason, cutError } from './cut-error.ts'

/** What `read` gives at most. */
const pieceBytes = 64 * 1024

/** Memory for bytes that nobody waits for is taken in pieces of this length at least, however short they come. */
const heldBytes = 256

/** Where bytes go that come next. */
interface Target {
  readonly bytes: Uint8Array
  filled: number
}

/**
 * A stream that has a TLS connection to itself. An end of the other half is what TLS or TCP says: whoever must tell all from less
 * counts. Bytes that somebody waits for go straight to where they are wanted; of others no more than `streamQueueBytes` and what TLS
 * had decrypted are held, then TCP has the other side wait. Bytes given to `write` must not be changed until the other side has them.
 */
export class BulkStream implements PeerStream {
  readonly agent: Uint8Array
  readonly #socket: TLSSocket
  readonly #onEnd: (stream: BulkStream, cut: Error | undefined) => void
  readonly #backlog: Uint8Array[] = []
  /** Opened when something happened to the stream. */
  readonly #changed = new Gate()
  #backlogBytes = 0
  #target: Target | undefined
  #paused = false
  #told = false
  #remoteEnded: boolean
  #failure: ArtifactHubError | undefined
  #over = false
  #writing: Promise<void> = Promise.resolve()
  #closingWrite: Promise<void> | undefined
  #closing: Promise<void> | undefined
  /** Bytes thrown away since `close`; `undefined` while bytes are kept. */
  #discarded: number | undefined
  #linger: NodeJS.Timeout | undefined

  /**
   * @param socket after its handshake; what it reads is handed to `received`
   * @param onEnd called once, when both sides are through or the stream was cut
   */
  constructor(
    socket: TLSSocket,
    agent: Uint8Array,
    onEnd: (stream: BulkStream, cut: Error | undefined) => void = () => {},
  ) {
    this.agent = agent
    this.#socket = socket
    this.#onEnd = onEnd
    this.#remoteEnded = socket.readableEnded
    socket.on('drain', this.#onProgress)
    socket.on('end', this.#onRemoteEnd)
    socket.on('error', (error) => this.#cut('connection-lost', error))
    socket.on('close', this.#onClose)
    // Later, for whoever makes this does not have it yet.
    if (socket.destroyed) queueMicrotask(this.#onClose)
  }

  /** Takes bytes that came; they may be overwritten afterwards. @returns whether more may come, without `resume` being called */
  received(bytes: Uint8Array): boolean {
    if (this.#discarded !== undefined) {
      this.#discarded += bytes.length
      if (this.#discarded > streamLingerBytes) this.abort(new Error('the other side goes on after the end'))
      return true
    }
    this.#hold(this.#place(bytes))
    this.#tell()
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
      this.#changed.open()
    }
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

  /** Wakes the reader once a turn of the event loop: TLS brings bytes 16 KiB at a time. */
  #tell(): void {
    if (this.#told) return
    this.#told = true
    setImmediate(() => {
      this.#told = false
      this.#changed.open()
    })
  }

  async readInto(bytes: Uint8Array, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<number> {
    const held = this.#takeBacklog(bytes)
    if (held > 0) return held
    const target: Target = { bytes, filled: 0 }
    try {
      for (;;) {
        if (target.filled > 0) return target.filled
        signal?.throwIfAborted()
        if (this.#discarded !== undefined) throw this.#failure ?? cutError('closed')
        if (this.#remoteEnded) return 0
        if (this.#failure !== undefined) throw this.#failure
        this.#target = target
        // What came before the caller gave up would be lost.
        await this.#changed.wait(signal).catch((reason) => {
          if (target.filled === 0) throw reason
        })
      }
    } finally {
      if (this.#target === target) this.#target = undefined
    }
  }

  async read({ signal }: { signal?: AbortSignal | undefined } = {}): Promise<Uint8Array | undefined> {
    signal?.throwIfAborted()
    const bytes = Buffer.allocUnsafeSlow(pieceBytes)
    const length = await this.readInto(bytes, { signal })
    return length === 0 ? undefined : bytes.subarray(0, length)
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
    if (this.#paused && this.#backlogBytes <= streamQueueBytes / 2) this.#resume()
    return at
  }

  #resume(): void {
    this.#paused = false
    this.#socket.resume()
  }

  async write(bytes: Uint8Array, { signal }: { signal?: AbortSignal | undefined } = {}): Promise<void> {
    if (this.#closingWrite !== undefined || this.#discarded !== undefined) throw this.#failure ?? cutError('closed')
    const turn = this.#writing.then(async () => {
      await this.#writable(signal)
      this.#socket.write(bytes)
      await this.#writable(signal)
    })
    this.#writing = turn.catch(() => {})
    await turn
  }

  async #writable(signal: AbortSignal | undefined): Promise<void> {
    for (;;) {
      signal?.throwIfAborted()
      if (this.#failure !== undefined) throw this.#failure
      if (!this.#socket.writableNeedDrain) return
      await this.#changed.wait(signal)
    }
  }

  async closeWrite(): Promise<void> {
    this.#closingWrite ??= this.#writing.then(async () => {
      if (this.#failure !== undefined) throw this.#failure
      this.#socket.end()
      while (!this.#socket.writableFinished) {
        if (this.#failure !== undefined) throw this.#failure
        await this.#changed.wait(undefined)
      }
    })
    this.#socket.once('finish', this.#onProgress)
    await this.#closingWrite
  }

  async close(): Promise<void> {
    this.#closing ??= this.#finish()
    await this.#closing
  }

  async #finish(): Promise<void> {
    this.#discarded = 0
    this.#dropBacklog()
    this.#changed.open()
    this.#resume()
    this.#abortAfter(streamFlushMs, 'the other side does not take what was sent')
    await this.closeWrite().catch(() => {})
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
    this.#cut('aborted', reason)
  }

  readonly #onProgress = (): void => this.#changed.open()

  readonly #onRemoteEnd = (): void => {
    this.#remoteEnded = true
    this.#changed.open()
  }

  readonly #onClose = (): void => {
    if (this.#remoteEnded && this.#socket.writableFinished) this.#end()
    else this.#cut('connection-lost')
  }

  #cut(reason: CutReason, cause?: unknown): void {
    this.#failure ??= cutError(reason, cause)
    if (reason === 'aborted') this.#dropBacklog()
    this.#end()
    this.#socket.destroy()
  }

  #end(): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#linger)
    this.#changed.open()
    this.#onEnd(this, this.#failure)
  }

  #dropBacklog(): void {
    this.#backlog.length = 0
    this.#backlogBytes = 0
  }
}
