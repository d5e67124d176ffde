import { ArtifactHubError } from '../../src/errors.ts'
import { formatDid } from '../../src/identity/index.ts'
import type { MembershipApi } from '../peer-client.ts'
import { checked, shapes } from './arguments.ts'
import { grantGroup, revokeGroup } from './groups/group-roles.ts'
import type { Groups } from './groups/groups.ts'
import { membersOf } from './groups/present-member.ts'
import { ticketOf } from './groups/ticket-of.ts'
import type { OpenNamespace } from './namespace-book.ts'
import type { OpenCalls } from './open-calls.ts'
import { namespaceTicket } from './replication/replication.ts'

/** The membership calls over this process's own namespaces. */
export function createMembershipApi(groups: Groups, calls: OpenCalls): MembershipApi {
  const { replication } = groups
  const { env, namespaces, contacts } = replication
  const self = env.agent.publicKey

  const nameIn = ({ row }: OpenNamespace): string => JSON.stringify(row.name)

  return {
    grant: (async (options: unknown) =>
      await calls.run(checked('namespace.grant', shapes.grant, options), async (call) => {
        const { namespace: name, role } = call
        const namespace = namespaces.find(name)
        if (call.group !== undefined) return await grantGroup(groups, namespace, call.group, role)
        const peer = contacts.resolve(call.agent)
        await namespaces.during(namespace, () => namespace.log.members.grant({ agent: peer.agent, role }))
        await replication.greet(namespace, [peer])
        const granted = membersOf(replication, namespace).find(({ did }) => did === formatDid(peer.agent))
        if (granted !== undefined) return granted
        throw new ArtifactHubError('CONFLICT', `somebody took the role in ${nameIn(namespace)} away at the same time`)
      })) as MembershipApi['grant'],
    revoke: async (options) =>
      await calls.run(checked('namespace.revoke', shapes.revoke, options), async (call) => {
        const namespace = namespaces.find(call.namespace)
        if (call.group !== undefined) {
          await revokeGroup(groups, namespace, call.group)
          return
        }
        const peer = contacts.resolve(call.agent)
        await namespaces.during(namespace, () => namespace.log.members.revoke({ agent: peer.agent }))
      }),
    members: async (options) =>
      await calls.run(checked('namespace.members', shapes.maybeNamespace, options), async ({ namespace }) =>
        membersOf(replication, namespaces.find(namespace)),
      ),
    ticket: async (options) =>
      await calls.run(checked('namespace.ticket', shapes.maybeNamespace, options), async ({ namespace: name }) => {
        return ticketOf(replication, namespaces.find(name))
      }),
    join: async (options) =>
      await calls.run(checked('namespace.join', shapes.join, options), async ({ ticket, name, wait, signal }) => {
        const call = { name, isWaiting: wait === true, signal }
        const namespace = await groups.joinNamespace(namespaceTicket(ticket), call)
        const role = namespace.log.roleOf(self)
        if (role === undefined)
          throw new ArtifactHubError('ACCESS_DENIED', 'this agent’s role was taken away meanwhile')
        return { id: namespace.log.idText, name: namespace.row.name, role }
      }),
    leave: async (options) =>
      await calls.run(
        checked('namespace.leave', shapes.namespace, options),
        async ({ namespace }) => await groups.leaveNamespace(namespace),
      ),
    adopt: async (options) =>
      await calls.run(checked('namespace.adopt', shapes.adopt, options), async ({ namespace: name, head }) => {
        const namespace = namespaces.find(name)
        const hash = new Uint8Array(Buffer.from(head, 'hex'))
        await namespaces.during(namespace, () => namespace.log.members.adopt({ hash }))
      }),
    setPolicy: async (options) =>
      await calls.run(
        checked('namespace.setPolicy', shapes.policy, options),
        async ({ namespace: name, fetch, maxBytes }) =>
          await replication.setPolicy(namespaces.find(name), { fetch, maxBytes }),
      ),
  }
}
