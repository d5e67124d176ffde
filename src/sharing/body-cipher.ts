import { createCipheriv, createDecipheriv, createSecretKey } from 'node:crypto'
import { concatBytes, encodeCanonical } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'

const nonceBytes = 12
const tagBytes = 16

/** Where an entry stands: bound to its body as associated data. */
export interface BodyPlace {
  readonly namespace: Uint8Array
  readonly author: Uint8Array
  readonly grant: Uint8Array
  readonly incarnation: Uint8Array
  readonly seq: number
}

/**
 * An entry's body, encrypted: nonce (12) ‖ AES-256-GCM ‖ tag (16).
 *
 * @param key 32 bytes. As a KeyObject each time: a cipher takes three times as long over bytes as that takes to make
 * @param nonce 12 fresh random bytes
 */
export function encryptBody(
  key: Uint8Array,
  plaintext: Uint8Array,
  place: BodyPlace,
  nonce: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const cipher = createCipheriv('aes-256-gcm', createSecretKey(key), nonce).setAAD(placeBytes(place))
  return concatBytes(nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag())
}

/** @throws CORRUPT when it was not encrypted with this key for this place */
export function decryptBody(key: Uint8Array, body: Uint8Array, place: BodyPlace): Uint8Array {
  try {
    const decipher = createDecipheriv('aes-256-gcm', createSecretKey(key), body.subarray(0, nonceBytes), {
      authTagLength: tagBytes,
    })
      .setAAD(placeBytes(place))
      .setAuthTag(body.subarray(body.length - tagBytes))
    return concatBytes(decipher.update(body.subarray(nonceBytes, body.length - tagBytes)), decipher.final())
  } catch (cause) {
    throw new ArtifactHubError('CORRUPT', 'an entry’s body does not open with its key', { cause })
  }
}

function placeBytes({ namespace, author, grant, incarnation, seq }: BodyPlace): Uint8Array {
  return encodeCanonical(['artifact-hub/body/v1', namespace, author, grant, incarnation, seq])
}
