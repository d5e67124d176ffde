import { expect, test } from 'vitest'
import type { GroupRole } from '../../../src/log/index.ts'
import type { ShownDescriptor } from '../../../src/namespace/index.ts'
import { converge, NamespaceNode, TestTime } from '../../../test/support/namespace-nodes.ts'
import { keepInStep } from './standing.ts'

test('an admin keeps writers by way of one group in step, though another group has a role that only the owner gives and takes, and that one is away', async () => {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const admin = await new NamespaceNode(2, time).join(owner)
  const [chief, one, two] = [3, 4, 5].map((seed) => new NamespaceNode(seed, time).id) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ]
  await owner.ns.members.grant({ agent: admin.id, role: 'admin' })
  const team = async (seed: number, role: GroupRole, ...members: Uint8Array[]) => {
    const { ns } = await new NamespaceNode(seed, time, { agent: admin.agent }).create({ isGroup: true })
    await ns.members.grantAll({ agents: members, role: 'writer' })
    await owner.ns.descriptors.record((await ns.descriptors.own()) as ShownDescriptor, role)
    return ns
  }
  const chiefs = await team(10, 'admin', chief)
  const writers = await team(11, 'writer', one)
  await owner.ns.members.grantAll({ agents: [chief, admin.id], role: 'admin', via: chiefs.id })
  await converge(owner, admin)
  const keep = async () => await keepInStep(admin.ns, [chiefs, writers]).catch(({ code }) => code)

  expect(await keep()).toBe(true)
  expect(admin.ns.roleOf(one)).toBe('writer')
  await chiefs.members.revokeAll({ agents: [chief] })
  await writers.members.grantAll({ agents: [two], role: 'writer' })
  await writers.members.revokeAll({ agents: [one] })
  expect(await keep()).toBe('ACCESS_DENIED')
  expect([chief, one, two].map((agent) => admin.ns.roleOf(agent))).toEqual(['admin', undefined, 'writer'])
  await owner.ns.descriptors.record((await chiefs.descriptors.own()) as ShownDescriptor, 'none')
  await converge(owner, admin)
  await writers.members.revokeAll({ agents: [two] })
  expect(await keep()).toBe('ACCESS_DENIED')
  expect(admin.ns.roleOf(two)).toBeUndefined()

  await converge(owner, admin)
  expect(await keepInStep(owner.ns, [])).toBe(true)
  expect([chief, admin.id].map((agent) => owner.ns.roleOf(agent))).toEqual([undefined, 'admin'])
})

test('whoever lowers the role of a group that it is not in lowers it for its members', async () => {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const founder = new NamespaceNode(2, time)
  const { ns: group } = await new NamespaceNode(10, time, { agent: founder.agent }).create({ isGroup: true })
  const descriptor = async () => (await group.descriptors.own()) as ShownDescriptor
  const [one, two] = [3, 4].map((seed) => new NamespaceNode(seed, time).id) as [Uint8Array, Uint8Array]
  await owner.ns.members.grant({ agent: two, role: 'writer' })
  await owner.ns.descriptors.record(await descriptor(), 'admin')
  await owner.ns.members.grantAll({ agents: [one, two], role: 'admin', via: group.id })
  expect(await keepInStep(owner.ns, [])).toBe(false)

  await owner.ns.descriptors.record(await descriptor(), 'reader')
  expect(await keepInStep(owner.ns, [])).toBe(true)
  expect([one, two].map((agent) => owner.ns.roleOf(agent))).toEqual(['reader', 'writer'])
  expect(await keepInStep(owner.ns, [])).toBe(false)

  await owner.ns.descriptors.record(await descriptor(), 'replica')
  expect(await keepInStep(owner.ns, [])).toBe(true)
  expect([one, two].map((agent) => owner.ns.roleOf(agent))).toEqual(['replica', 'writer'])

  // By who has heard of a higher one for the group, of which this node has not: it is left.
  await owner.ns.members.grantAll({ agents: [one], role: 'writer', via: group.id })
  expect(await keepInStep(owner.ns, [])).toBe(false)
})
