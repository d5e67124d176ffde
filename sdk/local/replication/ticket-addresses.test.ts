import { expect, test } from 'vitest'
import { ticketAddresses } from './ticket-addresses.ts'

test('a ticket names first what can be dialled from elsewhere, and TCP before WebSocket', () => {
  const addresses = () => [
    '/ip4/127.0.0.1/tcp/1',
    '/ip6/fe80::1/tcp/2',
    '/ip4/192.0.2.1/tcp/3/ws',
    '/ip4/192.0.2.1/tcp/4',
    '/ip6/2001:db8::1/tcp/5',
  ]
  expect(ticketAddresses({ addresses })).toEqual([
    '/ip4/192.0.2.1/tcp/4',
    '/ip6/2001:db8::1/tcp/5',
    '/ip4/192.0.2.1/tcp/3/ws',
    '/ip4/127.0.0.1/tcp/1',
    '/ip6/fe80::1/tcp/2',
  ])
})
