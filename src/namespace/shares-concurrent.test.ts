import { describe, expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import {
  agentOf,
  createGroup,
  groupOf,
  hold,
  holdGroup,
  readable,
  recordGroup,
} from '../../test/support/sharing-nodes.ts'
import { equalBytes } from '../encoding/index.ts'
import { epochSettleMs } from '../limits.ts'
import { decodeUnverifiedEntry } from '../log/index.ts'

/** An owner, writers, and outsiders who see all that is written. */
async function namespace(roles: readonly ('admin' | 'writer')[], outsiders: number) {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const nodes: NamespaceNode[] = []
  for (let at = 0; at < roles.length + outsiders; at++) {
    const node = await new NamespaceNode(10 + at, time).join(owner)
    nodes.push(node)
    const role = roles[at]
    if (role !== undefined) await owner.ns.members.grant({ agent: node.id, role })
  }
  const artifact = await owner.write('one', 'report')
  await converge(owner, ...nodes)
  const all = [owner, ...nodes]
  const members = all.slice(0, roles.length + 1) as [NamespaceNode, NamespaceNode, NamespaceNode]
  return { time, artifact, owner, members, outsiders: nodes.slice(roles.length), all }
}

describe('at the same time', () => {
  test('an unshare and an update: what the writer did not know of stays readable, the next version is not', async () => {
    const { artifact, owner, members, outsiders, all } = await namespace(['writer'], 1)
    const [, writer] = members
    const [bob] = outsiders as [NamespaceNode]
    const shares = await owner.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
    await converge(...all)
    await owner.ns.sharing.unshare({ artifact, audience: [agentOf(bob)] })
    await writer.update(artifact, 'two', 'report')
    await converge(...all)
    await hold(bob, shares)
    expect(await readable(bob, artifact)).toEqual({ 1: 'one', 2: 'two' })
    await writer.update(artifact, 'three', 'report')
    await converge(...all)
    expect(await readable(bob, artifact)).toEqual({ 1: 'one', 2: 'two' })
    for (const node of members.slice(0, 2)) {
      expect(await readable(node, artifact)).toEqual({ 1: 'one', 2: 'two', 3: 'three' })
    }
  })

  test('an unshare that the writer knew of: whoever has not heard of it gives the version to nobody', async () => {
    const { artifact, owner, members, outsiders, all } = await namespace(['writer', 'admin'], 1)
    const [, writer, unaware] = members
    const [bob] = outsiders as [NamespaceNode]
    const shares = await owner.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
    await converge(...all)
    await owner.ns.sharing.unshare({ artifact, audience: [agentOf(bob)] })
    await writer.pull(owner)
    // Says what it knew in an entry before the version as well as in that one.
    await writer.write('another')
    await writer.update(artifact, 'two', 'report')
    const entries = await Array.fromAsync(writer.ns.held.entriesBeyond(unaware.ns.held.vector()))
    await unaware.ns.receive(
      entries.filter((bytes) => equalBytes(decodeUnverifiedEntry(bytes).header.author, writer.id)),
    )
    expect(await unaware.read(artifact)).toBe('two')
    expect(await unaware.ns.healer.run()).toBe(0)
    expect(unaware.ns.healer.isPutOff).toBe(true)
    await hold(bob, shares)
    await converge(...all)
    expect(await unaware.ns.healer.run()).toBe(0)
    expect(unaware.ns.healer.isPutOff).toBe(false)
    expect(await readable(bob, artifact)).toEqual({ 1: 'one' })
  })

  test('what a writer knew may never come: who waits for it gives the version after some time all the same', async () => {
    const { time, artifact, owner, members, outsiders, all } = await namespace(['writer', 'admin', 'writer'], 1)
    const [, writer, other] = members
    const gone = all[3] as NamespaceNode
    const [bob] = outsiders as [NamespaceNode]
    // So that the next version is under a key that was given to nobody.
    await owner.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
    await owner.ns.sharing.unshare({ artifact, audience: [agentOf(bob)] })
    await converge(...all)
    await gone.write('known to one')
    await writer.pull(gone)
    await writer.update(artifact, 'two', 'report')
    const shares = await owner.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
    const entries = await Array.fromAsync(writer.ns.held.entriesBeyond(owner.ns.held.vector()))
    await other.pull(owner)
    await other.ns.receive(entries.filter((bytes) => equalBytes(decodeUnverifiedEntry(bytes).header.author, writer.id)))
    expect(await other.ns.healer.run()).toBe(0)
    time.nowMs += epochSettleMs
    expect(await other.ns.healer.run()).toBe(1)
    await bob.pull(other)
    await hold(bob, shares)
    expect(await readable(bob, artifact)).toEqual({ 1: 'one', 2: 'two' })
  })

  test('an unshare that takes a fresh key and a share that boxes the old one: each has what it should', async () => {
    const { artifact, owner, members, outsiders, all } = await namespace(['writer'], 2)
    const [, writer] = members
    const [bob, carol] = outsiders as [NamespaceNode, NamespaceNode]
    const first = await owner.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
    await converge(...all)
    await owner.ns.sharing.unshare({ artifact, audience: [agentOf(bob)] })
    await owner.update(artifact, 'two', 'report')
    const second = await writer.ns.sharing.share({ artifact, audience: [agentOf(carol)] })
    await converge(...all)
    for (const node of [bob, carol]) await hold(node, [...first, ...second])
    expect(await readable(carol, artifact)).toEqual({ 1: 'one' })
    // Either of them makes good what the other could not know, and then there is nothing more to do.
    expect(await writer.ns.healer.run()).toBe(1)
    await converge(...all)
    expect(await owner.ns.healer.run()).toBe(0)
    expect(await writer.ns.healer.run()).toBe(0)
    expect(await readable(carol, artifact)).toEqual({ 1: 'one', 2: 'two' })
    expect(await readable(bob, artifact)).toEqual({ 1: 'one' })
  })

  test('a share from now on and an update in ignorance of it: nothing from before is opened, and what comes next is', async () => {
    const { artifact, owner, members, outsiders, all } = await namespace(['writer'], 1)
    const [, writer] = members
    const [bob] = outsiders as [NamespaceNode]
    const shares = await owner.ns.sharing.share({ artifact, audience: [agentOf(bob)], fromNow: true })
    await writer.update(artifact, 'two', 'report')
    await converge(...all)
    await hold(bob, shares)
    expect(await owner.ns.healer.run()).toBe(0)
    await converge(...all)
    expect(await readable(bob, artifact)).toEqual({})
    await writer.update(artifact, 'three', 'report')
    await converge(...all)
    expect(await readable(bob, artifact)).toEqual({ 3: 'three' })
  })

  test('what goes on with content from before a share from now on is shown, and its content stays closed', async () => {
    const { artifact, owner, outsiders, all } = await namespace([], 1)
    const [bob] = outsiders as [NamespaceNode]
    const shares = await owner.ns.sharing.share({ artifact, audience: [agentOf(bob)], fromNow: true })
    await owner.update(artifact, undefined, 'renamed')
    await converge(...all)
    await hold(bob, shares)
    expect(await bob.names()).toEqual(['renamed'])
    expect(await readable(bob, artifact)).toEqual({ 2: 'denied' })
  })

  test('two admins who begin an epoch, and a share under each of them: everybody lists both', async () => {
    const { artifact, owner, members, outsiders, all } = await namespace(['admin', 'admin'], 2)
    const [, one, two] = members
    const [bob, carol] = outsiders as [NamespaceNode, NamespaceNode]
    await one.ns.members.rotate()
    await two.ns.members.rotate()
    const shares = [
      ...(await one.ns.sharing.share({ artifact, audience: [agentOf(bob)] })),
      ...(await two.ns.sharing.share({ artifact, audience: [agentOf(carol)] })),
    ]
    await converge(...all)
    expect(owner.ns.membership.owed.rotation).toBe(false)
    for (const { ns } of [owner, one, two]) {
      expect((await ns.sharing.of(artifact)).map(({ refusal }) => refusal)).toEqual([undefined, undefined])
    }
    await one.update(artifact, 'two', 'report')
    await converge(...all)
    for (const node of [bob, carol]) {
      await hold(node, shares)
      expect(await readable(node, artifact)).toEqual({ 1: 'one', 2: 'two' })
    }
  })

  test('a member’s removal and a share by whoever has not heard of it: what is written after both is for the audience alone', async () => {
    const { artifact, owner, members, outsiders, all } = await namespace(['writer', 'writer'], 1)
    const [, gone, writer] = members
    const [bob] = outsiders as [NamespaceNode]
    await owner.ns.members.revoke({ agent: gone.id })
    const shares = await writer.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
    await writer.update(artifact, 'two', 'report')
    await converge(...all)
    // Knows of both now: the key in force was wrapped under an epoch that the removed one has.
    await writer.update(artifact, 'three', 'report')
    await converge(...all)
    await hold(bob, shares)
    expect(await readable(bob, artifact)).toEqual({ 1: 'one', 2: 'two', 3: 'three' })
    expect(await readable(gone, artifact)).toEqual({ 1: 'one', 2: 'two' })
  })

  test('no epoch excludes who was removed and a writer shares: the share is sealed to the members by name', async () => {
    const { artifact, owner, members, outsiders, all } = await namespace(['admin', 'writer', 'writer'], 1)
    const [, admin, writer] = members
    const gone = all[3] as NamespaceNode
    const [bob] = outsiders as [NamespaceNode]
    // The removal of a writer by a removed admin’s peer, with the epochs that came with it made void.
    await admin.ns.members.revoke({ agent: gone.id })
    await converge(owner, admin, writer, gone, bob)
    const before = writer.ns.membership.owed.rotation
    await owner.ns.members.revoke({ agent: admin.id })
    // The writer learns who was removed, and nothing of the epoch that was begun for it.
    const entries = await Array.fromAsync(owner.ns.held.entriesBeyond(writer.ns.held.vector()))
    await writer.ns.receive(entries.slice(0, 1))
    expect([before, writer.ns.membership.owed.rotation]).toEqual([false, true])
    const shares = await writer.ns.sharing.share({ artifact, audience: [agentOf(bob)], message: 'by name' })
    const entry = await writer.ns.held.entry(shares[0]?.entry ?? expect.fail())
    expect(entry?.keys?.boxes.map(({ label }) => label === undefined)).toEqual([true, true, false])
    await converge(...all)
    await hold(bob, shares)
    expect(await readable(bob, artifact)).toEqual({ 1: 'one' })
    for (const { ns } of [owner, writer]) expect(await ns.sharing.of(artifact)).toHaveLength(1)
    for (const { ns } of [admin, gone]) expect(await ns.sharing.of(artifact)).toHaveLength(0)
  })
})

describe('a share with a group', () => {
  async function shared(outsiders: number) {
    const made = await namespace([], outsiders)
    const group = await createGroup(50, made.time, made.outsiders.slice(0, 2))
    await recordGroup(made.owner, group.owner)
    const shares = await made.owner.ns.sharing.share({ artifact: made.artifact, audience: [groupOf(group.owner)] })
    await converge(...made.all)
    return { ...made, group, shares }
  }

  test('is one box for all of its members, those who join later too', async () => {
    const { time, artifact, owner, outsiders, all, group, shares } = await shared(3)
    const [, , late] = outsiders as [NamespaceNode, NamespaceNode, NamespaceNode]
    const entry = await owner.ns.held.entry(shares[0]?.entry ?? expect.fail())
    expect(entry?.keys?.boxes).toHaveLength(1)
    const joined = await new NamespaceNode(60, time, { agent: late.agent }).join(group.owner)
    await group.owner.ns.members.grant({ agent: late.id, role: 'writer' })
    await converge(group.owner, ...group.members, joined)
    await owner.update(artifact, 'two', 'report')
    await converge(...all)
    for (const [at, node] of outsiders.entries()) {
      await hold(node, shares)
      expect(await readable(node, artifact)).toEqual({})
      await holdGroup(node, [...group.members, joined][at] as NamespaceNode)
      expect(await readable(node, artifact)).toEqual({ 1: 'one', 2: 'two' })
    }
  })

  test('stops for whoever is removed, once the group’s new epoch is known: with every key that they ever had', async () => {
    const { artifact, owner, outsiders, all, group, shares } = await shared(2)
    const [bob, carol] = outsiders as [NamespaceNode, NamespaceNode]
    const [bobInGroup, carolInGroup] = group.members as [NamespaceNode, NamespaceNode]
    await group.owner.ns.members.revoke({ agent: bob.id })
    await converge(group.owner, ...group.members)
    // Stale: the sharer goes on in good faith, and whoever is in the group reads it.
    await owner.update(artifact, 'two', 'report')
    await recordGroup(owner, carolInGroup)
    await owner.update(artifact, 'three', 'report')
    await converge(...all)
    for (const [node, inGroup] of [
      [bob, bobInGroup],
      [carol, carolInGroup],
    ] as const) {
      await hold(node, shares)
      await holdGroup(node, inGroup)
    }
    expect(await readable(carol, artifact)).toEqual({ 1: 'one', 2: 'two', 3: 'three' })
    expect(await readable(bob, artifact)).toEqual({ 1: 'one', 2: 'two' })
  })

  test('with a stale descriptor locks nobody out who is in the group', async () => {
    const { time, artifact, owner, outsiders, all } = await namespace([], 2)
    const [bob, carol] = outsiders as [NamespaceNode, NamespaceNode]
    const group = await createGroup(50, time, [bob])
    await recordGroup(owner, group.owner)
    await group.owner.ns.members.rotate()
    const late = await new NamespaceNode(60, time, { agent: carol.agent }).join(group.owner)
    await group.owner.ns.members.grant({ agent: carol.id, role: 'writer' })
    await converge(group.owner, ...group.members, late)
    const shares = await owner.ns.sharing.share({ artifact, audience: [groupOf(group.owner)] })
    await converge(...all)
    for (const [node, inGroup] of [
      [bob, group.members[0]],
      [carol, late],
    ] as const) {
      await hold(node, shares)
      await holdGroup(node, inGroup as NamespaceNode)
      expect(await readable(node, artifact)).toEqual({ 1: 'one' })
    }
  })

  test('locks nobody of the group out of what was sealed to an epoch that was none, of an admin who had been removed', async () => {
    const { artifact, owner, outsiders, all, group, shares } = await shared(2)
    const [bob, carol] = outsiders as [NamespaceNode, NamespaceNode]
    const [bobInGroup, carolInGroup] = group.members as [NamespaceNode, NamespaceNode]
    await group.owner.ns.members.grant({ agent: bob.id, role: 'admin' })
    await converge(group.owner, ...group.members)
    await group.owner.ns.members.revoke({ agent: bob.id })
    // Not told of it, and so told of this.
    await bobInGroup.ns.members.rotate()
    await recordGroup(owner, bobInGroup)
    await owner.update(artifact, 'two', 'report')
    await owner.ns.healer.run()
    await recordGroup(owner, group.owner)
    await owner.ns.healer.run()
    await converge(...all, ...group.members, group.owner)
    await hold(carol, shares)
    await holdGroup(carol, carolInGroup)
    expect(await readable(carol, artifact)).toEqual({ 1: 'one', 2: 'two' })
    // Once: nothing is owed then.
    expect(await owner.ns.healer.run()).toBe(0)
  })

  test('ends with unshare, for all of its members', async () => {
    const { artifact, owner, outsiders, all, group, shares } = await shared(2)
    const [bob] = outsiders as [NamespaceNode, NamespaceNode]
    await owner.ns.sharing.unshare({ artifact, audience: [groupOf(group.owner)] })
    await owner.update(artifact, 'two', 'report')
    await converge(...all)
    await hold(bob, shares)
    await holdGroup(bob, group.members[0] as NamespaceNode)
    expect(await readable(bob, artifact)).toEqual({ 1: 'one' })
  })
})
