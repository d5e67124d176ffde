import { randomBytes } from 'node:crypto'
import type { Libp2p } from '@libp2p/interface'
import { afterEach, expect, test, vi } from 'vitest'
import { AgentKey } from '../../src/identity/index.ts'
import { keepConnectedMs } from '../../src/limits.ts'
import { KeepConnected, namedPeer } from './keep-connected.ts'
import type { Services } from './libp2p.ts'
import { Nodes } from './test-support/nodes.ts'

afterEach(() => {
  vi.useRealTimers()
})

test('a bootstrap node that is away is tried again after half a minute or so, and until then left alone', async () => {
  await using nodes = new Nodes()
  const { network } = await nodes.start({ listen: [] })
  const key = { agent: new AgentKey(randomBytes(32)) }
  const away = await nodes.start(key)
  const [address = ''] = away.network.addresses()
  await away.network.close()
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  let tries = 0
  const next = { tried: Promise.withResolvers<void>() }
  const debug = (): void => {
    tries++
    next.tried.resolve()
  }
  const keep = new KeepConnected({
    libp2p: network.libp2p as Libp2p<Services>,
    bootstrap: [namedPeer(address, 'bootstrap')],
    relays: [],
    // No jitter.
    random: (length) => new Uint8Array(length).fill(128),
    logger: { debug, info() {}, warn() {}, error() {} },
  })
  keep.start()
  await next.tried.promise
  next.tried = Promise.withResolvers()
  await vi.advanceTimersByTimeAsync(keepConnectedMs / 2)
  expect(tries).toBe(1)
  await vi.advanceTimersByTimeAsync(keepConnectedMs / 2)
  await next.tried.promise
  // Once it is there it is connected to.
  const there = await nodes.start({ ...key, listen: [address.replace(/\/p2p\/.*/, '')] })
  const connected = Promise.withResolvers<void>()
  network.onPeer((_, isConnected) => isConnected && connected.resolve())
  await vi.advanceTimersByTimeAsync(keepConnectedMs)
  await connected.promise
  expect(network.connected()).toEqual([there.agent])
  await keep.stop()
  vi.useRealTimers()
})
