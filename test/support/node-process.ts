import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { withCompileCache } from './compile-cache.ts'
import { bundled } from './programs.ts'

/** What node-child.ts says. */
export interface ChildLine {
  readonly started?: number
  readonly loaded?: number
  readonly step?: string
  readonly done?: unknown
  readonly code?: string
  readonly message?: string
  readonly details?: Record<string, unknown>
}

const child = bundled('node')

/** A node in a process of its own. */
export class NodeProcess implements AsyncDisposable {
  readonly #process: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>
  readonly #exited: Promise<unknown>

  /** @param args data directory, action and path: see node-child.ts */
  constructor(...args: readonly string[]) {
    this.#process = spawn(process.execPath, [child, ...args], { env: { ...process.env, ...withCompileCache } })
    this.#process.stderr.pipe(process.stderr)
    this.#process.stdin.on('error', () => {})
    this.#exited = once(this.#process, 'close')
    this.#lines = createInterface(this.#process.stdout)[Symbol.asyncIterator]()
  }

  get pid(): number {
    return this.#process.pid as number
  }

  /** The next line that `wanted` takes, or whatever it says when it goes wrong. @throws when it ended before */
  async until(wanted: (line: ChildLine) => boolean): Promise<ChildLine> {
    for (;;) {
      const { value, done } = await this.#lines.next()
      if (done) throw new Error('the process ended')
      const line = JSON.parse(value) as ChildLine
      if (line.code !== undefined || wanted(line)) return line
    }
  }

  /** SIGKILL; resolves when it is dead. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.#exited
  }

  /** Lets it close its node and end. */
  async end(): Promise<void> {
    this.#process.stdin.end()
    await this.#exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
  }
}
