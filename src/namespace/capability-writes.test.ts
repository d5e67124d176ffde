import { describe, expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { maxRevokedCapabilities } from '../limits.ts'

const jti = (number: number) => new Uint8Array(16).fill(number)

async function team() {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const [admin, writer, other, reader] = (await Promise.all(
    [2, 3, 4, 5].map((seed) => new NamespaceNode(seed, time).join(owner)),
  )) as [NamespaceNode, NamespaceNode, NamespaceNode, NamespaceNode]
  await owner.ns.grant({ agent: admin.id, role: 'admin' })
  for (const node of [writer, other]) await owner.ns.grant({ agent: node.id, role: 'writer' })
  await owner.ns.grant({ agent: reader.id, role: 'reader' })
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
    await writer.ns.revokeCapabilities([jti(1)])
    await admin.ns.revokeCapabilities([jti(2)])
    await owner.ns.revokeCapabilities([jti(3)])
    await other.ns.revokeCapabilities([jti(4)])
    await converge(owner, admin, writer, other)
    expect([1, 2, 3, 4, 5].map((number) => refusal(jti(number)))).toEqual([
      'REVOKED',
      'REVOKED',
      'REVOKED',
      undefined,
      undefined,
    ])
    await expect(reader.ns.revokeCapabilities([jti(5)])).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
  })

  test('takes any number of them, in any order and twice, in as few entries as hold them', async () => {
    const { owner, writer, refusal } = await team()
    const before = writer.ns.entries
    const many = Array.from({ length: maxRevokedCapabilities + 1 }, (_, at) => {
      return new Uint8Array(16).fill(at & 0xff).fill(at >> 8, 0, 1)
    })
    await writer.ns.revokeCapabilities([...many, ...many].reverse())
    expect(writer.ns.entries - before).toBe(2)
    await writer.ns.revokeCapabilities([])
    expect(writer.ns.entries - before).toBe(2)
    await converge(owner, writer)
    for (const one of many) expect(refusal(one)).toBe('REVOKED')
  })
})
