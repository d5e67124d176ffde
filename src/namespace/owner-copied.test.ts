import { expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { readable } from '../../test/support/sharing-nodes.ts'
import { toHex } from '../encoding/index.ts'
import { healAll } from './closed-keys.test-helper.ts'
import { differences } from './derived.test-helper.ts'

test('a copy of the owner that goes on under its incarnation and removes a member: both branches count, nobody else is locked out, and who was removed opens nothing written since', async () => {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const removed = await new NamespaceNode(2, time).join(owner)
  const stays = await new NamespaceNode(3, time).join(owner)
  const late = await new NamespaceNode(4, time).join(owner)
  for (const { id } of [removed, stays]) await owner.ns.members.grant({ agent: id, role: 'writer' })
  const note = await owner.write('note')
  await converge(owner, removed, stays)
  const copy = await new NamespaceNode(1, time, { copyOf: owner }).open(owner.ns.id)

  await owner.ns.members.grant({ agent: late.id, role: 'writer' })
  const lost = await owner.write('lost')
  await late.pull(owner)
  const ofLate = await late.write('of late')
  await converge(removed, stays, late)

  await copy.ns.members.revoke({ agent: removed.id })
  const since = await copy.write('since')
  const members = [copy, stays, late]
  await converge(...members)
  await healAll(members)
  await converge(...members)
  const later = [await late.write('of late since'), await stays.write('of stays since')]
  await converge(...members)
  // Who serves it nothing is not all that keeps it out: it has every entry.
  await removed.pull(copy)

  const written = { note, lost, 'of late': ofLate, since, 'of late since': later[0], 'of stays since': later[1] }
  for (const node of members)
    for (const [text, artifact] of Object.entries(written))
      expect(await readable(node, artifact as Uint8Array)).toEqual({ 1: text })
  for (const artifact of [since, ...later]) expect(await readable(removed, artifact)).toEqual({})
  expect(await readable(removed, note)).toEqual({ 1: 'note' })
  for (const { ns } of [...members, removed]) {
    expect(toHex(ns.held.vectorHash)).toBe(toHex(copy.ns.held.vectorHash))
    expect(ns.roleOf(late.id)).toBe('writer')
    expect(ns.roleOf(removed.id)).toBeUndefined()
    // Both branches of the owner's chain stand.
    expect(
      [...ns.held.tips()].filter(
        ({ incarnation, author }) =>
          toHex(author) === toHex(owner.id) && toHex(incarnation) === toHex(owner.env.incarnation),
      ),
    ).toHaveLength(2)
    expect(ns.membership.forks).toEqual([])
    expect(await differences(ns)).toEqual([])
  }
})
