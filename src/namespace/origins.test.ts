import { describe, expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { equalBytes } from '../encoding/index.ts'
import { differences } from './derived.test-helper.ts'
import { FollowedArtifacts, Namespace } from './index.ts'
import { follow, shareWith, tell } from './partial-log.test-helper.ts'

/** An owner, two writers, one who follows an artifact, and another machine of the first writer, which has heard of nothing since. */
async function setUp({ genuine }: { genuine?: string } = {}) {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const writer = await new NamespaceNode(2, time).join(owner)
  const other = await new NamespaceNode(3, time).join(owner)
  await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
  await owner.ns.members.grant({ agent: other.id, role: 'writer' })
  const wanted = await owner.write('wanted')
  await converge(owner, writer, other)
  const copy = await new NamespaceNode(2, time, { copyOf: writer }).open(writer.ns.id)
  await writer.write('beside 1')
  await writer.write('beside 2')
  await converge(owner, writer, other)
  const outside = new NamespaceNode(9, time)
  const jti = await shareWith(owner, wanted, outside.id)
  const { ns, partial } = await follow(outside, owner, { wanted, jti })
  await converge(owner, writer, other)
  if (genuine !== undefined) await writer.update(wanted, genuine)
  await writer.write('beside 3')
  await converge(owner, writer, other)
  return { time, owner, writer, other, copy, wanted, jti, ns, outside, partial }
}

type Setting = Pick<
  Awaited<ReturnType<typeof setUp>>,
  'time' | 'owner' | 'copy' | 'wanted' | 'jti' | 'ns' | 'outside' | 'partial'
>

/** What the writer signs on its other machine, at a place below its cut. */
async function forge({ copy, wanted }: Setting): Promise<Uint8Array> {
  await copy.update(wanted, 'forged')
  const tip = [...copy.ns.held.tips()].find(({ author }) => equalBytes(author, copy.id))
  return (await copy.ns.held.bytes(tip?.hash as Uint8Array)) as Uint8Array
}

async function current(ns: Namespace, wanted: Uint8Array): Promise<string | undefined> {
  return (await ns.catalog.get(wanted))?.state.name
}

async function ids({ ns, owner, wanted, jti }: Setting) {
  const of = async (log: Namespace) =>
    (
      await Array.fromAsync(log.held.artifactEntries(wanted, { share: jti }), ({ hash }) =>
        Buffer.from(hash).toString('hex'),
      )
    )
      .sort()
      .join()
  return { here: await of(ns), there: await of(owner.ns) }
}

describe('what a former writer signs below its cut', () => {
  test('is not taken from it once its removal is known, nor is more of who may do what', async () => {
    const setting = await setUp()
    const { owner, writer, ns, wanted } = setting
    await owner.ns.members.revoke({ agent: writer.id })
    await tell(setting, owner)
    const forged = await forge(setting)
    expect(await ns.receive([forged], { from: writer.id })).toMatchObject({ stored: 0, refused: [{ code: 'void' }] })
    expect(await ns.receive([forged], { from: new NamespaceNode(50, new TestTime()).id })).toMatchObject({ stored: 0 })
    expect(await current(ns, wanted)).toBe('wanted')
    expect(await differences(ns)).toEqual([])
  })

  test('is gone as soon as the removal is known, if it brought it before', async () => {
    const setting = await setUp()
    const { owner, writer, ns, wanted, jti, outside, partial } = setting
    await tell(setting, writer)
    await ns.receive([await forge(setting)], { from: writer.id })
    expect(await current(ns, wanted)).toBe('forged')
    const told: { removed: number; artifacts: number }[] = []
    ns.subscribe(({ removed, artifacts }) => told.push({ removed, artifacts: artifacts.length }))
    await owner.ns.members.revoke({ agent: writer.id })
    await tell(setting, owner)
    expect(told).toContainEqual({ removed: 1, artifacts: 1 })
    expect(await current(ns, wanted)).toBe('wanted')
    const { here, there } = await ids(setting)
    expect(here).toBe(there)
    expect(await differences(ns)).toEqual([])
    await ns.close()
    const again = await Namespace.open(outside.env, ns.id, partial)
    await again.holdCapabilities([{ artifact: wanted, jti, groups: [] }])
    expect(await current(again, wanted)).toBe('wanted')
    expect(await differences(again)).toEqual([])
  })

  test('closes what only its share opened, before the next start and after', async () => {
    const { owner, writer, other, outside, wanted } = await setUp()
    const jti = await shareWith(writer, wanted, outside.id)
    const node = new NamespaceNode(9, new TestTime())
    const { ns, partial } = await follow(node, owner, { wanted, jti })
    await tell({ ns, wanted, jti }, writer)
    expect(await current(ns, wanted)).toBe('wanted')
    await writer.write('after it')
    await converge(owner, writer, other)
    await owner.ns.members.revoke({ agent: writer.id })
    // Nobody serves it by a share of somebody who was removed: the share, which no cut names, does not come again.
    for await (const { bytes } of owner.ns.held.authEntries()) await ns.receive([bytes], { from: owner.id })
    expect(await current(ns, wanted)).toBeUndefined()
    expect(await differences(ns)).toEqual([])
    await ns.close()
    const again = await Namespace.open(node.env, ns.id, partial)
    await again.holdCapabilities([{ artifact: wanted, jti, groups: [] }])
    expect(await current(again, wanted)).toBeUndefined()
    expect(await differences(again)).toEqual([])
  })

  test('is gone when the log is opened again, if the node was stopped just as it heard of the removal', async () => {
    const setting = await setUp()
    const { owner, writer, ns, wanted, jti, outside, partial } = setting
    await tell(setting, writer)
    await ns.receive([await forge(setting)], { from: writer.id })
    await owner.ns.members.revoke({ agent: writer.id })
    let stopped: NamespaceNode | undefined
    ns.subscribe(() => {
      if (ns.roleOf(writer.id) === undefined) stopped ??= new NamespaceNode(9, new TestTime(), { copyOf: outside })
    })
    await tell(setting, owner)
    const again = await Namespace.open((stopped ?? expect.fail('it heard of it')).env, ns.id, partial)
    await again.holdCapabilities([{ artifact: wanted, jti, groups: [] }])
    expect(await current(again, wanted)).toBe('wanted')
    expect(await differences(again)).toEqual([])
  })

  test('takes nothing with it that is well, though the log is opened before anybody says what is followed', async () => {
    const setting = await setUp()
    const { owner, writer, ns, wanted, jti, outside } = setting
    await tell(setting, writer)
    await ns.receive([await forge(setting)], { from: writer.id })
    await owner.ns.members.revoke({ agent: writer.id })
    const stopped: NamespaceNode[] = []
    const stop = () => stopped.push(new NamespaceNode(9, new TestTime(), { copyOf: outside }))
    // Just as it hears of the removal, and at each step from there.
    ns.subscribe(() => {
      if (ns.roleOf(writer.id) === undefined) stop()
    })
    const batch = outside.store.batch.bind(outside.store)
    outside.store.batch = async (...changes) => {
      await batch(...changes)
      if (ns.roleOf(writer.id) === undefined) stop()
    }
    await tell(setting, owner)
    expect(stopped.length).toBeGreaterThan(3)
    for (const { env } of stopped) {
      const partial = new FollowedArtifacts()
      const again = await Namespace.open(env, ns.id, partial)
      partial.set(wanted, 0)
      await again.holdCapabilities([{ artifact: wanted, jti, groups: [] }])
      expect(await current(again, wanted)).toBe('wanted')
      expect(await differences(again)).toEqual([])
    }
  })

  test('in the place of what it wrote there before keeps that from nobody', async () => {
    const setting = await setUp({ genuine: 'genuine' })
    const { owner, writer, ns, wanted } = setting
    await tell(setting, writer)
    await ns.receive([await forge(setting)], { from: writer.id })
    await owner.ns.members.revoke({ agent: writer.id })
    // It took away what the writer gave, and asks again: what is well of it comes from the owner.
    await tell(setting, owner)
    await tell(setting, owner)
    expect(await current(ns, wanted)).toBe('genuine')
    const { here, there } = await ids(setting)
    expect(here).toBe(there)
    expect(await differences(ns)).toEqual([])
  })
})

describe('what a former writer signs below its cut, with help', () => {
  test('is not taken from who may only read or store', async () => {
    for (const role of ['reader', 'replica'] as const) {
      const setting = await setUp()
      const { owner, writer, ns, wanted } = setting
      const helper = await new NamespaceNode(4, setting.time).join(owner)
      await owner.ns.members.grant({ agent: helper.id, role })
      await owner.ns.members.revoke({ agent: writer.id })
      await tell(setting, owner)
      const forged = await forge(setting)
      expect(await ns.receive([forged], { from: helper.id })).toMatchObject({ stored: 0, refused: [{ code: 'void' }] })
      expect(await current(ns, wanted)).toBe('wanted')
    }
  })

  test('is gone as soon as the removal is known, if a replica brought it before', async () => {
    const setting = await setUp()
    const { owner, writer, ns, wanted } = setting
    const helper = await new NamespaceNode(4, setting.time).join(owner)
    await owner.ns.members.grant({ agent: helper.id, role: 'replica' })
    await tell(setting, owner)
    await ns.receive([await forge(setting)], { from: helper.id })
    expect(await current(ns, wanted)).toBe('forged')
    await owner.ns.members.revoke({ agent: writer.id })
    await tell(setting, owner)
    expect(await current(ns, wanted)).toBe('wanted')
    const { here, there } = await ids(setting)
    expect(here).toBe(there)
    expect(await differences(ns)).toEqual([])
  })
})

/** An owner, an admin who let a writer write, one who follows, a replica, and another machine of the admin from before. */
async function withAdmin() {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const admin = await new NamespaceNode(2, time).join(owner)
  const writer = await new NamespaceNode(3, time).join(owner)
  const replica = await new NamespaceNode(4, time).join(owner)
  await owner.ns.members.grant({ agent: admin.id, role: 'admin' })
  await owner.ns.members.grant({ agent: replica.id, role: 'replica' })
  const wanted = await owner.write('wanted')
  await converge(owner, admin)
  await admin.write('beside 1')
  await admin.ns.members.grant({ agent: writer.id, role: 'writer' })
  const copy = await new NamespaceNode(2, time, { copyOf: admin }).open(admin.ns.id)
  await admin.write('beside 2')
  await admin.write('beside 3')
  await converge(owner, admin, writer, replica)
  await writer.update(wanted, 'genuine')
  await converge(owner, admin, writer, replica)
  const outside = new NamespaceNode(9, time)
  const [share] = await writer.ns.sharing.share({ artifact: wanted, audience: [{ kind: 'agent', id: outside.id }] })
  const claims = share?.claims ?? expect.fail('there is a share')
  const { ns, partial } = await follow(outside, owner, { wanted, jti: claims.jti })
  await converge(owner, admin, writer, replica)
  return { time, owner, admin, writer, replica, copy, wanted, jti: claims.jti, claims, ns, outside, partial }
}

/** What the former admin's other machine signs: a grant to an agent of its own, and what that one writes. */
async function forgeGrant({ copy, owner, time, wanted }: Awaited<ReturnType<typeof withAdmin>>) {
  const puppet = await new NamespaceNode(66, time).join(owner)
  await copy.ns.members.grant({ agent: puppet.id, role: 'writer' })
  await converge(copy, puppet)
  await puppet.update(wanted, 'forged')
  const grant = puppet.ns.membership.grantsOf(puppet.id)[0]?.hash as Uint8Array
  const tip = [...puppet.ns.held.tips()].find(({ author }) => equalBytes(author, puppet.id))
  const bytes = [grant, tip?.hash as Uint8Array].map(async (hash) => (await puppet.ns.held.bytes(hash)) as Uint8Array)
  return { puppet, forged: await Promise.all(bytes) }
}

describe('what a former admin signs below its cut', () => {
  test('makes nobody a member, whoever but an admin or the owner gives it', async () => {
    const setting = await withAdmin()
    const { owner, admin, writer, replica, ns, wanted } = setting
    await owner.ns.members.revoke({ agent: admin.id })
    await converge(owner, writer, replica)
    await tell(setting, owner)
    expect(await current(ns, wanted)).toBe('genuine')
    const { puppet, forged } = await forgeGrant(setting)
    for (const from of [replica, writer, puppet, admin]) {
      for (const bytes of forged) await ns.receive([bytes], { from: from.id })
      await ns.receive(forged, { from: from.id })
      expect(ns.roleOf(puppet.id)).toBe(undefined)
      expect(await current(ns, wanted)).toBe('genuine')
    }
    expect(await differences(ns)).toEqual([])
  })

  test('makes nobody a member any more once its removal is known, if it came before', async () => {
    for (const giver of ['replica', 'admin'] as const) {
      const setting = await withAdmin()
      const { owner, admin, writer, replica, ns, wanted, outside, partial, jti } = setting
      await tell(setting, setting[giver])
      const { puppet, forged } = await forgeGrant(setting)
      await ns.receive(forged, { from: setting[giver].id })
      expect(ns.roleOf(puppet.id)).toBe('writer')
      expect(await current(ns, wanted)).toBe('forged')
      await owner.ns.members.revoke({ agent: admin.id })
      await converge(owner, writer, replica)
      await tell(setting, replica)
      await tell(setting, replica)
      expect(ns.roleOf(puppet.id)).toBe(undefined)
      expect(ns.roleOf(writer.id)).toBe('writer')
      expect(await current(ns, wanted)).toBe('genuine')
      const { here, there } = await ids(setting)
      expect(here).toBe(there)
      expect(await differences(ns)).toEqual([])
      await ns.close()
      const again = await Namespace.open(outside.env, ns.id, partial)
      await again.holdCapabilities([{ artifact: wanted, jti, groups: [] }])
      expect(again.roleOf(puppet.id)).toBe(undefined)
      expect(await current(again, wanted)).toBe('genuine')
    }
  })
})

describe('what a former admin did before its cut', () => {
  test('is believed of who only stores, by what the owner says with the removal', async () => {
    const setting = await withAdmin()
    const { owner, admin, writer, replica, ns, wanted } = setting
    await owner.ns.members.revoke({ agent: admin.id })
    await converge(owner, writer, replica)
    await tell(setting, replica)
    expect(ns.roleOf(writer.id)).toBe('writer')
    expect(await current(ns, wanted)).toBe('genuine')
    expect((await ns.held.authIds()).hash).toEqual((await owner.ns.held.authIds()).hash)
  })

  test('ends a share for who hears of it from a replica alone', async () => {
    const setting = await withAdmin()
    const { owner, admin, writer, replica, ns, claims } = setting
    await tell(setting, replica)
    await admin.ns.members.revoke({ agent: writer.id })
    await admin.write('beside 4')
    await converge(owner, admin, writer, replica)
    await owner.ns.members.revoke({ agent: admin.id })
    await converge(owner, replica)
    const evidence = await Array.fromAsync(replica.ns.held.evidenceAgainst(claims))
    await ns.receive(evidence, { from: replica.id })
    expect(ns.membership.knowsGrant(claims.grant)).toBe(true)
    expect(ns.membership.endingsOf(writer.id)).toHaveLength(1)
    expect(ns.membership.refusalOf(claims)).toBe('ISSUER_REMOVED')
  })
})

test('what a writer wrote before its chain forked is believed of who only stores: it may write as much still', async () => {
  const setting = await setUp({ genuine: 'genuine' })
  const { time, owner, writer, other, ns, wanted } = setting
  const replica = await new NamespaceNode(4, time).join(owner)
  await owner.ns.members.grant({ agent: replica.id, role: 'replica' })
  const twin = await new NamespaceNode(2, time, { copyOf: writer }).open(writer.ns.id)
  await converge(owner, other, replica)
  await tell(setting, replica)
  expect(await current(ns, wanted)).toBe('genuine')
  for (const [at, node] of [writer, twin].entries()) await node.write(`of copy ${at}`)
  await converge(owner, other, replica, writer, twin)
  expect(owner.ns.membership.forks).toHaveLength(1)
  expect(await current(owner.ns, wanted)).toBe('genuine')
  let removed = 0
  ns.subscribe((change) => {
    removed += change.removed
  })
  // What proves the fork goes together.
  const auth = await Array.fromAsync(replica.ns.held.authEntries(), ({ bytes }) => bytes)
  await ns.receive(auth, { from: replica.id })
  expect(ns.membership.forks).toHaveLength(1)
  expect(await current(ns, wanted)).toBe('genuine')
  expect(removed).toBe(0)
  expect((await ns.held.authIds()).hash).toEqual((await replica.ns.held.authIds()).hash)
  expect(await differences(ns)).toEqual([])
})

describe('what a former writer wrote before its cut', () => {
  test('is believed of who only stores, once a writer has gone on from it', async () => {
    const setting = await setUp({ genuine: 'genuine' })
    const { owner, writer, other, ns, wanted } = setting
    const replica = await new NamespaceNode(4, setting.time).join(owner)
    await owner.ns.members.grant({ agent: replica.id, role: 'replica' })
    await owner.ns.members.revoke({ agent: writer.id })
    await converge(owner, other, replica)
    await tell(setting, replica)
    expect(await current(ns, wanted)).toBe('wanted')
    await other.update(wanted, 'later')
    await converge(owner, other, replica)
    await tell(setting, replica)
    await tell(setting, replica)
    expect(await current(ns, wanted)).toBe('later')
    expect(await differences(ns)).toEqual([])
    const { here, there } = await ids(setting)
    expect(here).toBe(there)
  })

  test('is believed of who only stores when a writer shares it', async () => {
    const setting = await setUp({ genuine: 'genuine' })
    const { owner, writer, other, ns, wanted, outside } = setting
    const replica = await new NamespaceNode(4, setting.time).join(owner)
    await owner.ns.members.grant({ agent: replica.id, role: 'replica' })
    await owner.ns.members.revoke({ agent: writer.id })
    const [share] = await owner.ns.sharing.share({
      artifact: wanted,
      audience: [{ kind: 'agent', id: outside.id }],
      message: 'another',
    })
    await converge(owner, other, replica)
    const jti = share?.claims.jti ?? expect.fail('there is a share')
    await ns.holdCapabilities([{ artifact: wanted, jti, groups: [] }])
    await tell({ ...setting, jti }, replica)
    await tell({ ...setting, jti }, replica)
    expect(await current(ns, wanted)).toBe('genuine')
    expect(await differences(ns)).toEqual([])
  })

  test('stays when others gave it, and comes back from them when it gave it itself', async () => {
    for (const first of ['owner', 'other', 'writer'] as const) {
      const setting = await setUp({ genuine: 'genuine' })
      const { owner, writer, other, ns, wanted } = setting
      await tell(setting, setting[first])
      expect(await current(ns, wanted)).toBe('genuine')
      await owner.ns.members.revoke({ agent: writer.id })
      await owner.update(wanted, 'later')
      await converge(owner, other)
      const [revoke] = (await Array.fromAsync(owner.ns.held.authEntries(), ({ bytes }) => bytes)).slice(-1)
      await ns.receive([revoke ?? expect.fail('there is one')], { from: other.id })
      await tell(setting, other)
      await tell(setting, other)
      expect(await current(ns, wanted)).toBe('later')
      const { here, there } = await ids(setting)
      expect(here).toBe(there)
      expect(await differences(ns)).toEqual([])
    }
  })

  test('is asked for again when the role of whoever gave it ends too', async () => {
    const setting = await setUp({ genuine: 'genuine' })
    const { owner, writer, other, ns, wanted } = setting
    await owner.ns.members.revoke({ agent: writer.id })
    await converge(owner, other)
    await tell(setting, other)
    expect(await current(ns, wanted)).toBe('genuine')
    await owner.ns.members.revoke({ agent: other.id })
    for await (const { bytes } of owner.ns.held.authEntries()) await ns.receive([bytes], { from: owner.id })
    expect(await current(ns, wanted)).toBe('wanted')
    await tell(setting, owner)
    expect(await current(ns, wanted)).toBe('genuine')
    expect(await differences(ns)).toEqual([])
  })
})
