import { availableParallelism } from 'node:os'
import {
  type ContentEngine,
  type ContentKeys,
  type ContentScan,
  type DigestedBlock,
  inThreadEngine,
  type LeafFiles,
  type PlacedLeaf,
  type SealedLeaf,
  type SealOptions,
} from '../../src/content/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import { leafOverheadBytes } from '../../src/limits.ts'
import { type Entry, isSignedBeside } from '../../src/log/index.ts'
import type { WrappedBody } from '../../src/sharing/index.ts'
import type { BlockPlace } from '../../src/storage/index.ts'
import { diskError } from '../disk/files.ts'
import { packBodies, packEntries, unpackBodies, unpackVerdicts } from './entry-jobs.ts'
import { FileError } from './file-error.ts'
import type { EntryJob, Job } from './messages.ts'
import { SharedMemory } from './shared-memory.ts'
import { noThreadError, type PendingJob, WorkerSlot } from './slot.ts'

/** Up to this many bytes the work is done here: it takes less time (about 0.2 ms) than the way to a worker and back. */
const inThreadBytes = 64 * 1024
/** Jobs at a worker: one running, one ready when that ends. */
const jobsPerWorker = 2
/** Leaves that are opened here while the workers start, bytes: more than is done in that time, and no more memory than an upload takes. */
const coldLeafBytes = 64 * 1024 * 1024
/** Parts of scans at their worker: all the rest of an upload waits for the scan, which is not to wait for this thread. */
const scansPerWorker = 4
/** So many entries are worth the way to a worker. */
const manyEntries = 8
/** Workers that start with a scan: there will be chunks to seal as soon as it has found the first ones, and a start takes 0.1 s. */
const startedWithScan = 4
/** Workers that wait for the first work: a start takes 0.05 s of a processor, and each has 14 MB. */
const startedAhead = 2
/** Who still runs then stays, and will have work. */
const startAheadAfterMs = 1_000

interface RunOptions {
  /** Where it must run. Default wherever there is room. */
  readonly slot?: WorkerSlot | undefined
  readonly transfer?: readonly ArrayBuffer[]
  readonly signal?: AbortSignal | undefined
}

/**
 * The content engine over worker threads, as many as there are cores and at least two. They start with the first
 * work or when `startSoon` says, do not keep the process alive once idle, and are replaced when they die. Where the system has no thread
 * left for any of them the work is done in the caller's.
 *
 * Every job fails with INTERNAL when its worker dies, and with CLOSED once the pool is closed.
 */
export class WorkerPool implements ContentEngine, AsyncDisposable {
  readonly #slots: readonly WorkerSlot[]
  readonly #queue: PendingJob[] = []
  /** Jobs of scans, which can only run where the scan lives; they go first. */
  readonly #pinned = new Map<WorkerSlot, PendingJob[]>()
  readonly #scans = new Map<WorkerSlot, number>()
  readonly #memory = new SharedMemory()
  readonly #files: LeafFiles = {
    read: async (leaf, signal) => {
      // A stream hands out memory of its own; what uploads left would only stand beside it.
      if (this.#openScans === 0 && this.#memory.drop()) this.#collect()
      return await this.#run({ kind: 'read-leaf', leaf: withoutRest(leaf) }, { signal })
    },
    copy: async (leaf, { descriptor, path }, offset, signal) => {
      const job: Job = { kind: 'copy-leaf', leaf: withoutRest(leaf), descriptor, offset }
      await this.#run(job, { signal }).catch((error) => {
        throw error instanceof FileError && error.doing === 'write' ? diskError(error, `write ${path}`) : error
      })
    },
  }
  #nextScan = 0
  #coldBytes = 0
  #startTimer: NodeJS.Timeout | undefined
  #closing: Promise<void> | undefined

  constructor(size = Math.max(2, availableParallelism())) {
    this.#slots = Array.from({ length: size }, () => new WorkerSlot(() => this.#dispatch()))
  }

  /** Has two workers start in a second, if work has not started them by then: the first large content need not wait for them. */
  startSoon(): void {
    this.#startTimer = setTimeout(() => this.#start(startedAhead), startAheadAfterMs).unref()
  }

  allocate(bytes: number): Uint8Array {
    return this.#memory.allocate(bytes)
  }

  free(memory: Uint8Array): void {
    this.#memory.free(memory)
  }

  openScan(chunkingKey: Uint8Array): ContentScan {
    const scan = this.#nextScan++
    let local: ContentScan | undefined
    let slot: WorkerSlot | undefined
    let deaths = 0
    let closed = false
    const run = <T>(on: WorkerSlot, job: Job): Promise<T> => {
      if (deaths !== on.deaths) throw new ArtifactHubError('INTERNAL', 'The worker thread of a scan died')
      return this.#run<T>(job, { slot: on })
    }
    /** Where it goes on, once it is settled that it does not here. */
    const begin = (): WorkerSlot | undefined => {
      slot = this.#slotForScan()
      if (slot === undefined) return undefined
      deaths = slot.deaths
      // Fails only with its worker, and then the job behind it fails too.
      this.#run({ kind: 'scan-open', scan, chunkingKey }, { slot }).catch(() => {})
      return slot
    }
    return {
      update: async (bytes) => {
        // Whoever begins with so little has, as a rule, no more: it is not worth the way to a worker.
        const isSmall = slot === undefined && bytes.length <= inThreadBytes
        const there = local === undefined && !isSmall ? (slot ?? begin()) : undefined
        if (there !== undefined) return await run<number[]>(there, { kind: 'scan-update', scan, bytes })
        local ??= inThreadEngine.openScan(chunkingKey)
        return await local.update(bytes)
      },
      finish: async () => {
        if (slot === undefined) return await (local ?? inThreadEngine.openScan(chunkingKey)).finish()
        return await run<Uint8Array>(slot, { kind: 'scan-finish', scan })
      },
      close: () => {
        if (closed || slot === undefined) return
        closed = true
        this.#scans.set(slot, (this.#scans.get(slot) ?? 1) - 1)
        if (deaths === slot.deaths) this.#run({ kind: 'scan-close', scan }, { slot }).catch(() => {})
      },
    }
  }

  async nonceOf(chunk: Uint8Array, nonceKey: Uint8Array): Promise<Uint8Array> {
    if (chunk.length <= inThreadBytes || !this.#hasThreads) return await inThreadEngine.nonceOf(chunk, nonceKey)
    return await this.#run({ kind: 'nonce', chunk: inSharedMemory(chunk), nonceKey })
  }

  async seal(chunk: Uint8Array, keys: ContentKeys, options: SealOptions = {}): Promise<SealedLeaf> {
    const length = chunk.length + leafOverheadBytes
    const { nonce, into = new Uint8Array(new SharedArrayBuffer(length)) } = options
    if (chunk.length <= inThreadBytes || !isShared(into) || !this.#hasThreads)
      return await inThreadEngine.seal(chunk, keys, options)
    // What is sent are an object's own members, and a key may derive its own when they are asked for.
    const sent = { encryption: keys.encryption, nonce: keys.nonce }
    const job: Job = { kind: 'seal', chunk: inSharedMemory(chunk), keys: sent, nonce, into }
    return { digest: await this.#run(job), block: into.subarray(0, length) }
  }

  async open(
    leaf: Uint8Array<ArrayBuffer>,
    digest: Uint8Array,
    encryptionKey: Uint8Array,
  ): Promise<Uint8Array<ArrayBuffer>> {
    if (leaf.length <= inThreadBytes || this.#isCold) return await inThreadEngine.open(leaf, digest, encryptionKey)
    const own = leaf.length === leaf.buffer.byteLength ? leaf : leaf.slice()
    const job: Job = { kind: 'open', leaf: own, ...withoutRest({ digest, encryptionKey }) }
    return await this.#run(job, { transfer: [own.buffer] })
  }

  inFiles(leafBytes: number): LeafFiles | undefined {
    if (leafBytes <= inThreadBytes) return undefined
    if (!this.#isCold) return this.#files
    // Those who ask for thousands at once have the rest wait for the workers: read here, they would all be in memory together.
    this.#coldBytes += leafBytes
    return this.#coldBytes > coldLeafBytes ? this.#files : undefined
  }

  async digest(block: Uint8Array<ArrayBuffer>): Promise<DigestedBlock> {
    // One is enough: it hashes faster than any connection brings or takes blocks.
    const slot = this.#slots[0] as WorkerSlot
    if (block.length <= inThreadBytes || (!slot.isReady && this.#closing === undefined)) {
      if (block.length > inThreadBytes) slot.start()
      return await inThreadEngine.digest(block)
    }
    return await this.#run({ kind: 'digest', block }, { slot, transfer: [block.buffer] })
  }

  digestInPlace(place: BlockPlace, into: Uint8Array<ArrayBuffer>): Promise<DigestedBlock> | undefined {
    const slot = this.#slots[0] as WorkerSlot
    if (place.length <= inThreadBytes || !slot.isReady) return undefined
    return this.#run({ kind: 'digest', block: into, from: place }, { slot, transfer: [into.buffer] })
  }

  /** For `NamespaceEnvironment.verify`; `undefined` while its worker has not started. */
  verify(entries: readonly Entry[]): Promise<readonly boolean[]> | undefined {
    if (entries.length < manyEntries) return undefined
    const verifying = this.#ofEntries('verify', () => packEntries(entries))
    // That a worker died says nothing of a signature.
    return verifying?.then(unpackVerdicts, () => Promise.all(entries.map(isSignedBeside)))
  }

  /** For `NamespaceEnvironment.openBodies`, likewise. */
  openBodies(bodies: readonly WrappedBody[]): Promise<readonly (Uint8Array | undefined)[]> | undefined {
    if (bodies.length < manyEntries) return undefined
    return this.#ofEntries('open-bodies', () => packBodies(bodies))?.then(unpackBodies, () => [])
  }

  #ofEntries(
    kind: EntryJob['kind'],
    pack: () => Uint8Array<ArrayBuffer>,
  ): Promise<Uint8Array<ArrayBuffer>> | undefined {
    // Always the same, for it loads what it takes: not the one that hashes blocks.
    const slot = this.#slots.at(1)
    if (slot === undefined || this.#closing !== undefined) return undefined
    if (!slot.isReady) {
      // One that died has to be replaced for the next entries: there may be no other work for it.
      if (slot.deaths > 0) slot.start()
      return undefined
    }
    const packed = pack()
    return this.#run({ kind, packed }, { slot, transfer: [packed.buffer] })
  }

  /** Stops the workers; what they were doing fails with CLOSED. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<void> {
    clearTimeout(this.#startTimer)
    const error = closedError()
    for (const pending of [...this.#queue.splice(0), ...[...this.#pinned.values()].flat()]) pending.reject(error)
    this.#pinned.clear()
    this.#memory.drop()
    await Promise.all(this.#slots.map((slot) => slot.stop(error)))
  }

  #run<T>(job: Job, { slot, transfer = [], signal }: RunOptions = {}): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#closing !== undefined) return reject(closedError())
      const pending: PendingJob = { job, transfer, signal, resolve: resolve as (result: unknown) => void, reject }
      if (slot === undefined) this.#queue.push(pending)
      else if (this.#pinned.has(slot)) this.#pinned.get(slot)?.push(pending)
      else this.#pinned.set(slot, [pending])
      this.#dispatch()
    })
  }

  #dispatch(): void {
    if (this.#closing !== undefined) return
    for (const [slot, jobs] of this.#pinned) {
      while (slot.load < scansPerWorker && jobs.length > 0) slot.send(jobs.shift() as PendingJob)
    }
    while (this.#queue.length > 0) {
      const running = this.#slots.filter(({ isReady }) => isReady)
      const slot = leastWithThread(running.length > 0 ? running : this.#slots, ({ load }) => load)
      if (slot !== undefined && slot.load >= jobsPerWorker) {
        // What is waiting goes to the first that has room, not to one that is to start first.
        this.#start(this.#slots.length)
        return
      }
      const pending = this.#queue.shift() as PendingJob
      if (pending.signal?.aborted === true) pending.reject(pending.signal.reason)
      else if (slot === undefined) pending.reject(noThreadError())
      else slot.send(pending)
    }
  }

  /**
   * Whether no worker has started yet, and has them start: until then a leaf that is read is opened here, in 2 ms or so, where
   * whoever waits for the first byte of it would wait for a worker.
   */
  get #isCold(): boolean {
    if (this.#closing !== undefined || this.#slots.some((slot) => slot.isReady)) return false
    this.#start(this.#slots.length)
    return true
  }

  /** Whether there is a worker, or one can be started now. Once closed, work fails in any case. */
  get #hasThreads(): boolean {
    return this.#closing !== undefined || this.#slots.some((slot) => slot.start())
  }

  #start(workers: number): void {
    for (const slot of this.#slots.slice(0, workers)) slot.start()
  }

  #collect(): void {
    for (const slot of this.#slots) if (slot.isReady) this.#run({ kind: 'collect' }, { slot }).catch(() => {})
  }

  get #openScans(): number {
    let open = 0
    for (const scans of this.#scans.values()) open += scans
    return open
  }

  /** `undefined` when no worker can be started. @throws CLOSED */
  #slotForScan(): WorkerSlot | undefined {
    if (this.#closing !== undefined) throw closedError()
    const scansOf = (slot: WorkerSlot): number => this.#scans.get(slot) ?? 0
    const slot = leastWithThread(this.#slots, scansOf)
    if (slot === undefined) return undefined
    this.#scans.set(slot, scansOf(slot) + 1)
    this.#start(startedWithScan)
    return slot
  }
}

/** That of which there is least, and the first of these, of all that have a worker or can start one. */
function leastWithThread(slots: readonly WorkerSlot[], amountOf: (slot: WorkerSlot) => number): WorkerSlot | undefined {
  return slots.toSorted((a, b) => amountOf(a) - amountOf(b)).find((slot) => slot.start())
}

/** Other memory is copied when it is sent, and all of the buffer that it is a part of. */
function inSharedMemory(bytes: Uint8Array): Uint8Array {
  return isShared(bytes) ? bytes : bytes.slice()
}

/** Small arrays would take along all of the buffers that they are a part of, that of a tree's node or an entry. */
function withoutRest<T extends Pick<PlacedLeaf, 'digest' | 'encryptionKey'>>(leaf: T): T {
  return { ...leaf, digest: leaf.digest.slice(), encryptionKey: leaf.encryptionKey.slice() }
}

function isShared(bytes: Uint8Array): boolean {
  return bytes.buffer instanceof SharedArrayBuffer
}

function closedError(): ArtifactHubError {
  return new ArtifactHubError('CLOSED', 'The worker pool is closed')
}
