import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Logger } from '../../node/index.ts'
import { failureOf } from '../client/contract-support.ts'
import { type LocalAgent, LocalAgents } from './agents.ts'
import { acquaint, eventually, type TestNode, TestNodes } from './nodes.ts'

const namespace = 'shared'
const names = async ({ node }: TestNode) => (await node.client.namespace.list()).map(({ name }) => name).sort()
const ended = async ({ node }: TestNode) => (await node.status()).ended
const text = async ({ node }: TestNode, artifactId: string) =>
  Buffer.from(await node.client.artifact.download({ artifactId })).toString()
const isOut = async (member: TestNode) =>
  await eventually(async () => expect(await names(member)).not.toContain(namespace))
const isBack = async (member: TestNode) =>
  await eventually(async () => expect(await names(member)).toContain(namespace))

/** An owner and others who know each other, with an artifact of the owner’s that all of them have. */
async function team(nodes: TestNodes, ...roles: ('admin' | 'writer' | 'reader')[]) {
  const { owner, others, ticket } = await nodes.team(roles)
  for (const other of others) {
    await other.node.client.agent.add({ name: 'owner', ticket: await owner.node.client.agent.ticket() })
    await other.node.ping('owner')
  }
  const { id: artifactId } = await owner.node.client.artifact.createSnippet({ name: 'note', content: 'ours' })
  for (const other of others) await eventually(async () => expect(await text(other, artifactId)).toBe('ours'))
  const { id } = await owner.node.client.namespace.get({ namespace })
  return { owner, others, ticket, id, artifactId }
}

test('who is removed while it is connected has the namespace no more, and nobody waits for two seconds before that', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('writer')) as [LocalAgent, LocalAgent]
  const names = () => bob.replication.namespaces.all.map(({ row }) => row.name)
  // What comes of one removal does not hold up the next.
  for (let removals = 0; removals < 2; removals++) {
    if (removals > 0) await owner.client.namespace.grant({ agent: 'writer-0', role: 'writer' })
    await eventually(() => expect(names()).toContain(namespace))
    const watching = bob.client.artifact.watch({ namespace })[Symbol.asyncIterator]()
    const told = failureOf(watching.next(), 'ACCESS_DENIED')
    for (const one of [owner, bob]) one.keepOnlyTimersBelow(2_000)
    await owner.client.namespace.revoke({ agent: 'writer-0' })
    await told
    expect(names()).toEqual(['personal'])
    for (const one of [owner, bob]) one.keepOnlyTimersBelow(Number.POSITIVE_INFINITY)
  }
})

test('who is removed from a namespace that it joined by name has it no more, is told why by every call, and has it back as it was', async () => {
  await using nodes = new TestNodes()
  const { owner, others, id, artifactId } = await team(nodes, 'writer', 'reader')
  const [bob, reader] = others as [TestNode, TestNode]
  const { id: own } = await bob.node.client.artifact.createSnippet({ name: 'of bob', content: 'by bob' })
  await eventually(async () => expect(await text(reader, own)).toBe('by bob'))
  const link = await bob.node.client.artifact.getSignedUrl({
    artifactId: own,
    gateways: [{ agent: owner.node.did, url: 'http://127.0.0.1:1' }],
  })

  const watching = bob.node.client.artifact.watch({ namespace })[Symbol.asyncIterator]()
  const ofOne = bob.node.client.artifact.watch({ artifactId })[Symbol.asyncIterator]()
  const [next, nextOfOne] = [watching, ofOne].map((one) => failureOf(one.next(), 'ACCESS_DENIED'))
  await owner.node.client.namespace.revoke({ agent: bob.name })
  for (const failure of [next, nextOfOne])
    expect((await failure)?.details).toMatchObject({ namespace: id, reason: 'REMOVED', by: owner.node.did })

  expect(await names(bob)).toEqual(['personal'])
  const { client } = bob.node
  expect(await client.namespace.get({ namespace: 'personal' })).toMatchObject({ current: true })
  const refused: (() => PromiseLike<unknown>)[] = [
    () => client.namespace.get({ namespace }),
    () => client.namespace.usage({ namespace: id }),
    () => client.namespace.members({ namespace }),
    () => client.namespace.ticket({ namespace }),
    () => client.namespace.use({ namespace }),
    () => client.namespace.setPolicy({ namespace, fetch: 'eager' }),
    () => client.artifact.list({ namespace }),
    () => client.artifact.list({ namespace, metadataFilter: { a: 1 } }),
    () => client.artifact.get({ artifactId }),
    () => client.artifact.get({ namespace, name: 'note' }),
    () => client.artifact.listVersions({ artifactId }),
    () => client.artifact.download({ artifactId: own }),
    () => client.artifact.update({ artifactId: own, content: 'again' }),
    () => client.artifact.delete({ artifactId: own }),
    () => client.artifact.createSnippet({ namespace, name: 'no', content: 'no' }),
    () =>
      client.artifact.getSignedUrl({ artifactId, gateways: [{ agent: owner.node.did, url: 'http://127.0.0.1:1' }] }),
    () => client.artifact.revokeSignedUrl({ jti: link.jti }),
    () => client.artifact.share({ artifactId: own, withAgents: [reader.node.did] }),
    () => client.artifact.access({ artifactId }),
    () => client.artifact.status({ artifactId }),
    () => client.artifact.watch({ artifactId })[Symbol.asyncIterator]().next(),
  ]
  for (const call of refused) {
    const { details } = await failureOf(call(), 'ACCESS_DENIED')
    expect(details).toMatchObject({ namespace: id, reason: 'REMOVED', by: owner.node.did, at: expect.any(String) })
  }
  expect((await client.artifact.listSignedUrls()).map(({ state }) => state)).toEqual(['issuer-removed'])
  const before = await ended(bob)
  expect(before).toMatchObject([
    { kind: 'namespace', id, name: namespace, reason: 'REMOVED', by: owner.node.did, isKept: true },
  ])
  expect(before[0]?.diskBytes).toBeGreaterThan(0)
  // Who may read it reads it from others; this node gives nothing of it any more.
  expect(await text(reader, own)).toBe('by bob')

  await bob.stop()
  await bob.start()
  expect(await names(bob)).toEqual(['personal'])
  await failureOf(bob.node.client.artifact.get({ artifactId }), 'ACCESS_DENIED')
  expect(await ended(bob)).toEqual(before)
  expect((await bob.node.check()).findings).toEqual([])

  const events = reader.node.client.artifact.watch({ namespace })[Symbol.asyncIterator]()
  const seen = events.next()
  await bob.node.ping('owner')
  await owner.node.client.namespace.grant({ agent: bob.name, role: 'writer' })
  await isBack(bob)
  expect(await ended(bob)).toEqual([])
  expect((await bob.node.status()).invitations).toEqual([])
  expect(await text(bob, own)).toBe('by bob')
  const again = await bob.node.client.artifact.update({ artifactId: own, content: 'by bob, again' })
  expect(again.version).toBe(2)
  expect((await seen).value).toMatchObject({ kind: 'updated', artifactId: own })
  await events.return?.()
  await eventually(async () => expect(await text(reader, own)).toBe('by bob, again'))
  for (const { node } of [owner, bob, reader]) {
    expect((await node.check()).findings).toEqual([])
    expect((await node.status()).namespaces.find(({ name }) => name === namespace)?.forks).toEqual([])
  }
})

test('joining brings it back too, with the same name, whether or not it came by itself, and a cursor from before goes on', async () => {
  await using nodes = new TestNodes()
  const { owner, others, ticket, artifactId } = await team(nodes, 'writer')
  const [bob] = others as [TestNode]
  const events = bob.node.client.artifact.watch()[Symbol.asyncIterator]()
  const first = events.next()
  await owner.node.client.artifact.update({ artifactId, content: 'second' })
  const { cursor } = (await first).value
  const next = events.next()
  await owner.node.client.namespace.revoke({ agent: bob.name })
  await isOut(bob)
  await owner.node.client.artifact.update({ artifactId, content: 'third' })
  // What else there is goes on.
  await bob.node.client.artifact.createSnippet({ name: 'mine', content: 'mine' })
  expect((await next).value).toMatchObject({ kind: 'created', artifact: { name: 'mine' } })
  await events.return?.()
  await failureOf(bob.node.client.namespace.join({ ticket }), 'ACCESS_DENIED')
  expect((await ended(bob)).map(({ name }) => name)).toEqual([namespace])

  await owner.node.client.namespace.grant({ agent: bob.name, role: 'reader' })
  const joined = await bob.node.client.namespace.join({ ticket, wait: true }).catch((error) => error.code)
  expect(['ALREADY_EXISTS', joined]).toContainEqual(joined)
  expect(await names(bob)).toEqual(['personal', namespace])
  const since = bob.node.client.artifact.watch({ namespace, cursor })[Symbol.asyncIterator]()
  expect((await since.next()).value).toMatchObject({ kind: 'updated', artifactId, artifact: { version: 3 } })
  await since.return?.()
  expect(await text(bob, artifactId)).toBe('third')
})

test('a download that is under way when the role ends fails with the reason, and gives no more of what is here', async () => {
  await using nodes = new TestNodes()
  const { owner, others } = await team(nodes, 'reader')
  const [bob] = others as [TestNode]
  const data = randomBytes(24_000_000)
  const { id: artifactId } = await owner.node.client.artifact.create({ name: 'large', data })
  await eventually(async () => await bob.node.client.artifact.get({ artifactId }))
  // All of it is here.
  expect(Buffer.from(await bob.node.client.artifact.download({ artifactId })).equals(data)).toBe(true)
  const reading = bob.node.client.artifact.downloadStream({ artifactId })[Symbol.asyncIterator]()
  let bytes = ((await reading.next()).value as Uint8Array).length
  await owner.node.client.namespace.revoke({ agent: bob.name })
  await isOut(bob)
  const rest = async () => {
    for (let piece = await reading.next(); piece.done !== true; piece = await reading.next())
      bytes += piece.value.length
  }
  const { details } = await failureOf(rest(), 'ACCESS_DENIED')
  expect(details).toMatchObject({ reason: 'REMOVED', by: owner.node.did })
  expect(bytes).toBeLessThan(data.length)
})

test('what this agent wrote stays until somebody here leaves it; where it wrote nothing gc gives the room back', async () => {
  await using nodes = new TestNodes()
  const { owner, others, artifactId } = await team(nodes, 'writer', 'reader')
  const [writer, reader] = others as [TestNode, TestNode]
  // Nobody fetches it.
  const { id: own } = await writer.node.client.artifact.create({ name: 'large', data: randomBytes(3_000_000) })
  await eventually(async () => await owner.node.client.artifact.get({ artifactId: own }))
  for (const member of [writer, reader]) {
    await owner.node.client.namespace.revoke({ agent: member.name })
    await isOut(member)
  }
  expect((await ended(writer))[0]).toMatchObject({ isKept: true })
  expect((await ended(writer))[0]?.diskBytes).toBeGreaterThan(3_000_000)
  expect((await ended(reader))[0]).toMatchObject({ isKept: false })
  for (const { node } of [writer, reader]) await node.gc({ now: true })
  expect(await ended(writer)).toHaveLength(1)
  expect(await ended(reader)).toEqual([])
  await failureOf(reader.node.client.artifact.get({ artifactId }), 'NOT_FOUND')
  expect((await writer.node.check({ readData: true })).findings).toEqual([])

  await owner.node.client.namespace.grant({ agent: writer.name, role: 'writer' })
  await isBack(writer)
  expect((await owner.node.client.artifact.download({ artifactId: own })).length).toBe(3_000_000)
  await owner.node.client.namespace.revoke({ agent: writer.name })
  await isOut(writer)
  await writer.node.client.namespace.leave({ namespace })
  expect(await ended(writer)).toEqual([])
  await failureOf(writer.node.client.namespace.get({ namespace }), 'NOT_FOUND')
  expect((await writer.node.du()).map(({ name }) => name)).toEqual(['personal'])
})

test('what it wrote before it heard of its removal, and that counts nowhere, is no garbage either', async () => {
  await using nodes = new TestNodes()
  const { owner, others } = await team(nodes, 'writer')
  const [writer] = others as [TestNode]
  await writer.stop()
  await owner.node.client.namespace.revoke({ agent: writer.name })
  await writer.start({ listen: [], network: 'offline' })
  await writer.node.client.artifact.create({ namespace, name: 'late', data: randomBytes(3_000_000) })
  await writer.stop()
  await writer.start()
  await writer.node.ping('owner')
  await isOut(writer)
  const packs = async () => (await writer.node.du()).find(({ name }) => name === namespace)?.blocks
  const before = await packs()
  expect(before).toBeGreaterThan(1)
  await writer.node.gc({ now: true })
  expect(await packs()).toBe(before)
})

test('what one is by name and by way of a group is over when both are', async () => {
  await using nodes = new TestNodes()
  const { owner, others, artifactId } = await team(nodes, 'reader')
  const [bob] = others as [TestNode]
  await acquaint(owner, bob)
  const { client } = owner.node
  const { id: group } = await client.group.create({ name: 'data-team' })
  await client.group.add({ group, agents: [bob.node.did] })
  await client.namespace.grant({ namespace, group, role: 'writer' })
  const role = async () => (await bob.node.status()).namespaces.find(({ name }) => name === namespace)?.role
  await eventually(async () => expect(await role()).toBe('writer'))
  // By name last.
  await client.namespace.grant({ namespace, agent: bob.node.did, role: 'reader' })
  await client.group.remove({ group, agents: [bob.node.did] })
  await eventually(async () => expect(await role()).toBe('reader'))
  expect(await text(bob, artifactId)).toBe('ours')
  await client.namespace.revoke({ agent: bob.node.did })
  await isOut(bob)
  await failureOf(bob.node.client.artifact.get({ artifactId }), 'ACCESS_DENIED')
})

test('a removed replica serves nothing, says so, starts all the same with the ticket, and goes on when it is let in again', async () => {
  await using nodes = new TestNodes()
  const { owner } = await nodes.team([])
  const { client } = owner.node
  const ticket = await client.namespace.ticket()
  const warnings: string[] = []
  const logger: Logger = { debug() {}, info() {}, warn: (message) => void warnings.push(message), error() {} }
  const replica = await nodes.start('replica', { replicate: [ticket], logger })
  await client.namespace.grant({ agent: replica.node.did, role: 'replica' })
  const { id: artifactId } = await client.artifact.create({ name: 'large', data: randomBytes(200_000) })
  const holds = async () => {
    const { versions } = await client.artifact.status({ artifactId })
    return versions[0]?.nodes.find(({ did }) => did === replica.node.did)?.holds
  }
  await eventually(async () => expect(await holds()).toBe('all'))

  await client.namespace.revoke({ agent: replica.node.did })
  await isOut(replica)
  expect(await ended(replica)).toMatchObject([{ name: namespace, reason: 'REMOVED', isKept: false }])
  await eventually(() => expect(warnings).toContainEqual(expect.stringContaining('waits')))
  expect(await holds()).toBeUndefined()
  await replica.stop()
  warnings.length = 0
  await replica.start()
  expect(await names(replica)).toEqual(['personal'])
  expect(await ended(replica)).toHaveLength(1)
  await eventually(() => expect(warnings).toContainEqual(expect.stringContaining('waits')))

  const { id: later } = await client.artifact.create({ name: 'later', data: randomBytes(200_000) })
  await client.namespace.grant({ agent: replica.node.did, role: 'replica' })
  await isBack(replica)
  await eventually(async () => expect(await holds()).toBe('all'))
  await eventually(async () => {
    const { versions } = await client.artifact.status({ artifactId: later })
    expect(versions[0]?.nodes.find(({ did }) => did === replica.node.did)?.holds).toBe('all')
  })
  // And once more, while it runs.
  await client.namespace.revoke({ agent: replica.node.did })
  await isOut(replica)
  await client.namespace.grant({ agent: replica.node.did, role: 'replica' })
  await isBack(replica)
})
