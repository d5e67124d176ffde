import { encodeCanonical } from '../encoding/index.ts'
import { hkdfExpand, hkdfExtract } from '../identity/index.ts'
import { secretSalt } from './artifact-key.ts'
import { type BodyPlace, decryptBody, encryptBody } from './body-cipher.ts'

/** Of which artifact a share is, and by what those who may list it can read it. */
export interface ShareBodyKey {
  /** 32 bytes: an epoch's secret, or one that was sealed to the members by name. */
  readonly secret: Uint8Array
  readonly namespace: Uint8Array
  /** 20 bytes. */
  readonly artifact: Uint8Array
}

/**
 * Encrypts a share's body as `ArtifactKey.sealBody` does a put's. Not under the artifact's key: its audience holds that, and is
 * not to learn of each other.
 */
export function sealShareBody(
  key: ShareBodyKey,
  plaintext: Uint8Array,
  place: BodyPlace,
  nonce: Uint8Array,
): Uint8Array<ArrayBuffer> {
  return encryptBody(derived(key), plaintext, place, nonce)
}

/** @throws CORRUPT when it was not sealed with this key for this place */
export function openShareBody(key: ShareBodyKey, body: Uint8Array, place: BodyPlace): Uint8Array {
  return decryptBody(derived(key), body, place)
}

function derived({ secret, namespace, artifact }: ShareBodyKey): Uint8Array {
  return hkdfExpand(hkdfExtract(secret, secretSalt), encodeCanonical(['share-body', namespace, artifact]))
}
