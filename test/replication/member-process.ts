import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { withCompileCache } from '../support/compile-cache.ts'
import { bundled } from '../support/programs.ts'
import type { MemberCommand } from './member-child.ts'

const child = bundled('member')

/** A member in a process of its own, that can be killed and started again. */
export class MemberProcess implements AsyncDisposable {
  readonly #args: readonly string[]
  readonly #onLine: (line: Record<string, unknown>) => void
  #process: ChildProcessWithoutNullStreams | undefined
  #exited: Promise<unknown> = Promise.resolve()
  #answer: { resolve(value: unknown): void; reject(error: Error): void } | undefined
  did = ''

  /** @param onLine told of each line that is no answer */
  constructor(dataDir: string, port: number, onLine: (line: Record<string, unknown>) => void) {
    this.#args = [child, dataDir, String(port)]
    this.#onLine = onLine
  }

  async start(): Promise<void> {
    const started = this.#expect()
    const running = spawn(process.execPath, this.#args, { env: { ...process.env, ...withCompileCache } })
    this.#process = running
    this.#exited = once(running, 'close')
    running.stderr.pipe(process.stderr)
    running.stdin.on('error', () => {})
    createInterface(running.stdout).on('line', (line) => this.#heard(JSON.parse(line)))
    void this.#exited.then(() => this.#answer?.reject(new Error('the process ended')))
    this.did = (await started) as string
  }

  /** One command at a time. @throws when it fails or the process is killed */
  async ask(command: MemberCommand): Promise<unknown> {
    const answer = this.#expect()
    this.#process?.stdin.write(`${JSON.stringify(command)}\n`)
    return await answer
  }

  /** SIGKILL; resolves when it is dead. */
  async kill(): Promise<void> {
    this.#process?.kill('SIGKILL')
    await this.#exited
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
  }

  #expect(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#answer = { resolve, reject }
    })
  }

  #heard(line: Record<string, unknown>): void {
    if (line.started !== undefined) this.#answer?.resolve(line.started)
    else if (line.error !== undefined) this.#answer?.reject(new Error(String(line.error)))
    else if (line.done !== undefined) this.#answer?.resolve(line.result)
    else this.#onLine(line)
  }
}
