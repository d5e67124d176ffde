import nacl from 'tweetnacl'
import { concatBytes, encodeCanonical, equalBytes } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import type { AgentKey } from './agent-key.ts'
import { agree, agreementPrivateKey, agreementPublicBytes, agreementPublicKey } from './agreement.ts'
import { HmacKey, hkdf, hkdfExpand, hkdfExtract } from './hkdf.ts'

/** Bytes of every key that is sealed or wrapped. */
const keyBytes = 32
/** Bytes of a key under secretbox: 32 and a 16-byte tag. */
export const boxedKeyBytes = keyBytes + nacl.secretbox.overheadLength
/** Bytes of the tag by which a recipient finds its box among many. */
export const boxTagBytes = 8

// Every secretbox key here is derived for one key, one purpose and one recipient, and encrypts once: the nonce may be fixed.
const nonce = new Uint8Array(nacl.secretbox.nonceLength)

/** What a sealed or wrapped key is for. All of it is bound into the derivation, so nothing opens in another place. */
export interface KeyContext {
  /** What the key is: an artifact's, an epoch's secret, or the key of the leaves that a link gives a gateway. */
  readonly kind: 'artifact' | 'epoch' | 'link'
  /** 32 bytes. */
  readonly namespace: Uint8Array
  /** Artifact id (20 bytes), in a link followed by its `jti` (16 bytes); empty for an epoch. */
  readonly subject: Uint8Array
  /** Id of the key itself, in a link of the artifact key that it is derived from; 16 bytes. */
  readonly keyId: Uint8Array
}

/** A key encrypted to one recipient: `tag` tells the recipient, and nobody else, that it is theirs. */
export interface SealedBox {
  readonly tag: Uint8Array
  readonly box: Uint8Array
}

/** Seals keys to recipients under one ephemeral X25519 key (one per key section). The sender stays anonymous. */
export class Sealer {
  /** Raw X25519 public key that recipients need, 32 bytes. */
  readonly ephemeral: Uint8Array
  readonly #private

  /** @param seed 32 fresh random bytes, used for nothing else */
  constructor(seed: Uint8Array) {
    this.#private = agreementPrivateKey(seed)
    this.ephemeral = agreementPublicBytes(this.#private)
  }

  /** @param recipient raw Ed25519 public key */
  seal(key: Uint8Array, recipient: Uint8Array, context: KeyContext): SealedBox {
    const agreement = agreementPublicKey(recipient)
    const { tag, secret } = boxSecrets(agree(this.#private, agreement), this.ephemeral, recipient, agreement, context)
    return { tag, box: nacl.secretbox(key, nonce, secret) }
  }
}

/**
 * The key that one of `boxes` seals to `recipient` in exactly that context; `undefined` when none does.
 *
 * @throws CORRUPT for an unusable ephemeral key
 */
export function openSealed(
  ephemeral: Uint8Array,
  boxes: readonly SealedBox[],
  recipient: AgentKey,
  context: KeyContext,
): Uint8Array | undefined {
  const agreement = agreementPublicKey(recipient.publicKey)
  const { tag, secret } = boxSecrets(recipient.agree(ephemeral), ephemeral, recipient.publicKey, agreement, context)
  for (const { tag: candidate, box } of boxes) {
    if (!equalBytes(candidate, tag)) continue
    const key = nacl.secretbox.open(box, nonce, secret)
    if (key !== null) return key
  }
  return undefined
}

/** What a secret wraps other keys with: keep it where one secret wraps many. */
export function wrappingKey(secret: Uint8Array): HmacKey {
  return hkdfExtract(secret)
}

/**
 * Encrypts a key under another, which may wrap many: each context derives a key of its own. 48 bytes.
 *
 * @param under of the secret to wrap under
 */
export function wrapKey(key: Uint8Array, under: HmacKey, context: KeyContext): Uint8Array<ArrayBuffer> {
  return concatBytes(nacl.secretbox(key, nonce, hkdfExpand(under, derivationInfo('wrap', context))))
}

/** The key that was wrapped under `under` in exactly that context; `undefined` when it was not. */
export function unwrapKey(box: Uint8Array, under: HmacKey, context: KeyContext): Uint8Array | undefined {
  return nacl.secretbox.open(box, nonce, hkdfExpand(under, derivationInfo('wrap', context))) ?? undefined
}

function boxSecrets(
  shared: Uint8Array,
  ephemeral: Uint8Array,
  recipient: Uint8Array,
  agreement: Uint8Array,
  context: KeyContext,
): { tag: Uint8Array; secret: Uint8Array } {
  const info = derivationInfo('box', context, recipient)
  const derived = hkdf(shared, info, keyBytes + boxTagBytes, new HmacKey(concatBytes(ephemeral, agreement)))
  return { secret: derived.subarray(0, keyBytes), tag: derived.slice(keyBytes) }
}

function derivationInfo(purpose: 'box' | 'wrap', context: KeyContext, recipient?: Uint8Array): Uint8Array {
  const { kind, namespace, subject, keyId } = context
  if (keyId.length !== 16 || namespace.length !== 32) {
    throw new ArtifactHubError('INTERNAL', 'a key context has a 16-byte key id and a 32-byte namespace')
  }
  return encodeCanonical([`artifact-hub/key-${purpose}/v1`, kind, namespace, subject, keyId, recipient ?? null])
}
