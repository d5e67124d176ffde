import { describe, expect, test } from 'vitest'
import { seededBytes } from '../content/content.test-helper.ts'
import { inThreadEngine } from '../content/index.ts'
import { sha256, toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import {
  blockCreditBytes,
  blockIdleMs,
  blockReadAheadBytes,
  blockRefusalMs,
  maxBlockBytes,
  maxBlockRequestBytes,
  maxBlockStreams,
  maxBlockStreamsOfAgent,
  maxRequestsWaiting,
} from '../limits.ts'
import type { BlockPlace, NamespaceBlocks } from '../storage/index.ts'
import { FrameReader, FrameWriter } from './frame-stream.ts'
import {
  type AskerFrame,
  type BlockRequest,
  blocksProtocol,
  decodeServerFrame,
  encodeFrame,
  type ServerFrame,
} from './frames.ts'
import type { PeerStream } from './peer-network.ts'
import {
  agentOf,
  artifact,
  contentOf,
  leafOf,
  namespace,
  nextTurn,
  type TestProvider,
  TestSwarm,
  until,
} from './transfer.test-helper.ts'

const content = await contentOf(40)
const live = new AbortController().signal

/** A stream as one who asks sees it, and who keeps to no rules. */
class Asker {
  readonly stream: PeerStream
  readonly received: ServerFrame[] = []
  isOver = false
  readonly #writer: FrameWriter

  constructor(stream: PeerStream) {
    this.stream = stream
    this.#writer = new FrameWriter(stream)
    void this.#listen()
  }

  /** Does not wait for the other side to take it. */
  send(...frames: readonly AskerFrame[]): void {
    for (const frame of frames) this.#writer.write(encodeFrame(frame), live).catch(() => {})
  }

  get kinds(): string[] {
    return this.received.map(({ kind }) => kind)
  }

  async #listen(): Promise<void> {
    const reader = new FrameReader(this.stream, 'server')
    try {
      for (let raw = await reader.next(live); raw !== undefined; raw = await reader.next(live)) {
        this.received.push(decodeServerFrame(raw))
      }
    } catch {
      // The server cut it.
    }
    this.isOver = true
  }
}

async function ask(swarm: TestSwarm, { peer }: TestProvider): Promise<Asker> {
  return new Asker(await swarm.reader.open(peer.agent, blocksProtocol))
}

function request(changes: Partial<BlockRequest> = {}): AskerFrame {
  const runs = [{ first: 0, count: 1 }]
  return { kind: 'request', request: { namespace, artifact, root: content.root, runs, nodes: false, ...changes } }
}

const credit: AskerFrame = { kind: 'credit', bytes: blockCreditBytes }

/** Turns of the event loop in which all that can happen without time going by has happened. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 200; turn++) await nextTurn()
}

describe('a server of blocks', () => {
  test('answers requests in their order, nodes before leaves', async () => {
    await using swarm = new TestSwarm()
    const asker = await ask(swarm, swarm.provider('a', content))
    asker.send(
      credit,
      request({ nodes: true }),
      request({
        runs: [
          { first: 3, count: 1 },
          { first: 7, count: 1 },
        ],
      }),
    )
    await until(() => asker.kinds.filter((kind) => kind === 'end').length === 2)
    expect(asker.kinds).toEqual(['accept', 'node', 'leaf', 'end', 'accept', 'leaf', 'leaf', 'end'])
    expect(asker.received.flatMap((frame) => (frame.kind === 'leaf' ? [frame.index] : []))).toEqual([0, 3, 7])
    await asker.stream.close()
    await until(() => swarm.network.openStreams === 0)
    expect(swarm.scheduler.pending).toBe(0)
  })

  const strangers: readonly [string, Partial<BlockRequest>, boolean][] = [
    ['a stranger', {}, false],
    ['a stranger who names no namespace that is here', { namespace: sha256(Buffer.from('other')) }, false],
    ['a member who names no namespace that is here', { namespace: sha256(Buffer.from('other')) }, true],
    ['a member who names no root that is known', { root: { ...content.root, digest: sha256(Buffer.from('?')) } }, true],
    ['a member who names another artifact', { artifact: new Uint8Array(20) }, true],
    ['a member who names other sizes', { root: { ...content.root, sizeBytes: content.root.sizeBytes - 28 } }, true],
    ['a member who names leaves past the end', { runs: [{ first: 39, count: 2 }] }, true],
  ]
  test.each(strangers)('refuses %s in the same words, after the same time', async (_who, changes, isMember) => {
    await using swarm = new TestSwarm()
    if (!isMember) swarm.members.clear()
    const provider = swarm.provider('a', content)
    const asker = await ask(swarm, provider)
    asker.send(credit, request(changes))
    await settle()
    swarm.scheduler.advance(blockRefusalMs - 1)
    await settle()
    expect(asker.received).toEqual([])
    swarm.scheduler.advance(1)
    await settle()
    expect(asker.received).toEqual([
      { kind: 'refuse', code: 'ACCESS_DENIED', message: 'Not for this agent, or not here' },
    ])
    expect(provider.server.counters).toMatchObject({ refused: 1, sentBlocks: 0, missing: 0 })
  })

  test('gives a former member nothing for a root that he names in a namespace of his own', async () => {
    await using swarm = new TestSwarm()
    const provider = swarm.provider('a', content)
    const own = sha256(Buffer.from('a namespace of his own'))
    swarm.namespaceOf(provider, own, content)
    swarm.members.clear()
    const asker = await ask(swarm, provider)
    const runs = [{ first: 0, count: 40 }]
    asker.send(credit, request({ namespace: own, nodes: true }), request({ namespace: own, runs }), request())
    await swarm.during(until(() => asker.kinds.includes('refuse')))
    expect(new Set(asker.kinds)).toEqual(new Set(['accept', 'missing', 'end', 'refuse']))
    expect(provider.server.counters).toMatchObject({ sentBlocks: 0, refused: 1 })
  })

  test('stops serving one who is a member no more with the next request', async () => {
    await using swarm = new TestSwarm()
    const asker = await ask(swarm, swarm.provider('a', content))
    asker.send(credit, request())
    await until(() => asker.kinds.includes('end'))
    swarm.members.clear()
    asker.send(request())
    await swarm.during(until(() => asker.received.length > 3))
    expect(asker.kinds).toEqual(['accept', 'leaf', 'end', 'refuse'])
  })

  test('stops serving one who is a member no more in the middle of a request', async () => {
    await using swarm = new TestSwarm()
    const provider = swarm.provider('a', content)
    const asker = await ask(swarm, provider)
    asker.send(credit, request({ runs: [{ first: 0, count: 40 }] }))
    await settle()
    const sent = provider.server.counters.sentBytes
    swarm.members.clear()
    asker.send({ kind: 'credit', bytes: blockCreditBytes })
    await until(() => asker.isOver)
    expect(asker.kinds).not.toContain('end')
    expect(asker.kinds.filter((kind) => kind === 'leaf').length).toBeLessThan(40)
    // What had been read for it may have gone.
    expect(provider.server.counters.sentBytes - sent).toBeLessThanOrEqual(blockReadAheadBytes + maxBlockBytes)
  })

  test('says which leaves are missing, and sends the others', async () => {
    await using swarm = new TestSwarm()
    const held = new Map([...content.blocks].filter(([key]) => key !== content.leaves[1]))
    const asker = await ask(swarm, swarm.provider('a', content, held))
    asker.send(credit, request({ runs: [{ first: 0, count: 3 }] }))
    await until(() => asker.kinds.includes('end'))
    expect(asker.kinds).toEqual(['accept', 'leaf', 'missing', 'leaf', 'end'])
    expect(asker.received[2]).toEqual({ kind: 'missing', run: { first: 1, count: 1 } })
  })

  test('does not send a block that is damaged on its disk, and counts it', async () => {
    await using swarm = new TestSwarm()
    const held = new Map(content.blocks)
    held.set(content.leaves[0] as string, seededBytes('damage', leafOf(content, 0).length))
    const provider = swarm.provider('a', content, held)
    const asker = await ask(swarm, provider)
    asker.send(credit, request())
    await until(() => asker.kinds.includes('end'))
    expect(asker.kinds).toEqual(['accept', 'missing', 'end'])
    const root = toHex(content.root.digest)
    provider.blocks.blocks.set(root, seededBytes('damage', 100))
    const other = await ask(swarm, provider)
    other.send(credit, request({ nodes: true }))
    await until(() => other.kinds.includes('end'))
    expect(other.kinds).toEqual(['accept', 'missing', 'missing', 'end'])
    expect(provider.server.counters.unreadable).toBe(3)
  })

  test('has blocks read where they lie by who hashes them, and sends none that is not what it should be', async () => {
    await using swarm = new TestSwarm()
    const held = new Map(content.blocks)
    held.set(content.leaves[1] as string, seededBytes('damage', leafOf(content, 1).length))
    held.delete(content.leaves[2] as string)
    const lying: Uint8Array[] = []
    swarm.engine = {
      digest: async () => {
        throw new Error('read by the thread that serves')
      },
      digestInPlace: ({ descriptor }, into) => {
        if (descriptor === 3) throw new ArtifactHubError('CORRUPT', 'cut short')
        into.set(lying[descriptor] as Uint8Array)
        return inThreadEngine.digest(into)
      },
    }
    const provider = swarm.provider('a', content, held)
    Object.assign(provider.blocks, {
      inPlace: async <T>(digest: Uint8Array, use: (place: BlockPlace) => Promise<T>): Promise<T | undefined> => {
        const block = held.get(toHex(digest))
        if (block === undefined) return undefined
        const descriptor = content.leaves.indexOf(toHex(digest))
        lying[descriptor] = block
        return await use({ descriptor, offset: 0, length: block.length })
      },
    } satisfies Pick<NamespaceBlocks, 'inPlace'>)
    const asker = await ask(swarm, provider)
    asker.send(credit, request({ runs: [{ first: 0, count: 5 }] }))
    await until(() => asker.kinds.includes('end'))
    expect(asker.kinds).toEqual(['accept', 'leaf', 'missing', 'missing', 'missing', 'leaf', 'end'])
    expect(asker.received.flatMap((frame) => (frame.kind === 'leaf' ? [frame.index] : []))).toEqual([0, 4])
    expect(asker.received[1]).toMatchObject({ bytes: leafOf(content, 0) })
    expect(provider.server.counters.unreadable).toBe(2)
  })

  test('sends no more than there is credit for, and reads no further ahead than its bound', async () => {
    await using swarm = new TestSwarm()
    const provider = swarm.provider('a', content)
    let readBytes = 0
    const read = provider.blocks.read.bind(provider.blocks)
    provider.blocks.read = async (digest) => {
      const bytes = await read(digest)
      readBytes += bytes?.length ?? 0
      return bytes
    }
    const asker = await ask(swarm, provider)
    asker.send(credit, request({ runs: [{ first: 0, count: 40 }] }))
    await settle()
    const sent = provider.server.counters.sentBytes
    expect(sent).toBeGreaterThanOrEqual(blockCreditBytes)
    expect(sent).toBeLessThan(blockCreditBytes + maxBlockBytes)
    expect(readBytes - sent).toBeLessThanOrEqual(blockReadAheadBytes + 128 * 1024)
    asker.send({ kind: 'credit', bytes: 1 })
    await settle()
    expect(provider.server.counters.sentBytes).toBe(sent)
    // What is served next to it is not held up.
    const other = await ask(swarm, provider)
    other.send(credit, request())
    await until(() => other.kinds.includes('end'))
  })

  const intruders: readonly [string, (asker: Asker) => void, 'floods' | 'badFrames'][] = [
    [
      'a flood of requests',
      (asker) => asker.send(...Array.from({ length: maxRequestsWaiting + 1 }, () => request())),
      'floods',
    ],
    ['credit without end', (asker) => asker.send(credit, { kind: 'credit', bytes: 1 }), 'floods'],
    ['a frame over the limit', (asker) => void asker.stream.write(header(maxBlockRequestBytes + 2, 0x01)), 'badFrames'],
    ['a frame of 4 GiB', (asker) => void asker.stream.write(header(0xffff_ffff, 0x01)), 'badFrames'],
    ['an empty frame', (asker) => void asker.stream.write(header(0, 0x01)), 'badFrames'],
    ['a frame of the other side', (asker) => void asker.stream.write(header(1, 0x16)), 'badFrames'],
    [
      'a request that is not CBOR',
      (asker) => void asker.stream.write(Buffer.concat([header(3, 0x01), Buffer.from('no')])),
      'badFrames',
    ],
    [
      'runs out of order',
      (asker) =>
        asker.send(
          request({
            runs: [
              { first: 1, count: 1 },
              { first: 0, count: 1 },
            ],
          }),
        ),
      'badFrames',
    ],
    [
      'too many leaves',
      (asker) =>
        asker.send(
          request({
            runs: [
              { first: 0, count: 64 },
              { first: 64, count: 1 },
            ],
          }),
        ),
      'badFrames',
    ],
    [
      'nodes for many leaves',
      (asker) => asker.send(request({ nodes: true, runs: [{ first: 0, count: 2 }] })),
      'badFrames',
    ],
  ]
  test.each(intruders)(
    'cuts a stream with %s, counts it and holds it against the agent',
    async (_what, attack, counter) => {
      await using swarm = new TestSwarm()
      const provider = swarm.provider('a', content)
      const asker = await ask(swarm, provider)
      attack(asker)
      await until(() => asker.isOver)
      expect(provider.server.counters[counter]).toBe(1)
      expect(provider.peer.penalties).toEqual([
        { agent: toHex(agentOf('reader')), misbehaviour: counter === 'floods' ? 'flood' : 'bad-frame' },
      ])
      await until(() => swarm.network.openStreams === 0)
      expect(swarm.scheduler.pending).toBe(0)
    },
  )

  test('cuts streams above the number that one agent may have', async () => {
    await using swarm = new TestSwarm()
    const provider = swarm.provider('a', content)
    const askers: Asker[] = []
    for (let count = 0; count <= maxBlockStreamsOfAgent; count++) askers.push(await ask(swarm, provider))
    await until(() => askers.some(({ isOver }) => isOver))
    expect(askers.map(({ isOver }) => isOver).filter((isOver) => isOver)).toHaveLength(1)
    expect(provider.server.counters.floods).toBe(1)
    askers[0]?.send(credit, request())
    await until(() => askers[0]?.kinds.includes('end') === true)
  })

  test('serves a member though strangers hold all streams that there are', async () => {
    await using swarm = new TestSwarm()
    const provider = swarm.provider('a', content)
    const strangers: Asker[] = []
    for (let count = 0; count < maxBlockStreams; count++) {
      const name = `stranger ${Math.floor(count / maxBlockStreamsOfAgent)}`
      const peer = swarm.network.find(agentOf(name)) ?? swarm.network.join(agentOf(name))
      swarm.network.connect(peer, provider.peer)
      strangers.push(new Asker(await peer.open(provider.peer.agent, blocksProtocol)))
    }
    await settle()
    expect(strangers.filter(({ isOver }) => isOver)).toEqual([])
    const asker = await ask(swarm, provider)
    asker.send(credit, request())
    await until(() => asker.kinds.includes('end'))
    expect(strangers.map(({ isOver }) => isOver).indexOf(true)).toBe(0)
    expect(strangers.filter(({ isOver }) => isOver)).toHaveLength(1)
    const late = swarm.network.join(agentOf('late'))
    swarm.network.connect(late, provider.peer)
    await late.open(provider.peer.agent, blocksProtocol)
    await settle()
    expect(asker.isOver).toBe(false)
  })

  const stuck: readonly [string, (asker: Asker) => void][] = [
    ['asks nothing', () => {}],
    ['sends half of a frame', (asker) => void asker.stream.write(new Uint8Array([0, 0, 1]))],
    ['gives no credit', (asker) => asker.send(request())],
  ]
  test.each(stuck)('ends a stream whose other side %s, after a while', async (_what, attack) => {
    await using swarm = new TestSwarm()
    const provider = swarm.provider('a', content)
    const asker = await ask(swarm, provider)
    attack(asker)
    await settle()
    swarm.scheduler.advance(blockIdleMs)
    await settle()
    swarm.scheduler.advance(blockIdleMs - 1)
    await settle()
    swarm.scheduler.advance(1)
    await until(() => asker.isOver)
    expect(provider.server.counters.idle).toBe(1)
    await until(() => swarm.network.openStreams === 0)
    expect(swarm.scheduler.pending).toBe(0)
  })

  test('cuts what it serves when it is closed, and is not there any more', async () => {
    await using swarm = new TestSwarm()
    const provider = swarm.provider('a', content)
    const asker = await ask(swarm, provider)
    asker.send(request())
    await settle()
    await provider.server.close()
    await until(() => asker.isOver)
    await expect(ask(swarm, provider)).rejects.toMatchObject({ details: { reason: 'protocol not spoken' } })
    expect(swarm.scheduler.pending).toBe(0)
  })
})

function header(length: number, type: number): Uint8Array {
  const bytes = Buffer.alloc(5)
  bytes.writeUInt32BE(length)
  bytes[4] = type
  return bytes
}
