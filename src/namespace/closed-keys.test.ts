import { describe, expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import {
  agentOf,
  createGroup,
  forge,
  groupOf,
  hold,
  holdGroup,
  readable,
  recordGroup,
} from '../../test/support/sharing-nodes.ts'
import { toHex } from '../encoding/index.ts'
import { epochSettleMs } from '../limits.ts'
import { decodeEntry, encodeAuthBody, type KeyWrap } from '../log/index.ts'
import type { EpochSecret } from '../sharing/index.ts'
import { differences } from './derived.test-helper.ts'

/** Writers and readers of a namespace or group, an admin who is removed and has not heard of it, and others who see all that is written. */
async function setUp({ isGroup = false } = {}) {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create({ isGroup })
  const join = async (seed: number) => await new NamespaceNode(seed, time).join(owner)
  const [admin, writer, other, reader] = [await join(10), await join(11), await join(12), await join(13)]
  const [bob, carol] = [await join(20), await join(21)]
  for (const [{ id }, role] of [
    [admin, 'admin'],
    [writer, 'writer'],
    [other, 'writer'],
    [reader, 'reader'],
  ] as const)
    await owner.ns.members.grant({ agent: id, role })
  const artifact = await owner.write('old', 'report')
  const members = [owner, writer, other, reader]
  await converge(...members, admin, bob, carol)
  await owner.ns.members.revoke({ agent: admin.id })
  return { time, owner, admin, writer, other, reader, bob, carol, artifact, members, join }
}

/** The writer goes by an epoch that the admin begins, who has not heard of its removal; nor has the writer. */
async function misled() {
  const made = await setUp()
  const { admin, writer } = made
  await admin.ns.members.rotate()
  await writer.pull(admin)
  const [epoch] = admin.ns.membership.epochs
  return { ...made, epoch: epoch?.id ?? expect.fail('it began one') }
}

/** The writer hears of the removal, before others hear from it. */
async function tell({
  owner,
  writer,
  members,
}: {
  owner: NamespaceNode
  writer: NamespaceNode
  members: NamespaceNode[]
}) {
  await writer.pull(owner)
  await converge(...members)
}

/** All write what is owed, as often as anybody has something, in few rounds. */
async function healAll(members: readonly NamespaceNode[], others: readonly NamespaceNode[] = []): Promise<number> {
  let written = 0
  for (let round = 0; round < 4; round++) {
    let some = 0
    for (const { ns } of members) some += await ns.healer.run()
    await converge(...members, ...others)
    written += some
    if (some === 0) return written
  }
  return expect.fail('there is always more to be written')
}

describe('what was written under an epoch of an admin who had been removed, by who had not heard of it', () => {
  test('opens for every member once the writer hears of it, a new artifact and what comes after', async () => {
    const made = await misled()
    const { owner, admin, writer, reader, members, epoch, join } = made
    const artifact = await writer.write('one')
    expect(
      (await writer.ns.held.entry((await writer.ns.catalog.get(artifact))?.entry as Uint8Array))?.keys?.wraps,
    ).toMatchObject([{ under: epoch }])
    await tell(made)
    for (const node of [owner, reader]) {
      expect(await node.names()).toEqual(['report'])
      expect(node.ns.keyring.epoch(epoch)).toBeUndefined()
    }
    for (const { ns } of members) expect(await ns.healer.owedKeys()).toEqual([writer.id])
    expect(await owner.ns.healer.run()).toBe(0)
    const before = writer.ns.held.vector()
    expect(await writer.ns.healer.run()).toBe(1)
    // To nobody but those who have the epoch to write under.
    const [entry] = await Array.fromAsync(writer.ns.held.entriesBeyond(before), (bytes) => decodeEntry(bytes))
    const own = writer.ns.membership.grantsOf(writer.id)[0]?.hash.subarray(0, 8)
    expect(entry).toMatchObject({
      header: { keyId: writer.ns.membership.owed.epoch },
      auth: { kind: 'keys', to: [own] },
    })
    await converge(...members)
    for (const node of members) {
      expect(await node.read(artifact)).toBe('one')
      expect(await node.ns.healer.owedKeys()).toEqual([])
      expect(await node.ns.healer.run()).toBe(0)
      expect(await differences(node.ns)).toEqual([])
    }
    // Who comes later reads it too; who was removed nothing of what is written now.
    const late = await join(40)
    await owner.ns.members.grant({ agent: late.id, role: 'reader' })
    await owner.update(artifact, 'two')
    await converge(...members, late, admin)
    expect(await readable(late, artifact)).toEqual({ 1: 'one', 2: 'two' })
    expect(await readable(admin, artifact)).toEqual({ 1: 'one' })
  })

  test('opens for who was removed by that admin after it was none, as a version of what was there', async () => {
    const made = await setUp()
    const { admin, writer, reader, artifact, members } = made
    await admin.ns.members.revoke({ agent: reader.id })
    await writer.pull(admin)
    await writer.update(artifact, 'two', 'report')
    await tell(made)
    expect(await readable(reader, artifact)).toEqual({ 1: 'old' })
    await healAll(members)
    for (const node of members) expect(await readable(node, artifact)).toEqual({ 1: 'old', 2: 'two' })
  })

  test('is known to be owed by who cannot give it, and after a start; then the writer gives it, started anew as well', async () => {
    const made = await misled()
    const { owner, writer, members } = made
    const artifact = await writer.write('one')
    await tell(made)
    await writer.open()
    await owner.open()
    for (const { ns } of [owner, writer]) expect(await ns.healer.owedKeys()).toEqual([writer.id])
    expect(await owner.ns.healer.run()).toBe(0)
    expect(await owner.ns.healer.owedKeys()).toEqual([writer.id])
    await healAll(members)
    await owner.open()
    expect(await owner.ns.healer.owedKeys()).toEqual([])
    expect(await owner.read(artifact)).toBe('one')
  })

  test('is given by anybody who has the key, while the writer is away; two who do at once are enough for good', async () => {
    const made = await misled()
    const { owner, admin, writer, other, reader } = made
    await other.pull(admin)
    const artifact = await writer.write('one')
    await owner.pull(writer)
    // The owner got the admin's epoch with it, beyond the end of its chain.
    for (const node of [other, reader]) await node.pull(owner)
    expect(await reader.names()).toEqual(['report'])
    expect([await owner.ns.healer.run(), await other.ns.healer.run()]).toEqual([1, 1])
    await converge(owner, other, reader)
    expect(await reader.read(artifact)).toBe('one')
    expect(await healAll([owner, other], [reader])).toBe(0)
    await converge(owner, other, reader, writer)
    expect(await healAll([owner, other, writer], [reader])).toBe(0)
  })

  test('waits for an epoch to wrap it under, where there is none', async () => {
    const made = await misled()
    const { owner, writer, reader, members } = made
    const artifact = await writer.write('one')
    await owner.ns.members.revoke({ agent: reader.id })
    const entries = await Array.fromAsync(owner.ns.held.entriesBeyond(writer.ns.held.vector()))
    await writer.ns.receive(entries.filter((bytes) => decodeEntry(bytes).header.kind !== 'rotate'))
    expect(writer.ns.membership.owed.rotation).toBe(true)
    expect(await writer.ns.healer.run()).toBe(0)
    await converge(...members)
    await healAll(members)
    expect(await owner.read(artifact)).toBe('one')
    expect(await readable(reader, artifact)).toEqual({})
  })

  test('is given to nobody while what its author knew is missing, for a while', async () => {
    const made = await misled()
    const { time, owner, admin, writer, other } = made
    await other.write('known to two')
    await writer.pull(other)
    const artifact = await writer.write('one')
    const by = [writer, admin].map(({ id }) => toHex(id))
    const entries = await Array.fromAsync(writer.ns.held.entriesBeyond(owner.ns.held.vector()))
    await owner.ns.receive(entries.filter((bytes) => by.includes(toHex(decodeEntry(bytes).header.author))))
    expect(await owner.read(artifact)).toBe('one')
    expect([await owner.ns.healer.run(), owner.ns.healer.isPutOff]).toEqual([0, true])
    time.nowMs += epochSettleMs
    expect([await owner.ns.healer.run(), owner.ns.healer.isPutOff]).toEqual([1, false])
  })
})

describe('what was shared under such an epoch', () => {
  test('is seen by the others, and its audience reads what comes', async () => {
    const made = await misled()
    const { time, owner, writer, bob, carol, artifact, members } = made
    const group = await createGroup(50, time, [carol])
    await recordGroup(writer, group.owner)
    const shares = await writer.ns.sharing.share({ artifact, audience: [agentOf(bob), groupOf(group.owner)] })
    const fresh = await writer.write('one')
    shares.push(...(await writer.ns.sharing.share({ artifact: fresh, audience: [agentOf(bob)] })))
    await tell(made)
    for (const id of [artifact, fresh]) expect(await owner.ns.sharing.of(id)).toHaveLength(0)
    expect(await owner.ns.healer.owedKeys()).toEqual([writer.id])
    await healAll(members)
    expect((await owner.ns.sharing.of(artifact)).map(({ refusal }) => refusal)).toEqual([undefined, undefined])
    expect(await owner.ns.sharing.of(fresh)).toHaveLength(1)
    for (const id of [artifact, fresh]) await owner.update(id, 'by the owner')
    await converge(...members, bob, carol)
    for (const node of [bob, carol]) await hold(node, shares)
    await holdGroup(carol, group.members[0] as NamespaceNode)
    expect(await readable(bob, artifact)).toEqual({ 1: 'old', 2: 'by the owner' })
    expect(await readable(carol, artifact)).toEqual({ 1: 'old', 2: 'by the owner' })
    expect(await readable(bob, fresh)).toEqual({ 1: 'one', 2: 'by the owner' })
    // And it can be taken back by the owner, who sees it.
    await owner.ns.sharing.unshare({ artifact, audience: [agentOf(bob)] })
    await owner.update(artifact, 'without bob')
    await converge(...members, bob, carol)
    expect(await readable(bob, artifact)).toEqual({ 1: 'old', 2: 'by the owner' })
    expect(await readable(carol, artifact)).toEqual({ 1: 'old', 2: 'by the owner', 3: 'without bob' })
  })

  test('by another is given the keys of what was written under it, which only the writer could open', async () => {
    const made = await misled()
    const { owner, writer, bob, artifact, members } = made
    await writer.update(artifact, 'two', 'report')
    const shares = await owner.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
    await tell(made)
    await healAll(members)
    await converge(...members, bob)
    await hold(bob, shares)
    expect(await readable(bob, artifact)).toEqual({ 1: 'old', 2: 'two' })
  })
})

test('what a member of a group wrote under an epoch of an admin of the group who had been removed opens for all of it', async () => {
  const made = await setUp({ isGroup: true })
  const { owner, admin, writer, members } = made
  await admin.ns.members.rotate()
  await writer.pull(admin)
  const artifact = await writer.write('one')
  await tell(made)
  expect(await owner.names()).toEqual(['report'])
  expect(await owner.ns.healer.owedKeys()).toEqual([writer.id])
  await healAll(members)
  for (const node of members) expect(await node.read(artifact)).toBe('one')
  expect(owner.ns.membership.owed).toMatchObject({ rotation: false, boxes: [] })
})

test('a share that was sealed to an epoch of a group of an admin who had been removed, by a member of the group, is given to all of it', async () => {
  const { time, owner, writer, carol, artifact, members } = await setUp()
  const group = await createGroup(50, time, [writer, carol])
  const [own, ofCarol] = group.members as [NamespaceNode, NamespaceNode]
  const former = await new NamespaceNode(60, time).join(group.owner)
  await group.owner.ns.members.grant({ agent: former.id, role: 'admin' })
  await converge(group.owner, ...group.members, former)
  await group.owner.ns.members.revoke({ agent: former.id })
  await former.ns.members.rotate()
  await own.pull(former)
  await recordGroup(writer, own)
  const shares = await writer.ns.sharing.share({ artifact, audience: [groupOf(group.owner)] })
  await own.pull(group.owner)
  await converge(group.owner, ...group.members)
  await converge(...members)
  await recordGroup(writer, own)
  await healAll(members, [carol])
  await hold(carol, shares)
  await holdGroup(carol, ofCarol)
  expect(await readable(carol, artifact)).toEqual({ 1: 'old' })
  expect(await owner.ns.sharing.of(artifact)).toHaveLength(1)
})

test('what a writer sealed by name, for no epoch would do, opens for who comes later', async () => {
  const { owner, writer, other, reader, bob, members, join, artifact: old } = await setUp()
  await converge(...members)
  await owner.ns.members.revoke({ agent: reader.id })
  const entries = await Array.fromAsync(owner.ns.held.entriesBeyond(writer.ns.held.vector()))
  await writer.ns.receive(entries.filter((bytes) => decodeEntry(bytes).header.kind !== 'rotate'))
  const artifact = await writer.write('by name')
  const shares = await writer.ns.sharing.share({ artifact: old, audience: [agentOf(bob)] })
  await converge(...members)
  expect(await other.ns.healer.owedKeys()).toEqual([writer.id])
  const late = await join(40)
  await owner.ns.members.grant({ agent: late.id, role: 'writer' })
  await converge(...members, late)
  expect(await late.ns.catalog.get(artifact)).toBeUndefined()
  expect(await late.ns.sharing.of(old)).toHaveLength(0)
  // Whoever has them, and started anew.
  await owner.open()
  expect(await owner.ns.healer.run()).toBeGreaterThan(0)
  await healAll([owner, writer, other], [late, reader])
  expect(await late.read(artifact)).toBe('by name')
  expect((await late.ns.sharing.of(old)).map(({ share }) => share.entry)).toEqual(shares.map(({ entry }) => entry))
  expect(await readable(reader, artifact)).toEqual({})
  for (const { ns } of [owner, other, late]) expect(await ns.healer.owedKeys()).toEqual([])
  for (const node of [owner, late]) expect(await differences(node.ns)).toEqual([])
})

describe('nobody keeps members who come later from earlier epochs', () => {
  /** An entry of that agent's, the next of its chain, that says epochs to be wrapped under another, which it holds. */
  function claim(node: NamespaceNode, under: EpochSecret, wraps: readonly KeyWrap[]): Uint8Array {
    const { ns, env, id } = node
    const grant = ns.membership.grantsOf(id)[0]?.hash ?? expect.fail('it has a grant')
    const body = encodeAuthBody({ kind: 'keys', to: [grant.subarray(0, 8)] })
    const keys = { ...ns.keyring.sealEpoch(under, [id], env.random(32)), wraps }
    return forge(node, { kind: 'keys', keyId: under.id, data: undefined }, () => ({ keys, body }))
  }

  /** The epochs of a node, the newest first, of which there are two. */
  function twoOf({ ns }: NamespaceNode): [EpochSecret, EpochSecret] {
    return ns.membership.epochs.map(({ id }) => ns.keyring.epoch(id)) as [EpochSecret, EpochSecret]
  }

  const rubbish = (id: Uint8Array, under: Uint8Array): KeyWrap => ({ keyId: id, under, box: new Uint8Array(48) })

  /** What somebody reads of the oldest artifact who is made a member after somebody else was removed, so that an epoch began. */
  async function readLater({ owner, reader, members, join, artifact }: Awaited<ReturnType<typeof setUp>>) {
    const left = members.filter((node) => node !== reader)
    for (const { ns } of left) await ns.healer.run()
    await owner.ns.members.revoke({ agent: reader.id })
    const node = await join(40)
    await owner.ns.members.grant({ agent: node.id, role: 'reader' })
    await converge(...left)
    await healAll(left)
    await node.pull(owner)
    return await node.read(artifact)
  }

  test('an admin who was removed, by saying that they are wrapped under one of its own, beyond the end of its chain', async () => {
    const made = await setUp()
    const { owner, admin, members } = made
    await converge(...members)
    const [newest] = twoOf(owner)
    const own = admin.ns.keyring.admitEpoch(admin.env.random(32))
    const body = members.map(({ id }) => owner.ns.membership.grantsOf(id)[0]?.hash as Uint8Array)
    const sealed = [...body].sort(Buffer.compare)
    const recipients = sealed.map((hash) => members[body.indexOf(hash)]?.id as Uint8Array)
    const keys = admin.ns.keyring.sealEpoch(own, recipients, admin.env.random(32))
    const entry = forge(admin, { kind: 'rotate', keyId: own.id, data: undefined }, () => ({
      keys: { ...keys, wraps: [rubbish(newest.id, own.id)] },
      body: encodeAuthBody({ kind: 'rotate', to: sealed.map((hash) => hash.subarray(0, 8)) }),
    }))
    for (const { ns } of members) {
      expect((await ns.receive([entry])).stored).toBe(1)
      expect(ns.keyring.epoch(own.id)).toBeDefined()
    }
    expect(await readLater(made)).toBe('old')
  })

  test.for(['rubbish', 'wraps'] as const)('a writer, by putting newer ones under them: %s', async (what) => {
    const made = await setUp()
    const { owner, writer, members } = made
    await converge(...members)
    const [newest, oldest] = twoOf(writer)
    const { keyring } = writer.ns
    const wrap = what === 'rubbish' ? rubbish(newest.id, oldest.id) : keyring.wrapEpoch(newest, oldest)
    const entry = claim(writer, oldest, [wrap])
    for (const { ns } of members) expect((await ns.receive([entry])).stored).toBe(1)
    // The removed admin has the oldest, so nothing is written under the newest any more; but not without bound.
    expect(owner.ns.membership).toMatchObject({ owed: { rotation: true }, isRotationForced: true })
    expect(await readLater(made)).toBe('old')
    expect(owner.ns.membership.epochs.at(-1)?.id).toEqual(oldest.id)
  })
})
