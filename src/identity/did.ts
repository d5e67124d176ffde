import { base58btc } from 'multiformats/bases/base58'
import { bytesText, concatBytes, equalBytes } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { isUsablePublicKey } from './agreement.ts'

/** Multicodec ed25519-pub as a varint. */
const ed25519Code = Uint8Array.of(0xed, 0x01)

/** Few agents write most of what is shown, and base 58 takes 5 µs a key. */
const maxCachedDids = 1_024
const dids = new Map<string, string>()

/** `did:key:z6Mk…` (W3C did:key) of a raw Ed25519 public key. */
export function formatDid(publicKey: Uint8Array): string {
  const id = bytesText(publicKey)
  const known = dids.get(id)
  if (known !== undefined) return known
  const did = `did:key:${base58btc.encode(concatBytes(ed25519Code, publicKey))}`
  if (dids.size >= maxCachedDids) dids.delete(dids.keys().next().value as string)
  dids.set(id, did)
  return did
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
