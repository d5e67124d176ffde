import { expect, test } from 'vitest'
import { loadFollowRows } from '../../sdk/local/replication/follow-rows.ts'
import { keySpaces } from '../../src/namespace/index.ts'
import type { KeyValueStore } from '../../src/storage/index.ts'
import { failureOf } from '../client/contract-support.ts'
import { type LocalAgent, LocalAgents } from '../replication/agents.ts'
import { eventually } from '../replication/nodes.ts'
import { MemoryKeyValueStore } from '../support/memory-key-value.ts'

type Image = readonly (readonly [Uint8Array, Uint8Array])[]

async function imageOf(store: KeyValueStore): Promise<Image> {
  const everything = { gte: new Uint8Array(0), lt: new Uint8Array(80).fill(0xff) }
  return await Array.fromAsync(store.entries(everything), ([key, value]) => [key.slice(), value.slice()] as const)
}

/** Does something, and gives what an agent's disk was before, and after each batch meanwhile. */
async function imagesDuring({ env: { store } }: LocalAgent, work: () => Promise<unknown>): Promise<Image[]> {
  const images = [await imageOf(store)]
  const batch = store.batch
  store.batch = async (...changes) => {
    await batch.apply(store, changes)
    images.push(await imageOf(store))
  }
  await work()
  store.batch = batch
  return images
}

/** The first of these disks on which the agent follows more than on the first one. */
async function firstTaken(images: readonly Image[]): Promise<number> {
  const followed = await Promise.all(
    images.map(async (image) => {
      const store = new MemoryKeyValueStore()
      await store.batch(
        image.map(([key, value]) => ({ type: 'put', key, value })),
        { sync: true },
      )
      return (await loadFollowRows(store)).filter(({ ended }) => ended === undefined).length
    }),
  )
  const first = followed.findIndex((count) => count > (followed[0] as number))
  expect(first).toBeGreaterThan(0)
  return first
}

/** Has an agent start again with the disk as it was then, and meet another. */
async function startFrom(agent: LocalAgent, image: Image, other: LocalAgent): Promise<void> {
  const { store } = agent.env
  await agent.stop()
  const before = (await imageOf(store)).map(([key]) => ({ type: 'del' as const, key }))
  const after = image.map(([key, value]) => ({ type: 'put' as const, key, value }))
  await store.batch([...before, ...after], { sync: true })
  await agent.start()
  agent.network.addAddresses(other.id, other.network.addresses())
  await agent.network.ping(other.id)
}

/** Alice, who shares, and Bob, who know each other; something else of hers is shared with him all the while. */
async function pair(agents: LocalAgents) {
  const [alice, bob] = [await agents.start(), await agents.start()]
  await alice.client.agent.add({ name: 'bob', ticket: await bob.client.agent.ticket() })
  await bob.client.agent.add({ name: 'alice', ticket: await alice.client.agent.ticket() })
  const { artifact } = alice.client
  const { id: artifactId } = await artifact.create({ name: 'report', data: Buffer.from('one') })
  const { id: other } = await artifact.create({ name: 'other', data: Buffer.from('beside') })
  const text = async (id: string) => Buffer.from(await bob.client.artifact.download({ artifactId: id })).toString()
  const listed = async () => (await bob.client.artifact.listShared()).items.map(({ name }) => name).sort()
  const isRead = () =>
    eventually(async () => {
      expect([await text(artifactId), await text(other)]).toEqual(['one', 'beside'])
      expect(await listed()).toEqual(['other', 'report'])
    })
  const isRefused = () =>
    eventually(async () => {
      await expect(text(artifactId)).rejects.toThrow()
      expect([await text(other), await listed()]).toEqual(['beside', ['other']])
    })
  await artifact.share({ artifactId: other, withAgents: ['bob'] })
  await isRefused()
  return { alice, bob, artifactId, isRead, isRefused }
}

test.each(['directly', 'through a group'])(
  'who is stopped at any step of being given something %s, of losing it, and of being given it again, has what it should have',
  async (how) => {
    await using agents = new LocalAgents()
    const { alice, bob, artifactId, isRead, isRefused } = await pair(agents)
    const { artifact, group } = alice.client
    let [give, take] = [
      (): Promise<unknown> => artifact.share({ artifactId, withAgents: ['bob'] }),
      (): Promise<unknown> => artifact.unshare({ artifactId, agents: ['bob'] }),
    ]
    if (how === 'through a group') {
      await group.create({ name: 'team' })
      await artifact.share({ artifactId, withGroups: ['team'] })
      give = () => group.add({ group: 'team', agents: ['bob'] })
      take = () => group.remove({ group: 'team', agents: ['bob'] })
    }
    for (const [deed, check] of [
      [give, isRead],
      [take, isRefused],
      [give, isRead],
    ] as const) {
      const images = await imagesDuring(bob, async () => {
        await deed()
        await check()
      })
      expect(images.length).toBeGreaterThan(1)
      // What he said that he has taken he has on his disk: without it nobody would tell him again.
      const from = deed === give && how === 'directly' ? await firstTaken(images) : 0
      for (const image of [...images.slice(from), images.at(-1) as Image]) {
        await startFrom(bob, image, alice)
        await check()
      }
    }
  },
  600_000,
)

test('who is stopped at any step of sharing something or of taking it back has done it, or has not', async () => {
  await using agents = new LocalAgents()
  const { alice, bob, artifactId, isRead, isRefused } = await pair(agents)
  for (const [deed, done, undone] of [
    [() => alice.client.artifact.share({ artifactId, withAgents: ['bob'] }), isRead, isRefused],
    [() => alice.client.artifact.unshare({ artifactId, agents: ['bob'] }), isRefused, isRead],
  ] as const) {
    const before = await imageOf(bob.env.store)
    const images = await imagesDuring(alice, async () => {
      await deed()
      await done()
    })
    expect(images.length).toBeGreaterThan(1)
    const after = await imageOf(bob.env.store)
    for (const image of [...images, images.at(-1) as Image]) {
      // Nobody else had heard of it.
      if (image === images[0]) await startFrom(bob, before, alice)
      await startFrom(alice, image, bob)
      await (image === images[0] ? undone : done)()
    }
    await startFrom(bob, after, alice)
  }
}, 600_000)

test('who is stopped at any step of being removed from a namespace, of being let in again, and of leaving it, has what it should have', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('writer')) as [LocalAgent, LocalAgent]
  await bob.client.agent.add({ name: 'owner', did: owner.client.did })
  const { artifact, namespace } = owner.client
  const text = async (id: string, { client } = bob) =>
    Buffer.from(await client.artifact.download({ artifactId: id })).toString()
  const { id: shared } = await artifact.create({ name: 'shared', data: Buffer.from('shared') })
  const { id: other } = await artifact.create({ name: 'other', data: Buffer.from('other') })
  const { id: own } = await bob.client.artifact.create({ name: 'own', data: Buffer.from('own') })
  await artifact.share({ artifactId: shared, withAgents: ['writer-0'] })
  await eventually(async () => expect(await text(own, owner)).toBe('own'))
  // As above: what he said that he has taken is on each of these disks.
  await eventually(() => expect(bob.replication.follows.followed()).toHaveLength(1))
  const logs = () => {
    const { ended, partial } = bob.replication.namespaces
    return [ended.length, partial.length]
  }
  /** Whether anything lies beside a namespace. */
  const isBeside = async () => (await imageOf(bob.env.store)).some(([key]) => key[0] === keySpaces.beside)
  const isOut = () =>
    eventually(async () => {
      expect(logs()).toEqual([1, 1])
      expect(await text(shared)).toBe('shared')
      for (const id of [other, own]) await failureOf(text(id), 'ACCESS_DENIED')
    })
  const isIn = () =>
    eventually(async () => {
      expect(logs()).toEqual([0, 0])
      expect([await text(shared), await text(other), await text(own), await isBeside()]).toEqual([
        'shared',
        'other',
        'own',
        false,
      ])
    })
  for (const [deed, check] of [
    [() => namespace.revoke({ agent: 'writer-0' }), isOut],
    [() => namespace.grant({ agent: 'writer-0', role: 'writer' }), isIn],
    [() => namespace.revoke({ agent: 'writer-0' }), isOut],
  ] as const) {
    const images = await imagesDuring(bob, async () => {
      await deed()
      await check()
    })
    expect(images.length).toBeGreaterThan(1)
    for (const image of [...images, images.at(-1) as Image]) {
      await startFrom(bob, image, owner)
      await check()
    }
    if (check !== isIn) continue
    await bob.client.artifact.update({ artifactId: own, data: Buffer.from('own') })
    await eventually(async () => expect((await artifact.get({ artifactId: own })).version).toBe(2))
    expect(owner.namespace('shared').log.membership.forks).toEqual([])
  }
  const images = await imagesDuring(bob, () => bob.client.namespace.leave({ namespace: 'shared' }))
  expect(images.length).toBeGreaterThan(1)
  for (const image of [...images, images.at(-1) as Image]) {
    await startFrom(bob, image, owner)
    await eventually(async () => {
      expect(logs()).toEqual([image === images[0] ? 1 : 0, 1])
      expect(await text(shared)).toBe('shared')
    })
  }
  await artifact.unshare({ artifactId: shared, agents: ['writer-0'] })
  await eventually(async () => expect([...logs(), await isBeside()]).toEqual([0, 0, false]))
}, 600_000)
