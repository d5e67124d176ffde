import { expect, test } from 'vitest'
import { parseArtifactId } from '../../src/encoding/index.ts'
import { failureOf } from '../client/contract-support.ts'
import { LocalAgents } from '../replication/agents.ts'
import { eventually } from '../replication/nodes.ts'

const hour = 3_600
/** Clocks may be a minute apart. */
const skew = 60

test('a share ends by itself when its time is over: for whom it was with, for who serves it, and for what is written next', async () => {
  await using agents = new LocalAgents()
  const [alice, bob, carol] = [await agents.start(), await agents.start(), await agents.start()]
  for (const [name, other] of [
    ['bob', bob],
    ['carol', carol],
  ] as const) {
    await alice.client.agent.add({ name, ticket: await other.client.agent.ticket() })
    await other.client.agent.add({ name: 'alice', ticket: await alice.client.agent.ticket() })
  }
  const { artifact } = alice.client
  const { id: artifactId } = await artifact.create({ name: 'report', data: Buffer.from('one') })
  const read = async (agent: typeof bob) => Buffer.from(await agent.client.artifact.download({ artifactId })).toString()
  const [share] = await artifact.share({ artifactId, withAgents: ['bob'], expiresIn: hour })
  await artifact.share({ artifactId, withAgents: ['carol'] })
  expect((share?.expiresAt?.getTime() ?? 0) - (share?.createdAt.getTime() ?? 0)).toBeCloseTo(hour * 1000, -4)
  for (const agent of [bob, carol]) await eventually(async () => expect(await read(agent)).toBe('one'))
  const events = bob.client.artifact.watch({ artifactId })[Symbol.asyncIterator]()
  const next = events.next()
  const token = bob.replication.follows.followed()[0]?.capability.token as Uint8Array

  // Just before it is over nothing has changed.
  for (const agent of [alice, bob, carol]) agent.advance((hour - skew) * 1000)
  expect((await bob.client.artifact.listShared()).items).toHaveLength(1)
  await artifact.update({ artifactId, data: Buffer.from('two') })
  await eventually(async () => expect(await read(bob)).toBe('two'))
  expect((await next).value).toMatchObject({ kind: 'updated', artifactId })

  for (const agent of [alice, bob, carol]) agent.advance(2 * (skew + 1) * 1000)
  expect((await events.next()).value).toMatchObject({ kind: 'unshared', artifactId, reason: 'EXPIRED' })
  expect((await events.next()).done).toBe(true)
  expect((await bob.client.artifact.listShared()).items).toEqual([])
  const failure = await failureOf(bob.client.artifact.get({ artifactId }), 'ACCESS_DENIED')
  expect(failure.details).toMatchObject({ reason: 'EXPIRED' })
  expect((await artifact.access({ artifactId })).map(({ name }) => name)).toEqual([undefined, 'carol'])
  expect((await artifact.listShared({ by: 'me' })).items[0]?.shares.map(({ with: to }) => to.name)).toEqual(['carol'])

  // What is written next is under a key that bob never had; and who serves it refuses what he shows.
  const before = await keyInForce()
  await artifact.update({ artifactId, data: Buffer.from('three') })
  await eventually(async () => expect(await read(carol)).toBe('three'))
  expect(await keyInForce()).not.toBe(before)
  await bob.stop()
  bob.aheadMs = 0
  await bob.start()
  // By his clock it is good still: only whom he asks knows better.
  await bob.replication.follows.follow({ token, peers: [alice.peer] })
  await eventually(() => expect(alice.replication.counters?.syncServed.denied).toBeGreaterThan(0))
  await failureOf(bob.client.artifact.get({ artifactId }), 'NOT_FOUND')

  async function keyInForce(): Promise<string> {
    const { log } = alice.namespace()
    const record = await log.catalog.get(parseArtifactId(artifactId))
    return Buffer.from(record?.root.keyId ?? expect.fail('there is a version')).toString('hex')
  }
})

test('a clock that was days ahead for a while ends no share for good', async () => {
  await using agents = new LocalAgents()
  const [alice, bob] = [await agents.start(), await agents.start()]
  await alice.client.agent.add({ name: 'bob', ticket: await bob.client.agent.ticket() })
  await bob.client.agent.add({ name: 'alice', ticket: await alice.client.agent.ticket() })
  const { id: artifactId } = await alice.client.artifact.create({ name: 'report', data: Buffer.from('one') })
  const read = async () => Buffer.from(await bob.client.artifact.download({ artifactId })).toString()
  await alice.client.artifact.share({ artifactId, withAgents: ['bob'], expiresIn: hour })
  await eventually(async () => expect(await read()).toBe('one'))
  const wrong = async () => {
    bob.advance(48 * hour * 1000)
    await eventually(async () => expect((await failureOf(read(), 'ACCESS_DENIED')).details.reason).toBe('EXPIRED'))
    bob.aheadMs = 0
  }
  await wrong()
  await bob.stop()
  await bob.start()
  await eventually(async () => expect(await read()).toBe('one'))
  // And without a restart, as soon as it meets somebody.
  await wrong()
  await alice.stop()
  await alice.start()
  alice.network.addAddresses(bob.id, bob.network.addresses())
  await alice.network.ping(bob.id)
  await eventually(async () => expect(await read()).toBe('one'))
})
