import { decodePresentation } from '../capability/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { blockRefusalMs, maxHoldingQuestions, maxHoldingQuestionsOfAgent } from '../limits.ts'
import { elapsed } from './elapsed.ts'
import { Gate } from './gate.ts'
import {
  answerMessage,
  type HoldingQuestion,
  type Holds,
  holdingProtocol,
  questionMessage,
  readAnswer,
  readQuestion,
} from './holding-codec.ts'
import { mayRead, type NamespaceRoots, readableRoot } from './may-read.ts'
import type { PeerNetwork } from './peer-network.ts'
import { type AskOptions, answerQuestions, askQuestion, type QuestionServer } from './question.ts'
import type { Scheduler } from './scheduler.ts'

/** A namespace about which may be asked what of it is held. */
export interface HeldNamespace extends NamespaceRoots {
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
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
}

/** Tells whoever may read it how much of a content is durable here. Strangers get one refusal, whatever they ask about, after one time. */
export function serveHolding({ network, scheduler, lookup, self }: ServeHoldingOptions): QuestionServer {
  const answer = async (message: unknown, agent: Uint8Array, signal: AbortSignal): Promise<unknown> => {
    const question = readQuestion(message)
    const { presentation, artifact, root } = question
    const presentations = presentation === undefined ? [] : [decodePresentation(presentation)]
    const mayAsk = async (): Promise<boolean> => {
      const asker = { agent, presentations, provider: self, nowMs: scheduler.now() }
      const at = lookup(question.namespace)
      // A member may ask about what is still to come.
      if (mayRead(at, { ...asker, presentations: [] }, { kind: 'namespace' }).allowed) return true
      return (await readableRoot(at, asker, artifact, root)) !== undefined
    }
    const namespace = lookup(question.namespace)
    if (namespace === undefined || !(await mayAsk())) {
      await elapsed(scheduler, blockRefusalMs, signal)
      return answerMessage('denied')
    }
    const holds = await holdsWithin(namespace, question, scheduler, signal)
    // It may have been removed while it waited.
    return answerMessage((await mayAsk()) ? holds : 'denied')
  }
  const bounds = { maxOfAgent: maxHoldingQuestionsOfAgent, maxInAll: maxHoldingQuestions }
  return answerQuestions(holdingProtocol, { network, scheduler, ...bounds, answer })
}

/**
 * Asks an agent how much of a content is durable at its node. Resolves when it is all, or after `waitMs` with what it is then.
 * @throws ACCESS_DENIED when the other does not take this agent for a member, or lacks the namespace; UNAVAILABLE, CORRUPT; the signal's reason
 */
export async function askHolding(options: AskOptions, agent: Uint8Array, question: HoldingQuestion): Promise<Holds> {
  const answer = readAnswer(
    await askQuestion(holdingProtocol, options, agent, questionMessage(question), question.waitMs),
  )
  if (answer !== 'denied') return answer
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
