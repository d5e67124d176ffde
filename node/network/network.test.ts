import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Libp2p } from '@libp2p/interface'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { AgentKey, formatDid } from '../../src/identity/index.ts'
import {
  dialConnectMs,
  maxAddressesPerAgent,
  maxConnectionsPerAgent,
  maxConnectionsPerHost,
  maxHintBytes,
  maxHintsPerSecond,
  maxHintTopics,
  maxNewConnectionsPerHost,
  maxStreamsPerProtocol,
  refusalMs,
} from '../../src/limits.ts'
import { peerIdOf } from './agent-peer.ts'
import { eventually, Nodes, type TestNode } from './test-support/nodes.ts'

const protocol = '/test/1'
const topic = 'a topic'

let nodes: Nodes

beforeEach(() => {
  nodes = new Nodes()
})

afterEach(async () => {
  await nodes[Symbol.asyncDispose]()
})

function greets({ network }: TestNode): void {
  network.handle(protocol, (stream) => stream.write(Buffer.from('hello')))
}

async function greeting(from: TestNode, to: TestNode): Promise<string> {
  const stream = await from.network.open(to.agent, protocol)
  const bytes = await stream.read()
  await stream.close()
  return Buffer.from(bytes ?? []).toString()
}

describe('two nodes', () => {
  test('talk once one knows an address of the other, and each sees the other among its peers', async () => {
    const { a, b } = await nodes.pair()
    greets(b)
    const seen: string[] = []
    b.network.onPeer((agent, connected) => seen.push(`${formatDid(agent)} ${connected}`))
    expect(a.network.reachability(b.agent)).toEqual({ state: 'unknown' })
    expect(await greeting(a, b)).toBe('hello')
    expect(a.network.connected()).toEqual([b.agent])
    expect(b.network.connected()).toEqual([a.agent])
    expect(a.network.reachability(b.agent)).toEqual({ state: 'direct' })
    expect(await a.network.ping(b.agent)).toBeGreaterThanOrEqual(0)
    await eventually(async () => {
      expect(await a.network.peers()).toMatchObject([
        {
          agent: b.agent,
          did: formatDid(b.agent),
          addresses: b.network.addresses(),
          connection: 'direct',
          encryption: 'tls',
          latencyMs: expect.any(Number),
          since: expect.any(Date),
          protocols: expect.arrayContaining([protocol]),
        },
      ])
    })
    await a.network.close()
    await eventually(() => expect(b.network.connected()).toEqual([]))
    expect(seen).toEqual([`${formatDid(a.agent)} true`, `${formatDid(a.agent)} false`])
  })

  test('talk over WebSocket too', async () => {
    const { a, b } = await nodes.pair({}, { listen: ['/ip4/127.0.0.1/tcp/0/ws'] })
    greets(b)
    expect(await greeting(a, b)).toBe('hello')
    expect(b.network.addresses()[0]).toContain('/ws/')
  })

  test.each([
    ['tls', ['noise', 'tls'], ['tls', 'noise']],
    ['noise', ['noise'], ['tls', 'noise']],
    ['noise', ['tls', 'noise'], ['noise']],
  ] as const)('use %s when one offers %j and the other %j', async (used, first, second) => {
    const { a, b } = await nodes.pair({ encryption: second }, { encryption: first })
    await a.network.ping(b.agent)
    expect(await a.network.peers()).toMatchObject([{ encryption: used }])
    expect(await b.network.peers()).toMatchObject([{ encryption: used }])
  })

  test('dial again when their connection was lost', async () => {
    const { a, b } = await nodes.pair()
    greets(b)
    await greeting(a, b)
    for (const connection of b.network.libp2p?.getConnections() ?? []) connection.abort(new Error('cut'))
    expect(await greeting(a, b)).toBe('hello')
  })

  test('dial where the other itself says that it is, however many addresses others name', async () => {
    const { a, b } = await nodes.pair()
    greets(b)
    await greeting(a, b)
    const signed = async (): Promise<boolean> => {
      const known = await a.network.libp2p?.peerStore.get(peerIdOf(b.agent))
      return known?.addresses.some(({ isCertified }) => isCertified) === true
    }
    await eventually(async () => expect(await signed()).toBe(true))
    const others = Array.from({ length: maxAddressesPerAgent }, (_, at) => `/ip4/127.0.0.1/tcp/${at + 1}`)
    a.network.addAddresses(b.agent, others)
    for (const connection of b.network.libp2p?.getConnections() ?? []) connection.abort(new Error('cut'))
    expect(await greeting(a, b)).toBe('hello')
  })

  test('find no protocol that was let go, and find it when it is served again', async () => {
    const { a, b } = await nodes.pair()
    const stop = b.network.handle(protocol, (stream) => stream.write(Buffer.from('first')))
    expect(await greeting(a, b)).toBe('first')
    stop()
    stop()
    await expect(a.network.open(b.agent, protocol)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      details: { reason: 'protocol-not-spoken' },
    })
    greets(b)
    expect(await greeting(a, b)).toBe('hello')
  })
})

describe('on a busy machine an agent is reached', () => {
  /** Two nodes of which the first knows the second by the address of whoever is between them, who is told of each connection with its two ends. */
  async function apart(between: (near: Socket, far: Socket) => void) {
    const { a, b } = { a: await nodes.start(), b: await nodes.start() }
    greets(b)
    const port = Number(/tcp\/(\d+)/.exec(b.network.addresses()[0] as string)?.[1])
    const server = createServer((near) => {
      const far = connect(port, '127.0.0.1')
      for (const end of [near, far]) end.on('error', () => {})
      near.on('close', () => far.destroy()).pipe(far)
      between(near, far)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    a.network.addAddresses(b.agent, [`/ip4/127.0.0.1/tcp/${(server.address() as AddressInfo).port}`])
    return { a, b, [Symbol.dispose]: () => server.close() }
  }

  test('though it takes the connection and is busy for longer than a connection may take', async () => {
    using both = await apart((near, far) => {
      setTimeout(() => far.pipe(near), dialConnectMs + 500)
    })
    expect(await greeting(both.a, both.b)).toBe('hello')
  })

  test('though this process stands still for that long before it sees that it is connected', async () => {
    let stood = false
    using both = await apart((near, far) => {
      far.pipe(near)
      if (!stood) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, dialConnectMs + 500)
      stood = true
    })
    expect(await greeting(both.a, both.b)).toBe('hello')
  })
})

describe('opening a stream says why it cannot', () => {
  test('when no address is known', async () => {
    const a = await nodes.start()
    const nobody = new AgentKey(randomBytes(32)).publicKey
    await expect(a.network.open(nobody, protocol)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      details: { reason: 'unknown-address', did: formatDid(nobody) },
    })
    expect(a.network.reachability(nobody)).toMatchObject({ state: 'unreachable', reason: 'unknown-address' })
  })

  test('when nothing listens there, and forgets it once it does', async () => {
    const key = new AgentKey(randomBytes(32))
    const { a, b } = await nodes.pair({}, { agent: key })
    const listen = b.network.addresses().map((address) => address.replace(/\/p2p\/.*/, ''))
    await b.network.close()
    await expect(a.network.open(b.agent, protocol)).rejects.toMatchObject({ details: { reason: 'refused' } })
    expect(a.network.reachability(b.agent)).toMatchObject({ state: 'unreachable', reason: 'refused' })
    greets(await nodes.start({ agent: key, listen }))
    expect(await greeting(a, b)).toBe('hello')
    expect(a.network.reachability(b.agent)).toEqual({ state: 'direct' })
  })

  test('when another agent answers there', async () => {
    const { a, b } = await nodes.pair()
    const other = new AgentKey(randomBytes(32)).publicKey
    a.network.addAddresses(
      other,
      b.network.addresses().map((address) => address.replace(/\/p2p\/.*/, '')),
    )
    await expect(a.network.open(other, protocol)).rejects.toMatchObject({ details: { reason: 'another-agent' } })
  })

  test('when its address is a socket of this machine’s, which is not touched', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'artifact-hub-socket-'))
    await using cleanUp = new AsyncDisposableStack()
    cleanUp.defer(() => rm(folder, { recursive: true }))
    const path = join(folder, 'socket')
    let connections = 0
    const server = createServer((socket) => {
      connections++
      socket.destroy()
    }).listen(path)
    cleanUp.defer(async () => void server.close())
    await once(server, 'listening')
    const a = await nodes.start()
    const other = new AgentKey(randomBytes(32)).publicKey
    a.network.addAddresses(other, [`/unix/${encodeURIComponent(path)}`])
    await expect(a.network.open(other, protocol)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(connections).toBe(0)
  })

  test('when it is this node', async () => {
    const a = await nodes.start()
    await expect(a.network.open(a.agent, protocol)).rejects.toMatchObject({ details: { reason: 'self' } })
  })

  test('unless the caller gave up: then with its reason', async () => {
    const { a, b } = await nodes.pair()
    const gaveUp = AbortSignal.abort(new Error('gave up'))
    await expect(a.network.open(b.agent, protocol, { signal: gaveUp })).rejects.toThrow('gave up')
  })
})

describe('a private network', () => {
  test('lets in who has its key, and nobody else', async () => {
    const networkKey = randomBytes(32)
    const { a, b } = await nodes.pair({ mode: 'private', networkKey }, { mode: 'private', networkKey })
    greets(b)
    expect(await greeting(a, b)).toBe('hello')
    const wrong = await nodes.start({ mode: 'private', networkKey: randomBytes(32) })
    const open = await nodes.start()
    for (const stranger of [wrong, open]) {
      stranger.network.addAddresses(b.agent, b.network.addresses())
      await expect(stranger.network.open(b.agent, protocol)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    }
    expect(b.network.connected()).toEqual([a.agent])
  })
})

describe('hints', () => {
  test('reach who listens, one connection away, and name their author', async () => {
    const { a, b } = await nodes.pair()
    const heard: string[] = []
    const stop = b.network.onHint(topic, (payload, from) => {
      heard.push(`${Buffer.from(payload)} ${formatDid(from)}`)
    })
    b.network.onHint('another topic', () => heard.push('never'))
    await a.network.ping(b.agent)
    // Best effort: until the other's subscription has arrived, nobody is told.
    await eventually(() => {
      a.network.hint(topic, Buffer.from('news'))
      expect(heard).toContain(`news ${formatDid(a.agent)}`)
    })
    expect(new Set(heard)).toEqual(new Set([`news ${formatDid(a.agent)}`]))
    stop()
    expect(() => a.network.hint(topic, new Uint8Array(maxHintBytes + 1))).toThrow(
      expect.objectContaining({ code: 'TOO_LARGE' }),
    )
  })

  test('reach one who listens to more topics than others can be told of, on those that it can', async () => {
    const a = await nodes.start()
    const b = await nodes.start()
    const heard = new Set<string>()
    const stops = Array.from({ length: 3 * maxHintTopics }, (_, at) =>
      b.network.onHint(`topic ${at}`.padEnd(64, '.'), () => heard.add(`topic ${at}`)),
    )
    a.network.addAddresses(b.agent, b.network.addresses())
    await a.network.ping(b.agent)
    const hintOf = (at: number) => {
      a.network.hint(`topic ${at}`.padEnd(64, '.'), Buffer.from('news'))
      expect(heard).toContain(`topic ${at}`)
    }
    await eventually(() => hintOf(0))
    await eventually(() => hintOf(maxHintTopics - 1))
    // There is room for another once one is let go.
    stops[0]?.()
    await eventually(() => hintOf(maxHintTopics))
  })

  test('on any number of topics at once are told at a rate that others take, the latest of each', async () => {
    const { a, b } = await nodes.pair()
    const topics = Array.from({ length: 3 * maxHintsPerSecond }, (_, at) => `topic ${at}`)
    const heard = new Map<string, string>()
    for (const one of topics) b.network.onHint(one, (payload) => heard.set(one, Buffer.from(payload).toString()))
    await a.network.ping(b.agent)
    await eventually(() => {
      a.network.hint('topic 0', Buffer.from('first'))
      expect(heard.get('topic 0')).toBe('first')
    })
    for (const text of ['older', 'newer']) for (const one of topics) a.network.hint(one, Buffer.from(text))
    await eventually(() => expect([...heard.values()].filter((text) => text === 'newer')).toHaveLength(topics.length))
    expect(b.network.status().misbehaviour.flood).toBe(0)
  })

  test('are dropped above their rate, and the neighbour is held to account', async () => {
    // Its seconds go by as fast as it tells hints, so that it knows no measure.
    let seconds = 0
    const a = await nodes.start({ monotonic: () => 1_000 * seconds++ })
    const b = await nodes.start({ monotonic: () => 0 })
    a.network.addAddresses(b.agent, b.network.addresses())
    let heard = 0
    b.network.onHint(topic, () => heard++)
    await a.network.ping(b.agent)
    await eventually(() => {
      for (let at = 0; at < 20; at++) a.network.hint(topic, randomBytes(32))
      expect(b.network.status().misbehaviour.flood).toBe(1)
    })
    expect(heard).toBe(maxHintsPerSecond)
  })
})

describe('the DHT', () => {
  test('finds an agent of whom no address is known, and providers of a key, through a third node', async () => {
    const middle = await nodes.start()
    const bootstrap = middle.network.addresses()
    const a = await nodes.start({ bootstrap })
    const b = await nodes.start({ bootstrap })
    greets(b)
    await eventually(async () => expect(await greeting(a, b)).toBe('hello'))
    const key = randomBytes(32)
    const c = await nodes.start({ bootstrap })
    await eventually(() => b.network.provide(key))
    await eventually(async () => {
      const found: Uint8Array[] = []
      for await (const agent of c.network.findProviders(key)) found.push(agent)
      expect(found).toEqual([b.agent])
    })
    expect(await greeting(c, b)).toBe('hello')
  })

  test('without other nodes answers at once', async () => {
    const a = await nodes.start()
    const found: Uint8Array[] = []
    for await (const agent of a.network.findProviders(randomBytes(32))) found.push(agent)
    expect(found).toEqual([])
    await expect(a.network.provide(randomBytes(32))).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      details: { reason: 'no-peers' },
    })
  })
})

test('an agent that misbehaves is disconnected and refused both ways, for a while', async () => {
  const clock = { now: 0 }
  const { a, b } = await nodes.pair({}, { monotonic: () => clock.now })
  b.network.addAddresses(a.agent, a.network.addresses())
  greets(a)
  greets(b)
  expect(await greeting(a, b)).toBe('hello')
  b.network.penalise(a.agent, 'bad-block')
  expect(await greeting(a, b)).toBe('hello')
  b.network.penalise(a.agent, 'bad-block')
  expect(b.network.status()).toMatchObject({
    misbehaviour: { 'bad-block': 2 },
    refusedAgents: [formatDid(a.agent)],
  })
  await eventually(() => expect(b.network.connected()).toEqual([]))
  await expect(greeting(b, a)).rejects.toMatchObject({ code: 'UNAVAILABLE', details: { reason: 'penalised' } })
  await expect(greeting(a, b)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  expect(b.network.status().refusedConnections.penalised).toBeGreaterThan(0)
  clock.now += refusalMs
  await eventually(async () => expect(await greeting(a, b)).toBe('hello'))
})

test('one protocol has only so many streams on a connection', async () => {
  const { a, b } = await nodes.pair()
  b.network.handle(protocol, async (stream, cut) => {
    await stream.write(Buffer.from('hello'))
    await new Promise((end) => cut.addEventListener('abort', end, { once: true }))
  })
  const answers = await Promise.allSettled(
    Array.from({ length: maxStreamsPerProtocol + 8 }, async () => {
      const stream = await a.network.open(b.agent, protocol)
      expect(await stream.read()).toBeDefined()
    }),
  )
  expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(maxStreamsPerProtocol)
  expect(a.network.connected()).toEqual([b.agent])
})

describe('connections are bounded', () => {
  /** Connections that a node tried to have with another at once. */
  async function dialOften({ network }: TestNode, to: TestNode, times: number): Promise<void> {
    const [address] = to.network.libp2p?.getMultiaddrs() ?? []
    const dials = Array.from({ length: times }, () => network.libp2p?.dial(address ?? [], { force: true }))
    await Promise.allSettled(dials)
  }

  test('with one agent', async () => {
    const { a, b } = await nodes.pair()
    await eventually(async () => {
      await dialOften(a, b, 2)
      expect(b.network.status().refusedConnections.agent).toBeGreaterThan(0)
    })
    expect(b.network.status().connections).toBe(maxConnectionsPerAgent)
  })

  test('from one address', async () => {
    const target = await nodes.start()
    const enough = maxConnectionsPerHost / maxConnectionsPerAgent + 1
    // Noise, for TLS makes a certificate for each connection.
    const crowd = await Promise.all(
      Array.from({ length: enough }, () => nodes.start({ listen: [], encryption: ['noise'] })),
    )
    let most = 0
    await eventually(async () => {
      await Promise.all(crowd.map((one) => dialOften(one, target, 1)))
      const { connections, refusedConnections } = target.network.status()
      most = Math.max(most, connections)
      expect(refusedConnections.host).toBeGreaterThan(0)
    })
    // Places are taken before the handshake: some may be held by connections that never came to be.
    expect(most).toBeGreaterThan(maxConnectionsPerHost / 2)
    expect(most).toBeLessThanOrEqual(maxConnectionsPerHost)
  })

  test('from one address in a second', async () => {
    const { network } = await nodes.start()
    const port = Number(/tcp\/(\d+)/.exec(network.addresses()[0] ?? '')?.[1])
    const isAnswered = async (): Promise<boolean> => {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {})
      // What libp2p's begins with, and is answered with.
      socket.write('\x13/multistream/1.0.0\n')
      const answered = Promise.withResolvers<boolean>()
      const ended = Promise.withResolvers<void>()
      socket.on('data', () => answered.resolve(true))
      socket.on('close', () => {
        answered.resolve(false)
        ended.resolve()
      })
      const isLetIn = await answered.promise
      socket.destroy()
      await ended.promise
      return isLetIn
    }
    const began = performance.now()
    let count = 0
    for (let at = 0; at < 8 * maxNewConnectionsPerHost; at += 1) if (await isAnswered()) count += 1
    // Seconds begin anywhere.
    const seconds = Math.ceil((performance.now() - began) / 1_000) + 1
    expect(count).toBeGreaterThan(0)
    expect(count).toBeLessThanOrEqual(seconds * maxNewConnectionsPerHost)
  })
})

describe('closing', () => {
  test('ends streams, connections, listening and calls under way, once', async () => {
    const { a, b } = await nodes.pair()
    b.network.handle(protocol, async (_, cut) => {
      await new Promise((end) => cut.addEventListener('abort', end, { once: true }))
    })
    const stream = await a.network.open(b.agent, protocol)
    const reading = stream.read().catch((error: unknown) => error)
    const nowhere = new AgentKey(randomBytes(32)).publicKey
    // TEST-NET-3 (RFC 5737): whoever dials it waits.
    a.network.addAddresses(nowhere, ['/ip4/203.0.113.1/tcp/4001'])
    const opening = a.network.open(nowhere, protocol).catch((error: unknown) => error)
    const listened = a.network.addresses()
    await Promise.all([a.network.close(), a.network.close()])
    await a.network.close()
    expect(await reading).toMatchObject({ code: 'UNAVAILABLE' })
    expect(await opening).toMatchObject({ code: expect.stringMatching(/CLOSED|UNAVAILABLE/) })
    await expect(a.network.open(b.agent, protocol)).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(a.network.ping(b.agent)).rejects.toMatchObject({ code: 'CLOSED' })
    expect(a.network.connected()).toEqual([])
    expect(a.network.addresses()).toEqual([])
    b.network.addAddresses(a.agent, listened)
    await eventually(() => expect(b.network.connected()).toEqual([]))
    await expect(b.network.open(a.agent, protocol)).rejects.toMatchObject({ details: { reason: 'refused' } })
  })
})

describe('starting', () => {
  test('waits neither for bootstrap nodes nor for relays', async () => {
    const nobody = `/ip4/203.0.113.1/tcp/4001/p2p/${(await nodes.start()).network.libp2p?.peerId}`
    await nodes.start()
    const began = performance.now()
    const a = await nodes.start({ bootstrap: [nobody], relays: [nobody] })
    expect(performance.now() - began).toBeLessThan(2_000)
    expect(a.network.status().relays).toEqual([{ address: nobody, reserved: false }])
  })

  test.each([
    ['a private network without a key', { mode: 'private' }],
    ['a key without a private network', { networkKey: new Uint8Array(32) }],
    ['a short key', { mode: 'private', networkKey: new Uint8Array(31) }],
    ['no multiaddr to listen on', { listen: ['127.0.0.1:80'] }],
    ['an address beside one that is none', { listen: ['/ip4/127.0.0.1/tcp/0', 'nonsense'] }],
    ['addresses that are not this machine’s', { listen: ['/ip4/203.0.113.1/tcp/0'] }],
    ['a bootstrap node without its peer id', { bootstrap: ['/ip4/127.0.0.1/tcp/1'] }],
    ['an address to announce that is none', { announce: ['hub.example.org:4001'] }],
    ['an offline node that announces', { mode: 'offline', listen: [], announce: ['/dns4/hub.example.org/tcp/4001'] }],
    ['no encryption', { encryption: [] }],
    ['an offline node that listens', { mode: 'offline' }],
  ] as const)('refuses %s', async (_, options) => {
    await expect(nodes.start(options)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('tells of addresses that it is reached by and does not have', async () => {
    const { a, b } = await nodes.pair({ announce: ['/dns4/hub.example.org/tcp/4001'] })
    const announced = `/dns4/hub.example.org/tcp/4001/p2p/${a.network.libp2p?.peerId}`
    expect(a.network.addresses()).toEqual([expect.stringMatching(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+\/p2p/), announced])
    const learned: string[] = []
    b.network.onLearned((_, addresses) => learned.push(...addresses))
    await a.network.ping(b.agent)
    await eventually(() => expect(learned).toContain(announced))
  })

  test('looks for nobody by multicast where it listens on loopback addresses alone', async () => {
    const sockets = () => process.getActiveResourcesInfo().filter((kind) => kind === 'UDPWrap').length
    const before = sockets()
    await nodes.start({ listen: ['/ip4/127.0.0.1/tcp/0', '/ip4/127.0.0.2/tcp/0/ws'] })
    expect(sockets()).toBe(before)
  })

  test('refuses a port that is taken', async () => {
    const { network } = await nodes.start()
    const listen = network.addresses().map((address) => address.replace(/\/p2p\/.*/, ''))
    await expect(nodes.start({ listen })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', details: { listen } })
  })

  test('offline finds nobody, says so, and loads nothing of libp2p', async () => {
    const offline = await nodes.start({ mode: 'offline', listen: undefined })
    await expect(offline.network.open(offline.agent, protocol)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      details: { reason: 'offline' },
    })
    expect(await offline.network.peers()).toEqual([])
    const code = `
      import { registerHooks } from 'node:module'
      const loaded = []
      registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) })
      const { startNetwork } = await import(${JSON.stringify(join(import.meta.dirname, 'index.ts'))})
      const { AgentKey } = await import(${JSON.stringify(join(import.meta.dirname, '../../src/identity/index.ts'))})
      const common = { agent: new AgentKey(new Uint8Array(32)), now: Date.now, monotonic: Date.now, random: (n) => new Uint8Array(n) }
      await using offline = await startNetwork({ ...common, mode: 'offline' })
      const before = loaded.filter((url) => url.includes('libp2p/')).length
      await using lan = await startNetwork({ ...common, mode: 'lan', listen: [] })
      console.log(JSON.stringify([loaded.length > 0, before, loaded.filter((url) => url.includes('libp2p/')).length > 10]))
    `
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code])
    expect(JSON.parse(stdout)).toEqual([true, 0, true])
  })

  test('a public network has the DHT of IPFS and asks others whether it can be dialled, others have a DHT of their own', async () => {
    const spoken = async (mode: 'lan' | 'public') => {
      const libp2p = (await nodes.start({ mode, bootstrap: [] })).network.libp2p as Libp2p<{
        dht: { protocol: string }
      }>
      const asksBack = libp2p.getProtocols().some((name) => name.includes('autonat'))
      return { dht: libp2p.services.dht.protocol, asksBack }
    }
    expect(await spoken('public')).toEqual({ dht: '/ipfs/kad/1.0.0', asksBack: true })
    expect(await spoken('lan')).toEqual({ dht: '/artifact-hub/kad/1.0.0', asksBack: false })
  })

  test('is given up when its caller does', async () => {
    const signal = AbortSignal.abort(new Error('gave up'))
    await expect(nodes.start({ signal })).rejects.toThrow('gave up')
  })
})
