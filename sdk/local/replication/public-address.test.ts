import { expect, test } from 'vitest'
import { isPublicAddress } from './public-address.ts'

test.each([
  '/ip4/1.1.1.1/tcp/4001',
  '/ip4/172.32.0.1/tcp/4001/ws',
  '/ip4/223.255.255.255/udp/1/quic-v1',
  '/ip6/2606:4700:4700::1111/tcp/4001',
  '/ip4/8.8.8.8/tcp/4001/p2p/12D3KooW/p2p-circuit',
])('%s may be dialled for a stranger', (address) => {
  expect(isPublicAddress(address)).toBe(true)
})

test.each([
  '/ip4/127.0.0.1/tcp/22',
  '/ip4/127.255.0.1/tcp/22',
  '/ip4/0.0.0.0/tcp/80',
  '/ip4/10.1.2.3/tcp/80',
  '/ip4/100.64.0.1/tcp/80',
  '/ip4/169.254.169.254/tcp/80',
  '/ip4/172.16.0.1/tcp/80',
  '/ip4/172.31.255.255/tcp/80',
  '/ip4/192.168.1.1/tcp/80',
  '/ip4/192.0.2.1/tcp/80',
  '/ip4/224.0.0.1/tcp/80',
  '/ip4/255.255.255.255/tcp/80',
  '/ip4/0177.0.0.1/tcp/80',
  '/ip4/2130706433/tcp/80',
  '/ip6/::1/tcp/80',
  '/ip6/::ffff:127.0.0.1/tcp/80',
  '/ip6/::ffff:8.8.8.8/tcp/80',
  '/ip6/fe80::1/tcp/80',
  '/ip6/fd00::1/tcp/80',
  '/ip6/ff02::1/tcp/80',
  '/ip6/64:ff9b::7f00:1/tcp/80',
  '/ip6/2002:7f00:1::1/tcp/80',
  '/ip6/2001:0:1::1/tcp/80',
  '/ip6/2001:db8::1/tcp/80',
  '/dns4/localhost/tcp/80',
  '/dns/metadata.internal/tcp/80',
  '/dnsaddr/example.org',
  '/unix/run/docker.sock',
  '',
  'ip4/8.8.8.8',
])('%s may not', (address) => {
  expect(isPublicAddress(address)).toBe(false)
})
