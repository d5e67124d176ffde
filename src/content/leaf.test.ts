import { gcm } from '@noble/ciphers/aes.js'
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isHubError } from '../errors.ts'
import { leafOverheadBytes, maxBlockBytes, maxChunkBytes } from '../limits.ts'
import { seededBytes, testKeys } from './content.test-helper.ts'
import { openLeaf, sealLeaf } from './leaf.ts'

function blockOf(chunk: Uint8Array): { block: Uint8Array; digest: Uint8Array } {
  return sealLeaf(chunk, testKeys)
}

const isCorrupt = expect.toSatisfy((error) => isHubError(error, 'CORRUPT'))

function failureOf(act: () => unknown): unknown {
  try {
    act()
  } catch (error) {
    return error
  }
  return undefined
}

describe('a leaf', () => {
  test('is the same block in another implementation of GMAC, HMAC, AES-GCM and SHA-256', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5000 }), (chunk) => {
        const hashKey = hmac(sha256, testKeys.nonce, new TextEncoder().encode('artifact-hub/content/nonce-hash/v1'))
        const gmac = gcm(hashKey, new Uint8Array(12), chunk).encrypt(new Uint8Array(0))
        const length = new Uint8Array(8)
        new DataView(length.buffer).setBigUint64(0, BigInt(chunk.length))
        const nonce = hmac(sha256, testKeys.nonce, Buffer.concat([gmac, length])).subarray(0, 12)
        const sealed = gcm(testKeys.encryption, nonce).encrypt(chunk)
        const { block, digest } = blockOf(chunk)
        expect(Buffer.from(block)).toEqual(Buffer.concat([nonce, sealed]))
        expect(Buffer.from(digest)).toEqual(Buffer.from(sha256(block)))
        expect(Buffer.from(openLeaf(block, digest, testKeys.encryption))).toEqual(Buffer.from(chunk))
      }),
      { numRuns: 60 },
    )
  })

  test.each([0, 1, maxChunkBytes])('of %i bytes is 28 bytes longer and opens again', (length) => {
    const chunk = seededBytes('chunk', length)
    const { block, digest } = sealLeaf(chunk, testKeys)
    expect(block.length).toBe(length + leafOverheadBytes)
    expect(Buffer.compare(openLeaf(block, digest, testKeys.encryption), chunk)).toBe(0)
  })

  test('with any bit flipped is corrupt, by its digest, and under a digest of its own by its tag', () => {
    const { block, digest } = blockOf(seededBytes('chunk', 300))
    fc.assert(
      fc.property(fc.nat(block.length * 8 - 1), (bit) => {
        const flipped = block.slice()
        flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
        expect(failureOf(() => openLeaf(flipped, digest, testKeys.encryption))).toEqual(isCorrupt)
        expect(failureOf(() => openLeaf(flipped, sha256(flipped), testKeys.encryption))).toEqual(isCorrupt)
      }),
    )
  })

  test('under another key is corrupt', () => {
    const { block, digest } = blockOf(seededBytes('chunk', 300))
    expect(failureOf(() => openLeaf(block, digest, seededBytes('another', 32)))).toEqual(isCorrupt)
  })

  test.each([0, 12, 27])('of only %i bytes is corrupt', (length) => {
    const block = seededBytes('short', length)
    expect(failureOf(() => openLeaf(block, sha256(block), testKeys.encryption))).toEqual(isCorrupt)
  })

  test('above the largest block is corrupt even under its own digest', () => {
    const block = new Uint8Array(maxBlockBytes + 1)
    expect(failureOf(() => openLeaf(block, sha256(block), testKeys.encryption))).toEqual(isCorrupt)
  })

  test('tells its CID when it is corrupt', () => {
    const { block, digest } = blockOf(new Uint8Array(10))
    const error = failureOf(() => openLeaf(block.subarray(1), digest, testKeys.encryption))
    expect(isHubError(error) && error.details.cid).toMatch(/^bafkrei[a-z2-7]{52}$/)
  })
})
