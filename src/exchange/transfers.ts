import type { BlockReader, ContentEngine } from '../content/index.ts'
import { toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { maxBlockStreamsToAgent } from '../limits.ts'
import type { LaneEndKind } from './lane-end.ts'
import type { Misbehaviour, PeerNetwork } from './peer-network.ts'
import type { Scheduler } from './scheduler.ts'
import {
  type ContentRange,
  Transfer,
  type TransferPool,
  type TransferProgress,
  type TransferTarget,
} from './transfer.ts'

/** Opens a fetch. */
export interface OpenTransferOptions extends TransferTarget {
  /** Closes it. */
  readonly signal?: AbortSignal | undefined
}

/** How streams to providers ended, since the node began; `broken`: contents given up because what hashes as it should is no tree of theirs. */
export type TransferCounters = Readonly<Record<LaneEndKind | 'broken', number>>

/** One user's hold on a fetch. Close it on every path; `await using` does. */
export interface OpenTransfer extends AsyncDisposable {
  /**
   * Blocks of the content, verified when they come from others: what is here at once, the rest when a provider brings it, and that
   * before anything that `whole` is for. Reading goes from the root down: a block is known of once its node was read.
   * Its reads throw UNAVAILABLE when nobody brings it (`details.asked`: each provider and its answer), CORRUPT when the tree is
   * none, what the store throws, CLOSED, the signal's reason.
   */
  readonly reader: BlockReader
  readonly progress: TransferProgress
  /**
   * Resolves once the blocks of those plaintext bytes (default all) are here and durable. They are safe from gc until this is
   * closed: by then something durable must name the root.
   * @throws as the reader
   */
  whole(range?: ContentRange, options?: { readonly signal?: AbortSignal | undefined }): Promise<void>
  /** Stops what nobody else uses; what has come stays. Resolves when nothing of it runs any more. Idempotent; never rejects. */
  close(): Promise<void>
}

const misbehaviours: Partial<Record<LaneEndKind, Misbehaviour>> = {
  silent: 'too-slow',
  'too-slow': 'too-slow',
  'bad-block': 'bad-block',
  'bad-frame': 'bad-frame',
  'false-claim': 'false-claim',
}

/** What a node's fetches are made from. */
export interface TransfersOptions {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  /** Hashes what comes. */
  readonly engine: Pick<ContentEngine, 'digest'>
}

/** All fetches of a node: one for each content of a namespace, shared by those who read it. */
export class Transfers implements TransferPool, AsyncDisposable {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  readonly engine: Pick<ContentEngine, 'digest'>
  readonly #counters: Record<keyof TransferCounters, number> = {
    done: 0,
    ended: 0,
    unreachable: 0,
    refused: 0,
    cut: 0,
    silent: 0,
    'too-slow': 0,
    'bad-block': 0,
    'bad-frame': 0,
    'false-claim': 0,
    broken: 0,
  }
  /** By namespace, place and root. */
  readonly #shared = new Map<string, { readonly transfer: Transfer; users: number }>()
  readonly #all = new Set<Transfer>()
  readonly #streamsTo = new Map<string, number>()
  readonly #unlisten: () => void
  #isClosed = false

  constructor(options: TransfersOptions) {
    this.network = options.network
    this.scheduler = options.scheduler
    this.engine = options.engine
    this.#unlisten = options.network.onPeer((agent, isConnected) => {
      if (isConnected) for (const transfer of this.#all) transfer.refresh(agent)
    })
  }

  get counters(): TransferCounters {
    return { ...this.#counters }
  }

  /** @throws CORRUPT when no content has such sizes, CLOSED, the signal's reason */
  open(options: OpenTransferOptions): OpenTransfer {
    const { signal, ...target } = options
    signal?.throwIfAborted()
    if (this.#isClosed) throw closed()
    const key = `${toHex(target.namespace)} ${target.folder ?? ''} ${toHex(target.root.digest)} ${target.root.sizeBytes} ${target.root.storedBytes}`
    let shared = this.#shared.get(key)
    if (shared === undefined || shared.transfer.isBroken) {
      shared = { transfer: new Transfer(target, this), users: 0 }
      this.#shared.set(key, shared)
      this.#all.add(shared.transfer)
    }
    return this.#hold(key, shared, signal)
  }

  hasRoom(agent: string): boolean {
    return (this.#streamsTo.get(agent) ?? 0) < maxBlockStreamsToAgent
  }

  /** A stream that another keeps for what it may ask later makes way; when it has ended there is room. */
  needsRoom(agent: string): void {
    for (const transfer of this.#all) if (transfer.letGo(agent)) return
  }

  opened(agent: string): void {
    this.#streamsTo.set(agent, (this.#streamsTo.get(agent) ?? 0) + 1)
  }

  ended(agent: Uint8Array, kind: LaneEndKind): void {
    const key = toHex(agent)
    const left = (this.#streamsTo.get(key) ?? 1) - 1
    if (left === 0) this.#streamsTo.delete(key)
    else this.#streamsTo.set(key, left)
    this.#counters[kind]++
    const misbehaviour = misbehaviours[kind]
    if (misbehaviour !== undefined) this.network.penalise(agent, misbehaviour)
    // Another may have waited for the room.
    if (left === maxBlockStreamsToAgent - 1) for (const transfer of this.#all) transfer.refresh()
  }

  broken(): void {
    this.#counters.broken++
  }

  /** Stops all of them. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#unlisten()
    this.#shared.clear()
    await Promise.all([...this.#all].map((transfer) => this.#end(transfer, closed())))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #hold(key: string, shared: { transfer: Transfer; users: number }, outer: AbortSignal | undefined): OpenTransfer {
    const { transfer } = shared
    shared.users++
    const stop = new AbortController()
    const signal = outer === undefined ? stop.signal : AbortSignal.any([stop.signal, outer])
    const until = (other: AbortSignal | undefined): AbortSignal =>
      other === undefined ? signal : AbortSignal.any([signal, other])
    let closing: Promise<void> | undefined
    const close = (): Promise<void> => {
      closing ??= (async () => {
        outer?.removeEventListener('abort', close)
        const reason: unknown = outer?.aborted === true ? outer.reason : closed()
        stop.abort(reason)
        shared.users--
        if (shared.users > 0) return
        if (this.#shared.get(key) === shared) this.#shared.delete(key)
        await this.#end(transfer, reason)
      })()
      return closing
    }
    outer?.addEventListener('abort', close, { once: true })
    return {
      reader: {
        read: (digest, options) => transfer.read(digest, until(options?.signal)),
        bring: (digest, options) => transfer.bring(digest, until(options?.signal)),
      },
      get progress() {
        return transfer.progress
      },
      whole: (range, options) => transfer.whole(range, until(options?.signal)),
      close,
      [Symbol.asyncDispose]: close,
    }
  }

  async #end(transfer: Transfer, reason: unknown): Promise<void> {
    await transfer.close(reason)
    this.#all.delete(transfer)
  }
}

function closed(): ArtifactHubError {
  return new ArtifactHubError('CLOSED', 'The fetch is closed')
}
