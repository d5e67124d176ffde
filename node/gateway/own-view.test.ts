import { describe, expect, test } from 'vitest'
import type { OpenNamespace } from '../../sdk/local/index.ts'
import type { LinkClaims } from '../../src/capability/index.ts'
import { NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { OwnView } from './own-view.ts'

const maxAgeMs = 60_000
const jti = (number: number) => new Uint8Array(16).fill(number)
const never = new AbortController().signal

/** An owner and a writer of one namespace, and the view that the node of either has; what the other has comes when it is asked. */
async function team() {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const writer = await new NamespaceNode(2, time).join(owner)
  await owner.ns.members.grant({ agent: writer.id, role: 'writer' })
  await writer.pull(owner)
  const issued = (by: NamespaceNode, name: number): LinkClaims => {
    const [grant] = by.ns.membership.grantsOf(by.id)
    return { issuer: by.id, jti: jti(name), grant: grant?.hash ?? by.ns.id } as LinkClaims
  }
  return { owner, writer, issued }
}

function viewOf(node: NamespaceNode, other: NamespaceNode, patienceMs = 60_000) {
  const clock = { nowMs: 1_000_000 }
  /** Whether the other answers; `silent`: it takes the question and says nothing. */
  const there: { other: 'answers' | 'silent' | 'gone'; asked: number; heardMs: number | undefined } = {
    other: 'answers',
    asked: 0,
    heardMs: undefined,
  }
  const view = new OwnView({
    env: { now: () => clock.nowMs, agent: node.agent },
    replication: {
      syncStatus: () => ({ behind: 0, lastSyncAt: there.heardMs, lastError: undefined, peers: [] }),
      refresh: async (_namespace, signal) => {
        there.asked += 1
        if (there.other === 'gone') return false
        if (there.other === 'silent') return await new Promise((_, reject) => signal?.addEventListener('abort', reject))
        await node.pull(other)
        there.heardMs = clock.nowMs
        return true
      },
    },
    maxAgeMs,
    patienceMs,
  })
  const check = (claims: LinkClaims, signal = never) =>
    view.requireInForce({ log: node.ns } as OpenNamespace, claims, signal)
  return { view, clock, there, check }
}

describe('a link into a namespace of this node', () => {
  test('that only this agent could have ended is judged without asking anybody', async () => {
    const { owner, writer, issued } = await team()
    const { check, there } = viewOf(owner, writer)
    there.other = 'gone'
    await check(issued(owner, 1))
    await owner.ns.sharing.revokeCapabilities([jti(1)])
    await expect(check(issued(owner, 1))).rejects.toMatchObject({ code: 'REVOKED' })
    expect(there.asked).toBe(0)
  })

  test('that others could have ended needs somebody who was heard of late, and is asked for once for all who wait', async () => {
    const { owner, writer, issued } = await team()
    // Of another agent, and of this one under somebody who ranks above it.
    for (const [node, other, claims] of [
      [owner, writer, issued(writer, 1)],
      [writer, owner, issued(writer, 2)],
    ] as const) {
      const { check, clock, there } = viewOf(node, other)
      await Promise.all([check(claims), check(claims), check(claims)])
      expect(there.asked).toBe(1)
      clock.nowMs += maxAgeMs
      await check(claims)
      expect(there.asked).toBe(1)
      clock.nowMs += 1
      there.other = 'gone'
      await expect(check(claims)).rejects.toMatchObject({ code: 'STALE_VIEW' })
      there.other = 'answers'
      await check(claims)
      expect(there.asked).toBe(3)
    }
  })

  test('is over when what comes by asking says so, and from then on whoever is there', async () => {
    const { owner, writer, issued } = await team()
    const { check, there, clock } = viewOf(owner, writer)
    await check(issued(writer, 1))
    await writer.ns.sharing.revokeCapabilities([jti(1)])
    await check(issued(writer, 1))
    clock.nowMs += maxAgeMs + 1
    await expect(check(issued(writer, 1))).rejects.toMatchObject({ code: 'REVOKED' })
    there.other = 'gone'
    clock.nowMs += maxAgeMs + 1
    await expect(check(issued(writer, 1))).rejects.toMatchObject({ code: 'REVOKED' })
    expect(there.asked).toBe(2)
  })

  test('waits for somebody silent no longer than it is told to, than who asks, and than the gateway is open', async () => {
    const { owner, writer, issued } = await team()
    const hasty = viewOf(owner, writer, 1)
    hasty.there.other = 'silent'
    await expect(hasty.check(issued(writer, 1))).rejects.toMatchObject({ code: 'STALE_VIEW' })
    const patient = viewOf(owner, writer)
    patient.there.other = 'silent'
    const leaver = new AbortController()
    const left = patient.check(issued(writer, 1), leaver.signal)
    leaver.abort(new Error('the client went away'))
    await expect(left).rejects.toThrow('the client went away')
    const staying = patient.check(issued(writer, 1))
    await Promise.all([expect(staying).rejects.toMatchObject({ code: 'STALE_VIEW' }), patient.view.close()])
  })
})
