import { decodeCanonical, encodeCanonical, equalBytes, Reader } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import { type AgentKey, verifySignature } from '../identity/index.ts'
import { maxCapabilityBytes } from '../limits.ts'
import type { CapabilityClaims } from './claims.ts'
import { encodeClaims, readClaims } from './claims-codec.ts'

const signatureBytes = 64

/** A capability whose form and signature have been checked. Whether it is in force is for whoever holds the namespace's log. */
export interface Capability<Claims extends CapabilityClaims = CapabilityClaims> {
  readonly claims: Claims
  /** Its bytes, as they were signed. */
  readonly token: Uint8Array
}

/**
 * Signs what a capability says: canonical DAG-CBOR `[claims, signature]`, layout in the README.
 *
 * @param agent the issuer
 * @throws INVALID_ARGUMENT for what no capability can say; TOO_LARGE when it says too much
 */
export function signCapability<Claims extends CapabilityClaims>(agent: AgentKey, claims: Claims): Capability<Claims> {
  if (!equalBytes(agent.publicKey, claims.issuer)) {
    throw new ArtifactHubError('INVALID_ARGUMENT', 'a capability is signed by its issuer')
  }
  const bytes = encodeClaims(claims)
  requireSayable(bytes)
  const token = encodeCanonical([bytes, agent.sign('capability', bytes)])
  if (token.length > maxCapabilityBytes) {
    const details = { bytes: token.length, maxBytes: maxCapabilityBytes }
    throw new ArtifactHubError('TOO_LARGE', 'a capability says too much: fewer audiences, or shorter names', {
      details,
    })
  }
  return { claims, token }
}

/**
 * A capability from bytes that came from elsewhere: its size is checked, then its form, then its signature.
 *
 * @throws TOO_LARGE; CORRUPT when it is malformed or its issuer did not sign it; UNSUPPORTED_FORMAT when its issuer did, with a
 * newer release
 */
export function decodeCapability(token: Uint8Array): Capability {
  const { value, bytes, signature } = readToken(token)
  try {
    const claims = readClaims(Reader.map(value, 'capability'))
    requireSigned(bytes, claims.issuer, signature)
    return { claims, token }
  } catch (error) {
    if (!isHubError(error, 'UNSUPPORTED_FORMAT')) throw error
    // Signed by somebody, or else it is a damaged one of this release.
    requireSigned(bytes, Reader.map(value, 'capability').bytes('iss', 32), signature)
    throw error
  }
}

/**
 * `decodeCapability` without the check of the signature: for whoever has it from a statement that its issuer signed.
 *
 * @throws TOO_LARGE, CORRUPT, UNSUPPORTED_FORMAT
 */
export function decodeUnverifiedCapability(token: Uint8Array): Capability {
  return { claims: readClaims(Reader.map(readToken(token).value, 'capability')), token }
}

function readToken(token: Uint8Array): { value: unknown; bytes: Uint8Array; signature: Uint8Array } {
  const outer = decodeCanonical(token, { maxBytes: maxCapabilityBytes, what: 'a capability' })
  const parts = Reader.list(outer, 'capability', 2, 2)
  const bytes = parts.someBytes(0, maxCapabilityBytes)
  const signature = parts.bytes(1, signatureBytes)
  return {
    value: decodeCanonical(bytes, { maxBytes: maxCapabilityBytes, what: 'what a capability says' }),
    bytes,
    signature,
  }
}

function requireSigned(bytes: Uint8Array, issuer: Uint8Array, signature: Uint8Array): void {
  if (!verifySignature('capability', bytes, issuer, signature)) {
    throw new ArtifactHubError('CORRUPT', 'this capability is not signed by its issuer')
  }
}

function requireSayable(bytes: Uint8Array): void {
  try {
    readClaims(Reader.map(decodeCanonical(bytes, { maxBytes: Number.POSITIVE_INFINITY, what: 'it' }), 'capability'))
  } catch (cause) {
    const why = isHubError(cause) ? cause.message : 'unknown'
    throw new ArtifactHubError('INVALID_ARGUMENT', `no capability can say this (${why})`, { cause })
  }
}
