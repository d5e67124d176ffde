import { sha256 } from '../encoding/index.ts'
import type { PeerNetwork } from './peer-network.ts'
import type { Scheduler } from './scheduler.ts'
import type { OfferRow } from './sync-codec.ts'
import type { ReplicatedLog } from './sync-log.ts'
import { syncProtocol } from './sync-run.ts'
import { SyncStream } from './sync-stream.ts'

const encoder = new TextEncoder()
const offerDomain = encoder.encode('artifact-hub/offer/v1\0')
const stateDomain = encoder.encode('artifact-hub/offer-state/v1\0')
const hintDomain = encoder.encode('artifact-hub/hint/v1\0')
const stateBytes = 16

/**
 * How one agent offers a namespace to another: only who knows the id recognises it, and nobody can pass it on to a third. SHA-256
 * over the domain, the id, the lower and the higher public key.
 */
export function offerTag(namespace: Uint8Array, one: Uint8Array, other: Uint8Array): Uint8Array {
  const [lower, higher] = Buffer.compare(one, other) < 0 ? [one, other] : [other, one]
  return sha256(offerDomain, namespace, lower, higher)
}

/** What an offer says of the log: equal in two offers of one namespace when the logs are. The first 16 bytes of a SHA-256. */
export function offerState(tag: Uint8Array, vectorHash: Uint8Array): Uint8Array {
  return sha256(stateDomain, tag, vectorHash).slice(0, stateBytes)
}

/** The gossip topic of a namespace: 64 hex digits that tell nobody its id. */
export function hintTopic(namespace: Uint8Array): string {
  return Buffer.from(sha256(hintDomain, namespace)).toString('hex')
}

/** The row that offers a log to an agent. */
function offerRow(log: ReplicatedLog, from: Uint8Array, to: Uint8Array): OfferRow {
  const tag = offerTag(log.id, from, to)
  return { tag, state: offerState(tag, log.held.vectorHash) }
}

/**
 * Offers logs to an agent that has a role in each of them, and names those that it does not know and asks for: that is how it learns
 * of a grant. Resolves with the logs of which it has just the same, and those that it asks for.
 * @throws UNAVAILABLE, CORRUPT; the signal's reason
 */
export async function sendOffer(
  options: { network: PeerNetwork; scheduler: Scheduler; self: Uint8Array; signal: AbortSignal },
  agent: Uint8Array,
  logs: readonly ReplicatedLog[],
): Promise<{ readonly inStep: ReplicatedLog[]; readonly unknown: ReplicatedLog[] }> {
  const { network, self, signal } = options
  const stream = new SyncStream(await network.open(agent, syncProtocol, { signal }), options)
  try {
    await stream.send({ type: 'offer', rows: logs.map((log) => offerRow(log, self, agent)) })
    const { same, unknown } = await stream.expect('offered')
    const at = (index: number): ReplicatedLog =>
      logs[index] ?? stream.misbehaved('bad-frame', 'the index of a row that was not offered')
    const outcome = { inStep: same.map(at), unknown: unknown.map(at) }
    if (unknown.length > 0) {
      await stream.send({ type: 'names', namespaces: outcome.unknown.map(({ id }) => id) })
      await stream.closeWrite()
      await stream.receive()
    }
    await stream.end()
    return outcome
  } catch (error) {
    await stream.end(error)
    throw error
  }
}
