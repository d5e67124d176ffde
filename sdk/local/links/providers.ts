import { toHex } from '../../../src/encoding/index.ts'
import type { TicketPeer } from '../../../src/identity/index.ts'
import { maxLinkProviderAddresses, maxLinkProviders } from '../../../src/limits.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import type { Replication } from '../replication/replication.ts'
import { ticketAddresses } from '../replication/ticket-addresses.ts'
import { gatewayOfAddress } from './gateway-address.ts'

/** Whom a gateway can ask for a content: this node, then replicas and other members that this node knows addresses of. */
export function linkProviders(
  replication: Pick<Replication, 'env' | 'contacts' | 'peersOf'>,
  namespace: OpenNamespace,
): TicketPeer[] {
  const { env, contacts } = replication
  const { log } = namespace
  const self = { agent: env.agent.publicKey, addresses: ticketAddresses(env.network) }
  const others = [...replication.peersOf(namespace), ...contacts.all]
    .filter(({ agent }) => log.roleOf(agent) !== undefined)
    .sort((a, b) => rank(log.roleOf(a.agent)) - rank(log.roleOf(b.agent)))
  const providers = new Map<string, TicketPeer>()
  for (const { agent, addresses } of [self, ...others]) {
    const dialable = addresses.filter((address) => gatewayOfAddress(address) === undefined)
    const name = toHex(agent)
    if (dialable.length === 0 || providers.has(name) || providers.size === maxLinkProviders) continue
    providers.set(name, { agent, addresses: dialable.slice(0, maxLinkProviderAddresses) })
  }
  return [...providers.values()]
}

/** A replica is there to be asked. */
function rank(role: string | undefined): number {
  return role === 'replica' ? 0 : 1
}

/** The same with one address less, the last of those that name most; `undefined` when there is none left to do without. */
export function withoutOneAddress(providers: readonly TicketPeer[]): TicketPeer[] | undefined {
  const most = Math.max(0, ...providers.map(({ addresses }) => addresses.length))
  const last = providers.findLastIndex(({ addresses }) => addresses.length === most)
  const provider = providers[last]
  if (provider === undefined) return undefined
  return most === 1
    ? providers.slice(0, last)
    : providers.with(last, { ...provider, addresses: provider.addresses.slice(0, -1) })
}
