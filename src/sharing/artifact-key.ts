import type { ContentKeys } from '../content/index.ts'
import { encodeCanonical } from '../encoding/index.ts'
import { HmacKey, hkdfExpand, hkdfExtract } from '../identity/index.ts'
import { type BodyPlace, decryptBody, encryptBody } from './body-cipher.ts'

/** Bytes of the id of a key. */
const keyIdBytes = 16

/** What every derivation from an epoch secret or an artifact key is extracted with. */
export const secretSalt = new HmacKey(new TextEncoder().encode('artifact-hub/secret/v1'))
const keyIdInfo = encodeCanonical(['key-id'])

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
  readonly #deriveBody: () => Uint8Array
  #bodyKey: Uint8Array | undefined

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
    this.#deriveBody = () => derive('body')
  }

  /**
   * Encrypts an entry's body: nonce (12) ‖ AES-256-GCM ‖ tag (16).
   *
   * @param place what the body belongs to; it opens nowhere else
   * @param nonce 12 fresh random bytes
   */
  sealBody(plaintext: Uint8Array, place: BodyPlace, nonce: Uint8Array): Uint8Array<ArrayBuffer> {
    return encryptBody(this.#body, plaintext, place, nonce)
  }

  /** @throws CORRUPT when it was not sealed with this key for this place */
  openBody(body: Uint8Array, place: BodyPlace): Uint8Array {
    return decryptBody(this.#body, body, place)
  }

  get #body(): Uint8Array {
    this.#bodyKey ??= this.#deriveBody()
    return this.#bodyKey
  }

  toJSON(): string {
    return 'ArtifactKey'
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return 'ArtifactKey'
  }
}
