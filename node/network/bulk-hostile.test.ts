import { randomBytes } from 'node:crypto'
import { type AddressInfo, connect as connectTcp, type Socket, type SocketConstructorOpts } from 'node:net'
import { Duplex } from 'node:stream'
import { type ConnectionOptions, connect as connectTls, createServer, type TLSSocket } from 'node:tls'
import { generateKeyPair } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { generateCertificate } from '@libp2p/tls/utils'
import { expect, test } from 'vitest'
import {
  bulkCertificateMs,
  bulkRetryMs,
  bulkWorthBytes,
  maxBulkStreamsOfAgent,
  maxNewConnectionsPerHost,
  maxPendingBulkStreams,
} from '../../src/limits.ts'
import { memoryInUse } from '../../test/support/memory-in-use.ts'
import { BulkStream } from './bulk-stream.ts'
import { BulkStreams } from './bulk-streams.ts'
import { Gate } from './gate.ts'
import type { Libp2pNetwork } from './libp2p-network.ts'
import { Penalties } from './penalties.ts'
import { eventually, Nodes, type TestNode } from './test-support/nodes.ts'

const protocol = '/test/bulk/1'

/** A dialler of its own making, with a certificate as libp2p has it. */
async function dial(to: TestNode, key?: PrivateKey): Promise<TLSSocket> {
  const certificate = await generateCertificate(key ?? (await generateKeyPair('Ed25519')))
  const socket = halfOpen({ ...certificate, port: portOf(to), ALPNProtocols: [protocol] })
  socket.on('error', () => {})
  return socket
}

/** Connects over TLS, with halves that end by themselves. */
function halfOpen(options: ConnectionOptions): TLSSocket {
  const all: ConnectionOptions & Pick<SocketConstructorOpts, 'allowHalfOpen'> = {
    host: '127.0.0.1',
    rejectUnauthorized: false,
    allowHalfOpen: true,
    ...options,
  }
  return connectTls(all)
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

test('who connects, says nothing and goes uses up no place', async () => {
  await using nodes = new Nodes()
  const { a, b } = await nodes.pair()
  for (let round = 0; round < 5; round++) {
    const ended = Array.from({ length: 20 }, () => {
      const socket = connectTcp(portOf(b), '127.0.0.1', () => socket.end())
      socket.on('error', () => {})
      socket.resume()
      return closed(socket)
    })
    await Promise.all(ended)
  }
  expect(await a.network.ping(b.agent)).toBeGreaterThan(0)
  expect(b.network.status().refusedConnections.host).toBe(0)
})

test('who ends its half keeps its place until the stream is through', async () => {
  await using nodes = new Nodes()
  const b = await nodes.start()
  let ended = 0
  b.network.handle(
    protocol,
    async (stream, cut) => {
      while ((await stream.read()) !== undefined);
      ended++
      await new Promise((resolve) => cut.addEventListener('abort', resolve))
    },
    { bulk: true },
  )
  const key = await generateKeyPair('Ed25519')
  const sockets: TLSSocket[] = []
  for (let at = 0; at < maxBulkStreamsOfAgent; at++) {
    const socket = await dial(b, key)
    socket.once('data', () => socket.end())
    sockets.push(socket)
  }
  await eventually(() => expect(ended).toBe(maxBulkStreamsOfAgent))
  const more = await dial(b, key)
  const isServed = await Promise.race([
    new Promise((resolve) => more.once('data', () => resolve(true))),
    new Promise((resolve) => more.once('end', () => resolve(false))),
  ])
  expect(isServed).toBe(false)
  for (const socket of sockets) socket.destroy()
})

test('an end that comes before the stream is taken is not missed', async () => {
  await using nodes = new Nodes()
  const b = await nodes.start()
  b.network.handle(
    protocol,
    async (stream) => {
      while ((await stream.read()) !== undefined);
      await stream.write(Buffer.from('through'))
    },
    { bulk: true },
  )
  const socket = await dial(b)
  const parts: Uint8Array[] = []
  socket.on('data', (bytes) => parts.push(bytes))
  socket.once('secureConnect', () => socket.end())
  await new Promise((resolve) => socket.once('end', resolve))
  expect(String(Buffer.concat(parts))).toBe('\x01through')
})

test('whoever shakes hands as fast as it can is let do so only so many times a second, and leaves nothing behind', async () => {
  await using nodes = new Nodes()
  const b = await nodes.start({ monotonic: () => 0 })
  b.network.handle(protocol, async () => {}, { bulk: true })
  let shaken = 0
  for (let at = 0; at < maxNewConnectionsPerHost + 8; at++) {
    const socket = connectTls({
      host: '127.0.0.1',
      port: portOf(b),
      ALPNProtocols: [protocol],
      rejectUnauthorized: false,
    })
    socket.on('error', () => {})
    socket.once('secureConnect', () => shaken++)
    await closed(socket)
  }
  expect(shaken).toBe(maxNewConnectionsPerHost)
  expect(b.network.status().refusedConnections.host).toBe(8)
  await eventually(() => expect(openSockets(b)).toBe(0))
})

test('an agent that is not connected is not kept in mind as one that has no bulk streams', async () => {
  await using nodes = new Nodes()
  const { a, b } = await nodes.pair({ monotonic: () => 0 })
  b.network.handle(protocol, async () => {}, { bulk: true })
  expect(await a.network.openBulk(b.agent, protocol)).toBe(undefined)
  await a.network.ping(b.agent)
  const stream = await a.network.openBulk(b.agent, protocol)
  expect(stream).toBeDefined()
  await stream?.close()
})

test('who connects from one address and says nothing keeps others from no bulk stream', async () => {
  await using nodes = new Nodes()
  const { a, b } = await nodes.pair({ monotonic: () => 0 })
  b.network.handle(protocol, async () => {}, { bulk: true })
  await a.network.ping(b.agent)
  const silent = await Promise.all(
    Array.from({ length: 40 }, () => {
      const socket = connectTcp({ port: portOf(b), host: '127.0.0.1', localAddress: '127.0.0.2' })
      socket.on('error', () => {})
      return new Promise<Socket>((resolve) => socket.once('connect', () => resolve(socket)))
    }),
  )
  const stream = await a.network.openBulk(b.agent, protocol)
  expect(stream).toBeDefined()
  await stream?.close()
  for (const socket of silent) socket.destroy()
})

/** Begins a handshake and does not go on with it; resolves once it was answered, or turned away. */
async function beginHandshake(to: TestNode, localAddress: string): Promise<Socket> {
  const socket = connectTcp({ port: portOf(to), host: '127.0.0.1', localAddress })
  socket.on('error', () => {})
  const hello = new Duplex({ read: () => {}, write: (bytes, _, done) => void socket.write(bytes, done) })
  connectTls({ socket: hello, ALPNProtocols: [protocol], rejectUnauthorized: false }).on('error', () => {})
  await new Promise<void>((resolve) => socket.once('data', () => resolve()).once('close', () => resolve()))
  return socket
}

test('who begins handshakes from one address and ends none keeps others from no bulk stream', async () => {
  await using nodes = new Nodes()
  const { a, b } = await nodes.pair({ monotonic: () => 0 })
  b.network.handle(protocol, async () => {}, { bulk: true })
  await a.network.ping(b.agent)
  const begun = await Promise.all(Array.from({ length: maxPendingBulkStreams }, () => beginHandshake(b, '127.0.0.2')))
  const stream = await a.network.openBulk(b.agent, protocol)
  expect(stream).toBeDefined()
  await stream?.close()
  for (const socket of begun) socket.destroy()
})

test('an agent that cuts a bulk stream before it brought much is not tried again for a while', async () => {
  await using nodes = new Nodes()
  let now = 0
  const { a, b } = await nodes.pair({ monotonic: () => now })
  const cut = { at: 0 }
  b.network.handle(
    protocol,
    async (stream) => {
      await stream.write(new Uint8Array(cut.at))
      await stream.read()
      stream.abort(new Error('no more'))
    },
    { bulk: true },
  )
  await a.network.ping(b.agent)
  const isOpenedAfterCut = async (length: number): Promise<boolean> => {
    cut.at = length
    const stream = await a.network.openBulk(b.agent, protocol)
    if (stream === undefined) throw new Error('none')
    for (let came = 0; came < length; ) came += (await stream.read())?.length ?? 0
    await stream.write(new Uint8Array(1))
    await stream.read().catch(() => {})
    stream.abort(new Error('ended in the middle'))
    const next = await a.network.openBulk(b.agent, protocol)
    await next?.close()
    return next !== undefined
  }
  expect(await isOpenedAfterCut(bulkWorthBytes)).toBe(true)
  expect(await isOpenedAfterCut(1_000)).toBe(false)
  now += bulkRetryMs + 1
  const stream = await a.network.openBulk(b.agent, protocol)
  expect(stream).toBeDefined()
  await stream?.close()
})

test('opening one while the network closes gives none', async () => {
  await using nodes = new Nodes()
  const { a, b } = await nodes.pair()
  b.network.handle(protocol, async () => {}, { bulk: true })
  await a.network.ping(b.agent)
  const opening = a.network.openBulk(b.agent, protocol)
  await a.network.close()
  expect(await opening).toBe(undefined)
})

test('one to an agent that is refused while it is opened is not opened', async () => {
  await using nodes = new Nodes()
  const b = await nodes.start()
  b.network.handle(protocol, async () => {}, { bulk: true })
  const penalties = new Penalties(() => 0)
  const gate = new Gate(penalties, () => 0)
  using streams = new BulkStreams({ privateKey: await generateKeyPair('Ed25519'), gate, monotonic: () => 0 })
  const opening = streams.open(
    b.agent,
    protocol,
    [{ host: '127.0.0.1', port: portOf(b) }],
    new AbortController().signal,
  )
  for (let at = 0; at < 2; at++) penalties.add(b.agent, 'bad-block')
  expect(await opening).toBe(undefined)
  expect(streams.size).toBe(0)
})

test('one goes to a name as to an address', async () => {
  await using nodes = new Nodes()
  const b = await nodes.start()
  b.network.handle(protocol, async (stream) => await stream.write(Buffer.alloc(100_000, 1)), { bulk: true })
  const gate = new Gate(new Penalties(() => 0), () => 0)
  using streams = new BulkStreams({ privateKey: await generateKeyPair('Ed25519'), gate, monotonic: () => 0 })
  const places = [{ host: 'localhost', port: portOf(b) }]
  const stream = await streams.open(b.agent, protocol, places, new AbortController().signal)
  let got = 0
  for (let bytes = await stream?.read(); bytes !== undefined; bytes = await stream?.read()) got += bytes.length
  expect(got).toBe(100_000)
})

test('certificates are made anew from time to time', async () => {
  await using nodes = new Nodes()
  const b = await nodes.start({ monotonic: () => now })
  let now = 0
  b.network.handle(protocol, async () => {}, { bulk: true })
  const shown = async (): Promise<string> => {
    const socket = await dial(b)
    await new Promise((resolve) => socket.once('secureConnect', resolve))
    const { fingerprint } = socket.getPeerCertificate()
    socket.destroy()
    return fingerprint
  }
  const first = await shown()
  expect(await shown()).toBe(first)
  now = bulkCertificateMs
  expect(await shown()).not.toBe(first)
})

/** A stream over a TLS connection, and the other side of it. */
async function streamOf(stack: AsyncDisposableStack): Promise<{ socket: TLSSocket; other: TLSSocket }> {
  const server = createServer({
    ...(await generateCertificate(await generateKeyPair('Ed25519'))),
    allowHalfOpen: true,
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const accepted = new Promise<TLSSocket>((resolve) => server.once('secureConnection', resolve))
  const other = halfOpen({ port })
  const socket = await accepted
  stack.defer(() => {
    server.close()
    for (const each of [socket, other]) each.destroy()
  })
  return { socket, other }
}

test('an end that came before there was a stream is an end', async () => {
  await using stack = new AsyncDisposableStack()
  const { socket, other } = await streamOf(stack)
  const ended = new Promise((resolve) => socket.once('end', resolve))
  other.end()
  socket.read(0)
  await ended
  expect(await new BulkStream(socket, new Uint8Array(32)).read()).toBe(undefined)
})

test('bytes that come before their reader gives up are read', async () => {
  await using stack = new AsyncDisposableStack()
  const { socket } = await streamOf(stack)
  const stream = new BulkStream(socket, new Uint8Array(32))
  const stop = new AbortController()
  const bytes = new Uint8Array(4)
  const reading = stream.readInto(bytes, { signal: stop.signal })
  stream.received(Buffer.of(1, 2))
  stop.abort(new Error('enough'))
  expect(await reading).toBe(2)
  expect([...bytes]).toEqual([1, 2, 0, 0])
  stream.received(Buffer.of(3))
  expect([...((await stream.read()) ?? [])]).toEqual([3])
  expect([...bytes]).toEqual([1, 2, 0, 0])
})

test('whoever waits for much is woken once it is all there, or the end is; how much has come shows meanwhile', async () => {
  await using stack = new AsyncDisposableStack()
  const { socket, other } = await streamOf(stack)
  const stream = new BulkStream(socket, new Uint8Array(32))
  const bytes = new Uint8Array(4)
  let isThere = false
  const reading = stream.readInto(bytes).finally(() => {
    isThere = true
  })
  stream.received(Buffer.of(1, 2))
  await new Promise((resolve) => setImmediate(resolve))
  expect([isThere, stream.receivedBytes]).toEqual([false, 2])
  stream.received(Buffer.of(3, 4, 5))
  expect(await reading).toBe(4)
  expect([...bytes, stream.receivedBytes]).toEqual([1, 2, 3, 4, 5])
  const last = stream.readInto(bytes)
  other.end()
  socket.resume()
  expect(await last).toBe(1)
  expect(bytes[0]).toBe(5)
  expect(await stream.readInto(bytes)).toBe(0)
})

test('what nobody waits for takes little more memory than it is long, however short the pieces that it came in', async () => {
  await using stack = new AsyncDisposableStack()
  const { socket } = await streamOf(stack)
  const stream = new BulkStream(socket, new Uint8Array(32))
  const all = randomBytes(200_000)
  const before = memoryInUse()
  for (let at = 0; at < all.length; at++) stream.received(all.subarray(at, at + 1))
  expect(memoryInUse() - before).toBeLessThan(10 * all.length)
  const parts: Uint8Array[] = []
  for (let got = 0; got < all.length; ) {
    const bytes = (await stream.read()) as Uint8Array
    parts.push(bytes)
    got += bytes.length
  }
  expect(Buffer.concat(parts).equals(all)).toBe(true)
})

/** Sockets that a node's listener knows of. */
function openSockets({ network }: TestNode): number {
  const { components } = (network as Libp2pNetwork).libp2p as unknown as {
    components: { transportManager: { getListeners(): { sockets?: Set<Socket> }[] } }
  }
  return components.transportManager.getListeners().reduce((sum, { sockets }) => sum + (sockets?.size ?? 0), 0)
}

function portOf({ network }: TestNode): number {
  return Number(/tcp\/(\d+)/.exec(String(network.addresses()[0]))?.[1])
}
