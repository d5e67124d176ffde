import { base58btc } from 'multiformats/bases/base58'
import { concatBytes, equalBytes } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { isUsablePublicKey } from './agreement.ts'

/** Multicodec ed25519-pub as a varint. */
const ed25519Code = Uint8Array.of(0xed, 0x01)

/** `did:key:z6Mk…` (W3C did:key) of a raw Ed25519 public key. */
export function formatDid(publicKey: Uint8Array): string {
  return `did:key:${base58btc.encode(concatBytes(ed25519Code, publicKey))}`
}

/**
 * The raw Ed25519 public key (32 bytes) that a DID names.
 *
 * @throws INVALID_ARGUMENT for other DID methods and key types, and for keys that no honest agent has
 */
export function parseDid(did: string): Uint8Array {
  try {
    if (did.length <= 64 && did.startsWith('did:key:z')) {
      const bytes = base58btc.decode(did.slice('did:key:'.length))
      const publicKey = bytes.slice(2)
      if (
        equalBytes(bytes.subarray(0, 2), ed25519Code) &&
        formatDid(publicKey) === did &&
        isUsablePublicKey(publicKey)
      ) {
        return publicKey
      }
    }
  } catch {
    // Not base58: the error below says what it should have been.
  }
  throw new ArtifactHubError(
    'INVALID_ARGUMENT',
    `${JSON.stringify(did.slice(0, 80))} is not the DID of an agent (did:key:z6Mk…)`,
  )
}
