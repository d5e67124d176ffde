import type { CapabilityClaims } from '../capability/index.ts'
import { equalBytes, sha256 } from '../encoding/index.ts'
import { maxFollowsInFrame, maxIdsOfFollows } from '../limits.ts'
import { afterOf } from './may-read.ts'
import { type FollowMessageRow, frameRoomBytes, roomOfFollow } from './sync-codec.ts'
import type { ReplicatedLog } from './sync-log.ts'
import type { SyncStream } from './sync-stream.ts'
import { receiveEntries, type SyncTally, sendVector, wantsOf } from './sync-transfer.ts'
import { ArtifactView } from './sync-view.ts'

/** Something to ask about, and the right to it. */
export interface FollowItem {
  readonly scope: FollowMessageRow['scope']
  readonly claims: CapabilityClaims
  /** What shows the right to that agent. */
  readonly presentation: Uint8Array
}

/** What one message about several items came to. */
export interface FollowBatchOutcome extends Readonly<SyncTally> {
  /** How many of the items it was about, from the first on: as many as there was room for. */
  readonly asked: number
  /** Indexes of those that are not served. */
  readonly denied: ReadonlySet<number>
  /** Indexes of those that are not in step yet, as far as that shows: another round may bring what is lacking. */
  readonly lacking: ReadonlySet<number>
}

/**
 * One round in which an agent that is no member gets what capabilities let it see of a namespace, as many at a time as one message names. It brings
 * nothing. Another may follow on the stream.
 *
 * @param log of which only some artifacts are here
 * @param items at least one
 * @throws UNAVAILABLE when the other cannot be reached, is cut or too slow; CORRUPT for what no honest peer sends (held against
 * it); what the log throws; the signal's reason
 */
export async function runFollowBatch(
  stream: SyncStream,
  log: ReplicatedLog,
  items: readonly FollowItem[],
): Promise<FollowBatchOutcome> {
  const tally: SyncTally = { stored: 0, known: 0, unlinked: 0 }
  const auth = await log.held.authIds()
  const asked = await someOf(log, items)
  const rows = asked.map(
    ({ item: { scope, presentation }, ids }): FollowMessageRow => ({ scope, hash: sha256(...ids), presentation }),
  )
  await stream.send({ type: 'follow', namespace: log.id, authHash: auth.hash, rows })
  const { same, differ, denied } = await stream.expect('followed')
  const refused = new Set(denied)
  if ([...differ, ...denied].some((at) => at >= rows.length) || differ.some((at) => refused.has(at)))
    stream.misbehaved('bad-frame', 'an answer about what was not asked')
  const outcome = (lacking: Iterable<number>): FollowBatchOutcome => ({
    ...tally,
    asked: rows.length,
    denied: refused,
    lacking: new Set(lacking),
  })
  if (refused.size === rows.length) return outcome([])
  const wants = await wantsOf(log)
  const isSame = same && differ.length === 0
  if (isSame && wants.length === 0) return outcome([])
  const ids = [...(same ? [] : auth.ids), ...differ.flatMap((at) => asked[at]?.ids ?? [])]
  await sendVector(stream, { rows: [], ids: isSame ? [] : ids }, { same: isSame, wants })
  await receiveEntries(stream, log, tally)
  await stream.send({ type: 'end', hash: (await log.held.authIds()).hash })
  const done = await stream.expect('done')
  const views = differ.flatMap((at) => asked[at]?.view ?? [])
  const isThrough = equalBytes(done.hash, await batchHash(log, views))
  const served = rows.flatMap((_, at) => (refused.has(at) ? [] : [at]))
  if (!isThrough) return outcome(same ? differ : served)
  // What came may have taken entries out of what was the same on both sides.
  const settled = new Set(differ)
  const moved: number[] = []
  for (const at of same ? [] : served) {
    const { view } = asked[at] as (typeof asked)[number]
    const isOther = !settled.has(at) && !equalBytes((rows[at] as FollowMessageRow).hash, sha256(...(await view.ids())))
    if (isOther) moved.push(at)
  }
  return outcome(moved)
}

/** What a round came to, for both sides to compare: SHA-256 over that of the entries that say who may do what, and of each artifact that differed. */
export async function batchHash(log: ReplicatedLog, views: readonly ArtifactView[]): Promise<Uint8Array> {
  const hashes: Uint8Array[] = [(await log.held.authIds()).hash]
  for (const view of views) hashes.push(sha256(...(await view.ids())))
  return sha256(...hashes)
}

/** What of the log a capability lets its holder see in a scope, beside the entries that say who may do what. */
export function viewBy(log: ReplicatedLog, scope: FollowMessageRow['scope'], claims: CapabilityClaims): ArtifactView {
  return new ArtifactView(log, scope, { after: afterOf(claims), share: claims.jti })
}

/** As many as there is room for in one frame, and in the vector that may follow; at least one. */
async function someOf(log: ReplicatedLog, items: readonly FollowItem[]) {
  const some: { readonly item: FollowItem; readonly view: ArtifactView; readonly ids: readonly Uint8Array[] }[] = []
  let roomBytes = frameRoomBytes
  let roomIds = maxIdsOfFollows
  for (const item of items.slice(0, maxFollowsInFrame)) {
    roomBytes -= roomOfFollow(item)
    if (roomBytes < 0) break
    const view = viewBy(log, item.scope, item.claims)
    const ids = await view.ids()
    roomIds -= ids.length
    if (roomIds < 0 && some.length > 0) break
    some.push({ item, view, ids })
  }
  return some
}
