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

/** Derives 32 bytes for a label from one artifact key, bound to its namespace and artifact. */
class Derivation {
  readonly #key: HmacKey
  readonly #namespace: Uint8Array
  readonly #artifact: Uint8Array

  constructor(key: HmacKey, namespace: Uint8Array, artifact: Uint8Array) {
    this.#key = key
    this.#namespace = namespace
    this.#artifact = artifact
  }

  derive(label: string): Uint8Array {
    return hkdfExpand(this.#key, encodeCanonical([label, this.#namespace, this.#artifact]))
  }
}

/** Whoever only reads what versions say needs none of these, and only what is longer than one chunk needs the last. */
class LazyContentKeys implements ContentKeys {
  readonly #derivation: Derivation
  #encryption: Uint8Array | undefined
  #nonce: Uint8Array | undefined
  #chunking: Uint8Array | undefined

  constructor(derivation: Derivation) {
    this.#derivation = derivation
  }

  get encryption(): Uint8Array {
    this.#encryption ??= this.#derivation.derive('content/enc')
    return this.#encryption
  }

  get nonce(): Uint8Array {
    this.#nonce ??= this.#derivation.derive('content/nonce')
    return this.#nonce
  }

  get chunking(): Uint8Array {
    this.#chunking ??= this.#derivation.derive('content/chunk')
    return this.#chunking
  }
}

/** All that is derived from one artifact key, bound to its namespace and artifact. */
export class ArtifactKey {
  /** The random 32 bytes themselves: to wrap and to seal. */
  readonly secret: Uint8Array
  readonly id: Uint8Array
  readonly content: ContentKeys
  readonly #derivation: Derivation
  #bodyKey: Uint8Array | undefined

  constructor(secret: Uint8Array, namespace: Uint8Array, artifact: Uint8Array) {
    const pseudorandomKey = hkdfExtract(secret, secretSalt)
    this.secret = secret
    this.id = hkdfExpand(pseudorandomKey, keyIdInfo, keyIdBytes)
    this.#derivation = new Derivation(pseudorandomKey, namespace, artifact)
    this.content = new LazyContentKeys(this.#derivation)
  }

  /** Gives the key, 32 bytes, of what a node writes down for itself of its leaves: `src/namespace/leaf-rows.ts`. */
  leafRowsKey(): Uint8Array {
    return this.#derivation.derive('leaf-rows')
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
    this.#bodyKey ??= this.#derivation.derive('body')
    return this.#bodyKey
  }

  toJSON(): string {
    return 'ArtifactKey'
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return 'ArtifactKey'
  }
}
