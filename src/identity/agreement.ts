import { createPrivateKey, createPublicKey, diffieHellman, type KeyObject } from 'node:crypto'
import { toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'

// RFC 8410: the fixed DER before the 32 raw bytes.
const privatePrefix = Buffer.from('302e020100300506032b656e04220420', 'hex')

/** An X25519 private key from its 32 bytes. */
export function agreementPrivateKey(scalar: Uint8Array): KeyObject {
  const key = Buffer.concat([privatePrefix, scalar])
  return withoutTraces(() => createPrivateKey({ key, format: 'der', type: 'pkcs8' }))
}

/** The raw X25519 public key of a private one, 32 bytes. */
export function agreementPublicBytes(privateKey: KeyObject): Uint8Array<ArrayBuffer> {
  // As a JWK, here too: ten times as fast as in DER.
  return new Uint8Array(Buffer.from(createPublicKey(privateKey).export({ format: 'jwk' }).x as string, 'base64url'))
}

/** X25519 (RFC 7748), 32 bytes. @throws CORRUPT for a low-order point */
export function agree(privateKey: KeyObject, publicBytes: Uint8Array): Uint8Array<ArrayBuffer> {
  try {
    // RFC 8037. Node takes twice as long for the same key in DER.
    const key = { kty: 'OKP', crv: 'X25519', x: Buffer.from(publicBytes).toString('base64url') }
    const publicKey = withoutTraces(() => createPublicKey({ key, format: 'jwk' }))
    return new Uint8Array(diffieHellman({ privateKey, publicKey }))
  } catch (cause) {
    throw new ArtifactHubError('CORRUPT', 'not a usable X25519 public key', { cause })
  }
}

/**
 * Node finds out what it is to make a key of by calls that throw, several a key, and under a deep stack the traces of these errors take longer
 * than the key.
 */
function withoutTraces(make: () => KeyObject): KeyObject {
  const before = Error.stackTraceLimit
  Error.stackTraceLimit = 0
  try {
    return make()
  } finally {
    Error.stackTraceLimit = before
  }
}

/**
 * Whether 32 bytes can be an honest agent's Ed25519 public key: y is a canonical field element and the order is not
 * small. OpenSSL checks neither, and under a small-order key one signature fits many messages.
 */
export function isUsablePublicKey(publicKey: Uint8Array): boolean {
  if (publicKey.length !== 32) return false
  const y = Buffer.from(publicKey)
  y[31] = (y[31] as number) & 0x7f
  return isFieldElement(y) && !smallOrders.has(y.toString('hex'))
}

/** Whether 32 bytes, the lowest first, are below 2^255 - 19. */
function isFieldElement(bytes: Uint8Array): boolean {
  return bytes[31] !== 0x7f || (bytes[0] as number) < 0xed || bytes.subarray(1, 31).some((byte) => byte !== 0xff)
}

/** What y is, the sign of x aside, of the eight points of small order. Their images are those with which X25519 agrees on nothing. */
const smallOrders = new Set([
  '0100000000000000000000000000000000000000000000000000000000000000',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  '0000000000000000000000000000000000000000000000000000000000000000',
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
])

/** Keys that are kept of what is costly to find out about a public key: sealing to one again and again is what shares do. */
const maxKeptKeys = 10_000
const agreements = new Map<string, Uint8Array<ArrayBuffer>>()

function remember<T>(kept: Map<string, T>, name: string, value: T): void {
  if (kept.size >= maxKeptKeys) kept.delete(kept.keys().next().value as string)
  kept.set(name, value)
}

const p = 2n ** 255n - 19n

/**
 * The X25519 public key of an Ed25519 one: the birational map u = (1 + y) / (1 − y) of RFC 7748 section 4.1, so that
 * a DID is all one needs to seal to an agent.
 *
 * @throws CORRUPT when y is not a canonical field element, or is 1 (the identity, which has no image)
 */
export function agreementPublicKey(ed25519: Uint8Array): Uint8Array<ArrayBuffer> {
  const name = toHex(ed25519)
  const known = agreements.get(name)
  if (known !== undefined) return known
  let y = 0n
  for (let at = 31; at >= 0; at--) y = (y << 8n) | BigInt(ed25519[at] as number)
  y &= 2n ** 255n - 1n
  if (y >= p || y === 1n) throw new ArtifactHubError('CORRUPT', 'not a usable Ed25519 public key')
  let u = ((1n + y) * invert(p + 1n - y)) % p
  const bytes = new Uint8Array(32)
  for (let at = 0; at < 32; at++, u >>= 8n) bytes[at] = Number(u & 0xffn)
  remember(agreements, name, bytes)
  return bytes
}

/** Inverse modulo p by the extended Euclidean algorithm. All inputs are public, so its timing tells nothing. */
function invert(value: bigint): bigint {
  let [r0, r1, t0, t1] = [p, value % p, 0n, 1n]
  while (r1 !== 0n) {
    const quotient = r0 / r1
    ;[r0, r1, t0, t1] = [r1, r0 - quotient * r1, t1, t0 - quotient * t1]
  }
  return t0 < 0n ? t0 + p : t0
}
