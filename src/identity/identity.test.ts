import { createHmac, hkdfSync, randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { ed25519, x25519 } from '@noble/curves/ed25519.js'
import { hkdf as nobleHkdf } from '@noble/hashes/hkdf.js'
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { signedBytes } from './domains.ts'
import {
  AgentKey,
  decodeIdentityFile,
  encodeIdentityFile,
  formatDid,
  HmacKey,
  hkdf,
  isUsablePublicKey,
  openSealed,
  parseDid,
  Sealer,
  unwrapKey,
  verifySignature,
  wrapKey,
  wrappingKey,
} from './index.ts'

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const hex = (text: string) => new Uint8Array(Buffer.from(text, 'hex'))

describe('agent keys', () => {
  it('has the public key of RFC 8032 test 1 and the DID of did:key', () => {
    const key = new AgentKey(hex('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60'))
    expect(Buffer.from(key.publicKey).toString('hex')).toBe(
      'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    )
    expect(key.did).toMatch(/^did:key:z6Mk/)
    expect(parseDid(key.did)).toEqual(key.publicKey)
  })

  it('agrees with a second implementation on signatures and on the X25519 key of a DID', () => {
    fc.assert(
      fc.property(bytes(32), fc.uint8Array({ maxLength: 200 }), bytes(32), (seed, statement, other) => {
        const key = new AgentKey(seed)
        const signature = key.sign('entry', statement)
        expect(ed25519.sign(signedBytes('entry', statement), seed)).toEqual(signature)
        expect(verifySignature('entry', statement, key.publicKey, signature)).toBe(true)
        expect(x25519.getSharedSecret(other, ed25519.utils.toMontgomery(key.publicKey))).toEqual(
          key.agree(x25519.getPublicKey(other)),
        )
      }),
      { numRuns: 25 },
    )
  })

  it('refuses every changed bit of a signature, a statement or an author', () => {
    const key = new AgentKey(new Uint8Array(32).fill(7))
    const statement = Uint8Array.of(1, 2, 3)
    const signature = key.sign('entry', statement)
    for (let bit = 0; bit < 512; bit++) {
      const bad = signature.slice()
      bad[bit >> 3] = (bad[bit >> 3] as number) ^ (1 << (bit & 7))
      expect(verifySignature('entry', statement, key.publicKey, bad)).toBe(false)
      const author = key.publicKey.slice()
      author[(bit >> 3) & 31] = (author[(bit >> 3) & 31] as number) ^ (1 << (bit & 7))
      expect(verifySignature('entry', statement, author, signature)).toBe(false)
    }
    expect(verifySignature('entry', Uint8Array.of(1, 2), key.publicKey, signature)).toBe(false)
  })

  it('does not take the bare statement for a signed one, so kinds cannot be confused', () => {
    const key = new AgentKey(new Uint8Array(32).fill(9))
    const statement = randomBytes(40)
    expect(ed25519.verify(key.sign('entry', statement), statement, key.publicKey)).toBe(false)
  })

  it('agrees on nothing with what is no key, and leaves the traces of errors as they are', () => {
    const key = new AgentKey(new Uint8Array(32).fill(7))
    const before = Error.stackTraceLimit
    for (const length of [0, 31, 32, 33]) expect(() => key.agree(new Uint8Array(length))).toThrow(/not a usable X25519/)
    expect(Error.stackTraceLimit).toBe(before)
  })

  it('refuses small-order and non-canonical public keys', () => {
    const smallOrders = [
      '0100000000000000000000000000000000000000000000000000000000000000',
      'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      '0000000000000000000000000000000000000000000000000000000000000000',
      '0000000000000000000000000000000000000000000000000000000000000080',
      '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
      'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
      'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
      'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    ]
    for (const point of smallOrders) {
      expect(isUsablePublicKey(hex(point))).toBe(false)
      expect(() => parseDid(formatDid(hex(point)))).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    }
    expect(isUsablePublicKey(hex('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'))).toBe(true)
    for (const length of [0, 31, 33]) expect(isUsablePublicKey(new Uint8Array(length).fill(7))).toBe(false)
  })

  it('takes for a key exactly what can be sealed to', () => {
    // Near the bounds too: the lowest and highest numbers, and those with few bytes other than these have.
    const edge = fc.constantFrom(0, 1, 2, 0x7f, 0x80, 0xec, 0xed, 0xee, 0xff)
    const near = fc.tuple(fc.constantFrom(0, 0xff), edge, edge).map(([middle, first, last]) => {
      return Uint8Array.from({ length: 32 }, (_, at) => (at === 0 ? first : at === 31 ? last : middle))
    })
    fc.assert(
      fc.property(fc.oneof(near, bytes(32)), (key) => {
        let isSealed = true
        try {
          const context = { kind: 'epoch' as const, namespace: new Uint8Array(32), subject: new Uint8Array(0) }
          new Sealer(new Uint8Array(32).fill(3)).seal(new Uint8Array(32), key, {
            ...context,
            keyId: new Uint8Array(16),
          })
        } catch {
          isSealed = false
        }
        expect(isUsablePublicKey(key)).toBe(isSealed)
      }),
      { numRuns: 500 },
    )
  })

  it('refuses what is not an agent’s DID', () => {
    for (const did of [
      '',
      'did:key:',
      'did:web:example.com',
      'did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme',
      'did:key:z!!!',
    ]) {
      expect(() => parseDid(did)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    }
  })

  it('never prints its secret', () => {
    const seed = randomBytes(32)
    const key = new AgentKey(seed)
    const printed = `${inspect(key, { depth: 9, showHidden: true })}${JSON.stringify({ key })}`
    expect(printed).toContain(key.did)
    expect(printed).not.toContain(seed.toString('hex').slice(0, 8))
  })
})

describe('HKDF', () => {
  it('gives RFC 5869 test case 1', () => {
    const okm = hkdf(
      hex('0b'.repeat(22)),
      hex('f0f1f2f3f4f5f6f7f8f9'),
      42,
      new HmacKey(hex('000102030405060708090a0b0c')),
    )
    expect(Buffer.from(okm).toString('hex')).toBe(
      '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
    )
  })

  it('agrees with two other implementations', () => {
    fc.assert(
      fc.property(
        bytes(32),
        fc.uint8Array({ maxLength: 120 }),
        fc.integer({ min: 1, max: 64 }),
        (secret, info, length) => {
          const derived = hkdf(secret, info, length)
          expect(derived).toEqual(new Uint8Array(hkdfSync('sha256', secret, new Uint8Array(), info, length)))
          expect(derived).toEqual(nobleHkdf(nobleSha256, secret, undefined, info, length))
        },
      ),
    )
  })
})

describe('HMAC', () => {
  it('agrees with OpenSSL for keys up to a block and messages of any length, in one part or several', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 64 }),
        fc.uint8Array({ maxLength: 2_000, size: 'max' }),
        fc.nat(2_000),
        (key, message, at) => {
          const expected = new Uint8Array(createHmac('sha256', key).update(message).digest())
          expect(new HmacKey(key).mac(message)).toEqual(expected)
          expect(new HmacKey(key).mac(message.subarray(0, at), message.subarray(at))).toEqual(expected)
        },
      ),
    )
  })
})

describe('sealing and wrapping', () => {
  const context = (fill = 1) => ({
    kind: 'artifact' as const,
    namespace: new Uint8Array(32).fill(fill),
    subject: new Uint8Array(20).fill(2),
    keyId: new Uint8Array(16).fill(3),
  })

  it('opens for each recipient and for nobody else', () => {
    const agents = [1, 2, 3].map((fill) => new AgentKey(new Uint8Array(32).fill(fill)))
    const stranger = new AgentKey(new Uint8Array(32).fill(4))
    const secret = randomBytes(32)
    const sealer = new Sealer(randomBytes(32))
    const boxes = agents.map(({ publicKey }) => sealer.seal(secret, publicKey, context()))
    for (const agent of agents)
      expect(openSealed(sealer.ephemeral, boxes, agent, context())).toEqual(new Uint8Array(secret))
    expect(openSealed(sealer.ephemeral, boxes, stranger, context())).toBeUndefined()
  })

  it('opens in no other context, and not when changed', () => {
    const agent = new AgentKey(new Uint8Array(32).fill(1))
    const secret = randomBytes(32)
    const sealer = new Sealer(randomBytes(32))
    const box = sealer.seal(secret, agent.publicKey, context())
    const wrapped = wrapKey(secret, wrappingKey(randomBytes(32)), context())
    const others = [
      context(9),
      { ...context(), kind: 'epoch' as const },
      { ...context(), subject: new Uint8Array(20) },
      { ...context(), keyId: new Uint8Array(16) },
    ]
    for (const other of others) {
      expect(openSealed(sealer.ephemeral, [box], agent, other)).toBeUndefined()
      const under = wrappingKey(randomBytes(32))
      expect(unwrapKey(wrapKey(secret, under, context()), under, other)).toBeUndefined()
    }
    expect(unwrapKey(wrapped, wrappingKey(randomBytes(32)), context())).toBeUndefined()
    for (let at = 0; at < box.box.length; at++) {
      const bad = box.box.slice()
      bad[at] = (bad[at] as number) ^ 1
      expect(openSealed(sealer.ephemeral, [{ tag: box.tag, box: bad }], agent, context())).toBeUndefined()
    }
  })

  it('wraps what it unwraps', () => {
    fc.assert(
      fc.property(bytes(32), bytes(32), (secret, underBytes) => {
        const under = wrappingKey(underBytes)
        expect(unwrapKey(wrapKey(secret, under, context()), under, context())).toEqual(new Uint8Array(secret))
      }),
    )
  })
})

describe('identity file', () => {
  const seed = new Uint8Array(randomBytes(32))
  const salt = new Uint8Array(randomBytes(32))

  it('round-trips plain and behind a passphrase', async () => {
    expect(await decodeIdentityFile(await encodeIdentityFile(seed, undefined, salt), undefined)).toEqual(seed)
    const locked = await encodeIdentityFile(seed, 'correct horse', salt)
    expect(await decodeIdentityFile(locked, 'correct horse')).toEqual(seed)
    expect(Buffer.from(locked).includes(Buffer.from(seed))).toBe(false)
  })

  it('says what is wrong with the passphrase', async () => {
    const plain = await encodeIdentityFile(seed, undefined, salt)
    const locked = await encodeIdentityFile(seed, 'correct horse', salt)
    await expect(decodeIdentityFile(locked, undefined)).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    await expect(decodeIdentityFile(locked, 'wrong')).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
    await expect(decodeIdentityFile(plain, 'any')).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
  })

  it('refuses truncated, changed and oversized files', async () => {
    const plain = await encodeIdentityFile(seed, undefined, salt)
    for (let length = 0; length < plain.length; length++) {
      await expect(decodeIdentityFile(plain.subarray(0, length), undefined)).rejects.toMatchObject({ code: 'CORRUPT' })
    }
    await expect(decodeIdentityFile(new Uint8Array(2000), undefined)).rejects.toMatchObject({ code: 'TOO_LARGE' })
  })
})
