import { expect, test } from 'vitest'
import { isAddress } from '../../../src/identity/index.ts'
import { addressOfGateway, gatewayOfAddress } from './gateway-address.ts'

test.each([
  ['https://files.example.org', '/dns/files.example.org/tcp/443/https'],
  ['http://files.example.org', '/dns/files.example.org/tcp/80/http'],
  ['https://files.example.org:8443', '/dns/files.example.org/tcp/8443/https'],
  ['http://127.0.0.1:8080', '/ip4/127.0.0.1/tcp/8080/http'],
  ['https://[2001:db8::1]', '/ip6/2001:db8::1/tcp/443/https'],
  ['http://xn--bcher-kva.example', '/dns/xn--bcher-kva.example/tcp/80/http'],
])('a ticket tells of %s by %s', (url, address) => {
  expect(addressOfGateway(url)).toBe(address)
  expect(isAddress(address)).toBe(true)
  expect(gatewayOfAddress(address)).toBe(url)
})

test('a gateway below a path has no address', () => {
  expect(addressOfGateway('https://example.org/files')).toBeUndefined()
})

test.each([
  '/ip4/192.0.2.1/tcp/4001',
  '/ip4/192.0.2.1/tcp/443/tls/ws',
  '/ip4/192.0.2.1/udp/443/https',
  '/dns4/example.org/tcp/99999999/http',
  '/dns4/example.org/tcp/70000/http',
  '/dns4/exa mple/tcp/80/http',
  '/dns4/user@example.org/tcp/80/http',
  '/dns4/example.org?x/tcp/80/http',
  '/dns4/example.org/tcp/80/http/p2p/12D3KooW',
  'https://example.org',
])('%s is no gateway’s', (address) => {
  expect(gatewayOfAddress(address)).toBeUndefined()
})

test('names of all kinds and TLS spelled out are understood', () => {
  expect(gatewayOfAddress('/dns4/example.org/tcp/443/tls/http')).toBe('https://example.org')
  expect(gatewayOfAddress('/dns6/example.org/tcp/8080/http')).toBe('http://example.org:8080')
})
