import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Client } from '../../sdk/index.ts'
import { failureOf } from '../client/contract-support.ts'
import { acquaint, eventually, type TestNode, TestNodes } from '../replication/nodes.ts'

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString()
const shared = async ({ node }: TestNode, options: Parameters<Client['artifact']['listShared']>[0] = {}) =>
  (await Array.fromAsync(node.client.artifact.listShared(options))).map(({ name }) => name)

test('a contact’s share shows at once, is read in all its versions, and goes on over a restart', async () => {
  await using nodes = new TestNodes()
  const [alice, bob] = [await nodes.start('alice'), await nodes.start('bob')]
  await acquaint(alice, bob)
  const { artifact } = alice.node.client
  const large = randomBytes(3_000_000)
  const { id: artifactId } = await artifact.create({
    name: 'report',
    data: Buffer.from('one'),
    metadata: { kind: 'a' },
  })
  await artifact.update({ artifactId, data: large })
  const { id: other } = await artifact.create({ name: 'private', data: Buffer.from('not for bob') })

  const news = bob.node.client.artifact.watch()[Symbol.asyncIterator]()
  for (const self of [alice.node.did, await alice.node.client.agent.ticket()])
    await failureOf(artifact.share({ artifactId, withAgents: ['bob', self] }), 'INVALID_ARGUMENT')
  const [share] = await artifact.share({ artifactId, withAgents: ['bob'], message: 'for you' })
  expect(share).toMatchObject({
    artifactId,
    with: { kind: 'agent', id: bob.node.did, name: 'bob' },
    by: alice.node.did,
    expiresAt: undefined,
    afterVersion: 0,
    message: 'for you',
  })
  await eventually(async () => expect(await shared(bob)).toEqual(['report']))
  const theirs = bob.node.client.artifact
  expect(await theirs.get({ artifactId })).toMatchObject({ name: 'report', version: 2, metadata: { kind: 'a' } })
  expect(Buffer.compare(await theirs.download({ artifactId }), large)).toBe(0)
  expect(text(await theirs.download({ artifactId, version: 1 }))).toBe('one')
  expect((await Array.fromAsync(theirs.listVersions({ artifactId }))).map(({ version }) => version)).toEqual([2, 1])
  expect(await shared(bob, { metadataFilter: { kind: 'b' } })).toEqual([])
  expect(await shared(bob, { metadataFilter: { kind: 'a' } })).toEqual(['report'])

  const { versions, unreachable } = await theirs.status({ artifactId })
  expect([versions[0]?.nodes.map(({ holds }) => holds), unreachable]).toEqual([['all', 'all'], []])

  // The rest of the namespace is not there, and nothing may be done but read.
  await failureOf(theirs.get({ artifactId: other }), 'NOT_FOUND')
  expect((await bob.node.client.namespace.list()).map(({ name }) => name)).toEqual(['personal'])
  await failureOf(theirs.update({ artifactId, data: Buffer.from('x') }), 'ACCESS_DENIED')
  await failureOf(theirs.delete({ artifactId }), 'ACCESS_DENIED')
  await failureOf(theirs.share({ artifactId, withAgents: ['alice'] }), 'ACCESS_DENIED')
  await failureOf(theirs.unshare({ artifactId, agents: ['alice'] }), 'ACCESS_DENIED')
  await failureOf(theirs.access({ artifactId }), 'ACCESS_DENIED')

  // Of all that this node has: it was shared, then come the versions that it has, then new ones.
  const first = (await news.next()).value
  expect(first).toMatchObject({ kind: 'shared', artifactId, artifact: { name: 'report' } })
  expect((await news.next()).value).toMatchObject({ kind: 'updated', artifactId })
  const next = news.next()
  await artifact.update({ artifactId, data: Buffer.from('three') })
  const third = (await next).value
  expect(third).toMatchObject({ kind: 'updated', artifact: { version: 3 } })
  await news.return?.()
  await bob.stop()
  await artifact.update({ artifactId, data: Buffer.from('four') })
  await bob.start()
  // From a cursor it goes on, over the restart too; what was shared is not shared again.
  const later = bob.node.client.artifact.watch({ artifactId, cursor: third?.cursor })[Symbol.asyncIterator]()
  const again = bob.node.client.artifact.watch({ artifactId, cursor: first?.cursor })[Symbol.asyncIterator]()
  expect((await again.next()).value).toMatchObject({ kind: 'updated', artifactId })
  expect(await shared(bob)).toEqual(['report'])
  await bob.node.ping('alice')
  await eventually(async () => expect(text(await bob.node.client.artifact.download({ artifactId }))).toBe('four'))
  expect((await later.next()).value).toMatchObject({ kind: 'updated', artifact: { version: 4 } })
  for (const events of [later, again]) await events.return?.()
})

test('unsharing stops it, says why, and the next version is under another key', async () => {
  await using nodes = new TestNodes()
  const [alice, bob, carol] = [await nodes.start('alice'), await nodes.start('bob'), await nodes.start('carol')]
  await acquaint(alice, bob, carol)
  const { artifact } = alice.node.client
  const { id: artifactId } = await artifact.create({ name: 'report', data: Buffer.from('one') })
  const events = bob.node.client.artifact.watch()[Symbol.asyncIterator]()
  const begun = events.next()
  await artifact.share({ artifactId, withAgents: ['bob', 'carol'], message: 'to both' })
  const first = (await begun).value
  expect(first).toMatchObject({ kind: 'shared', artifactId })
  const one = bob.node.client.artifact.watch({ artifactId })[Symbol.asyncIterator]()
  for (const node of [bob, carol]) await eventually(async () => expect(await shared(node)).toEqual(['report']))
  const [received] = await Array.fromAsync(bob.node.client.artifact.listShared())
  expect(received?.shares).toMatchObject([{ by: alice.node.did, message: 'to both' }])
  // Shared in one moment, they have no order.
  expect((await artifact.access({ artifactId })).map(({ through, name }) => `${through} ${name}`).sort()).toEqual([
    'member undefined',
    'share bob',
    'share carol',
  ])
  const [byMe] = await Array.fromAsync(artifact.listShared({ by: 'me' }))
  expect(byMe?.name).toBe('report')
  expect(byMe?.shares.map(({ with: to }) => to.name).sort()).toEqual(['bob', 'carol'])
  expect(await shared(alice)).toEqual([])

  const [ended] = await artifact.unshare({ artifactId, agents: ['bob'] })
  expect(ended?.with.name).toBe('bob')
  await eventually(async () => expect(await shared(bob)).toEqual([]))
  const failure = await failureOf(bob.node.client.artifact.get({ artifactId }), 'ACCESS_DENIED')
  expect(failure.details).toMatchObject({ reason: 'REVOKED' })
  await artifact.update({ artifactId, data: Buffer.from('two') })
  await eventually(async () => expect(text(await carol.node.client.artifact.download({ artifactId }))).toBe('two'))
  await failureOf(bob.node.client.artifact.download({ artifactId }), 'ACCESS_DENIED')
  expect((await artifact.access({ artifactId })).map(({ name }) => name)).toEqual([undefined, 'carol'])
  await failureOf(artifact.unshare({ artifactId, agents: ['bob'] }), 'NOT_FOUND')
  // Who watches is told; of one artifact, that is the end of it, whenever one begins to watch it.
  const gone = { kind: 'unshared', artifactId, artifact: undefined, reason: 'REVOKED' }
  const last = (await events.next()).value
  expect(last).toMatchObject(gone)
  expect((await one.next()).value).toMatchObject(gone)
  expect((await one.next()).done).toBe(true)
  const late = await Array.fromAsync(bob.node.client.artifact.watch({ artifactId }))
  expect(late).toMatchObject([gone])
  // After a restart too, from before it on, and from after it on it is not told again.
  await bob.stop()
  await bob.start()
  const before = bob.node.client.artifact.watch({ cursor: first?.cursor as string })[Symbol.asyncIterator]()
  expect((await before.next()).value).toMatchObject(gone)
  const after = bob.node.client.artifact.watch({ cursor: last?.cursor as string })[Symbol.asyncIterator]()
  const coming = after.next()
  await bob.node.ping('alice')

  // Shared again, it is there again.
  await artifact.share({ artifactId, withAgents: ['bob'] })
  for (const next of [before.next(), coming]) expect((await next).value).toMatchObject({ kind: 'shared', artifactId })
  for (const watching of [before, after]) await watching.return?.()
  await eventually(async () => expect(await shared(bob)).toEqual(['report']))
  expect(text(await bob.node.client.artifact.download({ artifactId }))).toBe('two')
})

test('of two artifacts of one namespace, the one that is taken back is listed no more, and the other goes on', async () => {
  await using nodes = new TestNodes()
  const [alice, bob] = [await nodes.start('alice'), await nodes.start('bob')]
  await acquaint(alice, bob)
  const { artifact } = alice.node.client
  const { id: artifactId } = await artifact.create({ name: 'report', data: Buffer.from('one') })
  const { id: other } = await artifact.create({ name: 'other', data: Buffer.from('stays') })
  for (const one of [artifactId, other]) await artifact.share({ artifactId: one, withAgents: ['bob'] })
  await eventually(async () => expect((await shared(bob)).sort()).toEqual(['other', 'report']))
  const events = bob.node.client.artifact.watch({ artifactId: other })[Symbol.asyncIterator]()
  const next = events.next()
  await artifact.unshare({ artifactId, agents: ['bob'] })
  await eventually(async () => expect(await shared(bob)).toEqual(['other']))
  await failureOf(bob.node.client.artifact.download({ artifactId }), 'ACCESS_DENIED')
  await artifact.update({ artifactId: other, data: Buffer.from('goes on') })
  await eventually(async () =>
    expect(text(await bob.node.client.artifact.download({ artifactId: other }))).toBe('goes on'),
  )
  expect((await next).value).toMatchObject({ kind: 'updated', artifactId: other })
  await events.return?.()
  expect(await shared(bob)).toEqual(['other'])
})

test('a stranger’s share waits until it is accepted, and does not come again once it was dropped', async () => {
  await using nodes = new TestNodes()
  const [alice, bob] = [await nodes.start('alice'), await nodes.start('bob')]
  const { client } = alice.node
  await client.agent.add({ name: 'bob', ticket: await bob.node.client.agent.ticket() })
  const { id: first } = await client.artifact.create({ name: 'first', data: Buffer.from('one') })
  const { id: second } = await client.artifact.create({ name: 'second', data: Buffer.from('two') })
  await client.artifact.share({ artifactId: first, withAgents: ['bob'], message: 'please' })
  await client.artifact.share({ artifactId: second, withAgents: ['bob'] })
  const { inbox, artifact } = bob.node.client
  await eventually(async () => expect(await inbox.list()).toHaveLength(2))
  const requests = await inbox.list()
  const of = (id: string) => requests.find(({ artifactId }) => artifactId === id)
  expect(of(first)).toMatchObject({
    kind: 'share',
    from: alice.node.did,
    name: 'first',
    sizeBytes: 3,
    message: 'please',
  })
  expect(await shared(bob)).toEqual([])
  await failureOf(artifact.get({ artifactId: first }), 'NOT_FOUND')
  await inbox.drop({ id: of(second)?.id as string })
  await inbox.accept({ id: of(first)?.id as string })
  await failureOf(inbox.accept({ id: of(first)?.id as string }), 'NOT_FOUND')
  await eventually(async () => expect(await shared(bob)).toEqual(['first']))
  expect(text(await artifact.download({ artifactId: first }))).toBe('one')
  await bob.stop()
  await alice.stop()
  await bob.start()
  await alice.start()
  await alice.node.client.agent.add({ name: 'bob', ticket: await bob.node.client.agent.ticket() })
  await alice.node.ping('bob')
  await alice.node.client.artifact.update({ artifactId: first, data: Buffer.from('news') })
  await eventually(async () =>
    expect(text(await bob.node.client.artifact.download({ artifactId: first }))).toBe('news'),
  )
  expect(await bob.node.client.inbox.list()).toEqual([])
  await failureOf(bob.node.client.artifact.get({ artifactId: second }), 'NOT_FOUND')
})

test('a recipient that was away is told by another member, who or a replica serves it while the sharer is away', async () => {
  await using nodes = new TestNodes()
  const { owner, others } = await nodes.team(['writer', 'replica'])
  const [writer, replica] = others as [TestNode, TestNode]
  const bob = await nodes.start('bob')
  await acquaint(owner, writer, replica, bob)
  await bob.stop()
  const data = randomBytes(2_500_000)
  const { artifact } = owner.node.client
  const { id: artifactId } = await artifact.create({ name: 'report', data, replicas: 1 })
  await artifact.share({ artifactId, withAgents: [bob.node.did] })
  // A replica serves it, and cannot read it.
  const access = await artifact.access({ artifactId })
  expect(access.map(({ through, role }) => role ?? through).sort()).toEqual(['owner', 'share', 'writer'])
  for (const one of [writer, replica]) {
    await one.node.client.namespace.setPolicy({ fetch: 'eager' })
    await eventually(async () => {
      const { namespaces } = await one.node.status()
      expect(namespaces.find(({ name }) => name === 'shared')?.entries).toBe(
        (await owner.node.status()).namespaces.find(({ name }) => name === 'shared')?.entries,
      )
    })
  }
  await eventually(async () => {
    const [version] = (await owner.node.client.artifact.status({ artifactId })).versions
    expect(version?.nodes.filter(({ holds }) => holds === 'all')).toHaveLength(3)
  })
  await owner.stop()
  await bob.start()
  await bob.node.ping(writer.name)
  await eventually(async () => expect(await shared(bob)).toEqual(['report']))
  await writer.stop()
  await bob.node.ping(replica.name)
  expect(Buffer.compare(await bob.node.client.artifact.download({ artifactId }), data)).toBe(0)
})

test('from now on: earlier versions are not for the recipient', async () => {
  await using nodes = new TestNodes()
  const [alice, bob] = [await nodes.start('alice'), await nodes.start('bob')]
  await acquaint(alice, bob)
  const { artifact } = alice.node.client
  const { id: artifactId } = await artifact.create({ name: 'report', data: Buffer.from('one') })
  const [share] = await artifact.share({ artifactId, withAgents: ['bob'], fromNow: true })
  expect(share?.afterVersion).toBe(1)
  await artifact.update({ artifactId, data: Buffer.from('two') })
  await eventually(async () => expect(await shared(bob)).toEqual(['report']))
  const theirs = bob.node.client.artifact
  expect((await Array.fromAsync(theirs.listVersions({ artifactId }))).map(({ version }) => version)).toEqual([2])
  expect(text(await theirs.download({ artifactId }))).toBe('two')
  const failure = await theirs.download({ artifactId, version: 1 }).then(
    () => undefined,
    (error) => error.code,
  )
  expect(['NOT_FOUND', 'ACCESS_DENIED']).toContain(failure)
})

test('a watch that begins once a share is listed does not tell of it, and of all that comes after', async () => {
  await using nodes = new TestNodes()
  const [alice, bob] = [await nodes.start('alice'), await nodes.start('bob')]
  await acquaint(alice, bob)
  const { artifact } = alice.node.client
  const theirs = bob.node.client.artifact
  for (let at = 0; at < 6; at++) {
    const name = `report ${at}`
    const { id: artifactId } = await artifact.create({ name, data: Buffer.from(name) })
    await artifact.share({ artifactId, withAgents: ['bob'] })
    // As soon as it is there: what brings it may not be through.
    while (!(await shared(bob)).includes(name)) await new Promise((resolve) => setImmediate(resolve))
    const events = theirs.watch()[Symbol.asyncIterator]()
    const first = events.next()
    await artifact.update({ artifactId, data: Buffer.from('two') })
    expect((await first).value).toMatchObject({ kind: 'updated', artifactId, artifact: { version: 2 } })
    await events.return?.()
  }
})

test('what is shared again is told as shared again, with others of its namespace shared all the while', async () => {
  await using nodes = new TestNodes()
  const [alice, bob] = [await nodes.start('alice'), await nodes.start('bob')]
  await acquaint(alice, bob)
  const { artifact, group } = alice.node.client
  const { id: artifactId } = await artifact.create({ name: 'report', data: Buffer.from('one') })
  const { id: other } = await artifact.create({ name: 'other', data: Buffer.from('stays') })
  await artifact.share({ artifactId: other, withAgents: ['bob'] })
  await eventually(async () => expect(await shared(bob)).toEqual(['other']))
  let events = bob.node.client.artifact.watch()[Symbol.asyncIterator]()
  const told = async () => {
    const { value } = await events.next()
    expect(value?.artifactId).toBe(artifactId)
    return value ?? expect.fail('it goes on')
  }
  await artifact.share({ artifactId, withAgents: ['bob'] })
  expect(await told()).toMatchObject({ kind: 'shared', artifact: { version: 1 } })
  await artifact.unshare({ artifactId, agents: ['bob'] })
  const gone = await told()
  expect(gone).toMatchObject({ kind: 'unshared', reason: 'REVOKED' })
  await artifact.share({ artifactId, withAgents: ['bob'] })
  expect(await told()).toMatchObject({ kind: 'shared', artifact: { version: 1 } })
  expect(text(await bob.node.client.artifact.download({ artifactId }))).toBe('one')
  // What is readable already, by another share too, is not told again; nor is it after a restart.
  await artifact.share({ artifactId, withAgents: ['bob'], message: 'look' })
  await artifact.update({ artifactId, data: Buffer.from('two') })
  expect(await told()).toMatchObject({ kind: 'updated', artifact: { version: 2 } })
  const restartAt = async (cursor: string) => {
    await events.return?.()
    await bob.stop()
    await bob.start()
    events = bob.node.client.artifact.watch({ cursor })[Symbol.asyncIterator]()
    await bob.node.ping('alice')
  }
  await restartAt(gone.cursor)
  expect(await told()).toMatchObject({ kind: 'shared' })
  expect(await told()).toMatchObject({ kind: 'updated', artifact: { version: 2 } })

  // Both shares end at once: that is one loss. Then by way of a group, out of it and in it again.
  await artifact.unshare({ artifactId, agents: ['bob'] })
  const last = await told()
  expect(last).toMatchObject({ kind: 'unshared' })
  await group.create({ name: 'team' })
  await group.add({ group: 'team', agents: ['bob'] })
  await artifact.share({ artifactId, withGroups: ['team'] })
  expect(await told()).toMatchObject({ kind: 'shared' })
  await restartAt(last.cursor)
  expect(await told()).toMatchObject({ kind: 'shared' })
  await group.remove({ group: 'team', agents: ['bob'] })
  expect(await told()).toMatchObject({ kind: 'unshared', reason: 'GROUP_EPOCH' })
  await group.add({ group: 'team', agents: ['bob'] })
  expect(await told()).toMatchObject({ kind: 'shared' })
  await events.return?.()
})

test('a cursor from before what was shared of a namespace was taken back misses nothing that is shared of it later', async () => {
  await using nodes = new TestNodes()
  const [alice, bob] = [await nodes.start('alice'), await nodes.start('bob')]
  await acquaint(alice, bob)
  const { artifact } = alice.node.client
  const theirs = bob.node.client.artifact
  const { id: first } = await artifact.create({ name: 'first', data: Buffer.from('one') })
  const begun = theirs.watch()[Symbol.asyncIterator]()
  const told = begun.next()
  await artifact.share({ artifactId: first, withAgents: ['bob'] })
  const { cursor } = (await told).value ?? expect.fail('it was shared')
  await begun.return?.()
  await artifact.unshare({ artifactId: first, agents: ['bob'] })
  await eventually(async () => await failureOf(theirs.get({ artifactId: first }), 'ACCESS_DENIED'))
  const { id: second } = await artifact.create({ name: 'second', data: Buffer.from('one') })
  await artifact.update({ artifactId: second, data: Buffer.from('two') })
  await artifact.share({ artifactId: second, withAgents: ['bob'] })
  await eventually(async () => expect((await theirs.get({ artifactId: second })).version).toBe(2))
  const later = theirs.watch({ cursor })[Symbol.asyncIterator]()
  const events = [(await later.next()).value, (await later.next()).value, (await later.next()).value]
  expect(events).toMatchObject([
    { kind: 'unshared', artifactId: first },
    { kind: 'shared', artifactId: second },
    { kind: 'updated', artifactId: second },
  ])
  await later.return?.()
})
