import { equalBytes, toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { maxRoundsOnStream } from '../limits.ts'
import { serveFollow } from './follow-serve.ts'
import { afterOf, mayRead } from './may-read.ts'
import { denialOf, type ServedStream } from './served-stream.ts'
import { type HelloMessage, isRound, noHash, type RoundMessage, type SyncMessage } from './sync-codec.ts'
import {
  entriesFor,
  inTurn,
  noEntries,
  receiveEntries,
  receiveVector,
  type SyncTally,
  sendEntries,
  sendVector,
  whileAllowed,
} from './sync-transfer.ts'
import { viewOf } from './sync-view.ts'
import type { VectorRoom, VectorShare } from './vector-room.ts'

const nothing = { rows: [], ids: [] }

/** One round after the other: whoever follows many artifacts asks for all of them on one stream. */
export async function serveRounds(served: ServedStream, vectors: VectorRoom, first: RoundMessage): Promise<void> {
  const { stream, answers } = served
  let rounds = 0
  for (let message: RoundMessage | undefined = first; message !== undefined; ) {
    rounds += message.type === 'follow' ? message.rows.length : 1
    if (rounds > maxRoundsOnStream) stream.misbehaved('flood', 'rounds without end')
    const room = vectors.open(toHex(stream.agent))
    let next: RoundMessage | 'ask' | undefined
    try {
      next =
        message.type === 'follow' ? await serveFollow(served, message, room) : await serveRound(served, message, room)
    } finally {
      room.release()
    }
    // Only one who shows capabilities has more than one thing to ask for.
    if (message.type === 'hello' && message.presentation === undefined) return
    const following: SyncMessage | undefined = next === 'ask' ? await stream.receive() : next
    if (following !== undefined && !isRound(following))
      return stream.misbehaved('bad-frame', `${following.type} where a hello was due`)
    answers.take(following?.type === 'hello')
    message = following
  }
}

/** Gives the hello of the next round if that is what came in the place of an answer; `ask` when it may come; nothing when the stream is over. */
async function serveRound(
  served: ServedStream,
  hello: HelloMessage,
  room: VectorShare,
): Promise<RoundMessage | 'ask' | undefined> {
  const { stream, newcomer, options, counters, answers } = served
  const { scope } = hello
  const asker = served.askerOf(hello.presentation)
  const log = options.lookup(hello.namespace)
  const permission = mayRead(log, asker, scope)
  if (log === undefined || !permission.allowed) {
    counters.denied += 1
    // Who asks for the beginning, or takes this agent for none of its members, says nothing of a role of this agent's: two such would ask each other without end.
    const saysRole = hello.hash !== undefined && !equalBytes(hello.hash, noHash)
    const isNews = hello.presentation === undefined && (log !== undefined || saysRole)
    if (isNews) options.onDenied?.(hello.namespace, stream.agent, log)
    await served.deny(await denialOf(log, permission))
    if (!permission.allowed && permission.by !== undefined) answers.give(permission.by.capability.claims.jti)
    return 'ask'
  }
  newcomer.settle()
  // A member that follows an artifact as if it were none is given what it asks for.
  const by = permission.by ?? (scope.kind === 'namespace' ? undefined : asker.presentations[0])
  if (hello.hash === undefined) {
    const genesis = await log.held.bytes(log.id)
    if (genesis === undefined) throw new ArtifactHubError('INTERNAL', 'a namespace without its genesis')
    await stream.send({ type: 'entries', entries: [genesis] })
    return 'ask'
  }
  const claims = by?.capability.claims
  const view = viewOf(log, scope, claims && { after: afterOf(claims), share: claims.jti })
  const tally: SyncTally = { stored: 0, known: 0, unlinked: 0 }
  const followed = (): void => {
    if (by === undefined) return
    options.onFollowed?.(log, stream.agent, { scope, presentation: by })
    served.gave(log, by, permission.by)
  }
  const isSame = async (): Promise<boolean> => equalBytes(hello.hash as Uint8Array, await view.hash())
  let same = await isSame()
  if (same && by !== undefined) {
    // From here on it is told of what comes; what came just before is in the hash.
    followed()
    same = await isSame()
  }
  const ours = same ? nothing : await view.contents()
  await sendVector(stream, ours, { same, wants: [] })
  const first = await stream.receive()
  if (same && (first === undefined || isRound(first))) {
    if (scope.kind === 'namespace')
      options.onRound?.(log, stream.agent, { result: 'same', ...tally, sent: 0, theirHash: hello.hash })
    return first
  }
  if (first?.type !== 'vector' || first.same !== same)
    return stream.misbehaved('bad-frame', 'no vector where one was due')
  const theirs = await receiveVector(stream, first, (rows) => room.take(rows))
  const wanted = view.wanted(theirs.wants, stream.signal)
  const lacking = by === undefined ? entriesFor(log, view, ours, theirs, stream) : view.beyond(theirs, stream.signal)
  const entries = same ? wanted : inTurn(lacking, wanted)
  const mayStill = () => mayRead(log, { ...asker, nowMs: served.now() }, scope).allowed
  const sent = await sendEntries(stream, whileAllowed(mayStill, entries))
  await stream.send({ type: 'end', hash: await view.hash() })
  const theirHash = by === undefined ? await receiveEntries(stream, log, tally) : await noEntries(stream)
  // Before the hash: what came during the round is in it, and makes the other ask again.
  followed()
  await stream.send({ type: 'done', hash: await view.hash(), stored: tally.stored, unlinked: tally.unlinked })
  if (scope.kind === 'namespace')
    options.onRound?.(log, stream.agent, { result: 'exchanged', ...tally, sent, theirHash })
  return 'ask'
}
