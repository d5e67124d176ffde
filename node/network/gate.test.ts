import { randomBytes } from 'node:crypto'
import type { MultiaddrConnection } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { expect, test } from 'vitest'
import { AgentKey } from '../../src/identity/index.ts'
import { maxConnectionsPerHost, maxRelayedPerHour } from '../../src/limits.ts'
import { peerIdOf } from './agent-peer.ts'
import { Gate } from './gate.ts'
import { Penalties } from './penalties.ts'

const source = new AgentKey(randomBytes(32)).publicKey
const target = peerIdOf(new AgentKey(randomBytes(32)).publicKey)

test('relays only so many connections an hour for one agent, whatever others do', () => {
  const clock = { now: 0 }
  const { rules } = new Gate(new Penalties(() => clock.now), () => clock.now)
  const relayed = () => rules.denyOutboundRelayedConnection?.(peerIdOf(source), target) === false
  const opened = () => Array.from({ length: 100 }, relayed).filter(Boolean).length
  expect(opened()).toBe(maxRelayedPerHour)
  expect(rules.denyOutboundRelayedConnection?.(target, peerIdOf(source))).toBe(false)
  clock.now += 3_600_000
  expect(opened()).toBe(maxRelayedPerHour)
})

test('an agent that is refused is neither dialled, heard nor relayed for', () => {
  const penalties = new Penalties(() => 0)
  const gate = new Gate(penalties, () => 0)
  const peer = peerIdOf(source)
  const { rules } = gate
  const denials = () => [
    rules.denyDialPeer?.(peer),
    rules.denyInboundRelayReservation?.(peer),
    rules.denyOutboundRelayedConnection?.(peer, target),
    rules.denyInboundRelayedConnection?.(target, peer),
  ]
  expect(denials()).toEqual([false, false, false, false])
  penalties.add(source, 'bad-block')
  penalties.add(source, 'bad-block')
  expect(denials()).toEqual([true, true, true, true])
  expect(gate.refused.penalised).toBe(4)
})

test('a connection that is closed before it is counted holds no place', () => {
  const { rules } = new Gate(new Penalties(() => 0), () => 0)
  const connection = (timeline: MultiaddrConnection['timeline']) =>
    Object.assign(new EventTarget(), { remoteAddr: multiaddr('/ip4/192.0.2.1/tcp/1'), timeline }) as MultiaddrConnection
  const denied = (timeline: MultiaddrConnection['timeline']) => {
    const one = connection(timeline)
    const isDenied = rules.denyInboundConnection?.(one)
    rules.denyInboundUpgradedConnection?.(target, one)
    return isDenied
  }
  for (let at = 0; at <= maxConnectionsPerHost; at++) expect(denied({ open: 1, close: 2 })).toBe(false)
  for (let at = 0; at < maxConnectionsPerHost; at++) expect(denied({ open: 1 })).toBe(false)
  expect(denied({ open: 1 })).toBe(true)
})
