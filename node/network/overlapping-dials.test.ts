import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { multiaddr } from '@multiformats/multiaddr'
import { expect, test } from 'vitest'
import { AgentKey } from '../../src/identity/index.ts'
import { maxNearDials } from '../../src/limits.ts'
import { peerIdOf } from './agent-peer.ts'
import type { Libp2pNetwork } from './libp2p-network.ts'
import { Nodes } from './test-support/nodes.ts'

const protocol = '/test/1'

/** Takes connections and says nothing. */
class Silent implements AsyncDisposable {
  readonly sockets: Socket[] = []
  readonly #server = createServer((socket) => {
    this.sockets.push(socket.on('error', () => {}).resume())
  })

  static async start(): Promise<Silent> {
    const silent = new Silent()
    await once(silent.#server.listen(0, '127.0.0.1'), 'listening')
    return silent
  }

  get address(): string {
    return `/ip4/127.0.0.1/tcp/${(this.#server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    for (const socket of this.sockets) socket.destroy()
  }
}

test('an agent is reached though two of its addresses take the connection and say nothing; they are let go of then', async () => {
  await using nodes = new Nodes()
  const [a, b] = [await nodes.start({ listen: [] }), await nodes.start()]
  b.network.handle(protocol, (stream) => stream.write(Buffer.from('hello')))
  const silent = [await Silent.start(), await Silent.start()]
  await using cleanUp = new AsyncDisposableStack()
  for (const each of silent) cleanUp.use(each)
  // What was said last is tried first.
  a.network.addAddresses(b.agent, [...b.network.addresses(), ...silent.map(({ address }) => address)])
  const stream = await a.network.open(b.agent, protocol)
  expect(Buffer.from((await stream.read()) ?? []).toString()).toBe('hello')
  const sockets = silent.flatMap(({ sockets }) => sockets)
  expect(sockets).toHaveLength(2)
  await Promise.all(sockets.map((socket) => (socket.closed ? undefined : once(socket, 'close'))))
})

test('an agent is reached though one of its addresses is a name that nobody can look up', async () => {
  await using nodes = new Nodes()
  const { a, b } = await nodes.pair({ listen: [] })
  b.network.handle(protocol, (stream) => stream.write(Buffer.from('hello')))
  a.network.addAddresses(b.agent, ['/dnsaddr/nobody.invalid'])
  const stream = await a.network.open(b.agent, protocol)
  expect(Buffer.from((await stream.read()) ?? []).toString()).toBe('hello')
})

test('an agent is reached though libp2p by itself dials it, and knows such a name as well', async () => {
  await using nodes = new Nodes()
  const [a, b] = [await nodes.start({ listen: [] }), await nodes.start()]
  const [libp2p, peer] = [a.network.libp2p, peerIdOf(b.agent)]
  const known = [...b.network.addresses(), '/dnsaddr/nobody.invalid']
  await libp2p?.peerStore.merge(peer, { multiaddrs: known.map((address) => multiaddr(address)) })
  const connection = await libp2p?.dial(peer)
  expect(connection?.status).toBe('open')
})

test('names are looked up though no other address is one that can be dialled', async () => {
  await using nodes = new Nodes()
  const [a, b] = [await nodes.start({ listen: [] }), await nodes.start()]
  a.network.addAddresses(b.agent, ['/ip4/127.0.0.1/udp/1/quic-v1', '/dnsaddr/nobody.invalid'])
  await expect(a.network.open(b.agent, protocol)).rejects.toMatchObject({
    details: { answers: [expect.stringMatching('no valid addresses'), expect.stringMatching('nobody.invalid')] },
  })
})

test('an agent is reached at once though multicast tells of any number who take the connection and say nothing', async () => {
  await using nodes = new Nodes()
  const { a, b } = await nodes.pair({ listen: [] })
  await using silent = await Silent.start()
  for (let told = 0; told < 300; told++) {
    const id = peerIdOf(new AgentKey(randomBytes(32)).publicKey)
    ;(a.network as Libp2pNetwork).foundNear({ id, multiaddrs: [multiaddr(silent.address)] })
  }
  expect(await a.network.ping(b.agent)).toBeGreaterThanOrEqual(0)
  expect(silent.sockets.length).toBeLessThanOrEqual(maxNearDials)
})

test('what each address answers is told when none of them leads there', async () => {
  await using nodes = new Nodes()
  const { a, b } = await nodes.pair({ listen: [] })
  await b.network.close()
  a.network.addAddresses(b.agent, ['/ip4/127.0.0.1/tcp/1'])
  await expect(a.network.open(b.agent, protocol)).rejects.toMatchObject({
    details: { reason: 'refused', answers: [1, 2].map(() => expect.stringMatching('ECONNREFUSED')) },
  })
})
