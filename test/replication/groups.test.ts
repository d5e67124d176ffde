import { expect, test, vi } from 'vitest'
import { AgentKey, formatDid } from '../../src/identity/index.ts'
import { syncEveryMs } from '../../src/limits.ts'
import { failureOf } from '../client/contract-support.ts'
import { acquaint, eventually, type TestNode, TestNodes } from './nodes.ts'

const groups = async ({ node }: TestNode) => (await node.client.group.list()).map(({ name }) => name)
/** 32 bytes that may be a key. */
const numbered = (at: number) => {
  const key = new Uint8Array(32).fill(7)
  new DataView(key.buffer).setUint32(0, at)
  return key
}
const roster = async ({ node }: TestNode, group = 'data-team') =>
  (await node.client.group.members({ group })).map(({ did, role }) => `${did} ${role}`).sort()

test('being added by a contact is enough: the group is there, by its own name, hidden from namespaces, and after a restart', async () => {
  await using nodes = new TestNodes()
  const [owner, ann, bob] = [await nodes.start('owner'), await nodes.start('ann'), await nodes.start('bob')]
  await acquaint(owner, ann, bob)
  const { group } = owner.node.client
  const made = await group.create({ name: 'data-team' })
  expect(made).toMatchObject({ name: 'data-team', owner: owner.node.did, role: 'owner', members: 1 })
  expect(made.id).toMatch(/^grp_[a-z2-7]{52}$/)
  await failureOf(group.create({ name: 'data-team' }), 'ALREADY_EXISTS')
  const added = await group.add({ group: 'data-team', agents: ['ann', 'bob'] })
  expect(added.map(({ name, role }) => [name, role])).toEqual([
    ['ann', 'member'],
    ['bob', 'member'],
  ])
  for (const member of [ann, bob]) {
    await eventually(async () => expect(await groups(member)).toEqual(['data-team']))
    expect(await member.node.client.group.get({ group: made.id })).toMatchObject({ role: 'member', members: 3 })
    expect((await member.node.client.namespace.list()).map(({ name }) => name)).toEqual(['personal'])
    await failureOf(member.node.client.namespace.get({ namespace: 'data-team' }), 'NOT_FOUND')
    expect((await member.node.status()).invitations).toEqual([])
    expect(await Array.fromAsync(member.node.client.artifact.list())).toEqual([])
  }
  await failureOf(ann.node.client.group.add({ group: 'data-team', agents: ['bob'], role: 'admin' }), 'ACCESS_DENIED')
  await group.add({ group: 'data-team', agents: ['ann'], role: 'admin' })
  await eventually(async () =>
    expect(await ann.node.client.group.get({ group: 'data-team' })).toMatchObject({ role: 'admin' }),
  )
  await ann.stop()
  await ann.start()
  expect(await groups(ann)).toEqual(['data-team'])
  await ann.node.client.group.remove({ group: 'data-team', agents: ['bob'] })
  const left = [`${owner.node.did} owner`, `${ann.node.did} admin`].sort()
  await ann.node.ping('owner')
  for (const node of [owner, ann]) await eventually(async () => expect(await roster(node)).toEqual(left))
  await failureOf(ann.node.client.group.remove({ group: 'data-team', agents: ['owner'] }), 'ACCESS_DENIED')
  await failureOf(ann.node.client.group.remove({ group: 'data-team', agents: ['bob'] }), 'NOT_FOUND')
})

test('a stranger’s group waits until it is joined; who left is not brought back by being added', async () => {
  await using nodes = new TestNodes()
  const [owner, ann] = [await nodes.start('owner'), await nodes.start('ann')]
  const { client } = owner.node
  await client.agent.add({ name: 'ann', ticket: await ann.node.client.agent.ticket() })
  await owner.node.ping('ann')
  await client.group.create({ name: 'data-team' })
  const ticket = await client.group.ticket({ group: 'data-team' })
  await failureOf(ann.node.client.group.join({ ticket }), 'ACCESS_DENIED')
  await failureOf(ann.node.client.namespace.join({ ticket }), 'INVALID_ARGUMENT')
  await client.group.add({ group: 'data-team', agents: ['ann'] })
  const { id } = await client.group.get({ group: 'data-team' })
  await eventually(async () =>
    expect(await ann.node.client.inbox.list()).toMatchObject([{ kind: 'group', group: id, from: owner.node.did }]),
  )
  expect(await groups(ann)).toEqual([])
  expect(await ann.node.client.group.join({ ticket })).toMatchObject({ name: 'data-team', role: 'member' })
  await failureOf(ann.node.client.group.join({ ticket }), 'ALREADY_EXISTS')
  await eventually(async () => expect(await ann.node.client.inbox.list()).toEqual([]))

  await ann.node.client.agent.add({ name: 'owner', ticket: await client.agent.ticket() })
  await ann.node.client.group.leave({ group: 'data-team' })
  await failureOf(ann.node.client.group.leave({ group: 'data-team' }), 'NOT_FOUND')
  await client.group.create({ name: 'other' })
  await client.group.remove({ group: 'data-team', agents: ['ann'] })
  await client.group.add({ group: 'data-team', agents: ['ann'] })
  await client.group.add({ group: 'other', agents: ['ann'] })
  // News of both came over one connection: the other group’s after.
  await eventually(async () => expect(await groups(ann)).toEqual(['other']))
  // Nor by anything that was still under way then, nor is there anything to accept.
  for (let round = 0; round < 20; round++) await owner.node.ping('ann')
  expect([await groups(ann), await ann.node.client.inbox.list()]).toEqual([['other'], []])
  expect(await ann.node.client.group.join({ ticket, name: 'again' })).toMatchObject({ name: 'again' })
})

test('a group’s ticket makes it a contact', async () => {
  await using nodes = new TestNodes()
  const [owner, ann] = [await nodes.start('owner'), await nodes.start('ann')]
  const { id } = await owner.node.client.group.create({ name: 'ml-team' })
  const ticket = await owner.node.client.group.ticket({ group: 'ml-team' })
  const { agent } = ann.node.client
  expect(await agent.add({ name: 'ml-team', ticket })).toEqual({ name: 'ml-team', group: id })
  await failureOf(agent.add({ name: 'ml-team', did: owner.node.did }), 'ALREADY_EXISTS')
  await agent.add({ name: 'owner', did: owner.node.did })
  await failureOf(agent.add({ name: 'owner', ticket }), 'ALREADY_EXISTS')
  await failureOf(ann.node.client.namespace.grant({ agent: 'ml-team', role: 'reader' }), 'NOT_FOUND')
  await ann.stop()
  await ann.start()
  const again = ann.node.client.agent
  expect(await again.list()).toEqual([
    { name: 'ml-team', group: id },
    { name: 'owner', did: owner.node.did, addresses: [] },
  ])
  await again.remove({ name: 'ml-team' })
  expect(await again.list()).toHaveLength(1)
})

test('a group’s members have its role in a namespace, those who come later too, while they are in the group', async () => {
  await using nodes = new TestNodes()
  const [owner, ann, bob] = [await nodes.start('owner'), await nodes.start('ann'), await nodes.start('bob')]
  await acquaint(owner, ann, bob)
  const { client } = owner.node
  const { id: group } = await client.group.create({ name: 'data-team' })
  await client.group.add({ group: 'data-team', agents: ['ann'], role: 'admin' })
  await eventually(async () => expect(await groups(ann)).toEqual(['data-team']))
  await client.namespace.create({ name: 'shared' })
  const namespace = 'shared'
  await failureOf(client.namespace.grant({ namespace, group: 'nobody', role: 'writer' }), 'NOT_FOUND')
  await failureOf(
    client.namespace.grant({ namespace, group, agent: 'ann', role: 'writer' } as never),
    'INVALID_ARGUMENT',
  )
  const granted = await client.namespace.grant({ namespace, group: 'data-team', role: 'writer' })
  expect(granted).toEqual({ group, name: 'data-team', role: 'writer', members: 2 })
  const rolesHere = async () =>
    (await client.namespace.members({ namespace })).map(({ did, role }) => `${did} ${role}`).sort()
  const [own, anns, bobs] = [`${owner.node.did} owner`, `${ann.node.did} writer`, `${bob.node.did} writer`]
  expect(await rolesHere()).toEqual([own, anns].sort())
  await ann.node.client.namespace.join({ ticket: await client.namespace.ticket({ namespace }) })
  const artifact = await ann.node.client.artifact.createSnippet({ namespace, name: 'note', content: 'ours' })
  await eventually(() => client.artifact.get({ artifactId: artifact.id }))

  // An admin of the group adds and removes; the namespace’s owner, who is in the group, brings the namespace in step.
  await ann.node.client.group.add({ group: 'data-team', agents: ['bob'] })
  await eventually(async () => expect(await rolesHere()).toEqual([own, anns, bobs].sort()))
  await bob.node.client.namespace.join({ ticket: await client.namespace.ticket({ namespace }) })
  expect(new TextDecoder().decode(await bob.node.client.artifact.download({ artifactId: artifact.id }))).toBe('ours')
  await ann.node.client.group.remove({ group: 'data-team', agents: ['bob'] })
  await eventually(async () => expect(await rolesHere()).toEqual([own, anns].sort()))

  // What one is by name stays when the group’s role ends.
  await client.namespace.grant({ namespace, agent: 'bob', role: 'reader' })
  await client.namespace.revoke({ namespace, group: 'data-team' })
  expect(await rolesHere()).toEqual([own, `${bob.node.did} reader`].sort())
  await failureOf(client.namespace.revoke({ namespace, group: 'data-team' }), 'NOT_FOUND')
})

test('many agents at once, and back', async () => {
  await using nodes = new TestNodes()
  const owner = await nodes.start('owner', { network: 'offline', listen: [] })
  const { client } = owner.node
  await client.group.create({ name: 'crowd' })
  const agents = Array.from({ length: 300 }, (_, at) => new AgentKey(Buffer.alloc(32, `crowd ${at} `)).did)
  expect(await client.group.add({ group: 'crowd', agents })).toHaveLength(300)
  expect(await client.group.get({ group: 'crowd' })).toMatchObject({ members: 301 })
  await failureOf(client.group.add({ group: 'crowd', agents: [] }), 'INVALID_ARGUMENT')
  // With those who are in it one more than may be.
  const tooMany = [...agents, ...Array.from({ length: 9_700 }, (_, at) => formatDid(numbered(at)))]
  await failureOf(client.group.add({ group: 'crowd', agents: tooMany }), 'TOO_LARGE')
  expect(await client.group.get({ group: 'crowd' })).toMatchObject({ members: 301 })
  await client.namespace.create({ name: 'readers' })
  await failureOf(client.namespace.grant({ namespace: 'readers', group: 'crowd', role: 'writer' }), 'TOO_LARGE')
  await client.namespace.grant({ namespace: 'readers', group: 'crowd', role: 'reader' })
  expect(await client.namespace.members({ namespace: 'readers' })).toHaveLength(301)
  await client.group.remove({ group: 'crowd', agents: agents.slice(0, 290) })
  await eventually(async () => expect(await client.namespace.members({ namespace: 'readers' })).toHaveLength(11))
  expect((await owner.node.check()).findings).toEqual([])
})

test('who is outside a group and counts on it hears of a removal at once from whoever of the group is connected, or on meeting them', async () => {
  await using nodes = new TestNodes()
  const [head, ann, host] = [await nodes.start('head'), await nodes.start('ann'), await nodes.start('host')]
  await acquaint(head, ann, host)
  const { group } = head.node.client
  await group.create({ name: 'data-team' })
  await group.add({ group: 'data-team', agents: ['ann'], role: 'admin' })
  await eventually(async () => expect(await groups(ann)).toEqual(['data-team']))
  const { namespace } = host.node.client
  const shared = 'shared'
  await namespace.create({ name: shared })
  await namespace.grant({ namespace: shared, agent: 'ann', role: 'admin' })
  await ann.node.client.namespace.join({ ticket: await namespace.ticket({ namespace: shared }) })
  await ann.node.client.namespace.grant({ namespace: shared, group: 'data-team', role: 'reader' })
  await eventually(async () =>
    expect((await namespace.members({ namespace: shared })).map(({ did }) => did)).toContain(head.node.did),
  )
  await ann.stop()
  const entries = async () => (await host.node.status()).namespaces.find(({ name }) => name === shared)?.entries ?? 0
  const before = await entries()
  // The host is not in the group, and nobody who is in both is there: what it records it was told by the group’s owner.
  const somebody = new AgentKey(Buffer.alloc(32, 'somebody')).did
  await group.add({ group: 'data-team', agents: [somebody] })
  await group.remove({ group: 'data-team', agents: [somebody] })
  await eventually(async () => expect(await entries()).toBe(before + 1))

  // Having been in the group itself, it is told as another.
  await group.add({ group: 'data-team', agents: [host.node.did] })
  await eventually(async () => expect(await groups(host)).toEqual(['data-team']))
  await group.remove({ group: 'data-team', agents: [host.node.did] })
  await eventually(async () => expect(await entries()).toBeGreaterThan(before + 1))
  const then = await entries()
  await host.stop()
  await group.remove({ group: 'data-team', agents: ['ann'] })
  await host.start()
  await host.node.ping('head')
  await eventually(async () => expect(await entries()).toBe(then + 1))
})

test('who is given a role while others are connected is dialled: a contact has the group, and hears of the namespace, at once', async () => {
  await using nodes = new TestNodes()
  const [ann, bob, carol] = [await nodes.start('ann'), await nodes.start('bob'), await nodes.start('carol')]
  await acquaint(ann, bob)
  const { client } = ann.node
  await client.group.create({ name: 'data-team' })
  await client.namespace.create({ name: 'team' })
  await client.group.add({ group: 'data-team', agents: ['bob'] })
  await client.namespace.grant({ namespace: 'team', agent: 'bob', role: 'reader' })
  await eventually(async () => expect(await groups(bob)).toEqual(['data-team']))
  // Neither has talked to the other so far.
  await carol.node.client.agent.add({ name: 'ann', did: ann.node.did })
  await client.agent.add({ name: 'carol', ticket: await carol.node.client.agent.ticket() })
  // Before anybody's turn comes to be dialled every now and then.
  const soon = { timeout: syncEveryMs.from - 5_000, interval: 20 }
  await client.group.add({ group: 'data-team', agents: ['carol'] })
  await vi.waitFor(async () => expect(await groups(carol)).toEqual(['data-team']), soon)
  await client.namespace.grant({ namespace: 'team', agent: 'carol', role: 'reader' })
  await vi.waitFor(async () => expect((await carol.node.status()).invitations).toHaveLength(1), soon)
})
