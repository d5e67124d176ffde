import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'

// Handing createHmac a KeyObject takes it half the time of raw bytes; hkdfSync takes ten times as long as these two
// HMACs, and creating an artifact derives half a dozen keys.
const noSalt = createSecretKey(new Uint8Array(32))

/**
 * HKDF-SHA-256 (RFC 5869).
 *
 * @param length bytes, at most 64
 */
export function hkdf(secret: Uint8Array, info: Uint8Array, length = 32, salt?: Uint8Array): Uint8Array<ArrayBuffer> {
  return hkdfExpand(hkdfExtract(secret, salt), info, length)
}

/** RFC 5869 section 2.2: the pseudorandom key to expand many labels from. */
export function hkdfExtract(secret: Uint8Array, salt?: Uint8Array): KeyObject {
  const key = salt === undefined ? noSalt : createSecretKey(salt)
  return createSecretKey(createHmac('sha256', key).update(secret).digest())
}

/** RFC 5869 section 2.3, for at most 64 bytes. */
export function hkdfExpand(pseudorandomKey: KeyObject, info: Uint8Array, length = 32): Uint8Array<ArrayBuffer> {
  if (length > 64) throw new RangeError('two blocks are all that anything here needs')
  const output = new Uint8Array(length)
  const first = createHmac('sha256', pseudorandomKey).update(info).update(Uint8Array.of(1)).digest()
  output.set(first.subarray(0, length))
  if (length > 32) {
    const second = createHmac('sha256', pseudorandomKey).update(first).update(info).update(Uint8Array.of(2)).digest()
    output.set(second.subarray(0, length - 32), 32)
  }
  return output
}
