import { z } from 'zod'
import { ArtifactHubError } from '../errors.ts'
import {
  blockRefusalMs,
  groupQuestionBurst,
  groupQuestionsPerSecond,
  groupTellCost,
  maxGroupQuestions,
  maxGroupQuestionsOfAgent,
  maxProofBytes,
  maxProofEntries,
} from '../limits.ts'
import type { ShownDescriptor } from '../namespace/index.ts'
import { elapsed } from './elapsed.ts'
import type { PeerNetwork } from './peer-network.ts'
import { type AskOptions, answerQuestions, askQuestion, type QuestionServer } from './question.ts'
import { Rates } from './rates.ts'
import type { Scheduler } from './scheduler.ts'

/** Room beside the entries of a proof: heads of byte strings, ids. */
const aroundProofBytes = 4 * 1024
const formatVersion = 1
const protocol = {
  name: '/artifact-hub/group/1',
  version: formatVersion,
  maxQuestionBytes: maxProofBytes + aroundProofBytes,
  maxAnswerBytes: maxProofBytes + aroundProofBytes,
}

const bytes32 = z.instanceof(Uint8Array).refine((value) => value.length === 32)
const proofForm = z.array(z.instanceof(Uint8Array)).min(1).max(maxProofEntries)
const questionForm = z.union([
  z.strictObject({ v: z.literal(formatVersion), ask: bytes32 }),
  z.strictObject({ v: z.literal(formatVersion), tell: bytes32, proof: proofForm }),
])
const answerForm = z.strictObject({ v: z.literal(formatVersion), proof: proofForm.nullable() })

/** What the descriptors of groups are served from, and where news of them go. */
export interface ServeGroupsOptions {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  /** The descriptor of a group (32 bytes) that this node's agent is in; `undefined` for any other. */
  readonly shown: (group: Uint8Array, asker: Uint8Array) => Promise<ShownDescriptor | undefined>
  /** An agent tells of a descriptor. Nothing of it was checked. @throws what holds it against that agent: CORRUPT, TOO_LARGE */
  readonly told: (descriptor: ShownDescriptor, from: Uint8Array) => Promise<void>
}

/**
 * Serves what anyone who knows a group's id may know of it: its descriptor and the proof. A group that is not here and one that nobody
 * has look alike, after one time. What agents tell of groups is handed on, at the rate at which proofs can be checked.
 */
export function serveGroups({ network, scheduler, shown, told }: ServeGroupsOptions): QuestionServer {
  const rates = new Rates(scheduler, { burst: groupQuestionBurst, perSecond: groupQuestionsPerSecond })
  return answerQuestions(protocol, {
    network,
    scheduler,
    maxOfAgent: maxGroupQuestionsOfAgent,
    maxInAll: maxGroupQuestions,
    answer: async (message, agent, signal) => {
      const parsed = questionForm.safeParse(message)
      if (!parsed.success) throw new ArtifactHubError('CORRUPT', 'a question about a group is not what it must be')
      const question = parsed.data
      if (!rates.take(agent, 'tell' in question ? groupTellCost : 1)) {
        network.penalise(agent, 'flood')
        throw new ArtifactHubError('UNAVAILABLE', 'too many questions about groups')
      }
      if ('tell' in question) {
        await told({ group: question.tell, proof: question.proof }, agent)
        return { v: formatVersion, proof: null }
      }
      const descriptor = await shown(question.ask, agent)
      if (descriptor === undefined) await elapsed(scheduler, blockRefusalMs, signal)
      return { v: formatVersion, proof: descriptor?.proof ?? null }
    },
  })
}

/**
 * Asks an agent for the descriptor of a group (32 bytes): what comes back is well formed, not proven. `undefined` when that agent's node does not have it.
 * @throws UNAVAILABLE, CORRUPT, TOO_LARGE; the signal's reason
 */
export async function askDescriptor(
  options: AskOptions,
  agent: Uint8Array,
  group: Uint8Array,
): Promise<ShownDescriptor | undefined> {
  const parsed = answerForm.safeParse(await askQuestion(protocol, options, agent, { v: formatVersion, ask: group }))
  if (!parsed.success) throw new ArtifactHubError('CORRUPT', 'an answer about a group is not what it must be')
  return parsed.data.proof === null ? undefined : { group, proof: parsed.data.proof }
}

/** Tells an agent of the descriptor of a group. @throws UNAVAILABLE, CORRUPT; the signal's reason */
export async function tellDescriptor(
  options: AskOptions,
  agent: Uint8Array,
  { group, proof }: ShownDescriptor,
): Promise<void> {
  await askQuestion(protocol, options, agent, { v: formatVersion, tell: group, proof })
}
