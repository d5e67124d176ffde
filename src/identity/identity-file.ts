import { scrypt } from 'node:crypto'
import nacl from 'tweetnacl'
import { decodeCanonical, encodeCanonical, requireFormatVersion } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'

const formatVersion = 1
const maxFileBytes = 1024
// OWASP's first choice for scrypt (N = 2^17, r = 8, p = 1): 128 MiB and about half a second for each guess.
const cost = { log2N: 17, r: 8, p: 1 }

/**
 * The bytes of `identity.key`: canonical DAG-CBOR of `{ v: 1, seed }`, or behind a passphrase
 * `{ v: 1, kdf: 'scrypt', log2N, r, p, salt, box }` where the box is secretbox with a zero nonce (the key is derived from a fresh salt).
 *
 * @param salt 32 fresh random bytes; only used with a passphrase
 */
export async function encodeIdentityFile(
  seed: Uint8Array,
  passphrase: string | undefined,
  salt: Uint8Array,
): Promise<Uint8Array> {
  if (passphrase === undefined) return encodeCanonical({ v: formatVersion, seed })
  const key = await stretch(passphrase, salt, cost)
  const box = nacl.secretbox(seed, zeroNonce, key)
  return encodeCanonical({ v: formatVersion, kdf: 'scrypt', ...cost, salt, box })
}

/**
 * The seed in an identity file.
 *
 * @throws ACCESS_DENIED when a passphrase is missing, wrong, or given for a file that has none; CORRUPT, UNSUPPORTED_FORMAT
 */
export async function decodeIdentityFile(bytes: Uint8Array, passphrase: string | undefined): Promise<Uint8Array> {
  const file = decodeCanonical(bytes, { maxBytes: maxFileBytes, what: 'identity.key' }) as Record<
    string,
    unknown
  > | null
  if (typeof file !== 'object' || file === null) throw new ArtifactHubError('CORRUPT', 'identity.key is not a map')
  requireFormatVersion(file.v, formatVersion, 'identity.key')
  if (isBytes(file.seed, 32) && Object.keys(file).length === 2) {
    // Silently ignoring it would let somebody believe that the key is protected.
    if (passphrase !== undefined)
      throw new ArtifactHubError('ACCESS_DENIED', 'identity.key has no passphrase, yet one was given')
    return file.seed
  }
  const { kdf, log2N, r, p, salt, box } = file
  const sane = isCount(log2N, 10, 20) && isCount(r, 1, 16) && isCount(p, 1, 4)
  if (kdf !== 'scrypt' || !sane || !isBytes(salt, 32) || !isBytes(box, 48)) {
    throw new ArtifactHubError('CORRUPT', 'identity.key is damaged')
  }
  if (passphrase === undefined) throw new ArtifactHubError('ACCESS_DENIED', 'identity.key needs its passphrase')
  const seed = nacl.secretbox.open(box, zeroNonce, await stretch(passphrase, salt, { log2N, r, p }))
  if (seed === null) throw new ArtifactHubError('ACCESS_DENIED', 'the passphrase does not open identity.key')
  return seed
}

const zeroNonce = new Uint8Array(nacl.secretbox.nonceLength)

function stretch(passphrase: string, salt: Uint8Array, { log2N, r, p }: typeof cost): Promise<Uint8Array> {
  const N = 2 ** log2N
  return new Promise((resolve, reject) => {
    scrypt(passphrase.normalize('NFC'), salt, 32, { N, r, p, maxmem: 256 * N * r }, (error, key) => {
      if (error === null) resolve(key)
      else reject(error)
    })
  })
}

function isBytes(value: unknown, length: number): value is Uint8Array {
  return value instanceof Uint8Array && value.length === length
}

function isCount(value: unknown, from: number, to: number): value is number {
  return Number.isInteger(value) && (value as number) >= from && (value as number) <= to
}
