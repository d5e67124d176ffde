import { type CapabilityClaims, isGroupMemberProof, type Presentation, timeOf } from '../capability/index.ts'
import { equalBytes } from '../encoding/index.ts'
import { type GroupDescriptor, type Membership, rankOf } from '../membership/index.ts'

/** Why a capability gives an agent nothing. `AUDIENCE`: it is not for that agent. */
type Refusal = 'EXPIRED' | 'NOT_YET_VALID' | 'REVOKED' | 'ISSUER_REMOVED' | 'AUDIENCE' | 'GROUP_EPOCH'

/** Who shows a capability to whom, and when. */
export interface CapabilityQuestion {
  readonly presentation: Presentation
  /** Who shows it, 32 bytes. */
  readonly agent: Uint8Array
  /** Who was asked, 32 bytes. */
  readonly provider: Uint8Array
  /** Milliseconds since 1970. */
  readonly nowMs: number
}

/**
 * Whether a capability is in force and for that agent, by the entries that say who may do what.
 *
 * @param descriptorOf the newest epoch of a group that is known
 */
export function checkCapability(
  membership: Membership,
  descriptorOf: (group: Uint8Array) => GroupDescriptor | undefined,
  { presentation, agent, provider, nowMs }: CapabilityQuestion,
): { readonly allowed: true } | { readonly allowed: false; readonly reason: Refusal } {
  const { claims } = presentation.capability
  const refuse = (reason: Refusal) => ({ allowed: false, reason }) as const
  if (!equalBytes(claims.namespace, membership.namespace)) return refuse('AUDIENCE')
  const isNamed = claims.audience.some(({ kind, id }) => kind === 'agent' && equalBytes(id, agent))
  const { proof } = presentation
  const isOfGroup = claims.audience.some(({ kind, id }) => kind === 'group' && proof && equalBytes(id, proof.group))
  if (!isNamed && !isOfGroup) return refuse('AUDIENCE')
  const ended = membership.refusalOf(claims)
  if (ended !== undefined) return refuse(ended)
  const time = timeOf(claims, nowMs)
  if (time !== 'valid') return refuse(time === 'expired' ? 'EXPIRED' : 'NOT_YET_VALID')
  if (isNamed || proof === undefined) return { allowed: true }
  const group = descriptorOf(proof.group)
  const isMember =
    group !== undefined &&
    equalBytes(group.epoch, proof.epoch) &&
    isGroupMemberProof(proof, group.publicKey, { requester: agent, provider })
  return isMember ? { allowed: true } : refuse('GROUP_EPOCH')
}

/** Whether a grant that is held, live or ended, let the issuer of a capability write. */
export function isIssuedHere(membership: Membership, { issuer, grant }: CapabilityClaims): boolean {
  const under = membership.grantOf(grant)
  return under !== undefined && rankOf(under.role) >= 1 && equalBytes(under.agent, issuer)
}
