/**
 * A real node in a process of its own, over TCP, beside peers that keep to no rule. Each attack must show in a counter of `status`; another
 * member reads from the node all the while; and the node's memory stays within bounds.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CheckReport, NodeStatus } from '../../node/index.ts'
import type { Artifact } from '../../sdk/index.ts'
import { dagPbCodec } from '../../src/content/cid.ts'
import { encodeTreeNode } from '../../src/content/tree.ts'
import { formatNamespaceId, parseArtifactId, parseNamespaceId, sha256, toHex } from '../../src/encoding/index.ts'
import { FrameReader, FrameWriter } from '../../src/exchange/frame-stream.ts'
import {
  type BlockRequest,
  blocksProtocol,
  decodeServerFrame,
  encodeFrame,
  type ServerFrame,
} from '../../src/exchange/frames.ts'
import { askHolding } from '../../src/exchange/index.ts'
import { encodeSyncMessage, rowsInPage } from '../../src/exchange/sync-codec.ts'
import { SyncService } from '../../src/exchange/sync-serve.ts'
import { type AskedStream, blockOf, leafOf } from '../../src/exchange/transfer.test-helper.ts'
import { formatTicket } from '../../src/identity/index.ts'
import {
  maxBlockBytes,
  maxBlockStreamsOfAgent,
  maxSyncFrameBytes,
  maxSyncStreamsPerPeer,
  maxSyncVectorRows,
  syncStreamBurst,
  treeFanOut,
} from '../../src/limits.ts'
import { failureOf, MiB, seededBytes } from '../client/contract-support.ts'
import { eventually } from '../replication/nodes.ts'
import { ControlledNode } from '../support/controlled-node.ts'
import { NamespaceNode, TestTime } from '../support/namespace-nodes.ts'
import { type BlocksAnswer, drained, HostilePeer, scheduler } from './hostile-peer.ts'

const namespace = 'shared'
/**
 * What all attacks together may add to the most memory that the node ever took. Most of it is the longest vectors and full windows of
 * all streams that one member may have: 340 MiB; 950 if each stream's vector could be as long as a lone one.
 */
const maxGrowthBytes = 512 * MiB

let folder = ''
let victim: ControlledNode
/** A member that minds the rules. */
let good: ControlledNode
let addresses: readonly string[] = []
let id: Uint8Array = new Uint8Array(32)
let peakBefore = 0
let seed = 1

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'artifact-hub-hostile-'))
  const listen = ['/ip4/127.0.0.1/tcp/0']
  victim = await ControlledNode.start({ dataDir: join(folder, 'victim'), listen })
  good = await ControlledNode.start({ dataDir: join(folder, 'good'), listen })
  addresses = (await victim.status()).addresses
  id = parseNamespaceId((await victim.call<{ id: string }>('client.namespace.create', { name: namespace })).id)
  await victim.call('client.namespace.grant', { namespace, agent: good.did, role: 'writer' })
  const ticket = await victim.call<string>('client.namespace.ticket', { namespace })
  await good.call('client.namespace.join', { ticket })
  // What an honest day costs.
  for (let at = 0; at < 8; at++) await goodDay()
  peakBefore = await victim.call('peakMemory')
})

afterAll(async () => {
  await good?.[Symbol.asyncDispose]()
  await victim?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

/** The good member reads what the node has just written. */
async function goodDay(): Promise<Artifact> {
  const name = `good ${seed++}`
  const written = await victim.write(namespace, name, name, 8 * MiB)
  await eventually(() => good.call('client.artifact.get', { artifactId: written.id }))
  expect(await good.read(written.id)).toBe(written.sha256)
  return written
}

const intruder = () => HostilePeer.start(seed++, { did: victim.did, addresses })

/** A writer of the namespace. */
async function member(): Promise<HostilePeer> {
  const peer = await intruder()
  await victim.call('client.namespace.grant', { namespace, agent: peer.did, role: 'writer' })
  await peer.join(id)
  return peer
}

type Count = (status: NodeStatus) => number
const misbehaviour =
  (kind: keyof NodeStatus['misbehaviour']): Count =>
  (status) =>
    status.misbehaviour[kind]
const fetches =
  (kind: keyof NodeStatus['counters']['fetches']): Count =>
  (status) =>
    status.counters.fetches[kind]
const blocks =
  (kind: keyof NonNullable<NodeStatus['counters']['blocksServed']>): Count =>
  (status) =>
    status.counters.blocksServed?.[kind] ?? 0
const rounds =
  (kind: keyof NonNullable<NodeStatus['counters']['syncServed']>): Count =>
  (status) =>
    status.counters.syncServed?.[kind] ?? 0

interface Attack {
  readonly what: string
  readonly attack: () => Promise<void>
  /** Each rises by one at least. */
  readonly counters: readonly Count[]
}

const hold = async (signal: AbortSignal): Promise<void> => {
  if (!signal.aborted) await once(signal, 'abort')
}

const everyRequest = async (stream: AskedStream, answer: (request: BlockRequest) => Promise<void>): Promise<void> => {
  for (let request = await stream.request(); request !== undefined; request = await stream.request()) {
    await answer(request)
  }
}

/** A member that has written what the node then asks it for. */
function provider(what: string, answer: BlocksAnswer, ...counters: Count[]): Attack {
  const attack = async () => {
    await using peer = await member()
    const name = `offered ${seed++}`
    const write = () => peer.log.writeLarge(seededBytes(name, 5 * MiB), name)
    const artifactId = await peer.offer(name, write, answer)
    await victim.call('client.artifact.get', { artifactId })
    const { details } = await failureOf(victim.read(artifactId), 'UNAVAILABLE')
    expect((details.asked as string[]).filter((line) => line.startsWith(peer.did))).toHaveLength(1)
  }
  return { what: `serves ${what}`, attack, counters }
}

/** Tree nodes that each name the next one 174 times: bytes without end below a few blocks, and sizes that say it is little. */
async function bomb(): Promise<void> {
  await using peer = await member()
  const { held } = peer.log.blocks
  const keep = (bytes: Uint8Array) => {
    const digest = sha256(bytes)
    held.set(toHex(digest), new Uint8Array(bytes))
    return digest
  }
  const leaf = seededBytes('bomb', MiB)
  let link = { digest: keep(leaf), codec: 0x55, leafBytes: leaf.length, dagBytes: leaf.length }
  for (let level = 0; level < 6; level++) {
    const bytes = encodeTreeNode(Array.from({ length: treeFanOut }, () => link))
    const size = Math.min(link.leafBytes * treeFanOut, 2 ** 50)
    link = { digest: keep(bytes), codec: dagPbCodec, leafBytes: size, dagBytes: size }
  }
  const root = {
    sha256: sha256(leaf),
    digest: link.digest,
    codec: dagPbCodec,
    sizeBytes: 5 * MiB - 28 * 5,
    storedBytes: 5 * MiB,
  }
  const artifactId = await peer.offer(
    'bomb',
    () => peer.log.writeRoot('bomb', () => root),
    (stream, content) =>
      everyRequest(stream, async (request) => {
        await stream.send({ kind: 'accept' })
        if (request.nodes)
          for (const [, bytes] of [...content.blocks].toReversed()) {
            if (bytes !== leaf) await stream.send({ kind: 'node', bytes })
          }
        await stream.send({ kind: 'end' })
      }),
  )
  await failureOf(victim.read(artifactId), 'CORRUPT')
}

/** Asks the node for blocks as a good node would; gives what it answers. */
async function ask(peer: HostilePeer, request: BlockRequest): Promise<ServerFrame[]> {
  const stream = await peer.network.open(peer.victim, blocksProtocol)
  const { signal } = new AbortController()
  const writer = new FrameWriter(stream)
  await writer.write(encodeFrame({ kind: 'request', request }), signal)
  await writer.write(encodeFrame({ kind: 'credit', bytes: 2 * MiB }), signal)
  await stream.closeWrite()
  const reader = new FrameReader(stream, 'server')
  const frames: ServerFrame[] = []
  for (let raw = await reader.next(signal); raw !== undefined; raw = await reader.next(signal)) {
    frames.push(decodeServerFrame(raw))
  }
  await stream.close()
  return frames
}

/** A request for the first leaf of an artifact that the good member reads, as that member would make it. */
async function requestFor(artifact: Artifact): Promise<BlockRequest> {
  const reader = await member()
  await using _ = reader
  const record = await reader.log.ns.catalog.get(parseArtifactId(artifact.id))
  if (record === undefined) throw new Error('not there')
  return {
    namespace: id,
    artifact: parseArtifactId(artifact.id),
    root: record.root,
    runs: [{ first: 0, count: 1 }],
    nodes: true,
  }
}

/** Through the vectors of a round, to where this side is to send entries. */
async function toEntries(peer: HostilePeer) {
  const raw = await peer.openSync()
  await raw.send({
    type: 'hello',
    namespace: id,
    scope: { kind: 'namespace' },
    hash: new Uint8Array(32),
    presentation: undefined,
  })
  expect(await raw.receive()).toMatchObject({ type: 'vector', same: false })
  const rows = peer.log.ns.held.vector()
  await raw.send({ type: 'vector', same: false, rows: [...rows], ids: [], wants: [], more: false })
  for (;;) if ((await raw.receive())?.type === 'end') return raw
}

const over = (bytes: number): Uint8Array => {
  const frame = Buffer.alloc(9, 1)
  frame.writeUInt32BE(bytes)
  return frame
}

const attacks: readonly Attack[] = [
  provider(
    'bytes that are not the block',
    (stream, content) =>
      everyRequest(stream, (request) =>
        stream.answer(content, request, (index) => seededBytes(`wrong ${index}`, leafOf(content, index).length)),
      ),
    fetches('bad-block'),
    misbehaviour('bad-block'),
  ),
  provider(
    'the bytes of another leaf',
    (stream, content) =>
      everyRequest(stream, (request) =>
        stream.answer(content, request, (index) => leafOf(content, index === 0 ? 1 : index - 1)),
      ),
    fetches('bad-block'),
    misbehaviour('bad-block'),
  ),
  provider(
    'one leaf again and again without end',
    (stream, content) =>
      everyRequest(stream, async () => {
        await stream.send({ kind: 'accept' }, { kind: 'node', bytes: blockOf(content, toHex(content.root.digest)) })
        for (;;) await stream.send({ kind: 'leaf', index: 0, bytes: leafOf(content, 0) })
      }),
    fetches('bad-frame'),
    misbehaviour('bad-frame'),
  ),
  provider(
    'a frame over the limit',
    async ({ stream }, _content, signal) => {
      const frame = over(5 + maxBlockBytes + 1)
      frame[4] = 0x14
      await stream.write(frame)
      await hold(signal)
    },
    fetches('bad-frame'),
    misbehaviour('bad-frame'),
  ),
  provider(
    'half of a frame and then nothing',
    async (asked, _content, signal) => {
      await asked.request()
      await asked.stream.write(new Uint8Array([0, 0]))
      await hold(signal)
    },
    fetches('too-slow'),
    misbehaviour('too-slow'),
  ),
  provider(
    'nothing of what it claims to have',
    (stream, content) =>
      everyRequest(stream, async (request) => {
        await stream.send({ kind: 'accept' })
        if (request.nodes) await stream.send({ kind: 'node', bytes: blockOf(content, toHex(content.root.digest)) })
        await stream.send({ kind: 'end' })
      }),
    fetches('false-claim'),
    misbehaviour('false-claim'),
  ),
  { what: 'writes a tiny tree that expands without end', attack: bomb, counters: [fetches('broken')] },
  {
    what: 'opens streams for blocks and leaves them half open',
    async attack() {
      await using peer = await member()
      const streams = await Promise.all(
        Array.from({ length: maxBlockStreamsOfAgent + 4 }, () => peer.network.open(peer.victim, blocksProtocol)),
      )
      await Promise.allSettled(streams.map((stream) => stream.write(new Uint8Array([0, 0]))))
      const cut = await Promise.race(streams.map((stream) => stream.read().catch(() => 'cut')))
      expect(cut).toBe('cut')
    },
    counters: [blocks('floods'), misbehaviour('flood')],
  },
  {
    what: 'opens sync streams and leaves them half open',
    async attack() {
      await using peer = await member()
      const streams = await Promise.all(Array.from({ length: maxSyncStreamsPerPeer + 4 }, () => peer.openSync()))
      await Promise.allSettled(streams.map(({ stream }) => stream.write(new Uint8Array([0, 0]))))
      expect(await Promise.race(streams.map(drained))).toEqual({ end: 'cut', bytes: 0 })
    },
    counters: [rounds('floods'), misbehaviour('flood')],
  },
  {
    what: 'asks for blocks in a frame over the limit',
    async attack() {
      await using peer = await member()
      const stream = await peer.network.open(peer.victim, blocksProtocol)
      await stream.write(over(0xffff_ffff))
      await expect(stream.read()).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    },
    counters: [blocks('badFrames'), misbehaviour('bad-frame')],
  },
  {
    what: 'syncs in a frame over the limit',
    async attack() {
      await using peer = await member()
      const raw = await peer.openSync()
      await raw.bytes(new Uint8Array(1000), maxSyncFrameBytes + 1)
      expect((await drained(raw)).end).toBe('cut')
    },
    counters: [rounds('failed'), misbehaviour('bad-frame')],
  },
  {
    what: 'asks for blocks without waiting for any',
    async attack() {
      await using peer = await member()
      const request = await requestFor(await goodDay())
      const stream = await peer.network.open(peer.victim, blocksProtocol)
      const bytes = Buffer.concat(encodeFrame({ kind: 'request', request: { ...request, nodes: false } }))
      const flooding = (async () => {
        for (;;) await stream.write(Buffer.concat(Array.from({ length: 100 }, () => bytes)))
      })()
      await expect(flooding).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    },
    counters: [blocks('floods'), misbehaviour('flood')],
  },
  {
    what: 'begins rounds without pause',
    async attack() {
      await using peer = await member()
      let cut = 0
      for (let at = 0; at < 2 * syncStreamBurst && cut < 3; at++) {
        const raw = await peer.openSync()
        await raw
          .send({
            type: 'hello',
            namespace: id,
            scope: { kind: 'namespace' },
            hash: undefined,
            presentation: undefined,
          })
          .catch(() => {})
        const { end } = await drained(raw)
        if (end === 'cut') cut++
        else await raw.stream.close()
      }
      expect(cut).toBe(3)
    },
    counters: [rounds('floods'), misbehaviour('flood')],
  },
  {
    what: 'sends a vector without end',
    async attack() {
      await using peer = await member()
      const raw = await peer.openSync()
      await raw.send({
        type: 'hello',
        namespace: id,
        scope: { kind: 'namespace' },
        hash: new Uint8Array(32),
        presentation: undefined,
      })
      const [chain, hash] = [new Uint8Array(16), new Uint8Array(32)]
      const rows = Array.from({ length: rowsInPage }, (_, seq) => ({ chain, seq, hash }))
      const sent = await peer.sendForever(raw, { type: 'vector', same: false, rows, ids: [], wants: [], more: true })
      // What the buffers between the two hold comes on top of what was read.
      expect(sent * rows.length).toBeLessThan(400_000)
    },
    counters: [rounds('failed'), misbehaviour('flood')],
  },
  {
    what: 'sends the longest vectors that may be, on all the streams that it may have',
    async attack() {
      await using peer = await member()
      const [chain, hash] = [new Uint8Array(16), new Uint8Array(32)]
      const rows = Array.from({ length: rowsInPage }, (_, seq) => ({ chain, seq, hash }))
      const page = encodeSyncMessage({ type: 'vector', same: false, rows, ids: [], wants: [], more: true })
      const sending = Array.from({ length: maxSyncStreamsPerPeer }, async () => {
        const raw = await peer.openSync()
        await raw.send({
          type: 'hello',
          namespace: id,
          scope: { kind: 'namespace' },
          hash: new Uint8Array(32),
          presentation: undefined,
        })
        for (let sent = rows.length; sent <= maxSyncVectorRows; sent += rows.length) await raw.bytes(page)
        return raw
      })
      const results = await Promise.allSettled(sending)
      expect(results.filter(({ status }) => status === 'rejected').length).toBeGreaterThan(0)
    },
    counters: [rounds('failed'), rounds('floods')],
  },
  {
    what: 'pushes entries that are none, without end',
    async attack() {
      await using peer = await member()
      const entries = Array.from({ length: 200 }, () => new Uint8Array(randomBytes(1000)))
      await peer.sendForever(await peer.openSync(), { type: 'push', namespace: id, entries })
    },
    counters: [rounds('failed'), misbehaviour('bad-entry')],
  },
  {
    what: 'pushes entries of another namespace',
    async attack() {
      await using peer = await member()
      const other = await new NamespaceNode(seed++, new TestTime()).create()
      await other.write('elsewhere')
      const entries = await Array.fromAsync(other.ns.held.entriesBeyond([]))
      const raw = await toEntries(peer)
      await raw.send({ type: 'entries', entries: entries.slice(1) })
      expect((await drained(raw)).end).toBe('cut')
    },
    counters: [rounds('failed'), misbehaviour('bad-entry')],
  },
  {
    what: 'replays entries without end',
    async attack() {
      await using peer = await member()
      const genesis = (await peer.log.ns.held.bytes(id)) as Uint8Array
      await peer.sendForever(await toEntries(peer), { type: 'entries', entries: [genesis, genesis] })
    },
    counters: [rounds('failed'), misbehaviour('flood')],
  },
  {
    what: 'is a stranger that asks for entries and blocks',
    async attack() {
      const artifact = await goodDay()
      const request = await requestFor(artifact)
      await using peer = await intruder()
      await getsNothing(peer, request)
    },
    counters: [blocks('refused'), rounds('denied')],
  },
  {
    what: 'was a member, and names what it knew of in a log of its own',
    async attack() {
      const request = await requestFor(await goodDay())
      await using peer = await member()
      await victim.call('client.namespace.revoke', { namespace, agent: peer.did })
      await getsNothing(peer, request)

      // A namespace of its own, that the node joins, in which that root is an artifact's.
      const own = await new NamespaceNode(seed++, new TestTime(), { agent: peer.log.agent }).create()
      await own.ns.members.grant({ agent: peer.victim, role: 'reader' })
      const artifact = await own.writeRoot('mine', () => ({ ...request.root, sha256: new Uint8Array(32) }))
      await using _ = new SyncService({
        network: peer.network,
        scheduler,
        self: peer.log.agent.publicKey,
        lookup: (asked) => (toHex(asked) === toHex(own.ns.id) ? own.ns : undefined),
      })
      const peers = [{ agent: own.id, addresses: peer.network.addresses() }]
      const ticket = formatTicket({ kind: 'namespace', id: own.ns.id, peers })
      const name = formatNamespaceId(own.ns.id).slice(0, 20)
      await victim.call('client.namespace.join', { ticket, name })
      const frames = await ask(peer, { ...request, namespace: own.ns.id, artifact })
      expect(frames.map(({ kind }) => kind)).toEqual(['accept', 'missing', 'missing', 'end'])
      await victim.call('client.namespace.leave', { namespace: name })
    },
    counters: [blocks('refused'), rounds('denied'), blocks('missing')],
  },
]

/** Who has no role gets one word, whatever it asks for. */
async function getsNothing(peer: HostilePeer, request: BlockRequest): Promise<void> {
  const raw = await peer.openSync()
  await raw.send({
    type: 'hello',
    namespace: id,
    scope: { kind: 'namespace' },
    hash: undefined,
    presentation: undefined,
  })
  expect(await raw.receive()).toEqual({ type: 'denied', reason: undefined, evidence: [] })
  expect(await drained(raw)).toEqual({ end: 'ended', bytes: 0 })
  expect(await ask(peer, request)).toEqual([expect.objectContaining({ kind: 'refuse', code: 'ACCESS_DENIED' })])
  const question = { namespace: id, artifact: request.artifact, root: request.root.digest, waitMs: 0 }
  const { signal } = new AbortController()
  await failureOf(askHolding({ network: peer.network, scheduler, signal }, peer.victim, question), 'ACCESS_DENIED')
}

async function logOf(node: ControlledNode) {
  const status = (await node.status()).namespaces.find(({ name }) => name === namespace)
  return { entries: status?.entries, logHash: status?.logHash }
}

describe.each(attacks)('a peer that $what', ({ attack, counters }) => {
  test('is counted; others are served all the while, and memory stays within bounds', async () => {
    const before = await victim.status()
    const results = await Promise.allSettled([attack(), goodDay().then(goodDay)])
    for (const result of results) if (result.status === 'rejected') throw result.reason
    await eventually(async () => {
      const after = await victim.status()
      for (const count of counters) expect(count(after)).toBeGreaterThan(count(before))
    })
    // Nothing was stored that a member who met none of them lacks.
    await eventually(async () => expect(await logOf(victim)).toEqual(await logOf(good)))
    expect((await victim.status()).refusedAgents).not.toContain(good.did)
    const grown = (await victim.call<number>('peakMemory')) - peakBefore
    if (process.env.TEST_LOG !== undefined) console.error(`memory grew by ${Math.round(grown / MiB)} MiB`)
    expect(grown).toBeLessThan(maxGrowthBytes)
  })
})

test('after all of it, every byte and every entry of the node is what it should be', async () => {
  await goodDay()
  expect((await victim.call<CheckReport>('check', { readData: true })).findings).toEqual([])
})
