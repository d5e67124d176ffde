import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { equalBytes } from '../../src/encoding/index.ts'
import { formatDid, parseTicket } from '../../src/identity/index.ts'
import { maxInvitations } from '../../src/limits.ts'
import { nodeKey } from '../../src/namespace/index.ts'
import { failureOf } from '../client/contract-support.ts'
import { type LocalAgent, LocalAgents } from './agents.ts'
import { eventually } from './nodes.ts'

const hours = 10 * 3_600_000

test('a join that waits ends when its caller gives up, however long it is until the next try, and may begin again: a grant ends it at once', async () => {
  await using agents = new LocalAgents()
  const owner = await agents.start()
  const other = await agents.start()
  const { name } = await owner.client.namespace.create({ name: 'shared' })
  const text = await owner.client.namespace.ticket({ namespace: name })
  const waiting = { isWaiting: true, retryMs: { from: hours, to: hours } }
  const stop = new AbortController()
  const joining = expect(
    other.replication.join(parseTicket(text), { ...waiting, signal: stop.signal }),
  ).rejects.toThrow('enough')
  await eventually(() => expect(other.isWaiting({ from: hours / 3, to: hours })).toBe(true))
  await failureOf(other.client.namespace.join({ ticket: text }), 'CONFLICT')
  stop.abort(new Error('enough'))
  await joining
  const again = other.replication.join(parseTicket(text), waiting)
  await eventually(() => expect(other.isWaiting({ from: hours / 3, to: hours })).toBe(true))
  // Whoever is told of the grant does not wait for the next try.
  await owner.client.namespace.grant({ namespace: name, agent: other.client.did, role: 'reader' })
  expect((await again).log.roleOf(other.id)).toBe('reader')
})

test('a ticket of whom nobody is there leads to who is said to have the namespace, and to why that one gives nothing', async () => {
  await using agents = new LocalAgents()
  const [owner, member] = (await agents.team('reader')) as [LocalAgent, LocalAgent]
  const late = await agents.start()
  const { namespace } = owner.client
  const granted = await namespace.ticket()
  await namespace.create({ name: 'other' })
  const denied = await namespace.ticket({ namespace: 'other' })
  await namespace.grant({ namespace: 'shared', agent: late.client.did, role: 'reader' })
  await eventually(() => expect(member.namespace('shared').log.roleOf(late.id)).toBe('reader'))
  await owner.stop()
  // What a DHT says.
  Object.assign(late.network, {
    async *findProviders() {
      yield late.id
      yield member.id
    },
  })
  await failureOf(late.client.namespace.join({ ticket: granted }), 'UNAVAILABLE')
  late.network.addAddresses(member.id, member.network.addresses())
  await failureOf(late.client.namespace.join({ ticket: denied }), 'ACCESS_DENIED')
  expect(await late.client.namespace.join({ ticket: granted })).toMatchObject({ name: 'shared', role: 'reader' })
})

test('what ends as soon as it is joined, for the group that gave it was left meanwhile, is not kept in step', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = [await agents.start(), await agents.start()]
  const { namespace } = owner.client
  await namespace.create({ name: 'shared' })
  await namespace.grant({ namespace: 'shared', agent: bob.client.did, role: 'reader' })
  const { namespaces } = bob.replication
  const { store } = bob.env
  const batch = store.batch.bind(store)
  // Where members may be dialled is the last that is written before it is followed.
  store.batch = async (changes, ...options) => {
    const [joined] = namespaces.all.filter(({ row }) => row.name === 'shared')
    if (joined !== undefined && equalBytes(changes[0]?.key ?? joined.row.id, nodeKey('settings', joined.row.id))) {
      store.batch = batch
      await namespaces.end(joined, { reason: 'GROUP', by: undefined, atMs: 0, learnedMs: 0 })
    }
    await batch(changes, ...options)
  }
  const ticket = parseTicket(await namespace.ticket({ namespace: 'shared' }))
  const joined = await bob.replication.join(ticket, { isWaiting: false })
  expect(namespaces.ended.map((one) => one.namespace)).toEqual([joined])
  expect(bob.replication.syncStatus(joined)).toBeUndefined()
})

test('of what others say about roles so much is kept, and whoever says most pushes out only what it said itself', async () => {
  await using agents = new LocalAgents()
  const { joins } = (await agents.start()).replication
  const [one, many] = [new Uint8Array(randomBytes(32)), new Uint8Array(randomBytes(32))]
  joins.invited(new Uint8Array(randomBytes(32)), one)
  for (let time = 0; time < 2 * maxInvitations; time++) joins.invited(new Uint8Array(randomBytes(32)), many)
  const from = joins.invitations.map((invitation) => invitation.from)
  expect(from).toHaveLength(maxInvitations)
  expect(from[0]).toBe(formatDid(one))
})

test('what this agent left is not even for a moment among what others say that it has a role in', async () => {
  await using agents = new LocalAgents()
  const [owner, bob] = (await agents.team('reader')) as [LocalAgent, LocalAgent]
  const { id } = bob.namespace().log
  await bob.client.namespace.use({ namespace: 'personal' })
  await bob.client.namespace.leave({ namespace: 'shared' })
  const { joins } = bob.replication
  joins.invited(id, owner.id)
  expect(joins.invitations).toHaveLength(1)
  expect(bob.groups.invitations).toEqual([])
  await eventually(() => expect(joins.invitations).toEqual([]))
  expect(bob.groups.invitations).toEqual([])
})
