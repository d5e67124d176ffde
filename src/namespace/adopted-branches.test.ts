import { expect, test } from 'vitest'
import { converge, NamespaceNode } from '../../test/support/namespace-nodes.ts'
import { equalBytes, toHex } from '../encoding/index.ts'
import { maxStrayReads } from '../limits.ts'
import { decodeUnverifiedEntry, publicBytes } from '../log/index.ts'
import { differences } from './derived.test-helper.ts'
import { Namespace } from './index.ts'
import { follow, ownerAndWriter, shareWith, tell } from './partial-log.test-helper.ts'

/**
 * An owner, a writer whose machine was copied, and one who follows an artifact and got an update from the copy. The writer wrote something else at that
 * place meanwhile, and two more entries, the last one of that artifact.
 */
async function setUp() {
  const { time, owner, writer, wanted } = await ownerAndWriter()
  await writer.write('before')
  await converge(owner, writer)
  const copy = await new NamespaceNode(2, time, { copyOf: writer }).open(owner.ns.id)
  const outside = new NamespaceNode(9, time)
  const jti = await shareWith(owner, wanted, outside.id)
  const { ns, partial } = await follow(outside, owner, { wanted, jti })
  await tell({ ns, wanted, jti }, owner)
  await copy.update(wanted, 'lost')
  const lost = tipOf(copy)
  await tell({ ns, wanted, jti }, copy)
  expect(await namesIn(ns, wanted)).toEqual(['lost', 'wanted'])
  await writer.write('beside')
  const beside = tipOf(writer)
  await writer.write('beside too')
  await writer.update(wanted, 'kept')
  const kept = tipOf(writer)
  await converge(owner, writer)
  await tell({ ns, wanted, jti }, owner)
  return { time, owner, writer, copy, wanted, jti, ns, outside, partial, lost, beside, kept }
}

type Setting = Pick<Awaited<ReturnType<typeof setUp>>, 'wanted' | 'jti' | 'ns'>

/** The newest entry that a node wrote as a writer. */
function tipOf({ ns, id }: NamespaceNode): Uint8Array {
  const own = [...ns.held.tips()].filter(({ author }) => equalBytes(author, id))
  return own.at(-1)?.hash ?? expect.fail('it wrote something')
}

async function namesIn(ns: Namespace, artifact: Uint8Array): Promise<string[]> {
  const { items } = await ns.catalog.listVersions(artifact)
  return items.map(({ state }) => state.name).sort()
}

test('what stands where an adopt names another entry counts no more, though that one is of an artifact that is not followed, and what comes after does', async () => {
  const setting = await setUp()
  const { owner, copy, wanted, jti, ns, outside, partial, beside } = setting
  expect(await namesIn(ns, wanted)).toEqual(['kept', 'lost', 'wanted'])
  await converge(owner, copy)
  await owner.ns.members.adopt({ hash: beside })
  await tell(setting, owner)
  expect(await namesIn(owner.ns, wanted)).toEqual(['kept', 'wanted'])
  expect(await namesIn(ns, wanted)).toEqual(['kept', 'wanted'])
  expect(await ns.held.has(beside)).toBe(false)
  expect(await differences(ns)).toEqual([])
  await ns.close()
  const again = await Namespace.open(outside.env, ns.id, partial)
  await again.holdCapabilities([{ artifact: wanted, jti, groups: [] }])
  expect(await namesIn(again, wanted)).toEqual(['kept', 'wanted'])
  expect(await differences(again)).toEqual([])
})

test('an adopt is told of first, or in one batch with what it rules out', async () => {
  const { time, owner, copy, wanted, jti, beside, lost } = await setUp()
  await converge(owner, copy)
  await owner.ns.members.adopt({ hash: beside })
  const auth = await Array.fromAsync(owner.ns.held.authEntries(), ({ bytes }) => bytes)
  const rest = await Array.fromAsync(owner.ns.held.artifactEntries(wanted, { share: jti }), ({ bytes }) => bytes)
  const stray = (await copy.ns.held.bytes(lost)) as Uint8Array
  for (const portions of [
    [[...auth, ...rest, stray]],
    [auth, [stray], rest],
    [[...rest, stray, ...auth], auth, rest],
  ]) {
    const { ns } = await follow(new NamespaceNode(9, time), owner, { wanted, jti })
    for (const portion of portions) await ns.receive(portion, { from: copy.id })
    expect(await namesIn(ns, wanted)).toEqual(['kept', 'wanted'])
    expect(await differences(ns)).toEqual([])
  }
})

/** Ids of what a follower has of the artifact, and a member does not tell it of. */
async function straysOf({ ns, wanted, jti }: Setting, from: NamespaceNode): Promise<Uint8Array[]> {
  const told = new Set<string>()
  for await (const { hash } of from.ns.held.artifactEntries(wanted, { share: jti })) told.add(toHex(hash))
  const held = await Array.fromAsync(ns.held.artifactEntries(wanted, { share: jti }), ({ hash }) => hash)
  return held.filter((hash) => !told.has(toHex(hash))).map((hash) => hash.slice(0, 16))
}

test('what is below the entry that an adopt names, on another branch, counts no more once links are given that show it', async () => {
  const setting = await setUp()
  const { owner, copy, wanted, ns, kept, lost } = setting
  await converge(owner, copy)
  await owner.ns.members.adopt({ hash: kept })
  await tell(setting, owner)
  expect(await namesIn(owner.ns, wanted)).toEqual(['kept', 'wanted'])
  const strays = await straysOf(setting, owner)
  expect(strays).toEqual([lost.slice(0, 16)])
  const links = await Array.fromAsync(owner.ns.held.strayLinks(strays))
  for (const bytes of links) {
    expect(decodeUnverifiedEntry(bytes, { partial: true })).toMatchObject({ body: undefined, leaf: undefined })
  }
  const { refused } = await ns.receive(links, { from: owner.id })
  expect(refused).toEqual([])
  expect(await namesIn(ns, wanted)).toEqual(['kept', 'wanted'])
  expect(await straysOf(setting, owner)).toEqual([])
  expect(await differences(ns)).toEqual([])
})

test('what goes on from another entry than the one that an adopt names counts no more once links are given that show it', async () => {
  const setting = await setUp()
  const { owner, copy, wanted, ns, beside } = setting
  for (let more = 0; more < 3; more++) await copy.write(`lost beside ${more}`)
  await copy.update(wanted, 'lost too')
  const lostToo = (await copy.ns.held.entry(tipOf(copy))) ?? expect.fail('it was written')
  await tell(setting, copy)
  await converge(owner, copy)
  await owner.ns.members.adopt({ hash: beside })
  await tell(setting, owner)
  expect(ns.membership.counts(lostToo)).toBe(true)
  const strays = [...(await straysOf(setting, owner)), lostToo.hash.slice(0, 16)]
  await ns.receive(await Array.fromAsync(owner.ns.held.strayLinks(strays)), { from: owner.id })
  expect(ns.membership.counts(lostToo)).toBe(false)
  expect(await namesIn(ns, wanted)).toEqual(['kept', 'wanted'])
  expect(await differences(ns)).toEqual([])
})

test('what is below a cut, on another branch, counts no more once links are given that show it', async () => {
  const setting = await setUp()
  const { owner, writer, copy, wanted, ns } = setting
  await owner.ns.members.revoke({ agent: writer.id })
  await converge(owner, copy)
  await tell(setting, owner)
  const strays = await straysOf(setting, owner)
  await ns.receive(await Array.fromAsync(owner.ns.held.strayLinks(strays)), { from: owner.id })
  expect(await namesIn(owner.ns, wanted)).toEqual(['kept', 'wanted'])
  expect(await namesIn(ns, wanted)).toEqual(['kept', 'wanted'])
  expect(await differences(ns)).toEqual([])
})

test('a chain of which nobody has named a branch gives no more headers of other artifacts than those that prove a fork', async () => {
  const setting = await setUp()
  const { owner, ns, kept } = setting
  const headers: Uint8Array[] = []
  for (
    let at = await owner.ns.held.entry(kept);
    at !== undefined;
    at = at.header.previous && (await owner.ns.held.entry(at.header.previous))
  )
    headers.push(publicBytes(at))
  const { entries } = ns.totals
  const { refused } = await ns.receive(headers, { from: owner.id })
  expect(refused.every(({ code }) => code === 'void')).toBe(true)
  expect(refused.length).toBeGreaterThan(1)
  // The one in the place of what the copy wrote.
  expect(ns.totals.entries).toBe(entries + 1)
})

test('no more is read and given to tell branches apart than there is room for, whatever is asked about', async () => {
  const { owner, copy, writer, beside, lost } = await setUp()
  for (let more = 0; more < 40; more++) await copy.write(`lost beside ${more}`)
  const stray = tipOf(copy)
  await converge(owner, copy, writer)
  await owner.ns.members.adopt({ hash: beside })
  const idsOf = (...hashes: Uint8Array[]) => hashes.map((hash) => hash.slice(0, 16))
  expect(await Array.fromAsync(owner.ns.held.strayLinks(idsOf(stray, lost)))).toHaveLength(41)
  const { store } = owner
  const { get } = store
  let reads = 0
  store.get = (key) => {
    reads += 1
    return get.call(store, key)
  }
  const asked = Array.from({ length: 2_000 }, () => stray)
  expect(await Array.fromAsync(owner.ns.held.strayLinks(idsOf(...asked)))).toHaveLength(41)
  // Of each its place, then itself.
  expect(reads).toBeLessThanOrEqual(2 * maxStrayReads)
})
