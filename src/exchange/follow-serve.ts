import { bytesText, equalBytes, sha256 } from '../encoding/index.ts'
import { blockRefusalMs } from '../limits.ts'
import { elapsed } from './elapsed.ts'
import { batchHash, viewBy } from './follow-batch.ts'
import { followedName } from './followed-scope.ts'
import { mayRead } from './may-read.ts'
import type { ServedStream } from './served-stream.ts'
import { type FollowMessage, isRound, type RoundMessage } from './sync-codec.ts'
import type { ReplicatedLog } from './sync-log.ts'
import { inTurn, noEntries, receiveVector, sendEntries, type TheirVector } from './sync-transfer.ts'
import type { ArtifactView } from './sync-view.ts'
import type { VectorShare } from './vector-room.ts'

const idBytes = 16

/** Something that an agent may follow and asked about. */
interface FollowedRow {
  readonly view: ArtifactView
  readonly mayStill: () => boolean
  /** It has other entries of it. */
  readonly isOther: boolean
}

/** A round about all that an agent shows a right to. Gives what `serveRound` gives. */
export async function serveFollow(
  served: ServedStream,
  message: FollowMessage,
  room: VectorShare,
): Promise<RoundMessage | 'ask' | undefined> {
  const { stream, newcomer, options, counters, denials, answers } = served
  const log = options.lookup(message.namespace)
  const rows: FollowedRow[] = []
  const [differ, denied]: [number[], number[]] = [[], []]
  const names = new Set<string>()
  for (const [at, { scope, hash, presentation: shown }] of message.rows.entries()) {
    // Each look costs the check of a signature.
    if (!denials.has(stream.agent)) {
      denied.push(at)
      continue
    }
    const asker = served.askerOf(shown)
    const permission = mayRead(log, asker, scope)
    const presentation = permission.allowed ? (permission.by ?? asker.presentations[0]) : undefined
    if (log === undefined || presentation === undefined) {
      denials.take(stream.agent, 1)
      denied.push(at)
      if (!permission.allowed && permission.by !== undefined) answers.refuse(permission.by.capability.claims.jti)
      continue
    }
    const name = followedName({ scope, presentation })
    if (names.has(name)) return stream.misbehaved('bad-frame', 'one thing asked for twice in one message')
    names.add(name)
    newcomer.settle()
    const view = viewBy(log, scope, presentation.capability.claims)
    const mayStill = (): boolean => mayRead(log, { ...asker, nowMs: served.now() }, scope).allowed
    // From here on it is told of what comes; what came just before is in the hash.
    options.onFollowed?.(log, stream.agent, { scope, presentation })
    served.gave(log, presentation, permission.by)
    const isOther = !equalBytes(hash, sha256(...(await view.ids())))
    if (isOther) differ.push(at)
    rows.push({ view, mayStill, isOther })
  }
  counters.denied += denied.length
  if (denied.length > 0) await elapsed(options.scheduler, blockRefusalMs, stream.signal)
  const isServed = log !== undefined && rows.length > 0
  const same = isServed && equalBytes(message.authHash, (await log.held.authIds()).hash)
  await stream.send({ type: 'followed', same, differ, denied })
  const next = await stream.receive()
  if (next === undefined || isRound(next)) return next
  if (next.type !== 'vector' || !isServed || next.same !== (same && differ.length === 0))
    return stream.misbehaved('bad-frame', 'no vector where one was due')
  const theirs = await receiveVector(stream, next, (count) => room.take(count))
  await sendEntries(stream, entriesForFollower(log, rows, theirs, { same, signal: stream.signal }))
  await stream.send({ type: 'end', hash: (await log.held.authIds()).hash })
  await noEntries(stream)
  const views = rows.flatMap(({ view, isOther }) => (isOther ? [view] : []))
  await stream.send({ type: 'done', hash: await batchHash(log, views), stored: 0, unlinked: 0 })
  return 'ask'
}

/** What an agent that is no member lacks of what it asked for, and may read while it is sent. */
async function* entriesForFollower(
  log: ReplicatedLog,
  rows: readonly FollowedRow[],
  theirs: TheirVector,
  { same, signal }: { readonly same: boolean; readonly signal: AbortSignal },
): AsyncIterable<Uint8Array> {
  const without = new Set(theirs.ids.map(bytesText))
  const wanted = new Set(theirs.wants.map(bytesText))
  if (!same) {
    for await (const { bytes } of log.held.authEntries({ without, signal })) {
      if (!rows.some(({ mayStill }) => mayStill())) return
      yield bytes
    }
  }
  for (const { view, mayStill, isOther } of rows) {
    const entries = inTurn(
      ...(isOther ? [view.beyond(without, signal)] : []),
      ...(wanted.size > 0 ? [view.among(wanted, signal)] : []),
    )
    for await (const bytes of entries) {
      if (!mayStill()) break
      yield bytes
    }
  }
  if (log.held.hasForks !== true || log.held.strayLinks === undefined) return
  const strays = await straysOf(log, rows, theirs, same)
  for await (const bytes of log.held.strayLinks(strays, { signal })) {
    if (!rows.some(({ mayStill }) => mayStill())) return
    yield bytes
  }
}

/** Ids of what the other has that it is told nothing of here, or wants to be told more of. */
async function straysOf(
  log: ReplicatedLog,
  rows: readonly FollowedRow[],
  theirs: TheirVector,
  same: boolean,
): Promise<Iterable<Uint8Array>> {
  const strays = new Map(theirs.ids.map((id) => [bytesText(id), id]))
  for (const id of same ? [] : (await log.held.authIds()).ids) strays.delete(bytesText(id))
  for (const { view, isOther } of rows) for (const id of isOther ? await view.ids() : []) strays.delete(bytesText(id))
  for (const hash of theirs.wants) strays.set(bytesText(hash.subarray(0, idBytes)), hash.subarray(0, idBytes))
  return strays.values()
}
