import { ArtifactHubError } from '../errors.ts'
import { formatDid } from '../identity/index.ts'
import type { Membership, Role } from '../membership/index.ts'

/**
 * The ACCESS_DENIED for what an agent's role does not let it do: `details.role`, and for one whose role was taken away
 * `details.reason` `removed`, with who did it (`by`, a DID) and when by that one's clock (`at`, ISO 8601).
 */
export function denied(membership: Membership, agent: Uint8Array, what: string): ArtifactHubError {
  const held = membership.roleOf(agent)
  const role = held === undefined ? null : roleWord(membership, held)
  const [ending] = membership.endingsOf(agent)
  if (ending === undefined)
    return new ArtifactHubError('ACCESS_DENIED', `this agent’s role does not let it ${what}`, { details: { role } })
  const [by, at] = [formatDid(ending.author), new Date(ending.clock.wallMs).toISOString()]
  return new ArtifactHubError('ACCESS_DENIED', `this agent is no member any more: ${by} took its role away, ${at}`, {
    details: { role, reason: 'removed', by, at },
  })
}

/** What a role is called: whoever has the key of a group and may write in its log is a member of it. */
export function roleWord({ isGroup }: Pick<Membership, 'isGroup'>, role: Role): string {
  return isGroup && role === 'writer' ? 'member' : role
}
