import { z } from 'zod'
import { ArtifactHubError } from '../errors.ts'
import { isAddress } from '../identity/index.ts'
import {
  maxEnvelopeBytes,
  maxEnvelopesInDelivery,
  maxInboxMessageBytes,
  maxInboxQuestions,
  maxInboxQuestionsOfAgent,
  maxTicketAddressBytes,
  maxTicketAddresses,
  maxTicketPeers,
  strangersDeliveries,
} from '../limits.ts'
import type { PeerNetwork } from './peer-network.ts'
import {
  type AskOptions,
  answerQuestions,
  askQuestion,
  type QuestionProtocol,
  type QuestionServer,
} from './question.ts'
import { Rates } from './rates.ts'
import type { KnownPeer } from './replicator.ts'
import type { Scheduler } from './scheduler.ts'

const formatVersion = 1

/** The protocol by which agents hand each other what was shared with them. */
const inboxProtocol: QuestionProtocol = {
  name: '/artifact-hub/inbox/1',
  version: formatVersion,
  maxQuestionBytes: maxInboxMessageBytes,
  maxAnswerBytes: 1024,
}

/** Envelopes (`src/capability`) for an agent, or for a group that it is in. All are about one namespace. */
export interface Delivery {
  /** As they were signed; 1 to 16. */
  readonly envelopes: readonly Uint8Array[]
  /** Id of the group that they are for, 32 bytes; absent: for the agent itself. */
  readonly group: Uint8Array | undefined
  /** Who has what they are about, as whoever delivers knows them. Nothing vouches for it. */
  readonly peers: readonly KnownPeer[]
}

/** What became of an envelope: it need not come again; there is no room for it now; it is nothing that is taken here. */
export type Receipt = 'taken' | 'full' | 'refused'

/** Where deliveries go. */
export interface ServeInboxOptions {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  /** Whether an agent may deliver at any rate: others are held to `strangersDeliveries`. */
  readonly isKnown: (agent: Uint8Array) => boolean
  /** Takes envelopes that anyone may have made; gives a receipt for each. */
  readonly receive: (delivery: Delivery, from: Uint8Array, signal: AbortSignal) => Promise<readonly Receipt[]>
}

const bytes = (min: number, max: number) =>
  z.instanceof(Uint8Array).refine((value) => value.length >= min && value.length <= max)
const peerForm = z.tuple([bytes(32, 32), z.array(z.string().max(maxTicketAddressBytes)).max(maxTicketAddresses)])
const deliveryForm = z.strictObject({
  v: z.literal(formatVersion),
  env: z.array(bytes(1, maxEnvelopeBytes)).min(1).max(maxEnvelopesInDelivery),
  group: bytes(32, 32).nullable(),
  peers: z.array(peerForm).max(maxTicketPeers),
})
const receipts: readonly Receipt[] = ['taken', 'full', 'refused']
const answerForm = z.strictObject({
  v: z.literal(formatVersion),
  taken: z.array(z.enum(receipts)).max(maxEnvelopesInDelivery),
})

/** Takes deliveries until it is closed. Whoever sends what cannot be a delivery, or too many at once, is penalised. */
export function serveInbox({ network, scheduler, isKnown, receive }: ServeInboxOptions): QuestionServer {
  const rates = new Rates(scheduler, strangersDeliveries)
  return answerQuestions(inboxProtocol, {
    network,
    scheduler,
    maxOfAgent: maxInboxQuestionsOfAgent,
    maxInAll: maxInboxQuestions,
    answer: async (question, from, signal) => {
      const parsed = deliveryForm.safeParse(question)
      if (!parsed.success) throw new ArtifactHubError('CORRUPT', 'a delivery is not what it must be')
      if (!isKnown(from) && !rates.take(from, 1)) {
        network.penalise(from, 'flood')
        throw new ArtifactHubError('UNAVAILABLE', 'too many deliveries')
      }
      const { env, group, peers } = parsed.data
      // What is none would be kept, and handed on, all the same.
      const known = peers.map(([agent, addresses]) => ({ agent, addresses: addresses.filter(isAddress) }))
      const delivery = { envelopes: env, group: group ?? undefined, peers: known }
      return { v: formatVersion, taken: await receive(delivery, from, signal) }
    },
  })
}

/**
 * Delivers to an agent. Gives a receipt for each envelope, in their order.
 * @throws UNAVAILABLE when it cannot be reached, CORRUPT; the signal's reason
 */
export async function deliver(
  options: AskOptions,
  agent: Uint8Array,
  { envelopes, group, peers }: Delivery,
): Promise<readonly Receipt[]> {
  const question = {
    v: formatVersion,
    env: envelopes,
    group: group ?? null,
    peers: peers.slice(0, maxTicketPeers).map((peer) => [peer.agent, peer.addresses.slice(0, maxTicketAddresses)]),
  }
  const answer = answerForm.safeParse(await askQuestion(inboxProtocol, options, agent, question))
  if (answer.success && answer.data.taken.length === envelopes.length) return answer.data.taken
  throw new ArtifactHubError('CORRUPT', 'an answer to a delivery is not what it must be')
}
