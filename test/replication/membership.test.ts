import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { AgentKey, formatTicket, parseTicket } from '../../src/identity/index.ts'
import { failureOf, freshNamespace } from '../client/contract-support.ts'
import { eventually, type TestNode, TestNodes } from './nodes.ts'

const text = async (node: TestNode, artifactId: string): Promise<string> =>
  new TextDecoder().decode(await node.node.client.artifact.download({ artifactId }))

test('contacts name agents by DID or ticket, uniquely, and outlive a restart', async () => {
  await using nodes = new TestNodes()
  const [one, two] = [await nodes.start('one'), await nodes.start('two')]
  const { agent } = one.node.client
  const ticket = await two.node.client.agent.ticket()
  const self = await two.node.client.agent.self()
  expect(self).toEqual({ did: two.node.did, addresses: [expect.stringContaining('/ip4/127.0.0.1/tcp/')] })
  expect(await agent.add({ name: 'two', ticket })).toEqual({ name: 'two', ...self })
  expect(await agent.add({ name: 'again', did: self.did })).toEqual({ name: 'again', did: self.did, addresses: [] })
  const { details } = await failureOf(agent.add({ name: 'two', did: one.node.did }), 'ALREADY_EXISTS')
  expect(details).toEqual({ name: 'two', did: self.did })
  for (const name of ['did:key:me', ` ${self.did}`, ticket, ` ${ticket}`])
    await failureOf(agent.add({ name, did: self.did }), 'INVALID_ARGUMENT')
  await failureOf(agent.add({ name: 'both', did: self.did, ticket } as never), 'INVALID_ARGUMENT')
  await failureOf(agent.add({ name: 'neither' }), 'INVALID_ARGUMENT')
  await failureOf(agent.add({ name: 'odd', ticket: 'ahub1odd' }), 'INVALID_ARGUMENT')
  await one.stop()
  await one.start()
  const again = one.node.client.agent
  expect((await again.list()).map(({ name }) => name)).toEqual(['again', 'two'])
  // Its address came from the ticket and was kept.
  expect(await one.node.ping('two')).toBeGreaterThan(0)
  expect(await one.node.ping(ticket)).toBeGreaterThan(0)
  await again.remove({ name: 'two' })
  await failureOf(again.remove({ name: 'two' }), 'NOT_FOUND')
  await failureOf(one.node.ping('two'), 'NOT_FOUND')
})

test('without a grant joining is ACCESS_DENIED and leaves nothing; one that waits ends when the grant is made', async () => {
  await using nodes = new TestNodes()
  const [owner, other] = [await nodes.start('owner'), await nodes.start('other')]
  await owner.node.client.namespace.create({ name: 'shared' })
  const ticket = await owner.node.client.namespace.ticket({ namespace: 'shared' })
  const { client } = other.node
  await failureOf(client.namespace.join({ ticket }), 'ACCESS_DENIED')
  expect((await client.namespace.list()).map(({ name }) => name)).toEqual(['personal'])
  expect((await other.node.status()).peers.map(({ did }) => did)).toEqual([owner.node.did])

  const joined = client.namespace.join({ ticket, wait: true, name: 'theirs' })
  await failureOf(client.namespace.join({ ticket }), 'CONFLICT')
  const member = await owner.node.client.namespace.grant({ namespace: 'shared', agent: other.node.did, role: 'reader' })
  expect(member).toMatchObject({ did: other.node.did, role: 'reader', connected: true, name: undefined })
  const { id } = await owner.node.client.namespace.get({ namespace: 'shared' })
  expect(await joined).toEqual({ id, name: 'theirs', role: 'reader' })
  expect(await client.namespace.get({ namespace: 'theirs' })).toMatchObject({
    id,
    owner: owner.node.did,
    current: false,
  })
  await failureOf(client.namespace.join({ ticket }), 'ALREADY_EXISTS')

  const aborted = new AbortController()
  const elsewhere = await owner.node.client.namespace.create({ name: 'elsewhere' })
  const waiting = client.namespace.join({
    ticket: await owner.node.client.namespace.ticket({ namespace: elsewhere.id }),
    wait: true,
    signal: aborted.signal,
  })
  aborted.abort(new Error('enough'))
  await expect(waiting).rejects.toThrow('enough')
})

test('what is remembered of a namespace at one time is all remembered, past a restart', async () => {
  await using nodes = new TestNodes()
  const owner = await nodes.start('owner')
  const { namespace } = owner.node.client
  const { id } = await namespace.create({ name: 'shared' })
  const tickets = Array.from({ length: 4 }, (_, at) => {
    const { publicKey } = new AgentKey(randomBytes(32))
    const peers = [{ agent: publicKey, addresses: [`/ip4/127.0.0.1/tcp/${at + 1}`] }]
    return formatTicket({ kind: 'agent', id: publicKey, peers })
  })
  const grants = tickets.map((agent) => () => namespace.grant({ namespace: id, agent, role: 'reader' }))
  const policy = { fetch: 'eager', maxBytes: 5 } as const
  await Promise.all([namespace.setPolicy({ namespace: id, ...policy }), ...grants.map((grant) => grant())])
  await owner.stop()
  await owner.start()
  const shared = (await owner.node.status()).namespaces.find((one) => one.id === id)
  expect(shared?.policy).toEqual(policy)
  const { peers } = parseTicket(await owner.node.client.namespace.ticket({ namespace: id }))
  expect(peers.flatMap(({ addresses }) => addresses)).toEqual(
    expect.arrayContaining(tickets.flatMap((ticket) => parseTicket(ticket).peers.flatMap((peer) => peer.addresses))),
  )
  // Who is no member any more is not asked for it.
  await owner.node.client.namespace.revoke({ namespace: id, agent: tickets[0] as string })
  const later = parseTicket(await owner.node.client.namespace.ticket({ namespace: id }))
  expect(later.peers).toHaveLength(peers.length - 1)
})

test('a connected agent is told of a grant at once; a ticket of nobody who is there is UNAVAILABLE', async () => {
  await using nodes = new TestNodes()
  const [owner, other] = [await nodes.start('owner'), await nodes.start('other')]
  const shared = await freshNamespace(owner.node.client)
  await other.node.client.agent.add({ name: 'owner', ticket: await owner.node.client.agent.ticket() })
  await other.node.ping('owner')
  await owner.node.client.namespace.grant({ namespace: shared.id, agent: other.node.did, role: 'writer' })
  await eventually(async () =>
    expect((await other.node.status()).invitations).toEqual([{ namespace: shared.id, from: owner.node.did }]),
  )
  const ticket = await owner.node.client.namespace.ticket({ namespace: shared.id })
  await owner.stop()
  const { details } = await failureOf(other.node.client.namespace.join({ ticket }), 'UNAVAILABLE')
  expect(details.asked).toHaveLength(1)
})

test('roles bound what members do; a removed writer’s later entries count nowhere and it reads nothing newer', async () => {
  await using nodes = new TestNodes()
  const { owner, others } = await nodes.team(['admin', 'writer', 'reader'])
  const [admin, writer, reader] = others as [TestNode, TestNode, TestNode]
  const members = await owner.node.client.namespace.members()
  expect(members.map(({ role, name, connected }) => ({ role, name, connected }))).toEqual(
    expect.arrayContaining([
      { role: 'owner', name: undefined, connected: true },
      { role: 'admin', name: 'admin-0', connected: true },
      { role: 'writer', name: 'writer-1', connected: true },
      { role: 'reader', name: 'reader-2', connected: true },
    ]),
  )
  await failureOf(reader.node.client.artifact.createSnippet({ name: 'no', content: 'no' }), 'ACCESS_DENIED')
  await failureOf(writer.node.client.namespace.grant({ agent: reader.node.did, role: 'writer' }), 'ACCESS_DENIED')
  await failureOf(admin.node.client.namespace.grant({ agent: reader.node.did, role: 'admin' }), 'ACCESS_DENIED')
  await failureOf(admin.node.client.namespace.revoke({ agent: owner.node.did }), 'ACCESS_DENIED')
  const kept = await writer.node.client.artifact.createSnippet({ name: 'kept', content: 'before' })
  await eventually(async () => expect(await text(admin, kept.id)).toBe('before'))

  // The writer is cut off from the news, and goes on.
  await writer.stop()
  await admin.node.client.namespace.revoke({ agent: writer.node.did })
  await failureOf(admin.node.client.namespace.revoke({ agent: writer.node.did }), 'NOT_FOUND')
  await writer.start({ listen: [], network: 'offline' })
  const late = await writer.node.client.artifact.createSnippet({ name: 'late', content: 'after', namespace: 'shared' })
  await writer.stop()
  const secret = await admin.node.client.artifact.createSnippet({ name: 'secret', content: 'not for the writer' })
  await admin.node.client.artifact.update({ artifactId: kept.id, content: 'after the removal' })
  await writer.start()
  await eventually(async () => expect(await text(reader, kept.id)).toBe('after the removal'))
  await eventually(async () => expect(await text(owner, secret.id)).toBe('not for the writer'))
  // It meets the others again, and is told that it was removed, and nothing else.
  await writer.node.ping(await admin.node.client.agent.ticket())
  await writer.node.ping(await owner.node.client.agent.ticket())
  await eventually(async () => {
    expect((await writer.node.status()).ended).toMatchObject([
      { name: 'shared', reason: 'REMOVED', by: admin.node.did },
    ])
  })
  const refused = await failureOf(
    writer.node.client.artifact.createSnippet({ name: 'no more', content: 'x', namespace: 'shared' }),
    'ACCESS_DENIED',
  )
  expect(refused.details).toMatchObject({ reason: 'REMOVED', by: admin.node.did })
  for (const { node } of [owner, admin, reader]) {
    await failureOf(node.client.artifact.get({ artifactId: late.id }), 'NOT_FOUND')
    expect((await node.status()).namespaces.find(({ name }) => name === 'shared')?.owed).toEqual({
      rotation: false,
      boxes: [],
      keys: [],
    })
  }
  await failureOf(writer.node.client.artifact.get({ artifactId: secret.id }), 'NOT_FOUND')
  await failureOf(writer.node.client.artifact.download({ artifactId: kept.id }), 'ACCESS_DENIED')
})

test('who leaves has nothing of it any more, and may join again', async () => {
  await using nodes = new TestNodes()
  const { owner, others, ticket } = await nodes.team(['reader'])
  const [reader] = others as [TestNode]
  const note = await owner.node.client.artifact.createSnippet({ name: 'note', content: 'still there' })
  await eventually(async () => expect(await text(reader, note.id)).toBe('still there'))
  await failureOf(reader.node.client.namespace.leave({ namespace: 'shared' }), 'CONFLICT')
  await reader.node.client.namespace.use({ namespace: 'personal' })
  await reader.node.client.namespace.setPolicy({ namespace: 'shared', fetch: 'eager' })
  await reader.node.client.namespace.leave({ namespace: 'shared' })
  await failureOf(reader.node.client.artifact.get({ artifactId: note.id }), 'NOT_FOUND')
  await reader.stop()
  await reader.start()
  expect(await reader.node.client.namespace.join({ ticket })).toMatchObject({ name: 'shared', role: 'reader' })
  expect(await text(reader, note.id)).toBe('still there')
  const [, status] = (await reader.node.status()).namespaces
  expect(status).toMatchObject({ name: 'shared', policy: { fetch: 'lazy' }, members: 2 })
})
