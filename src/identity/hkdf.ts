import { concatBytes, sha256 } from '../encoding/index.ts'

const blockBytes = 64
const hashBytes = 32

/**
 * A key of HMAC-SHA-256 (RFC 2104), at hand for several messages. Of two one-shot hashes, because they take a third of
 * the time of `createHmac`, and creating an artifact takes seven of these.
 */
export class HmacKey {
  readonly #inner = new Uint8Array(blockBytes)
  readonly #outer = new Uint8Array(blockBytes)

  /** @param key at most 64 bytes */
  constructor(key: Uint8Array) {
    if (key.length > blockBytes) throw new RangeError('no key here is longer than a block')
    for (let at = 0; at < blockBytes; at++) {
      const byte = at < key.length ? (key[at] as number) : 0
      this.#inner[at] = byte ^ 0x36
      this.#outer[at] = byte ^ 0x5c
    }
  }

  /** HMAC-SHA-256 of the message's parts, 32 bytes. */
  mac(...message: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
    return sha256(this.#outer, sha256(this.#inner, ...message))
  }
}

// RFC 5869 section 2.2: no salt is 32 zeros.
const noSalt = new HmacKey(new Uint8Array(hashBytes))
const counters = [Uint8Array.of(1), Uint8Array.of(2)] as const

/**
 * HKDF-SHA-256 (RFC 5869).
 *
 * @param length bytes, at most 64
 */
export function hkdf(secret: Uint8Array, info: Uint8Array, length = 32, salt?: HmacKey): Uint8Array<ArrayBuffer> {
  return hkdfExpand(hkdfExtract(secret, salt), info, length)
}

/** RFC 5869 section 2.2: the pseudorandom key to expand many labels from. */
export function hkdfExtract(secret: Uint8Array, salt = noSalt): HmacKey {
  return new HmacKey(salt.mac(secret))
}

/** RFC 5869 section 2.3, for at most 64 bytes. */
export function hkdfExpand(pseudorandomKey: HmacKey, info: Uint8Array, length = 32): Uint8Array<ArrayBuffer> {
  if (length > 2 * hashBytes) throw new RangeError('two blocks are all that anything here needs')
  const first = pseudorandomKey.mac(info, counters[0])
  if (length === hashBytes) return first
  if (length < hashBytes) return first.slice(0, length)
  return concatBytes(first, pseudorandomKey.mac(first, info, counters[1])).slice(0, length)
}
