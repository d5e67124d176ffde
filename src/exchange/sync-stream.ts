import { ArtifactHubError, isHubError } from '../errors.ts'
import {
  maxSyncBytesUnderWay,
  maxSyncFrameBytes,
  syncBatchBytes,
  syncBatchMs,
  syncFrameTimeoutMs,
  syncPushIdleMs,
} from '../limits.ts'
import type { Misbehaviour, PeerNetwork, PeerStream } from './peer-network.ts'
import { release } from './release.ts'
import type { Scheduler } from './scheduler.ts'
import { decodeSyncMessage, encodeSyncMessage, type SyncMessage } from './sync-codec.ts'

const lengthBytes = 4

/** What a sync stream needs beside the stream. */
export interface SyncStreamOptions {
  readonly network: Pick<PeerNetwork, 'penalise'>
  readonly scheduler: Scheduler
  readonly signal?: AbortSignal | undefined
}

/**
 * Sync messages over a stream of bytes: a frame is its length (u32, big-endian) and then the message. Never more than one
 * frame is buffered. A frame that is not taken, or does not come whole, within its time ends the stream: a peer that trickles
 * is no better than a silent one. One that was sent entries may be late for as long as it may need to take them in, all frames together. `end` is called on every path.
 */
export class SyncStream {
  /** The agent at the other end. */
  readonly agent: Uint8Array
  readonly #stream: PeerStream
  readonly #options: SyncStreamOptions
  readonly #ended = new AbortController()
  readonly #onAbort: () => void
  /** What the stream gave last, and how many bytes of it were taken. */
  #piece: Uint8Array | undefined
  #begun = 0
  /** Of frames of entries, sent since the other side was last heard, less those for which it was late. */
  #underWayBytes = 0
  /** Bytes of frames, both ways. */
  readonly traffic = { sentBytes: 0, receivedBytes: 0 }

  constructor(stream: PeerStream, options: SyncStreamOptions) {
    this.agent = stream.agent
    this.#stream = stream
    this.#options = options
    this.#onAbort = () => this.#ended.abort(options.signal?.reason)
    if (options.signal?.aborted === true) this.#onAbort()
    else options.signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** Aborted with the reason when the round is, or when the other side was too slow. */
  get signal(): AbortSignal {
    return this.#ended.signal
  }

  /** @throws UNAVAILABLE when the stream is cut or nobody takes the frame in time; the signal's reason */
  async send(message: SyncMessage): Promise<void> {
    const payload = encodeSyncMessage(message)
    const frame = new Uint8Array(lengthBytes + payload.length)
    new DataView(frame.buffer).setUint32(0, payload.length)
    frame.set(payload, lengthBytes)
    await this.#inTime(() => this.#stream.write(frame, { signal: this.signal }))
    if (message.type === 'entries')
      this.#underWayBytes = Math.min(maxSyncBytesUnderWay, this.#underWayBytes + frame.length)
    this.traffic.sentBytes += frame.length
  }

  /**
   * The next message; `undefined` when the other side has ended.
   * @param options.mayIdle a silent other side is not held against it, though it ends the stream after longer
   * @throws CORRUPT, TOO_LARGE for what no honest peer sends (it is held against this one); UNSUPPORTED_FORMAT; UNAVAILABLE; the signal's reason
   */
  async receive({ mayIdle = false }: { mayIdle?: boolean } = {}): Promise<SyncMessage | undefined> {
    const take = async () => {
      const header = await this.#take(lengthBytes)
      if (header === undefined) return undefined
      const length = new DataView(header.buffer, header.byteOffset).getUint32(0)
      if (length > maxSyncFrameBytes) this.misbehaved('bad-frame', `a frame of ${length} bytes`)
      const payload = await this.#take(length)
      if (payload === undefined) throw cut()
      this.traffic.receivedBytes += lengthBytes + length
      this.#underWayBytes = 0
      try {
        return decodeSyncMessage(payload)
      } catch (error) {
        if (!isHubError(error, 'UNSUPPORTED_FORMAT')) this.#options.network.penalise(this.agent, 'bad-frame')
        throw error
      } finally {
        // What was decoded shares no memory with it.
        release(payload)
      }
    }
    return await this.#inTime(take, mayIdle)
  }

  /** As `receive`, of one of these types: anything else is held against the peer. */
  async expect<T extends SyncMessage['type']>(...types: readonly T[]): Promise<SyncMessage & { type: T }> {
    const message = await this.receive()
    if (message === undefined) throw cut()
    if (!(types as readonly string[]).includes(message.type))
      this.misbehaved('bad-frame', `${message.type} where ${types.join(' or ')} was due`)
    return message as SyncMessage & { type: T }
  }

  /** Holds it against the peer. @throws CORRUPT */
  misbehaved(kind: Misbehaviour, why: string): never {
    this.#options.network.penalise(this.agent, kind)
    throw new ArtifactHubError('CORRUPT', `the other agent sent ${why}`, { details: { misbehaviour: kind } })
  }

  /** Tells the other side that nothing more comes from this one. */
  async closeWrite(): Promise<void> {
    await this.#stream.closeWrite()
  }

  /** Ends the stream: in order without an error, else, or when the signal is aborted, at once. Idempotent. */
  async end(error?: unknown): Promise<void> {
    this.#options.signal?.removeEventListener('abort', this.#onAbort)
    this.#piece = undefined
    const why: unknown = error ?? (this.signal.aborted ? this.signal.reason : undefined)
    if (why === undefined) await this.#inTime(() => this.#stream.close()).catch(() => {})
    else this.#stream.abort(why instanceof Error ? why : cut())
  }

  async #inTime<T>(work: () => Promise<T>, mayIdle = false): Promise<T> {
    this.signal.throwIfAborted()
    const { scheduler, network } = this.#options
    const late = (): void => {
      if (!mayIdle && this.#underWayBytes >= syncBatchBytes) {
        this.#underWayBytes -= syncBatchBytes
        stop = scheduler.setTimer(syncBatchMs, late)
        return
      }
      const tooSlow = new ArtifactHubError('UNAVAILABLE', 'the other agent made no progress', {
        details: { reason: 'too slow' },
      })
      if (!mayIdle) network.penalise(this.agent, 'too-slow')
      this.#ended.abort(tooSlow)
      this.#stream.abort(tooSlow)
    }
    let stop = scheduler.setTimer(mayIdle ? syncPushIdleMs : syncFrameTimeoutMs, late)
    try {
      return await work()
    } catch (error) {
      // A stream that was cut for its slowness says only that it was cut.
      this.signal.throwIfAborted()
      throw error
    } finally {
      stop()
    }
  }

  /** However short the pieces in which they come. @throws UNAVAILABLE when the stream ends within */
  async #take(count: number): Promise<Uint8Array | undefined> {
    const taken = new Uint8Array(count)
    for (let at = 0; at < count; ) {
      if (this.#piece === undefined) {
        this.#piece = await this.#stream.read({ signal: this.signal })
        this.#begun = 0
      }
      const piece = this.#piece
      if (piece === undefined) {
        if (at > 0) throw cut()
        return undefined
      }
      const part = piece.subarray(this.#begun, this.#begun + count - at)
      taken.set(part, at)
      at += part.length
      this.#begun += part.length
      if (this.#begun < piece.length) break
      this.#piece = undefined
      release(piece)
    }
    return taken
  }
}

function cut(): ArtifactHubError {
  return new ArtifactHubError('UNAVAILABLE', 'the other agent ended the stream too early', {
    details: { reason: 'cut' },
  })
}
