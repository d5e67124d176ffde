import { capabilityName, decodePresentation, type Presentation } from '../capability/index.ts'
import { bytesText, equalBytes, sha256, toHex } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import {
  blockRefusalMs,
  deniedFollows,
  maxDenialEvidence,
  maxPushStreamsPerPeer,
  maxRoundsOnStream,
  maxSyncStreams,
  maxSyncStreamsPerPeer,
  maxUselessSyncBatches,
  syncStreamBurst,
  syncStreamsPerSecond,
} from '../limits.ts'
import { elapsed } from './elapsed.ts'
import { batchHash, viewBy } from './follow-batch.ts'
import { type Asker, afterOf, mayRead, type Permission, type ReadSubject } from './may-read.ts'
import { type Newcomer, Newcomers } from './newcomers.ts'
import { OpenCount } from './open-count.ts'
import type { PeerNetwork, PeerStream } from './peer-network.ts'
import { Rates } from './rates.ts'
import type { Scheduler } from './scheduler.ts'
import type {
  DeniedMessage,
  FollowMessage,
  HelloMessage,
  OfferedMessage,
  OfferRow,
  PushMessage,
  SyncMessage,
} from './sync-codec.ts'
import type { ReplicatedLog } from './sync-log.ts'
import { syncProtocol } from './sync-run.ts'
import { SyncStream } from './sync-stream.ts'
import {
  count,
  entriesFor,
  inTurn,
  receiveEntries,
  receiveVector,
  type SyncTally,
  sendEntries,
  sendVector,
  type TheirVector,
  whileAllowed,
} from './sync-transfer.ts'
import { type ArtifactView, viewOf } from './sync-view.ts'
import { VectorRoom, type VectorShare } from './vector-room.ts'

/** What serving is done with, and who is told of it. */
export interface SyncServiceOptions {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
  /** The log of a namespace (32 bytes) on this node. */
  readonly lookup: (namespace: Uint8Array) => ReplicatedLog | undefined
  /** A log of which only some artifacts are here: members may push to it, and nobody is served from it. */
  readonly lookupPartial?: ((namespace: Uint8Array) => ReplicatedLog | undefined) | undefined
  /** Somebody who is no member has got what there is of that scope, by that right. */
  readonly onFollowed?: ((log: ReplicatedLog, agent: Uint8Array, followed: FollowedScope) => void) | undefined
  /** A round that another agent began is through: its vector hash at the end, if it told. */
  readonly onRound?: ((log: ReplicatedLog, agent: Uint8Array, round: ServedRound) => void) | undefined
  /** Another agent pushed entries. */
  readonly onPushed?: ((log: ReplicatedLog, agent: Uint8Array, tally: Readonly<SyncTally>) => void) | undefined
  /** An agent asked for a namespace and was denied, as it would be if this node did not have it; `log` is there when it has. */
  readonly onDenied?: ((namespace: Uint8Array, agent: Uint8Array, log: ReplicatedLog | undefined) => void) | undefined
  /** An agent that was denied a namespace gives entries that are to show that it has a role. */
  readonly onClaim?: ((namespace: Uint8Array, agent: Uint8Array, entries: readonly Uint8Array[]) => void) | undefined
  /** An agent offers namespaces; gives the indexes of those in step, and of those not recognised whose ids are of interest. */
  readonly onOffer?:
    | ((agent: Uint8Array, rows: readonly OfferRow[]) => Pick<OfferedMessage, 'same' | 'unknown'>)
    | undefined
  /** The ids behind rows that were not recognised. */
  readonly onNames?: ((agent: Uint8Array, namespaces: readonly Uint8Array[]) => void) | undefined
}

/** What somebody who is no member was served. */
export interface FollowedScope {
  readonly scope: ReadSubject
  readonly presentation: Presentation
}

/** What was served to somebody, by what right: no two things that may be followed have one. */
export function followedName({ scope, presentation }: FollowedScope): string {
  return `${scope.kind} ${toHex(capabilityName(presentation.capability.claims))}`
}

/** What begins a round. */
type RoundMessage = HelloMessage | FollowMessage

/** Something that an agent may follow and asked about. */
interface FollowedRow {
  readonly view: ArtifactView
  readonly mayStill: () => boolean
  /** It has other entries of it. */
  readonly isOther: boolean
}

/** What a served round came to. */
export interface ServedRound extends Readonly<SyncTally> {
  readonly result: 'same' | 'exchanged'
  readonly sent: number
  readonly theirHash: Uint8Array | undefined
}

/** Counts since the service began. */
export interface SyncServiceCounters {
  /** Streams answered. */
  streams: number
  /** Questions of agents who are no members about single artifacts of which they took the answer, a denial too. */
  followed: number
  /** Streams cut, for that agent had too many or their vectors were too long together. */
  floods: number
  /** Requests of agents that may not read what they asked for. */
  denied: number
  /** Streams that ended with an error. */
  failed: number
}

/** Pushes to namespaces that an agent may not write to, before it is no mistake any more. */
const maxDeniedPushes = 16
const nothing = { rows: [], ids: [] }
const idBytes = 16
/** What whoever may not read is told: whether or not it is here. */
const plainDenial: DeniedMessage = { type: 'denied', reason: undefined, evidence: [] }

/**
 * Answers sync streams of other agents until it is closed: whoever the log knows as a member is served, everybody else gets one
 * and the same answer whether or not there is such a namespace. What one agent may have open, and how often, is bounded.
 */
export class SyncService implements AsyncDisposable {
  readonly counters: SyncServiceCounters = { streams: 0, followed: 0, floods: 0, denied: 0, failed: 0 }
  readonly #options: SyncServiceOptions
  readonly #stop: () => void
  readonly #ending = new AbortController()
  readonly #running = new Set<Promise<void>>()
  /** By agent, streams that are not of pushes, and those that are. */
  readonly #rounds = new OpenCount()
  readonly #pushing = new OpenCount()
  readonly #newcomers = new Newcomers()
  readonly #vectors = new VectorRoom(() => {
    this.counters.floods += 1
  })
  readonly #opened: Rates
  /** What may be denied after a look. */
  readonly #denials: Rates

  constructor(options: SyncServiceOptions) {
    this.#options = options
    this.#opened = new Rates(options.scheduler, { burst: syncStreamBurst, perSecond: syncStreamsPerSecond })
    this.#denials = new Rates(options.scheduler, deniedFollows)
    this.#stop = options.network.handle(syncProtocol, (stream, signal) => {
      const serving = this.#serve(stream, signal)
      const settled = serving.then(
        () => {},
        () => {},
      )
      this.#running.add(settled)
      void settled.then(() => this.#running.delete(settled))
      return serving
    })
  }

  /** Answers no more, cuts what is open and waits until nothing runs. Idempotent. */
  async close(): Promise<void> {
    this.#stop()
    this.#ending.abort(new ArtifactHubError('CLOSED', 'this node is closing'))
    while (this.#running.size > 0) await Promise.all(this.#running)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #serve(peerStream: PeerStream, signal: AbortSignal): Promise<void> {
    const { network, scheduler } = this.#options
    const name = toHex(peerStream.agent)
    const full = new ArtifactHubError('UNAVAILABLE', 'too many streams', { details: { reason: 'busy' } })
    const isFlood = this.#rounds.of(name) >= maxSyncStreamsPerPeer || !this.#opened.take(peerStream.agent, 1)
    // That all streams are in use is not this one's fault.
    const isFull = !isFlood && this.#rounds.total >= maxSyncStreams && !this.#newcomers.makeRoom(full)
    if (isFlood || isFull) {
      this.counters.floods += 1
      if (isFlood) network.penalise(peerStream.agent, 'flood')
      peerStream.abort(full)
      return
    }
    this.counters.streams += 1
    const newcomer = this.#newcomers.add()
    const ended = AbortSignal.any([signal, this.#ending.signal, newcomer.signal])
    const stream = new SyncStream(peerStream, { network, scheduler, signal: ended })
    const done = this.#rounds.add(name)
    try {
      await this.#answer(stream, newcomer, done)
      await stream.end()
    } catch (error) {
      this.counters.failed += 1
      await stream.end(error)
      throw error
    } finally {
      newcomer.settle()
      done()
    }
  }

  async #answer(stream: SyncStream, newcomer: Newcomer, notRound: () => void): Promise<void> {
    const first = await stream.receive()
    if (first === undefined) return
    if (first.type === 'hello' || first.type === 'follow') return await this.#roundAfterRound(stream, newcomer, first)
    if (first.type === 'push') {
      // It may stay open and idle: it takes no place from rounds.
      notRound()
      newcomer.settle()
      const name = toHex(stream.agent)
      if (this.#pushing.of(name) >= maxPushStreamsPerPeer) stream.misbehaved('flood', 'another stream of pushes')
      const done = this.#pushing.add(name)
      return await this.#pushes(stream, first).finally(done)
    }
    if (first.type === 'offer') return await this.#offer(stream, first.rows)
    if (first.type === 'claim') return this.#options.onClaim?.(first.namespace, stream.agent, first.entries)
    stream.misbehaved('bad-frame', `${first.type} at the start of a stream`)
  }

  /** One round after the other: whoever follows many artifacts asks for all of them on one stream. */
  async #roundAfterRound(stream: SyncStream, newcomer: Newcomer, first: RoundMessage): Promise<void> {
    let rounds = 0
    for (let message: RoundMessage | undefined = first; message !== undefined; ) {
      rounds += message.type === 'follow' ? message.rows.length : 1
      if (rounds > maxRoundsOnStream) stream.misbehaved('flood', 'rounds without end')
      const room = this.#vectors.open(toHex(stream.agent))
      let next: RoundMessage | 'ask' | undefined
      try {
        next =
          message.type === 'follow'
            ? await this.#follow(stream, newcomer, message, room)
            : await this.#round(stream, newcomer, message, room)
      } finally {
        room.release()
      }
      // Only one who shows capabilities has more than one thing to ask for.
      if ((message.type === 'hello' && message.presentation === undefined) || next === undefined) return
      const following: SyncMessage | undefined = next === 'ask' ? await stream.receive() : next
      if (following !== undefined && !isRound(following))
        return stream.misbehaved('bad-frame', `${following.type} where a hello was due`)
      if (message.type === 'follow') this.counters.followed += 1
      message = following
    }
  }

  /** A round about all that an agent shows a right to. Gives what `#round` gives. */
  async #follow(
    stream: SyncStream,
    newcomer: Newcomer,
    message: FollowMessage,
    room: VectorShare,
  ): Promise<RoundMessage | 'ask' | undefined> {
    const log = this.#options.lookup(message.namespace)
    const nowMs = (): number => this.#options.scheduler.now()
    const rows: FollowedRow[] = []
    const [differ, denied]: [number[], number[]] = [[], []]
    const names = new Set<string>()
    for (const [at, { scope, hash, presentation: shown }] of message.rows.entries()) {
      // Each look costs the check of a signature.
      if (!this.#denials.has(stream.agent)) {
        denied.push(at)
        continue
      }
      const asker = this.#askerOf(stream, shown)
      const permission = mayRead(log, asker, scope)
      const presentation = permission.allowed ? (permission.by ?? asker.presentations[0]) : undefined
      if (log === undefined || presentation === undefined) {
        this.#denials.take(stream.agent, 1)
        denied.push(at)
        continue
      }
      const name = followedName({ scope, presentation })
      if (names.has(name)) return stream.misbehaved('bad-frame', 'one thing asked for twice in one message')
      names.add(name)
      newcomer.settle()
      const view = viewBy(log, scope, presentation.capability.claims)
      const mayStill = (): boolean => mayRead(log, { ...asker, nowMs: nowMs() }, scope).allowed
      // From here on it is told of what comes; what came just before is in the hash.
      this.#options.onFollowed?.(log, stream.agent, { scope, presentation })
      const isOther = !equalBytes(hash, sha256(...(await view.ids())))
      if (isOther) differ.push(at)
      rows.push({ view, mayStill, isOther })
    }
    this.counters.denied += denied.length
    if (denied.length > 0) await elapsed(this.#options.scheduler, blockRefusalMs, stream.signal)
    const isServed = log !== undefined && rows.length > 0
    const same = isServed && equalBytes(message.authHash, (await log.authIds()).hash)
    await stream.send({ type: 'followed', same, differ, denied })
    const next = await stream.receive()
    if (next === undefined || isRound(next)) return next
    if (next.type !== 'vector' || !isServed || next.same !== (same && differ.length === 0))
      return stream.misbehaved('bad-frame', 'no vector where one was due')
    const theirs = await receiveVector(stream, next, (count) => room.take(count))
    await sendEntries(stream, entriesForFollower(log, rows, theirs, { same, signal: stream.signal }))
    await stream.send({ type: 'end', hash: (await log.authIds()).hash })
    await noEntries(stream)
    const views = rows.flatMap(({ view, isOther }) => (isOther ? [view] : []))
    await stream.send({ type: 'done', hash: await batchHash(log, views), stored: 0, unlinked: 0 })
    return 'ask'
  }

  /** Gives the hello of the next round if that is what came in the place of an answer; `ask` when it may come; nothing when the stream is over. */
  async #round(
    stream: SyncStream,
    newcomer: Newcomer,
    hello: HelloMessage,
    room: VectorShare,
  ): Promise<RoundMessage | 'ask' | undefined> {
    const { scope } = hello
    const asker = this.#askerOf(stream, hello.presentation)
    const log = this.#options.lookup(hello.namespace)
    const permission = mayRead(log, asker, scope)
    if (log === undefined || !permission.allowed) {
      this.counters.denied += 1
      // Who asks for the beginning has nothing of it and says nothing of others' roles: two who both look for it would ask each other without end.
      const isNews = hello.presentation === undefined && (log !== undefined || hello.hash !== undefined)
      if (isNews) this.#options.onDenied?.(hello.namespace, stream.agent, log)
      await this.#deny(stream, await denialOf(log, permission))
      return 'ask'
    }
    newcomer.settle()
    // A member that follows an artifact as if it were none is given what it asks for.
    const by = permission.by ?? (scope.kind === 'namespace' ? undefined : asker.presentations[0])
    if (hello.hash === undefined) {
      const genesis = await log.entryBytes(log.id)
      if (genesis === undefined) throw new ArtifactHubError('INTERNAL', 'a namespace without its genesis')
      await stream.send({ type: 'entries', entries: [genesis] })
      return 'ask'
    }
    const claims = by?.capability.claims
    const view = viewOf(log, scope, claims && { after: afterOf(claims), share: claims.jti })
    const tally: SyncTally = { stored: 0, known: 0, unlinked: 0 }
    const followed = (): void => {
      if (by !== undefined) this.#options.onFollowed?.(log, stream.agent, { scope, presentation: by })
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
        this.#options.onRound?.(log, stream.agent, { result: 'same', ...tally, sent: 0, theirHash: hello.hash })
      return first
    }
    if (first?.type !== 'vector' || first.same !== same)
      return stream.misbehaved('bad-frame', 'no vector where one was due')
    const theirs = await receiveVector(stream, first, (rows) => room.take(rows))
    const wanted = view.wanted(theirs.wants, stream.signal)
    const lacking = by === undefined ? entriesFor(log, view, ours, theirs, stream) : view.beyond(theirs, stream.signal)
    const entries = same ? wanted : inTurn(lacking, wanted)
    const mayStill = () => mayRead(log, { ...asker, nowMs: this.#options.scheduler.now() }, scope).allowed
    const sent = await sendEntries(stream, whileAllowed(mayStill, entries))
    await stream.send({ type: 'end', hash: await view.hash() })
    const theirHash = by === undefined ? await receiveEntries(stream, log, tally) : await noEntries(stream)
    // Before the hash: what came during the round is in it, and makes the other ask again.
    followed()
    await stream.send({ type: 'done', hash: await view.hash(), stored: tally.stored, unlinked: tally.unlinked })
    if (scope.kind === 'namespace')
      this.#options.onRound?.(log, stream.agent, { result: 'exchanged', ...tally, sent, theirHash })
    return 'ask'
  }

  async #pushes(stream: SyncStream, first: PushMessage): Promise<void> {
    let denied = 0
    let useless = 0
    for (let message: PushMessage | undefined = first; message !== undefined; ) {
      const log = this.#writable(message.namespace, stream.agent)
      if (log === undefined) {
        denied += 1
        if (denied > maxDeniedPushes) stream.misbehaved('flood', 'pushes that were all denied')
        await this.#deny(stream)
      } else {
        const tally: SyncTally = { stored: 0, known: 0, unlinked: 0 }
        count(stream, await log.receive(message.entries, { signal: stream.signal, from: stream.agent }), tally)
        useless = tally.stored > 0 ? 0 : useless + 1
        if (useless > maxUselessSyncBatches) stream.misbehaved('flood', 'pushes of which none is new')
        await stream.send({ type: 'done', hash: log.vectorHash, stored: tally.stored, unlinked: tally.unlinked })
        this.#options.onPushed?.(log, stream.agent, tally)
      }
      const next = await stream.receive({ mayIdle: true })
      if (next !== undefined && next.type !== 'push') return stream.misbehaved('bad-frame', `${next.type} among pushes`)
      message = next
    }
  }

  async #offer(stream: SyncStream, rows: readonly OfferRow[]): Promise<void> {
    const { same, unknown } = this.#options.onOffer?.(stream.agent, rows) ?? { same: [], unknown: [] }
    await stream.send({ type: 'offered', same, unknown })
    if (unknown.length === 0) return
    const { namespaces } = await stream.expect('names')
    if (namespaces.length !== unknown.length) stream.misbehaved('bad-frame', 'other names than were asked for')
    this.#options.onNames?.(stream.agent, namespaces)
  }

  /** After one time, whatever was looked up. */
  async #deny(stream: SyncStream, denial = plainDenial): Promise<void> {
    await elapsed(this.#options.scheduler, blockRefusalMs, stream.signal)
    await stream.send(denial)
  }

  /** The log that an agent may bring entries to: it is a member of it. */
  #writable(namespace: Uint8Array, agent: Uint8Array): ReplicatedLog | undefined {
    const { lookup, lookupPartial, onDenied } = this.#options
    const log = lookup(namespace)
    if (log?.roleOf(agent) !== undefined) return log
    const partial = log === undefined ? lookupPartial?.(namespace) : undefined
    if (partial?.roleOf(agent) !== undefined) return partial
    this.counters.denied += 1
    if (partial === undefined) onDenied?.(namespace, agent, log)
    return undefined
  }

  /** @throws CORRUPT, TOO_LARGE when what it shows is nothing that anybody signed: held against it */
  #askerOf(stream: SyncStream, shown: Uint8Array | undefined): Asker {
    const { self: provider, scheduler, network } = this.#options
    const asker = { agent: stream.agent, provider, nowMs: scheduler.now() }
    if (shown === undefined) return { ...asker, presentations: [] }
    try {
      return { ...asker, presentations: [decodePresentation(shown)] }
    } catch (error) {
      // What a newer release signed gives nothing here.
      if (isHubError(error, 'UNSUPPORTED_FORMAT')) return { ...asker, presentations: [] }
      network.penalise(stream.agent, 'bad-frame')
      throw error
    }
  }
}

/** What an agent that may not read is told. */
async function denialOf(log: ReplicatedLog | undefined, permission: Permission): Promise<DeniedMessage> {
  if (permission.allowed || permission.reason === undefined || permission.by === undefined) return plainDenial
  const evidence: Uint8Array[] = []
  for await (const bytes of log?.evidenceAgainst?.(permission.by.capability.claims) ?? []) {
    if (evidence.length < maxDenialEvidence) evidence.push(bytes)
  }
  return { type: 'denied', reason: permission.reason, evidence }
}

/** Whether a message begins a round. */
function isRound(message: SyncMessage): message is RoundMessage {
  return message.type === 'hello' || message.type === 'follow'
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
    for await (const { bytes } of log.authEntries({ without, signal })) {
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
  if (log.hasForks !== true || log.strayLinks === undefined) return
  const strays = await straysOf(log, rows, theirs, same)
  for await (const bytes of log.strayLinks(strays, { signal })) {
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
  for (const id of same ? [] : (await log.authIds()).ids) strays.delete(bytesText(id))
  for (const { view, isOther } of rows) for (const id of isOther ? await view.ids() : []) strays.delete(bytesText(id))
  for (const hash of theirs.wants) strays.set(bytesText(hash.subarray(0, idBytes)), hash.subarray(0, idBytes))
  return strays.values()
}

/** Whoever is no member brings nothing. */
async function noEntries(stream: SyncStream): Promise<Uint8Array> {
  return (await stream.expect('end')).hash
}
