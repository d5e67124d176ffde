import { decodePresentation, type Presentation } from '../capability/index.ts'
import { Budget, type ContentEngine, type ContentRef, type DigestedBlock, type Subtree } from '../content/index.ts'
import { equalBytes, toHex } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import {
  blockCreditBytes,
  blockIdleMs,
  blockReadAheadBytes,
  blockRefusalMs,
  maxPresentations,
  maxRequestsWaiting,
} from '../limits.ts'
import type { BlockPlace, NamespaceBlocks } from '../storage/index.ts'
import { BlockMemory } from './block-memory.ts'
import { FrameReader, FrameWriter } from './frame-stream.ts'
import { type BlockRequest, decodeAskerFrame, encodeFrame, type LeafRun, type ServerFrame } from './frames.ts'
import { Gate } from './gate.ts'
import { type Asker, mayRead, type NamespaceRoots, readableRoot } from './may-read.ts'
import type { PeerStream } from './peer-network.ts'
import type { Scheduler } from './scheduler.ts'
import { ServedTree } from './served-tree.ts'

/** A namespace as it is served. */
export interface ServedNamespace extends NamespaceRoots {
  readonly blocks: ServedBlocks
}

type ServedBlocks = Pick<NamespaceBlocks, 'read' | 'readInto' | 'inPlace'>

/** What a server of blocks did, since it began. */
export interface BlockServerCounters {
  /** Requests answered, the refused ones too. */
  requests: number
  /** Requests refused: nobody who may read, or nothing that is known. */
  refused: number
  sentBlocks: number
  sentBytes: number
  /** Leaves asked for that are not here. */
  missing: number
  /** Blocks here that are damaged or that the disk did not give. */
  unreadable: number
  /** Streams ended because nothing moved on them. */
  idle: number
  /** Streams ended because of frames that no honest peer sends. */
  badFrames: number
  /** Streams ended because of more requests or streams than are allowed. */
  floods: number
}

/** What one stream is served with. */
export interface BlockSessionOptions {
  readonly stream: PeerStream
  readonly lookup: (namespace: Uint8Array) => ServedNamespace | undefined
  readonly scheduler: Scheduler
  readonly engine: Pick<ContentEngine, 'digest' | 'digestInPlace'>
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
  readonly counters: BlockServerCounters
  /** Told when a request was not refused. */
  readonly onPermitted: () => void
  readonly signal: AbortSignal
}

/** A frame to be sent once what stands before it is; a block once its bytes are read and there is credit. */
interface Outgoing {
  readonly frame: Promise<ServerFrame>
  /** Taken from the read-ahead. */
  readonly reservedBytes: number
}

/** A stream that asks for more at once than is allowed. */
export class Flood extends Error {}
/** A stream on which nothing moves. */
export class Idle extends Error {}

/**
 * Answers the requests on one stream, one after another, and reads the next blocks while the last ones are sent. In memory: the
 * waiting requests, the read-ahead and one frame.
 * @throws Flood, Idle; CORRUPT, TOO_LARGE for frames that no honest peer sends; what the stream throws; the signal's reason
 */
export async function serveStream(options: BlockSessionOptions): Promise<void> {
  await new BlockSession(options).run()
}

class BlockSession {
  readonly #options: BlockSessionOptions
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  readonly #readAhead: Budget
  readonly #gate = new Gate()
  /** Twice what blocks may need: they lie in memory that longer ones were in. What is let go of and taken anew has the collector run. */
  readonly #memory = new BlockMemory(2 * (blockReadAheadBytes + 2 * blockCreditBytes))
  /** Blocks that were sent and not yet taken off the stream by the other side, each with how many bytes were sent with it. */
  readonly #sent: { readonly sentBytes: number; readonly memory: Uint8Array<ArrayBuffer> }[] = []
  #sentBytes = 0
  #grantedBytes = 0
  readonly #requests: BlockRequest[] = []
  readonly #outgoing: Outgoing[] = []
  readonly #reader: FrameReader
  readonly #writer: FrameWriter
  /** The trees that requests were last for: as a rule there is one. */
  #tree: { readonly key: string; readonly tree: ServedTree } | undefined
  readonly #presentations: Presentation[] = []
  #credit = 0
  #unanswered = 0
  #asked = false
  #prepared = false

  constructor(options: BlockSessionOptions) {
    this.#options = options
    this.#signal = AbortSignal.any([options.signal, this.#stop.signal])
    this.#readAhead = new Budget(blockReadAheadBytes, this.#signal)
    this.#reader = new FrameReader(options.stream, 'asker')
    this.#writer = new FrameWriter(options.stream)
  }

  async run(): Promise<void> {
    const ends = [this.#listen(), this.#prepare(), this.#send()]
    const stopWatching = this.#watch()
    try {
      await Promise.all(ends.map((end) => end.catch((error) => this.#fail(error))))
      if (this.#stop.signal.aborted) throw this.#stop.signal.reason
    } finally {
      stopWatching()
      this.#stop.abort()
      await Promise.allSettled(this.#outgoing.map(({ frame }) => frame))
    }
  }

  /** The first failure is the reason of all that follow. */
  #fail(error: unknown): void {
    this.#stop.abort(error)
  }

  /** Takes requests and credit in, until the other side ends. */
  async #listen(): Promise<void> {
    for (;;) {
      const raw = await this.#reader.next(this.#signal)
      if (raw === undefined) break
      const frame = decodeAskerFrame(raw)
      if (frame.kind === 'credit') {
        this.#credit += frame.bytes
        this.#grantedBytes += frame.bytes
        if (this.#credit > blockCreditBytes) throw new Flood('more credit than a stream can hold')
        this.#takeBack()
      } else if (frame.kind === 'present') {
        if (this.#presentations.length >= maxPresentations) throw new Flood('more capabilities than a stream may show')
        this.#presentations.push(decodePresentation(frame.presentation))
      } else {
        this.#unanswered++
        if (this.#unanswered > maxRequestsWaiting) throw new Flood('more requests than may wait')
        this.#requests.push(frame.request)
      }
      this.#gate.open()
    }
    this.#asked = true
    this.#gate.open()
  }

  /** Turns requests into frames, as far ahead as the read-ahead goes. */
  async #prepare(): Promise<void> {
    for (;;) {
      const request = this.#requests.shift()
      if (request !== undefined) await this.#answer(request)
      else if (this.#asked) break
      else await this.#gate.wait(this.#signal)
    }
    this.#prepared = true
    this.#gate.open()
  }

  /** Sends frames in their order, blocks as there is credit. */
  async #send(): Promise<void> {
    const { counters } = this.#options
    for (;;) {
      const next = this.#outgoing[0]
      if (next === undefined) {
        if (this.#prepared) return
        await this.#gate.wait(this.#signal)
        continue
      }
      const frame = await next.frame
      if (frame.kind === 'node' || frame.kind === 'leaf') {
        while (this.#credit <= 0) {
          if (this.#asked) throw new ArtifactHubError('UNAVAILABLE', 'The other side ended before it took everything')
          await this.#gate.wait(this.#signal)
        }
        this.#credit -= frame.bytes.length
        this.#sentBytes += frame.bytes.length
        counters.sentBlocks++
        counters.sentBytes += frame.bytes.length
      } else if (frame.kind === 'missing') counters.missing += frame.run.count
      else if (frame.kind === 'end' || frame.kind === 'refuse') {
        this.#unanswered--
        counters.requests++
      }
      await this.#writer.write(encodeFrame(frame), this.#signal)
      if (frame.kind === 'leaf') this.#sent.push({ sentBytes: this.#sentBytes, memory: frame.bytes })
      this.#outgoing.shift()
      this.#readAhead.give(next.reservedBytes)
    }
  }

  /**
   * What the other side gives credit for again it has taken off the stream, so nothing on this side holds it any more. Whoever gives
   * credit too early gets other bytes of what is his to read.
   */
  #takeBack(): void {
    const takenBytes = this.#grantedBytes - blockCreditBytes
    for (let first = this.#sent[0]; first !== undefined && first.sentBytes <= takenBytes; first = this.#sent[0]) {
      this.#memory.give(first.memory)
      this.#sent.shift()
    }
  }

  async #answer(request: BlockRequest): Promise<void> {
    const mayAnswer = this.#timer(blockRefusalMs)
    try {
      const served = await this.#permitted(request)
      if (served === undefined) {
        await mayAnswer.promise
        this.#options.counters.refused++
        this.#push({ kind: 'refuse', code: 'ACCESS_DENIED', message: 'Not for this agent, or not here' })
        return
      }
      this.#options.onPermitted()
      this.#push({ kind: 'accept' })
      if (request.nodes) await this.#pushNodes(served.tree, (request.runs[0] as LeafRun).first)
      for (const run of request.runs) {
        for (let index = run.first; index < run.first + run.count; index++) {
          this.#assertMayRead(request)
          await this.#pushLeaf(served.tree, served.blocks, index)
        }
      }
      this.#push({ kind: 'end' })
    } finally {
      mayAnswer.cancel()
    }
  }

  get #asker(): Asker {
    const { stream, scheduler, self } = this.#options
    return { agent: stream.agent, presentations: this.#presentations, provider: self, nowMs: scheduler.now() }
  }

  /** A right may end while an answer is under way. @throws ACCESS_DENIED */
  #assertMayRead({ namespace, artifact }: BlockRequest): void {
    const subject = { kind: 'root', artifact } as const
    if (mayRead(this.#options.lookup(namespace), this.#asker, subject).allowed) return
    throw new ArtifactHubError('ACCESS_DENIED', 'This agent may not read any more')
  }

  /** What a request may have; `undefined` for a stranger as for what is not known, or not of those sizes. */
  async #permitted(request: BlockRequest): Promise<{ tree: ServedTree; blocks: ServedBlocks } | undefined> {
    const namespace = this.#options.lookup(request.namespace)
    const root = await readableRoot(namespace, this.#asker, request.artifact, request.root.digest)
    if (namespace === undefined || root === undefined || !isSameContent(root, request.root)) return undefined
    const key = `${toHex(request.namespace)} ${toHex(root.digest)} ${root.codec}`
    if (this.#tree?.key !== key) this.#tree = { key, tree: new ServedTree(root, namespace.blocks) }
    const { tree } = this.#tree
    const last = request.runs.at(-1) as LeafRun
    return last.first + Math.max(1, last.count) <= tree.leaves ? { tree, blocks: namespace.blocks } : undefined
  }

  async #pushNodes(tree: ServedTree, first: number): Promise<void> {
    const nodes = await this.#orMissing(() => tree.path(first, this.#signal))
    for (const bytes of nodes ?? []) this.#push({ kind: 'node', bytes })
    if (nodes === undefined) this.#push({ kind: 'missing', run: { first, count: 0 } })
  }

  async #pushLeaf(tree: ServedTree, blocks: ServedBlocks, index: number): Promise<void> {
    const leaf = await this.#orMissing(() => tree.leaf(index, this.#signal))
    if (leaf === undefined) {
      this.#push({ kind: 'missing', run: { first: index, count: 1 } })
      return
    }
    await this.#readAhead.take(leaf.leafBytes)
    const frame = this.#readLeaf(leaf, blocks, index)
    // Told when its turn comes; until then it must not count as unhandled.
    frame.catch(() => {})
    this.#outgoing.push({ frame, reservedBytes: leaf.leafBytes })
    this.#gate.open()
  }

  async #readLeaf(leaf: Subtree, blocks: ServedBlocks, index: number): Promise<ServerFrame> {
    const read = await this.#orMissing(async () => (await this.#inPlace(leaf, blocks)) ?? this.#inMemory(leaf, blocks))
    if (read !== undefined && equalBytes(read.digest, leaf.digest)) return { kind: 'leaf', index, bytes: read.block }
    if (read !== undefined) {
      this.#memory.give(read.block)
      this.#options.counters.unreadable++
    }
    return { kind: 'missing', run: { first: index, count: 1 } }
  }

  /** Read and hashed by one thread, if one can; `undefined` when none did. */
  async #inPlace({ digest, leafBytes }: Subtree, blocks: ServedBlocks): Promise<DigestedBlock | undefined> {
    const { engine } = this.#options
    const use = async (place: BlockPlace): Promise<DigestedBlock | undefined> => {
      if (place.length !== leafBytes) return undefined
      const into = this.#memory.take(leafBytes)
      const digesting = engine.digestInPlace?.(place, into)
      if (digesting === undefined) this.#memory.give(into)
      return await digesting
    }
    if (engine.digestInPlace === undefined) return undefined
    return await blocks.inPlace?.(digest, use, { signal: this.#signal })
  }

  async #inMemory({ digest, leafBytes }: Subtree, blocks: ServedBlocks): Promise<DigestedBlock | undefined> {
    const into = this.#memory.take(leafBytes)
    const length = await blocks.readInto(digest, into, { signal: this.#signal })
    if (length === leafBytes) return await this.#options.engine.digest(into)
    this.#memory.give(into)
    if (length !== undefined) this.#options.counters.unreadable++
    return undefined
  }

  /** A damaged block or a failing disk is this node's own affair: to others the block is not here. */
  async #orMissing<T>(read: () => Promise<T | undefined>): Promise<T | undefined> {
    try {
      return await read()
    } catch (error) {
      this.#signal.throwIfAborted()
      if (!isHubError(error)) throw error
      this.#options.counters.unreadable++
      return undefined
    }
  }

  #push(frame: ServerFrame): void {
    this.#outgoing.push({ frame: Promise.resolve(frame), reservedBytes: 0 })
    this.#gate.open()
  }

  #timer(ms: number): { readonly promise: Promise<void>; readonly cancel: () => void } {
    const { promise, resolve } = Promise.withResolvers<void>()
    const cancel = this.#options.scheduler.setTimer(ms, resolve)
    const stop = (): void => resolve()
    this.#signal.addEventListener('abort', stop)
    return {
      promise,
      cancel: () => {
        cancel()
        this.#signal.removeEventListener('abort', stop)
      },
    }
  }

  /** Ends the session when nothing was received or sent between two looks. */
  #watch(): () => void {
    const { scheduler } = this.#options
    let seen = -1
    let cancel = (): void => {}
    const look = (): void => {
      const moved = this.#reader.receivedBytes + this.#writer.writes
      if (moved === seen) this.#fail(new Idle('nothing moves on the stream'))
      else cancel = scheduler.setTimer(blockIdleMs, look)
      seen = moved
    }
    look()
    return () => cancel()
  }
}

function isSameContent(a: ContentRef, b: ContentRef): boolean {
  return (
    equalBytes(a.digest, b.digest) &&
    a.codec === b.codec &&
    a.sizeBytes === b.sizeBytes &&
    a.storedBytes === b.storedBytes
  )
}
