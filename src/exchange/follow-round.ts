import type { CapabilityClaims } from '../capability/index.ts'
import { bytesText, equalBytes } from '../encoding/index.ts'
import { afterOf, type RefusalReason } from './may-read.ts'
import type { SyncScope } from './sync-codec.ts'
import type { ReplicatedLog } from './sync-log.ts'
import type { SyncStream } from './sync-stream.ts'
import { receiveEntries, receiveVector, type SyncTally, sendVector, wantsOf } from './sync-transfer.ts'
import { viewOf } from './sync-view.ts'

/** What a round of an agent that is no member is run with. */
export interface FollowRoundOptions {
  /** Of which only some artifacts are here. */
  readonly log: ReplicatedLog
  readonly scope: SyncScope
  /** By what right: `presentation` is what shows it to that agent. */
  readonly claims: CapabilityClaims
  readonly presentation: Uint8Array
}

/** What it came to. */
export interface FollowOutcome extends Readonly<SyncTally> {
  readonly result: 'same' | 'exchanged' | 'denied'
  /** Why it was denied, if that was told; believed only once `evidence` was taken in and says so. */
  readonly reason: RefusalReason | undefined
  readonly evidence: readonly Uint8Array[]
  /** Entries that the other side has and that are still not held, as far as that shows: another round may bring them. */
  readonly lacking: number
}

/**
 * One round in which an agent that is no member gets what a capability lets it see. It brings nothing. Another may follow on the stream.
 *
 * @throws UNAVAILABLE when the other cannot be reached, is cut or too slow; CORRUPT for what no honest peer sends (held against
 * it); what the log throws; the signal's reason
 */
export async function runFollowRound(stream: SyncStream, options: FollowRoundOptions): Promise<FollowOutcome> {
  const { log, scope, claims, presentation } = options
  const view = viewOf(log, scope, { after: afterOf(claims), share: claims.jti })
  const tally: SyncTally = { stored: 0, known: 0, unlinked: 0 }
  const outcome = (more: Partial<FollowOutcome> & Pick<FollowOutcome, 'result'>): FollowOutcome => ({
    ...tally,
    reason: undefined,
    evidence: [],
    lacking: 0,
    ...more,
  })
  const hash = await view.hash()
  await stream.send({ type: 'hello', namespace: log.id, scope, hash, presentation })
  const answer = await stream.expect('denied', 'vector')
  if (answer.type === 'denied') return outcome({ result: 'denied', reason: answer.reason, evidence: answer.evidence })
  const wants = await wantsOf(log)
  if (answer.same && wants.length === 0) return outcome({ result: 'same' })
  const theirs = await receiveVector(stream, answer)
  const ours = theirs.same ? { rows: [], ids: [] } : await view.contents()
  await sendVector(stream, ours, { same: theirs.same, wants })
  await receiveEntries(stream, log, tally)
  await stream.send({ type: 'end', hash: await view.hash() })
  const done = await stream.expect('done')
  const held = new Set((await view.contents()).ids.map(bytesText))
  const lacking = theirs.same ? 0 : theirs.ids.filter((id) => !held.has(bytesText(id))).length
  // What came there during the round was not in what it showed.
  const hasMore = !equalBytes(done.hash, await view.hash())
  return outcome({ result: 'exchanged', lacking: Math.max(lacking, hasMore ? 1 : 0) })
}
