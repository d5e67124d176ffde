import { expect, test } from 'vitest'
import { putEnded } from '../../sdk/local/ended.ts'
import { Background } from '../../sdk/local/groups/background.ts'
import { Ends } from '../../sdk/local/groups/ends.ts'
import { parseArtifactId } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import { syncProtocol } from '../../src/exchange/sync-run.ts'
import { encodeAuthBody, signEntry } from '../../src/log/index.ts'
import { differences } from '../../src/namespace/derived.test-helper.ts'
import { failureOf } from '../client/contract-support.ts'
import { type LocalAgent, LocalAgents } from '../replication/agents.ts'
import { eventually } from '../replication/nodes.ts'

const text = async ({ client }: LocalAgent, artifactId: string) =>
  Buffer.from(await client.artifact.download({ artifactId })).toString()
const names = async ({ client }: LocalAgent) => (await client.namespace.list()).map(({ name }) => name)
const ended = ({ replication }: LocalAgent) => replication.namespaces.ended.map(({ namespace }) => namespace.row.name)
const isOut = async (agent: LocalAgent) => await eventually(() => expect(ended(agent)).toEqual(['shared']))
const isBack = async (agent: LocalAgent) =>
  await eventually(async () => expect(await names(agent)).toEqual(['personal', 'shared']))
const shared = async ({ client }: LocalAgent) =>
  (await Array.fromAsync(client.artifact.listShared())).map(({ name }) => name).sort()

/** Has one agent connect to another, as when they meet. */
async function meet(one: LocalAgent, other: LocalAgent): Promise<void> {
  one.network.addAddresses(other.id, other.peer.addresses)
  const stream = await one.network.open(other.id, syncProtocol)
  await stream.close()
}

test('a share besides reads on by itself when the role ends, so do later ones, and what was written here is kept for when it is back', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('writer')) as [LocalAgent, LocalAgent]
  await bob.client.agent.add({ name: 'owner', did: owner.client.did })
  const { artifact } = owner.client
  const [note, rest, third] = await Promise.all(
    ['note', 'rest', 'third'].map((name) => artifact.create({ name, data: Buffer.alloc(50_000, name) })),
  )
  const [{ id: noteId }, { id: restId }, { id: thirdId }] = [note, rest, third] as [
    { id: string },
    { id: string },
    { id: string },
  ]
  await artifact.share({ artifactId: noteId, withAgents: ['writer-0'] })
  for (const id of [noteId, restId, thirdId]) await eventually(async () => await text(bob, id))
  expect(await shared(bob)).toEqual([])
  // Nobody fetches it.
  const { id: own } = await bob.client.artifact.create({ name: 'own', data: Buffer.alloc(50_000, 'own') })
  await eventually(async () => await artifact.get({ artifactId: own }))
  const { log } = bob.namespace()
  const { folder } = log
  const watching = bob.client.artifact.watch({ artifactId: noteId })[Symbol.asyncIterator]()
  const next = watching.next()

  await owner.client.namespace.revoke({ agent: 'writer-0' })
  await isOut(bob)
  const reads = async (id: string, begin: string) =>
    await eventually(async () => expect((await text(bob, id)).slice(0, begin.length)).toBe(begin))
  await reads(noteId, 'note')
  expect((await next).value).toMatchObject({ kind: 'shared', artifactId: noteId })
  expect(await shared(bob)).toEqual(['note'])
  for (const id of [restId, own]) {
    const { details } = await failureOf(bob.client.artifact.get({ artifactId: id }), 'ACCESS_DENIED')
    expect(details).toMatchObject({ reason: 'REMOVED', by: owner.client.did })
  }
  await artifact.update({ artifactId: noteId, data: Buffer.alloc(50_000, 'more') })
  await reads(noteId, 'more')
  expect((await watching.next()).value).toMatchObject({ kind: 'updated', artifactId: noteId })
  await watching.return?.()

  // Shared after the removal: by name, and by way of a group.
  await artifact.share({ artifactId: restId, withAgents: ['writer-0'] })
  await reads(restId, 'rest')
  await owner.client.group.create({ name: 'data-team' })
  await owner.client.group.add({ group: 'data-team', agents: ['writer-0'] })
  await artifact.share({ artifactId: thirdId, withGroups: ['data-team'] })
  await reads(thirdId, 'third')

  await bob.stop()
  await bob.start()
  expect(ended(bob)).toEqual(['shared'])
  await reads(noteId, 'more')
  expect(await shared(bob)).toEqual(['note', 'rest', 'third'])
  await failureOf(bob.client.artifact.get({ artifactId: own }), 'ACCESS_DENIED')
  await artifact.unshare({ artifactId: restId, agents: ['writer-0'] })
  await meet(bob, owner)
  await eventually(async () => await failureOf(bob.client.artifact.get({ artifactId: restId }), 'ACCESS_DENIED'))
  // What this agent wrote is where it was.
  const [kept] = bob.replication.namespaces.ended
  expect(kept?.namespace.log.folder).toBe(folder)
  expect(await kept?.namespace.log.held.hasOwnWrites()).toBe(true)

  await owner.client.namespace.grant({ agent: 'writer-0', role: 'writer' })
  await isBack(bob)
  await eventually(() => expect(bob.replication.namespaces.partial).toEqual([]))
  await reads(own, 'own')
  expect((await text(owner, own)).slice(0, 3)).toBe('own')
  await bob.client.artifact.update({ artifactId: own, content: 'again' })
  await eventually(async () => expect(await text(owner, own)).toBe('again'))
  expect(owner.namespace('shared').log.membership.forks).toEqual([])

  // Out once more, and left for good: the shares are read all the same.
  await owner.client.namespace.revoke({ agent: 'writer-0' })
  await isOut(bob)
  await reads(noteId, 'more')
  await bob.client.namespace.leave({ namespace: 'shared' })
  expect(ended(bob)).toEqual([])
  await reads(noteId, 'more')
  await reads(thirdId, 'third')
  await failureOf(bob.client.artifact.get({ artifactId: own }), 'NOT_FOUND')
})

test('whom an admin removed who had no right to is back as soon as that is known, and its chain goes on', async () => {
  await using agents = new LocalAgents()
  const team = (await agents.team('admin', 'writer')) as [LocalAgent, LocalAgent, LocalAgent]
  const [owner, admin, bob] = team
  const { id } = await bob.client.artifact.createSnippet({ name: 'of bob', content: 'first' })
  for (const one of [owner, admin]) await eventually(async () => expect(await text(one, id)).toBe('first'))
  const { did } = admin.client
  await owner.stop()
  await meet(admin, bob)
  await admin.client.namespace.revoke({ agent: bob.client.did })
  await isOut(bob)
  await failureOf(bob.client.artifact.get({ artifactId: id }), 'ACCESS_DENIED')
  await admin.stop()

  // The owner has not heard of it, and ends the admin’s right where it was before.
  await owner.start()
  await owner.client.namespace.revoke({ agent: did, namespace: 'shared' })
  await meet(owner, bob)
  await isBack(bob)
  await bob.client.artifact.update({ artifactId: id, content: 'second' })
  await eventually(async () => expect(await text(owner, id)).toBe('second'))
  expect(owner.namespace('shared').log.membership.forks).toEqual([])
})

test('what somebody says of a removal who has no right to say it ends nothing, and the owner is not removed', async () => {
  await using agents = new LocalAgents()
  const [owner, admin, writer, bob] = (await agents.team('admin', 'writer', 'reader')) as [
    LocalAgent,
    LocalAgent,
    LocalAgent,
    LocalAgent,
  ]
  const { id } = await owner.client.artifact.createSnippet({ name: 'note', content: 'ours' })
  await eventually(async () => expect(await text(bob, id)).toBe('ours'))
  /** A revoke that this agent signs, whoever it is of: a chain of its own, under its own grant. */
  const forged = (by: LocalAgent, of: LocalAgent) => {
    const { log } = owner.namespace('shared')
    const grants = log.membership.grantsOf(of.id).map(({ hash }) => hash)
    const grant = log.membership.grantsOf(by.id)[0]?.hash
    const header = {
      kind: 'revoke' as const,
      namespace: log.id,
      grant,
      incarnation: new Uint8Array(16).fill(7),
      seq: 0,
      previous: undefined,
      heads: [],
      clock: { wallMs: Date.now(), counter: 0 },
      keyId: undefined,
      data: undefined,
    }
    return signEntry(by.key, header, { body: encodeAuthBody({ kind: 'revoke', agent: of.id, grants, cuts: [] }) }).bytes
  }
  const { log } = bob.namespace()
  const entries = [forged(writer, bob), forged(bob, bob), forged(admin, owner)]
  for (const bytes of entries) await log.receive([bytes], { from: writer.id })
  await owner.namespace().log.receive([forged(admin, owner)], { from: admin.id })
  await bob.replication.namespaces.settled()
  expect(await text(bob, id)).toBe('ours')
  expect([ended(bob), ended(owner)]).toEqual([[], []])
  await owner.client.artifact.update({ artifactId: id, content: 'still' })
  await eventually(async () => expect(await text(bob, id)).toBe('still'))
})

test('what was learned and not written down before a crash is so from the first call after the next start', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('reader')) as [LocalAgent, LocalAgent]
  const { id } = await owner.client.artifact.createSnippet({ name: 'note', content: 'ours' })
  await eventually(async () => expect(await text(bob, id)).toBe('ours'))
  const { log } = bob.namespace()
  await owner.client.namespace.revoke({ agent: 'reader-0' })
  await isOut(bob)
  const { store } = bob.env
  const { key } = putEnded(log.id, { reason: 'REMOVED', by: undefined, atMs: 0, learnedMs: 0 })
  await bob.stop()
  await store.batch([{ type: 'del', key }], { sync: true })
  const { did } = owner.client
  await owner.stop()
  await bob.start()
  expect(await names(bob)).toEqual(['personal'])
  const { details } = await failureOf(bob.client.artifact.get({ artifactId: id }), 'ACCESS_DENIED')
  expect(details).toMatchObject({ reason: 'REMOVED', by: did })
})

test('an agent who says again and again that another is in a namespace, and does not show it, brings nothing back', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('writer')) as [LocalAgent, LocalAgent]
  const eve = await agents.start()
  const { id } = await owner.client.artifact.createSnippet({ name: 'note', content: 'ours' })
  await eventually(async () => expect(await text(bob, id)).toBe('ours'))
  const { log } = bob.namespace()
  await owner.client.namespace.revoke({ agent: 'writer-0' })
  await isOut(bob)
  await meet(bob, eve)
  let opened = 0
  bob.replication.namespaces.observe({ opened: () => void opened++, closing: async () => {} })
  for (let times = 0; times < 20; times++) bob.replication.joins.invited(log.id, eve.id)
  // The owner says so too, and shows it: whoever else there is does not keep it away.
  await owner.client.namespace.grant({ agent: 'writer-0', role: 'reader' })
  await isBack(bob)
  expect(opened).toBe(1)
  expect(await bob.client.artifact.get({ artifactId: id })).toMatchObject({ name: 'note' })
  expect(await bob.namespace('shared').log.catalog.get(parseArtifactId(id))).toBeDefined()
})

test('who says so and cannot be reached makes this node look for nobody else', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('writer')) as [LocalAgent, LocalAgent]
  const eve = await agents.start()
  const { id } = eve
  await eve.stop()
  const { log } = bob.namespace()
  await owner.client.namespace.revoke({ agent: 'writer-0' })
  await isOut(bob)
  const looked: Uint8Array[] = []
  Object.assign(bob.network, {
    async *findProviders(key: Uint8Array) {
      looked.push(key)
      yield owner.id
    },
  })
  const tried = Promise.withResolvers<void>()
  bob.replication.joins.onJoined(() => tried.resolve())
  bob.replication.joins.invited(log.id, id)
  await tried.promise
  expect(looked).toEqual([])
})

test('what lay beside and cannot be removed now keeps nobody out, and is not taken for what comes later', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('writer')) as [LocalAgent, LocalAgent]
  await bob.client.agent.add({ name: 'owner', did: owner.client.did })
  const { artifact, namespace } = owner.client
  const { id } = await artifact.createSnippet({ name: 'note', content: 'one' })
  const { id: own } = await bob.client.artifact.createSnippet({ name: 'own', content: 'own' })
  await eventually(async () => expect(await text(owner, own)).toBe('own'))
  await artifact.share({ artifactId: id, withAgents: ['writer-0'] })
  await namespace.revoke({ agent: 'writer-0' })
  await isOut(bob)
  await eventually(async () => expect(await text(bob, id)).toBe('one'))
  const { env } = bob
  const { removeBlocks } = env
  const fails = async () => {
    throw new ArtifactHubError('STORAGE_FAILED', 'the disk gives an error')
  }
  Object.assign(env, { removeBlocks: fails })
  await namespace.grant({ agent: 'writer-0', role: 'writer' })
  await isBack(bob)
  await bob.client.artifact.update({ artifactId: own, content: 'more' })
  await eventually(async () => expect(await text(owner, own)).toBe('more'))
  await artifact.update({ artifactId: id, content: 'two' })
  await eventually(async () => expect(await text(bob, id)).toBe('two'))

  Object.assign(env, { removeBlocks })
  await namespace.revoke({ agent: 'writer-0' })
  await isOut(bob)
  await eventually(async () => expect(await text(bob, id)).toBe('two'))
  const [beside] = bob.replication.namespaces.partial
  expect(await differences(beside?.log ?? expect.fail('it lies beside'))).toEqual([])
})

test('what comes back while it is asked for is out of reach, or there: nobody is told that there is no such artifact', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('reader')) as [LocalAgent, LocalAgent]
  const { id } = await owner.client.artifact.createSnippet({ name: 'note', content: 'ours' })
  await eventually(async () => expect(await text(bob, id)).toBe('ours'))
  await owner.client.namespace.revoke({ agent: 'reader-0' })
  await isOut(bob)
  const { catalog } = bob.namespace('personal').log
  const get = catalog.get.bind(catalog)
  // It is looked for there first.
  catalog.get = async (...what) => {
    catalog.get = get
    await owner.client.namespace.grant({ agent: 'reader-0', role: 'reader' })
    await isBack(bob)
    return await get(...what)
  }
  await failureOf(bob.client.artifact.get({ artifactId: id }), 'ACCESS_DENIED')
  expect(await text(bob, id)).toBe('ours')
})

test('an end is told of once, however often somebody looks while it comes: members are asked once then', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('reader')) as [LocalAgent, LocalAgent]
  await bob.groups[Symbol.asyncDispose]()
  const namespace = bob.namespace()
  await owner.client.namespace.revoke({ agent: 'reader-0' })
  await eventually(() => expect(namespace.log.roleOf(bob.id)).toBeUndefined())
  const failures: unknown[] = []
  const told: string[] = []
  const background = new Background((error) => failures.push(error))
  const ends = new Ends(bob.replication, background, ({ row }) => told.push(row.name))
  for (let looks = 0; looks < 3; looks++) ends.look(namespace)
  await background.close()
  ends.close()
  expect(failures).toEqual([])
  expect(told).toEqual(['shared'])
})
