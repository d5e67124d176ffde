import { equalBytes, toHex } from '../../../src/encoding/index.ts'
import type { KnownPeer } from '../../../src/exchange/index.ts'
import { formatTicket } from '../../../src/identity/index.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import type { Replication } from '../replication/replication.ts'
import { ticketAddresses } from '../replication/ticket-addresses.ts'

/** The ticket of a namespace or group: this node, and other members of whom it is known where they may be dialled. */
export function ticketOf(replication: Replication, namespace: OpenNamespace): string {
  const { env, contacts } = replication
  const { log, row } = namespace
  const self = env.agent.publicKey
  const own: KnownPeer = { agent: self, addresses: ticketAddresses(env.network) }
  const others = [...replication.peersOf(namespace), ...contacts.all].filter(
    ({ agent, addresses }) => addresses.length > 0 && log.roleOf(agent) !== undefined && !equalBytes(agent, self),
  )
  const peers = new Map([own, ...others].map(({ agent, addresses }) => [toHex(agent), { agent, addresses }]))
  return formatTicket({ kind: row.kind, id: log.id, peers: [...peers.values()], name: row.name })
}
