import { randomBytes } from 'node:crypto'
import { noise } from '@chainsafe/libp2p-noise'
import { RELAY_V2_HOP_CODEC } from '@libp2p/circuit-relay-v2'
import type { Libp2p } from '@libp2p/interface'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { expect, test } from 'vitest'
import { toHex } from '../../src/encoding/index.ts'
import {
  maxRelayReservations,
  maxStrangerReservations,
  relayedConnectionBytes,
  relayedConnectionMs,
} from '../../src/limits.ts'
import { agentOf } from './agent-peer.ts'
import { eventually, Nodes, type TestNode } from './test-support/nodes.ts'

const protocol = '/test/1'

/** Statuses of circuit relay v2. */
const ok = 100
const reservationRefused = 200
const permissionDenied = 202

/** An agent that asks a relay for a place, and nothing else. */
class Guest {
  readonly #libp2p: Libp2p
  readonly #relay: Multiaddr

  private constructor(libp2p: Libp2p, relay: Multiaddr) {
    this.#libp2p = libp2p
    this.#relay = relay
  }

  /** So many agents from a few addresses, for one may have only so many connections. */
  static async crowd(stack: AsyncDisposableStack, { network }: TestNode, count: number): Promise<Guest[]> {
    const relay = multiaddr(network.addresses().find((one) => !one.includes('/ws')) ?? '')
    return await Promise.all(
      Array.from({ length: count }, async (_, at) => {
        const libp2p = await createLibp2p({
          transports: [tcp({ dialOpts: { localAddress: `127.0.1.${1 + (at % 8)}` } as object })],
          connectionEncrypters: [noise()],
          streamMuxers: [yamux()],
          connectionManager: { reconnectRetries: 0 },
          connectionMonitor: { enabled: false },
        })
        stack.defer(() => libp2p.stop())
        return new Guest(libp2p, relay)
      }),
    )
  }

  /** In hex. */
  get agent(): string {
    return toHex(agentOf(this.#libp2p.peerId) ?? new Uint8Array(0))
  }

  /** The status of the answer, once it is let in. */
  async reserve(): Promise<number | undefined> {
    const stream = await eventually(() => this.#libp2p.dialProtocol(this.#relay, RELAY_V2_HOP_CODEC))
    const answered = Promise.withResolvers<Uint8Array>()
    stream.addEventListener('message', ({ data }) => answered.resolve(data.subarray()), { once: true })
    // `type: RESERVE`, after its length.
    stream.send(Uint8Array.of(2, 8, 0))
    const answer = await answered.promise
    await stream.close()
    // The status is the last field, of two bytes or, from 128 on, three.
    const last = [...answer.subarray(-3)]
    if (last[1] === 0x28) return last[2]
    return last[0] === 0x28 ? ((last[1] as number) & 0x7f) + (last[2] as number) * 128 : undefined
  }

  async leave(): Promise<void> {
    await this.#libp2p.stop()
  }
}

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
  // As everything else, what is as good as nothing goes through it too: pings and hints.
  expect(await dialler.network.ping(hidden.agent)).toBeGreaterThanOrEqual(0)
  const heard: string[] = []
  hidden.network.onHint('topic', (payload) => heard.push(Buffer.from(payload).toString()))
  await eventually(() => {
    dialler.network.hint('topic', Buffer.from('news'))
    expect(heard).toContain('news')
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
})

test('a node that was not told to relay does not', async () => {
  await using nodes = new Nodes()
  const plain = await nodes.start()
  const hidden = await nodes.start({ listen: [], relays: plain.network.addresses() })
  await eventually(() => expect(hidden.network.connected()).toEqual([plain.agent]))
  await eventually(async () => expect((await hidden.network.peers())[0]?.protocols).not.toEqual([]))
  expect(hidden.network.status().relays).toMatchObject([{ reserved: false }])
  expect(hidden.network.addresses()).toEqual([])
})

test('a relay has so many places, for strangers so many of them, and whoever is gone has none', async () => {
  await using nodes = new Nodes()
  await using stack = new AsyncDisposableStack()
  const relay = await nodes.start({ relay: true })
  const known = new Set<string>()
  relay.network.keepRoomFor((agent) => known.has(toHex(agent)))
  const strangers = await Guest.crowd(stack, relay, maxStrangerReservations + 1)
  const friends = await Guest.crowd(stack, relay, maxRelayReservations - maxStrangerReservations + 1)
  for (const { agent } of friends) known.add(agent)
  const [lateStranger, lateFriend] = [strangers.pop(), friends.pop()]
  const answersOf = async (guests: readonly Guest[]) =>
    new Set(await Promise.all(guests.map((guest) => guest.reserve())))
  expect(await answersOf(strangers)).toEqual(new Set([ok]))
  expect(await lateStranger?.reserve()).toBe(permissionDenied)
  expect(await answersOf(friends)).toEqual(new Set([ok]))
  expect(await lateFriend?.reserve()).toBe(reservationRefused)
  // Whoever has one may have it for longer.
  expect([await strangers[0]?.reserve(), await friends[0]?.reserve()]).toEqual([ok, ok])
  await strangers.pop()?.leave()
  await eventually(async () => expect(await lateStranger?.reserve()).toBe(ok))
  await friends.pop()?.leave()
  await eventually(async () => expect(await lateFriend?.reserve()).toBe(ok))
})
