import { describe, expect, test } from 'vitest'
import { converge, NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import type { ShareClaims } from '../capability/index.ts'
import { AgentKey } from '../identity/index.ts'
import { isEndedBy } from './denial.ts'

const gateway = new AgentKey(new Uint8Array(32).fill(99)).publicKey

async function world() {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const writer = await new NamespaceNode(2, time).join(owner)
  await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
  await converge(owner, writer)
  /** What an agent says in a capability, and what the owner's node says against it. */
  const claimsOf = (issuer: NamespaceNode, jti: number): ShareClaims => ({
    kind: 'share',
    issuer: issuer.id,
    grant: owner.ns.membership.grantsOf(issuer.id)[0]?.hash ?? new Uint8Array(32),
    namespace: owner.ns.id,
    artifact: new Uint8Array(20),
    audience: [{ kind: 'agent', id: gateway }],
    notBefore: 1,
    expires: undefined,
    jti: new Uint8Array(16).fill(jti),
    after: 0,
  })
  const evidence = async (claims: ShareClaims) => await Array.fromAsync(owner.ns.held.evidenceAgainst(claims))
  return { owner, writer, claimsOf, evidence }
}

describe('what a denial brings', () => {
  test('shows to who holds nothing that a capability was revoked, and that its issuer was removed', async () => {
    const { owner, writer, claimsOf, evidence } = await world()
    const [revoked, kept] = [claimsOf(writer, 1), claimsOf(writer, 2)]
    await writer.ns.sharing.revokeCapabilities([revoked.jti])
    await converge(owner, writer)
    expect(isEndedBy(revoked, await evidence(revoked))).toBe(true)
    expect(await evidence(kept)).toEqual([])
    // The same entries say nothing of another.
    expect(isEndedBy(kept, await evidence(revoked))).toBe(false)
    await owner.ns.members.revoke({ agent: writer.id })
    expect(isEndedBy(kept, await evidence(kept))).toBe(true)
    const ofOwner = claimsOf(owner, 3)
    await owner.ns.sharing.revokeCapabilities([ofOwner.jti])
    expect(isEndedBy(ofOwner, await evidence(ofOwner))).toBe(true)
  })

  test('shows nothing without its parts, changed, or of another namespace', async () => {
    const { owner, writer, claimsOf, evidence } = await world()
    const revoked = claimsOf(writer, 1)
    await writer.ns.sharing.revokeCapabilities([revoked.jti])
    await converge(owner, writer)
    const whole = await evidence(revoked)
    expect(whole.length).toBeGreaterThan(2)
    for (let at = 0; at < whole.length; at++) expect(isEndedBy(revoked, whole.toSpliced(at, 1))).toBe(false)
    for (let at = 0; at < whole.length; at++) {
      const bad = (whole[at] as Uint8Array).slice()
      bad[bad.length >> 1] = (bad[bad.length >> 1] as number) ^ 1
      expect(isEndedBy(revoked, whole.with(at, bad))).toBe(false)
    }
    expect(isEndedBy({ ...revoked, namespace: new Uint8Array(32).fill(3) }, whole)).toBe(false)
    expect(isEndedBy(revoked, [])).toBe(false)
  })

  test('by somebody who has no say says nothing', async () => {
    const { owner, writer, claimsOf } = await world()
    const ofOwner = claimsOf(owner, 1)
    await writer.ns.sharing.revokeCapabilities([ofOwner.jti])
    await converge(owner, writer)
    const all: Uint8Array[] = []
    for await (const bytes of owner.ns.held.entriesBeyond([])) all.push(bytes)
    expect(isEndedBy(ofOwner, all)).toBe(false)
  })
})
