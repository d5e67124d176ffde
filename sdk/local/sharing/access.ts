import type { Audience } from '../../../src/capability/index.ts'
import { toHex } from '../../../src/encoding/index.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import { formatDid } from '../../../src/identity/index.ts'
import type { Namespace, Share } from '../../../src/namespace/index.ts'
import type { Access } from '../../sharing-client.ts'
import type { Links } from '../links/links.ts'
import { presentRecipient } from './present-share.ts'
import type { Sharing } from './sharing.ts'

/**
 * Who can read an artifact of a namespace that this agent is a member of: members, but for replicas, which have no keys, then shares, then links. Of links that name one version only
 * those made here are known.
 * @throws ACCESS_DENIED
 */
export async function accessOf(
  sharing: Sharing,
  links: Links,
  log: Namespace,
  artifact: Uint8Array,
): Promise<Access[]> {
  const { groups } = sharing
  const { env, contacts } = groups.replication
  if (log.roleOf(env.agent.publicKey) === undefined)
    throw new ArtifactHubError('ACCESS_DENIED', 'who else can read it is for members of its namespace to see')
  const members = log.membership.members
    .filter(({ role }) => role !== 'replica')
    .map(
      ({ agent, role, grants }): Access => ({
        through: 'member',
        id: formatDid(agent),
        name: contacts.nameOf(agent),
        role,
        shareId: undefined,
        by: undefined,
        since: new Date(Math.min(...grants.map(({ clock }) => clock.wallMs))),
        expiresAt: undefined,
        told: undefined,
      }),
    )
  const given: Access[] = []
  const listed = new Set<string>()
  const add = (claims: Share['claims'], sinceMs: number): void => {
    listed.add(toHex(claims.jti))
    for (const audience of claims.audience) given.push(presentAccess(sharing, claims, audience, sinceMs))
  }
  for (const { share, refusal } of await log.sharing.of(artifact)) {
    if (refusal === undefined) add(share.claims, share.clock.wallMs)
  }
  for (const { capability } of await links.list({ artifact })) {
    const { claims } = capability
    if (!listed.has(toHex(claims.jti)) && log.membership.refusalOf(claims) === undefined)
      add(claims, claims.notBefore * 1000)
  }
  const order: readonly Access['through'][] = ['share', 'group', 'link']
  given.sort((a, b) => order.indexOf(a.through) - order.indexOf(b.through) || a.since.getTime() - b.since.getTime())
  return [...members, ...given]
}

function presentAccess(sharing: Sharing, claims: Share['claims'], audience: Audience, sinceMs: number): Access {
  const { kind, id, name } = presentRecipient(sharing.groups, audience)
  return {
    through: claims.kind === 'link' ? 'link' : kind === 'group' ? 'group' : 'share',
    id,
    name,
    role: undefined,
    shareId: toHex(claims.jti),
    by: formatDid(claims.issuer),
    since: new Date(sinceMs),
    expiresAt: claims.expires === undefined ? undefined : new Date(claims.expires * 1000),
    told: sharing.deliveryOf(claims),
  }
}
