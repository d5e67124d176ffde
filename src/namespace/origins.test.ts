import { describe, expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { equalBytes } from '../encoding/index.ts'
import {
  clearDerived,
  compareDerived,
  deriveFromLog,
  FollowedArtifacts,
  keySpaces,
  Namespace,
  NamespaceKeys,
} from './index.ts'

/** An owner, two writers, one who follows an artifact, and another machine of the first writer, which has heard of nothing since. */
async function setUp({ genuine }: { genuine?: string } = {}) {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const writer = await new NamespaceNode(2, time).join(owner)
  const other = await new NamespaceNode(3, time).join(owner)
  await owner.ns.grant({ agent: writer.id, role: 'writer' })
  await owner.ns.grant({ agent: other.id, role: 'writer' })
  const wanted = await owner.write('wanted')
  await converge(owner, writer, other)
  const copy = await new NamespaceNode(2, time, { copyOf: writer }).open(writer.ns.id)
  if (genuine !== undefined) await writer.update(wanted, genuine)
  await writer.write('beside 1')
  await writer.write('beside 2')
  await converge(owner, writer, other)
  const outside = new NamespaceNode(9, time)
  const [share] = await owner.ns.share({ artifact: wanted, audience: [{ kind: 'agent', id: outside.id }] })
  const jti = share?.claims.jti ?? expect.fail('there is a share')
  const partial = new FollowedArtifacts()
  partial.set(wanted, 0)
  const genesis = (await owner.ns.entryBytes(owner.ns.id)) as Uint8Array
  const ns = await Namespace.join(outside.env, owner.ns.id, genesis, () => [], partial)
  await ns.holdCapabilities([{ artifact: wanted, jti, groups: [] }])
  await converge(owner, writer, other)
  return { owner, writer, other, copy, wanted, jti, ns, outside, partial }
}

type Setting = Awaited<ReturnType<typeof setUp>>

/** What the writer signs on its other machine, at a place below its cut. */
async function forge({ copy, wanted }: Setting): Promise<Uint8Array> {
  await copy.update(wanted, 'forged')
  const tip = [...copy.ns.tips()].find(({ author }) => equalBytes(author, copy.id))
  return (await copy.ns.entryBytes(tip?.hash as Uint8Array)) as Uint8Array
}

/** Has a member tell all that is lacking, as a round does. */
async function tell({ ns, wanted, jti }: Setting, from: NamespaceNode): Promise<void> {
  for await (const { bytes } of from.ns.authEntries()) await ns.receive([bytes], { from: from.id })
  for await (const { bytes } of from.ns.artifactEntries(wanted, { share: jti }))
    await ns.receive([bytes], { from: from.id })
}

async function current(ns: Namespace, wanted: Uint8Array): Promise<string | undefined> {
  return (await ns.catalog.get(wanted))?.state.name
}

async function differences(ns: Namespace): Promise<string[]> {
  const scratch = new NamespaceKeys(ns.id, keySpaces.scratch)
  await clearDerived(ns, scratch)
  const findings = await deriveFromLog(ns, scratch, {})
  return [...findings.map(({ problem }) => problem), ...(await compareDerived(ns, scratch, ns.keys))]
}

async function ids({ ns, owner, wanted, jti }: Setting) {
  const of = async (log: Namespace) =>
    (
      await Array.fromAsync(log.artifactEntries(wanted, { share: jti }), ({ hash }) =>
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
    await owner.ns.revoke({ agent: writer.id })
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
    await owner.ns.revoke({ agent: writer.id })
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

  test('is gone when the log is opened again, if the node was stopped just as it heard of the removal', async () => {
    const setting = await setUp()
    const { owner, writer, ns, wanted, jti, outside, partial } = setting
    await tell(setting, writer)
    await ns.receive([await forge(setting)], { from: writer.id })
    await owner.ns.revoke({ agent: writer.id })
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

  test('in the place of what it wrote there before keeps that from nobody', async () => {
    const setting = await setUp({ genuine: 'genuine' })
    const { owner, writer, ns, wanted } = setting
    await tell(setting, writer)
    await ns.receive([await forge(setting)], { from: writer.id })
    await owner.ns.revoke({ agent: writer.id })
    // It took away what the writer gave, and asks again: what is well of it comes from the owner.
    await tell(setting, owner)
    await tell(setting, owner)
    expect(await current(ns, wanted)).toBe('genuine')
    const { here, there } = await ids(setting)
    expect(here).toBe(there)
    expect(await differences(ns)).toEqual([])
  })
})

describe('what a former writer wrote before its cut', () => {
  test('stays when others gave it, and comes back from them when it gave it itself', async () => {
    for (const first of ['owner', 'other', 'writer'] as const) {
      const setting = await setUp({ genuine: 'genuine' })
      const { owner, writer, other, ns, wanted } = setting
      await tell(setting, setting[first])
      expect(await current(ns, wanted)).toBe('genuine')
      await owner.ns.revoke({ agent: writer.id })
      await owner.update(wanted, 'later')
      await converge(owner, other)
      const [revoke] = (await Array.fromAsync(owner.ns.authEntries(), ({ bytes }) => bytes)).slice(-1)
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
    await owner.ns.revoke({ agent: writer.id })
    await converge(owner, other)
    await tell(setting, other)
    expect(await current(ns, wanted)).toBe('genuine')
    await owner.ns.revoke({ agent: other.id })
    for await (const { bytes } of owner.ns.authEntries()) await ns.receive([bytes], { from: owner.id })
    expect(await current(ns, wanted)).toBe('wanted')
    await tell(setting, owner)
    expect(await current(ns, wanted)).toBe('genuine')
    expect(await differences(ns)).toEqual([])
  })
})
