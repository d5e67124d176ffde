import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { NodeStatus, StartNodeOptions } from '../../node/index.ts'
import { type Artifact, ArtifactHubError, type ErrorCode } from '../../sdk/index.ts'
import { withCompileCache } from './compile-cache.ts'
import { bundled } from './programs.ts'

const child = bundled('controlled-node')

interface Waiting {
  resolve(value: unknown): void
  reject(error: Error): void
}

/** A node in a process of its own. */
export class ControlledNode implements AsyncDisposable {
  readonly did: string
  readonly #process: ChildProcessWithoutNullStreams
  readonly #exited: Promise<unknown>
  readonly #waiting: Map<number, Waiting>
  #calls = 0
  #wasKilled = false

  private constructor(
    did: string,
    running: ChildProcessWithoutNullStreams,
    exited: Promise<unknown>,
    waiting: Map<number, Waiting>,
  ) {
    this.did = did
    this.#process = running
    this.#exited = exited
    this.#waiting = waiting
  }

  /** @param within a network namespace to run in */
  static async start(options: StartNodeOptions, within?: string): Promise<ControlledNode> {
    const command = [process.execPath, child, JSON.stringify(options)]
    const [program, ...args] = within === undefined ? command : ['ip', 'netns', 'exec', within, ...command]
    const running = spawn(program as string, args, { env: { ...process.env, ...withCompileCache } })
    const exited = once(running, 'close')
    running.stderr.pipe(process.stderr)
    running.stdin.on('error', () => {})
    const waiting = new Map<number, Waiting>()
    const started = Promise.withResolvers<string>()
    createInterface(running.stdout).on('line', (text) => {
      const line = JSON.parse(text)
      if (line.started !== undefined) return started.resolve(line.started)
      const call = waiting.get(line.id)
      waiting.delete(line.id)
      if (line.error === undefined) call?.resolve(line.result)
      else if (line.code === undefined) call?.reject(new Error(line.error))
      else call?.reject(new ArtifactHubError(line.code as ErrorCode, line.error, { details: line.details }))
    })
    void exited.then(() => {
      const ended = new Error('the process ended')
      started.reject(ended)
      for (const { reject } of waiting.values()) reject(ended)
    })
    return new ControlledNode(await started.promise, running, exited, waiting)
  }

  /** A call by its path from the node; what it gives is as JSON has it. */
  async call<T = unknown>(call: string, options?: unknown): Promise<T> {
    const id = this.#calls++
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
    })
    this.#process.stdin.write(`${JSON.stringify({ id, call, options })}\n`)
    return (await answer) as T
  }

  status(): Promise<NodeStatus> {
    return this.call('status')
  }

  /** Creates an artifact of those bytes. */
  write(namespace: string, name: string, seed: string, bytes: number): Promise<Artifact> {
    return this.call('write', { namespace, name, seed, bytes })
  }

  /** SHA-256 of an artifact's bytes, hex, downloaded to memory. */
  read(artifactId: string): Promise<string> {
    return this.call('read', { artifactId })
  }

  /** Names of the artifacts that are listed. */
  async names(namespace: string): Promise<string[]> {
    const { items } = await this.call<{ items: Artifact[] }>('client.artifact.list', { namespace, limit: 1000 })
    return items.map(({ name }) => name).toSorted()
  }

  /** Ends the process at once, as a crash does. */
  async kill(): Promise<void> {
    this.#wasKilled = true
    this.#process.kill('SIGKILL')
    await this.#exited
  }

  /** Closes the node. @throws when it does not, and had to be killed */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.stdin.end()
    const kill = setTimeout(() => this.#process.kill('SIGKILL'), 30_000)
    await this.#exited
    clearTimeout(kill)
    if (this.#process.signalCode !== null && !this.#wasKilled) throw new Error('the node did not close in time')
  }
}
