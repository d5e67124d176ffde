import { toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import {
  deniedFollows,
  maxPushStreamsPerPeer,
  maxSyncStreams,
  maxSyncStreamsPerPeer,
  maxUselessSyncBatches,
  syncStreamBurst,
  syncStreamsPerSecond,
} from '../limits.ts'
import { Newcomers } from './newcomers.ts'
import { OpenCount } from './open-count.ts'
import type { PeerStream } from './peer-network.ts'
import { Rates } from './rates.ts'
import { serveRounds } from './round-serve.ts'
import { ServedStream, type SyncServiceCounters, type SyncServiceOptions } from './served-stream.ts'
import { isRound, type OfferRow, type PushMessage } from './sync-codec.ts'
import type { ReplicatedLog } from './sync-log.ts'
import { syncProtocol } from './sync-run.ts'
import { SyncStream } from './sync-stream.ts'
import { count, type SyncTally } from './sync-transfer.ts'
import { UnderWay } from './under-way.ts'
import { VectorRoom } from './vector-room.ts'

/** Pushes to namespaces that an agent may not write to, before it is no mistake any more. */
const maxDeniedPushes = 16

/**
 * Answers sync streams of other agents until it is closed: whoever the log knows as a member is served, everybody else gets one
 * and the same answer whether or not there is such a namespace. What one agent may have open, and how often, is bounded.
 */
export class SyncService implements AsyncDisposable {
  readonly counters: SyncServiceCounters = { streams: 0, floods: 0, denied: 0, failed: 0 }
  readonly #options: SyncServiceOptions
  readonly #stop: () => void
  readonly #ending = new AbortController()
  readonly #running = new UnderWay()
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
    this.#stop = options.network.handle(syncProtocol, (stream, signal) =>
      this.#running.add(this.#serve(stream, signal)),
    )
  }

  /** Answers no more, cuts what is open and waits until nothing runs. Idempotent. */
  async close(): Promise<void> {
    this.#stop()
    this.#ending.abort(new ArtifactHubError('CLOSED', 'this node is closing'))
    await this.#running.ended()
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
      const [options, counters, denials] = [this.#options, this.counters, this.#denials]
      await this.#answer(new ServedStream(stream, { newcomer, options, counters, denials }), done)
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

  async #answer(served: ServedStream, notRound: () => void): Promise<void> {
    const { stream, newcomer } = served
    const first = await stream.receive()
    if (first === undefined) return
    if (isRound(first)) return await serveRounds(served, this.#vectors, first)
    if (first.type === 'push') {
      // It may stay open and idle: it takes no place from rounds.
      notRound()
      newcomer.settle()
      const name = toHex(stream.agent)
      if (this.#pushing.of(name) >= maxPushStreamsPerPeer) stream.misbehaved('flood', 'another stream of pushes')
      const done = this.#pushing.add(name)
      return await this.#pushes(served, first).finally(done)
    }
    if (first.type === 'offer') return await this.#offer(stream, first.rows)
    if (first.type === 'claim') return this.#options.onClaim?.(first.namespace, stream.agent, first.entries)
    stream.misbehaved('bad-frame', `${first.type} at the start of a stream`)
  }

  async #pushes(served: ServedStream, first: PushMessage): Promise<void> {
    const { stream } = served
    let denied = 0
    let useless = 0
    for (let message: PushMessage | undefined = first; message !== undefined; ) {
      const log = this.#writable(message.namespace, stream.agent)
      if (log === undefined) {
        denied += 1
        if (denied > maxDeniedPushes) stream.misbehaved('flood', 'pushes that were all denied')
        await served.deny()
      } else {
        const tally: SyncTally = { stored: 0, known: 0, unlinked: 0 }
        count(stream, await log.receive(message.entries, { signal: stream.signal, from: stream.agent }), tally)
        useless = tally.stored > 0 ? 0 : useless + 1
        if (useless > maxUselessSyncBatches) stream.misbehaved('flood', 'pushes of which none is new')
        await stream.send({ type: 'done', hash: log.held.vectorHash, stored: tally.stored, unlinked: tally.unlinked })
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
}
