import { toHex } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import { blockRefusalMs, maxHoldingQuestions, maxHoldingQuestionsOfAgent, syncFrameTimeoutMs } from '../limits.ts'
import { Gate } from './gate.ts'
import {
  encodeAnswer,
  encodeQuestion,
  type HoldingQuestion,
  type Holds,
  holdingProtocol,
  readAnswer,
  readQuestion,
} from './holding-codec.ts'
import { mayRead, type ReadableNamespace } from './may-read.ts'
import type { PeerNetwork, PeerStream } from './peer-network.ts'
import type { Scheduler } from './scheduler.ts'

/** A namespace about which may be asked what of it is held. */
export interface HeldNamespace extends ReadableNamespace {
  /** How much of the content with that root is durable here. */
  holds(artifact: Uint8Array, root: Uint8Array): Promise<Holds>
  /** Calls `listener` whenever there may be more of an artifact, until the returned function is called. */
  onMore(artifact: Uint8Array, listener: () => void): () => void
}

/** What is answered from. */
export interface ServeHoldingOptions {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  /** A namespace of this node by its id (32 bytes). */
  readonly lookup: (namespace: Uint8Array) => HeldNamespace | undefined
}

/** Answers until it is closed. */
export interface HoldingServer extends AsyncDisposable {
  /** Idempotent. */
  close(): Promise<void>
}

/** Tells members how much of a content is durable here. Strangers get one refusal, whatever they ask about, after one time. */
export function serveHolding({ network, scheduler, lookup }: ServeHoldingOptions): HoldingServer {
  const stop = new AbortController()
  const running = new Set<Promise<void>>()
  const ofAgent = new Map<string, number>()

  const answer = async (stream: PeerStream, signal: AbortSignal): Promise<void> => {
    const question = await inTime(scheduler, syncFrameTimeoutMs, signal, (timely) => readQuestion(stream, timely))
    const namespace = lookup(question.namespace)
    if (namespace === undefined || !mayRead(namespace, stream.agent)) {
      await elapsed(scheduler, blockRefusalMs, signal)
      await stream.write(encodeAnswer('denied'), { signal })
      return
    }
    const holds = await holdsWithin(namespace, question, scheduler, signal)
    // It may have been removed while it waited.
    const isMember = mayRead(lookup(question.namespace), stream.agent)
    await stream.write(encodeAnswer(isMember ? holds : 'denied'), { signal })
  }

  const serve = async (stream: PeerStream, signal: AbortSignal): Promise<void> => {
    const agent = toHex(stream.agent)
    const open = ofAgent.get(agent) ?? 0
    if (open >= maxHoldingQuestionsOfAgent || running.size >= maxHoldingQuestions) {
      if (open >= maxHoldingQuestionsOfAgent) network.penalise(stream.agent, 'flood')
      throw new ArtifactHubError('UNAVAILABLE', 'too many questions are open here')
    }
    ofAgent.set(agent, open + 1)
    try {
      await answer(stream, AbortSignal.any([signal, stop.signal]))
    } catch (error) {
      if (isHubError(error, 'CORRUPT') || isHubError(error, 'TOO_LARGE')) network.penalise(stream.agent, 'bad-frame')
      throw error
    } finally {
      const left = (ofAgent.get(agent) ?? 1) - 1
      if (left === 0) ofAgent.delete(agent)
      else ofAgent.set(agent, left)
    }
  }

  const unhandle = network.handle(holdingProtocol, async (stream, signal) => {
    const serving = serve(stream, signal)
    const settled = serving.catch(() => {})
    running.add(settled)
    void settled.finally(() => running.delete(settled))
    await serving
  })
  const close = async (): Promise<void> => {
    unhandle()
    stop.abort(new ArtifactHubError('CLOSED', 'this node is closing'))
    await Promise.all(running)
  }
  return { close, [Symbol.asyncDispose]: close }
}

/**
 * Asks an agent how much of a content is durable at its node. Resolves when it is all, or after `waitMs` with what it is then.
 * @throws ACCESS_DENIED when the other does not take this agent for a member, or lacks the namespace; UNAVAILABLE, CORRUPT; the signal's reason
 */
export async function askHolding(
  { network, scheduler, signal }: { network: PeerNetwork; scheduler: Scheduler; signal: AbortSignal },
  agent: Uint8Array,
  question: HoldingQuestion,
): Promise<Holds> {
  const stream = await network.open(agent, holdingProtocol, { signal })
  try {
    const answer = await inTime(scheduler, question.waitMs + syncFrameTimeoutMs, signal, async (timely) => {
      await stream.write(encodeQuestion(question), { signal: timely })
      await stream.closeWrite()
      return await readAnswer(stream, timely)
    })
    await stream.close()
    if (answer !== 'denied') return answer
  } catch (error) {
    stream.abort(error instanceof Error ? error : new Error(String(error)))
    throw error
  }
  throw new ArtifactHubError('ACCESS_DENIED', 'the other agent does not tell this one what it holds')
}

async function holdsWithin(
  namespace: HeldNamespace,
  { artifact, root, waitMs }: HoldingQuestion,
  scheduler: Scheduler,
  signal: AbortSignal,
): Promise<Holds> {
  const gate = new Gate()
  let changes = 0
  let isOver = waitMs === 0
  const more = (): void => {
    changes++
    gate.open()
  }
  const stopListening = namespace.onMore(artifact, more)
  const stopTimer = scheduler.setTimer(waitMs, () => {
    isOver = true
    gate.open()
  })
  try {
    for (;;) {
      const before = changes
      const holds = await namespace.holds(artifact, root)
      if (holds === 'all' || isOver) return holds
      if (changes === before) await gate.wait(signal)
      signal.throwIfAborted()
    }
  } finally {
    stopListening()
    stopTimer()
  }
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

async function elapsed(scheduler: Scheduler, delayMs: number, signal: AbortSignal): Promise<void> {
  const gate = new Gate()
  const stop = scheduler.setTimer(delayMs, () => gate.open())
  try {
    await gate.wait(signal)
  } finally {
    stop()
  }
}
