import { toHex } from '../encoding/index.ts'
import { maxPushBytes, maxPushQueueBytes, syncPushCloseMs } from '../limits.ts'
import type { PeerNetwork } from './peer-network.ts'
import type { Scheduler } from './scheduler.ts'
import { type DoneMessage, roomOf } from './sync-codec.ts'
import type { ReplicatedLog } from './sync-log.ts'
import { syncProtocol } from './sync-run.ts'
import { SyncStream } from './sync-stream.ts'

/** What a push link needs, and who is told how it goes. */
export interface PushLinkOptions {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  readonly signal: AbortSignal
  /** The other agent stored what it could of one push. */
  readonly onDone: (log: ReplicatedLog, done: DoneMessage) => void
  /** Entries of this log were not delivered: too many waited, they were denied, or the stream failed. A round is due. */
  readonly onLost: (log: ReplicatedLog, why: 'denied' | 'overflow' | 'failed') => void
}

interface Waiting {
  readonly log: ReplicatedLog
  entries: Uint8Array[]
  bytes: number
}

/**
 * Sends new entries to one agent as they are written, over one stream for all namespaces that is opened when there is something
 * to send and kept for a while. One push is under way at a time; what is written meanwhile goes together in the next.
 */
export class PushLink {
  readonly agent: Uint8Array
  readonly #options: PushLinkOptions
  readonly #waiting = new Map<string, Waiting>()
  #stream: SyncStream | undefined
  #running: Promise<void> | undefined
  #stopClosing: (() => void) | undefined
  readonly #ending = new AbortController()
  readonly #signal: AbortSignal

  constructor(agent: Uint8Array, options: PushLinkOptions) {
    this.agent = agent
    this.#options = options
    this.#signal = AbortSignal.any([options.signal, this.#ending.signal])
  }

  /** Whether something was not answered yet, or waits to be sent. */
  get isBusy(): boolean {
    return this.#running !== undefined || this.#waiting.size > 0
  }

  /** Queues entries of a log. */
  push(log: ReplicatedLog, entries: readonly Uint8Array[]): void {
    if (this.#isClosed) return
    const id = toHex(log.id)
    const waiting = this.#waiting.get(id) ?? { log, entries: [], bytes: 0 }
    this.#waiting.set(id, waiting)
    for (const entry of entries) {
      waiting.entries.push(entry)
      waiting.bytes += roomOf(entry)
    }
    if (waiting.bytes > maxPushQueueBytes) {
      this.#waiting.delete(id)
      this.#options.onLost(log, 'overflow')
      return
    }
    this.#start()
  }

  /** Drops what waits of a log. */
  forget(log: ReplicatedLog): void {
    this.#waiting.delete(toHex(log.id))
  }

  /** Drops what waits, cuts the stream, or what opens it, and waits until nothing runs. Idempotent. */
  async close(): Promise<void> {
    this.#ending.abort(new Error('closing'))
    this.#waiting.clear()
    this.#stopClosing?.()
    await this.#stream?.end(new Error('closing'))
    await this.#running
  }

  get #isClosed(): boolean {
    return this.#ending.signal.aborted
  }

  #start(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
      // What came after the last look.
      if (this.#waiting.size > 0) this.#start()
    })
  }

  async #run(): Promise<void> {
    this.#stopClosing?.()
    for (const [id, waiting] of this.#waiting) {
      // Set again below if there is more: each namespace has its turn.
      this.#waiting.delete(id)
      const { log } = waiting
      const batch = takeBatch(waiting)
      if (waiting.entries.length > 0) this.#waiting.set(id, waiting)
      try {
        const answer = await this.#send(log, batch)
        if (answer.type === 'done') this.#options.onDone(log, answer)
        else this.#lost(log, 'denied')
      } catch {
        await this.#fail(log)
        return
      }
    }
    if (!this.#isClosed) {
      this.#stopClosing = this.#options.scheduler.setTimer(syncPushCloseMs, () => void this.#endStream())
    }
  }

  async #send(log: ReplicatedLog, entries: readonly Uint8Array[]) {
    const { network, scheduler } = this.#options
    const signal = this.#signal
    this.#stream ??= new SyncStream(await network.open(this.agent, syncProtocol, { signal }), {
      network,
      scheduler,
      signal,
    })
    await this.#stream.send({ type: 'push', namespace: log.id, entries })
    return await this.#stream.expect('done', 'denied')
  }

  /** Whatever the reason was, a round finds out what is missing; it tells the reason if that lasts. */
  async #fail(log: ReplicatedLog): Promise<void> {
    const logs = [log, ...[...this.#waiting.values()].map((waiting) => waiting.log)]
    this.#waiting.clear()
    await this.#endStream(new Error('a push failed'))
    if (this.#isClosed) return
    for (const lost of new Set(logs)) this.#options.onLost(lost, 'failed')
  }

  #lost(log: ReplicatedLog, why: 'denied'): void {
    this.forget(log)
    this.#options.onLost(log, why)
  }

  async #endStream(error?: Error): Promise<void> {
    const stream = this.#stream
    this.#stream = undefined
    await stream?.end(error)
  }
}

function takeBatch(waiting: Waiting): Uint8Array[] {
  let count = 0
  let bytes = 0
  for (const entry of waiting.entries) {
    if (count > 0 && bytes + roomOf(entry) > maxPushBytes) break
    bytes += roomOf(entry)
    count += 1
  }
  waiting.bytes -= bytes
  return waiting.entries.splice(0, count)
}
