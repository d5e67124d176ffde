import { base32 } from 'multiformats/bases/base32'
import { ArtifactHubError } from '../errors.ts'
import { sha256 } from './bytes.ts'

/** Bytes of an artifact id. */
export const artifactIdBytes = 20
/** Bytes of the salt that an artifact id is made from; entries carry the salt. */
export const artifactSaltBytes = 16

const artifactDomain = new TextEncoder().encode('artifact-hub/artifact-id/v1\0')

/**
 * The artifact that `salt` names in a namespace: the first 20 bytes of a domain-separated SHA-256 over both.
 * An id is therefore bound to its namespace: nobody can use it in a log of their own.
 */
export function artifactIdOf(namespace: Uint8Array, salt: Uint8Array): Uint8Array<ArrayBuffer> {
  return sha256(artifactDomain, namespace, salt).slice(0, artifactIdBytes)
}

/** `art_` and 32 characters of lowercase base32 (RFC 4648, no padding). */
export function formatArtifactId(id: Uint8Array): string {
  return `art_${base32.baseEncode(id)}`
}

/** @throws INVALID_ARGUMENT when it is not an artifact id */
export function parseArtifactId(text: unknown): Uint8Array {
  return parseId(text, 'art_', artifactIdBytes, 'an artifact id')
}

/** `ns_` and 52 characters of lowercase base32: the hash of the namespace's genesis entry. */
export function formatNamespaceId(id: Uint8Array): string {
  return `ns_${base32.baseEncode(id)}`
}

/** @throws INVALID_ARGUMENT when it is not a namespace id */
export function parseNamespaceId(text: unknown): Uint8Array {
  return parseId(text, 'ns_', 32, 'a namespace id')
}

/** `grp_` and 52 characters of lowercase base32: the hash of the group's genesis entry. */
export function formatGroupId(id: Uint8Array): string {
  return `grp_${base32.baseEncode(id)}`
}

/** @throws INVALID_ARGUMENT when it is not a group id */
export function parseGroupId(text: unknown): Uint8Array {
  return parseId(text, 'grp_', 32, 'a group id')
}

/** Whether the text has the form of a group id, so that it is not looked up as a name. */
export function isGroupId(text: string): boolean {
  return /^grp_[a-z2-7]{52}$/.test(text)
}

/** Whether the text has the form of a namespace id, so that it is not looked up as a name. */
export function isNamespaceId(text: string): boolean {
  return /^ns_[a-z2-7]{52}$/.test(text)
}

function parseId(text: unknown, prefix: string, length: number, what: string): Uint8Array {
  if (typeof text === 'string' && text.startsWith(prefix)) {
    try {
      const bytes = base32.baseDecode(text.slice(prefix.length))
      // Encoded again, for base32 has spare bits and two spellings must not name one thing.
      if (bytes.length === length && base32.baseEncode(bytes) === text.slice(prefix.length)) return bytes
    } catch {
      // Not base32: the error below says what it should have been.
    }
  }
  const given =
    typeof text === 'string' ? JSON.stringify(text.slice(0, 80)) : `a ${text === null ? 'null' : typeof text}`
  throw new ArtifactHubError('INVALID_ARGUMENT', `${given} is not ${what} (${prefix}…)`)
}
