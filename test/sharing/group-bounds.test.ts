import { expect, test, vi } from 'vitest'
import { deleteRecord, writeRecord } from '../../sdk/local/groups/group-records.ts'
import { encodeCanonical, parseGroupId, toHex } from '../../src/encoding/index.ts'
import {
  groupAskMs,
  maxGroupQuestionsOfAgent,
  maxGroupQuestionsToAgent,
  maxLogsByAgent,
  maxRequestsOfSender,
} from '../../src/limits.ts'
import { type LocalAgent, LocalAgents } from '../replication/agents.ts'
import { eventually } from '../replication/nodes.ts'
import { groupsOf, pair } from './pair.ts'

test('what a member writes into a group’s log has the others follow no more than there is room for, and what ends makes room', async () => {
  await using agents = new LocalAgents()
  const { ann, bob, group } = await pair(agents)
  const log = ann.replication.namespaces.findGroup(group)
  const contentType = 'application/vnd.artifact-hub.namespace'
  const idOf = (number: number) => new Uint8Array(32).fill(1 + number)
  for (let number = 0; number < maxLogsByAgent + 3; number++) {
    const ns = idOf(number)
    const peers = [[ann.id, ann.network.addresses()]]
    const content = encodeCanonical({ v: 1, ns, name: `of nobody ${number}`, peers })
    await writeRecord(log, { name: `namespace-${toHex(ns)}`, contentType, metadata: {}, content })
  }
  // The group itself is there on her word.
  await eventually(() => expect(bob.groups.vouched.logs).toBe(maxLogsByAgent))
  await eventually(() => expect(bob.groups.vouched.leftOut).toHaveLength(4))
  expect(bob.groups.vouched.leftOut.map(({ by }) => toHex(by))).toEqual(Array.from({ length: 4 }, () => toHex(ann.id)))
  expect((await bob.client.namespace.list()).map(({ name }) => name)).toEqual(['personal'])

  const { catalog } = log.log
  const artifact = await catalog.findByName(`namespace-${toHex(idOf(0))}`)
  const record = artifact && (await catalog.get(artifact))
  if (record === undefined) throw new Error('it was written')
  await deleteRecord(log, record)
  await eventually(() => expect(bob.groups.vouched.leftOut).toHaveLength(3))
  expect(bob.groups.vouched.logs).toBe(maxLogsByAgent)
})

test('groups that one contact brings are bounded: what is over that waits in the inbox', async () => {
  await using agents = new LocalAgents()
  const { ann, bob } = await pair(agents)
  for (let number = 0; number <= maxLogsByAgent; number++) {
    const { id: group } = await ann.client.group.create({ name: `group ${number}` })
    await ann.client.group.add({ group, agents: ['bob'] })
  }
  await eventually(async () => expect(await groupsOf(bob)).toHaveLength(maxLogsByAgent))
  await eventually(async () => expect(await bob.client.inbox.list()).toHaveLength(2))
  const [request] = await bob.client.inbox.list()
  expect(request).toMatchObject({ kind: 'group', from: ann.client.did })
  // Accepted, it is his own choice.
  await bob.client.inbox.accept({ id: request?.id as string })
  expect(await groupsOf(bob)).toHaveLength(maxLogsByAgent + 1)
  expect(bob.groups.vouched.logs).toBe(maxLogsByAgent)
})

test('the room that a stranger has in a group’s log is what may still be good: what expired, or an admin dropped, makes room', async () => {
  await using agents = new LocalAgents()
  const { ann, bob, group } = await pair(agents)
  const eve = await agents.start()
  const ticket = await ann.client.group.ticket({ group })
  await eve.client.agent.add({ name: 'their-team', ticket })
  const share = async (name: string, expiresIn?: number) => {
    const { id: artifactId } = await eve.client.artifact.createSnippet({ name, content: name })
    await eve.client.artifact.share({ artifactId, withGroups: ['their-team'], expiresIn })
  }
  const waiting = async ({ client }: LocalAgent) => (await client.inbox.list()).map(({ name }) => name).sort()
  const half = maxRequestsOfSender / 2
  const all = Array.from({ length: maxRequestsOfSender }, (_, at) => `offer ${String(at).padStart(2, '0')}`)
  for (const name of all.slice(0, half)) await share(name, 3_600)
  for (const name of all.slice(half)) await share(name)
  await eventually(async () => expect(await waiting(ann)).toEqual(all))
  await share('one more')
  const shares = { contentType: 'application/vnd.artifact-hub.share' }
  const records = async () => (await ann.replication.namespaces.findGroup(group).log.catalog.list(shares)).items.length
  expect(await records()).toBe(maxRequestsOfSender)

  // What a member drops is gone for that one.
  await eventually(async () => expect(await waiting(bob)).toEqual(all))
  const [last] = (await bob.client.inbox.list()).slice(-1)
  await bob.client.inbox.drop({ id: last?.id as string })
  expect(await waiting(bob)).toHaveLength(maxRequestsOfSender - 1)
  expect((await bob.replication.namespaces.findGroup(group).log.catalog.list(shares)).items).toHaveLength(
    maxRequestsOfSender,
  )

  // She is the owner, so what she drops is out of the log, and what waited at the sender comes.
  const [first] = await ann.client.inbox.list()
  await ann.client.inbox.drop({ id: first?.id as string })
  await eventually(async () => expect(await waiting(ann)).toContain('one more'))
  expect(await records()).toBe(maxRequestsOfSender)

  // A share with an hour's time is over after it: for the next one there is room again.
  for (const agent of [ann, bob, eve]) agent.aheadMs = 2 * 3_600_000
  await share('much later')
  await eventually(async () => expect(await waiting(ann)).toContain('much later'))
  expect(await records()).toBeLessThanOrEqual(half + 2)
})

test('two who both look for a namespace that neither has do not take each other’s questions for news', async () => {
  await using agents = new LocalAgents()
  const { ann, bob } = await pair(agents)
  const id = new Uint8Array(32).fill(9)
  const aborted = new AbortController()
  const waiting = [ann, bob].map((one, at) => {
    const peers = [[bob, ann][at]?.peer as LocalAgent['peer']]
    const ticket = { kind: 'namespace' as const, id, peers, name: 'of nobody' }
    return one.replication.join(ticket, {
      isWaiting: true,
      retryMs: { from: 60_000, to: 60_000 },
      signal: aborted.signal,
    })
  })
  const denied = ({ replication }: LocalAgent) => replication.counters?.syncServed.denied ?? 0
  await eventually(() => expect([denied(ann), denied(bob)]).toEqual([1, 1]))
  // Whatever a question brings about, it has by the time that others have been answered.
  for (let round = 0; round < 20; round++) await ann.network.ping(bob.id)
  await ann.client.group.create({ name: 'another' })
  await ann.client.group.add({ group: 'another', agents: ['bob'] })
  await eventually(async () => expect(await groupsOf(bob)).toContain('another'))
  expect([denied(ann), denied(bob)]).toEqual([1, 1])
  aborted.abort(new Error('enough'))
  await Promise.allSettled(waiting)
})

test('of more groups than one agent answers for at once it is asked about a few at a time, so that nothing is held against who asks', async () => {
  await using agents = new LocalAgents()
  const [ann, bob] = [await agents.start(), await agents.start()]
  bob.network.addAddresses(ann.id, ann.peer.addresses)
  const groups: Uint8Array[] = []
  while (groups.length <= maxGroupQuestionsOfAgent) {
    const { id } = await ann.client.group.create({ name: `group ${groups.length}` })
    groups.push(parseGroupId(id))
  }
  const penalise = vi.spyOn(ann.network, 'penalise')
  const { scheduler } = bob.env
  const { setTimer } = scheduler
  let [begun, opened] = [0, 0]
  const { promise: openedByAll, resolve } = Promise.withResolvers<number>()
  Object.assign(scheduler, {
    setTimer: (delayMs: number, work: () => void) => {
      // The last that it does before it asks.
      if (delayMs === groupAskMs && ++begun === groups.length) setImmediate(() => resolve(opened))
      return setTimer(delayMs, work)
    },
  })
  const open = bob.network.open.bind(bob.network)
  Object.assign(bob.network, {
    open: async (...[agent, protocol, options]: Parameters<typeof open>) => {
      opened += 1
      await openedByAll
      return await open(agent, protocol, options)
    },
  })

  const answers = await Promise.all(groups.map((group) => bob.groups.descriptorOf({ group, peers: [ann.id] })))
  expect(answers).toHaveLength(groups.length)
  expect(await openedByAll).toBe(maxGroupQuestionsToAgent)
  expect(penalise.mock.calls).toEqual([])
})
