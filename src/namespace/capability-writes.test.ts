import { describe, expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { agentOf, hold, readable } from '../../test/support/sharing-nodes.ts'
import { maxRevokedCapabilities } from '../limits.ts'
import { copiedMember } from './copied-member.test-helper.ts'
import type { Share } from './index.ts'

const jti = (number: number) => new Uint8Array(16).fill(number)

async function team() {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const [admin, writer, other, reader] = (await Promise.all(
    [2, 3, 4, 5].map((seed) => new NamespaceNode(seed, time).join(owner)),
  )) as [NamespaceNode, NamespaceNode, NamespaceNode, NamespaceNode]
  await owner.ns.members.grant({ agent: admin.id, role: 'admin' })
  for (const node of [writer, other]) await owner.ns.members.grant({ agent: node.id, role: 'writer' })
  await owner.ns.members.grant({ agent: reader.id, role: 'reader' })
  await converge(owner, admin, writer, other, reader)
  /** What the owner thinks of one that the writer issued. */
  const refusal = (name: Uint8Array) => {
    const [grant] = owner.ns.membership.grantsOf(writer.id)
    if (grant === undefined) throw new Error('the writer has a grant')
    return owner.ns.membership.refusalOf({ jti: name, issuer: writer.id, grant: grant.hash })
  }
  return { owner, admin, writer, other, reader, refusal }
}

describe('ending capabilities', () => {
  test('is for their issuer and for whoever ranks above it', async () => {
    const { owner, admin, writer, other, reader, refusal } = await team()
    await writer.ns.sharing.revokeCapabilities([jti(1)])
    await admin.ns.sharing.revokeCapabilities([jti(2)])
    await owner.ns.sharing.revokeCapabilities([jti(3)])
    await other.ns.sharing.revokeCapabilities([jti(4)])
    await converge(owner, admin, writer, other)
    expect([1, 2, 3, 4, 5].map((number) => refusal(jti(number)))).toEqual([
      'REVOKED',
      'REVOKED',
      'REVOKED',
      undefined,
      undefined,
    ])
    await expect(reader.ns.sharing.revokeCapabilities([jti(5)])).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
  })

  test('takes any number of them, in any order and twice, in as few entries as hold them', async () => {
    const { owner, writer, refusal } = await team()
    const before = writer.ns.totals.entries
    const many = Array.from({ length: maxRevokedCapabilities + 1 }, (_, at) => {
      return new Uint8Array(16).fill(at & 0xff).fill(at >> 8, 0, 1)
    })
    await writer.ns.sharing.revokeCapabilities([...many, ...many].reverse())
    expect(writer.ns.totals.entries - before).toBe(2)
    await writer.ns.sharing.revokeCapabilities([])
    expect(writer.ns.totals.entries - before).toBe(2)
    await converge(owner, writer)
    for (const one of many) expect(refusal(one)).toBe('REVOKED')
  })
})

describe('what was ended on a branch that counts for nothing', () => {
  /** An artifact is shared with bob, and the copied member takes that back, of which nobody hears yet. */
  async function takenBack(role: 'admin' | 'writer', sharer: 'one' | 'writer') {
    const shares: Share[] = []
    const team = await copiedMember({
      role,
      before: async (nodes, artifact) => {
        shares.push(...(await nodes[sharer].ns.sharing.share({ artifact, audience: [agentOf(nodes.bob)] })))
      },
    })
    const { owner, one, copy, admin, writer, bob, artifact } = team
    const [share] = shares
    if (share === undefined) throw new Error('nothing was shared')
    await one.ns.sharing.unshare({ artifact, audience: [agentOf(bob)] })
    const refusalAt = ({ ns }: NamespaceNode) => ns.membership.refusalOf(share.claims)
    return { ...team, share, refusalAt, all: [owner, one, admin, writer, bob, copy] }
  }

  test('its author ends again, once: who heard of it then gives nothing to whom it was taken from', async () => {
    const { owner, one, copy, admin, bob, artifact, share, refusalAt, all } = await takenBack('writer', 'one')
    await owner.pull(one)
    // Who knows of the fork tells nobody of what is beyond.
    await owner.pull(copy)
    expect(owner.ns.membership.forks).toHaveLength(1)
    await owner.update(artifact, 'two', 'report')
    await converge(...all)
    expect(all.map(refusalAt)).toEqual(['REVOKED', 'REVOKED', undefined, undefined, undefined, undefined])
    expect(await one.ns.healer.run()).toBe(1)
    await converge(...all)
    for (const node of [admin, copy, owner, one]) {
      expect(refusalAt(node)).toBe('REVOKED')
      expect(await node.ns.healer.run()).toBe(0)
    }
    await hold(bob, [share])
    expect(await readable(bob, artifact)).toEqual({ 1: 'one' })
  })

  test('its author ends again where it ranks above who shared', async () => {
    const { owner, one, copy, refusalAt, all } = await takenBack('admin', 'writer')
    await owner.pull(one)
    await owner.pull(copy)
    expect(refusalAt(owner)).toBeUndefined()
    await converge(...all)
    expect(refusalAt(one)).toBeUndefined()
    expect(await one.ns.healer.run()).toBe(1)
    await converge(...all)
    expect(all.map(refusalAt)).toEqual(all.map(() => 'REVOKED'))
  })

  test('its author does not end again once the branch is adopted', async () => {
    const { owner, one, copy, refusalAt, all } = await takenBack('writer', 'one')
    await owner.pull(one)
    const [tip] = [...owner.ns.held.tips()].filter(({ author }) => Buffer.compare(author, one.id) === 0)
    await owner.pull(copy)
    await owner.ns.members.adopt({ hash: tip?.hash as Uint8Array })
    await converge(...all)
    expect(all.map(refusalAt)).toEqual(all.map(() => 'REVOKED'))
    expect(await one.ns.healer.run()).toBe(0)
  })

  test('its author does not end again under another role, when the one that it had was taken away', async () => {
    const { owner, one, copy, writer, refusalAt, all } = await takenBack('admin', 'writer')
    await owner.pull(copy)
    await owner.ns.members.revoke({ agent: one.id })
    await owner.ns.members.grant({ agent: one.id, role: 'admin' })
    await converge(...all)
    expect(await one.ns.healer.run()).toBe(0)
    expect(refusalAt(writer)).toBeUndefined()
  })
})
