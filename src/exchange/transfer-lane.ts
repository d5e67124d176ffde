import type { Budget, ContentEngine, Subtree } from '../content/index.ts'
import { equalBytes, toHex } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import {
  blockCreditBytes,
  blockOpenMs,
  laneIdleMs,
  minProgressBytes,
  progressMs,
  unitLeaves,
  unitsInFlight,
} from '../limits.ts'
import type { BlockMemory } from './block-memory.ts'
import { FrameReader, FrameWriter } from './frame-stream.ts'
import {
  type AskerFrame,
  blocksProtocol,
  decodeServerFrame,
  encodeFrame,
  type LeafRun,
  malformed,
  type ServerFrame,
} from './frames.ts'
import { badBlock, type LaneEnd, LaneFailure } from './lane-end.ts'
import { type Assignment, LaneRequest } from './lane-request.ts'
import type { PeerNetwork, PeerStream } from './peer-network.ts'
import type { Scheduler } from './scheduler.ts'

/** The transfer that a lane works for. */
export interface LaneHost {
  readonly root: Subtree
  /** What to ask this provider for next. */
  take(lane: Lane): Assignment | undefined
  request(runs: readonly LeafRun[], nodes: boolean): AskerFrame
  /** That block comes without having been taken: it was asked for before it was known. */
  expects(lane: Lane, block: Subtree): void
  /** A node that hashes to its digest, and what it says of its children, who may share its memory. */
  receivedNode(node: Subtree, bytes: Uint8Array<ArrayBuffer>, children: readonly Subtree[]): Promise<void>
  /** A leaf that hashes to its digest. */
  receivedLeaf(leaf: Subtree, bytes: Uint8Array<ArrayBuffer>): Promise<void>
  /** The provider does not have it. */
  lacks(lane: Lane, block: Subtree): void
  /** A request was answered in full. */
  answered(): void
  /** The content itself is not what any content is, or this side's disk fails: nobody can help. */
  broken(error: unknown): void
}

export interface LaneOptions {
  /** The provider, 32 bytes. */
  readonly agent: Uint8Array
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  readonly engine: Pick<ContentEngine, 'digest'>
  readonly host: LaneHost
  /** Where leaves are received; the host gives back what it was handed. */
  readonly memory: BlockMemory
  /** Bytes received and not yet stored, of all lanes of a transfer. */
  readonly unstored: Budget
  /** Presentations to show first. */
  readonly present: readonly Uint8Array[]
  /** Whether there is enough to fetch for a bulk stream. */
  readonly isBulk: boolean
  readonly signal: AbortSignal
}

/** A request answered faster than this makes the next one longer, slower than that shorter: milliseconds. */
const quickMs = 500
const slowMs = 2_000

/**
 * One stream to one provider, with a few requests open on it. Everything that arrives is checked against what was asked for
 * (kind, number, length, hash) before it is handed on; whatever else arrives ends the lane.
 */
export class Lane {
  readonly agent: Uint8Array
  /** The agent in hex. */
  readonly key: string
  readonly #options: LaneOptions
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  readonly #pending: LaneRequest[] = []
  readonly #storing = new Set<Promise<void>>()
  #writer: FrameWriter | undefined
  #reader: FrameReader | undefined
  /** Being opened, or open and waited for until what was asked for on the first stream is through. */
  #bulkOpening: Promise<void> | undefined
  #bulk: PeerStream | undefined
  /** Of the first stream. */
  #closing: Promise<void> | undefined
  #cancelTimer = (): void => {}
  #unit = 2
  #receivedBlocks = 0
  #receivedBytes = 0

  constructor(options: LaneOptions) {
    this.#options = options
    this.agent = options.agent
    this.key = toHex(options.agent)
    this.#signal = AbortSignal.any([options.signal, this.#stop.signal])
  }

  /** Leaves that the next request should have at most: few at first and at slow providers. */
  get unitLeaves(): number {
    return this.#unit
  }

  /** Good blocks so far. */
  get receivedBlocks(): number {
    return this.#receivedBlocks
  }

  /** Bytes of good blocks so far. */
  get receivedBytes(): number {
    return this.#receivedBytes
  }

  /** Whether requests are open. */
  get isBusy(): boolean {
    return this.#pending.length > 0
  }

  /** Whether it could be asked now, and is not. */
  get isIdle(): boolean {
    return this.#writer !== undefined && this.#pending.length === 0
  }

  /** Asks for more, if there is more to ask for. */
  pump(): void {
    if (this.#writer === undefined || this.#bulk !== undefined || this.#signal.aborted) return
    while (this.#pending.length < unitsInFlight) {
      const assignment = this.#options.host.take(this)
      if (assignment === undefined) return
      this.#ask(assignment)
    }
  }

  /** Ends the lane with nothing against the provider. */
  stop(): void {
    this.#fail(new LaneFailure('done', 'was no longer needed'))
  }

  /** Runs until there is a reason to end; when it resolves nothing of it runs any more. Never rejects. */
  async run(): Promise<LaneEnd> {
    let stream: PeerStream | undefined
    try {
      stream = await this.#open()
      await this.#use(stream)
      if (this.#bulk !== undefined && this.#pending.length === 0) {
        this.#closing = stream.close().catch(() => {})
        stream = this.#bulk
        this.#bulk = undefined
        await this.#use(stream)
      }
      await Promise.all(this.#storing)
      this.#signal.throwIfAborted()
      throw this.#pending.length > 0
        ? new LaneFailure('cut', 'ended the stream in the middle')
        : new LaneFailure('ended', 'ended the stream')
    } catch (error) {
      const end = this.#endOf(error)
      this.#stop.abort(error)
      // What was asked for and is not wanted any more would go on coming.
      const isThrough = this.#pending.length === 0 && (end.kind === 'done' || end.kind === 'ended')
      if (isThrough) await stream?.close().catch(() => {})
      else stream?.abort(error instanceof Error ? error : new Error(end.answer))
      return end
    } finally {
      this.#cancelTimer()
      await Promise.all([...this.#storing, this.#bulkOpening, this.#closing])
      this.#bulk?.abort(new Error('was no longer needed'))
    }
  }

  /** Works on a stream until the other side ends it, or a bulk stream is there to go on with. */
  async #use(stream: PeerStream): Promise<void> {
    const { memory } = this.#options
    const reader = new FrameReader(stream, 'server', (kind, length) =>
      kind === 'leaf' ? memory.take(length) : undefined,
    )
    this.#reader = reader
    this.#writer = new FrameWriter(stream)
    for (const presentation of this.#options.present) this.#send({ kind: 'present', presentation })
    this.#send({ kind: 'credit', bytes: blockCreditBytes })
    this.#waitForWork()
    this.pump()
    await this.#receive(reader)
  }

  /**
   * Begins on an ordinary stream, which is there at once, and goes on on a bulk stream: once, when the first blocks have come. While nothing is
   * asked for there is no need.
   */
  #openBulk(): void {
    const { network, isBulk } = this.#options
    if (!isBulk || this.#bulkOpening !== undefined) return
    this.#bulkOpening = (async () => {
      const stream = await network.openBulk(this.agent, blocksProtocol, { signal: this.#signal }).catch(() => undefined)
      if (this.#pending.length > 0 && !this.#signal.aborted) this.#bulk = stream
      else stream?.abort(new Error('was no longer needed'))
    })()
  }

  async #open(): Promise<PeerStream> {
    const { network, scheduler, agent } = this.#options
    const late = new LaneFailure('unreachable', 'took too long to answer')
    const cancel = scheduler.setTimer(blockOpenMs, () => this.#fail(late))
    try {
      return await network.open(agent, blocksProtocol, { signal: this.#signal })
    } catch (error) {
      this.#signal.throwIfAborted()
      const reason = isHubError(error) && typeof error.details.reason === 'string' ? error.details.reason : undefined
      throw new LaneFailure('unreachable', reason ?? (error instanceof Error ? error.message : String(error)))
    } finally {
      cancel()
    }
  }

  #ask(assignment: Assignment): void {
    const { host, scheduler } = this.#options
    const request = new LaneRequest(assignment, host.root, scheduler.now())
    this.#pending.push(request)
    if (this.#pending.length === 1) this.#watchProgress()
    this.#send(host.request(request.runs, assignment.kind === 'path'))
  }

  async #receive(reader: FrameReader): Promise<void> {
    for (;;) {
      const raw = await reader.next(this.#signal)
      if (raw === undefined) return
      const frame = decodeServerFrame(raw)
      const current = this.#pending[0]
      if (current === undefined) throw malformed('an answer to nothing')
      await this.#take(frame, current)
      this.#signal.throwIfAborted()
      if (this.#bulk !== undefined && this.#pending.length === 0) return
    }
  }

  async #take(frame: ServerFrame, current: LaneRequest): Promise<void> {
    const { host } = this.#options
    if (frame.kind === 'accept') current.accept()
    else if (frame.kind === 'refuse') current.refuse(frame.code, frame.message)
    else if (frame.kind === 'node') await this.#takeNode(frame.bytes, current)
    else if (frame.kind === 'leaf') await this.#takeLeaf(current.leaf(frame.index, frame.bytes.length), frame.bytes)
    else if (frame.kind === 'missing') for (const block of current.missing(frame.run)) host.lacks(this, block)
    else this.#takeEnd(current)
  }

  async #takeNode(bytes: Uint8Array<ArrayBuffer>, current: LaneRequest): Promise<void> {
    const { host } = this.#options
    const { node, children, next } = current.node(bytes, (error) => host.broken(error))
    this.#send({ kind: 'credit', bytes: bytes.length })
    if (next !== undefined) host.expects(this, next)
    this.#receivedBlocks++
    this.#receivedBytes += bytes.length
    await this.#store(() => host.receivedNode(node, bytes, children))
  }

  async #takeLeaf(leaf: Subtree, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const { unstored } = this.#options
    // It is we who are slow now.
    this.#cancelTimer()
    await unstored.take(bytes.length)
    this.#watchProgress()
    this.#send({ kind: 'credit', bytes: bytes.length })
    const { length } = bytes
    const storing = this.#store(() => this.#verifyAndStore(leaf, bytes)).finally(() => {
      unstored.give(length)
      this.#storing.delete(storing)
    })
    this.#storing.add(storing)
  }

  /** Next to what arrives meanwhile. */
  async #verifyAndStore(leaf: Subtree, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const { host, engine } = this.#options
    const { block, digest } = await engine.digest(bytes)
    if (!equalBytes(digest, leaf.digest)) {
      this.#fail(badBlock())
      return
    }
    this.#receivedBlocks++
    this.#receivedBytes += block.length
    await host.receivedLeaf(leaf, block)
  }

  #takeEnd(current: LaneRequest): void {
    const { host, scheduler } = this.#options
    current.end()
    this.#pending.shift()
    this.#cancelTimer()
    const tookMs = scheduler.now() - current.startedAt
    if (current.assignment.kind === 'leaves') {
      if (tookMs < quickMs) this.#unit = Math.min(unitLeaves, this.#unit * 2)
      else if (tookMs > slowMs) this.#unit = Math.max(1, this.#unit >> 1)
    }
    this.#openBulk()
    const next = this.#pending[0]
    if (next === undefined) this.#waitForWork()
    else {
      next.startedAt = scheduler.now()
      this.#watchProgress()
    }
    host.answered()
    this.pump()
  }

  /** What fails here is this side's: the transfer hears of it, not the lane. */
  async #store(store: () => Promise<void>): Promise<void> {
    try {
      await store()
    } catch (error) {
      this.#options.host.broken(error)
    }
  }

  #send(frame: AskerFrame): void {
    const writer = this.#writer
    writer?.write(encodeFrame(frame), this.#signal).catch((error) => {
      // What was still to go out on the first stream when the lane left it is missed by nobody.
      if (writer === this.#writer) this.#fail(error)
    })
  }

  #fail(error: unknown): void {
    this.#stop.abort(error)
  }

  /** While requests are open: enough must arrive in every period. */
  #watchProgress(): void {
    const { scheduler } = this.#options
    this.#cancelTimer()
    const before = this.#reader?.receivedBytes ?? 0
    this.#cancelTimer = scheduler.setTimer(progressMs, () => {
      const got = (this.#reader?.receivedBytes ?? 0) - before
      if (got >= minProgressBytes) this.#watchProgress()
      else if (got === 0) this.#fail(new LaneFailure('silent', `sent nothing in ${progressMs / 1000} s`))
      else this.#fail(new LaneFailure('too-slow', `sent ${got} bytes in ${progressMs / 1000} s`))
    })
  }

  /** With nothing to ask for, the stream is kept for a while: the next request is then quick. */
  #waitForWork(): void {
    this.#cancelTimer()
    this.#cancelTimer = this.#options.scheduler.setTimer(laneIdleMs, () => this.stop())
  }

  #endOf(error: unknown): LaneEnd {
    const cause = this.#stop.signal.aborted ? this.#stop.signal.reason : error
    if (cause instanceof LaneFailure) return { kind: cause.kind, answer: cause.message }
    if (this.#options.signal.aborted) return { kind: 'done', answer: 'was no longer needed' }
    if (isHubError(cause, 'CORRUPT') || isHubError(cause, 'TOO_LARGE')) {
      return { kind: 'bad-frame', answer: `broke the protocol: ${cause.message}` }
    }
    return { kind: 'cut', answer: cause instanceof ArtifactHubError ? cause.message : 'cut the stream' }
  }
}
