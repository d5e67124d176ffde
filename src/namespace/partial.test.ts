import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { bytesText, toHex } from '../encoding/index.ts'
import { decodeUnverifiedEntry, encodeEntry } from '../log/index.ts'
import { differences } from './derived.test-helper.ts'
import { FollowedArtifacts, Namespace } from './index.ts'
import { shareWith } from './partial-log.test-helper.ts'

/** An owner and a writer of a namespace, and one who is no member and follows single artifacts. */
async function setUp() {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const writer = await new NamespaceNode(2, time).join(owner)
  await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
  await converge(owner, writer)
  const outside = new NamespaceNode(3, time)
  return { time, owner, writer, outside }
}

async function follow({ env }: NamespaceNode, from: NamespaceNode, ...artifacts: Uint8Array[]): Promise<Namespace> {
  const partial = new FollowedArtifacts()
  for (const artifact of artifacts) partial.set(artifact, 0)
  const genesis = (await from.ns.held.bytes(from.ns.id)) as Uint8Array
  return await Namespace.join(env, from.ns.id, genesis, () => [], partial)
}

/** What a member gives to whoever follows an artifact. */
async function given(
  { ns }: NamespaceNode,
  artifact: Uint8Array,
  { after = 0, share }: { after?: number; share?: Uint8Array } = {},
): Promise<Uint8Array[]> {
  const auth = await Array.fromAsync(ns.held.authEntries(), ({ bytes }) => bytes)
  return [
    ...auth,
    ...(await Array.fromAsync(ns.held.artifactEntries(artifact, { after, share }), ({ bytes }) => bytes)),
  ]
}

async function read(node: NamespaceNode, ns: Namespace, artifact: Uint8Array, version?: number) {
  const record = await ns.catalog.get(artifact, version)
  if (record === undefined) return undefined
  await ns.artifactKeys.open(artifact, record.root.keyId)
  return { name: record.state.name, holder: toHex(node.id).slice(0, 4) }
}

describe('a log of which one artifact is followed', () => {
  test('shows that one and nothing else, and is the same when opened anew', async () => {
    const { owner, writer, outside } = await setUp()
    const wanted = await owner.write('wanted')
    const other = await owner.write('other')
    await converge(owner, writer)
    await writer.update(wanted, 'second')
    await converge(owner, writer)
    const share = await shareWith(owner, wanted, outside.id)
    await shareWith(owner, wanted, new NamespaceNode(9, new TestTime()).id)
    const ns = await follow(outside, owner, wanted)
    await ns.holdCapabilities([{ artifact: wanted, jti: share, groups: [] }])
    const received = await ns.receive(await given(owner, wanted, { share }))
    expect(received.unlinked).toEqual([])
    expect(received.refused).toEqual([])
    expect(await read(outside, ns, wanted)).toMatchObject({ name: 'second' })
    expect(await read(outside, ns, wanted, 1)).toMatchObject({ name: 'wanted' })
    expect(await ns.catalog.get(other)).toBeUndefined()
    expect((await ns.catalog.counts()).versions).toBe(2)
    expect(ns.roleOf(writer.id)).toBe('writer')
    expect(await differences(ns)).toEqual([])
    await ns.close()
    const partial = new FollowedArtifacts()
    partial.set(wanted, 0)
    const again = await Namespace.open(outside.env, ns.id, partial)
    await again.holdCapabilities([{ artifact: wanted, jti: share, groups: [] }])
    expect(await read(outside, again, wanted)).toMatchObject({ name: 'second' })
    expect(await again.held.authIds()).toEqual(await owner.ns.held.authIds())
    const named = await Array.fromAsync(again.held.artifactEntries(wanted, { share }), ({ hash }) => toHex(hash))
    const given2 = await Array.fromAsync(owner.ns.held.artifactEntries(wanted, { share }), ({ hash }) => toHex(hash))
    expect(named.sort()).toEqual(given2.sort())
    await owner.update(wanted, 'third')
    await again.receive(await given(owner, wanted, { share }))
    expect(await read(outside, again, wanted)).toMatchObject({ name: 'third' })
    expect(await differences(again)).toEqual([])
  })

  test('opens what is on its way to the disk when the capability for it comes', async () => {
    const { owner, outside } = await setUp()
    const wanted = await owner.write('wanted')
    const share = await shareWith(owner, wanted, outside.id)
    const ns = await follow(outside, owner, wanted)
    const { store } = outside
    const { batch } = store
    const [isWriting, mayWrite] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    store.batch = async (...changes) => {
      isWriting.resolve()
      await mayWrite.promise
      await batch.apply(store, changes)
    }
    const receiving = ns.receive(await given(owner, wanted, { share }))
    await isWriting.promise
    const holding = ns.holdCapabilities([{ artifact: wanted, jti: share, groups: [] }])
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    mayWrite.resolve()
    await Promise.all([receiving, holding])
    expect(await read(outside, ns, wanted)).toMatchObject({ name: 'wanted' })
  })

  test('takes nothing of other artifacts, and nothing is written into it', async () => {
    const { owner, outside } = await setUp()
    const wanted = await owner.write('wanted')
    const other = await owner.write('other')
    await owner.ns.members.grant({ agent: outside.id, role: 'writer' })
    const ns = await follow(outside, owner, wanted)
    await ns.receive(await given(owner, wanted))
    const entries = ns.totals.entries
    const foreign = await Array.fromAsync(owner.ns.held.artifactEntries(other), ({ bytes }) => bytes)
    const { refused, stored } = await ns.receive(foreign)
    expect(stored).toBe(0)
    expect(refused).toMatchObject([{ code: 'void' }])
    expect(ns.totals.entries).toBe(entries)
    expect(ns.roleOf(outside.id)).toBe('writer')
    const writing = ns.commit(async (tx) => tx.nextPlace)
    await expect(writing).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
  })

  test('has of auth entries no keys, and of versions that were not shared nothing secret', async () => {
    const { owner, writer, outside } = await setUp()
    const wanted = await owner.write('first')
    await owner.update(wanted, 'second')
    const share = await shareWith(owner, wanted, outside.id)
    const entries = (await given(owner, wanted, { after: 1, share })).map((bytes) =>
      decodeUnverifiedEntry(bytes, { partial: true }),
    )
    for (const { auth, keys } of entries) if (auth !== undefined) expect(keys).toBeUndefined()
    const [first, second] = [1, 2].map((gen) =>
      entries.find(({ header }) => header.kind === 'put' && header.data?.gen === gen),
    )
    expect(first).toMatchObject({ header: { data: { gen: 1 } }, body: undefined, leaf: undefined, keys: undefined })
    expect(second?.body).toBeDefined()
    const ns = await follow(outside, owner, wanted)
    ns.partial?.set(wanted, 1)
    await ns.holdCapabilities([{ artifact: wanted, jti: share, groups: [] }])
    await ns.receive(entries.map(encodeEntry))
    expect(await ns.catalog.get(wanted, 1)).toBeUndefined()
    expect(await read(outside, ns, wanted)).toMatchObject({ name: 'second' })
    // What is not for this agent is not asked for.
    expect(await Array.fromAsync(ns.held.incomplete())).toEqual([])
    expect(await differences(ns)).toEqual([])
    // Somebody shares the rest as well: what was held in part is made whole, keys too.
    ns.partial?.set(wanted, 0)
    expect(await Array.fromAsync(ns.held.incomplete())).toEqual([first?.hash])
    await ns.receive(await given(owner, wanted, { share }))
    expect(await read(outside, ns, wanted, 1)).toMatchObject({ name: 'first' })
    expect(await differences(ns)).toEqual([])
    expect(writer.ns.closed).toBe(false)
  })

  test('whose tables are made again before anybody says what is followed has all of it, versions from before a share too', async () => {
    const { owner, outside } = await setUp()
    const wanted = await owner.write('first')
    const audience = [{ kind: 'agent' as const, id: outside.id }]
    const [share] = await owner.ns.sharing.share({ artifact: wanted, audience, fromNow: true })
    const jti = share?.claims.jti ?? expect.fail('there is a share')
    const ns = await follow(outside, owner, wanted)
    ns.partial?.set(wanted, 1)
    await ns.receive(await given(owner, wanted, { after: 1, share: jti }))
    await ns.close()
    // As a crash leaves it that cuts off the making.
    await outside.store.batch([{ type: 'put', key: ns.keys.key('rebuilding'), value: Uint8Array.of(1) }], {
      sync: true,
    })
    const partial = new FollowedArtifacts()
    const again = await Namespace.open(outside.env, ns.id, partial)
    partial.set(wanted, 1)
    await again.holdCapabilities([{ artifact: wanted, jti, groups: [] }])
    await owner.update(wanted, 'second')
    await again.receive(await given(owner, wanted, { after: 1, share: jti }))
    expect(await read(outside, again, wanted)).toMatchObject({ name: 'second' })
    expect(await differences(again)).toEqual([])
  })

  test('is told what a log of a member takes for incomplete, and blames nobody for', async () => {
    const { owner, writer, outside } = await setUp()
    const wanted = await owner.write('wanted')
    await owner.ns.members.grant({ agent: outside.id, role: 'reader' })
    await outside.join(owner)
    await outside.pull(owner)
    // It followed the artifact before: whoever has not heard of it as a member goes on telling it as a follower.
    await owner.ns.members.rotate()
    const [bare] = (await given(owner, wanted)).filter((bytes) => {
      const { header, keys } = decodeUnverifiedEntry(bytes, { partial: true })
      return header.kind === 'rotate' && header.seq > 1 && keys === undefined
    })
    const told = await outside.ns.receive([bare ?? expect.fail('there is a rotate')])
    expect(told).toMatchObject({ stored: 0, refused: [{ code: 'void' }] })
    expect((await outside.pull(owner)).stored).toBe(1)
    expect(writer.ns.closed).toBe(false)
  })

  test('comes to one state in whatever order and portions the entries come', async () => {
    const { time, owner, writer } = await setUp()
    const wanted = await owner.write('a')
    await converge(owner, writer)
    await writer.update(wanted, 'b')
    await owner.update(wanted, 'c')
    await converge(owner, writer)
    await owner.update(wanted, 'd')
    await owner.ns.members.revoke({ agent: writer.id })
    const entries = await given(owner, wanted)
    let seed = 100
    const stateOf = async (order: readonly Uint8Array[], portion: number) => {
      const node = new NamespaceNode(seed++, time)
      const ns = await follow(node, owner, wanted)
      // What could not be linked yet comes again, as the next round brings it.
      for (let left = [...order]; left.length > 0; ) {
        const open: Uint8Array[] = []
        for (let at = 0; at < left.length; at += portion) {
          const some = left.slice(at, at + portion)
          const names = new Set((await ns.receive(some)).unlinked.map(bytesText))
          const hashOf = (bytes: Uint8Array) => decodeUnverifiedEntry(bytes, { partial: true }).hash
          open.push(...some.filter((bytes) => names.has(bytesText(hashOf(bytes)))))
        }
        expect(open.length).toBeLessThan(left.length)
        left = open
      }
      expect(await differences(ns)).toEqual([])
      const rowsOf = async (table: 'catalog' | 'tips') =>
        (await Array.fromAsync(node.store.entries(ns.keys.all(table)))).map((row) => row.map(toHex))
      const auth = (await ns.held.authIds()).ids.map(toHex)
      return { catalog: await rowsOf('catalog'), tips: await rowsOf('tips'), auth }
    }
    const expected = await stateOf(entries, entries.length)
    const places = entries.map((_, at) => at)
    const orders = fc.shuffledSubarray(places, { minLength: places.length })
    await fc.assert(
      fc.asyncProperty(orders, fc.integer({ min: 1, max: 5 }), async (order, portion) => {
        const inOrder = order.map((at) => entries[at] as Uint8Array)
        expect(await stateOf(inOrder, portion)).toEqual(expected)
      }),
      { numRuns: 20 },
    )
  })

  test('counts nothing beyond a fork that it was shown, of whatever artifact the branches are', async () => {
    const { time, owner, writer, outside } = await setUp()
    const wanted = await owner.write('first')
    await converge(owner, writer)
    await writer.update(wanted, 'second')
    const copy = await new NamespaceNode(2, time, { copyOf: writer }).open(owner.ns.id)
    await writer.write('one branch')
    await writer.update(wanted, 'third')
    await converge(owner, writer)
    const share = await shareWith(owner, wanted, outside.id)
    const ns = await follow(outside, owner, wanted)
    await ns.holdCapabilities([{ artifact: wanted, jti: share, groups: [] }])
    await ns.receive(await given(owner, wanted, { share }))
    expect((await ns.catalog.counts()).versions).toBe(3)
    // The copy of that machine wrote something else in place of "one branch".
    await copy.write('the other branch')
    await converge(owner, copy)
    expect(owner.ns.membership.forks).toHaveLength(1)
    const proof = (await Array.fromAsync(owner.ns.held.authEntries())).filter(
      ({ bytes }) => decodeUnverifiedEntry(bytes, { partial: true }).header.data !== undefined,
    )
    expect(proof).toHaveLength(2)
    for (const { bytes } of proof) {
      expect(decodeUnverifiedEntry(bytes, { partial: true })).toMatchObject({ body: undefined, leaf: undefined })
    }
    await ns.receive(await given(owner, wanted))
    expect(ns.membership.forks).toHaveLength(1)
    expect(await read(outside, ns, wanted)).toMatchObject({ name: 'second' })
    expect((await ns.catalog.counts()).versions).toBe(2)
    expect(await ns.held.authIds()).toEqual(await owner.ns.held.authIds())
    expect(await differences(ns)).toEqual([])
  })
})

test('no more is taken of artifacts than a follower has room for, and who may do what all the same', async () => {
  const { owner, writer, outside } = await setUp()
  const wanted = await owner.write('wanted')
  const share = await shareWith(owner, wanted, outside.id)
  const partial = new FollowedArtifacts({ maxBytes: 6_000 })
  partial.set(wanted, 0)
  const genesis = (await owner.ns.held.bytes(owner.ns.id)) as Uint8Array
  const ns = await Namespace.join(outside.env, owner.ns.id, genesis, () => [], partial)
  await ns.holdCapabilities([{ artifact: wanted, jti: share, groups: [] }])
  await ns.receive(await given(owner, wanted, { share }), { from: owner.id })
  expect((await ns.catalog.get(wanted))?.state.name).toBe('wanted')
  for (let at = 0; at < 20; at++) await owner.update(wanted, `version ${at}`)
  await owner.ns.members.revoke({ agent: writer.id })
  const received = await ns.receive(await given(owner, wanted, { share }), { from: owner.id })
  expect(received.refused.map(({ code }) => code)).toContain('void')
  expect(ns.totals.entryBytes).toBeLessThan(10_000)
  expect(ns.roleOf(writer.id)).toBe(undefined)
})

test('a follower has room for a gigabyte of a namespace', () => {
  expect(new FollowedArtifacts().maxBytes).toBe(1024 ** 3)
})
