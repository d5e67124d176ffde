import { equalBytes, toHex } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import type { KnownPeer } from '../../src/exchange/index.ts'
import { formatDid, formatTicket } from '../../src/identity/index.ts'
import type { Member as LogMember } from '../../src/membership/index.ts'
import type { Member, MembershipApi } from '../peer-client.ts'
import { checked, shapes } from './arguments.ts'
import type { OpenNamespace } from './namespaces.ts'
import type { OpenCalls } from './open-calls.ts'
import { namespaceTicket, type Replication } from './replication/replication.ts'
import { ticketAddresses } from './replication/ticket-addresses.ts'

/** The membership calls over this process's own namespaces. */
export function createMembershipApi(replication: Replication, calls: OpenCalls): MembershipApi {
  const { env, namespaces, contacts } = replication
  const self = env.agent.publicKey

  const present = ({ agent, role, grants }: LogMember, connected: ReadonlySet<string>): Member => ({
    did: formatDid(agent),
    role,
    name: contacts.nameOf(agent),
    since: new Date(Math.min(...grants.map(({ clock }) => clock.wallMs))),
    connected: equalBytes(agent, self) || connected.has(toHex(agent)),
  })
  const membersOf = ({ log }: OpenNamespace): Member[] => {
    const connected = new Set(env.network.connected().map(toHex))
    return log.membership.members.map((member) => present(member, connected))
  }
  const nameIn = ({ row }: OpenNamespace): string => JSON.stringify(row.name)

  return {
    grant: async (options) =>
      await calls.run(checked('namespace.grant', shapes.grant, options), async ({ namespace: name, agent, role }) => {
        const namespace = namespaces.find(name)
        const peer = contacts.resolve(agent)
        await namespaces.during(namespace, () => namespace.log.grant({ agent: peer.agent, role }))
        await replication.know(namespace, [peer])
        const granted = membersOf(namespace).find(({ did }) => did === formatDid(peer.agent))
        if (granted !== undefined) return granted
        throw new ArtifactHubError('CONFLICT', `somebody took the role in ${nameIn(namespace)} away at the same time`)
      }),
    revoke: async (options) =>
      await calls.run(checked('namespace.revoke', shapes.member, options), async ({ namespace: name, agent }) => {
        const namespace = namespaces.find(name)
        const peer = contacts.resolve(agent)
        await namespaces.during(namespace, () => namespace.log.revoke({ agent: peer.agent }))
      }),
    members: async (options) =>
      await calls.run(checked('namespace.members', shapes.maybeNamespace, options), async ({ namespace }) =>
        membersOf(namespaces.find(namespace)),
      ),
    ticket: async (options) =>
      await calls.run(checked('namespace.ticket', shapes.maybeNamespace, options), async ({ namespace: name }) => {
        const namespace = namespaces.find(name)
        const { log, row } = namespace
        const own: KnownPeer = { agent: self, addresses: ticketAddresses(env.network) }
        const others = [...replication.peersOf(namespace), ...contacts.all].filter(
          ({ agent, addresses }) => addresses.length > 0 && log.roleOf(agent) !== undefined && !equalBytes(agent, self),
        )
        const peers = new Map([own, ...others].map(({ agent, addresses }) => [toHex(agent), { agent, addresses }]))
        return formatTicket({ kind: 'namespace', id: log.id, peers: [...peers.values()], name: row.name })
      }),
    join: async (options) =>
      await calls.run(checked('namespace.join', shapes.join, options), async ({ ticket, name, wait, signal }) => {
        const namespace = await replication.join(namespaceTicket(ticket), { name, isWaiting: wait === true, signal })
        const role = namespace.log.roleOf(self)
        if (role === undefined)
          throw new ArtifactHubError('ACCESS_DENIED', 'this agent’s role was taken away meanwhile')
        return { id: namespace.log.idText, name: namespace.row.name, role }
      }),
    leave: async (options) =>
      await calls.run(
        checked('namespace.leave', shapes.namespace, options),
        async ({ namespace }) => await namespaces.delete(namespace),
      ),
    adopt: async (options) =>
      await calls.run(checked('namespace.adopt', shapes.adopt, options), async ({ namespace: name, head }) => {
        const namespace = namespaces.find(name)
        const hash = new Uint8Array(Buffer.from(head, 'hex'))
        await namespaces.during(namespace, () => namespace.log.adopt({ hash }))
      }),
    setPolicy: async (options) =>
      await calls.run(
        checked('namespace.setPolicy', shapes.policy, options),
        async ({ namespace: name, fetch, maxBytes }) =>
          await replication.setPolicy(namespaces.find(name), { fetch, maxBytes }),
      ),
  }
}
