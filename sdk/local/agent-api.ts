import { formatDid, formatTicket, parseDid } from '../../src/identity/index.ts'
import type { AgentApi, Contact } from '../peer-client.ts'
import { checked, shapes } from './arguments.ts'
import { addressOfGateway } from './links/gateway-address.ts'
import type { Links } from './links/links.ts'
import type { OpenCalls } from './open-calls.ts'
import { agentOfTicket } from './replication/contacts.ts'
import type { Replication } from './replication/replication.ts'
import type { ContactRow } from './replication/rows.ts'
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
        const peer = ticket === undefined ? { agent: parseDid(did as string), addresses: [] } : agentOfTicket(ticket)
        return present(await contacts.add(name, peer))
      }),
    list: async (options) =>
      await calls.run(checked('agent.list', shapes.nothing, options), async () => contacts.all.map(present)),
    remove: async (options) =>
      await calls.run(
        checked('agent.remove', shapes.contact, options),
        async ({ name }) => await contacts.remove(name),
      ),
  }
}

function present({ name, agent, addresses }: ContactRow): Contact {
  return { name, did: formatDid(agent), addresses }
}
