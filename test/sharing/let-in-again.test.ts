import { expect, test } from 'vitest'
import { putEnded } from '../../sdk/local/ended.ts'
import { putSettings } from '../../sdk/local/replication/rows.ts'
import { formatGroupId, toHex } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import { groupAskMs } from '../../src/limits.ts'
import type { KeyValueChange } from '../../src/storage/index.ts'
import { failureOf } from '../client/contract-support.ts'
import { type LocalAgent, LocalAgents } from '../replication/agents.ts'
import { eventually } from '../replication/nodes.ts'

const names = async ({ client }: LocalAgent) => (await client.namespace.list()).map(({ name }) => name)
const ended = ({ replication }: LocalAgent) => replication.namespaces.ended.map(({ namespace }) => namespace.row.name)
const isOut = async (agent: LocalAgent) => await eventually(() => expect(ended(agent)).toEqual(['shared']))
const isBack = async (agent: LocalAgent) =>
  await eventually(async () => expect(await names(agent)).toEqual(['personal', 'shared']))
const denied = ({ replication }: LocalAgent) => replication.counters?.syncServed.denied ?? 0

/** From now on this agent says nothing of itself to anybody: what it would say is said for it, once. */
function silence({ network }: LocalAgent): void {
  Object.assign(network, {
    open: async () => {
      throw new ArtifactHubError('UNAVAILABLE', 'it says nothing', { details: { reason: 'silent' } })
    },
  })
}

/** What this agent is answered from now on waits until it may come. */
function holdAnswers({ network }: LocalAgent): () => void {
  const { promise: answered, resolve } = Promise.withResolvers<void>()
  const open = network.open.bind(network)
  const held: typeof open = async (to, protocol, options) => {
    const stream = await open(to, protocol, options)
    const read = stream.read.bind(stream)
    return Object.assign(stream, { read: async (how: Parameters<typeof read>[0]) => answered.then(() => read(how)) })
  }
  Object.assign(network, { open: held })
  return () => {
    Object.assign(network, { open })
    resolve()
  }
}

/** Never answers; ends with the signal. */
async function abortOf(signal: AbortSignal | undefined): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>()
  signal?.addEventListener('abort', () => reject(signal.reason))
  return await promise
}

test('who is let in again while it asks, and is denied what was decided before, is back', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('reader')) as [LocalAgent, LocalAgent]
  const { log } = bob.namespace()
  await owner.client.namespace.revoke({ agent: 'reader-0' })
  await isOut(bob)
  silence(owner)
  const answer = holdAnswers(bob)
  const before = denied(owner)
  bob.replication.joins.invited(log.id, owner.id)
  await eventually(() => expect(denied(owner)).toBeGreaterThan(before))
  await owner.client.namespace.grant({ agent: 'reader-0', role: 'reader' })
  bob.replication.joins.invited(log.id, owner.id)
  answer()
  await isBack(bob)
})

test('who is let in again while what it had is put out of reach is back', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('writer')) as [LocalAgent, LocalAgent]
  const { log, row } = bob.namespace()
  const { store } = bob.env
  const batch = store.batch.bind(store)
  const [ending, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const ends = { reason: 'REMOVED', by: owner.id, atMs: 0, learnedMs: 0 } as const
  const key = toHex(putEnded(row.id, ends).key)
  const slow = async (changes: readonly KeyValueChange[], options: { sync: boolean }) => {
    if (changes.some((one) => one.type === 'put' && toHex(one.key) === key)) {
      ending.resolve()
      await goOn.promise
    }
    await batch(changes, options)
  }
  Object.assign(store, { batch: slow })
  await owner.client.namespace.revoke({ agent: 'writer-0' })
  await ending.promise
  await owner.client.namespace.grant({ agent: 'writer-0', role: 'writer' })
  await eventually(() => expect(log.roleOf(bob.id)).toBe('writer'))
  silence(owner)
  const out = Promise.withResolvers<void>()
  bob.replication.namespaces.observe({ opened: () => {}, closing: async () => out.resolve() })
  goOn.resolve()
  await out.promise
  await isBack(bob)
})

test('who lets an agent in again and is too busy to show it for a while is asked until it does', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('reader')) as [LocalAgent, LocalAgent]
  const { log } = bob.namespace()
  await owner.client.namespace.revoke({ agent: 'reader-0' })
  await isOut(bob)
  silence(owner)
  let isBusy = true
  let asked = 0
  const { network } = bob
  const open = network.open.bind(network)
  const openOrNot: typeof open = async (...what) => {
    if (!isBusy) return await open(...what)
    asked += 1
    throw new ArtifactHubError('UNAVAILABLE', 'too many streams', { details: { reason: 'busy' } })
  }
  Object.assign(network, { open: openOrNot })
  await owner.client.namespace.grant({ agent: 'reader-0', role: 'reader' })
  bob.replication.joins.invited(log.id, owner.id)
  const timePasses = () => bob.advance(5_000)
  await eventually(() => {
    timePasses()
    expect(asked).toBeGreaterThan(8)
  })
  isBusy = false
  await eventually(async () => {
    timePasses()
    expect(await names(bob)).toEqual(['personal', 'shared'])
  })
})

test('who is let in again while somebody here asks in vain is back', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('reader')) as [LocalAgent, LocalAgent]
  const ticket = await owner.client.namespace.ticket()
  const { log } = bob.namespace()
  await owner.client.namespace.revoke({ agent: 'reader-0' })
  await isOut(bob)
  silence(owner)
  const answer = holdAnswers(bob)
  const before = denied(owner)
  const joining = failureOf(bob.client.namespace.join({ ticket }), 'ACCESS_DENIED')
  await eventually(() => expect(denied(owner)).toBeGreaterThan(before))
  await owner.client.namespace.grant({ agent: 'reader-0', role: 'reader' })
  bob.replication.joins.invited(log.id, owner.id)
  answer()
  await joining
  await isBack(bob)
})

test('who is removed from a group while it joins that, and added again, is in it', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = [await agents.start(), await agents.start()]
  await bob.client.agent.add({ name: 'owner', ticket: await owner.client.agent.ticket() })
  await owner.client.agent.add({ name: 'bob', ticket: await bob.client.agent.ticket() })
  await owner.client.group.create({ name: 'data-team' })
  const [group] = owner.replication.namespaces.groups
  const id = group?.row.id ?? expect.fail('there is a group')
  const { groups } = bob
  const accept = groups.accept.bind(groups)
  const [accepting, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  Object.assign(groups, {
    accept: async (...what: Parameters<typeof accept>) => {
      accepting.resolve()
      await goOn.promise
      return await accept(...what)
    },
  })
  await owner.client.group.add({ group: 'data-team', agents: ['bob'] })
  await accepting.promise
  silence(owner)
  await owner.client.group.remove({ group: 'data-team', agents: ['bob'] })
  const answer = holdAnswers(bob)
  const before = denied(owner)
  goOn.resolve()
  await eventually(() => expect(denied(owner)).toBeGreaterThan(before))
  await owner.client.group.add({ group: 'data-team', agents: ['bob'] })
  bob.replication.joins.invited(id, owner.id)
  answer()
  await eventually(async () =>
    expect((await bob.client.group.list()).map((one) => one.id)).toEqual([formatGroupId(id)]),
  )
})

test('who lets an agent in again is asked before strangers who say so too, however many, and is not forgotten for them', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('reader')) as [LocalAgent, LocalAgent]
  const { log } = bob.namespace()
  await owner.client.namespace.revoke({ agent: 'reader-0' })
  await isOut(bob)
  silence(owner)
  const { joins } = bob.replication
  const { network } = bob
  const open = network.open.bind(network)
  const [asked, answered] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let strangers = 0
  const openOrWait: typeof open = async (to, protocol, options) => {
    if (toHex(to) === toHex(owner.id)) return await open(to, protocol, options)
    strangers += 1
    asked.resolve()
    // The first answers at last, the others never.
    await (strangers === 1 ? answered.promise : abortOf(options?.signal))
    throw new ArtifactHubError('UNAVAILABLE', 'it does not answer', { details: { reason: 'silent' } })
  }
  Object.assign(network, { open: openOrWait })
  joins.invited(log.id, bob.env.random(32))
  await asked.promise
  await owner.client.namespace.grant({ agent: 'reader-0', role: 'reader' })
  joins.invited(log.id, owner.id)
  for (let count = 0; count < 40; count++) joins.invited(log.id, bob.env.random(32))
  answered.resolve()
  await isBack(bob)
  expect(strangers).toBe(1)
})

test('who lets an agent in again is asked after a few seconds though a stranger who said so first never answers', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('reader')) as [LocalAgent, LocalAgent]
  const { log } = bob.namespace()
  await owner.client.namespace.revoke({ agent: 'reader-0' })
  await isOut(bob)
  silence(owner)
  const { network } = bob
  const stranger = bob.env.random(32)
  const open = network.open.bind(network)
  const asked = Promise.withResolvers<void>()
  const openOrHang: typeof open = async (to, protocol, options) => {
    if (toHex(to) !== toHex(stranger)) return await open(to, protocol, options)
    asked.resolve()
    return await abortOf(options?.signal)
  }
  Object.assign(network, { open: openOrHang })
  bob.replication.joins.invited(log.id, stranger)
  await asked.promise
  await owner.client.namespace.grant({ agent: 'reader-0', role: 'reader' })
  bob.replication.joins.invited(log.id, owner.id)
  bob.advance(groupAskMs)
  await isBack(bob)
})

test('who is let in again is in step, though the disk gives an error at what else is remembered of it', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('reader')) as [LocalAgent, LocalAgent]
  const { id } = bob.namespace().row
  await owner.client.namespace.revoke({ agent: 'reader-0' })
  await isOut(bob)
  const { store } = bob.env
  const batch = store.batch.bind(store)
  const key = toHex(putSettings(id, { policy: { fetch: 'lazy' }, peers: [] }).key)
  let failed = 0
  const failing = async (changes: readonly KeyValueChange[], options: { sync: boolean }) => {
    if (changes.every((one) => toHex(one.key) !== key)) return await batch(changes, options)
    failed += 1
    throw new ArtifactHubError('STORAGE_FAILED', 'the disk gives an error')
  }
  Object.assign(store, { batch: failing })
  await owner.client.namespace.grant({ agent: 'reader-0', role: 'reader' })
  await isBack(bob)
  await eventually(() => expect(failed).toBe(1))
  const { id: artifactId } = await owner.client.artifact.createSnippet({ name: 'note', content: 'again' })
  await eventually(async () =>
    expect(Buffer.from(await bob.client.artifact.download({ artifactId })).toString()).toBe('again'),
  )
})

test('who leaves what is out of reach does not lose another namespace that comes to be called so meanwhile', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('reader')) as [LocalAgent, LocalAgent]
  await owner.client.namespace.revoke({ agent: 'reader-0' })
  await isOut(bob)
  const { namespace } = bob.client
  const [, { id }] = await Promise.all([namespace.leave({ namespace: 'shared' }), namespace.create({ name: 'shared' })])
  expect((await namespace.list()).map((one) => one.id)).toContain(id)
  expect(ended(bob)).toEqual([])
})
