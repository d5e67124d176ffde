import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import { TLSSocket } from 'node:tls'
import { ArtifactHubError } from '../../src/errors.ts'
import type { BodyMemory, Place } from './body-memory.ts'

/** Of either version of HTTP: Node gives those of HTTP/2 the same methods. */
export type RawRequest = IncomingMessage
export type RawResponse = ServerResponse & { readonly stream?: ServerHttp2Stream }

/** RFC 9113 section 7. */
const http2NoError = 0

/** Of an answer that is over: whether its client, or its connection, went away before all of it was handed to the system. */
export function wasCutOff({ stream, writableFinished }: RawResponse): boolean {
  // What was reset before anything was written counts as finished there.
  return stream === undefined ? !writableFinished : stream.aborted || stream.rstCode !== http2NoError
}

/** Handed to the client at a time when memory is short: what it has not taken of it cannot be freed. */
const sliceBytes = 64 * 1024

/** A body to send. */
export interface Body {
  /** Plaintext bytes of the content, `end` exclusive. */
  readonly start: number
  readonly end: number
  /** The content from an offset on, up to `end`: verified pieces in order. `aheadBytes` says how much to read ahead, from time to time. */
  readonly read: (start: number, aheadBytes: () => number) => AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined>
  readonly memory: BodyMemory
  /** Waits until so many bytes may go out. */
  readonly pace: (bytes: number) => Promise<void> | undefined
  /** A client that takes nothing for so long is given up, milliseconds. */
  readonly stalledMs: number
  /** Told that content goes out up to an offset; gives how far it may, from where on nothing ever may. Absent: all of it. */
  readonly claim?: ((end: number) => number) | undefined
  /** Told of bytes that were handed to the system. */
  readonly onSent: (bytes: number) => void
  readonly signal: AbortSignal
}

/**
 * Sends a body, having `begin` write the headers once its first bytes are there, so that what fails before that can be told.
 * Resolves when the last byte was handed over. What fails later leaves the answer unfinished: the caller destroys it.
 *
 * @throws what `read` throws; RATE_LIMITED when the client takes nothing; EXHAUSTED where no more may go out; the signal's reason
 */
export async function sendBody(response: RawResponse, body: Body, begin: () => void): Promise<void> {
  const { end, memory, pace, claim, signal } = body
  // HTTP/2 says that it has written what it still reads, and what encrypts may as well.
  const isPlain = response.stream === undefined && !(response.socket instanceof TLSSocket)
  let at = body.start
  let hasBegun = false
  // For bytes that were not sent because the place was given up.
  let paid = 0
  for (;;) {
    let obstacle: Promise<void> | undefined
    {
      using place = await memory.take(signal)
      pieces: for await (const piece of body.read(at, place.aheadBytes)) {
        if (!hasBegun) begin()
        hasBegun = true
        let isLent = false
        for (let done = 0; done < piece.length; ) {
          signal.throwIfAborted()
          // What encrypts keeps what it is handed until the client has it, and nothing says when it is through with it.
          const isTight = isPlain ? place.isTight() : place.isShared()
          const wanted = Math.min(piece.length - done, isTight ? sliceBytes : piece.length)
          const length = (claim?.(at + wanted) ?? at + wanted) - at
          if (length <= 0) throw await endedEarly(response, body)
          const part = isTight ? piece.slice(done, done + length) : piece.subarray(done, done + length)
          const due = Math.max(0, part.length - paid)
          paid = 0
          const wait = pace(due)
          if (wait !== undefined && (await isParked(place, wait))) {
            paid = part.length
            obstacle = wait
            if (!isLent) giveBack(piece)
            break pieces
          }
          isLent ||= !isTight
          const isTaken =
            isTight || !isPlain ? response.write(part) : response.write(part, (error) => error ?? giveBack(piece))
          done += part.length
          at += part.length
          body.onSent(part.length)
          if (isTaken) continue
          const drain = drained(response, body)
          if (await isParked(place, drain)) {
            obstacle = drain
            if (!isLent) giveBack(piece)
            break pieces
          }
        }
        if (!isLent) giveBack(piece)
      }
    }
    if (at >= end) break
    if (obstacle === undefined) throw new ArtifactHubError('INTERNAL', 'a content is not as long as its version says')
    await obstacle
  }
  if (!hasBegun) begin()
}

/** What went out before is to arrive. */
async function endedEarly(response: RawResponse, body: Body): Promise<ArtifactHubError> {
  if (response.writableNeedDrain) await drained(response, body)
  return new ArtifactHubError('EXHAUSTED', 'another part of the same download has taken over the rest')
}

/** Frees it now: the collector would let a hundred megabytes pile up, and take most of the time to find them. */
function giveBack(piece: Uint8Array<ArrayBuffer>): void {
  piece.buffer.transfer(0)
}

/** Waits for an obstacle to pass, unless the place is needed by others meanwhile: then it is still there. */
async function isParked(place: Place, obstacle: Promise<void>): Promise<boolean> {
  // Whoever waits for it is told; until then a failure must not count as unhandled.
  obstacle.catch(() => {})
  const { promise: parked, resolve: park } = Promise.withResolvers<true>()
  place.wait(() => park(true))
  try {
    return (await Promise.race([obstacle, parked])) === true
  } finally {
    place.resume()
  }
}

/** Resolves when the client has taken what it was given. */
function drained(response: RawResponse, { stalledMs, signal }: Pick<Body, 'stalledMs' | 'signal'>): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      clearTimeout(timer)
      response.removeListener('drain', onDrain)
      signal.removeEventListener('abort', onAbort)
    }
    const onDrain = (): void => {
      settle()
      resolve()
    }
    const onAbort = (): void => {
      settle()
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      settle()
      reject(new ArtifactHubError('RATE_LIMITED', 'the client takes nothing'))
    }, stalledMs)
    response.once('drain', onDrain)
    signal.addEventListener('abort', onAbort, { once: true })
  })
}
