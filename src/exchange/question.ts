import { decodeCanonical, encodeCanonical, requireFormatVersion, toHex } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import { syncFrameTimeoutMs } from '../limits.ts'
import { Newcomers } from './newcomers.ts'
import { OpenCount } from './open-count.ts'
import type { PeerNetwork, PeerStream } from './peer-network.ts'
import type { Scheduler } from './scheduler.ts'
import { UnderWay } from './under-way.ts'

const lengthBytes = 4

/**
 * A protocol of one question and one answer a stream. Each is one frame: its length (u32, big-endian) ‖ a canonical DAG-CBOR map,
 * whose member `v` is the version of the protocol's messages.
 */
export interface QuestionProtocol {
  /** Its libp2p name. */
  readonly name: string
  /** The one version of its messages that is known. */
  readonly version: number
  /** Longest question and answer, bytes. */
  readonly maxQuestionBytes: number
  readonly maxAnswerBytes: number
}

/** How questions are answered. */
export interface AnswerOptions {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  /** Questions that are open at once, of one agent and in all: more of one agent is held against it. */
  readonly maxOfAgent: number
  readonly maxInAll: number
  /**
   * Answers one question, which is decoded, of the right version, and nothing more.
   * @throws CORRUPT, TOO_LARGE for what no honest peer asks: held against it
   */
  readonly answer: (question: unknown, agent: Uint8Array, signal: AbortSignal) => Promise<unknown>
}

/** Answers until it is closed. */
export interface QuestionServer extends AsyncDisposable {
  /** Ends what is being answered; resolves when nothing of it runs any more. Idempotent. */
  close(): Promise<void>
}

/** Answers the questions of one protocol, in bounded number and memory. */
export function answerQuestions(protocol: QuestionProtocol, options: AnswerOptions): QuestionServer {
  const { network, scheduler, maxOfAgent, maxInAll } = options
  const stop = new AbortController()
  const running = new UnderWay()
  const open = new OpenCount()
  const newcomers = new Newcomers()

  const answer = async (stream: PeerStream, signal: AbortSignal): Promise<void> => {
    const question = await inTime(scheduler, syncFrameTimeoutMs, signal, (timely) =>
      asked((own) => readMessage(stream, protocol, protocol.maxQuestionBytes, AbortSignal.any([timely, own]))),
    )
    const answer = await options.answer(question, stream.agent, signal)
    await inTime(scheduler, syncFrameTimeoutMs, signal, (timely) => stream.write(framed(answer), { signal: timely }))
  }

  /** Who has not asked yet makes room for others. */
  const asked = async <T>(read: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    const own = newcomers.add()
    try {
      return await read(own.signal)
    } finally {
      own.settle()
    }
  }

  const serve = async (stream: PeerStream, signal: AbortSignal): Promise<void> => {
    const agent = toHex(stream.agent)
    const full = new ArtifactHubError('UNAVAILABLE', 'too many questions are open here')
    if (open.of(agent) >= maxOfAgent) {
      network.penalise(stream.agent, 'flood')
      throw full
    }
    if (running.size >= maxInAll && !newcomers.makeRoom(full)) throw full
    const done = open.add(agent)
    try {
      await answer(stream, AbortSignal.any([signal, stop.signal]))
    } catch (error) {
      if (isHubError(error, 'CORRUPT') || isHubError(error, 'TOO_LARGE')) network.penalise(stream.agent, 'bad-frame')
      throw error
    } finally {
      done()
    }
  }

  const unhandle = network.handle(protocol.name, (stream, signal) => running.add(serve(stream, signal)))
  const close = async (): Promise<void> => {
    unhandle()
    stop.abort(new ArtifactHubError('CLOSED', 'this node is closing'))
    await running.ended()
  }
  return { close, [Symbol.asyncDispose]: close }
}

/** What a question is asked with. */
export interface AskOptions {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  readonly signal: AbortSignal
}

/**
 * Asks an agent one question.
 *
 * @param waitMs how long the other side may think beyond the time that a frame takes
 * @returns the answer, decoded, of the right version, and nothing more
 * @throws UNAVAILABLE, CORRUPT, TOO_LARGE, UNSUPPORTED_FORMAT; the signal's reason
 */
export async function askQuestion(
  protocol: QuestionProtocol,
  { network, scheduler, signal }: AskOptions,
  agent: Uint8Array,
  question: unknown,
  waitMs = 0,
): Promise<unknown> {
  const stream = await network.open(agent, protocol.name, { signal })
  try {
    const answer = await inTime(scheduler, waitMs + syncFrameTimeoutMs, signal, async (timely) => {
      await stream.write(framed(question), { signal: timely })
      await stream.closeWrite()
      return await readMessage(stream, protocol, protocol.maxAnswerBytes, timely)
    })
    await stream.close()
    return answer
  } catch (error) {
    stream.abort(error instanceof Error ? error : new Error(String(error)))
    throw error
  }
}

function framed(message: unknown): Uint8Array {
  const payload = encodeCanonical(message)
  const frame = new Uint8Array(lengthBytes + payload.length)
  new DataView(frame.buffer).setUint32(0, payload.length)
  frame.set(payload, lengthBytes)
  return frame
}

async function readMessage(
  stream: PeerStream,
  { version }: QuestionProtocol,
  maxBytes: number,
  signal: AbortSignal,
): Promise<unknown> {
  const start = new Uint8Array(lengthBytes)
  let payload: Uint8Array | undefined
  let held = 0
  // However short they are, no piece is kept.
  const take = (piece: Uint8Array): void => {
    for (let rest = piece; rest.length > 0; ) {
      const into: Uint8Array = payload ?? start
      if (held === into.length) throw malformed()
      const part = rest.subarray(0, into.length - held)
      into.set(part, held)
      held += part.length
      rest = rest.subarray(part.length)
      if (payload !== undefined || held < lengthBytes) continue
      const length = new DataView(start.buffer).getUint32(0)
      if (length > maxBytes) throw new ArtifactHubError('TOO_LARGE', 'a message over its limit')
      payload = new Uint8Array(length)
      held = 0
    }
  }
  while (payload === undefined || held < payload.length) {
    const piece = await stream.read({ signal })
    if (piece === undefined) throw new ArtifactHubError('UNAVAILABLE', 'the other agent ended the stream too early')
    take(piece)
  }
  const message = decodeCanonical(payload, { maxBytes, what: 'a message' })
  requireFormatVersion((message as { v?: unknown } | null)?.v, version, 'a message of another agent')
  return message
}

async function inTime<T>(
  scheduler: Scheduler,
  timeoutMs: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController()
  const stop = scheduler.setTimer(timeoutMs, () => {
    late.abort(
      new ArtifactHubError('UNAVAILABLE', 'the other agent does not answer', { details: { reason: 'too slow' } }),
    )
  })
  try {
    return await work(AbortSignal.any([signal, late.signal]))
  } finally {
    stop()
  }
}

function malformed(): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', 'a message is not what it must be')
}
