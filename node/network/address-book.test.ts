import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { AgentKey } from '../../src/identity/index.ts'
import { maxAddressesPerAgent } from '../../src/limits.ts'
import { AddressBook } from './address-book.ts'
import { peerIdOf } from './agent-peer.ts'

const agent = new AgentKey(randomBytes(32)).publicKey
const peer = peerIdOf(agent).toString()
const relay = peerIdOf(new AgentKey(randomBytes(32)).publicKey).toString()

test('gives an agent’s addresses newest first, each ending in its peer id', () => {
  const book = new AddressBook()
  expect(book.add(agent, ['/ip4/10.0.0.1/tcp/1', `/dns4/host/tcp/2/ws/p2p/${peer}`])).toEqual([])
  expect(book.add(agent, [`/ip4/10.0.0.2/tcp/3/p2p/${relay}/p2p-circuit`, '/ip4/10.0.0.1/tcp/1'])).toEqual([])
  expect(book.of(agent).map(String)).toEqual([
    `/ip4/10.0.0.1/tcp/1/p2p/${peer}`,
    `/ip4/10.0.0.2/tcp/3/p2p/${relay}/p2p-circuit/p2p/${peer}`,
    `/dns4/host/tcp/2/ws/p2p/${peer}`,
  ])
  expect(book.of(new AgentKey(randomBytes(32)).publicKey)).toEqual([])
})

test('takes no text that is no address, or another agent’s', () => {
  const book = new AddressBook()
  const wrong = [
    '',
    'nonsense',
    `/ip4/10.0.0.1/tcp/1/p2p/${relay}`,
    '/ip4/10.0.0.1/tcp/99999999',
    `/dns4/${'x'.repeat(2_000)}/tcp/1`,
  ]
  expect(book.add(agent, wrong)).toEqual(wrong)
  expect(book.of(agent)).toEqual([])
})

test('keeps the newest addresses when there are too many', () => {
  const book = new AddressBook()
  const ports = Array.from({ length: 100 }, (_, at) => `/ip4/10.0.0.1/tcp/${at + 1}`)
  book.add(agent, ports)
  expect(book.of(agent)).toHaveLength(maxAddressesPerAgent)
  expect(book.of(agent)[0]?.toString()).toContain('/tcp/100/')
})
