import { enableCompileCache } from 'node:module'
import { peakRssOf } from './programs.ts'

/** What a process of its own can be asked to do, by name. Arguments and results are structured clones. */
export type Jobs = Readonly<Record<string, (argument: never) => Promise<unknown>>>

/** Asks for one job. */
export interface JobRequest {
  readonly job: string
  readonly argument: unknown
}

/** What came of it. */
export type JobReply =
  | { readonly result: unknown; readonly ms: number; readonly cpuMs: number; readonly peakRssBytes: number }
  | { readonly error: string }

/** Does the jobs that the parent process asks for, one after the other, until it lets go. */
export function serveJobs(jobs: Jobs): void {
  // As the command does, here for every contender: workers then start as fast as those of the published package, in which there are no types to take out.
  enableCompileCache()
  process.on('message', ({ job, argument }: JobRequest) => {
    void perform(jobs[job] as (argument: unknown) => Promise<unknown>, argument).then((reply) => process.send?.(reply))
  })
}

async function perform(job: (argument: unknown) => Promise<unknown>, argument: unknown): Promise<JobReply> {
  const startedMs = performance.now()
  const startedCpu = process.cpuUsage()
  try {
    const result = await job(argument)
    const ms = performance.now() - startedMs
    const { user, system } = process.cpuUsage(startedCpu)
    return { result, ms, cpuMs: (user + system) / 1_000, peakRssBytes: peakRssOf(process.pid) ?? 0 }
  } catch (error) {
    return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}
