import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { type ArtifactHubNode, type Logger, type StartNodeOptions, startNode } from '../../node/index.ts'

/** A node of a test, on loopback TCP, that can be stopped and started again on its data. */
export interface TestNode {
  readonly dataDir: string
  readonly name: string
  node: ArtifactHubNode
  stop(): Promise<void>
  start(options?: Partial<StartNodeOptions>): Promise<void>
}

/** Real nodes in this process, all closed and removed in the end. */
export class TestNodes implements AsyncDisposable {
  readonly #folder = mkdtemp(join(tmpdir(), 'artifact-hub-replication-'))
  readonly #all: TestNode[] = []

  async start(name: string, options: Partial<StartNodeOptions> = {}): Promise<TestNode> {
    const dataDir = join(await this.#folder, name)
    const open = (more: Partial<StartNodeOptions> = {}) =>
      startNode({ dataDir, listen: ['/ip4/127.0.0.1/tcp/0'], logger: debugLogger(name), ...options, ...more })
    const started: TestNode = {
      dataDir,
      name,
      node: await open(),
      stop: () => started.node.close(),
      async start(more) {
        started.node = await open(more)
      },
    }
    this.#all.push(started)
    return started
  }

  /** An owner and others with roles in its namespace `shared`, which they have joined. */
  async team(
    roles: readonly ('admin' | 'writer' | 'reader' | 'replica')[],
  ): Promise<{ owner: TestNode; others: TestNode[]; ticket: string }> {
    const owner = await this.start('owner')
    await owner.node.client.namespace.create({ name: 'shared' })
    await owner.node.client.namespace.use({ namespace: 'shared' })
    const others: TestNode[] = []
    for (const [at, role] of roles.entries()) {
      const other = await this.start(`${role}-${at}`)
      await owner.node.client.agent.add({ name: other.name, did: other.node.did })
      await owner.node.client.namespace.grant({ agent: other.name, role })
      others.push(other)
    }
    const ticket = await owner.node.client.namespace.ticket()
    for (const other of others) {
      await other.node.client.namespace.join({ ticket })
      await other.node.client.namespace.use({ namespace: 'shared' })
    }
    return { owner, others, ticket }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#all.map(({ node }) => node.close()))
    await rm(await this.#folder, { recursive: true, force: true })
  }
}

/** Everybody has everybody as a contact, and can dial them. */
export async function acquaint(...all: readonly TestNode[]): Promise<void> {
  for (const one of all) {
    for (const other of all) {
      if (one === other) continue
      await one.node.client.agent.add({ name: other.name, ticket: await other.node.client.agent.ticket() })
    }
  }
  for (const one of all) for (const other of all) if (one !== other) await one.node.ping(other.name)
}

/** Tries until what is expected is so. The timeout bounds hangs, not speed. */
export async function eventually<T>(check: () => T | Promise<T>, timeoutMs = 45_000): Promise<T> {
  const began = performance.now()
  for (;;) {
    const at = performance.now()
    try {
      return await check()
    } catch (error) {
      if (at - began > timeoutMs) throw error
    }
    // Looking is not to take the processor from what is waited for: a part of the time that it takes, and that has passed.
    await setTimeout(Math.min(250, 10 + 3 * (performance.now() - at) + (at - began) / 10))
  }
}

function debugLogger(name: string): Logger | undefined {
  if (process.env.TEST_LOG === undefined) return undefined
  const say = (level: string) => (message: string, fields?: object) =>
    console.error(name, level, message, JSON.stringify(fields))
  return { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') }
}
