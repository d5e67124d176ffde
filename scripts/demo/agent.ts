import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { ArtifactHubError, type ErrorCode, type OnProgress } from 'artifact-hub'
import type { Actions, Reply, Request } from './agent-process.ts'

/** Milliseconds that anything may take: a demo that hangs has failed. */
const patienceMs = 90_000

const program = fileURLToPath(new URL('agent-process.ts', import.meta.url))

interface Waiting {
  readonly resolve: (done: { value: unknown; atMs: number }) => void
  readonly reject: (error: unknown) => void
  readonly onProgress: OnProgress | undefined
}

/** An agent with a process of its own, as the demo's script sees it. */
export class Agent implements AsyncDisposable {
  readonly name: string
  readonly #dataDir: string
  readonly #address: string
  readonly #role: 'agent' | 'gateway'
  #did = ''
  #process: ChildProcess | undefined
  readonly #waiting = new Map<number, Waiting>()
  #calls = 0

  private constructor(name: string, dataDir: string, address: string, role: 'agent' | 'gateway') {
    this.name = name
    this.#dataDir = dataDir
    this.#address = address
    this.#role = role
  }

  /** An agent that always listens at the same port of this machine's own address, as one with a place on a network does. */
  static async start(name: string, dataDir: string, role: 'agent' | 'gateway' = 'agent'): Promise<Agent> {
    const agent = new Agent(name, dataDir, `/ip4/127.0.0.1/tcp/${await freePort()}`, role)
    await agent.goOnline()
    return agent
  }

  get did(): string {
    return this.#did
  }

  /** Starts its process, on the network. */
  async goOnline(): Promise<void> {
    await this.#start(this.#address)
  }

  /** Starts its process without a network. */
  async goOffline(): Promise<void> {
    await this.#start('offline')
  }

  /** Ends its process, which closes its node first. */
  async stop(): Promise<void> {
    const running = this.#process
    if (running === undefined) return
    this.#process = undefined
    const exited = once(running, 'exit')
    running.disconnect()
    await exited
  }

  /** Has it do something. @throws what that throws there */
  async ask<A extends keyof Actions>(
    action: A,
    options: Parameters<Actions[A]>[0],
    onProgress?: OnProgress,
  ): Promise<Awaited<ReturnType<Actions[A]>>> {
    return (await this.askWhen(action, options, onProgress)).value
  }

  /** As `ask`, and when it was done there, milliseconds since 1970. */
  async askWhen<A extends keyof Actions>(
    action: A,
    options: Parameters<Actions[A]>[0],
    onProgress?: OnProgress,
  ): Promise<{ value: Awaited<ReturnType<Actions[A]>>; atMs: number }> {
    const call = ++this.#calls
    const done = Promise.withResolvers<{ value: unknown; atMs: number }>()
    const timer = setTimeout(() => done.reject(new Error(`${this.name} takes too long to ${action}`)), patienceMs)
    this.#waiting.set(call, { resolve: done.resolve, reject: done.reject, onProgress })
    this.#process?.send({ call, action, options: options as never } satisfies Request)
    try {
      return (await done.promise) as { value: Awaited<ReturnType<Actions[A]>>; atMs: number }
    } finally {
      clearTimeout(timer)
      this.#waiting.delete(call)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const running = this.#process
    // Whatever went wrong, it does not outlive the demo.
    const timer = setTimeout(() => running?.kill('SIGKILL'), 10_000)
    await this.stop()
    clearTimeout(timer)
  }

  async #start(listen: string): Promise<void> {
    await this.stop()
    const started = fork(program, [this.#dataDir, listen, this.#role], { serialization: 'advanced' })
    this.#process = started
    const ready = Promise.withResolvers<string>()
    started.on('message', (message) => this.#heard(message as Reply, ready.resolve))
    started.once('exit', (code) => {
      const error = new Error(`${this.name} ended (${code})`)
      ready.reject(error)
      if (this.#process === started) for (const { reject } of this.#waiting.values()) reject(error)
    })
    this.#did = await ready.promise
  }

  #heard(reply: Reply, onReady: (did: string) => void): void {
    if ('ready' in reply) {
      onReady(reply.ready)
      return
    }
    const waiting = this.#waiting.get(reply.call)
    if ('progress' in reply) waiting?.onProgress?.(reply.progress)
    else if ('error' in reply)
      waiting?.reject(new ArtifactHubError(reply.error.code as ErrorCode, `${this.name}: ${reply.error.message}`))
    else waiting?.resolve(reply)
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port is free')
  return address.port
}
