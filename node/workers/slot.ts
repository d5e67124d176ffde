import { getCompileCacheDir } from 'node:module'
import { dirname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { ArtifactHubError } from '../../src/errors.ts'
import { FileError } from './file-error.ts'
import type { Job, Request, Response } from './messages.ts'

const entry = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url)

/**
 * A worker makes few objects, and memory that it shares with us stays until the objects that stood for it are collected: with more
 * room for young ones than this it keeps tens of megabytes that nobody uses. In all it has 12 MB of them; the other limit is for `collect` in
 * worker.ts.
 */
const resourceLimits = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 128 }

/** A job on its way. */
export interface PendingJob {
  readonly job: Job
  readonly transfer: readonly ArrayBuffer[]
  /** Once aborted it need not be begun. */
  readonly signal: AbortSignal | undefined
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

/** One place in the pool: a worker, started with its first job and replaced, with the next job, should it die. */
export class WorkerSlot {
  readonly #onSettled: () => void
  readonly #running = new Map<number, PendingJob>()
  #worker: Worker | undefined
  #nextId = 0
  #ready = false
  /** Counts the workers that died here: what one of them held in memory is gone when this changes. */
  deaths = 0

  /** `onSettled` is called whenever there may be room for another job. */
  constructor(onSettled: () => void) {
    this.#onSettled = onSettled
  }

  /** Jobs sent and not yet answered. */
  get load(): number {
    return this.#running.size
  }

  /** Whether its worker has started: the first 0.1 s, or more on a busy machine, it takes jobs and does none. */
  get isReady(): boolean {
    return this.#ready
  }

  /** Has a worker ready for the jobs to come; gives whether there is one. The system may have no thread left for it. */
  start(): boolean {
    try {
      this.#worker ??= this.#start()
      return true
    } catch {
      return false
    }
  }

  /** The job fails with INTERNAL when no worker can be started. */
  send(pending: PendingJob): void {
    const worker = this.start() ? this.#worker : undefined
    if (worker === undefined) {
      pending.reject(noThreadError())
      return
    }
    const id = this.#nextId++
    const request: Request = { id, job: pending.job }
    try {
      worker.postMessage(request, pending.transfer)
    } catch (cause) {
      pending.reject(new ArtifactHubError('INTERNAL', 'A job could not be sent to its worker', { cause }))
      return
    }
    this.#running.set(id, pending)
    // A process waits for the work that it asked for, and never for idle workers.
    if (this.#running.size === 1) worker.ref()
  }

  /** Stops the worker; its jobs fail with `error`. */
  async stop(error: ArtifactHubError): Promise<void> {
    const worker = this.#worker
    this.#worker = undefined
    this.#ready = false
    // First, for it may be reading and writing files that are closed as soon as its jobs have failed.
    await worker?.terminate()
    this.#failAll(error)
  }

  #start(): Worker {
    // Without flags of the process that may not suit it; the keys come by message.
    const cache = getCompileCacheDir()
    // In a clone half of a worker's start is taking the types out of its source, which a process that keeps compiled code is spared.
    const env = cache === undefined ? {} : { NODE_COMPILE_CACHE: dirname(cache) }
    const worker = new Worker(entry, { name: 'artifact-hub content', execArgv: [], env, resourceLimits })
    let cause: unknown
    worker.unref()
    worker.on('message', (response: Response) => {
      const starts = worker === this.#worker && !this.#ready
      if (starts) this.#ready = true
      this.#settle(worker, response)
      if (starts) this.#onSettled()
    })
    worker.on('error', (error) => {
      cause = error
    })
    worker.on('messageerror', (error) => {
      cause = error
      worker.terminate()
    })
    worker.on('exit', () => {
      if (worker !== this.#worker) return
      this.#worker = undefined
      this.#ready = false
      this.deaths++
      this.#failAll(new ArtifactHubError('INTERNAL', 'A worker thread died', { cause }))
      this.#onSettled()
    })
    this.#worker = worker
    return worker
  }

  #settle(worker: Worker, response: Response): void {
    const pending = this.#running.get(response.id)
    if (pending === undefined) return
    this.#running.delete(response.id)
    // A process waits for one that is being stopped: with nothing else to do it would end in the middle of that.
    if (this.#running.size === 0 && worker === this.#worker) worker.unref()
    if ('error' in response) {
      const { code, message, details } = response.error
      pending.reject(new ArtifactHubError(code, message, { details }))
    } else if ('fileFailure' in response) pending.reject(new FileError(response.fileFailure))
    else pending.resolve(response.result)
    this.#onSettled()
  }

  #failAll(error: ArtifactHubError): void {
    const failed = [...this.#running.values()]
    this.#running.clear()
    for (const pending of failed) pending.reject(error)
  }
}

export function noThreadError(): ArtifactHubError {
  return new ArtifactHubError('INTERNAL', 'The system has no thread left for a worker')
}
