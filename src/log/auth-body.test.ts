import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concatBytes, encodeCanonical, sha256 } from '../encoding/index.ts'
import { AgentKey } from '../identity/index.ts'
import { maxBoxesInEntry, maxCuts, maxEntryBytes, maxRevokedCapabilities, maxRevokedGrants } from '../limits.ts'
import { encodeHeader, encodeKeys } from './entry-codec.ts'
import {
  type AuthBody,
  decodeEntry,
  decodeUnverifiedEntry,
  encodeAuthBody,
  encodeEntry,
  type HeaderDraft,
  isSignedByAuthor,
  type KeySection,
  signEntry,
} from './index.ts'

const agent = new AgentKey(new Uint8Array(32).fill(5))
const fill = (length: number, value: number) => new Uint8Array(length).fill(value)
const keyId = fill(16, 9)

const draftOf = (kind: HeaderDraft['kind'], key?: Uint8Array): HeaderDraft => ({
  kind,
  namespace: kind === 'genesis' ? undefined : fill(32, 1),
  grant: kind === 'genesis' ? undefined : fill(32, 1),
  incarnation: fill(16, 2),
  seq: kind === 'genesis' ? 0 : 3,
  previous: kind === 'genesis' ? undefined : fill(32, 3),
  heads: [],
  clock: { wallMs: 1, counter: 2 },
  keyId: key,
  data: undefined,
})

const label = { jti: fill(16, 10), epoch: undefined }

const boxes = (count: number, id = keyId): KeySection => ({
  wraps: [{ keyId: fill(16, 4), under: id, box: fill(48, 5) }],
  ephemeral: count === 0 ? undefined : fill(32, 6),
  boxes: Array.from({ length: count }, () => ({ keyId: id, tag: fill(8, 7), box: fill(48, 8) })),
})

const signed = (kind: HeaderDraft['kind'], body: Uint8Array, keys?: KeySection) =>
  signEntry(agent, draftOf(kind, keys === undefined ? undefined : keyId), { body, keys })

/** Signed well, with no regard for what belongs together. */
const forged = (kind: HeaderDraft['kind'], body: Uint8Array, keys?: KeySection) => {
  const keysBytes = keys === undefined ? undefined : encodeKeys(keys)
  const keysHash = keysBytes === undefined ? undefined : sha256(keysBytes)
  const draft = draftOf(kind, keys === undefined ? undefined : keyId)
  const headerBytes = encodeHeader({ ...draft, author: agent.publicKey, keysHash, bodyHash: sha256(body) })
  return encodeCanonical([headerBytes, agent.sign('entry', headerBytes), keysBytes ?? null, body, null])
}

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const sorted = (items: Uint8Array[]) =>
  [...new Map(items.map((item) => [item.join(), item])).values()].sort(Buffer.compare)
const seq = fc.maxSafeNat()
const role = fc.constantFrom('admin', 'writer', 'reader')
const bodies: fc.Arbitrary<AuthBody> = fc.oneof(
  fc.record({
    kind: fc.constant('genesis' as const),
    type: fc.constantFrom('namespace' as const, 'group' as const),
    nonce: bytes(16),
  }),
  fc.record({
    kind: fc.constant('grant' as const),
    agent: bytes(32),
    role,
    sealed: fc.boolean(),
    via: fc.option(bytes(32), { nil: undefined }),
  }),
  fc
    .record({ agent: bytes(32), grants: fc.array(bytes(32), { minLength: 1, maxLength: 5 }), hash: bytes(32), seq })
    .map(({ grants, hash, ...rest }) => {
      const named = sorted(grants)
      const cuts = named.map((grant, at) => ({ grant, incarnation: fill(16, at), seq: rest.seq, hash }))
      return { kind: 'revoke' as const, agent: rest.agent, grants: named, cuts }
    }),
  fc.record({
    kind: fc.constant('adopt' as const),
    agent: bytes(32),
    grant: bytes(32),
    incarnation: bytes(16),
    seq,
    hash: bytes(32),
  }),
  fc.record({
    kind: fc.constant('rotate' as const),
    to: fc.array(bytes(8), { minLength: 1, maxLength: maxBoxesInEntry }).map(sorted),
  }),
  fc.record({
    kind: fc.constant('rotate' as const),
    to: fc.array(bytes(8), { minLength: 1, maxLength: maxBoxesInEntry }).map(sorted),
    publicKey: bytes(32),
    number: seq.map((value) => Math.max(1, value)),
  }),
  fc.record({
    kind: fc.constant('keys' as const),
    to: fc.array(bytes(8), { minLength: 1, maxLength: maxBoxesInEntry }).map(sorted),
  }),
  fc.record({
    kind: fc.constant('revoke-capability' as const),
    jtis: fc.array(bytes(16), { minLength: 1, maxLength: 20 }).map(sorted),
  }),
  fc.record({
    kind: fc.constant('descriptor' as const),
    group: bytes(32),
    proof: fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 10 }),
    role: fc.option(role, { nil: undefined }),
  }),
)

describe('auth entries', () => {
  it('say after decoding what was said', () => {
    fc.assert(
      fc.property(bodies, (body) => {
        const count = body.kind === 'grant' ? (body.sealed ? 1 : 0) : 'to' in body ? body.to.length : 0
        const { entry, bytes: stored } = signed(body.kind, encodeAuthBody(body), count === 0 ? undefined : boxes(count))
        expect(entry.auth).toEqual(body)
        expect(decodeEntry(stored)).toEqual(entry)
        expect(encodeAuthBody(entry.auth as AuthBody)).toEqual(entry.body)
      }),
      { numRuns: 60 },
    )
  })

  it('have room for all that their limits allow', () => {
    const grants = Array.from({ length: maxRevokedGrants }, (_, at) => fill(32, at))
    const cuts = Array.from({ length: maxCuts }, (_, at) => ({
      grant: fill(32, Math.floor(at / 8)),
      incarnation: fill(16, at % 8),
      seq: Number.MAX_SAFE_INTEGER,
      hash: fill(32, 3),
    }))
    const revoke = signed('revoke', encodeAuthBody({ kind: 'revoke', agent: fill(32, 1), grants, cuts }))
    expect(revoke.entry.auth).toMatchObject({ grants, cuts })
    const to = Array.from({ length: maxBoxesInEntry }, (_, at) => fill(8, at))
    const rotate = signed('rotate', encodeAuthBody({ kind: 'rotate', to }), boxes(maxBoxesInEntry))
    const jtis = Array.from({ length: maxRevokedCapabilities }, (_, at) => fill(16, at))
    const ended = signed('revoke-capability', encodeAuthBody({ kind: 'revoke-capability', jtis }))
    expect(Math.max(revoke.bytes.length, rotate.bytes.length, ended.bytes.length)).toBeLessThan(maxEntryBytes)
  })

  const revoke = {
    v: 1,
    agent: fill(32, 1),
    grants: [fill(32, 1), fill(32, 2)],
    cuts: [[0, fill(16, 1), 4, fill(32, 4)]],
  }
  const adopt = { v: 1, agent: fill(32, 1), grant: fill(32, 2), inc: fill(16, 3), seq: 0, hash: fill(32, 4) }
  const grant = { v: 1, agent: fill(32, 1), role: 'writer', to: false, via: null }
  const descriptor = { v: 1, group: fill(32, 1), proof: [fill(9, 1)], role: null }
  const labelled = { ...boxes(1), boxes: boxes(1).boxes.map((box) => ({ ...box, label })) }

  it('may be as the ones that the refusals below change', () => {
    for (const [kind, body] of [
      ['revoke', revoke],
      ['adopt', adopt],
      ['grant', grant],
      ['descriptor', descriptor],
      ['revoke-capability', { v: 1, jtis: [fill(16, 1)] }],
    ] as const) {
      expect(signed(kind, encodeCanonical(body)).entry.auth?.kind).toBe(kind)
      expect(decodeEntry(forged(kind, encodeCanonical(body))).auth?.kind).toBe(kind)
    }
    expect(
      signed('rotate', encodeCanonical({ v: 1, to: fill(8, 1), pub: null, gen: 0 }), boxes(1)).entry.auth?.kind,
    ).toBe('rotate')
  })

  it.each([
    ['a genesis without a nonce', 'genesis', { v: 1, type: 0 }, undefined],
    ['a genesis of nothing known', 'genesis', { v: 1, nonce: fill(16, 1), type: 2 }, undefined],
    ['a grant of the owner’s role', 'grant', { ...grant, role: 'owner' }, undefined],
    ['a grant with more to say', 'grant', { ...grant, more: 1 }, undefined],
    ['a grant of a key that is not there', 'grant', { ...grant, to: true }, undefined],
    ['a grant that hides its key', 'grant', grant, boxes(1)],
    ['a key for a replica', 'grant', { ...grant, role: 'replica', to: true }, boxes(1)],
    ['a grant with two boxes', 'grant', { ...grant, to: true }, boxes(2)],
    ['a revoke of nothing', 'revoke', { ...revoke, grants: [], cuts: [] }, undefined],
    ['grants out of order', 'revoke', { ...revoke, grants: [fill(32, 2), fill(32, 1)] }, undefined],
    [
      'a cut of a grant that is not named',
      'revoke',
      { ...revoke, cuts: [[2, fill(16, 1), 4, fill(32, 4)]] },
      undefined,
    ],
    [
      'two cuts of a chain',
      'revoke',
      { ...revoke, cuts: [0, 0].map((at) => [at, fill(16, 1), 4, fill(32, 4)]) },
      undefined,
    ],
    [
      'cuts out of order',
      'revoke',
      { ...revoke, cuts: [1, 0].map((at) => [at, fill(16, 1), 4, fill(32, 4)]) },
      undefined,
    ],
    ['a negative cut', 'revoke', { ...revoke, cuts: [[0, fill(16, 1), -1, fill(32, 4)]] }, undefined],
    ['a revoke with keys', 'revoke', revoke, boxes(0)],
    ['an adopt of no entry', 'adopt', { ...adopt, hash: fill(31, 4) }, undefined],
    ['a rotate without keys', 'rotate', { v: 1, to: fill(8, 1), pub: null, gen: 0 }, undefined],
    ['a rotate to nobody', 'rotate', { v: 1, to: fill(0, 1), pub: null, gen: 0 }, boxes(0)],
    ['a rotate to part of a grant', 'rotate', { v: 1, to: fill(9, 1), pub: null, gen: 0 }, boxes(1)],
    ['keys to one grant twice', 'keys', { v: 1, to: fill(16, 1) }, boxes(2)],
    ['more boxes than grants', 'keys', { v: 1, to: fill(8, 1) }, boxes(2)],
    ['boxes of another key', 'keys', { v: 1, to: fill(8, 1) }, boxes(1, fill(16, 8))],
    ['a box for a capability', 'keys', { v: 1, to: fill(8, 1) }, labelled],
    ['a key of a group without a number', 'rotate', { v: 1, to: fill(8, 1), pub: fill(32, 1), gen: 0 }, boxes(1)],
    ['a number without a key of a group', 'rotate', { v: 1, to: fill(8, 1), pub: null, gen: 1 }, boxes(1)],
    ['a grant by way of part of a group', 'grant', { ...grant, via: fill(31, 1) }, undefined],
    ['a rotate that leaves out its public key', 'rotate', { v: 1, to: fill(8, 1), gen: 0 }, boxes(1)],
    ['a public key of keys', 'keys', { v: 1, to: fill(8, 1), pub: null }, boxes(1)],
    ['no capability', 'revoke-capability', { v: 1, jtis: [] }, undefined],
    ['a capability twice', 'revoke-capability', { v: 1, jtis: [fill(16, 1), fill(16, 1)] }, undefined],
    ['capabilities out of order', 'revoke-capability', { v: 1, jtis: [fill(16, 2), fill(16, 1)] }, undefined],
    ['keys with a revoke-capability', 'revoke-capability', { v: 1, jtis: [fill(16, 1)] }, boxes(1)],
    ['a descriptor that proves nothing', 'descriptor', { ...descriptor, proof: [] }, undefined],
    ['a descriptor of no group', 'descriptor', { ...descriptor, group: fill(31, 1) }, undefined],
    ['a descriptor that makes owners', 'descriptor', { ...descriptor, role: 'owner' }, undefined],
  ] as const)('are refused for %s, by who makes them and by who reads them', (_, kind, body, keys) => {
    const refusal = expect.objectContaining({ code: 'CORRUPT' })
    expect(() => signed(kind, encodeCanonical(body), keys)).toThrow(refusal)
    expect(() => decodeEntry(forged(kind, encodeCanonical(body), keys))).toThrow(refusal)
  })

  it.each([0, 2])('of version %s are left alone', (v) => {
    expect(() => signed('grant', encodeCanonical({ ...grant, v }))).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED_FORMAT' }),
    )
  })

  it('have their body in every copy, and their keys in every whole one', () => {
    const to = [fill(8, 1)]
    const { entry } = signed('rotate', encodeAuthBody({ kind: 'rotate', to }), boxes(1))
    const keyless = encodeEntry({ ...entry, keysBytes: undefined })
    expect(() => decodeEntry(keyless)).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
    expect(decodeEntry(keyless, { partial: true })).toEqual({ ...entry, keys: undefined, keysBytes: undefined })
    const mute = encodeEntry({ ...entry, body: undefined })
    for (const partial of [true, false]) {
      expect(() => decodeEntry(mute, { partial })).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
    }
    const other = encodeEntry({ ...entry, keysBytes: concatBytes(entry.keysBytes as Uint8Array, fill(1, 0)) })
    expect(() => decodeEntry(other, { partial: true })).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
  })

  it('can have their signatures checked apart', () => {
    const { entry } = signed('grant', encodeCanonical(grant))
    const foreign = encodeEntry({ ...entry, signature: fill(64, 1) })
    expect(isSignedByAuthor(decodeUnverifiedEntry(encodeEntry(entry)))).toBe(true)
    expect(isSignedByAuthor(decodeUnverifiedEntry(foreign))).toBe(false)
    expect(() => decodeEntry(foreign)).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
  })
})
