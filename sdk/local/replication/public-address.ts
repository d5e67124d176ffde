import { BlockList } from 'node:net'
import type { KnownPeer } from '../../../src/exchange/index.ts'

/** Addresses that lead to the machine itself, its own network, or nowhere (IANA's special-purpose registries, RFC 6890 and later). */
const special = new BlockList()
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const) {
  special.addSubnet(network, prefix, 'ipv4')
}
/** Of IPv6 only global unicast is public; within it these are not, for they name no host or carry an IPv4 address. */
const globalUnicast = new BlockList()
globalUnicast.addSubnet('2000::', 3, 'ipv6')
const specialIpv6 = new BlockList()
for (const [network, prefix] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const) {
  specialIpv6.addSubnet(network, prefix, 'ipv6')
}

/**
 * Whether a multiaddr may be dialled on a stranger's word: it begins with a public IP address. A name is not, for it may stand for
 * any address at all by the time it is looked up.
 */
export function isPublicAddress(address: string): boolean {
  const [, protocol, host = ''] = address.split('/')
  if (protocol === 'ip4') return isIpv4(host) && !special.check(host, 'ipv4')
  if (protocol !== 'ip6') return false
  return globalUnicast.check(host, 'ipv6') && !specialIpv6.check(host, 'ipv6')
}

function isIpv4(host: string): boolean {
  return /^(?:[0-9]{1,3}\.){3}[0-9]{1,3}$/.test(host)
}

/** Agents, with the addresses at which they may be dialled on the word of whoever names them: of somebody who is not believed the public ones. */
export function believedPeers(peers: readonly KnownPeer[], isBelieved: boolean): KnownPeer[] {
  if (isBelieved) return [...peers]
  return peers.map(({ agent, addresses }) => ({ agent, addresses: addresses.filter(isPublicAddress) }))
}
