import { expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { agentOf } from '../../test/support/sharing-nodes.ts'
import { equalBytes, toHex } from '../encoding/index.ts'
import { encodeEntry, publicBytes } from '../log/index.ts'
import { differences } from './derived.test-helper.ts'
import { FollowedArtifacts, Namespace } from './index.ts'
import { follow, ownerAndWriter, shareWith, tell } from './partial-log.test-helper.ts'

/**
 * An owner; a writer who wrote an artifact and shared it with somebody, or deleted it, by the entry that its removal names; and one with whom that was shared, and who has heard so far
 * of the share of another artifact, and of the removal.
 */
async function setUp({ isDeleted = false } = {}) {
  const { time, owner, writer, wanted } = await ownerAndWriter()
  const other = await writer.write('other')
  const put = await newestOf(writer)
  await converge(owner, writer)
  const outside = new NamespaceNode(9, time)
  const late = await shareWith(owner, other, outside.id)
  if (isDeleted) await writer.delete(other)
  else await shareWith(writer, other, new NamespaceNode(8, time).id)
  const last = await newestOf(writer)
  await converge(owner, writer)
  await owner.ns.members.revoke({ agent: writer.id })
  const jti = await shareWith(owner, wanted, outside.id)
  const { ns } = await follow(outside, owner, { wanted, jti })
  await tell({ ns, wanted, jti }, owner)
  return { owner, outside, ns, wanted, other, put, last, late }
}

async function shareEntryOf({ ns }: NamespaceNode, artifact: Uint8Array, jti: Uint8Array): Promise<Uint8Array> {
  const [hash] = await ns.shares.entriesOf(artifact, jti)
  return (hash && (await ns.held.bytes(hash))) ?? expect.fail('there is such an entry')
}

async function newestOf({ ns, id }: NamespaceNode) {
  const tip = [...ns.held.tips()].filter(({ author }) => equalBytes(author, id)).at(-1)
  return (tip && (await ns.held.entry(tip.hash))) ?? expect.fail('it wrote something')
}

async function namesIn(ns: Namespace, artifact: Uint8Array): Promise<string[]> {
  const { items } = await ns.catalog.listVersions(artifact)
  return items.map(({ state }) => state.name).sort()
}

async function catalogOf({ store }: NamespaceNode, { keys }: Namespace) {
  return (await Array.fromAsync(store.entries(keys.all('catalog')))).map((row) => row.map(toHex))
}

test('links to a share of an artifact that is not followed say nothing of that, in whatever order they come', async () => {
  const tables = []
  for (const order of ['together', 'one after the other'] as const) {
    const { owner, outside, ns, put, last, wanted } = await setUp()
    const links = [last, put].map(publicBytes)
    for (const batch of order === 'together' ? [links] : links.map((link) => [link]))
      expect((await ns.receive(batch, { from: owner.id })).stored).toBe(batch.length)
    expect(await namesIn(ns, wanted)).toEqual(['wanted'])
    expect((await ns.catalog.counts()).versions).toBe(1)
    expect(await differences(ns)).toEqual([])
    tables.push(await catalogOf(outside, ns))
  }
  expect(tables[0]).toEqual(tables[1])
})

test('what was held of an artifact to tell branches apart is its own once it is shared, and made whole', async () => {
  for (const first of ['its share', 'that version'] as const) {
    const { owner, ns, put, last, other, late } = await setUp()
    await ns.receive([last, put].map(publicBytes), { from: owner.id })
    await owner.update(other, 'second')
    ns.partial?.set(other, 0)
    await ns.holdCapabilities([{ artifact: other, jti: late, groups: [] }])
    const isShare = first === 'its share'
    await ns.receive([isShare ? await shareEntryOf(owner, other, late) : encodeEntry(put)], { from: owner.id })
    expect(await Array.fromAsync(ns.held.incomplete())).toEqual(isShare ? [put.hash] : [])
    expect(await Array.fromAsync(ns.catalog.entriesOf(other))).toHaveLength(1)
    expect(await differences(ns)).toEqual([])
    await tell({ ns, wanted: other, jti: late }, owner)
    expect(await namesIn(ns, other)).toEqual(['other', 'second'])
    expect(await Array.fromAsync(ns.held.incomplete())).toEqual([])
    expect(await differences(ns)).toEqual([])
  }
})

test('versions from before a share say nothing while the share is not here, also if nobody follows it any more, and are there once it is', async () => {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const wanted = await owner.write('wanted')
  await owner.update(wanted, 'second')
  const outside = new NamespaceNode(9, time)
  const [given] = await owner.ns.sharing.share({ artifact: wanted, audience: [agentOf(outside)], fromNow: true })
  const jti = given?.claims.jti ?? expect.fail('there is a share')
  await owner.delete(wanted)
  const { ns } = await follow(outside, owner, { wanted, jti })
  ns.partial?.set(wanted, 2)
  for await (const { bytes } of owner.ns.held.artifactEntries(wanted, { after: 2 })) await ns.receive([bytes])
  expect(ns.totals.entries).toBe(4)
  expect(await differences(ns)).toEqual([])
  await ns.close()
  const again = await Namespace.open(outside.env, ns.id, new FollowedArtifacts())
  expect(await differences(again)).toEqual([])
  again.partial?.set(wanted, 2)
  expect(await differences(again)).toEqual([])
  await again.receive([await shareEntryOf(owner, wanted, jti)])
  expect(await Array.fromAsync(again.catalog.entriesOf(wanted))).toHaveLength(3)
  expect(await differences(again)).toEqual([])
})

test('what ended a version ends it too when it was held before the artifact was followed', async () => {
  const { owner, ns, last, other, late } = await setUp({ isDeleted: true })
  expect((await ns.receive([publicBytes(last)], { from: owner.id })).stored).toBe(1)
  ns.partial?.set(other, 0)
  await ns.holdCapabilities([{ artifact: other, jti: late, groups: [] }])
  expect(await differences(ns)).toEqual([])
  await tell({ ns, wanted: other, jti: late }, owner)
  expect(await namesIn(owner.ns, other)).toEqual([])
  expect(await namesIn(ns, other)).toEqual([])
  expect(await differences(ns)).toEqual([])
})

test('a share that came first as one of two entries that prove a fork is made whole, and what its keys are for is read', async () => {
  const { time, owner, writer, wanted } = await ownerAndWriter()
  await writer.write('before')
  await converge(owner, writer)
  const copy = await new NamespaceNode(2, time, { copyOf: writer }).open(owner.ns.id)
  const outside = new NamespaceNode(9, time)
  const jti = await shareWith(writer, wanted, outside.id)
  await copy.write('in its place')
  await converge(owner, writer, copy)
  const { ns } = await follow(outside, owner, { wanted, jti })
  // Told of one by one, the other branch may be refused at first, for nothing is there that it stands beside.
  for (let round = 0; round < 2; round++) await tell({ ns, wanted, jti }, owner)
  expect(ns.membership.forks).toHaveLength(1)
  expect(await namesIn(ns, wanted)).toEqual(['wanted'])
  expect(await differences(ns)).toEqual([])
})
