import { expect, test } from 'vitest'
import { failureOf } from '../client/contract-support.ts'
import { acquaint, eventually, type TestNode, TestNodes } from '../replication/nodes.ts'

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString()
const shared = async ({ node }: TestNode) =>
  (await Array.fromAsync(node.client.artifact.listShared())).map(({ name }) => name)
const byId = (one: { artifactId?: string } | undefined, two: { artifactId?: string } | undefined) =>
  (one?.artifactId ?? '') < (two?.artifactId ?? '') ? -1 : 1
const groupsOf = async ({ node }: TestNode) => (await node.client.group.list()).map(({ name }) => name)

test('a group of two reads what an outsider shares with it; one who joins later too; one who is removed no more', async () => {
  await using nodes = new TestNodes()
  const [ann, bob, carol, alice] = [
    await nodes.start('ann'),
    await nodes.start('bob'),
    await nodes.start('carol'),
    await nodes.start('alice'),
  ]
  await acquaint(ann, bob, carol)
  const { group } = ann.node.client
  await group.create({ name: 'data-team' })
  await group.add({ group: 'data-team', agents: ['bob'] })
  await eventually(async () => expect(await groupsOf(bob)).toEqual(['data-team']))

  // Alice has nothing but the group’s ticket; the group’s owner knows her.
  await alice.node.client.agent.add({ name: 'data-team', ticket: await group.ticket({ group: 'data-team' }) })
  await ann.node.client.agent.add({ name: 'alice', ticket: await alice.node.client.agent.ticket() })
  await ann.node.ping('alice')
  const { artifact } = alice.node.client
  const { id: artifactId } = await artifact.create({ name: 'figures', data: Buffer.from('one') })
  const [share] = await artifact.share({ artifactId, withGroups: ['data-team'] })
  expect(share?.with).toMatchObject({ kind: 'group', name: 'data-team' })
  expect((await artifact.access({ artifactId })).map(({ through }) => through)).toEqual(['member', 'group'])
  for (const member of [ann, bob]) {
    await eventually(async () => expect(await shared(member)).toEqual(['figures']))
    await eventually(async () => expect(text(await member.node.client.artifact.download({ artifactId }))).toBe('one'))
  }
  await group.add({ group: 'data-team', agents: ['carol'] })
  await eventually(async () => expect(await shared(carol)).toEqual(['figures']))
  expect(text(await carol.node.client.artifact.download({ artifactId }))).toBe('one')

  await group.remove({ group: 'data-team', agents: ['bob'] })
  await eventually(async () => expect(await shared(bob)).toEqual([]))
  await failureOf(bob.node.client.artifact.download({ artifactId }), 'ACCESS_DENIED')
  // Until news of the removal has come to whoever writes, nobody can know; it is pushed to her node.
  await eventually(async () => {
    await artifact.update({ artifactId, data: Buffer.from(`two ${Math.random()}`) })
    const version = await artifact.get({ artifactId })
    await eventually(async () =>
      expect((await carol.node.client.artifact.get({ artifactId })).versionId).toBe(version.versionId),
    )
  })
  expect(text(await carol.node.client.artifact.download({ artifactId }))).toMatch(/^two /)
  await failureOf(bob.node.client.artifact.download({ artifactId }), 'ACCESS_DENIED')

  await artifact.unshare({ artifactId, groups: ['data-team'] })
  for (const member of [ann, carol]) await eventually(async () => expect(await shared(member)).toEqual([]))
  await failureOf(artifact.unshare({ artifactId, groups: ['data-team'] }), 'NOT_FOUND')
})

test('what is shared with a group that the sharer is in itself reaches the others, and who leaves has it no more', async () => {
  await using nodes = new TestNodes()
  const [ann, bob] = [await nodes.start('ann'), await nodes.start('bob')]
  await acquaint(ann, bob)
  await ann.node.client.group.create({ name: 'data-team' })
  await ann.node.client.group.add({ group: 'data-team', agents: ['bob'] })
  await eventually(async () => expect(await groupsOf(bob)).toEqual(['data-team']))
  const { artifact } = bob.node.client
  const { id: artifactId } = await artifact.create({ name: 'notes', data: Buffer.from('from bob') })
  await artifact.share({ artifactId, withGroups: ['data-team'] })
  await eventually(async () => expect(await shared(ann)).toEqual(['notes']))
  expect(text(await ann.node.client.artifact.download({ artifactId }))).toBe('from bob')
  expect(await shared(bob)).toEqual([])
  const { id: other } = await ann.node.client.artifact.create({ name: 'mine', data: Buffer.from('from ann') })
  await ann.node.client.artifact.share({ artifactId: other, withGroups: ['data-team'] })
  const events = bob.node.client.artifact.watch()[Symbol.asyncIterator]()
  const { id: third } = await ann.node.client.artifact.create({ name: 'third', data: Buffer.from('from ann too') })
  await ann.node.client.artifact.share({ artifactId: third, withGroups: ['data-team'] })
  let begun = (await events.next()).value
  while (begun?.artifactId !== third) begun = (await events.next()).value
  const { cursor } = begun
  await eventually(async () => expect((await shared(bob)).sort()).toEqual(['mine', 'third']))
  const ticket = await ann.node.client.group.ticket({ group: 'data-team' })
  await bob.node.client.group.leave({ group: 'data-team' })
  await eventually(async () => expect(await shared(bob)).toEqual([]))
  const gone = [other, third].map((one) => ({ kind: 'unshared', artifactId: one, reason: 'LEFT' })).sort(byId)
  const last = [(await events.next()).value, (await events.next()).value]
  const [, newest] = last
  expect(last.toSorted(byId)).toMatchObject(gone)
  await events.return?.()

  // After a restart as well, for who goes on from before it; who goes on from after it is not told again.
  await bob.stop()
  await bob.start()
  const { artifact: his, group } = bob.node.client
  const failure = await failureOf(his.get({ artifactId: other }), 'ACCESS_DENIED')
  expect(failure.details).toMatchObject({ reason: 'LEFT' })
  const again = his.watch({ cursor })[Symbol.asyncIterator]()
  expect([(await again.next()).value, (await again.next()).value].sort(byId)).toMatchObject(gone)
  const after = his.watch({ cursor: newest?.cursor ?? '' })[Symbol.asyncIterator]()
  const next = after.next()
  await bob.node.ping('ann')
  await group.join({ ticket })
  await eventually(async () => expect((await shared(bob)).sort()).toEqual(['mine', 'third']))
  expect((await next).value).toMatchObject({ kind: 'shared' })
  for (const one of [again, after]) await one.return?.()
})

test('who is removed from a group is told what it lost by that, after a restart too, and has it back when it is added again', async () => {
  await using nodes = new TestNodes()
  const [ann, bob] = [await nodes.start('ann'), await nodes.start('bob')]
  await acquaint(ann, bob)
  const { group, artifact } = ann.node.client
  await group.create({ name: 'data-team' })
  await group.add({ group: 'data-team', agents: ['bob'] })
  await eventually(async () => expect(await groupsOf(bob)).toEqual(['data-team']))
  const events = bob.node.client.artifact.watch()[Symbol.asyncIterator]()
  const begun = events.next()
  const { id: artifactId } = await artifact.create({ name: 'figures', data: Buffer.from('one') })
  await artifact.share({ artifactId, withGroups: ['data-team'] })
  const first = (await begun).value ?? expect.fail('it was shared')
  await group.remove({ group: 'data-team', agents: ['bob'] })
  const gone = { kind: 'unshared', artifactId, reason: 'GROUP_EPOCH' }
  const last = (await events.next()).value ?? expect.fail('it was lost')
  expect(last).toMatchObject(gone)
  await events.return?.()
  await eventually(async () => expect(await groupsOf(bob)).toEqual([]))
  await bob.stop()
  await bob.start()
  const before = bob.node.client.artifact.watch({ cursor: first.cursor })[Symbol.asyncIterator]()
  expect((await before.next()).value).toMatchObject(gone)
  const after = bob.node.client.artifact.watch({ cursor: last.cursor })[Symbol.asyncIterator]()
  const next = after.next()
  await bob.node.ping('ann')
  await group.add({ group: 'data-team', agents: ['bob'] })
  await eventually(async () => expect(await shared(bob)).toEqual(['figures']))
  expect((await next).value).toMatchObject({ kind: 'shared', artifactId })
  for (const one of [before, after]) await one.return?.()
})

test('what somebody shares with a group that nobody there knows waits for each of its members', async () => {
  await using nodes = new TestNodes()
  const [ann, bob, eve] = [await nodes.start('ann'), await nodes.start('bob'), await nodes.start('eve')]
  await acquaint(ann, bob)
  const { id: group } = await ann.node.client.group.create({ name: 'data-team' })
  await ann.node.client.group.add({ group, agents: ['bob'] })
  await eventually(async () => expect(await groupsOf(bob)).toEqual(['data-team']))
  await eve.node.client.agent.add({ name: 'their-team', ticket: await ann.node.client.group.ticket({ group }) })
  const { id: artifactId } = await eve.node.client.artifact.create({ name: 'offer', data: Buffer.from('buy') })
  await eve.node.client.artifact.share({ artifactId, withGroups: ['their-team'] })
  for (const member of [ann, bob]) {
    await eventually(async () => expect(await member.node.client.inbox.list()).toMatchObject([{ name: 'offer' }]))
    expect(await shared(member)).toEqual([])
  }
  const [request] = await bob.node.client.inbox.list()
  await bob.node.client.inbox.accept({ id: request?.id as string })
  await eventually(async () => expect(await shared(bob)).toEqual(['offer']))
  expect(await shared(ann)).toEqual([])
})
