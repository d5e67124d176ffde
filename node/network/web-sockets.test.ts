import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { Connection, MultiaddrConnection, Transport, Upgrader } from '@libp2p/interface'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { describe, expect, test } from 'vitest'
import { dialConnectMs, maxSilentConnectionsPerHost, maxWebSocketMessageBytes } from '../../src/limits.ts'
import type { Libp2pNetwork } from './libp2p-network.ts'
import { eventually, Nodes, type TestNode } from './test-support/nodes.ts'

const protocol = '/test/1'
const listen = ['/ip4/127.0.0.1/tcp/0/ws']

const upgrade = `GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`

/** What a frame of that many bytes in all begins with, masked with zeros. */
function frameHead(bytes: number, first = 0x82): Buffer {
  const head = Buffer.alloc(14)
  head.set([first, 0x80 | 127])
  head.writeBigUInt64BE(BigInt(bytes), 2)
  return head
}

/** Connects over TCP alone, and reads whatever comes. */
function reach({ network }: TestNode): Socket {
  const [address = ''] = network.addresses()
  const socket = connect(Number(address.split('/')[4]), '127.0.0.1')
  socket.on('error', () => {})
  socket.resume()
  return socket
}

/** A WebSocket, by hand. */
async function open(to: TestNode): Promise<Socket> {
  const socket = reach(to)
  socket.write(upgrade)
  await once(socket, 'data')
  return socket
}

interface Transports {
  dialTransportForMultiaddr(address: Multiaddr): Transport | undefined
}

/** Takes WebSockets as nobody honest does. */
class WebSocketServer implements AsyncDisposable {
  readonly accepted: Promise<Socket>
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
    this.accepted = once(server, 'connection').then(([socket]) => socket as Socket)
  }

  /** @param talk has each connection once it is a WebSocket */
  static async start(talk: (socket: Socket) => void): Promise<WebSocketServer> {
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', (request: Buffer) => {
        const key = /sec-websocket-key: (.*)\r/i.exec(request.toString())?.[1] ?? ''
        // RFC 6455, 4.2.2.
        const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
        )
        talk(socket)
      })
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    return new WebSocketServer(server)
  }

  get address(): string {
    return `/ip4/127.0.0.1/tcp/${(this.#server.address() as AddressInfo).port}/ws`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    ;(await this.accepted).destroy()
  }
}

async function greeting(from: TestNode, to: TestNode): Promise<string> {
  const stream = await from.network.open(to.agent, protocol)
  const bytes = await stream.read()
  await stream.close()
  return Buffer.from(bytes ?? []).toString()
}

describe('a stranger at the port for WebSockets', () => {
  test.each([
    ['a frame of no kind that there is', Buffer.from([0x83, 0x80, 0, 0, 0, 0]), 1002],
    ['a frame with bits that mean nothing', Buffer.from([0xf2, 0x81, 0, 0, 0, 0, 1]), 1002],
    ['a frame that is not masked', Buffer.from([0x82, 0x01, 1]), 1002],
    ['text that is none', Buffer.from([0x81, 0x81, 0, 0, 0, 0, 0xff]), 1007],
    ['a message longer than one may be', frameHead(maxWebSocketMessageBytes + 1), 1009],
    ['a length that no number holds', frameHead(0).fill(0xff, 2, 10), 1009],
  ])('who sends %s is cut off, and harms nobody', async (_, bytes, code) => {
    await using nodes = new Nodes()
    const { a, b } = await nodes.pair({}, { listen })
    b.network.handle(protocol, (stream) => stream.write(Buffer.from('hello')))
    const stranger = await open(b)
    const closed = once(stranger, 'close')
    const heard: Buffer[] = []
    stranger.on('data', (data: Buffer) => heard.push(data))
    stranger.write(bytes)
    await closed
    // A frame that closes, with the reason (RFC 6455, 7.4.1).
    expect(Buffer.concat(heard).subarray(-4)).toEqual(Buffer.from([0x88, 2, code >> 8, code & 0xff]))
    expect(await greeting(a, b)).toBe('hello')
  })

  test('whose handshake fails is cut, and not waited for to close its side', async () => {
    await using nodes = new Nodes()
    const stranger = await open(await nodes.start({ listen }))
    const closed = once(stranger, 'close')
    const heard: Buffer[] = []
    stranger.on('data', (data: Buffer) => heard.push(data))
    // A message longer than any of this handshake.
    stranger.write(Buffer.concat([Buffer.from([0x82, 0x84, 0, 0, 0, 0]), Buffer.from([0xff, 0xff, 0xff, 0x7f])]))
    await closed
    // No frame that closes.
    expect(Buffer.concat(heard).includes(0x88)).toBe(false)
  })

  test('who says nothing, or begins and does not go on, has so many places, for so long, and none when the node closes', async () => {
    await using nodes = new Nodes()
    const node = await nodes.start({ listen })
    const silent = Array.from({ length: maxSilentConnectionsPerHost - 1 }, () => reach(node))
    await Promise.all(silent.map((socket) => once(socket, 'connect')))
    const begun = reach(node)
    begun.write(upgrade.slice(0, 40))
    await once(begun, 'connect')
    const closed = [...silent, begun].map((socket) => once(socket, 'close'))
    // The kernel accepts it; the node does not.
    await once(reach(node), 'close')
    expect(node.network.status().refusedConnections.host).toBe(1)
    await Promise.all(closed)
    const last = reach(node)
    last.write(upgrade.slice(0, 1))
    const another = await open(node)
    expect(another.destroyed).toBe(false)
    await node.network.close()
    expect(node.network.status().refusedConnections.host).toBe(1)
  })
})

describe('over WebSockets', () => {
  test('nodes of a private network talk: what one says at once is heard', async () => {
    await using nodes = new Nodes()
    const networkKey = randomBytes(32)
    const common = { mode: 'private', networkKey } as const
    const { a, b } = await nodes.pair({ ...common, listen: [] }, { ...common, listen })
    b.network.handle(protocol, (stream) => stream.write(Buffer.from('hello')))
    expect(await greeting(a, b)).toBe('hello')
  })

  test.each(['dialled', 'was dialled'])('an agent that misbehaves is cut off by who %s', async (who) => {
    await using nodes = new Nodes()
    const { a, b } = await nodes.pair({ listen: [] }, { listen })
    await a.network.ping(b.agent)
    const [judge, other] = who === 'dialled' ? [a, b] : [b, a]
    for (let time = 0; time < 3; time++) judge.network.penalise(other.agent, 'bad-block')
    await eventually(() => expect(other.network.connected()).toEqual([]))
  })

  test.each(['ws', 'tls/ws'])(
    'who takes the connection for /%s and is busy has longer than that for the rest',
    async (over) => {
      const busy = createServer((socket) => {
        socket.on('error', () => {})
        setTimeout(() => socket.write('neither HTTP nor TLS'), dialConnectMs + 500)
      })
      await once(busy.listen(0, '127.0.0.1'), 'listening')
      await using nodes = new Nodes()
      const [{ network }, { agent }] = [await nodes.start({ listen: [] }), await nodes.start({ listen: [] })]
      network.addAddresses(agent, [`/ip4/127.0.0.1/tcp/${(busy.address() as AddressInfo).port}/${over}`])
      await expect(network.open(agent, protocol)).rejects.toMatchObject({ details: { reason: 'dial-failed' } })
      busy.close()
    },
  )

  test('a node that is dialled and fails in its handshake is cut off', async () => {
    await using nodes = new Nodes()
    const [{ network }, { agent }] = [await nodes.start({ listen: [] }), await nodes.start({ listen: [] })]
    await using server = await WebSocketServer.start((socket) => {
      socket.on('data', () => socket.write(Buffer.from([0x82, 4, 3, ...Buffer.from('na\n')])))
    })
    network.addAddresses(agent, [server.address])
    const failed = expect(network.open(agent, protocol)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    await once(await server.accepted, 'close')
    await failed
  })

  test('a node that is dialled and sends more than a message may hold is cut off', async () => {
    await using nodes = new Nodes()
    const [{ network }, { agent }] = [await nodes.start({ listen: [] }), await nodes.start({ listen: [] })]
    await using server = await WebSocketServer.start((socket) => {
      const head = Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 0, 0, 0])
      head.writeBigUInt64BE(BigInt(maxWebSocketMessageBytes + 1), 2)
      socket.write(head)
    })
    network.addAddresses(agent, [server.address])
    const failed = expect(network.open(agent, protocol)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    await once(await server.accepted, 'close')
    await failed
  })

  test('no message is longer than the other side takes', async () => {
    const lengths: number[] = []
    const all = Promise.withResolvers<void>()
    await using server = await WebSocketServer.start((socket) => {
      let bytes = Buffer.alloc(0)
      socket.on('data', (more: Buffer) => {
        bytes = Buffer.concat([bytes, more])
        // Masked, and of a length in eight bytes: whatever is here is as long as that.
        while (bytes.length >= 14) {
          const length = Number(bytes.readBigUInt64BE(2))
          if (bytes.length < 14 + length) return
          lengths.push(length)
          bytes = bytes.subarray(14 + length)
        }
        if (lengths.reduce((sum, length) => sum + length, 0) === 3 * maxWebSocketMessageBytes) all.resolve()
      })
    })
    await using nodes = new Nodes()
    const { network } = await nodes.start({ listen: [] })
    const address = multiaddr(server.address)
    const { components } = (network as Libp2pNetwork).libp2p as unknown as {
      components: { transportManager: Transports }
    }
    const transport = components.transportManager.dialTransportForMultiaddr(address)
    let connection: MultiaddrConnection | undefined
    const upgradeOutbound = async (made: MultiaddrConnection) => {
      connection = made
      return {} as Connection
    }
    const { signal } = new AbortController()
    await transport?.dial(address, { signal, upgrader: { upgradeOutbound } as unknown as Upgrader })
    connection?.send(new Uint8Array(3 * maxWebSocketMessageBytes))
    await all.promise
    connection?.abort(new Error('enough'))
    expect(lengths).toEqual(Array.from({ length: 3 }, () => maxWebSocketMessageBytes))
  })
})
