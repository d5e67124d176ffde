import type { Audience } from '../../../src/capability/index.ts'
import { formatArtifactId, formatGroupId, formatNamespaceId, toHex } from '../../../src/encoding/index.ts'
import { formatDid } from '../../../src/identity/index.ts'
import type { Share as LoggedShare } from '../../../src/namespace/index.ts'
import type { Recipient, Share } from '../../sharing-client.ts'
import type { Groups } from '../groups/groups.ts'

/** Whom something is for, as programs see it. */
export function presentRecipient(groups: Groups, { kind, id }: Audience): Recipient {
  if (kind === 'group') return { kind, id: formatGroupId(id), name: groups.nameOf(id) }
  return { kind, id: formatDid(id), name: groups.replication.contacts.nameOf(id) }
}

/** What a capability gives, as programs see it; of its audience the first, which of a share is the only one. */
export function presentClaims(
  groups: Groups,
  claims: LoggedShare['claims'],
  more: { readonly createdMs: number; readonly message: string | undefined },
): Share {
  return {
    id: toHex(claims.jti),
    artifactId: formatArtifactId(claims.artifact),
    namespace: formatNamespaceId(claims.namespace),
    with: presentRecipient(groups, claims.audience[0] as Audience),
    by: formatDid(claims.issuer),
    createdAt: new Date(more.createdMs),
    expiresAt: claims.expires === undefined ? undefined : new Date(claims.expires * 1000),
    afterVersion: claims.kind === 'share' ? claims.after : 0,
    message: more.message,
  }
}

/** A share of a namespace's log, as programs see it. */
export function presentShare(groups: Groups, { claims, clock, message }: LoggedShare): Share {
  return presentClaims(groups, claims, { createdMs: clock.wallMs, message })
}
