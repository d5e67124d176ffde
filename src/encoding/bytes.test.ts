import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bytesText, sha256, toHex } from './bytes.ts'

const anyBytes = fc.oneof(fc.uint8Array({ maxLength: 80 }), fc.uint8Array({ maxLength: 3_000, size: 'max' }))

test('sha256 is that of the parts joined, in whatever parts', () => {
  fc.assert(
    fc.property(fc.array(anyBytes, { maxLength: 6 }), (parts) => {
      const digest = sha256(...parts)
      expect(digest).toEqual(new Uint8Array(createHash('sha256').update(Buffer.concat(parts)).digest()))
      expect(sha256(Buffer.concat(parts))).toEqual(digest)
    }),
  )
})

test('hex and latin1 texts are those of the bytes, views of larger memory too', () => {
  fc.assert(
    fc.property(anyBytes, fc.nat(50), (bytes, from) => {
      const view = bytes.subarray(from)
      expect(toHex(view)).toBe(Buffer.from(view).toString('hex'))
      expect(bytesText(view)).toBe(Buffer.from(view).toString('latin1'))
    }),
  )
})
