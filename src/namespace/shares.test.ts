import { describe, expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { agentOf, hold, readable, sharesWith } from '../../test/support/sharing-nodes.ts'
import { decodeEnvelope, timeOf } from '../capability/index.ts'
import { toHex } from '../encoding/index.ts'
import { AgentKey } from '../identity/index.ts'

/** An owner, others with roles, and outsiders who have none. All see all that is written: nothing but keys keeps it from them. */
async function namespace(roles: readonly ('admin' | 'writer' | 'reader')[], outsiders: number) {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const nodes: NamespaceNode[] = []
  for (let at = 0; at < roles.length + outsiders; at++) {
    const node = await new NamespaceNode(10 + at, time).join(owner)
    nodes.push(node)
    const role = roles[at]
    if (role !== undefined) await owner.ns.members.grant({ agent: node.id, role })
  }
  await converge(owner, ...nodes)
  return {
    time,
    owner,
    members: nodes.slice(0, roles.length),
    outsiders: nodes.slice(roles.length),
    nodes: [owner, ...nodes],
  }
}

describe('sharing with agents', () => {
  test('lets them, and no one else without a role, read every version and those to come, of that artifact alone', async () => {
    const { owner, outsiders, nodes } = await namespace([], 2)
    const [bob, eve] = outsiders as [NamespaceNode, NamespaceNode]
    const artifact = await owner.write('one', 'report')
    await owner.update(artifact, 'two', 'report')
    const other = await owner.write('private')
    const [share] = await owner.ns.sharing.share({ artifact, audience: [agentOf(bob)], message: 'have a look' })
    if (share === undefined) return expect.fail('it was shared')
    await converge(...nodes)
    expect(await bob.names()).toEqual([])
    await hold(bob, [share])
    await hold(eve, [share])
    expect(await readable(bob, artifact)).toEqual({ 1: 'one', 2: 'two' })
    expect(await bob.names()).toEqual(['report'])
    expect(await readable(bob, other)).toEqual({})
    await owner.update(artifact, 'three', 'report')
    await converge(...nodes)
    expect(await bob.read(artifact)).toBe('three')
    expect(await eve.names()).toEqual([])
    await expect(bob.update(artifact, 'mine')).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    const envelope = await owner.ns.sharing.envelopeOf(share)
    expect(decodeEnvelope(envelope ?? expect.fail())).toMatchObject({
      name: 'report',
      contentType: 'text/plain',
      sizeBytes: 3,
      message: 'have a look',
      capability: { claims: share.claims },
    })
    expect(await bob.ns.sharing.envelopeOf(share)).toBeUndefined()
  })

  test('by a clock that was ahead is done anew once it is right: providers give nothing before the time that it said', async () => {
    const { time, owner, outsiders } = await namespace([], 1)
    const [bob] = outsiders as [NamespaceNode]
    const artifact = await owner.write('one', 'report')
    const aheadMs = 5 * 3600_000
    time.nowMs += aheadMs
    const [early] = await owner.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
    time.nowMs -= aheadMs
    const [share] = await owner.ns.sharing.share({ artifact, audience: [agentOf(bob)] })
    if (early === undefined || share === undefined) return expect.fail('it was shared')
    expect(timeOf(early.claims, time.nowMs)).toBe('not-yet')
    expect(timeOf(share.claims, time.nowMs)).toBe('valid')
    expect(await owner.ns.sharing.share({ artifact, audience: [agentOf(bob)] })).toEqual([share])
    expect(await owner.ns.sharing.unshare({ artifact, audience: [agentOf(bob)] })).toHaveLength(2)
  })

  test('from now on lets them read what is written later and nothing from before', async () => {
    const { owner, outsiders, nodes } = await namespace([], 1)
    const [bob] = outsiders as [NamespaceNode]
    const artifact = await owner.write('one', 'report')
    await owner.update(artifact, 'two', 'report')
    const shares = await owner.ns.sharing.share({ artifact, audience: [agentOf(bob)], fromNow: true })
    expect(shares[0]?.claims).toMatchObject({ after: 2 })
    await converge(...nodes)
    await hold(bob, shares)
    expect(await readable(bob, artifact)).toEqual({})
    await owner.update(artifact, 'three', 'report')
    await owner.update(artifact, 'four', 'report')
    await converge(...nodes)
    expect(await readable(bob, artifact)).toEqual({ 3: 'three', 4: 'four' })
    // One fresh key is enough.
    const records = await owner.ns.catalog.listVersions(artifact)
    const keys = records.items.map(({ root }) => toHex(root.keyId))
    expect(keys[0]).toBe(keys[1])
    expect(new Set(keys).size).toBe(2)
  })

  test('ends with unshare: what is written afterwards opens with no key that they ever had', async () => {
    const { owner, outsiders, nodes } = await namespace([], 2)
    const [bob, carol] = outsiders as [NamespaceNode, NamespaceNode]
    const artifact = await owner.write('one', 'report')
    const shares = await owner.ns.sharing.share({ artifact, audience: [agentOf(bob), agentOf(carol)] })
    expect(shares).toHaveLength(2)
    const ended = await owner.ns.sharing.unshare({ artifact, audience: [agentOf(bob)] })
    expect(ended).toEqual(sharesWith(bob, shares))
    await owner.update(artifact, 'two', 'report')
    await converge(...nodes)
    for (const node of [bob, carol]) await hold(node, shares)
    expect(await readable(bob, artifact)).toEqual({ 1: 'one' })
    expect(await readable(carol, artifact)).toEqual({ 1: 'one', 2: 'two' })
    expect((await owner.ns.sharing.of(artifact)).map(({ refusal }) => refusal).sort()).toEqual(['REVOKED', undefined])
    await expect(owner.ns.sharing.unshare({ artifact, audience: [agentOf(bob)] })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    })
  })

  test('again gives nothing anew, but with a message, an end or from now on', async () => {
    const { owner, outsiders } = await namespace([], 1)
    const audience = outsiders.map(agentOf)
    const artifact = await owner.write('one', 'report')
    const [first] = await owner.ns.sharing.share({ artifact, audience: [...audience, ...audience] })
    const before = owner.ns.totals.entries
    expect(await owner.ns.sharing.share({ artifact, audience })).toEqual([first])
    expect(owner.ns.totals.entries).toBe(before)
    for (const change of [{ message: 'look' }, { expiresIn: 60 }, { fromNow: true }]) {
      expect(await owner.ns.sharing.share({ artifact, audience, ...change })).not.toEqual([first])
    }
    expect(await Array.fromAsync(owner.ns.sharing.all())).toHaveLength(4)
    expect((await owner.ns.sharing.own()).of(artifact)).toHaveLength(4)
    expect(await owner.ns.sharing.unshare({ artifact, audience })).toHaveLength(4)
    expect(await Array.fromAsync(owner.ns.sharing.all())).toEqual([])
  })

  test('ends by itself: the next version after that is under a key that they do not have', async () => {
    const { time, owner, outsiders, nodes } = await namespace([], 1)
    const [bob] = outsiders as [NamespaceNode]
    const artifact = await owner.write('one', 'report')
    const shares = await owner.ns.sharing.share({ artifact, audience: [agentOf(bob)], expiresIn: 60 })
    await owner.update(artifact, 'two', 'report')
    time.nowMs += 121_000
    await owner.update(artifact, 'three', 'report')
    await converge(...nodes)
    await hold(bob, shares)
    expect(await readable(bob, artifact)).toEqual({ 1: 'one', 2: 'two' })
    expect((await owner.ns.sharing.of(artifact))[0]?.refusal).toBe('EXPIRED')
  })

  test('is for writers, and ends with the right of who shared', async () => {
    const { owner, members, outsiders, nodes } = await namespace(['writer', 'reader', 'admin', 'writer'], 1)
    const [writer, reader, admin, other] = members as [NamespaceNode, NamespaceNode, NamespaceNode, NamespaceNode]
    const [bob] = outsiders as [NamespaceNode]
    const artifact = await owner.write('one', 'report')
    await converge(...nodes)
    const audience = [agentOf(bob)]
    for (const node of [reader, bob]) {
      await expect(node.ns.sharing.share({ artifact, audience })).rejects.toMatchObject({
        code: expect.stringMatching(/DENIED/),
      })
    }
    const shares = await writer.ns.sharing.share({ artifact, audience })
    await converge(...nodes)
    await expect(other.ns.sharing.unshare({ artifact, audience })).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    await owner.ns.members.revoke({ agent: writer.id })
    await converge(...nodes)
    expect((await admin.ns.sharing.of(artifact))[0]?.refusal).toBe('ISSUER_REMOVED')
    await admin.update(artifact, 'two', 'report')
    await converge(...nodes)
    await hold(bob, shares)
    expect(await readable(bob, artifact)).toEqual({ 1: 'one' })
  })

  test('is taken back by an admin from whom a writer shared with', async () => {
    const { owner, members, outsiders, nodes } = await namespace(['writer', 'admin'], 1)
    const [writer, admin] = members as [NamespaceNode, NamespaceNode]
    const audience = outsiders.map(agentOf)
    const artifact = await owner.write('one', 'report')
    await converge(...nodes)
    await writer.ns.sharing.share({ artifact, audience })
    await converge(...nodes)
    await admin.ns.sharing.unshare({ artifact, audience })
    await converge(...nodes)
    for (const { ns } of [owner, writer, admin]) expect((await ns.sharing.of(artifact))[0]?.refusal).toBe('REVOKED')
  })

  test('is not taken back by another writer', async () => {
    const { owner, members, outsiders, nodes } = await namespace(['writer', 'writer'], 1)
    const [writer, other] = members as [NamespaceNode, NamespaceNode]
    const audience = outsiders.map(agentOf)
    const artifact = await owner.write('one', 'report')
    await converge(...nodes)
    await writer.ns.sharing.share({ artifact, audience })
    await converge(...nodes)
    const { entries } = other.ns.totals
    await expect(other.ns.sharing.unshare({ artifact, audience })).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    expect(other.ns.totals.entries).toBe(entries)
    expect((await other.ns.sharing.of(artifact))[0]?.refusal).toBe(undefined)
  })

  test('refuses what it cannot be', async () => {
    const { owner, outsiders } = await namespace([], 1)
    const audience = outsiders.map(agentOf)
    const artifact = await owner.write('one')
    const invalid = { code: 'INVALID_ARGUMENT' }
    await expect(owner.ns.sharing.share({ artifact, audience: [] })).rejects.toMatchObject(invalid)
    for (const expiresIn of [0, -1, 1.5, Number.NaN, 2 ** 40]) {
      await expect(owner.ns.sharing.share({ artifact, audience, expiresIn })).rejects.toMatchObject(invalid)
    }
    const nobody = [{ kind: 'agent' as const, id: new Uint8Array(32) }]
    await expect(owner.ns.sharing.share({ artifact, audience: nobody })).rejects.toMatchObject(invalid)
    const unknown = [{ kind: 'group' as const, id: new Uint8Array(32) }]
    await expect(owner.ns.sharing.share({ artifact, audience: unknown })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    const missing = new Uint8Array(20)
    await expect(owner.ns.sharing.share({ artifact: missing, audience })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    const message = 'x'.repeat(5_000)
    await expect(owner.ns.sharing.share({ artifact, audience, message })).rejects.toMatchObject({ code: 'TOO_LARGE' })
    expect(await owner.ns.sharing.of(artifact)).toEqual([])
    await owner.write('it goes on')
  })

  test('is refused alone: what others write at the same time is written', async () => {
    const { owner, outsiders } = await namespace([], 1)
    const audience = outsiders.map(agentOf)
    const artifact = await owner.write('one')
    for (const terms of [{ message: 'x'.repeat(5_000) }, { message: 'a bell \u0007' }, { expiresIn: 2 ** 33 - 1 }]) {
      const shared = owner.ns.sharing.share({ artifact, audience, ...terms })
      const [other, refused] = await Promise.allSettled([owner.write('at the same time'), shared])
      expect(other.status).toBe('fulfilled')
      expect(refused).toMatchObject({ reason: { code: expect.stringMatching(/^(TOO_LARGE|INVALID_ARGUMENT)$/) } })
    }
    expect(await owner.ns.sharing.of(artifact)).toEqual([])
  })

  test('works with several hundred at once, and for all of them when the key changes', async () => {
    const { time, owner, outsiders, nodes } = await namespace([], 1)
    const [bob] = outsiders as [NamespaceNode]
    const artifact = await owner.write('one', 'report')
    const many = Array.from({ length: 299 }, (_, at) => {
      return { kind: 'agent' as const, id: new AgentKey(Buffer.alloc(32, `recipient ${at} of many`)).publicKey }
    })
    const shares = await owner.ns.sharing.share({ artifact, audience: [...many, agentOf(bob)] })
    expect(shares).toHaveLength(300)
    await owner.ns.sharing.unshare({ artifact, audience: many.slice(0, 1) })
    await owner.update(artifact, 'two', 'report')
    await converge(...nodes)
    await hold(bob, sharesWith(bob, shares))
    expect(await readable(bob, artifact)).toEqual({ 1: 'one', 2: 'two' })
    const late = new AgentKey(Buffer.alloc(32, 'recipient 298 of many'))
    const node = await new NamespaceNode(99, time, { agent: late }).join(owner)
    await node.pull(owner)
    await hold(node, sharesWith(node, shares))
    expect(await readable(node, artifact)).toEqual({ 1: 'one', 2: 'two' })
  })

  test('is found again after opening anew, and is the same to whoever derives it from the log', async () => {
    const { owner, members, outsiders, nodes } = await namespace(['reader'], 1)
    const [reader] = members as [NamespaceNode]
    const artifact = await owner.write('one', 'report')
    const shares = await owner.ns.sharing.share({ artifact, audience: outsiders.map(agentOf) })
    await converge(...nodes)
    for (const node of [owner, reader]) {
      await node.open()
      expect((await node.ns.sharing.of(artifact)).map(({ share }) => share)).toEqual(shares)
    }
    expect(await outsiders[0]?.ns.sharing.of(artifact)).toEqual([])
    expect(await outsiders[0]?.ns.shares.entriesOf(artifact, shares[0]?.claims.jti ?? expect.fail())).toHaveLength(1)
  })
})
