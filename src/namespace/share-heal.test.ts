import { expect, test } from 'vitest'
import { converge, NamespaceNode } from '../../test/support/namespace-nodes.ts'
import {
  agentOf,
  createGroup,
  groupOf,
  hold,
  holdGroup,
  readable,
  recordGroup,
} from '../../test/support/sharing-nodes.ts'
import type { Audience } from '../capability/index.ts'
import { equalBytes } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { epochSettleMs } from '../limits.ts'
import { copiedMember } from './copied-member.test-helper.ts'
import { damage } from './damage.test-helper.ts'
import type { Share } from './index.ts'

/** Counts how often a node looks at what boxes with labels there are, and rows that it reads of these. */
function countLabels({ store, ns }: NamespaceNode): { looks: number; rows: number } {
  const counts = { looks: 0, rows: 0 }
  const prefix = ns.keys.key('labelledBoxes')
  const { entries } = store
  store.entries = async function* (range, options) {
    const isOfLabels = range.gte !== undefined && equalBytes(range.gte.subarray(0, prefix.length), prefix)
    if (isOfLabels) counts.looks += 1
    for await (const row of entries.call(store, range, options)) {
      if (isOfLabels) counts.rows += 1
      yield row
    }
  }
  return counts
}

const agents = 70

/** An artifact of several keys that is shared with many agents; all have heard of that, and `one` has looked at what they lack. */
async function sharedWithMany(keys: number) {
  const { owner, one, admin, writer, bob, artifact, time } = await copiedMember()
  const audience = Array.from({ length: agents }, (_, at): Audience => agentOf(new NamespaceNode(20 + at, time)))
  await owner.ns.sharing.share({ artifact, audience })
  const renewKey = async (by: NamespaceNode, text: string) => {
    const someone = [agentOf(new NamespaceNode(10, time))]
    await by.ns.sharing.share({ artifact, audience: someone })
    await by.ns.sharing.unshare({ artifact, audience: someone })
    await by.update(artifact, text, 'report')
  }
  for (let number = 2; number <= keys; number += 1) await renewKey(owner, `text ${number}`)
  await converge(owner, one, admin, writer)
  expect(await one.ns.healer.run()).toBe(0)
  return { owner, one, admin, writer, bob, artifact, time, renewKey }
}

test('what is there for thousands of shares is not looked for again at each version that another writes', async () => {
  const { owner, one, artifact, renewKey } = await sharedWithMany(3)
  const counts = countLabels(one)
  await owner.update(artifact, 'next', 'report')
  await one.pull(owner)
  expect(await one.ns.healer.run()).toBe(0)
  expect(counts).toEqual({ looks: 0, rows: 0 })
  // Nor when somebody says who may do what; and of another key only that one is.
  await renewKey(owner, 'under another key')
  await one.pull(owner)
  expect(await one.ns.healer.run()).toBe(0)
  expect(counts).toEqual({ looks: 1, rows: agents })
})

test('of another share only its own boxes are looked for, and it is given the keys that it lacks', async () => {
  const { owner, one, admin, bob, artifact, renewKey } = await sharedWithMany(2)
  await renewKey(owner, 'what the sharer has not heard of')
  await one.pull(owner)
  expect(await one.ns.healer.run()).toBe(0)
  const late = await admin.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
  await one.pull(admin)
  const counts = countLabels(one)
  // Once to see what is lacking, for each key, and once more for the one of which it seals some.
  expect(await one.ns.healer.run()).toBe(1)
  expect(counts).toEqual({ looks: 4, rows: 2 })
  await bob.pull(one)
  await hold(bob, late)
  expect(Object.values(await readable(bob, artifact))).toEqual(['one', 'text 2', 'what the sharer has not heard of'])
})

test('what was there and counts no more is given again', async () => {
  const { owner, one, admin, writer, bob, artifact, renewKey } = await sharedWithMany(1)
  const late = await admin.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
  await renewKey(owner, 'by who has not heard of that')
  for (const from of [owner, admin]) await writer.pull(from)
  expect(await writer.ns.healer.run()).toBe(1)
  for (const from of [owner, admin, writer]) await one.pull(from)
  expect(await one.ns.healer.run()).toBe(0)
  // By who has not heard of what the writer sealed.
  await owner.ns.members.revoke({ agent: writer.id })
  await one.pull(owner)
  expect(await one.ns.healer.run()).toBe(1)
  expect(await one.ns.healer.run()).toBe(0)
  for (const from of [admin, one]) await owner.pull(from)
  await bob.pull(owner)
  await hold(bob, late)
  expect(await readable(bob, artifact)).toEqual({ 1: 'one', 2: 'by who has not heard of that' })
})

test('what was sealed to an epoch of a group that turns out to be none is sealed to a good one', async () => {
  const { owner, bob, artifact, time } = await sharedWithMany(1)
  const carol = await new NamespaceNode(6, time).join(owner)
  const group = await createGroup(200, time, [bob, carol])
  const [bobInGroup, carolInGroup] = group.members as [NamespaceNode, NamespaceNode]
  await recordGroup(owner, group.owner)
  const withGroup = await owner.ns.sharing.share({ artifact, audience: [groupOf(group.owner)] })
  await group.owner.ns.members.grant({ agent: bob.id, role: 'admin' })
  await converge(group.owner, ...group.members)
  await group.owner.ns.members.revoke({ agent: bob.id })
  // By who was not told of that.
  await bobInGroup.ns.members.rotate()
  await recordGroup(owner, bobInGroup)
  await owner.update(artifact, 'two', 'report')
  expect(await owner.ns.healer.run()).toBe(0)
  await recordGroup(owner, group.owner)
  expect(await owner.ns.healer.run()).toBe(1)
  expect(await owner.ns.healer.run()).toBe(0)
  await carolInGroup.pull(group.owner)
  await carol.pull(owner)
  await hold(carol, withGroup)
  await holdGroup(carol, carolInGroup)
  expect(await readable(carol, artifact)).toEqual({ 1: 'one', 2: 'two' })
})

test.each(['share', 'version', 'entry before a version'])(
  'a damaged %s of one artifact keeps no key of others from their audiences',
  async (what) => {
    const { owner, one, admin, bob, artifact, time } = await copiedMember()
    await admin.write('before')
    const [before] = [...admin.ns.held.tips()].filter(({ author }) => equalBytes(author, admin.id))
    const artifacts = [artifact, await admin.write('another'), await admin.write('a third')].sort(Buffer.compare)
    const [first] = artifacts as [Uint8Array]
    await one.pull(admin)
    // By who has heard of no share: what is under fresh keys is lacking.
    for (const each of artifacts) {
      await admin.ns.sharing.share({ artifact: each, audience: [agentOf(owner)] })
      await admin.ns.sharing.unshare({ artifact: each, audience: [agentOf(owner)] })
      await admin.update(each, 'two', 'report')
    }
    const shares: Share[] = []
    for (const each of artifacts)
      shares.push(...(await one.ns.sharing.share({ artifact: each, audience: [agentOf(bob)] })))
    await owner.pull(one)
    await owner.open()
    await owner.pull(admin)
    const version = (await owner.ns.catalog.get(first))?.entry
    const damaged = { share: shares[0]?.entry, version, 'entry before a version': before?.hash }[what]
    await damage(owner, damaged as Uint8Array)
    await owner.ns.healer.run()
    // What its author knew is waited for no longer.
    time.nowMs += epochSettleMs + 1
    await owner.ns.healer.run()
    for (const from of [admin, owner]) await bob.pull(from)
    await hold(bob, shares)
    for (const each of artifacts.slice(1)) expect((await readable(bob, each))[2]).toBe('two')
  },
)

test('who shares with a group of which more comes than is written down keeps no key from others', async () => {
  const { owner, one, admin, bob, artifact, renewKey, time } = await sharedWithMany(1)
  const group = await createGroup(200, time, [admin])
  await recordGroup(admin, group.owner)
  const audience = [agentOf(bob), groupOf(group.owner)]
  const shares = await admin.ns.sharing.share({ artifact, audience })
  await one.pull(admin)
  for (let count = 0; count < 20; count += 1) {
    await group.owner.ns.members.rotate()
    await recordGroup(one, group.owner)
  }
  await renewKey(owner, 'by who has not heard of that')
  await one.pull(owner)
  expect(await one.ns.healer.run()).toBe(1)
  expect(one.ns.healer.isPutOff).toBe(true)
  await bob.pull(one)
  await hold(bob, shares)
  expect(await readable(bob, artifact)).toEqual({ 1: 'one', 2: 'by who has not heard of that' })
})

test('what could not be written is put off', async () => {
  const { owner, one, admin, bob, artifact, renewKey } = await sharedWithMany(1)
  await admin.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
  await renewKey(owner, 'by who has not heard of that')
  for (const from of [owner, admin]) await one.pull(from)
  const { batch } = one.store
  one.store.batch = async () => {
    throw new ArtifactHubError('STORAGE_FAILED', 'the disk is full')
  }
  await expect(one.ns.healer.run()).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
  expect(one.ns.healer.isPutOff).toBe(true)
  one.store.batch = batch
  expect(await one.ns.healer.run()).toBe(1)
  expect(one.ns.healer.isPutOff).toBe(false)
})

test.each([0, 1])(
  'a key that two gave is opened by what one of them wrote where the other’s is damaged (%i)',
  async (which) => {
    const { owner, one, admin, writer, bob, artifact, renewKey } = await sharedWithMany(1)
    const late = await admin.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
    await renewKey(owner, 'by who has not heard of that')
    const given: Uint8Array[] = []
    for (const node of [one, writer]) {
      for (const from of [owner, admin]) await node.pull(from)
      node.ns.subscribe(({ appended, entries }) => {
        if (appended > 0) given.push(...[...entries].map(({ hash }) => hash))
      })
      expect(await node.ns.healer.run()).toBe(1)
    }
    for (const from of [one, writer]) await bob.pull(from)
    await damage(bob, given.sort(Buffer.compare)[which] as Uint8Array)
    await hold(bob, late)
    expect(await readable(bob, artifact)).toEqual({ 1: 'one', 2: 'by who has not heard of that' })
  },
)
