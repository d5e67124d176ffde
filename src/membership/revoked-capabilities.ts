import type { Place } from './statements.ts'

/** What of a capability decides who may end it: bytes as lowercase hex. */
interface CapabilityRight {
  /** Who issued it. */
  readonly issuer: string
  /** Hash of the grant that it was issued under; the genesis for the owner. */
  readonly grant: string
}

/** What revocations are judged by. */
interface Judge {
  /** Whether the author of an entry ranks above the role that a grant names, by the grant that it stands under, and the entry counts. */
  isSaidAboveGrant(grant: string, entry: Place): boolean
}

/**
 * Whether a capability was ended: by its issuer, wherever in their chains that stands (what a cut voids of them took no
 * right from others), or by somebody above the role that it was issued with. Of others' entries it means nothing.
 */
export function isRevokedBy(revocations: readonly Place[], { issuer, grant }: CapabilityRight, judge: Judge): boolean {
  return revocations.some((entry) => entry.author === issuer || judge.isSaidAboveGrant(grant, entry))
}
