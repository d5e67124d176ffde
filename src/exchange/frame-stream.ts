import { ArtifactHubError } from '../errors.ts'
import { type FrameParts, frameForm, malformed, type RawFrame } from './frames.ts'
import type { PeerStream } from './peer-network.ts'
import { release } from './release.ts'

/** A part up to this many bytes goes out in one write with what is before it. */
const joinedBytes = 64 * 1024
/** Written at a time, so that progress on a slow stream is seen inside a block. Each takes ten steps of JavaScript and more. */
const writeBytes = 1024 * 1024
const prefixBytes = 5

type MemoryFor = (kind: RawFrame['kind'], length: number) => Uint8Array<ArrayBuffer> | undefined

/**
 * Cuts frames out of a stream. Holds one frame at most and what the stream gave last; a frame's length is judged before there
 * is memory for it.
 */
export class FrameReader {
  readonly #stream: PeerStream
  readonly #sender: 'asker' | 'server'
  readonly #memoryFor: MemoryFor | undefined
  #rest: Uint8Array = new Uint8Array(0)
  #receivedBytes = 0

  /** @param memoryFor where the body of a frame of that kind and length goes; without, or when it gives none, in memory of its own */
  constructor(stream: PeerStream, sender: 'asker' | 'server', memoryFor?: MemoryFor) {
    this.#stream = stream
    this.#sender = sender
    this.#memoryFor = memoryFor
  }

  /** Bytes that the stream gave so far, those of an unfinished frame too. */
  get receivedBytes(): number {
    return this.#stream.receivedBytes ?? this.#receivedBytes
  }

  /**
   * The next frame; `undefined` when the other side ended between two frames.
   * @throws TOO_LARGE, CORRUPT for a frame that cannot be; UNAVAILABLE when the stream was cut or ends inside a frame; the
   *   signal's reason
   */
  async next(signal: AbortSignal): Promise<RawFrame | undefined> {
    const prefix = fresh(prefixBytes)
    const got = await this.#fill(prefix, signal)
    if (got === 0) return undefined
    assertWhole(prefix, got)
    const view = new DataView(prefix.buffer)
    const lengthBytes = view.getUint32(0)
    if (lengthBytes < 1) throw malformed('an empty frame')
    const { kind, headBytes } = frameForm(this.#sender, view.getUint8(4), lengthBytes)
    const head = await this.#take(fresh(headBytes), signal)
    const bodyBytes = lengthBytes - 1 - headBytes
    const body = await this.#take(this.#memoryFor?.(kind, bodyBytes) ?? fresh(bodyBytes), signal)
    return { kind, head: new DataView(head.buffer), body }
  }

  async #take(bytes: Uint8Array<ArrayBuffer>, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    assertWhole(bytes, await this.#fill(bytes, signal))
    return bytes
  }

  /** @returns bytes that came, fewer than fit only if the other side ended */
  async #fill(bytes: Uint8Array, signal: AbortSignal): Promise<number> {
    let at = 0
    while (at < bytes.length) {
      const got = await this.#readInto(bytes.subarray(at), signal)
      if (got === 0) break
      at += got
    }
    return at
  }

  async #readInto(bytes: Uint8Array, signal: AbortSignal): Promise<number> {
    if (this.#stream.readInto !== undefined) {
      return await this.#stream.readInto(bytes, { signal })
    }
    if (this.#rest.length === 0) {
      const piece = await this.#more(signal)
      if (piece === undefined) return 0
      this.#rest = piece
    }
    const part = this.#rest.subarray(0, bytes.length)
    const { length } = part
    bytes.set(part)
    this.#rest = this.#rest.subarray(length)
    if (this.#rest.length === 0) release(part)
    return length
  }

  async #more(signal: AbortSignal): Promise<Uint8Array | undefined> {
    for (;;) {
      const piece = await this.#stream.read({ signal })
      if (piece === undefined) return undefined
      this.#receivedBytes += piece.length
      if (piece.length > 0) return piece
    }
  }
}

/** Not zeroed: every byte of it is written before it is read. */
function fresh(length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer as ArrayBuffer)
}

function assertWhole(bytes: Uint8Array, got: number): void {
  if (got < bytes.length) throw new ArtifactHubError('UNAVAILABLE', 'The stream ended inside a frame')
}

/** Puts frames on a stream, whole and in the order of the calls. */
export class FrameWriter {
  readonly #stream: PeerStream
  #turn: Promise<void> = Promise.resolve()
  #writes = 0

  constructor(stream: PeerStream) {
    this.#stream = stream
  }

  /** Writes that the stream took so far. */
  get writes(): number {
    return this.#writes
  }

  /** Resolves when more may be sent. @throws UNAVAILABLE when the stream ended; the signal's reason */
  write(frame: FrameParts, signal: AbortSignal): Promise<void> {
    const writing = this.#turn.then(() => this.#write(frame, signal))
    this.#turn = writing.catch(() => {})
    return writing
  }

  async #write([start, body]: FrameParts, signal: AbortSignal): Promise<void> {
    if (start === undefined) return
    if (body !== undefined && body.length > joinedBytes) {
      await this.#put(start, signal)
      for (let at = 0; at < body.length; at += writeBytes) {
        await this.#put(body.subarray(at, at + writeBytes), signal)
      }
      return
    }
    await this.#put(body === undefined ? start : Buffer.concat([start, body]), signal)
  }

  async #put(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    await this.#stream.write(bytes, { signal })
    this.#writes++
  }
}
