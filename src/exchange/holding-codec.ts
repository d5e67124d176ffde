import { z } from 'zod'
import { artifactIdBytes } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { maxHoldingMessageBytes, maxHoldingWaitMs, maxPresentationBytes } from '../limits.ts'
import type { QuestionProtocol } from './question.ts'

const formatVersion = 1

/** The protocol by which agents ask each other what they hold. */
export const holdingProtocol: QuestionProtocol = {
  name: '/artifact-hub/holding/1',
  version: formatVersion,
  maxQuestionBytes: maxHoldingMessageBytes + maxPresentationBytes,
  maxAnswerBytes: maxHoldingMessageBytes,
}

/** How much of a content is on a node's disk: `all` once every block of it, and the entry that names it, are durable. */
export type Holds = 'all' | 'part' | 'none'

/** What is asked. */
export interface HoldingQuestion {
  /** 32 bytes. */
  readonly namespace: Uint8Array
  /** 20 bytes. */
  readonly artifact: Uint8Array
  /** Digest of the content's root, 32 bytes. */
  readonly root: Uint8Array
  /** The answer comes once it is `all`, or after this long with what it is then. */
  readonly waitMs: number
  /** By what right, if not by a role: `encodePresentation`. */
  readonly presentation?: Uint8Array | undefined
}

const bytes = (length: number) => z.instanceof(Uint8Array).refine((value) => value.length === length)
const questionForm = z.strictObject({
  v: z.literal(formatVersion),
  ns: bytes(32),
  art: bytes(artifactIdBytes),
  root: bytes(32),
  wait: z.int().min(0).max(maxHoldingWaitMs),
  cap: z.nullable(z.instanceof(Uint8Array)),
})
const answerForm = z.strictObject({ v: z.literal(formatVersion), holds: z.enum(['all', 'part', 'none', 'denied']) })

/** `{ v: 1, ns, art, root, wait, cap }` */
export function questionMessage({ namespace, artifact, root, waitMs, presentation }: HoldingQuestion): unknown {
  return { v: formatVersion, ns: namespace, art: artifact, root, wait: waitMs, cap: presentation ?? null }
}

/** `{ v: 1, holds }` */
export function answerMessage(holds: Holds | 'denied'): unknown {
  return { v: formatVersion, holds }
}

/** @throws CORRUPT for what no honest peer asks */
export function readQuestion(message: unknown): HoldingQuestion {
  const parsed = questionForm.safeParse(message)
  if (!parsed.success) throw malformed()
  const { ns, art, root, wait, cap } = parsed.data
  return { namespace: ns, artifact: art, root, waitMs: wait, presentation: cap ?? undefined }
}

/** @throws CORRUPT for what no honest peer answers */
export function readAnswer(message: unknown): Holds | 'denied' {
  const parsed = answerForm.safeParse(message)
  if (!parsed.success) throw malformed()
  return parsed.data.holds
}

function malformed(): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', 'a message about holding is not what it must be')
}
