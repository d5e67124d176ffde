import type { PeerNetwork } from '../../../src/exchange/index.ts'

/** Where this node may be dialled, the likeliest to work from elsewhere first: a ticket has room for a few. */
export function ticketAddresses(network: Pick<PeerNetwork, 'addresses'>): string[] {
  return [...network.addresses()].sort((a, b) => rank(a) - rank(b))
}

function rank(address: string): number {
  if (address.startsWith('/ip4/127.') || address.startsWith('/ip6/::1/')) return 2
  // Of this link only, and nobody else knows which.
  if (address.startsWith('/ip6/fe80:') || address.startsWith('/ip4/169.254.')) return 3
  return address.includes('/ws') ? 1 : 0
}
