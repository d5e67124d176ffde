import { encodeCanonical } from '../encoding/index.ts'
import { AgentKey, hkdfExpand, hkdfExtract, verifySignature } from '../identity/index.ts'
import { secretSalt } from './artifact-key.ts'

const seedBytes = 32

/**
 * The key pair of a group's epoch, which every member of that time can derive: what is sealed to its public half all of them can open,
 * and a signature by it proves that somebody is, or was then, a member.
 *
 * @param group 32 bytes
 * @param secret of the epoch
 */
export function groupKeyOf(group: Uint8Array, secret: Uint8Array): AgentKey {
  return new AgentKey(hkdfExpand(hkdfExtract(secret, secretSalt), encodeCanonical(['group-key', group]), seedBytes))
}

/** What a member of a group says to a provider: that `requester`, the agent at the other end of its connection, is one. */
export interface MemberStatement {
  /** 32 bytes. */
  readonly group: Uint8Array
  /** Id of the epoch's secret, 16 bytes. */
  readonly epoch: Uint8Array
  /** Raw Ed25519 public keys, 32 bytes each. */
  readonly requester: Uint8Array
  readonly provider: Uint8Array
}

/** Signs it with the key of that epoch. The connection tells who is at both ends, so there is no nonce: said again, it is as true. */
export function signMember(key: AgentKey, statement: MemberStatement): Uint8Array<ArrayBuffer> {
  return key.sign('group-member', statementBytes(statement))
}

/**
 * Whether a signature proves it.
 * @param publicKey of the group's epoch, by its descriptor
 */
export function isMemberProof(publicKey: Uint8Array, statement: MemberStatement, signature: Uint8Array): boolean {
  return verifySignature('group-member', statementBytes(statement), publicKey, signature)
}

function statementBytes({ group, epoch, requester, provider }: MemberStatement): Uint8Array {
  return encodeCanonical([group, epoch, requester, provider])
}
