import { describe, expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { agentOf, forge, hold, readable } from '../../test/support/sharing-nodes.ts'
import { decodeEnvelope, sealEnvelope, signCapability } from '../capability/index.ts'
import { toHex } from '../encoding/index.ts'
import { boxedKeyBytes, boxTagBytes } from '../identity/index.ts'
import { decodeEntry, encodeEntry, type KeySection } from '../log/index.ts'
import { sealShareBody } from '../sharing/index.ts'
import { encodeShareBody } from './share-book.ts'

/** An owner, two writers and an outsider, with an artifact that is shared with the outsider. */
async function world() {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const [writer, other, bob] = (await Promise.all(
    [2, 3, 4].map((seed) => new NamespaceNode(seed, time).join(owner)),
  )) as [NamespaceNode, NamespaceNode, NamespaceNode]
  for (const { id } of [writer, other]) await owner.ns.members.grant({ agent: id, role: 'writer' })
  const artifact = await owner.write('one', 'report')
  const [share] = await owner.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
  const all = [owner, writer, other, bob]
  await converge(...all)
  return { owner, writer, other, bob, artifact, share: share ?? expect.fail('it was shared'), all }
}

/** A share entry by that agent that holds an envelope, whoever's it is. */
function shareWith(
  node: NamespaceNode,
  envelope: Uint8Array,
  { jti, artifactSalt, artifact }: { jti: Uint8Array; artifactSalt: Uint8Array; artifact: Uint8Array },
): Uint8Array {
  const { ns, agent, env } = node
  const [epoch] = ns.keyring.epochHeads()
  if (epoch === undefined) return expect.fail('it has an epoch')
  const data = { artifactSalt, parents: [], gen: 0, root: undefined, versions: [], jti }
  const plaintext = encodeShareBody({ kind: 'share', bytes: envelope })
  return forge(node, { kind: 'share', keyId: epoch.id, data }, (place) => {
    const key = { secret: epoch.secret, namespace: ns.id, artifact }
    return {
      body: sealShareBody(key, plaintext, { namespace: ns.id, author: agent.publicKey, ...place }, env.random(12)),
    }
  })
}

describe('a share entry is believed only of what its author gives', () => {
  test('not of another’s capability, nor of one for another artifact, grant or name', async () => {
    const { owner, writer, artifact, share } = await world()
    const elsewhere = await owner.write('two')
    const { artifactSalt, claims } = share
    const envelope = (await owner.ns.sharing.envelopeOf(share)) ?? expect.fail('the owner reads it')
    const told = decodeEnvelope(envelope)
    if (told.capability.claims.kind !== 'share') return expect.fail('it is a share')
    const own = { ...told.capability.claims, issuer: writer.id, jti: new Uint8Array(16).fill(7) }
    const place = { jti: own.jti, artifactSalt, artifact }
    const seal = (claim: typeof own) =>
      sealEnvelope(writer.agent, { ...told, capability: signCapability(writer.agent, claim) })
    const grant = writer.ns.membership.grantsOf(writer.id)[0]?.hash ?? expect.fail('it has one')
    const honest = { ...own, grant }
    const forged = [
      shareWith(writer, envelope, { ...place, jti: claims.jti }),
      shareWith(writer, seal(own), place),
      shareWith(writer, seal({ ...honest, artifact: elsewhere }), place),
      shareWith(writer, seal({ ...honest, namespace: new Uint8Array(32) }), place),
      shareWith(writer, seal({ ...honest, jti: new Uint8Array(16).fill(8) }), place),
    ]
    for (const bytes of forged) {
      const reader = await new NamespaceNode(2, new TestTime()).join(owner)
      await reader.pull(owner)
      expect(await reader.ns.receive([bytes])).toMatchObject({ stored: 1 })
      expect((await reader.ns.sharing.of(artifact)).map((one) => one.share.claims)).toEqual([claims])
    }
    // And as it should be, it is.
    await owner.ns.receive([shareWith(writer, seal(honest), place)])
    expect(await owner.ns.sharing.of(artifact)).toHaveLength(2)
  })

  test('which nobody hides from a member by giving it without its body', async () => {
    const { owner, writer, artifact } = await world()
    const late = new NamespaceNode(60, new TestTime())
    await writer.ns.sharing.share({ artifact, audience: [agentOf(late)] })
    const told = await Array.fromAsync(writer.ns.held.entriesBeyond(owner.ns.held.vector()))
    const without = told.map((bytes) => encodeEntry({ ...decodeEntry(bytes), body: undefined }))
    expect(await owner.ns.receive(without)).toMatchObject({ stored: 0, refused: [{ code: 'void' }] })
    await owner.pull(writer)
    await owner.ns.sharing.unshare({ artifact, audience: [agentOf(late)] })
    const refusals = (await owner.ns.sharing.of(artifact)).map(({ refusal }) => refusal)
    expect(refusals.sort()).toEqual(['REVOKED', undefined])
  })
})

describe('false boxes for capabilities', () => {
  const falseKeys = (keyId: Uint8Array, jti: Uint8Array): KeySection => ({
    wraps: [],
    ephemeral: new Uint8Array(32).fill(9),
    boxes: [
      {
        keyId,
        tag: new Uint8Array(boxTagBytes),
        box: new Uint8Array(boxedKeyBytes),
        label: { jti, epoch: undefined },
      },
    ],
  })

  async function keyOf({ ns }: NamespaceNode, artifact: Uint8Array) {
    const record = await ns.catalog.get(artifact)
    const header = (await ns.held.entry(record?.entry ?? expect.fail()))?.header
    return { keyId: header?.keyId ?? expect.fail(), artifactSalt: header?.data?.artifactSalt ?? expect.fail() }
  }

  test('make the next version take a fresh key, and lock nobody out', async () => {
    const { owner, writer, bob, artifact, share, all } = await world()
    const { keyId, artifactSalt } = await keyOf(owner, artifact)
    const data = { artifactSalt, parents: [], gen: 0, root: undefined, versions: [] }
    for (const jti of [new Uint8Array(16).fill(5), share.claims.jti]) {
      const bytes = forge(writer, { kind: 'keys', keyId, data }, () => ({ keys: falseKeys(keyId, jti) }))
      for (const node of all) expect(await node.ns.receive([bytes])).toMatchObject({ stored: 1 })
    }
    await owner.update(artifact, 'two', 'report')
    expect(toHex((await keyOf(owner, artifact)).keyId)).not.toBe(toHex(keyId))
    await converge(...all)
    await hold(bob, [share])
    expect(await readable(bob, artifact)).toEqual({ 1: 'one', 2: 'two' })
  })

  test('of a former writer are not taken for what somebody lacks', async () => {
    const { owner, writer, other, bob, artifact, all } = await world()
    // Not known to the owner as it writes: the new share's audience lacks the key of that version.
    const [late] = await other.ns.sharing.share({ artifact, audience: [agentOf(writer)] })
    if (late === undefined) return expect.fail('it was shared')
    await owner.ns.sharing.unshare({ artifact, audience: [agentOf(bob)] })
    await owner.update(artifact, 'two', 'report')
    const { keyId, artifactSalt } = await keyOf(owner, artifact)
    await owner.ns.members.revoke({ agent: writer.id })
    const data = { artifactSalt, parents: [], gen: 0, root: undefined, versions: [] }
    const bytes = forge(writer, { kind: 'keys', keyId, data }, () => ({ keys: falseKeys(keyId, late.claims.jti) }))
    expect(await owner.ns.receive([bytes])).toMatchObject({ stored: 1 })
    await converge(...all)
    expect(await owner.ns.healer.run()).toBe(1)
    await converge(...all)
    await hold(writer, [late])
    expect(await readable(writer, artifact)).toEqual({ 1: 'one', 2: 'two' })
  })
})

test('a share that has the jti of another keeps no key in force for whom that one was for', async () => {
  const { owner, writer, other, bob, all } = await world()
  const artifact = await writer.write('before')
  const [given] = await writer.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
  const share = given ?? expect.fail('it was shared')
  await converge(...all)
  const envelope = (await owner.ns.sharing.envelopeOf(share)) ?? expect.fail('the owner reads it')
  const told = decodeEnvelope(envelope)
  const grant = other.ns.membership.grantsOf(other.id)[0]?.hash ?? expect.fail('it has one')
  const audience = [{ kind: 'agent' as const, id: new NamespaceNode(60, new TestTime()).id }]
  const claims = { ...told.capability.claims, issuer: other.id, grant, audience }
  const same = sealEnvelope(other.agent, { ...told, capability: signCapability(other.agent, claims) })
  const { artifactSalt } = share
  const forged = shareWith(other, same, { jti: claims.jti, artifactSalt, artifact })
  for (const node of [owner, writer]) expect(await node.ns.receive([forged])).toMatchObject({ stored: 1 })
  await writer.ns.sharing.unshare({ artifact, audience: [agentOf(bob)] })
  await converge(owner, writer)
  const before = (await owner.ns.catalog.get(artifact))?.root.keyId as Uint8Array
  await owner.update(artifact, 'after')
  const after = (await owner.ns.catalog.get(artifact))?.root.keyId as Uint8Array
  expect(toHex(after)).not.toBe(toHex(before))
})
