import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { encodeCanonical } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { AgentKey, type SigningDomain } from '../identity/index.ts'
import { maxCapabilityBytes } from '../limits.ts'
import {
  gateways,
  group,
  issuer,
  latestClaims,
  leavesKey,
  pinnedClaims,
  shareClaims,
} from './capability.test-helper.ts'
import { claimsValue } from './claims-codec.ts'
import {
  type CapabilityClaims,
  compareAudience,
  decodeCapability,
  decodePresentation,
  encodePresentation,
  isGroupMemberProof,
  type LinkClaims,
  openLinkKey,
  proveGroupMember,
  signCapability,
  timeOf,
} from './index.ts'

const fill = (length: number, value: number) => new Uint8Array(length).fill(value)
const all: [string, CapabilityClaims][] = [
  ['share', shareClaims],
  ['link to a version', pinnedClaims],
  ['link to the latest', latestClaims],
]
const corrupt = expect.objectContaining({ code: 'CORRUPT' })
const tooLarge = expect.objectContaining({ code: 'TOO_LARGE' })
const unsupported = expect.objectContaining({ code: 'UNSUPPORTED_FORMAT' })
const invalid = expect.objectContaining({ code: 'INVALID_ARGUMENT' })

/** A token as the issuer would sign it, whatever it says. */
function signedAs(value: unknown, domain: SigningDomain = 'capability'): Uint8Array {
  const claims = value instanceof Uint8Array ? value : encodeCanonical(value)
  return encodeCanonical([claims, issuer.sign(domain, claims)])
}
const membersOf = (claims: CapabilityClaims) => claimsValue(claims) as Record<string, unknown>

/** With what codes the bytes are refused, over every single bit changed. */
function codesOfChanges(bytes: Uint8Array, decode: (bytes: Uint8Array) => unknown): unknown[] {
  const codes = new Set<unknown>()
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const bad = bytes.slice()
    bad[bit >> 3] = (bad[bit >> 3] as number) ^ (1 << (bit & 7))
    try {
      decode(bad)
      codes.add(`bit ${bit} is taken`)
    } catch (error) {
      codes.add(isHubError(error) ? error.code : error)
    }
  }
  return [...codes]
}

describe.each(all)('a %s', (_, claims) => {
  const { token } = signCapability(issuer, claims)

  it('says what was signed', () => {
    expect(decodeCapability(token)).toEqual({ claims, token })
    expect(signedAs(membersOf(claims))).toEqual(token)
  })

  it('is refused with every single bit changed', () => {
    expect(codesOfChanges(token, decodeCapability)).toEqual(['CORRUPT'])
  })

  it('is refused cut off anywhere, and with anything behind it', () => {
    for (let length = 0; length < token.length; length++) {
      expect(() => decodeCapability(token.subarray(0, length)), `${length} bytes`).toThrow(corrupt)
    }
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (more) => {
        expect(() => decodeCapability(Buffer.concat([token, more]))).toThrow(corrupt)
      }),
    )
    expect(() => decodeCapability(Buffer.concat([token, fill(maxCapabilityBytes, 0)]))).toThrow(tooLarge)
  })

  it('is refused under a signature of another kind, of another agent, or of nobody', () => {
    for (const domain of ['entry', 'group-member', 'envelope'] as const) {
      expect(() => decodeCapability(signedAs(membersOf(claims), domain))).toThrow(corrupt)
    }
    const bytes = encodeCanonical(membersOf(claims))
    const other = new AgentKey(fill(32, 99))
    for (const signature of [other.sign('capability', bytes), fill(64, 0), issuer.sign('capability', bytes).slice(1)]) {
      expect(() => decodeCapability(encodeCanonical([bytes, signature]))).toThrow(corrupt)
    }
  })

  it('is refused without a member, with one more, or with one of another type, whoever signed that', () => {
    const value = membersOf(claims)
    for (const name of Object.keys(value)) {
      const { [name]: _left, ...others } = value
      expect(() => decodeCapability(signedAs(others)), `without ${name}`).toThrow(corrupt)
      for (const wrong of [-1, 1.5, true, {}, 'x/'.repeat(25), fill(7, 1), ['x']]) {
        const bad = signedAs({ ...value, [name]: wrong })
        expect(() => decodeCapability(bad), `${name} = ${JSON.stringify(wrong)}`).toThrow(corrupt)
      }
    }
    expect(() => decodeCapability(signedAs({ ...value, more: null }))).toThrow(corrupt)
  })

  it('is refused when its members are in another order, twice there, or spelled in more bytes', () => {
    const bytes = encodeCanonical(membersOf(claims))
    const members = Object.entries(membersOf(claims)).map(([name, value]) => {
      return Buffer.concat([encodeCanonical(name), encodeCanonical(value)])
    })
    const map = (parts: Uint8Array[]) => Buffer.concat([Uint8Array.of(0xa0 | 0x18, parts.length).slice(0, 2), ...parts])
    const short = (parts: Uint8Array[]) =>
      parts.length < 24 ? Buffer.concat([Uint8Array.of(0xa0 + parts.length), ...parts]) : map(parts)
    const inOrder = members.toSorted((a, b) => (a[0] as number) - (b[0] as number) || Buffer.compare(a, b))
    expect(new Uint8Array(short(inOrder))).toEqual(bytes)
    fc.assert(
      fc.property(fc.shuffledSubarray(members, { minLength: members.length }), (shuffled) => {
        fc.pre(shuffled.some((member, at) => member !== inOrder[at]))
        expect(() => decodeCapability(signedAs(short(shuffled)))).toThrow(corrupt)
      }),
    )
    for (const [at, member] of inOrder.entries()) {
      expect(() => decodeCapability(signedAs(short(inOrder.toSpliced(at, 0, member))))).toThrow(corrupt)
    }
    // The count of members in two bytes where one does.
    const long = Buffer.concat([Uint8Array.of(0xb8, inOrder.length), ...inOrder])
    expect(inOrder.length).toBeLessThan(24)
    expect(() => decodeCapability(signedAs(long))).toThrow(corrupt)
  })

  it('of a later format is of a newer release only when its issuer says so', () => {
    const later = { ...membersOf(claims), v: 2, more: 'of everything' }
    expect(() => decodeCapability(signedAs(later))).toThrow(unsupported)
    expect(() => decodeCapability(signedAs(later, 'entry'))).toThrow(corrupt)
  })

  it('is refused when its times are milliseconds', () => {
    const { nbf, exp } = membersOf(claims) as { nbf: number; exp: number | null }
    const late = { ...membersOf(claims), exp: (exp ?? nbf + 1) * 1000 }
    expect(() => decodeCapability(signedAs(late))).toThrow(corrupt)
    expect(() => decodeCapability(signedAs({ ...late, nbf: nbf * 1000 }))).toThrow(corrupt)
  })
})

it('takes no bytes whatever for a capability, and fails in no other way', () => {
  const values = fc.anything({ withNullPrototype: false, maxDepth: 3 }).filter((value) => {
    try {
      return encodeCanonical(value).length > 0
    } catch {
      return false
    }
  })
  const badly = expect.toBeOneOf([corrupt, tooLarge, unsupported])
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(() => decodeCapability(bytes)).toThrow(badly)
    }),
  )
  fc.assert(
    fc.property(values, (value) => {
      expect(() => decodeCapability(signedAs(value))).toThrow(badly)
    }),
  )
})

describe('what no capability can say', () => {
  const agents = Array.from({ length: 17 }, (_, at) => new AgentKey(fill(32, at + 40)).publicKey)
  const audience = agents.map((id) => ({ kind: 'agent' as const, id })).sort(compareAudience)
  const boxes = pinnedClaims.pinned?.boxes ?? []
  const link = (change: Partial<LinkClaims>): LinkClaims => ({ ...pinnedClaims, ...change })
  const wrong: [string, CapabilityClaims][] = [
    ['no audience', { ...shareClaims, audience: [] }],
    ['17 audiences', { ...shareClaims, audience }],
    ['an audience twice', { ...shareClaims, audience: [audience[0], audience[0]] as typeof audience }],
    ['audiences out of order', { ...shareClaims, audience: audience.slice(0, 2).reverse() }],
    ['an end before its start', { ...shareClaims, expires: shareClaims.notBefore }],
    ['a link that never ends', { ...latestClaims, expires: undefined } as unknown as LinkClaims],
    ['a link of eight days', link({ expires: pinnedClaims.notBefore + 8 * 24 * 3600 })],
    ['a link for a group', { ...latestClaims, audience: [{ kind: 'group', id: group }] }],
    ['uses counted by two', link({ maxUses: 1 })],
    ['no use at all', { ...latestClaims, maxUses: 0 }],
    ['a version without a name', link({ name: undefined })],
    ['a version without a type', link({ contentType: undefined })],
    ['a name with a slash', link({ name: 'a/b' })],
    ['a name that leads up', link({ name: '..' })],
    ['a name with a line break', link({ name: 'a\r\nSet-Cookie: b' })],
    ['a type with a line break', link({ contentType: 'text/html\r\nSet-Cookie: b' })],
    ['a type that is none', link({ contentType: 'html' })],
    ['an ip that is none', link({ ip: 'example.org' })],
    ['a box too few', link({ pinned: { ...pinnedClaims.pinned, boxes: boxes.slice(1) } as LinkClaims['pinned'] })],
    ['five providers', link({ via: agents.slice(0, 5).map((agent) => ({ agent, addresses: [] })) })],
    ['a provider twice', link({ via: [0, 0].map(() => ({ agent: agents[0] as Uint8Array, addresses: [] })) })],
    [
      'five addresses',
      link({ via: [{ agent: agents[0] as Uint8Array, addresses: new Array(5).fill('/ip4/192.0.2.1') }] }),
    ],
    ['an address that is none', link({ via: [{ agent: agents[0] as Uint8Array, addresses: ['http://192.0.2.1'] }] })],
  ]

  it.each(wrong)('%s: is neither signed nor read', (_, claims) => {
    expect(() => signCapability(issuer, claims)).toThrow(invalid)
    expect(() => decodeCapability(signedAs(claimsValue(claims)))).toThrow(corrupt)
  })

  it('somebody else as its issuer', () => {
    expect(() => signCapability(gateways[0], shareClaims)).toThrow(invalid)
  })

  it('more than fits', () => {
    const long = `/dns4/${'a'.repeat(230)}/tcp/1`
    const via = agents.slice(0, 4).map((agent) => ({ agent, addresses: [long, long, long, long] }))
    expect(() => signCapability(issuer, link({ via }))).toThrow(tooLarge)
  })

  it('but sixteen gateways and four providers with ordinary addresses fit', () => {
    const sixteen = audience.slice(0, 16)
    const sealed = { ...pinnedClaims.pinned, boxes: new Array(16).fill(boxes[0]) } as LinkClaims['pinned']
    const addresses = ['/ip4/203.0.113.117/tcp/40001', '/ip6/2001:db8:1111:2222:3333:4444:5555:6666/tcp/40001']
    const via = agents.slice(0, 4).map((agent) => ({ agent, addresses: [...addresses, ...addresses] }))
    const name = 'n'.repeat(255)
    const { token } = signCapability(issuer, link({ audience: sixteen, pinned: sealed, via, name }))
    expect(decodeCapability(token).claims.audience).toHaveLength(16)
  })
})

describe('the time of a capability', () => {
  const at = (seconds: number) => timeOf(pinnedClaims, seconds * 1000)
  const { notBefore, expires } = pinnedClaims

  it('is judged with 60 seconds of skew on both sides', () => {
    expect(at(notBefore - 61)).toBe('not-yet')
    expect(at(notBefore - 59)).toBe('valid')
    expect(at(notBefore + 59)).toBe('valid')
    expect(at(notBefore + 61)).toBe('valid')
    expect(at(expires - 59)).toBe('valid')
    expect(at(expires - 61)).toBe('valid')
    expect(at(expires + 59)).toBe('valid')
    expect(at(expires + 61)).toBe('expired')
  })

  it('begins and ends on the millisecond', () => {
    expect(timeOf(pinnedClaims, notBefore * 1000 - 1, 0)).toBe('not-yet')
    expect(timeOf(pinnedClaims, notBefore * 1000, 0)).toBe('valid')
    expect(timeOf(pinnedClaims, expires * 1000 - 1, 0)).toBe('valid')
    expect(timeOf(pinnedClaims, expires * 1000, 0)).toBe('expired')
  })

  it('does not end for a share without an end', () => {
    expect(timeOf(shareClaims, Number.MAX_SAFE_INTEGER, 0)).toBe('valid')
  })
})

describe('the key in a link', () => {
  it('opens for each gateway that the link is for, and for nobody else', () => {
    for (const gateway of gateways) expect(openLinkKey(pinnedClaims, gateway)).toEqual(leavesKey)
    expect(openLinkKey(pinnedClaims, issuer)).toBeUndefined()
    expect(openLinkKey(latestClaims, gateways[0])).toBeUndefined()
  })

  it('opens in no other link: not of another name, artifact, namespace or key', () => {
    const { pinned } = pinnedClaims
    if (pinned === undefined) throw new Error('it is to a version')
    const others: LinkClaims[] = [
      { ...pinnedClaims, jti: fill(16, 77) },
      { ...pinnedClaims, artifact: fill(20, 77) },
      { ...pinnedClaims, namespace: fill(32, 77) },
      { ...pinnedClaims, pinned: { ...pinned, root: { ...pinned.root, keyId: fill(16, 77) } } },
    ]
    for (const other of others) expect(openLinkKey(other, gateways[0])).toBeUndefined()
  })
})

describe('a presentation', () => {
  const epochKey = new AgentKey(fill(32, 30))
  const context = { group, epoch: fill(16, 31), requester: gateways[0].publicKey, provider: gateways[1].publicKey }
  const proof = proveGroupMember(epochKey, context)
  const share = signCapability(issuer, shareClaims)

  it('is read as it was made', () => {
    expect(decodePresentation(encodePresentation(share.token, proof))).toEqual({ capability: share, proof })
    expect(decodePresentation(encodePresentation(share.token, undefined))).toEqual({
      capability: share,
      proof: undefined,
    })
  })

  it('proves a member to one provider, for one epoch of one group, and nobody else', () => {
    const { publicKey } = epochKey
    expect(isGroupMemberProof(proof, publicKey, context)).toBe(true)
    const swapped = { requester: context.provider, provider: context.requester }
    expect(isGroupMemberProof(proof, publicKey, swapped)).toBe(false)
    expect(isGroupMemberProof(proof, publicKey, { ...context, requester: issuer.publicKey })).toBe(false)
    expect(isGroupMemberProof(proof, publicKey, { ...context, provider: issuer.publicKey })).toBe(false)
    expect(isGroupMemberProof({ ...proof, epoch: fill(16, 32) }, publicKey, context)).toBe(false)
    expect(isGroupMemberProof({ ...proof, group: fill(32, 32) }, publicKey, context)).toBe(false)
    expect(isGroupMemberProof(proof, issuer.publicKey, context)).toBe(false)
  })

  it('is refused changed, cut off or too large', () => {
    const bytes = encodePresentation(share.token, undefined)
    expect(codesOfChanges(bytes, decodePresentation)).toEqual(['CORRUPT'])
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodePresentation(bytes.subarray(0, length))).toThrow(corrupt)
    }
    expect(() => decodePresentation(encodeCanonical([fill(8_192, 1), null]))).toThrow(tooLarge)
    expect(() => decodePresentation(encodeCanonical([share.token, [group, fill(15, 1), fill(64, 1)]]))).toThrow(corrupt)
    expect(() => decodePresentation(encodeCanonical([share.token]))).toThrow(corrupt)
  })
})
