import { expect, test } from 'vitest'
import { toHex } from '../../../src/encoding/index.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import { maxEagerFetches } from '../../../src/limits.ts'
import { ManualScheduler } from '../../../test/support/memory-network.ts'
import { converge, NamespaceNode, TestTime } from '../../../test/support/namespace-nodes.ts'
import type { FetchPolicy } from '../../peer-client.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import { EagerFetch } from './eager-fetch.ts'
import type { Fetches, FetchTarget } from './fetches.ts'

/** A member that fetches eagerly what an owner writes, of which nobody brings anything. */
class World {
  readonly scheduler = new ManualScheduler()
  readonly owner: NamespaceNode
  readonly member: NamespaceNode
  tries = 0
  /** Whether content comes only when the test says so. */
  isSlow = false
  /** Fetches under way, by artifact, and what brings their content, or has them fail. */
  readonly running = new Map<string, (error?: Error) => void>()
  policy: FetchPolicy = { fetch: 'eager' }
  /** Of the plan. */
  maxTotalBytes = Infinity

  constructor() {
    const time = new TestTime()
    this.owner = new NamespaceNode(1, time)
    this.member = new NamespaceNode(2, time)
  }

  async start(): Promise<EagerFetch> {
    await this.owner.create()
    await this.owner.ns.members.grant({ agent: this.member.id, role: 'reader' })
    await this.member.join(this.owner)
    const { maxTotalBytes } = this
    const quota = { limits: { maxFileBytes: Infinity, maxTotalBytes } }
    const fetches = {
      open: (_: unknown, { artifact }: FetchTarget, signal: AbortSignal) => {
        this.tries++
        const whole = async () => {
          if (!this.isSlow) throw new ArtifactHubError('UNAVAILABLE', 'nobody has it')
          const { promise, resolve, reject } = Promise.withResolvers<void>()
          const end = (error?: Error): void => (error === undefined ? resolve() : reject(error))
          this.running.set(toHex(artifact), end)
          signal.addEventListener('abort', () => end(), { once: true })
          try {
            await promise
          } finally {
            if (this.running.get(toHex(artifact)) === end) this.running.delete(toHex(artifact))
          }
          signal.throwIfAborted()
        }
        return { whole, [Symbol.asyncDispose]: async () => {} }
      },
    }
    return new EagerFetch({
      namespace: { log: this.member.ns, quota } as unknown as OpenNamespace,
      fetches: fetches as unknown as Fetches,
      scheduler: this.scheduler,
      chance: () => 0.5,
      self: this.member.id,
      policy: () => this.policy,
      warn: () => {},
    })
  }

  /** Artifacts of the owner's that the member knows of. */
  async write(count: number): Promise<Uint8Array[]> {
    const artifacts: Uint8Array[] = []
    for (let at = 0; at < count; at++) {
      artifacts.push(await this.owner.writeLarge(new Uint8Array(50_000).fill(at), `${at}`))
    }
    await converge(this.owner, this.member)
    return artifacts
  }

  async delete(artifacts: readonly Uint8Array[]): Promise<void> {
    for (const artifact of artifacts) await this.owner.delete(artifact)
    await converge(this.owner, this.member)
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed <= ms; passed += 500) {
      this.scheduler.advance(passed === 0 ? 0 : 500)
      for (let turn = 0; turn < 60; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
    }
  }
}

test('content that nobody brings is tried again; when its version is deleted it is fetched and counted no more', async () => {
  const world = new World()
  const fetching = await world.start()
  const artifacts = await world.write(maxEagerFetches + 2)
  await world.pass(5_000)
  expect(fetching.missing).toBe(artifacts.length)
  expect(world.tries).toBeGreaterThan(artifacts.length)
  const [kept, ...gone] = artifacts
  expect(kept).toBeDefined()
  await world.delete(gone)
  await world.pass(120_000)
  expect(fetching.missing).toBe(1)
  const before = world.tries
  await world.pass(120_000)
  // The one that is left, once a minute at most.
  expect(world.tries - before).toBeGreaterThan(0)
  expect(world.tries - before).toBeLessThanOrEqual(4)
  await fetching.close()
  expect(world.scheduler.pending).toBe(0)
})

test('content over the policy’s bound is counted as missing until its version is deleted', async () => {
  const world = new World()
  world.policy = { fetch: 'eager', maxBytes: 1_000 }
  const fetching = await world.start()
  const artifacts = await world.write(2)
  await world.pass(1_000)
  expect([fetching.missing, world.tries]).toEqual([2, 0])
  await world.delete(artifacts.slice(0, 1))
  await world.pass(1_000)
  expect([fetching.missing, world.tries]).toEqual([1, 0])
  await fetching.close()
})

test.each<[string, FetchPolicy]>([
  ['to be lazy', { fetch: 'lazy' }],
  ['to leave what is as large', { fetch: 'eager', maxBytes: 1_000 }],
])('what is under way ends when the policy comes %s, and begins anew when it comes back', async (_, policy) => {
  const world = new World()
  world.isSlow = true
  const fetching = await world.start()
  await world.write(2)
  await world.pass(1_000)
  expect([fetching.missing, world.running.size, world.tries]).toEqual([2, 2, 2])
  world.policy = policy
  fetching.refresh()
  await world.pass(120_000)
  expect([fetching.missing, world.running.size, world.tries]).toEqual([policy.fetch === 'lazy' ? 0 : 2, 0, 2])
  world.policy = { fetch: 'eager' }
  fetching.refresh()
  await world.pass(1_000)
  expect([fetching.missing, world.running.size, world.tries]).toEqual([2, 2, 4])
  // Back before the first ones have ended.
  world.policy = policy
  fetching.refresh()
  world.policy = { fetch: 'eager' }
  fetching.refresh()
  await world.pass(120_000)
  expect([fetching.missing, world.running.size, world.tries]).toEqual([2, 2, 6])
  await fetching.close()
  expect([world.running.size, world.scheduler.pending]).toEqual([0, 0])
})

test('of all contents as many are fetched as the plan has room for, those under way counted, and others in the place of what fails', async () => {
  const world = new World()
  world.isSlow = true
  // Each has 50,000 bytes, and what encrypting adds.
  world.maxTotalBytes = 110_000
  const fetching = await world.start()
  const artifacts = await world.write(maxEagerFetches + 1)
  const underWay = () => artifacts.map((artifact) => (world.running.has(toHex(artifact)) ? 1 : 0)).join('')
  const end = async (at: number, error?: Error): Promise<void> => {
    world.running.get(toHex(artifacts[at] as Uint8Array))?.(error)
    await world.pass(0)
  }
  await world.pass(1_000)
  expect([underWay(), fetching.missing]).toEqual(['0011', 4])
  await end(2, new ArtifactHubError('UNAVAILABLE', 'nobody has it'))
  expect([underWay(), fetching.missing]).toEqual(['0101', 4])
  await end(3)
  await world.pass(120_000)
  expect([underWay(), fetching.missing]).toEqual(['0100', 3])
  await end(1)
  await world.pass(120_000)
  expect([underWay(), fetching.missing]).toEqual(['0000', 2])
  // What goes leaves its room to another.
  await world.delete(artifacts.slice(3))
  await world.pass(1_000)
  expect([underWay(), fetching.missing]).toEqual(['0010', 2])
  await fetching.close()
})

test('of what waits the newest is fetched first', async () => {
  const world = new World()
  world.isSlow = true
  const fetching = await world.start()
  const artifacts = (await world.write(maxEagerFetches + 3)).map(toHex)
  await world.pass(1_000)
  const waiting = artifacts.filter((name) => !world.running.has(name))
  expect(waiting).toHaveLength(3)
  for (const next of waiting.toReversed()) {
    const [first] = world.running.keys()
    world.running.get(first as string)?.()
    await world.pass(0)
    expect([...world.running.keys()]).toContain(next)
  }
  await fetching.close()
})

test('what failed is tried again at once when a member connects, and for nobody else', async () => {
  const world = new World()
  const fetching = await world.start()
  await world.write(1)
  await world.pass(0)
  expect(world.tries).toBe(1)
  fetching.onConnected(new NamespaceNode(3, new TestTime()).id)
  await world.pass(0)
  expect(world.tries).toBe(1)
  fetching.onConnected(world.owner.id)
  await world.pass(0)
  expect(world.tries).toBe(2)
  await fetching.close()
})
