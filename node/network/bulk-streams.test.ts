import { randomBytes } from 'node:crypto'
import { connect as connectTcp } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { describe, expect, test } from 'vitest'
import type { PeerStream } from '../../src/exchange/peer-network.ts'
import { bulkRetryMs, maxBulkStreamsOfAgent, streamLingerBytes, streamQueueBytes } from '../../src/limits.ts'
import { BulkStreams } from './bulk-streams.ts'
import { Gate } from './gate.ts'
import { Penalties } from './penalties.ts'
import { eventually, Nodes, type TestNode } from './test-support/nodes.ts'

const protocol = '/test/bulk/1'
const signal = new AbortController().signal

/** Opens a connection first: a bulk stream goes where the agent was reached. */
async function connected(nodes: Nodes, ...options: Parameters<Nodes['pair']>) {
  const { a, b } = await nodes.pair(...options)
  await a.network.ping(b.agent)
  return { a, b }
}

async function bulk({ network }: TestNode, to: TestNode): Promise<PeerStream> {
  const stream = await network.openBulk(to.agent, protocol)
  if (stream === undefined) throw new Error('there is no bulk stream')
  return stream
}

async function readAll(stream: PeerStream): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for (;;) {
    const bytes = await stream.read()
    if (bytes === undefined) return Buffer.concat(parts)
    parts.push(bytes)
  }
}

function echo({ network }: TestNode): () => void {
  return network.handle(
    protocol,
    async (stream) => {
      for (;;) {
        const bytes = await stream.read()
        if (bytes === undefined) break
        await stream.write(bytes)
      }
    },
    { bulk: true },
  )
}

test('carries bytes both ways in their order, and each side knows whose the other is', async () => {
  await using nodes = new Nodes()
  const { a, b } = await connected(nodes)
  const seen: string[] = []
  b.network.handle(
    protocol,
    async (stream) => {
      seen.push(Buffer.from(stream.agent).toString('hex'))
      await stream.write(await readAll(stream))
    },
    { bulk: true },
  )
  const stream = await bulk(a, b)
  expect(Buffer.from(stream.agent).equals(Buffer.from(b.agent))).toBe(true)
  const pieces = [3, 70_000, 1, 300_000, 12].map((length) => randomBytes(length))
  for (const piece of pieces) await stream.write(piece)
  await stream.closeWrite()
  expect((await readAll(stream)).equals(Buffer.concat(pieces))).toBe(true)
  expect(seen).toEqual([Buffer.from(a.agent).toString('hex')])
  await stream.close()
  expect(a.network.status().connections).toBe(1)
})

test('moves much data, and has the other side wait for a slow reader', async () => {
  await using nodes = new Nodes()
  const { a, b } = await connected(nodes)
  const piece = randomBytes(256 * 1024)
  let sent = 0
  b.network.handle(
    protocol,
    async (stream) => {
      for (let at = 0; at < 128; at++) {
        await stream.write(piece)
        sent += piece.length
      }
      await stream.closeWrite()
      await readAll(stream)
    },
    { bulk: true },
  )
  const stream = await bulk(a, b)
  await eventually(() => expect(sent).toBeGreaterThan(0))
  let stood = -1
  await eventually(() => {
    const moved = sent !== stood
    stood = sent
    expect(moved).toBe(false)
  })
  expect(sent).toBeLessThan(16 * 2 ** 20)
  const bytes = new Uint8Array(piece.length)
  for (let at = 0; at < 128; at++) {
    for (let got = 0; got < bytes.length; ) {
      const length = (await stream.readInto?.(bytes.subarray(got))) ?? 0
      if (length === 0) throw new Error('it ended')
      got += length
    }
    if (!piece.equals(bytes)) throw new Error('other bytes')
  }
  expect(await stream.read()).toBe(undefined)
  await stream.close()
})

test('there is none in a private network, without TLS, to whom is not connected, or of a protocol that is not served so', async () => {
  await using nodes = new Nodes()
  const networkKey = randomBytes(32)
  for (const options of [{ mode: 'private', networkKey } as const, { encryption: ['noise'] } as const]) {
    const { a, b } = await connected(nodes, options, options)
    echo(b)
    expect(await a.network.openBulk(b.agent, protocol)).toBe(undefined)
  }
  const { a, b } = await nodes.pair()
  expect(await a.network.openBulk(b.agent, protocol)).toBe(undefined)
  await a.network.ping(b.agent)
  b.network.handle(protocol, async () => {})
  expect(await a.network.openBulk(b.agent, protocol)).toBe(undefined)
})

test('an agent that did not serve one is not tried again at once', async () => {
  await using nodes = new Nodes()
  let now = 0
  const { a, b } = await connected(nodes, { monotonic: () => now })
  expect(await a.network.openBulk(b.agent, protocol)).toBe(undefined)
  echo(b)
  expect(await a.network.openBulk(b.agent, protocol)).toBe(undefined)
  now = bulkRetryMs + 1
  const stream = await bulk(a, b)
  await stream.close()
})

test('whoever was dialled can open one back, to where the other listens', async () => {
  await using nodes = new Nodes()
  const { a, b } = await connected(nodes)
  echo(a)
  const stream = await eventually(async () => {
    // What it listens on comes with identify, after the connection.
    const peers = await b.network.peers()
    expect(peers[0]?.protocols.length).toBeGreaterThan(0)
    return await bulk(b, a)
  })
  await stream.write(Buffer.from('back'))
  await stream.closeWrite()
  expect(String(await readAll(stream))).toBe('back')
})

test('somebody else who listens there is found out', async () => {
  await using nodes = new Nodes()
  const [a, b, c] = [await nodes.start(), await nodes.start(), await nodes.start()]
  echo(b)
  const key = await generateKeyPair('Ed25519')
  const gate = new Gate(new Penalties(() => 0), () => 0)
  using streams = new BulkStreams({ privateKey: key, gate, monotonic: () => 0 })
  const place = { host: '127.0.0.1', port: portOf(b) }
  expect(await streams.open(c.agent, protocol, [place], signal)).toBe(undefined)
  expect(await streams.open(a.agent, protocol, [{ ...place, port: 1 }], signal)).toBe(undefined)
  expect(await streams.open(b.agent, protocol, [place], signal)).toBeDefined()
  expect(streams.size).toBe(1)
})

test('one agent has so many, and a place is free again when one ends', async () => {
  await using nodes = new Nodes()
  let now = 0
  const { a, b } = await connected(nodes, { monotonic: () => now })
  echo(b)
  const streams = []
  for (let at = 0; at < maxBulkStreamsOfAgent; at++) streams.push(await bulk(a, b))
  expect(await a.network.openBulk(b.agent, protocol)).toBe(undefined)
  expect(b.network.status().refusedConnections.agent).toBe(1)
  for (const stream of streams) await stream.close()
  await eventually(async () => {
    now += bulkRetryMs + 1
    const again = await bulk(a, b)
    await again.write(Buffer.from('x'))
    expect(String(await again.read())).toBe('x')
    await again.close()
  })
})

test('is cut when its agent is refused, when it is aborted, and when a node closes', async () => {
  await using nodes = new Nodes()
  const { a, b } = await connected(nodes)
  const cuts: AbortSignal[] = []
  b.network.handle(
    protocol,
    async (stream, cut) => {
      cuts.push(cut)
      await readAll(stream)
    },
    { bulk: true },
  )
  const first = await bulk(a, b)
  await eventually(() => expect(cuts).toHaveLength(1))
  first.abort(new Error('enough'))
  await expect(first.read()).rejects.toMatchObject({ code: 'UNAVAILABLE', details: { reason: 'aborted' } })
  await expect(first.write(Buffer.from('x'))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  const second = await bulk(a, b)
  await eventually(() => expect(cuts).toHaveLength(2))
  const waiting = second.read().catch((error) => error)
  for (let at = 0; at < 20; at++) b.network.penalise(a.agent, 'bad-frame')
  expect(await waiting).not.toBeInstanceOf(Uint8Array)
  await eventually(() => expect(cuts[1]?.aborted).toBe(true))
  expect(await a.network.openBulk(b.agent, protocol)).toBe(undefined)

  const { a: c, b: d } = await connected(nodes)
  echo(d)
  const third = await bulk(c, d)
  const reading = third.read().catch((error) => error)
  await c.network.close()
  expect(await reading).toMatchObject({ code: 'UNAVAILABLE' })
  await expect(c.network.openBulk(d.agent, protocol)).resolves.toBe(undefined)
})

test('a closed stream takes so much more and then is cut', async () => {
  await using nodes = new Nodes()
  const { a, b } = await connected(nodes)
  const { promise: isCut, resolve } = Promise.withResolvers<boolean>()
  b.network.handle(
    protocol,
    async (stream, cut) => {
      cut.addEventListener('abort', () => resolve(true))
      for (let at = 0; at < 64 * streamLingerBytes; at += streamQueueBytes)
        await stream.write(new Uint8Array(streamQueueBytes))
      resolve(false)
    },
    { bulk: true },
  )
  const stream = await bulk(a, b)
  await stream.read()
  await stream.close()
  expect(await isCut).toBe(true)
})

test('reading is given up when its caller does, and what came meanwhile is not lost', async () => {
  await using nodes = new Nodes()
  const { a, b } = await connected(nodes)
  echo(b)
  const stream = await bulk(a, b)
  const stop = new AbortController()
  const reading = stream.read({ signal: stop.signal })
  stop.abort(new Error('enough'))
  await expect(reading).rejects.toThrow('enough')
  await stream.write(Buffer.from('later'))
  expect(String(await stream.read())).toBe('later')
})

describe('whoever connects with something else', () => {
  test.each([
    ['TLS without a certificate', { ALPNProtocols: [protocol] }],
    ['TLS for a protocol that is not served', { ALPNProtocols: ['/test/other/1'] }],
    ['TLS for no protocol', {}],
  ])('%s is cut', async (_, options) => {
    await using nodes = new Nodes()
    const { a, b } = await connected(nodes)
    let served = 0
    b.network.handle(protocol, async () => void served++, { bulk: true })
    const socket = connectTls({ port: portOf(b), host: '127.0.0.1', rejectUnauthorized: false, ...options })
    socket.on('error', () => {})
    await new Promise((resolve) => socket.once('close', resolve))
    expect(served).toBe(0)
    const stream = await bulk(a, b)
    stream.abort(new Error('enough'))
  })

  test.each([
    ['garbage that begins as TLS does', Buffer.concat([Buffer.from([0x16, 3, 1]), randomBytes(2_000)])],
    ['one byte of TLS and then nothing', Buffer.from([0x16])],
    ['nothing', Buffer.alloc(0)],
    ['what libp2p does not know either', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ])('%s is cut in the end, and others are served meanwhile', async (_, bytes) => {
    await using nodes = new Nodes()
    const { a, b } = await connected(nodes)
    echo(b)
    const sockets = Array.from({ length: 8 }, () => connectTcp(portOf(b), '127.0.0.1'))
    const closed = sockets.map((socket) => {
      socket.on('error', () => {})
      socket.resume()
      if (bytes.length > 0) socket.write(bytes)
      return new Promise((resolve) => socket.once('close', resolve))
    })
    const stream = await bulk(a, b)
    await stream.write(Buffer.from('served'))
    expect(String(await stream.read())).toBe('served')
    await Promise.all(closed)
  })

  test('what libp2p says byte by byte is libp2p’s', async () => {
    await using nodes = new Nodes()
    const { b } = await connected(nodes)
    echo(b)
    const socket = connectTcp(portOf(b), '127.0.0.1')
    socket.setNoDelay()
    const hello = Buffer.from('\x13/multistream/1.0.0\n')
    for (const byte of hello) {
      socket.write(Buffer.from([byte]))
      await new Promise((resolve) => setImmediate(resolve))
    }
    const answer = await new Promise<Buffer>((resolve) => socket.once('data', resolve))
    expect(answer.equals(hello)).toBe(true)
    socket.destroy()
  })
})

function portOf({ network }: TestNode): number {
  return Number(/tcp\/(\d+)/.exec(String(network.addresses()[0]))?.[1])
}
