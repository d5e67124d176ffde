import {
  type BlockReader,
  Budget,
  type ContentEngine,
  type ContentRef,
  childrenOf,
  type Subtree,
  subtreeOfRoot,
  walkTree,
} from '../content/index.ts'
import { toHex } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import {
  askAgainMs,
  bulkContentBytes,
  fetchSyncBytes,
  maxFetchProviders,
  maxLeavesWanted,
  maxUnstoredBytes,
} from '../limits.ts'
import type { BlockWriter, NamespaceBlocks } from '../storage/index.ts'
import { BlockMemory } from './block-memory.ts'
import type { AskerFrame, LeafRun } from './frames.ts'
import { Gate } from './gate.ts'
import type { LaneEnd, LaneEndKind } from './lane-end.ts'
import type { PeerNetwork } from './peer-network.ts'
import type { Scheduler } from './scheduler.ts'
import { ProviderAnswers } from './transfer-answers.ts'
import { Lane, type LaneHost } from './transfer-lane.ts'
import { type Waiter, type Want, Wants } from './transfer-wants.ts'

/** What is fetched, into where, from whom. */
export interface TransferTarget {
  /** 32 bytes. */
  readonly namespace: Uint8Array
  /** What tells `blocks` from those of another log of that namespace, if there is one. */
  readonly folder?: string | undefined
  /** 20 bytes. */
  readonly artifact: Uint8Array
  readonly root: ContentRef
  readonly blocks: NamespaceBlocks
  /** Agents (32 bytes) that may have it, the likeliest first. Asked again whenever one more could be used. */
  readonly providers: () => Iterable<Uint8Array>
  /** What is shown to a provider, where this agent has no role: presentations (`encodePresentation`), 4 at most. */
  readonly present?: ((provider: Uint8Array) => readonly Uint8Array[]) | undefined
}

/** How far a transfer is. */
export interface TransferProgress {
  /** Bytes of blocks that came from others. */
  readonly fetchedBytes: number
  /** Who is used now, and the bytes of blocks that came on that stream. */
  readonly providers: readonly { readonly agent: Uint8Array; readonly fetchedBytes: number }[]
}

/** Plaintext bytes of a content. */
export interface ContentRange {
  readonly offset: number
  readonly length: number
}

/** What all transfers of a node share. */
export interface TransferPool {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  readonly engine: Pick<ContentEngine, 'digest'>
  /** Whether one more stream to an agent (in hex) may be opened. When that changes, transfers are refreshed. */
  hasRoom(agent: string): boolean
  /** That there is none is all that keeps something from being asked for. */
  needsRoom(agent: string): void
  /** A stream to an agent (in hex) is being opened. */
  opened(agent: string): void
  /** It has ended. */
  ended(agent: Uint8Array, kind: LaneEndKind): void
  /** A content turned out to be none. */
  broken(): void
}

const readsBytes = { isUrgent: true, takesBytes: true }
const readsInPlace = { isUrgent: true, takesBytes: false }
const readsLater = { isUrgent: false, takesBytes: false }

/**
 * Fetches the blocks of one content for all who read it on this node. Blocks are written as they come, after they were verified;
 * nothing that is held is asked for. Providers come and go: what one fails to bring another is asked for.
 */
export class Transfer implements LaneHost {
  readonly root: Subtree
  readonly #target: TransferTarget
  readonly #pool: TransferPool
  readonly #writer: BlockWriter
  readonly #stop = new AbortController()
  readonly #unstored: Budget
  /** Twice what blocks may need: they lie in memory that longer ones were in. */
  readonly #memory = new BlockMemory(2 * maxUnstoredBytes)
  readonly #wants = new Wants()
  /** Blocks that a node above them told of, and that are not known to be here. Nodes stay. */
  readonly #known = new Map<string, Subtree>()
  readonly #lanes = new Map<string, Lane>()
  readonly #running = new Set<Promise<void>>()
  readonly #answers = new ProviderAnswers()
  /** Nobody was left whom to ask: that changes when an answer comes, a lane ends or somebody connects, not with each block that is wanted. */
  #isNobodyLeft = false
  #failure: { readonly error: unknown } | undefined
  #cancelTimer: (() => void) | undefined
  #syncing: Promise<void> = Promise.resolve()
  #unsyncedBytes = 0
  #fetchedBytes = 0
  #closing: Promise<void> | undefined

  /** @throws CORRUPT when no content has such sizes */
  constructor(target: TransferTarget, pool: TransferPool) {
    this.root = subtreeOfRoot(target.root)
    this.#target = target
    this.#pool = pool
    this.#unstored = new Budget(maxUnstoredBytes, this.#stop.signal)
    this.#known.set(toHex(target.root.digest), this.root)
    this.#writer = target.blocks.openWriter()
  }

  get progress(): TransferProgress {
    const providers = [...this.#lanes.values()].map((lane) => ({ agent: lane.agent, fetchedBytes: lane.receivedBytes }))
    return { fetchedBytes: this.#fetchedBytes, providers }
  }

  /** Whether nothing will come of it any more. */
  get isBroken(): boolean {
    return this.#failure !== undefined || this.#closing !== undefined
  }

  /** Asks providers that may have come (that one anew), or have room again. */
  refresh(agent?: Uint8Array): void {
    if (agent !== undefined) this.#answers.forget(agent)
    this.#startLanes()
  }

  /** Ends the lane to an agent (in hex) if there is nothing to ask of it. Gives whether it did. */
  letGo(agent: string): boolean {
    const lane = this.#lanes.get(agent)
    if (lane?.isIdle !== true) return false
    lane.stop()
    return true
  }

  /**
   * A block from here, else from a provider; `undefined` when it is neither here nor known to be of this content.
   * @throws UNAVAILABLE, CORRUPT, what the store throws, CLOSED, the signal's reason
   */
  async read(digest: Uint8Array, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const { blocks } = this.#target
    const key = toHex(digest)
    for (;;) {
      this.#assertWorks(signal)
      const block = this.#known.get(key)
      const bytes = await blocks.read(digest, { signal })
      if (bytes !== undefined) {
        if (block !== undefined && block.level > 0) this.#learn(childrenOf(block, bytes.slice()))
        return bytes
      }
      if (block === undefined) return undefined
      // It may have come between the two.
      if (!this.#known.has(key)) continue
      const fetched = await this.#want(block, readsBytes, signal)
      if (fetched !== undefined) return fetched
    }
  }

  /** Resolves once a block is here, in order with what is read; at once when it is not known to be of this content. @throws as `read` */
  async bring(digest: Uint8Array, signal: AbortSignal): Promise<void> {
    this.#assertWorks(signal)
    const [isHere] = await this.#target.blocks.has([digest])
    const block = this.#known.get(toHex(digest))
    if (isHere !== true && block !== undefined) await this.#want(block, readsInPlace, signal)
  }

  /**
   * Resolves once all blocks under `range` (default all) are here and durable.
   * @throws as `read`
   */
  async whole(range: ContentRange | undefined, signal: AbortSignal): Promise<void> {
    const stop = new AbortController()
    const both = AbortSignal.any([signal, stop.signal])
    const coming = new Set<Promise<unknown>>()
    const room = new Gate()
    try {
      const blocks: BlockReader = { read: (digest) => this.read(digest, both) }
      const span = range && { start: range.offset, end: range.offset + range.length }
      for await (const { kind, digest } of walkTree({ root: this.#target.root, blocks, range: span, signal: both })) {
        this.#assertWorks(both)
        if ((await this.#writer.find(digest)) || kind === 'node') continue
        const block = this.#known.get(toHex(digest))
        if (block === undefined) continue
        const arrival = this.#want(block, readsLater, both)
        coming.add(arrival)
        arrival.then(
          () => {
            coming.delete(arrival)
            room.open()
          },
          (error) => stop.abort(error),
        )
        while (coming.size >= maxLeavesWanted) await room.wait(both)
      }
      await Promise.all(coming)
      this.#assertWorks(signal)
      await this.#writer.sync()
    } finally {
      stop.abort()
      await Promise.allSettled(coming)
    }
  }

  /** Stops, and keeps what has come. Resolves when nothing of it runs any more. Idempotent; never rejects. */
  close(reason: unknown): Promise<void> {
    this.#closing ??= this.#close(reason)
    return this.#closing
  }

  take(lane: Lane): ReturnType<Wants['take']> {
    return this.#wants.take(lane, this.root)
  }

  request(runs: readonly LeafRun[], nodes: boolean): AskerFrame {
    const { namespace, artifact, root } = this.#target
    return { kind: 'request', request: { namespace, artifact, root, runs, nodes } }
  }

  expects(lane: Lane, block: Subtree): void {
    this.#wants.expect(block, lane)
  }

  async receivedNode(node: Subtree, bytes: Uint8Array<ArrayBuffer>, children: readonly Subtree[]): Promise<void> {
    await this.#writer.put(node.digest, bytes)
    this.#learn(children)
    this.#arrived(node, bytes)
  }

  async receivedLeaf(leaf: Subtree, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.#writer.put(leaf.digest, bytes)
    this.#known.delete(toHex(leaf.digest))
    this.#arrived(leaf, bytes)
    this.#memory.give(bytes)
  }

  lacks(lane: Lane, block: Subtree): void {
    const want = this.#wants.get(block.digest)
    if (want === undefined) return
    want.lanes.delete(lane)
    want.lackedBy.add(lane.key)
    if (want.waiters.size === 0 && want.lanes.size === 0) this.#wants.delete(want)
  }

  answered(): void {
    this.#giveUp()
    // What one lacks another may have.
    this.#pump()
  }

  broken(error: unknown): void {
    if (this.#failure === undefined && isHubError(error, 'CORRUPT')) this.#pool.broken()
    this.#failure ??= { error }
    for (const want of [...this.#wants]) this.#reject(want, error)
    for (const lane of this.#lanes.values()) lane.stop()
  }

  async #close(reason: unknown): Promise<void> {
    this.#stop.abort(reason)
    this.#cancelTimer?.()
    for (const want of [...this.#wants]) this.#reject(want, reason)
    await Promise.all(this.#running)
    await this.#syncing
    // Nobody was promised that this is durable, but whoever comes again should find it.
    await this.#writer.sync().catch(() => {})
    await this.#writer.close()
  }

  /** Remembers blocks that are known of, so that they can be asked for. */
  #learn(children: readonly Subtree[]): void {
    for (const child of children) {
      const key = toHex(child.digest)
      if (!this.#known.has(key)) this.#known.set(key, child)
    }
  }

  /** The bytes, for one of those who take them; `undefined` for all others. */
  async #want(
    block: Subtree,
    reads: Pick<Waiter, 'isUrgent' | 'takesBytes'>,
    signal: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer> | undefined> {
    this.#assertWorks(signal)
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array<ArrayBuffer> | undefined>()
    const waiter: Waiter = { ...reads, resolve, reject }
    const want = this.#wants.add(block, waiter)
    const leave = (): void => {
      this.#wants.leave(want, waiter)
      reject(signal.reason)
    }
    signal.addEventListener('abort', leave, { once: true })
    try {
      this.#pump({ isForWant: true })
      if (this.#lanes.size === 0) this.#giveUp()
      return await promise
    } finally {
      signal.removeEventListener('abort', leave)
    }
  }

  #arrived(block: Subtree, bytes: Uint8Array<ArrayBuffer>): void {
    this.#fetchedBytes += bytes.length
    this.#unsyncedBytes += bytes.length
    if (this.#unsyncedBytes >= fetchSyncBytes) this.#sync()
    const want = this.#wants.get(block.digest)
    let isGiven = false
    if (want !== undefined) {
      this.#wants.delete(want)
      for (const waiter of want.waiters) {
        // One may have the memory; the others read it from the store.
        waiter.resolve(waiter.takesBytes && !isGiven ? bytes.slice() : undefined)
        isGiven ||= waiter.takesBytes
      }
    }
  }

  #sync(): void {
    this.#unsyncedBytes = 0
    this.#syncing = this.#syncing.then(() => this.#writer.sync()).catch((error) => this.broken(error))
  }

  #reject(want: Want, error: unknown): void {
    this.#wants.delete(want)
    for (const waiter of want.waiters) waiter.reject(error)
  }

  #pump({ isForWant = false } = {}): void {
    if (this.#stop.signal.aborted) return
    this.#watch()
    for (const lane of this.#lanes.values()) lane.pump()
    if (!isForWant || !this.#isNobodyLeft || this.#lanes.size === 0) this.#startLanes()
  }

  /** Providers that may be asked and are not being asked. */
  *#askable(): Generator<{ readonly agent: Uint8Array; readonly key: string }, void, undefined> {
    for (const agent of this.#target.providers()) {
      const key = toHex(agent)
      if (!this.#lanes.has(key) && this.#answers.mayAsk(key)) yield { agent, key }
    }
  }

  /**
   * Opens lanes while there is more to ask for than lanes that may take it. To find and dial who is not connected takes more than a hundred blocks
   * do, at others too: it is done for what nobody brings who is asked already.
   */
  #startLanes(): void {
    if (this.#lanes.size >= maxFetchProviders && [...this.#lanes.values()].every((lane) => !lane.isIdle)) return
    let open: Want[] | undefined
    let away: ((key: string) => boolean) | undefined
    this.#isNobodyLeft = true
    for (const { agent, key } of this.#askable()) {
      if (this.#stop.signal.aborted) break
      open ??= [...this.#wants].filter((want) => want.waiters.size > 0 && (want.lanes.size === 0 || want.isLate))
      away ??= this.#isBrought(open) ? this.#unconnected() : () => false
      if (away(key)) continue
      this.#isNobodyLeft = false
      const lanes = [...this.#lanes.values()]
      if (open.every((want) => want.lackedBy.has(key))) continue
      if (!this.#pool.hasRoom(key)) {
        if (lanes.length === 0) this.#pool.needsRoom(key)
        continue
      }
      if (lanes.length >= maxFetchProviders) {
        // One that has nothing to do, for it lacks what is wanted, makes way.
        lanes.find((lane) => lane.isIdle)?.stop()
        break
      }
      // One more than needed, for it may be slow to come.
      if (lanes.filter((lane) => !lane.isIdle && !lane.isBusy).length > open.length) break
      this.#startLane(agent)
    }
  }

  /** Whether all of it is likely to come soon from those who have brought something. */
  #isBrought(open: readonly Want[]): boolean {
    const bringing = [...this.#lanes.values()].filter((lane) => lane.receivedBlocks > 0)
    return open.every((want) => !want.isLate && bringing.some((lane) => !want.lackedBy.has(lane.key)))
  }

  #unconnected(): (key: string) => boolean {
    const connected = new Set(this.#pool.network.connected().map(toHex))
    return (key) => !connected.has(key)
  }

  #startLane(agent: Uint8Array): void {
    const { network, scheduler, engine } = this.#pool
    const lane = new Lane({
      agent,
      network,
      scheduler,
      engine,
      host: this,
      memory: this.#memory,
      unstored: this.#unstored,
      present: this.#target.present?.(agent) ?? [],
      isBulk: this.#target.root.storedBytes >= bulkContentBytes,
      signal: this.#stop.signal,
    })
    this.#lanes.set(lane.key, lane)
    this.#pool.opened(lane.key)
    const running = lane.run().then((end) => {
      this.#running.delete(running)
      this.#ended(lane, end)
    })
    this.#running.add(running)
  }

  #ended(lane: Lane, end: LaneEnd): void {
    this.#lanes.delete(lane.key)
    this.#answers.add(lane, end)
    this.#pool.ended(lane.agent, end.kind)
    for (const want of [...this.#wants]) {
      if (want.lanes.delete(lane) && want.waiters.size === 0 && want.lanes.size === 0) this.#wants.delete(want)
    }
    if (this.#stop.signal.aborted) return
    this.#pump()
    this.#giveUp()
  }

  /** Fails what nobody can bring who could still be asked. */
  #giveUp(): void {
    if (this.#stop.signal.aborted || this.#failure !== undefined) return
    let askable: readonly { readonly key: string }[] | undefined
    for (const want of [...this.#wants]) {
      if (want.lanes.size > 0 || [...this.#lanes.keys()].some((key) => !want.lackedBy.has(key))) continue
      askable ??= [...this.#askable()]
      if (askable.some(({ key }) => !want.lackedBy.has(key))) continue
      this.#reject(want, this.#answers.unavailable(want, this.#target.artifact))
    }
    // Whoever wants something after this is a new try.
    if (this.#wants.size === 0 && this.#lanes.size === 0) this.#answers.forgetAll()
  }

  /** Looks from time to time whether something has been waited for too long. */
  #watch(): void {
    if (this.#cancelTimer !== undefined || this.#wants.size === 0) return
    const seen = new Set([...this.#wants].filter((want) => want.lanes.size > 0))
    this.#cancelTimer = this.#pool.scheduler.setTimer(askAgainMs, () => {
      this.#cancelTimer = undefined
      for (const want of this.#wants) if (seen.has(want) && want.lanes.size > 0) want.isLate = true
      this.#pump()
    })
  }

  #assertWorks(signal: AbortSignal): void {
    signal.throwIfAborted()
    this.#stop.signal.throwIfAborted()
    if (this.#failure !== undefined) throw this.#failure.error
  }
}
