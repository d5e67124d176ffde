import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto'
import { toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { agree, agreementPrivateKey, isUsablePublicKey } from './agreement.ts'
import { formatDid } from './did.ts'
import { type SigningDomain, signedBytes } from './domains.ts'

// RFC 8410: the fixed DER before the 32 raw bytes of each kind of key.
const ed25519Private = Buffer.from('302e020100300506032b657004220420', 'hex')
const ed25519Public = Buffer.from('302a300506032b6570032100', 'hex')

/** The private half of an agent: signs as it and opens what was sealed to it. Holds the key in memory; prints as its DID. */
export class AgentKey {
  /** Raw Ed25519 public key, 32 bytes. */
  readonly publicKey: Uint8Array
  readonly did: string
  readonly #signing: KeyObject
  readonly #agreement: KeyObject

  /** @param seed the 32 bytes of RFC 8032's private key */
  constructor(seed: Uint8Array) {
    if (seed.length !== 32) throw new ArtifactHubError('INVALID_ARGUMENT', 'an Ed25519 seed has 32 bytes')
    this.#signing = createPrivateKey({ key: Buffer.concat([ed25519Private, seed]), format: 'der', type: 'pkcs8' })
    const spki = createPublicKey(this.#signing).export({ format: 'der', type: 'spki' })
    this.publicKey = new Uint8Array(spki.subarray(ed25519Public.length))
    this.did = formatDid(this.publicKey)
    // RFC 8032 section 5.1.5: the scalar is the first half of SHA-512 of the seed; X25519 clamps it alike.
    this.#agreement = agreementPrivateKey(createHash('sha512').update(seed).digest().subarray(0, 32))
  }

  /** Ed25519 (RFC 8032) over the domain and the statement, 64 bytes. */
  sign(domain: SigningDomain, statement: Uint8Array): Uint8Array<ArrayBuffer> {
    return new Uint8Array(sign(null, signedBytes(domain, statement), this.#signing))
  }

  /** As `sign`, beside this thread: of many at once each costs it a third. */
  signBeside(domain: SigningDomain, statement: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
    return signed(signedBytes(domain, statement), this.#signing)
  }

  /** X25519 with another's public agreement key, 32 bytes. @throws CORRUPT for a low-order point */
  agree(ephemeral: Uint8Array): Uint8Array {
    return agree(this.#agreement, ephemeral)
  }

  /** The seed, 32 bytes: for what proves the same key in another way, as libp2p does. */
  seed(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(Buffer.from(this.#signing.export({ format: 'jwk' }).d ?? '', 'base64url'))
  }

  toJSON(): string {
    return this.did
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `AgentKey(${this.did})`
  }
}

const maxCachedKeys = 1_024
const publicKeys = new Map<string, KeyObject>()

/** Whether `signature` is `author`'s (raw Ed25519 public key) over that statement in that domain. Never throws. */
export function verifySignature(
  domain: SigningDomain,
  statement: Uint8Array,
  author: Uint8Array,
  signature: Uint8Array,
): boolean {
  const key = publicKeyOf(author)
  return key !== undefined && signature.length === 64 && verify(null, signedBytes(domain, statement), key, signature)
}

/** As `verifySignature`, beside this thread: of many at once each costs it a fraction. */
export async function verifySignatureBeside(
  domain: SigningDomain,
  statement: Uint8Array,
  author: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const key = publicKeyOf(author)
  if (key === undefined || signature.length !== 64) return false
  return await verified(signedBytes(domain, statement), key, signature)
}

// In functions of their own: what Node makes for such a job lives with old objects, and with it all that the functions around the callback hold.

function signed(bytes: Uint8Array, key: KeyObject): Promise<Uint8Array<ArrayBuffer>> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array<ArrayBuffer>>()
  sign(null, bytes, key, (error, signature) => {
    if (error === null) resolve(new Uint8Array(signature))
    else reject(new ArtifactHubError('INTERNAL', 'signing failed', { cause: error }))
  })
  return promise
}

function verified(bytes: Uint8Array, key: KeyObject, signature: Uint8Array): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  verify(null, bytes, key, signature, (error, isValid) => resolve(error === null && isValid))
  return promise
}

function publicKeyOf(author: Uint8Array): KeyObject | undefined {
  const id = toHex(author)
  const known = publicKeys.get(id)
  if (known !== undefined) return known
  if (!isUsablePublicKey(author)) return undefined
  try {
    const key = createPublicKey({ key: Buffer.concat([ed25519Public, author]), format: 'der', type: 'spki' })
    if (publicKeys.size >= maxCachedKeys) publicKeys.delete(publicKeys.keys().next().value as string)
    publicKeys.set(id, key)
    return key
  } catch {
    return undefined
  }
}
