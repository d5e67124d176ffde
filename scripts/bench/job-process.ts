import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { JobReply, JobRequest, Jobs } from './job-server.ts'
import { endsWithUs } from './programs.ts'

/** A job done in a process of its own. */
export interface JobDone<T> {
  readonly result: T
  /** Of the job itself, as that process measured it, milliseconds. */
  readonly ms: number
  /** Processor time of that process meanwhile, all threads, milliseconds. */
  readonly cpuMs: number
  /** The most memory that the process has had resident since it started, bytes. */
  readonly peakRssBytes: number
}

/** A process that does jobs (see `serveJobs`), so that time and memory are a contender's alone. */
export class JobProcess<J extends Jobs> {
  readonly #child: ChildProcess

  constructor(module: URL) {
    this.#child = endsWithUs(fork(module, [], { serialization: 'advanced' }))
  }

  /** Of the process, while it runs. */
  get pid(): number | undefined {
    return this.#child.pid
  }

  /** One at a time. @throws Error with the stack of the one there */
  async run<K extends keyof J & string>(
    job: K,
    argument: Parameters<J[K]>[0],
  ): Promise<JobDone<Awaited<ReturnType<J[K]>>>> {
    const request: JobRequest = { job, argument }
    const reply = await new Promise<JobReply>((resolve, reject) => {
      const died = (code: number | null) => reject(new Error(`the process ended with ${code} during ${job}`))
      this.#child.once('exit', died)
      this.#child.once('message', (message) => {
        this.#child.off('exit', died)
        resolve(message as JobReply)
      })
      this.#child.send(request, (error) => error && reject(error))
    })
    if ('error' in reply) throw new Error(`${job}: ${reply.error}`)
    return reply as JobDone<Awaited<ReturnType<J[K]>>>
  }

  /** Lets the process end by itself and waits for it. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.disconnect()
    await ended
  }
}
