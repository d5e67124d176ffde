import { describe, expect, test } from 'vitest'
import {
  type Capability,
  capabilityName,
  type ShareClaims,
  sealEnvelope,
  signCapability,
} from '../../../src/capability/index.ts'
import { toHex } from '../../../src/encoding/index.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import type { KnownPeer, Receipt } from '../../../src/exchange/index.ts'
import { AgentKey } from '../../../src/identity/index.ts'
import { maxDroppedRequests, maxRequests, maxRequestsOfSender } from '../../../src/limits.ts'
import { MemoryKeyValueStore } from '../../../test/support/memory-key-value.ts'
import { Inbox } from './inbox.ts'
import { groupRequestName, Requests } from './requests.ts'

const fill = (length: number, value: number) => new Uint8Array(length).fill(value)
const numbered = (length: number, value: number) => {
  const bytes = new Uint8Array(length)
  new DataView(bytes.buffer).setUint32(0, value)
  return bytes
}
const me = new AgentKey(fill(32, 1))
const self = me.publicKey
const friend = new AgentKey(fill(32, 2))
const stranger = new AgentKey(fill(32, 3))
const signal = new AbortController().signal
const nowMs = 1_800_000_000_000
const nowSeconds = nowMs / 1000

class Desk {
  readonly store = new MemoryKeyValueStore()
  readonly held: { readonly name: string; readonly peers: readonly KnownPeer[] }[] = []
  readonly deposited: number[] = []
  readonly droppedInGroup: string[] = []
  readonly joined: string[] = []
  isInGroup = false
  isAway = false
  aheadMs = 0
  /** How many may be held. */
  room = Number.POSITIVE_INFINITY

  async open(): Promise<{ inbox: Inbox; requests: Requests }> {
    const requests = await Requests.open(this.store)
    const inbox = new Inbox({
      self,
      now: () => nowMs + this.aheadMs,
      requests,
      isContact: (agent) => toHex(agent) === toHex(friend.publicKey),
      isHeld: (name) => this.held.some((one) => one.name === toHex(name)),
      hold: async (envelopes, peers) =>
        envelopes.map(({ capability: { claims } }) => {
          if (this.held.length >= this.room) return 'full'
          this.held.push({ name: toHex(capabilityName(claims)), peers })
          return 'taken'
        }),
      depositAll: async (_, { envelopes }) => {
        if (!this.isInGroup) return undefined
        this.deposited.push(envelopes.length)
        return envelopes.map((): Receipt => 'taken')
      },
      dropInGroup: async (group, name) => {
        this.droppedInGroup.push(`${toHex(group)} ${toHex(name)}`)
      },
      joinGroup: async (group, from) => {
        if (this.isAway) throw new ArtifactHubError('UNAVAILABLE', 'nobody is there')
        this.joined.push(`${toHex(group)} ${toHex(from)}`)
      },
    })
    return { inbox, requests }
  }
}

function shareOf(issuer: AgentKey, jti: number, more: Partial<ShareClaims> = {}): Capability<ShareClaims> {
  return signCapability(issuer, {
    kind: 'share',
    issuer: issuer.publicKey,
    grant: fill(32, 7),
    namespace: fill(32, 8),
    artifact: fill(20, 9),
    audience: [{ kind: 'agent', id: self }],
    notBefore: nowSeconds,
    expires: undefined,
    jti: numbered(16, jti),
    after: 0,
    ...more,
  })
}

function envelopeOf(issuer: AgentKey, jti: number, more: Partial<ShareClaims> = {}): Uint8Array {
  const capability = shareOf(issuer, jti, more)
  return sealEnvelope(issuer, {
    capability,
    name: 'report.pdf',
    contentType: 'application/pdf',
    sizeBytes: 10,
    message: undefined,
  })
}

const nameOf = (issuer: AgentKey, jti: number) => capabilityName(shareOf(issuer, jti).claims)

const peer: KnownPeer = { agent: fill(32, 60), addresses: ['/ip4/192.0.2.1/tcp/4001'] }
const delivered = (...envelopes: readonly Uint8Array[]) => ({ envelopes, group: undefined, peers: [peer] })

describe('what comes from a contact', () => {
  test('is followed at once, with the peers that it names', async () => {
    const desk = new Desk()
    const { inbox } = await desk.open()
    expect(await inbox.receive(delivered(envelopeOf(friend, 1)), friend.publicKey, signal)).toEqual(['taken'])
    expect(desk.held).toEqual([
      { name: toHex(nameOf(friend, 1)), peers: [{ agent: friend.publicKey, addresses: [] }, peer] },
    ])
    expect(await inbox.receive(delivered(envelopeOf(friend, 1)), friend.publicKey, signal)).toEqual(['taken'])
    expect(desk.held).toHaveLength(1)
    expect(await inbox.list()).toEqual([])
  })

  test('is followed when another brings it, whose word for peers is not taken', async () => {
    const desk = new Desk()
    const { inbox } = await desk.open()
    await inbox.receive(delivered(envelopeOf(friend, 1)), stranger.publicKey, signal)
    expect(desk.held[0]?.peers).toEqual([{ agent: stranger.publicKey, addresses: [] }])
  })
})

test('what somebody else signs of the same jti neither takes the place of a share nor keeps it away', async () => {
  for (const [first, second] of [
    [stranger, friend],
    [stranger, new AgentKey(fill(32, 4))],
  ] as const) {
    const desk = new Desk()
    const { inbox } = await desk.open()
    await inbox.receive(delivered(envelopeOf(first, 1)), stranger.publicKey, signal)
    await inbox.drop(nameOf(first, 1))
    await inbox.receive(delivered(envelopeOf(first, 1, { namespace: fill(32, 9) })), stranger.publicKey, signal)
    expect(await inbox.receive(delivered(envelopeOf(second, 1)), second.publicKey, signal)).toEqual(['taken'])
    const known = [...desk.held.map(({ name }) => name), ...(await inbox.list()).map(({ name }) => toHex(name))]
    expect(known).toContain(toHex(nameOf(second, 1)))
    expect(known).toHaveLength(2)
  }
})

describe('what comes from a stranger', () => {
  test('waits, over a restart, until it is accepted', async () => {
    const desk = new Desk()
    const { inbox } = await desk.open()
    expect(await inbox.receive(delivered(envelopeOf(stranger, 1)), stranger.publicKey, signal)).toEqual(['taken'])
    expect(desk.held).toEqual([])
    const { inbox: later } = await desk.open()
    const [waiting] = await later.list()
    expect(waiting).toMatchObject({ sender: stranger.publicKey, content: { name: 'report.pdf' }, receivedMs: nowMs })
    await later.accept(nameOf(stranger, 1))
    expect(desk.held).toEqual([
      { name: toHex(nameOf(stranger, 1)), peers: [{ agent: stranger.publicKey, addresses: [] }] },
    ])
    expect(await (await desk.open()).inbox.list()).toEqual([])
    await expect(later.accept(nameOf(stranger, 1))).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  test('does not come again once it was dropped, over a restart', async () => {
    const desk = new Desk()
    const { inbox } = await desk.open()
    await inbox.receive(delivered(envelopeOf(stranger, 1)), stranger.publicKey, signal)
    await inbox.drop(nameOf(stranger, 1))
    await expect(inbox.drop(nameOf(stranger, 1))).rejects.toMatchObject({ code: 'NOT_FOUND' })
    for (const again of [inbox, (await desk.open()).inbox]) {
      expect(await again.receive(delivered(envelopeOf(stranger, 1)), stranger.publicKey, signal)).toEqual(['taken'])
      expect(await again.list()).toEqual([])
    }
  })

  test('is kept in a bounded number, of one sender and in all', async () => {
    const desk = new Desk()
    const { inbox } = await desk.open()
    let jti = 0
    const send = async (issuer: AgentKey) =>
      (await inbox.receive(delivered(envelopeOf(issuer, jti++)), issuer.publicKey, signal))[0]
    for (let at = 0; at < maxRequestsOfSender; at++) expect(await send(stranger)).toBe('taken')
    expect(await send(stranger)).toBe('full')
    let waiting = maxRequestsOfSender
    for (let sender = 10; waiting < maxRequests; sender++) {
      const issuer = new AgentKey(numbered(32, sender))
      for (let at = 0; at < maxRequestsOfSender && waiting < maxRequests; at++, waiting++)
        expect(await send(issuer)).toBe('taken')
    }
    expect(await send(new AgentKey(fill(32, 77)))).toBe('full')
    expect(await inbox.list()).toHaveLength(maxRequests)
  }, 60_000)

  test('that expired while it waited is not shown and cannot be accepted', async () => {
    const desk = new Desk()
    const { inbox, requests } = await desk.open()
    const expires = nowSeconds - 3600
    const envelope = envelopeOf(stranger, 1, { notBefore: expires - 10, expires })
    await requests.add({ name: nameOf(stranger, 1), sender: stranger.publicKey, envelope, peers: [], receivedMs: 1 })
    expect(await inbox.list()).toEqual([])
    await expect(inbox.accept(nameOf(stranger, 1))).rejects.toMatchObject({ code: 'EXPIRED' })
    expect(desk.held).toEqual([])
  })
})

describe('what is for nobody here', () => {
  const other = new AgentKey(fill(32, 50)).publicKey
  const group = fill(32, 40)
  test.each<[string, () => Uint8Array]>([
    ['for another agent', () => envelopeOf(friend, 1, { audience: [{ kind: 'agent', id: other }] })],
    ['for a group', () => envelopeOf(friend, 1, { audience: [{ kind: 'group', id: group }] })],
    ['expired', () => envelopeOf(friend, 1, { notBefore: 1, expires: nowSeconds - 61 })],
    ['from this agent itself', () => envelopeOf(me, 1)],
    ['garbled', () => fill(200, 3)],
    ['cut off', () => envelopeOf(friend, 1).subarray(0, 100)],
  ])('is refused: %s', async (_, make) => {
    const desk = new Desk()
    const { inbox } = await desk.open()
    const both = delivered(make(), envelopeOf(friend, 2))
    expect(await inbox.receive(both, friend.publicKey, signal)).toEqual(['refused', 'taken'])
    expect(desk.held).toHaveLength(1)
  })

  test('goes to a group only where this agent is in it', async () => {
    const desk = new Desk()
    const { inbox } = await desk.open()
    const delivery = { ...delivered(envelopeOf(friend, 1, { audience: [{ kind: 'group', id: group }] })), group }
    expect(await inbox.receive(delivery, friend.publicKey, signal)).toEqual(['refused'])
    desk.isInGroup = true
    expect(await inbox.receive(delivery, friend.publicKey, signal)).toEqual(['taken'])
    expect(desk.deposited).toEqual([1])
    expect(desk.held).toEqual([])
  })
})

test('what was dropped is forgotten only when there is too much of it, the oldest first', async () => {
  const store = new MemoryKeyValueStore()
  let requests = await Requests.open(store)
  const drop = async (jti: number) => {
    await requests.add({ name: numbered(16, jti), sender: self, envelope: fill(1, 1), peers: [], receivedMs: 1 })
    await requests.drop(numbered(16, jti))
  }
  for (let jti = 0; jti < maxDroppedRequests; jti++) await drop(jti)
  requests = await Requests.open(store)
  expect(requests.isDropped(numbered(16, 0))).toBe(true)
  await drop(maxDroppedRequests)
  expect(requests.isDropped(numbered(16, 0))).toBe(false)
  expect(requests.isDropped(numbered(16, 1))).toBe(true)
  expect((await Requests.open(store)).isDropped(numbered(16, maxDroppedRequests))).toBe(true)
}, 60_000)

describe('a group that a stranger says this agent is in', () => {
  const groupOf = (number: number, sender = stranger.publicKey) => {
    const group = numbered(32, number)
    return { name: groupRequestName(group), group, sender, peers: [], receivedMs: nowMs }
  }

  test('waits among shares, over a restart, until it is joined or dropped', async () => {
    const desk = new Desk()
    const { inbox, requests } = await desk.open()
    await inbox.receive(delivered(envelopeOf(stranger, 1)), stranger.publicKey, signal)
    await requests.add(groupOf(1))
    await requests.add(groupOf(2))
    const { inbox: later, requests: again } = await desk.open()
    const waiting = await later.list()
    const groups = waiting.map(({ group }) => group && toHex(group)).sort()
    expect(groups).toEqual([toHex(numbered(32, 1)), toHex(numbered(32, 2)), undefined])
    desk.isAway = true
    await expect(later.accept(groupOf(1).name)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(await later.list()).toHaveLength(3)
    desk.isAway = false
    await later.accept(groupOf(1).name)
    expect(desk.joined).toEqual([`${toHex(numbered(32, 1))} ${toHex(stranger.publicKey)}`])
    await later.drop(groupOf(2).name)
    await expect(later.accept(groupOf(2).name)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    expect(await later.list()).toHaveLength(1)
    expect(again.isDropped(groupOf(2).name)).toBe(true)
    expect((await desk.open()).requests.isDropped(groupOf(2).name)).toBe(true)
    expect(desk.droppedInGroup).toEqual([])
  })

  test('takes of the same room as what its sender shares', async () => {
    const desk = new Desk()
    const { inbox, requests } = await desk.open()
    for (let number = 1; number < maxRequestsOfSender; number++)
      expect(await requests.add(groupOf(number))).toBe('taken')
    expect(requests.hasRoom(stranger.publicKey)).toBe(true)
    expect(await inbox.receive(delivered(envelopeOf(stranger, 1)), stranger.publicKey, signal)).toEqual(['taken'])
    expect(requests.hasRoom(stranger.publicKey)).toBe(false)
    expect(await requests.add(groupOf(100))).toBe('full')
    expect(await inbox.receive(delivered(envelopeOf(stranger, 2)), stranger.publicKey, signal)).toEqual(['full'])
    expect(await requests.add(groupOf(100, friend.publicKey))).toBe('taken')
  })
})

test('a share with a group that is dropped is dropped for the group where this agent may say so', async () => {
  const desk = new Desk()
  const { inbox } = await desk.open()
  const group = fill(32, 20)
  const capability = shareOf(stranger, 1, { audience: [{ kind: 'group', id: group }] })
  const envelope = envelopeOf(stranger, 1, { audience: [{ kind: 'group', id: group }] })
  await inbox.keep({ capability, envelope, peers: [], isStrange: true, author: friend.publicKey })
  await inbox.drop(capabilityName(capability.claims))
  expect(desk.droppedInGroup).toEqual([`${toHex(group)} ${toHex(capabilityName(capability.claims))}`])
})

test('what has expired makes room', async () => {
  const desk = new Desk()
  const { inbox } = await desk.open()
  const soon = { expires: nowSeconds + 3_600 }
  for (let jti = 1; jti < maxRequestsOfSender; jti++)
    await inbox.receive(delivered(envelopeOf(stranger, jti, soon)), stranger.publicKey, signal)
  await inbox.receive(delivered(envelopeOf(stranger, 100)), stranger.publicKey, signal)
  expect(await inbox.receive(delivered(envelopeOf(stranger, 200)), stranger.publicKey, signal)).toEqual(['full'])
  desk.aheadMs = 2 * 3_600_000
  expect(await inbox.receive(delivered(envelopeOf(stranger, 200)), stranger.publicKey, signal)).toEqual(['taken'])
  expect(await inbox.list()).toHaveLength(2)
})
