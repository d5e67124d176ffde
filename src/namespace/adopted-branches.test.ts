import { expect, test } from 'vitest'
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

/**
 * An owner, a writer whose machine was copied, and one who follows an artifact and got an update from the copy. The writer wrote something else at that
 * place meanwhile, and two more entries, the last one of that artifact.
 */
async function setUp() {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const writer = await new NamespaceNode(2, time).join(owner)
  await owner.ns.grant({ agent: writer.id, role: 'writer' })
  const wanted = await owner.write('wanted')
  await converge(owner, writer)
  await writer.write('before')
  await converge(owner, writer)
  const copy = await new NamespaceNode(2, time, { copyOf: writer }).open(owner.ns.id)
  const outside = new NamespaceNode(9, time)
  const [share] = await owner.ns.share({ artifact: wanted, audience: [{ kind: 'agent', id: outside.id }] })
  const jti = share?.claims.jti ?? expect.fail('there is a share')
  const partial = new FollowedArtifacts()
  partial.set(wanted, 0)
  const genesis = (await owner.ns.entryBytes(owner.ns.id)) as Uint8Array
  const ns = await Namespace.join(outside.env, owner.ns.id, genesis, () => [], partial)
  await ns.holdCapabilities([{ artifact: wanted, jti, groups: [] }])
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
  const own = [...ns.tips()].filter(({ author }) => equalBytes(author, id))
  return own.at(-1)?.hash ?? expect.fail('it wrote something')
}

/** Has a member tell all that is lacking, as a round does. */
async function tell({ ns, wanted, jti }: Setting, from: NamespaceNode): Promise<void> {
  for await (const { bytes } of from.ns.authEntries()) await ns.receive([bytes], { from: from.id })
  for await (const { bytes } of from.ns.artifactEntries(wanted, { share: jti }))
    await ns.receive([bytes], { from: from.id })
}

async function namesIn(ns: Namespace, artifact: Uint8Array): Promise<string[]> {
  const { items } = await ns.catalog.listVersions(artifact)
  return items.map(({ state }) => state.name).sort()
}

async function differences(ns: Namespace): Promise<string[]> {
  const scratch = new NamespaceKeys(ns.id, keySpaces.scratch)
  const findings = await deriveFromLog(ns, scratch, {})
  const different = await compareDerived(ns, scratch, ns.keys)
  await clearDerived(ns, scratch)
  return [...findings.map(({ problem }) => problem), ...different]
}

test('what stands where an adopt names another entry counts no more, though that one is of an artifact that is not followed, and what comes after does', async () => {
  const setting = await setUp()
  const { owner, copy, wanted, jti, ns, outside, partial, beside } = setting
  expect(await namesIn(ns, wanted)).toEqual(['kept', 'lost', 'wanted'])
  await converge(owner, copy)
  await owner.ns.adopt({ hash: beside })
  await tell(setting, owner)
  expect(await namesIn(owner.ns, wanted)).toEqual(['kept', 'wanted'])
  expect(await namesIn(ns, wanted)).toEqual(['kept', 'wanted'])
  expect(await ns.hasEntry(beside)).toBe(false)
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
  await owner.ns.adopt({ hash: beside })
  const genesis = (await owner.ns.entryBytes(owner.ns.id)) as Uint8Array
  const auth = await Array.fromAsync(owner.ns.authEntries(), ({ bytes }) => bytes)
  const rest = await Array.fromAsync(owner.ns.artifactEntries(wanted, { share: jti }), ({ bytes }) => bytes)
  const stray = (await copy.ns.entryBytes(lost)) as Uint8Array
  for (const portions of [
    [[...auth, ...rest, stray]],
    [auth, [stray], rest],
    [[...rest, stray, ...auth], auth, rest],
  ]) {
    const partial = new FollowedArtifacts()
    partial.set(wanted, 0)
    const node = new NamespaceNode(9, time)
    const ns = await Namespace.join(node.env, owner.ns.id, genesis, () => [], partial)
    await ns.holdCapabilities([{ artifact: wanted, jti, groups: [] }])
    for (const portion of portions) await ns.receive(portion, { from: copy.id })
    expect(await namesIn(ns, wanted)).toEqual(['kept', 'wanted'])
    expect(await differences(ns)).toEqual([])
  }
})
