import { decodeCanonical, encodeCanonical, Reader } from '../encoding/index.ts'
import { type AgentKey, verifySignature } from '../identity/index.ts'
import { maxCapabilityBytes, maxPresentationBytes } from '../limits.ts'
import { type Capability, decodeCapability } from './token.ts'

/** The proof that an asker is a member of a group: made with the key of one of the group's epochs. */
export interface GroupProof {
  /** 32 bytes. */
  readonly group: Uint8Array
  /** Id of the epoch, 16 bytes. */
  readonly epoch: Uint8Array
  /** 64 bytes: `proveGroupMember`. */
  readonly signature: Uint8Array
}

/** What an asker shows a provider: the right it has, and for one that a group has the proof that it is a member. */
export interface Presentation {
  readonly capability: Capability
  readonly proof: GroupProof | undefined
}

/** Whom a proof is between: the connection vouches for both, so it serves nobody else. */
export interface GroupProofContext {
  readonly group: Uint8Array
  readonly epoch: Uint8Array
  /** Raw public key of the agent that asks. */
  readonly requester: Uint8Array
  /** Raw public key of the agent that is asked. */
  readonly provider: Uint8Array
}

/** @param key of the group's epoch */
export function proveGroupMember(key: AgentKey, context: GroupProofContext): GroupProof {
  const { group, epoch } = context
  return { group, epoch, signature: key.sign('group-member', contextBytes(context)) }
}

/**
 * Whether a proof was made for exactly these two with the key of that epoch.
 *
 * @param epochKey raw Ed25519 public key of the epoch that the proof names
 */
export function isGroupMemberProof(
  { group, epoch, signature }: GroupProof,
  epochKey: Uint8Array,
  { requester, provider }: Pick<GroupProofContext, 'requester' | 'provider'>,
): boolean {
  return verifySignature('group-member', contextBytes({ group, epoch, requester, provider }), epochKey, signature)
}

/** Canonical DAG-CBOR `[token, null or [group, epoch, signature]]`. */
export function encodePresentation(token: Uint8Array, proof: GroupProof | undefined): Uint8Array<ArrayBuffer> {
  return encodeCanonical([token, proof === undefined ? null : [proof.group, proof.epoch, proof.signature]])
}

/**
 * Checks form and the capability's signature, not the proof: that takes the group's key.
 *
 * @throws as `decodeCapability`
 */
export function decodePresentation(bytes: Uint8Array): Presentation {
  const value = decodeCanonical(bytes, { maxBytes: maxPresentationBytes, what: 'a presentation' })
  const reader = Reader.list(value, 'presentation', 2, 2)
  const token = reader.someBytes(0, maxCapabilityBytes)
  const row = reader.optionalList(1, 3)
  const proof =
    row === undefined ? undefined : { group: row.bytes(0, 32), epoch: row.bytes(1, 16), signature: row.bytes(2, 64) }
  return { capability: decodeCapability(token), proof }
}

function contextBytes({ group, epoch, requester, provider }: GroupProofContext): Uint8Array {
  return encodeCanonical([group, epoch, requester, provider])
}
