import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { relayedConnectionBytes, relayedConnectionMs } from '../../src/limits.ts'
import { eventually, Nodes } from './test-support/nodes.ts'

const protocol = '/test/1'

test('a relay carries streams between two nodes of which neither can be dialled', async () => {
  await using nodes = new Nodes()
  const relay = await nodes.start({ relay: true })
  const hidden = await nodes.start({ listen: [], relays: relay.network.addresses() })
  const dialler = await nodes.start({ listen: [] })
  hidden.network.handle(protocol, async (stream) => {
    for (let part = await stream.read(); part !== undefined; part = await stream.read()) await stream.write(part)
  })
  await eventually(() => expect(hidden.network.status().relays).toMatchObject([{ reserved: true }]))
  await eventually(() => expect(hidden.network.addresses()).not.toEqual([]))
  expect(hidden.network.addresses().every((address) => address.includes('/p2p-circuit'))).toBe(true)
  dialler.network.addAddresses(hidden.agent, hidden.network.addresses())
  const stream = await dialler.network.open(hidden.agent, protocol)
  const bytes = randomBytes(3 * 1024 * 1024)
  const sent = stream.write(bytes).then(() => stream.closeWrite())
  const parts: Uint8Array[] = []
  for (let part = await stream.read(); part !== undefined; part = await stream.read()) parts.push(part)
  await sent
  expect(Buffer.concat(parts).equals(bytes)).toBe(true)
  expect(dialler.network.reachability(hidden.agent)).toEqual({ state: 'relayed' })
  expect((await dialler.network.peers()).find(({ agent }) => Buffer.compare(agent, hidden.agent) === 0)).toMatchObject({
    connection: 'relayed',
    encryption: 'tls',
  })
  // libp2p's relay takes the time that it tells for milliseconds.
  const relayed = dialler.network.libp2p?.getConnections().find(({ limits }) => limits?.seconds !== undefined)
  expect(relayed?.limits?.bytes).toBeLessThanOrEqual(BigInt(relayedConnectionBytes))
  expect(relayed?.limits?.seconds).toBeLessThanOrEqual(relayedConnectionMs)
  expect(relayed?.limits?.seconds).toBeGreaterThan(relayedConnectionMs - 60_000)
  await relay.network.close()
  await eventually(() => expect(dialler.network.connected()).toEqual([]))
  await expect(dialler.network.open(hidden.agent, protocol)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  await eventually(() => expect(hidden.network.status().relays).toMatchObject([{ reserved: false }]))
})

test('a relayed connection is cut after its bytes, and there is another when it is wanted', async () => {
  await using nodes = new Nodes()
  const relay = await nodes.start({ relay: true })
  const hidden = await nodes.start({ listen: [], relays: relay.network.addresses() })
  const dialler = await nodes.start({ listen: [] })
  const taken = { bytes: 0 }
  hidden.network.handle(protocol, async (stream) => {
    for (let part = await stream.read(); part !== undefined; part = await stream.read()) taken.bytes += part.length
  })
  await eventually(() => expect(hidden.network.addresses()).not.toEqual([]))
  dialler.network.addAddresses(hidden.agent, hidden.network.addresses())
  const send = async (): Promise<never> => {
    const stream = await dialler.network.open(hidden.agent, protocol)
    for (const piece = new Uint8Array(1024 * 1024); ; ) await stream.write(piece)
  }
  await expect(send()).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  // TLS and yamux take some of it, and what was under way is lost.
  expect(taken.bytes).toBeLessThan(relayedConnectionBytes)
  expect(taken.bytes).toBeGreaterThan(relayedConnectionBytes / 2)
  const stream = await eventually(() => dialler.network.open(hidden.agent, protocol))
  const before = taken.bytes
  await stream.write(new Uint8Array(1000))
  await eventually(() => expect(taken.bytes).toBe(before + 1000))
}, 120_000)

test('a node that was not told to relay does not', async () => {
  await using nodes = new Nodes()
  const plain = await nodes.start()
  const hidden = await nodes.start({ listen: [], relays: plain.network.addresses() })
  await eventually(() => expect(hidden.network.connected()).toEqual([plain.agent]))
  await eventually(async () => expect((await hidden.network.peers())[0]?.protocols).not.toEqual([]))
  expect(hidden.network.status().relays).toMatchObject([{ reserved: false }])
  expect(hidden.network.addresses()).toEqual([])
})
