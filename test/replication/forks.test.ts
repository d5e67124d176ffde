import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { composeNode } from '../../node/compose-node.ts'
import type { ArtifactHubNode } from '../../node/index.ts'
import { type NetworkMode, startNetwork } from '../../node/network/index.ts'
import { inThreadEngine } from '../../src/content/index.ts'
import { AgentKey } from '../../src/identity/index.ts'
import { HybridClock } from '../../src/log/index.ts'
import { failureOf } from '../client/contract-support.ts'
import { MemoryKeyValueStore } from '../support/memory-key-value.ts'
import { eventually, TestNodes } from './nodes.ts'

test('a chain that was gone on with on two machines is proven, told of, and counts again once a branch is adopted', async () => {
  await using nodes = new TestNodes()
  const owner = await nodes.start('owner')
  const folder = await mkdtemp(join(tmpdir(), 'artifact-hub-forks-'))
  await using cleanUp = new AsyncDisposableStack()
  cleanUp.defer(() => rm(folder, { recursive: true, force: true }))
  const agent = new AgentKey(randomBytes(32))
  const incarnation = new Uint8Array(randomBytes(16))

  /** The same agent under the same incarnation, on whatever store: what no honest machine does. */
  const open = async (store: MemoryKeyValueStore, mode: NetworkMode): Promise<ArtifactHubNode> => {
    const resources = new AsyncDisposableStack()
    const random = (length: number) => new Uint8Array(randomBytes(length))
    const common = { agent, now: Date.now, monotonic: () => performance.now(), random }
    const listen = mode === 'offline' ? undefined : ['/ip4/127.0.0.1/tcp/0']
    const network = startNetwork({ ...common, mode, listen })
    resources.defer(async () => (await network).close())
    return await composeNode({
      ...common,
      dataDir: folder,
      store,
      network,
      packs: { directory: join(folder, randomBytes(8).toString('hex')) },
      incarnation,
      clock: new HybridClock(Date.now),
      engine: inThreadEngine,
      resources,
      logger: undefined,
    })
  }

  const { client } = owner.node
  await client.namespace.create({ name: 'shared' })
  await client.namespace.use({ namespace: 'shared' })
  await client.namespace.grant({ agent: agent.did, role: 'writer' })
  const ticket = await client.namespace.ticket()
  const store = new MemoryKeyValueStore()
  {
    await using node = await open(store, 'lan')
    await node.client.namespace.join({ ticket })
    await node.client.artifact.createSnippet({ namespace: 'shared', name: 'before', content: 'x', replicas: 1 })
  }
  const copy = store.copy()
  {
    await using node = await open(store, 'lan')
    await node.client.artifact.createSnippet({ namespace: 'shared', name: 'one', content: '1', replicas: 1 })
  }
  {
    await using node = await open(copy, 'offline')
    await node.client.artifact.createSnippet({ namespace: 'shared', name: 'other', content: '2' })
  }
  const names = async () => (await client.artifact.list()).items.map(({ name }) => name).toSorted()
  expect(await names()).toEqual(['before', 'one'])
  await using again = await open(copy, 'lan')
  const shared = async () => (await owner.node.status()).namespaces.find(({ name }) => name === 'shared')
  await eventually(async () => expect((await shared())?.forks).toHaveLength(1))
  const [fork] = (await shared())?.forks ?? []
  expect(fork).toMatchObject({ author: agent.did, seq: 1 })
  expect(fork?.heads).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/), expect.stringMatching(/^[0-9a-f]{64}$/)])
  // Nobody has said which of the two counts; what stands before them does.
  await eventually(async () => expect(await names()).toEqual(['before']))
  // What the agent writes from now on stands in another chain.
  await again.client.artifact.createSnippet({ namespace: 'shared', name: 'after', content: '3' })
  await eventually(async () => expect(await names()).toEqual(['after', 'before']))

  await failureOf(again.client.namespace.adopt({ namespace: 'shared', head: fork?.heads[0] ?? '' }), 'ACCESS_DENIED')
  await failureOf(client.namespace.adopt({ head: 'ff'.repeat(32) }), 'NOT_FOUND')
  await failureOf(client.namespace.adopt({ head: 'one' }), 'INVALID_ARGUMENT')
  await client.namespace.adopt({ head: fork?.heads[0] as string })
  const afterOne = await names()
  expect([
    ['after', 'before', 'one'],
    ['after', 'before', 'other'],
  ]).toContainEqual(afterOne)
  expect((await shared())?.forks).toEqual([])
  await client.namespace.adopt({ head: fork?.heads[1] as string })
  expect(await names()).toEqual(['after', 'before', 'one', 'other'])
  await eventually(async () => {
    const { items } = await again.client.artifact.list({ namespace: 'shared' })
    expect(items.map(({ name }) => name).toSorted()).toEqual(['after', 'before', 'one', 'other'])
  })
})
