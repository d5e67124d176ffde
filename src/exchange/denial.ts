import type { CapabilityClaims } from '../capability/index.ts'
import { equalBytes } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { decodeEntry, type Entry } from '../log/index.ts'
import { type AuthEntry, Membership } from '../membership/index.ts'

/**
 * Whether the entries that a denial brings show, by themselves, that a capability was ended: for an agent that holds nothing of
 * the namespace. Whoever leaves some out can make it seem ended, and so gains nothing over not answering.
 */
export function isEndedBy(claims: CapabilityClaims, evidence: readonly Uint8Array[]): boolean {
  const entries = evidence.flatMap(authEntry)
  const genesis = entries.find(({ hash, header }) => header.kind === 'genesis' && equalBytes(hash, claims.namespace))
  if (genesis === undefined) return false
  const membership = Membership.of(genesis).with({ auth: entries })
  // Without the grant it would seem ended too.
  return membership.grantOf(claims.grant) !== undefined && membership.refusalOf(claims) !== undefined
}

function authEntry(bytes: Uint8Array): AuthEntry[] {
  try {
    const entry: Entry = decodeEntry(bytes, { partial: true })
    return entry.auth === undefined ? [] : [entry as AuthEntry]
  } catch (error) {
    if (isHubError(error)) return []
    throw error
  }
}
