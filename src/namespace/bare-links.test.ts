import { expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { equalBytes, toHex } from '../encoding/index.ts'
import { publicBytes } from '../log/index.ts'
import { differences } from './derived.test-helper.ts'
import { FollowedArtifacts, Namespace } from './index.ts'
import { tell } from './partial-log.test-helper.ts'

/**
 * An owner; a writer who wrote an artifact and shared it with somebody, by the entry that its removal names; and one who follows another artifact, and was
 * told of the removal.
 */
async function setUp() {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const writer = await new NamespaceNode(2, time).join(owner)
  await owner.ns.grant({ agent: writer.id, role: 'writer' })
  const wanted = await owner.write('wanted')
  await converge(owner, writer)
  const other = await writer.write('other')
  const put = await newestOf(writer)
  await writer.ns.share({ artifact: other, audience: [{ kind: 'agent', id: new NamespaceNode(8, time).id }] })
  const share = await newestOf(writer)
  await converge(owner, writer)
  await owner.ns.revoke({ agent: writer.id })
  const outside = new NamespaceNode(9, time)
  const [given] = await owner.ns.share({ artifact: wanted, audience: [{ kind: 'agent', id: outside.id }] })
  const jti = given?.claims.jti ?? expect.fail('there is a share')
  const partial = new FollowedArtifacts()
  partial.set(wanted, 0)
  const genesis = (await owner.ns.entryBytes(owner.ns.id)) as Uint8Array
  const ns = await Namespace.join(outside.env, owner.ns.id, genesis, () => [], partial)
  await ns.holdCapabilities([{ artifact: wanted, jti, groups: [] }])
  await tell({ ns, wanted, jti }, owner)
  return { owner, outside, partial, ns, wanted, other, jti, put, share }
}

async function newestOf({ ns, id }: NamespaceNode) {
  const tip = [...ns.tips()].filter(({ author }) => equalBytes(author, id)).at(-1)
  return (tip && (await ns.entry(tip.hash))) ?? expect.fail('it wrote something')
}

async function catalogOf({ store }: NamespaceNode, { keys }: Namespace) {
  return (await Array.fromAsync(store.entries(keys.all('catalog')))).map((row) => row.map(toHex))
}

test('links to a share of an artifact that is not followed say nothing of that, in whatever order they come', async () => {
  const tables = []
  for (const order of ['together', 'one after the other'] as const) {
    const { owner, outside, ns, put, share, wanted } = await setUp()
    const links = [share, put].map(publicBytes)
    for (const batch of order === 'together' ? [links] : links.map((link) => [link]))
      expect((await ns.receive(batch, { from: owner.id })).stored).toBe(batch.length)
    const { items } = await ns.catalog.listVersions(wanted)
    expect(items.map(({ state }) => state.name)).toEqual(['wanted'])
    expect((await ns.catalog.counts()).versions).toBe(1)
    expect(await differences(ns)).toEqual([])
    tables.push(await catalogOf(outside, ns))
  }
  expect(tables[0]).toEqual(tables[1])
})
