import { createCipheriv, createDecipheriv } from 'node:crypto'
import type { ContentKeys } from '../content/index.ts'
import { concatBytes, encodeCanonical } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { HmacKey, hkdfExpand, hkdfExtract } from '../identity/index.ts'

/** Bytes of the id of a key. */
const keyIdBytes = 16

/** What every derivation from an epoch secret or an artifact key is extracted with. */
export const secretSalt = new HmacKey(new TextEncoder().encode('artifact-hub/secret/v1'))
const keyIdInfo = encodeCanonical(['key-id'])
const nonceBytes = 12
const tagBytes = 16

/** The id of a 32-byte secret (artifact key or epoch secret): derived from it, so an id commits to its key. 16 bytes. */
export function keyIdOf(secret: Uint8Array): Uint8Array<ArrayBuffer> {
  return hkdfExpand(hkdfExtract(secret, secretSalt), keyIdInfo, keyIdBytes)
}

/** All that is derived from one artifact key, bound to its namespace and artifact. */
export class ArtifactKey {
  /** The random 32 bytes themselves: to wrap and to seal. */
  readonly secret: Uint8Array
  readonly id: Uint8Array
  readonly content: ContentKeys
  /** Gives the key, 32 bytes, of what a node writes down for itself of its leaves: `src/namespace/leaf-rows.ts`. */
  readonly leafRowsKey: () => Uint8Array
  /** As bytes: most keys open one body, and a KeyObject takes longer to make than it saves. */
  readonly #body: Uint8Array

  constructor(secret: Uint8Array, namespace: Uint8Array, artifact: Uint8Array) {
    const pseudorandomKey = hkdfExtract(secret, secretSalt)
    const derive = (label: string) => hkdfExpand(pseudorandomKey, encodeCanonical([label, namespace, artifact]))
    this.secret = secret
    this.id = hkdfExpand(pseudorandomKey, keyIdInfo, keyIdBytes)
    // Whoever only reads what versions say needs none of these, and only what is longer than one chunk needs the last.
    const derived: { encryption?: Uint8Array; nonce?: Uint8Array; chunking?: Uint8Array } = {}
    this.content = {
      get encryption() {
        derived.encryption ??= derive('content/enc')
        return derived.encryption
      },
      get nonce() {
        derived.nonce ??= derive('content/nonce')
        return derived.nonce
      },
      get chunking() {
        derived.chunking ??= derive('content/chunk')
        return derived.chunking
      },
    }
    this.leafRowsKey = () => derive('leaf-rows')
    this.#body = derive('body')
  }

  /**
   * Encrypts an entry's body: nonce (12) ‖ AES-256-GCM ‖ tag (16).
   *
   * @param place what the body belongs to; it opens nowhere else
   * @param nonce 12 fresh random bytes
   */
  sealBody(plaintext: Uint8Array, place: BodyPlace, nonce: Uint8Array): Uint8Array<ArrayBuffer> {
    const cipher = createCipheriv('aes-256-gcm', this.#body, nonce).setAAD(placeBytes(place))
    return concatBytes(nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag())
  }

  /** @throws CORRUPT when it was not sealed with this key for this place */
  openBody(body: Uint8Array, place: BodyPlace): Uint8Array {
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#body, body.subarray(0, nonceBytes), {
        authTagLength: tagBytes,
      })
        .setAAD(placeBytes(place))
        .setAuthTag(body.subarray(body.length - tagBytes))
      return concatBytes(decipher.update(body.subarray(nonceBytes, body.length - tagBytes)), decipher.final())
    } catch (cause) {
      throw new ArtifactHubError('CORRUPT', 'an entry’s body does not open with its key', { cause })
    }
  }

  toJSON(): string {
    return 'ArtifactKey'
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return 'ArtifactKey'
  }
}

/** Where an entry stands: bound to its body as associated data. */
export interface BodyPlace {
  readonly namespace: Uint8Array
  readonly author: Uint8Array
  readonly grant: Uint8Array
  readonly incarnation: Uint8Array
  readonly seq: number
}

function placeBytes({ namespace, author, grant, incarnation, seq }: BodyPlace): Uint8Array {
  return encodeCanonical(['artifact-hub/body/v1', namespace, author, grant, incarnation, seq])
}
