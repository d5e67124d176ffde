import { createHook } from 'node:async_hooks'
import { randomBytes, randomInt } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { generateKeyPair } from '@libp2p/crypto/keys'
import type { Libp2p, Stream } from '@libp2p/interface'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { afterEach, expect, test } from 'vitest'
import { tlsOnSocket } from './tls-on-socket.ts'

const echo = '/test/echo/1'
const running: Libp2p[] = []

afterEach(async () => {
  for (const node of running.splice(0)) await node.stop()
})

async function start(encrypter: typeof tls = tlsOnSocket): Promise<Libp2p> {
  const node = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [encrypter()],
    streamMuxers: [yamux()],
    connectionManager: { inboundConnectionThreshold: 1_000, maxConnections: 1_000 },
    connectionMonitor: { enabled: false },
  })
  running.push(node)
  await node.handle(echo, async (stream) => {
    for await (const data of stream) stream.send(data)
    await stream.close()
  })
  return node
}

/** Sends pieces at once and gives what comes back, until there is as much. */
async function echoed(stream: Stream, ...pieces: Uint8Array[]): Promise<Buffer> {
  for (const piece of pieces) stream.send(piece)
  const bytes = Buffer.concat(pieces)
  const parts: Uint8Array[] = []
  let length = 0
  for await (const data of stream) {
    parts.push(data.subarray())
    length += data.byteLength
    if (length >= bytes.length) break
  }
  return Buffer.concat(parts)
}

const address = (node: Libp2p) => node.getMultiaddrs()[0] ?? multiaddr('/ip4/127.0.0.1/tcp/1')

function portOf(node: Libp2p): number {
  return Number(/tcp\/(\d+)/.exec(String(address(node)))?.[1])
}

test.each([
  ['itself', tlsOnSocket, tlsOnSocket],
  ['@libp2p/tls that listens', tlsOnSocket, tls],
  ['@libp2p/tls that dials', tls, tlsOnSocket],
])('speaks with %s, both sure of whom', async (_, dialling, listening) => {
  const [a, b] = [await start(dialling), await start(listening)]
  const stream = await a.dialProtocol(address(b), echo)
  const bytes = randomBytes(300_000)
  expect((await echoed(stream, bytes)).equals(bytes)).toBe(true)
  expect(a.getPeers().map(String)).toEqual([b.peerId.toString()])
  expect(b.getPeers().map(String)).toEqual([a.peerId.toString()])
  expect(a.getConnections()[0]).toMatchObject({ encryption: '/tls/1.0.0', multiplexer: '/yamux/1.0.0' })
  await stream.close()
})

test('what is written in one turn arrives in its order, long and short', async () => {
  const [a, b] = [await start(), await start()]
  const stream = await a.dialProtocol(address(b), echo)
  const pieces = [10, 5_000, 3, 100_000, 12, 4_000, 1].map((length) => randomBytes(length))
  expect((await echoed(stream, ...pieces)).equals(Buffer.concat(pieces))).toBe(true)
})

test('has the system’s socket under TLS, and no stream in JavaScript', async () => {
  const [a, b] = [await start(), await start()]
  const made: string[] = []
  const hook = createHook({ init: (_, type) => void made.push(type) }).enable()
  try {
    await a.dial(address(b))
  } finally {
    hook.disable()
  }
  expect(made.filter((type) => type === 'TLSWRAP').length).toBe(2)
  expect(made).not.toContain('JSSTREAM')
})

test('refuses whoever is not the peer that was dialled', async () => {
  const [a, b] = [await start(), await start()]
  const other = peerIdFromPrivateKey(await generateKeyPair('Ed25519'))
  await expect(a.dial(multiaddr(`/ip4/127.0.0.1/tcp/${portOf(b)}/p2p/${other}`))).rejects.toThrow()
  expect(a.getConnections()).toEqual([])
})

test('a connection that is cut at any moment harms nothing', async () => {
  const [a, b] = [await start(), await start()]
  const moments = Array.from({ length: 60 }, () => randomInt(0, 40))
  for (const moment of moments) {
    const cut = new AbortController()
    const dialling = a
      .dialProtocol(address(b), echo, { signal: cut.signal })
      .then((stream) => void stream.send(randomBytes(1_000_000)))
    const settled = dialling.catch(() => {})
    await turns(moment)
    if (moment % 3 === 0) cut.abort(new Error('given up'))
    else for (const connection of (moment % 3 === 1 ? a : b).getConnections()) connection.abort(new Error('cut'))
    await settled
    for (const connection of a.getConnections()) connection.abort(new Error('cut'))
  }
  const bytes = randomBytes(1_000)
  expect((await echoed(await a.dialProtocol(address(b), echo), bytes)).equals(bytes)).toBe(true)
})

test('one who agrees to TLS and then sends something else is cut off', async () => {
  const node = await start()
  const socket: Socket = connect(portOf(node), '127.0.0.1')
  const line = (text: string) => Buffer.concat([Buffer.from([text.length + 1]), Buffer.from(`${text}\n`)])
  // All at once, so that the bytes are there before TLS is.
  socket.write(Buffer.concat([line('/multistream/1.0.0'), line('/tls/1.0.0'), randomBytes(200_000)]))
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.on('error', () => {})
  socket.resume()
  await closed
  expect(node.getConnections()).toEqual([])
})

async function turns(count: number): Promise<void> {
  for (let at = 0; at < count; at++) await new Promise((resolve) => setImmediate(resolve))
}
