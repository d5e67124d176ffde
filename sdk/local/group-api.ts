import { equalBytes, formatGroupId, toHex } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import { formatDid, parseTicket, ticketKindText } from '../../src/identity/index.ts'
import { maxGroupMembers } from '../../src/limits.ts'
import type { Group, GroupApi, GroupMember, GroupRole } from '../group-client.ts'
import type { Role } from '../peer-client.ts'
import { checked, shapes } from './arguments.ts'
import { writeGroupName } from './groups/group-name.ts'
import type { Groups } from './groups/groups.ts'
import { membersOf } from './groups/present-member.ts'
import { ticketOf } from './groups/ticket-of.ts'
import type { OpenNamespace } from './namespace-book.ts'
import type { OpenCalls } from './open-calls.ts'

const rolesInGroup: Readonly<Record<Role, GroupRole>> = {
  owner: 'owner',
  admin: 'admin',
  writer: 'member',
  // Nobody is given these in a group.
  reader: 'member',
  replica: 'member',
}

/** The group calls of a client in this process. */
export function createGroupApi(groups: Groups, calls: OpenCalls): GroupApi {
  const { replication } = groups
  const { env, namespaces, contacts } = replication
  const self = env.agent.publicKey

  const isIn = ({ log }: OpenNamespace): boolean => log.roleOf(self) !== undefined
  const present = ({ row, log }: OpenNamespace): Group => {
    const role = log.roleOf(self)
    if (role === undefined) {
      const details = { group: formatGroupId(row.id) }
      throw new ArtifactHubError('ACCESS_DENIED', `this agent is not in group ${JSON.stringify(row.name)}`, { details })
    }
    return {
      id: formatGroupId(row.id),
      name: row.name,
      owner: formatDid(row.owner),
      role: rolesInGroup[role],
      members: log.membership.members.length,
      createdAt: new Date(row.createdMs),
    }
  }
  const members = (group: OpenNamespace): GroupMember[] =>
    membersOf(replication, group).map((member) => ({ ...member, role: rolesInGroup[member.role] }))

  return {
    create: async (options) =>
      await calls.run(checked('group.create', shapes.groupCreate, options), async ({ name }) => {
        const group = await namespaces.create(name, undefined, 'group')
        await namespaces.during(group, () => writeGroupName(group, name))
        return present(group)
      }),
    get: async (options) =>
      await calls.run(checked('group.get', shapes.group, options), async ({ group }) =>
        present(namespaces.findGroup(group)),
      ),
    list: async (options) =>
      await calls.run(checked('group.list', shapes.nothing, options), async () =>
        namespaces.groups.filter(isIn).map(present),
      ),
    add: async (options) =>
      await calls.run(checked('group.add', shapes.groupAdd, options), async (call) => {
        const group = namespaces.findGroup(call.group)
        const { log } = group
        const peers = call.agents.map((agent) => contacts.resolve(agent))
        const agents = new Map(peers.map(({ agent }) => [toHex(agent), agent]))
        const held = new Set([...log.memberAgents()].map(toHex))
        const count = held.union(new Set(agents.keys())).size
        if (count > maxGroupMembers) {
          throw new ArtifactHubError(
            'TOO_LARGE',
            `a group has at most ${maxGroupMembers} agents; this would make ${count}`,
          )
        }
        const role = call.role === 'admin' ? 'admin' : 'writer'
        await namespaces.during(group, () => log.members.grantAll({ agents: [...agents.values()], role }))
        await replication.greet(group, peers)
        const now = new Map(members(group).map((member) => [member.did, member]))
        return peers.map(({ agent }) => {
          const member = now.get(formatDid(agent))
          if (member !== undefined) return member
          throw new ArtifactHubError('CONFLICT', `somebody removed ${formatDid(agent)} from the group at the same time`)
        })
      }),
    remove: async (options) =>
      await calls.run(checked('group.remove', shapes.groupRemove, options), async (call) => {
        const group = namespaces.findGroup(call.group)
        const agents = call.agents.map((agent) => contacts.resolve(agent).agent)
        if (agents.some((agent) => equalBytes(agent, group.row.owner)))
          throw new ArtifactHubError('ACCESS_DENIED', 'the owner of a group cannot be removed')
        await namespaces.during(group, () => group.log.members.revokeAll({ agents }))
      }),
    members: async (options) =>
      await calls.run(checked('group.members', shapes.group, options), async ({ group }) =>
        members(namespaces.findGroup(group)),
      ),
    ticket: async (options) =>
      await calls.run(checked('group.ticket', shapes.group, options), async ({ group }) =>
        ticketOf(replication, namespaces.findGroup(group)),
      ),
    join: async (options) =>
      await calls.run(checked('group.join', shapes.join, options), async ({ ticket: text, name, wait, signal }) => {
        const ticket = parseTicket(text)
        if (ticket.kind !== 'group')
          throw new ArtifactHubError(
            'INVALID_ARGUMENT',
            `this is the ticket of ${ticketKindText(ticket.kind)}, and a group’s is needed`,
          )
        return present(await groups.join(ticket, { name, isWaiting: wait === true, signal }))
      }),
    leave: async (options) =>
      await calls.run(checked('group.leave', shapes.group, options), async ({ group }) => await groups.leave(group)),
  }
}
