import { expect, test } from 'vitest'
import { AgentKey } from '../../src/identity/index.ts'
import { maxWritersViaGroup } from '../../src/limits.ts'
import { failureOf } from '../client/contract-support.ts'
import { acquaint, eventually, type TestNode, TestNodes } from './nodes.ts'

const namespace = 'shared'
const names = async ({ node }: TestNode) => (await node.client.namespace.list()).map(({ name }) => name).sort()
const groups = async ({ node }: TestNode) => (await node.client.group.list()).map(({ name }) => name)
const members = async ({ node }: TestNode) => (await node.client.namespace.members({ namespace })).map(({ did }) => did)
const text = async ({ node }: TestNode, artifactId: string) =>
  Buffer.from(await node.client.artifact.download({ artifactId })).toString()
const has = async (member: TestNode) => {
  await eventually(async () => expect(await names(member)).toEqual(['personal', namespace]))
}

/** An owner of a group and of a namespace in which the group may write, and the group's other members, who know each other. */
async function team(nodes: TestNodes, ...others: string[]) {
  const owner = await nodes.start('owner')
  const rest: TestNode[] = []
  for (const name of others) rest.push(await nodes.start(name))
  await acquaint(owner, ...rest)
  const { client } = owner.node
  const { id: group } = await client.group.create({ name: 'data-team' })
  if (others.length > 0) await client.group.add({ group, agents: others })
  for (const one of rest) await eventually(async () => expect(await groups(one)).toEqual(['data-team']))
  const { id } = await client.namespace.create({ name: namespace })
  const { id: artifactId } = await client.artifact.createSnippet({ namespace, name: 'note', content: 'ours' })
  return { owner, rest, group, id, artifactId }
}

test('the members of a group sync a namespace that is granted to it by themselves, those who come later too, over a restart', async () => {
  await using nodes = new TestNodes()
  const { owner, rest, group, id, artifactId } = await team(nodes, 'ann')
  const [ann] = rest as [TestNode]
  const bob = await nodes.start('bob')
  await acquaint(owner, ann, bob)
  await owner.node.client.namespace.grant({ namespace, group, role: 'writer' })
  await has(ann)
  expect(await ann.node.client.namespace.get({ namespace })).toMatchObject({ id, owner: owner.node.did })
  await eventually(async () => expect(await text(ann, artifactId)).toBe('ours'))
  const { id: written } = await ann.node.client.artifact.createSnippet({ namespace, name: 'mine', content: 'by ann' })
  await eventually(async () => expect(await text(owner, written)).toBe('by ann'))
  expect((await ann.node.status()).vouched).toMatchObject({ logs: 2, leftOut: [] })
  expect(await names(bob)).toEqual(['personal'])
  await owner.node.client.group.add({ group, agents: ['bob'] })
  await has(bob)
  await eventually(async () => expect(await text(bob, written)).toBe('by ann'))

  await ann.stop()
  await ann.start()
  expect(await names(ann)).toEqual(['personal', namespace])
  const { id: later } = await owner.node.client.artifact.createSnippet({ namespace, name: 'later', content: 'more' })
  await ann.node.ping('owner')
  await eventually(async () => expect(await text(ann, later)).toBe('more'))
  // Named by somebody here, it is the node's own.
  const ticket = await owner.node.client.namespace.ticket({ namespace })
  expect(await ann.node.client.namespace.join({ ticket, name: 'ours' })).toMatchObject({
    id,
    name: 'ours',
    role: 'writer',
  })
  expect(await names(ann)).toEqual(['ours', 'personal'])
  expect((await ann.node.status()).vouched.logs).toBe(1)
  await failureOf(ann.node.client.namespace.join({ ticket }), 'ALREADY_EXISTS')
  expect((await ann.node.check()).findings).toEqual([])
})

test('who was away learns of it from whoever of the group it meets, and the role’s end ends it for all', async () => {
  await using nodes = new TestNodes()
  const { owner, rest, group, artifactId } = await team(nodes, 'ann', 'bob')
  const [ann, bob] = rest as [TestNode, TestNode]
  await bob.stop()
  await owner.node.client.namespace.grant({ namespace, group, role: 'reader' })
  await has(ann)
  await eventually(async () => expect(await text(ann, artifactId)).toBe('ours'))
  await owner.stop()
  await bob.start()
  await bob.node.ping('ann')
  await has(bob)
  await eventually(async () => expect(await text(bob, artifactId)).toBe('ours'))

  await owner.start()
  await acquaint(owner, ann, bob)
  await owner.node.client.namespace.revoke({ namespace, group })
  for (const member of [ann, bob]) {
    await eventually(async () => expect(await names(member)).toEqual(['personal']))
    const { details } = await failureOf(member.node.client.namespace.get({ namespace }), 'ACCESS_DENIED')
    expect(details).toMatchObject({ reason: 'REMOVED', by: owner.node.did })
  }
  // Nobody goes on trying.
  for (const member of [ann, bob])
    await eventually(async () => expect((await member.node.status()).vouched).toMatchObject({ logs: 1, leftOut: [] }))
})

test('who is removed from the group has the namespace no more, is told why, and has it back as it was when added again', async () => {
  await using nodes = new TestNodes()
  const { owner, rest, group, id, artifactId } = await team(nodes, 'ann', 'bob')
  const [ann, bob] = rest as [TestNode, TestNode]
  await owner.node.client.namespace.grant({ namespace, group, role: 'writer' })
  await has(ann)
  await has(bob)
  await eventually(async () => expect(await text(bob, artifactId)).toBe('ours'))
  await bob.node.client.namespace.use({ namespace })
  const { id: own } = await bob.node.client.artifact.createSnippet({ name: 'of bob', content: 'by bob' })
  await eventually(async () => expect(await text(owner, own)).toBe('by bob'))

  const watching = bob.node.client.artifact.watch({ namespace })[Symbol.asyncIterator]()
  const next = failureOf(watching.next(), 'ACCESS_DENIED')
  await owner.node.client.group.remove({ group, agents: ['bob'] })
  await eventually(async () => expect(await groups(bob)).toEqual([]))
  expect((await next).details.namespace).toBe(id)
  await eventually(async () => expect(await names(bob)).toEqual(['personal']))
  const { client } = bob.node
  expect(await client.namespace.get({ namespace: 'personal' })).toMatchObject({ current: true })
  const refused: (() => PromiseLike<unknown>)[] = [
    () => client.group.get({ group: 'data-team' }),
    () => client.group.members({ group }),
    () => client.group.ticket({ group }),
    () => client.namespace.get({ namespace }),
    () => client.namespace.usage({ namespace: id }),
    () => client.artifact.list({ namespace }),
    () => client.artifact.get({ artifactId }),
    () => client.artifact.download({ artifactId: own }),
    () => client.artifact.update({ artifactId: own, content: 'again' }),
    () => client.artifact.createSnippet({ namespace, name: 'no', content: 'no' }),
  ]
  for (const call of refused) {
    const { details } = await failureOf(call(), 'ACCESS_DENIED')
    expect(['REMOVED', 'GROUP']).toContain(details.reason)
  }
  const ended = async () => (await bob.node.status()).ended.map(({ kind, name }) => `${kind} ${name}`).sort()
  expect(await ended()).toEqual(['group data-team', 'namespace shared'])
  await bob.stop()
  await bob.start()
  expect(await names(bob)).toEqual(['personal'])
  expect(await groups(bob)).toEqual([])
  await failureOf(bob.node.client.artifact.get({ artifactId }), 'ACCESS_DENIED')
  await eventually(async () => expect(await members(ann)).not.toContain(bob.node.did))

  await bob.node.ping('owner')
  await owner.node.client.group.add({ group, agents: ['bob'] })
  await eventually(async () => expect(await groups(bob)).toEqual(['data-team']))
  await has(bob)
  expect(await text(bob, own)).toBe('by bob')
  expect(await ended()).toEqual([])
  const { id: written } = await bob.node.client.artifact.createSnippet({ namespace, name: 'new', content: 'back' })
  await eventually(async () => expect(await text(ann, written)).toBe('back'))
  expect((await bob.node.check()).findings).toEqual([])

  // Out again, for good: gc gives the room back.
  await owner.node.client.group.remove({ group, agents: ['bob'] })
  await eventually(async () => expect(await ended()).toEqual(['group data-team', 'namespace shared']))
  await bob.node.gc()
  expect(await ended()).toEqual(['group data-team', 'namespace shared'])
  await bob.node.client.group.leave({ group: 'data-team' })
  expect(await ended()).toEqual(['namespace shared'])
  await bob.node.gc({ now: true })
  expect(await ended()).toEqual([])
  await failureOf(bob.node.client.namespace.get({ namespace }), 'NOT_FOUND')
  expect((await bob.node.check()).findings).toEqual([])
})

test('who leaves the namespace is not brought back by news of it; who leaves the group has it no more; joining brings both back', async () => {
  await using nodes = new TestNodes()
  const { owner, rest, group, artifactId } = await team(nodes, 'ann')
  const [ann] = rest as [TestNode]
  const { client } = owner.node
  await client.namespace.grant({ namespace, group, role: 'writer' })
  await has(ann)
  await ann.node.client.namespace.leave({ namespace })
  await failureOf(ann.node.client.namespace.get({ namespace }), 'NOT_FOUND')
  await client.namespace.grant({ namespace, group, role: 'reader' })
  await client.artifact.createSnippet({ namespace, name: 'more', content: 'more' })
  // What the group’s log says later is here, so what it said before was looked at.
  await client.namespace.create({ name: 'other' })
  await client.namespace.grant({ namespace: 'other', group, role: 'writer' })
  await eventually(async () => expect(await names(ann)).toEqual(['other', 'personal']))
  await ann.stop()
  await ann.start()
  await ann.node.ping('owner')
  await client.namespace.create({ name: 'third' })
  await client.namespace.grant({ namespace: 'third', group, role: 'writer' })
  await eventually(async () => expect(await names(ann)).toEqual(['other', 'personal', 'third']))
  expect((await ann.node.status()).invitations).toEqual([])

  const ticket = await client.group.ticket({ group })
  await ann.node.client.group.leave({ group })
  expect(await names(ann)).toEqual(['personal'])
  const { details } = await failureOf(ann.node.client.namespace.get({ namespace: 'other' }), 'ACCESS_DENIED')
  expect(details.reason).toBe('GROUP')
  await ann.node.client.group.join({ ticket, name: 'data-team' })
  await eventually(async () => expect(await names(ann)).toEqual(['other', 'personal', 'third']))
  await ann.node.client.namespace.join({ ticket: await client.namespace.ticket({ namespace }), name: namespace })
  await eventually(async () => expect(await text(ann, artifactId)).toBe('ours'))
})

test('what one is by name stays when the group’s role ends', async () => {
  await using nodes = new TestNodes()
  const { owner, rest, group, artifactId } = await team(nodes, 'ann')
  const [ann] = rest as [TestNode]
  const { client } = owner.node
  await client.namespace.grant({ namespace, group, role: 'writer' })
  await has(ann)
  await client.namespace.grant({ namespace, agent: 'ann', role: 'reader' })
  await client.group.remove({ group, agents: ['ann'] })
  await eventually(async () => expect(await groups(ann)).toEqual([]))
  await eventually(async () => {
    const { namespaces } = await ann.node.status()
    expect(namespaces.find(({ name }) => name === namespace)?.role).toBe('reader')
  })
  await eventually(async () => expect(await text(ann, artifactId)).toBe('ours'))
})

test('a group of writers that grows past 256 brings nobody more in, and takes nobody out, until there are as many as may be', async () => {
  await using nodes = new TestNodes()
  const { owner, group } = await team(nodes)
  const { client } = owner.node
  const dids = Array.from({ length: maxWritersViaGroup + 1 }, (_, at) => {
    return new AgentKey(Buffer.alloc(32, `writer ${at} of the group `)).did
  })
  const [first, early, late] = [dids[0] as string, dids.slice(0, -2), dids.slice(-2)]
  await client.group.add({ group, agents: early })
  await client.namespace.grant({ namespace, group, role: 'writer' })
  const all = async () => (await members(owner)).filter((did) => did !== owner.node.did).sort()
  expect(await all()).toEqual([...early].sort())

  await client.group.add({ group, agents: late })
  // With this all groups of the namespace are looked at.
  await client.group.create({ name: 'others' })
  await client.namespace.grant({ namespace, group: 'others', role: 'reader' })
  expect(await all()).toEqual([...early].sort())
  await failureOf(client.namespace.grant({ namespace, group, role: 'writer' }), 'TOO_LARGE')

  await client.group.remove({ group, agents: [first] })
  await eventually(async () => expect(await all()).toEqual(dids.slice(1).sort()))
})

test('what a group brings is not fetched ahead, whatever the role, until somebody here says so', async () => {
  await using nodes = new TestNodes()
  const { owner, rest, group } = await team(nodes, 'ann')
  const [ann] = rest as [TestNode]
  const { client } = owner.node
  const { id: large } = await client.artifact.create({ namespace, name: 'large', data: Buffer.alloc(100_000, 7) })
  await client.namespace.grant({ namespace, group, role: 'replica' })
  await has(ann)
  const here = async () => (await ann.node.status()).namespaces.find(({ name }) => name === namespace)
  await eventually(async () => expect(await here()).toMatchObject({ role: 'replica', entries: expect.any(Number) }))
  expect((await here())?.policy).toEqual({ fetch: 'lazy', maxBytes: 0 })
  const ticket = await client.namespace.ticket({ namespace })
  const holds = async () => {
    const { versions } = await client.artifact.status({ artifactId: large })
    return versions[0]?.nodes.find(({ did }) => did === ann.node.did)?.holds
  }
  // It answers nobody before it is through with joining.
  await eventually(async () => expect(await holds()).toBe('none'))
  await ann.node.client.namespace.join({ ticket })
  expect((await here())?.policy).toEqual({ fetch: 'lazy' })
  await eventually(async () => expect(await holds()).toBe('all'))
})

test('who owns a namespace and is not in the group ends its role by its id', async () => {
  await using nodes = new TestNodes()
  const { owner: ann, rest, group } = await team(nodes, 'bob')
  const [bob] = rest as [TestNode]
  const host = await nodes.start('host')
  await acquaint(host, ann)
  const { client } = host.node
  await client.namespace.create({ name: 'hosted' })
  await client.namespace.grant({ namespace: 'hosted', agent: 'owner', role: 'admin' })
  await failureOf(client.namespace.grant({ namespace: 'hosted', group, role: 'reader' }), 'NOT_FOUND')
  await ann.node.client.namespace.join({ ticket: await client.namespace.ticket({ namespace: 'hosted' }) })
  await ann.node.client.namespace.grant({ namespace: 'hosted', group, role: 'reader' })
  await eventually(async () => expect(await names(bob)).toEqual(['hosted', 'personal']))
  await eventually(async () =>
    expect((await client.namespace.members({ namespace: 'hosted' })).map(({ did }) => did)).toContain(bob.node.did),
  )
  await client.namespace.revoke({ namespace: 'hosted', group })
  await eventually(async () => expect(await names(bob)).toEqual(['personal']))
  const { details } = await failureOf(bob.node.client.artifact.list({ namespace: 'hosted' }), 'ACCESS_DENIED')
  expect(details).toMatchObject({ reason: 'REMOVED', by: host.node.did })
  // What she is by name is hers.
  expect(await names(ann)).toContain('hosted')
  await failureOf(client.namespace.revoke({ namespace: 'hosted', group }), 'NOT_FOUND')
})

test('strangers make a node follow and dial nothing: their groups wait in the inbox, bounded, until they are accepted or dropped', async () => {
  await using nodes = new TestNodes()
  const [eve, ann, friend] = [await nodes.start('eve'), await nodes.start('ann'), await nodes.start('friend')]
  const { client } = eve.node
  await client.agent.add({ name: 'ann', ticket: await ann.node.client.agent.ticket() })
  await eve.node.ping('ann')
  const made: string[] = []
  for (let number = 0; number < 34; number++) {
    const { id } = await client.group.create({ name: `group ${number}` })
    await client.group.add({ group: id, agents: ['ann'] })
    made.push(id)
  }
  const { id: theirs } = await client.namespace.create({ name: 'theirs' })
  await client.namespace.grant({ namespace: 'theirs', group: made[0] as string, role: 'writer' })
  const { inbox } = ann.node.client
  await eventually(async () => expect(await inbox.list()).toHaveLength(32))
  const { invitations } = await ann.node.status()
  expect(invitations.map(({ from }) => from)).toEqual(invitations.map(() => eve.node.did))
  expect(await groups(ann)).toEqual([])
  expect(await names(ann)).toEqual(['personal'])

  // Nobody else’s is pushed out.
  await friend.node.client.agent.add({ name: 'ann', ticket: await ann.node.client.agent.ticket() })
  const { id: another } = await friend.node.client.group.create({ name: 'friends' })
  await friend.node.client.group.add({ group: another, agents: ['ann'] })
  await friend.node.ping('ann')
  await eventually(async () => expect((await inbox.list()).map(({ group }) => group)).toContain(another))

  await ann.stop()
  await ann.start()
  const again = ann.node.client.inbox
  const waiting = await again.list()
  expect(waiting).toHaveLength(33)
  const wanted = waiting.find(({ group }) => group === made[0])
  const dropped = waiting.filter(({ group }) => group !== another && group !== made[0]).slice(0, 5)
  for (const { id } of dropped) await again.drop({ id })
  await failureOf(again.accept({ id: dropped[0]?.id as string }), 'NOT_FOUND')
  await eve.node.ping(await ann.node.client.agent.ticket())
  await again.accept({ id: wanted?.id as string })
  expect((await ann.node.client.group.get({ group: wanted?.group as string })).role).toBe('member')
  await eventually(async () => expect((await ann.node.client.namespace.list()).map(({ id }) => id)).toContain(theirs))
  expect((await again.list()).map(({ group }) => group)).not.toContain(wanted?.group)
  // What was dropped does not come back, though its sender says it again.
  await eve.stop()
  await eve.start()
  await eve.node.ping(await ann.node.client.agent.ticket())
  const { id: newest } = await eve.node.client.group.create({ name: 'newest' })
  await eve.node.client.group.add({ group: newest, agents: ['ann'] })
  await eventually(async () => expect((await again.list()).map(({ group }) => group)).toContain(newest))
  const now = (await again.list()).map(({ group }) => group)
  for (const { group } of dropped) expect(now).not.toContain(group)
})
