import { expect, test } from 'vitest'
import type { Capability, ShareClaims } from '../../../src/capability/index.ts'
import {
  maxEndedFollows,
  maxFollowedNamespaces,
  maxFollowedNamespacesOfSender,
  maxFollows,
  maxFollowsOfSender,
} from '../../../src/limits.ts'
import { FollowBook, type FollowEntry } from './follow-book.ts'

function numbered(length: number, value: number): Uint8Array {
  const bytes = new Uint8Array(length)
  new DataView(bytes.buffer).setUint32(0, value)
  return bytes
}

let jtis = 0

/** A share of a sender (a number) out of a namespace (a number). */
function share(sender: number, namespace: number): Capability<ShareClaims> {
  const jti = numbered(16, jtis++)
  const claims: ShareClaims = {
    kind: 'share',
    issuer: numbered(32, sender),
    grant: new Uint8Array(32),
    namespace: numbered(32, namespace),
    artifact: numbered(20, jtis % 1_000),
    audience: [{ kind: 'agent', id: new Uint8Array(32) }],
    notBefore: 0,
    expires: undefined,
    jti,
    after: 0,
  }
  return { claims, token: new Uint8Array(0) }
}

function entry(capability: Capability<ShareClaims>, more: Partial<FollowEntry> = {}): FollowEntry {
  const fresh = { ended: undefined, hasArrived: false, isOut: false, following: undefined, message: undefined }
  return { capability, scope: 'artifact', isKept: true, peers: [], ...fresh, ...more }
}

function fill(book: FollowBook, count: number, sender: number, namespace: (at: number) => number): FollowEntry[] {
  const entries = Array.from({ length: count }, (_, at) => entry(share(sender, namespace(at))))
  for (const one of entries) book.add(one)
  return entries
}

test('of one sender only so many are followed, and another’s all the same; what ends makes room', () => {
  const book = new FollowBook()
  const entries = fill(book, maxFollowsOfSender - 1, 1, () => 1)
  expect(book.boundFor({ capability: share(1, 1) }, [])).toBeUndefined()
  // Beside some that are about to be.
  expect(book.boundFor({ capability: share(1, 1) }, [{ capability: share(1, 1) }])).toBe('sender')
  expect(book.boundFor({ capability: share(1, 1) }, [{ capability: share(2, 1) }])).toBeUndefined()
  entries.push(...fill(book, 1, 1, () => 1))
  expect(book.boundFor({ capability: share(1, 1) }, [])).toBe('sender')
  expect(book.boundFor({ capability: share(2, 1) }, [])).toBeUndefined()
  expect(book.fullSenders).toHaveLength(1)
  book.end(entries[0] as FollowEntry, { reason: 'REVOKED', atMs: 1 })
  book.end(entries[0] as FollowEntry, { reason: 'EXPIRED', atMs: 2 })
  expect([book.boundFor({ capability: share(1, 1) }, []), book.fullSenders]).toEqual([undefined, []])
  book.remove(entries[0] as FollowEntry)
  book.remove(entries[1] as FollowEntry)
  expect(book.size).toBe(maxFollowsOfSender - 2)
})

test('of all senders only so many are followed; what a gateway follows for a while does not count', () => {
  const book = new FollowBook()
  for (let sender = 0; book.size < maxFollows; sender++)
    fill(book, Math.min(maxFollowsOfSender, maxFollows - book.size), sender, () => 1)
  expect(book.boundFor({ capability: share(99, 1) }, [])).toBe('all')
  const last = [...book.all()].at(-1) as FollowEntry
  book.remove(last)
  book.add(entry(share(98, 1), { isKept: false }))
  expect(book.boundFor({ capability: share(99, 1) }, [])).toBeUndefined()
})

test('namespaces are bounded, of one sender and in all: each is a log that is open', () => {
  const book = new FollowBook()
  fill(book, maxFollowedNamespacesOfSender, 1, (at) => at)
  expect(book.boundFor({ capability: share(1, 0) }, [])).toBeUndefined()
  expect(book.boundFor({ capability: share(1, 5_000) }, [])).toBe('namespaces of sender')
  expect(book.boundFor({ capability: share(2, 5_000) }, [])).toBeUndefined()
  for (let sender = 1; sender < maxFollowedNamespaces / maxFollowedNamespacesOfSender; sender++)
    fill(book, maxFollowedNamespacesOfSender, sender + 1, (at) => sender * maxFollowedNamespacesOfSender + at)
  expect(book.boundFor({ capability: share(99, 0) }, [])).toBeUndefined()
  expect(book.boundFor({ capability: share(99, 5_000) }, [])).toBe('namespaces')
})

test('of what ended the newest are remembered, and none for longer than it says', () => {
  const book = new FollowBook()
  const entries = fill(book, maxEndedFollows + 2, 1, () => 1)
  for (const [at, one] of entries.entries()) book.end(one, { reason: 'REVOKED', atMs: 1_000 + at })
  expect([...book.endedBefore(0)]).toEqual(entries.slice(0, 2))
  for (const one of entries.slice(0, 2)) book.remove(one)
  expect([...book.endedBefore(1_010)]).toEqual(entries.slice(2, 10))
  expect(book.size).toBe(0)
})

test('one is found by its name, namespace, artifact and jti, and takes the place of the one of that name', () => {
  const book = new FollowBook()
  const capability = share(1, 1)
  const { namespace, artifact, jti } = capability.claims
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  const peers = [{ agent: numbered(32, 7), addresses: ['/ip4/192.0.2.1/tcp/4001'] }]
  const [first, second] = [entry(capability), entry(capability, { peers })]
  book.add(first)
  book.add(second)
  for (const found of [
    book.of(hex(namespace)),
    book.about(artifact),
    book.withJti(hex(namespace), hex(jti)),
    book.all(),
  ])
    expect([...found]).toEqual([second])
  expect([book.size, book.peersOf(hex(namespace))]).toEqual([1, peers])
  book.remove(second)
  for (const found of [
    book.of(hex(namespace)),
    book.about(artifact),
    book.withJti(hex(namespace), hex(jti)),
    book.all(),
  ])
    expect([...found]).toEqual([])
  expect([[...book.namespaces], book.size]).toEqual([[], 0])
})
