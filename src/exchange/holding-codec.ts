import { z } from 'zod'
import { artifactIdBytes, decodeCanonical, encodeCanonical } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { maxHoldingMessageBytes, maxHoldingWaitMs } from '../limits.ts'
import type { PeerStream } from './peer-network.ts'

/** The protocol by which agents ask each other what they hold. One question a stream. */
export const holdingProtocol = '/artifact-hub/holding/1'

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
}

const bytes = (length: number) => z.instanceof(Uint8Array).refine((value) => value.length === length)
const questionForm = z.strictObject({
  v: z.literal(0),
  ns: bytes(32),
  art: bytes(artifactIdBytes),
  root: bytes(32),
  wait: z.int().min(0).max(maxHoldingWaitMs),
})
const answerForm = z.strictObject({ v: z.literal(0), holds: z.enum(['all', 'part', 'none', 'denied']) })

/** Frame: u32 big-endian length ‖ canonical DAG-CBOR `{ v: 0, ns, art, root, wait }`. */
export function encodeQuestion({ namespace, artifact, root, waitMs }: HoldingQuestion): Uint8Array {
  return framed({ v: 0, ns: namespace, art: artifact, root, wait: waitMs })
}

/** Frame: u32 big-endian length ‖ canonical DAG-CBOR `{ v: 0, holds }`. */
export function encodeAnswer(holds: Holds | 'denied'): Uint8Array {
  return framed({ v: 0, holds })
}

/** @throws CORRUPT, TOO_LARGE for what no honest peer asks; UNAVAILABLE, the signal's reason */
export async function readQuestion(stream: PeerStream, signal: AbortSignal): Promise<HoldingQuestion> {
  const parsed = questionForm.safeParse(await readMessage(stream, signal))
  if (!parsed.success) throw malformed()
  const { ns, art, root, wait } = parsed.data
  return { namespace: ns, artifact: art, root, waitMs: wait }
}

/** @throws CORRUPT, TOO_LARGE for what no honest peer answers; UNAVAILABLE, the signal's reason */
export async function readAnswer(stream: PeerStream, signal: AbortSignal): Promise<Holds | 'denied'> {
  const parsed = answerForm.safeParse(await readMessage(stream, signal))
  if (!parsed.success) throw malformed()
  return parsed.data.holds
}

function framed(message: unknown): Uint8Array {
  const payload = encodeCanonical(message)
  const frame = new Uint8Array(4 + payload.length)
  new DataView(frame.buffer).setUint32(0, payload.length)
  frame.set(payload, 4)
  return frame
}

async function readMessage(stream: PeerStream, signal: AbortSignal): Promise<unknown> {
  let held = new Uint8Array(0)
  for (;;) {
    if (held.length >= 4) {
      const length = new DataView(held.buffer, held.byteOffset).getUint32(0)
      if (length > maxHoldingMessageBytes) throw new ArtifactHubError('TOO_LARGE', 'a message over its limit')
      if (held.length > 4 + length) throw malformed()
      if (held.length === 4 + length)
        return decodeCanonical(held.subarray(4), { maxBytes: maxHoldingMessageBytes, what: 'a message about holding' })
    }
    const more = await stream.read({ signal })
    if (more === undefined) throw new ArtifactHubError('UNAVAILABLE', 'the other agent ended the stream too early')
    if (held.length + more.length > 4 + maxHoldingMessageBytes) throw malformed()
    held = new Uint8Array(Buffer.concat([held, more]))
  }
}

function malformed(): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', 'a message about holding is not what it must be')
}
