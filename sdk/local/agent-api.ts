import { formatGroupId } from '../../src/encoding/index.ts'
import { formatDid, formatTicket, parseDid, parseTicket } from '../../src/identity/index.ts'
import type { AgentApi, Contact } from '../peer-client.ts'
import { checked, shapes } from './arguments.ts'
import { addressOfGateway } from './links/gateway-address.ts'
import type { Links } from './links/links.ts'
import type { OpenCalls } from './open-calls.ts'
import { agentOfTicket } from './replication/contacts.ts'
import type { Replication } from './replication/replication.ts'
import type { ContactRow, GroupContactRow } from './replication/rows.ts'
import { ticketAddresses } from './replication/ticket-addresses.ts'

/** The agent calls of a client in this process. */
export function createAgentApi(
  { env, contacts }: Replication,
  links: Pick<Links, 'ownGateway'>,
  calls: OpenCalls,
): AgentApi {
  const { agent, network } = env
  // First: a ticket has room for a few.
  const gatewayAddress = () => {
    const address = links.ownGateway === undefined ? undefined : addressOfGateway(links.ownGateway)
    return address === undefined ? [] : [address]
  }
  return {
    self: async (options) =>
      await calls.run(checked('agent.self', shapes.nothing, options), async () => ({
        did: agent.did,
        addresses: network.addresses(),
      })),
    ticket: async (options) =>
      await calls.run(checked('agent.ticket', shapes.nothing, options), async () =>
        formatTicket({
          kind: 'agent',
          id: agent.publicKey,
          peers: [{ agent: agent.publicKey, addresses: [...gatewayAddress(), ...ticketAddresses(network)] }],
        }),
      ),
    add: async (options) =>
      await calls.run(checked('agent.add', shapes.contactAdd, options), async ({ name, did, ticket }) => {
        if (ticket === undefined)
          return present(await contacts.add(name, { agent: parseDid(did as string), addresses: [] }))
        const { kind, id, peers } = parseTicket(ticket)
        if (kind === 'group') return presentGroup(await contacts.addGroup(name, id, peers))
        return present(await contacts.add(name, agentOfTicket(ticket)))
      }),
    list: async (options) =>
      await calls.run(checked('agent.list', shapes.nothing, options), async () => {
        const all = [...contacts.all.map(present), ...contacts.groups.map(presentGroup)]
        return all.sort((a, b) => (a.name < b.name ? -1 : 1))
      }),
    remove: async (options) =>
      await calls.run(
        checked('agent.remove', shapes.contact, options),
        async ({ name }) => await contacts.remove(name),
      ),
  }
}

function presentGroup({ name, group }: GroupContactRow): Contact {
  return { name, group: formatGroupId(group) }
}

function present({ name, agent, addresses }: ContactRow): Contact {
  return { name, did: formatDid(agent), addresses }
}
