import { equalBytes, fromHex, toHex } from '../../../src/encoding/index.ts'
import { isHubError } from '../../../src/errors.ts'
import { maxWritersViaGroup } from '../../../src/limits.ts'
import type { GrantedRole } from '../../../src/log/index.ts'
import { compareClocks, compareRoles, type Grant, type Role, rankOf } from '../../../src/membership/index.ts'
import type { Namespace as Log } from '../../../src/namespace/index.ts'

type Work = (agents: readonly Uint8Array[]) => Promise<void>

/**
 * Writes what brings a namespace's members in step with the groups that have a role there, as far as this agent may: grants for who is in the group and
 * lacks one, revokes of those by way of the group for who is not any more, lower roles for who has a higher one than the group. Gives whether anything was owed.
 *
 * What this node's copy of the group does not know yet decides nothing: nobody is revoked whom it never knew as a member, and nobody is granted again what
 * was revoked since they came into the group, or since the group was given its role.
 *
 * @param groups those that this agent's node keeps
 * @throws what the log throws; ACCESS_DENIED, once the rest is written, for a role that takes more than this agent's
 */
export async function keepInStep(log: Log, groups: Iterable<Log>): Promise<boolean> {
  const self = log.env.agent.publicKey
  const own = log.roleOf(self)
  if (own === undefined || rankOf(own) < 2) return false
  let wasOwed = false
  let refusal: unknown
  // What is beyond this agent's rank keeps it from nothing else: who could do that may be away.
  const write = async (via: Uint8Array, agents: readonly Uint8Array[], work: Work): Promise<void> => {
    const { within, beyond } = Object.groupBy(agents, (agent) => (isBeyond(log, agent, via, own) ? 'beyond' : 'within'))
    for (const some of [within, beyond]) {
      if (some === undefined) continue
      wasOwed = true
      try {
        await work(some)
      } catch (error) {
        if (!isHubError(error, 'ACCESS_DENIED')) throw error
        refusal ??= error
      }
    }
  }
  const end = async (via: Uint8Array, agents: readonly Uint8Array[]) =>
    await write(via, agents, async (some) => await log.members.revokeAll({ agents: some, via }))
  for (const { via, agents } of endedGroups(log)) await end(via, agents)
  for (const group of groups) {
    const rule = log.membership.groups.roles.get(toHex(group.id))
    // Who was removed from the group itself does not know who is in it.
    if (rule === undefined || group.roleOf(self) === undefined) continue
    const { id: via } = group
    const lacking = lackingIn(log, group, rule)
    await end(via, goneFrom(log, group))
    await write(via, lacking, async (agents) => await log.members.grantAll({ agents, role: rule.role, via }))
  }
  // Who is in a group that this agent is not in is told by the roles that they have by way of it.
  for (const { via, role, agents } of loweredGroups(log))
    await write(via, agents, async (some) => await log.members.grantAll({ agents: some, role, via }))
  if (refusal !== undefined) throw refusal
  return wasOwed
}

/** Whether an agent has a role by way of a group that who is `own` may not take away. */
function isBeyond({ membership }: Log, agent: Uint8Array, via: Uint8Array, own: Role): boolean {
  return membership.grantsOf(agent).some((grant) => isVia(grant, via) && rankOf(grant.role) >= rankOf(own))
}

/** Who has a role in a namespace by way of a group that has none there any more. */
function endedGroups({ membership }: Log): Iterable<{ via: Uint8Array; agents: Uint8Array[] }> {
  const { roles } = membership.groups
  const ended = new Map<string, { via: Uint8Array; agents: Uint8Array[] }>()
  for (const { agent, grants } of membership.members) {
    for (const { via } of grants) {
      if (via === undefined || roles.has(toHex(via))) continue
      const found = ended.get(toHex(via)) ?? { via, agents: [] }
      found.agents.push(agent)
      ended.set(toHex(via), found)
    }
  }
  return ended.values()
}

/** Who has a higher role in a namespace by way of a group than the group was given there since. */
function loweredGroups({ membership }: Log): { via: Uint8Array; role: GrantedRole; agents: Uint8Array[] }[] {
  return [...membership.groups.roles].flatMap(([group, { role, clock }]) => {
    const via = fromHex(group)
    const isHigher = (grant: Grant) => isVia(grant, via) && compareRoles(grant.role, role) < 0 && isSince(clock, grant)
    const agents = membership.members.filter(({ grants }) => grants.some(isHigher)).map(({ agent }) => agent)
    return agents.length > 0 ? [{ via, role, agents }] : []
  })
}

/** Who has a role in a namespace by way of a group that it was removed from. */
function goneFrom(log: Log, { id, membership }: Log): Uint8Array[] {
  return log.membership.members
    .filter(({ grants }) => grants.some((grant) => isVia(grant, id)))
    .map(({ agent }) => agent)
    .filter((agent) => membership.roleOf(agent) === undefined && membership.everGrantedTo(agent).length > 0)
}

/** Who is in a group and does not have the role in a namespace that the group has. None when there are more than may be. */
function lackingIn(
  log: Log,
  group: Log,
  { role, clock }: { readonly role: Grant['role']; readonly clock: Grant['clock'] },
): Uint8Array[] {
  const { members, owner: groupOwner } = group.membership
  const wanted = members.filter(({ agent }) => !equalBytes(agent, log.membership.owner))
  if (rankOf(role) > 0 && wanted.length > maxWritersViaGroup) return []
  return wanted
    .filter(({ agent, grants }) => {
      const given = log.membership.everGrantedTo(agent).filter((grant) => isVia(grant, group.id))
      if (given.some((grant) => grant.live && grant.role === role)) return false
      return given.every(
        (grant) =>
          grant.live ||
          isSince(clock, grant) ||
          (!equalBytes(agent, groupOwner) && grants.some((membership) => isSince(membership.clock, grant))),
      )
    })
    .map(({ agent }) => agent)
}

/** Whether what has that clock was said after a grant. */
function isSince(clock: Grant['clock'], grant: Grant): boolean {
  return compareClocks(clock, grant.clock, '', '') > 0
}

function isVia({ via }: Grant, group: Uint8Array): boolean {
  return via !== undefined && equalBytes(via, group)
}
