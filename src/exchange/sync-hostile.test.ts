import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { MemoryPeer } from '../../test/support/memory-network.ts'
import { toHex } from '../encoding/index.ts'
import { AgentKey } from '../identity/index.ts'
import {
  maxPushStreamsPerPeer,
  maxSyncFrameBytes,
  maxSyncOffers,
  maxSyncStreams,
  maxSyncStreamsPerPeer,
  maxSyncVectorRows,
  maxSyncWants,
  maxUselessSyncBatches,
  syncBatchBytes,
  syncBatchMs,
  syncFrameTimeoutMs,
  syncPushIdleMs,
  syncStreamBurst,
} from '../limits.ts'
import { decodeEntry, type Entry, encodeEntry } from '../log/index.ts'
import { refusalReasons } from './may-read.ts'
import { MemoryLog } from './memory-log.test-helper.ts'
import { decodeSyncMessage, encodeSyncMessage, rowsInPage, type SyncMessage } from './sync-codec.ts'
import { fetchGenesis, syncProtocol } from './sync-run.ts'
import { bob, eve, owner, RawStream, SyncWorld, threeMembers } from './sync-world.test-helper.ts'

/** A world in which Bob is a member who does as he likes, beside the owner, who is honest, and Ann. */
function withBob() {
  const world = new SyncWorld()
  const [a, b, c] = threeMembers()
  a.putMany(3)
  const one = world.add(a)
  const two = world.add(b)
  const peer = world.peer(bob)
  const hello: SyncMessage = {
    type: 'hello',
    namespace: a.id,
    scope: { kind: 'namespace' },
    hash: c.vectorHash,
    presentation: undefined,
  }
  const open = () => RawStream.open(peer, owner.publicKey)
  /** What was held against Bob, and that Ann is still served. */
  const check = async (...penalties: string[]) => {
    await until(() => one.peer.penalties.length >= penalties.length)
    expect(one.peer.penalties).toEqual(penalties.map((misbehaviour) => ({ agent: toHex(bob.publicKey), misbehaviour })))
    expect(await world.sync(two, one)).toMatchObject({ result: expect.stringMatching(/same|exchanged/) })
  }
  return { world, one, peer, hello, open, check, bobs: c }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise<void>((resolve) => setImmediate(resolve))
}

/** Ends with what the other side did to the stream: said something, ended it or cut it. */
async function end(raw: RawStream): Promise<'ended' | 'cut'> {
  try {
    for (;;) if ((await raw.receive()) === undefined) return 'ended'
  } catch {
    return 'cut'
  }
}

/** Through the vectors of a round, to where Bob is to send entries. */
async function toEntries(raw: RawStream, hello: SyncMessage, bobs: MemoryLog): Promise<void> {
  await raw.send(hello)
  expect(await raw.receive()).toMatchObject({ type: 'vector', same: false })
  await raw.send({ type: 'vector', same: false, rows: [...bobs.vector()], ids: [], wants: [], more: false })
  for (;;) if ((await raw.receive())?.type === 'end') return
}

const empty = { ids: [], wants: [], more: false, same: false } as const

describe('frames', () => {
  it('over the limit are refused before their bytes are read', async () => {
    const { open, check } = withBob()
    const raw = await open()
    await raw.bytes(new Uint8Array(10), maxSyncFrameBytes + 1)
    expect(await end(raw)).toBe('cut')
    await check('bad-frame')
  })

  it.each([
    ['no CBOR', Uint8Array.of(0xff)],
    ['of an unknown type', Uint8Array.of(0x81, 0x18, 0x63)],
    ['empty', new Uint8Array()],
    ['not canonical', Uint8Array.of(0x82, 0x18, 0x01, 0x60)],
  ])('that are %s end the stream', async (_what, bytes) => {
    const { open, check } = withBob()
    const raw = await open()
    await raw.bytes(bytes)
    expect(await end(raw)).toBe('cut')
    await check('bad-frame')
  })

  it('that tell of more namespaces than one may end the stream', async () => {
    const offered = (count: number): SyncMessage => ({
      type: 'offer',
      rows: Array.from({ length: count }, () => ({ tag: new Uint8Array(32), state: new Uint8Array(16) })),
    })
    const named = (count: number): SyncMessage => ({
      type: 'names',
      namespaces: Array.from({ length: count }, () => new Uint8Array(32)),
    })
    const known = (count: number): SyncMessage => ({
      type: 'offered',
      same: Array.from({ length: count }, (_, at) => at),
      unknown: [],
    })
    for (const make of [offered, named, known]) {
      expect(decodeSyncMessage(encodeSyncMessage(make(maxSyncOffers)))).toEqual(make(maxSyncOffers))
      expect(() => decodeSyncMessage(encodeSyncMessage(make(maxSyncOffers + 1)))).toThrow('not a valid sync frame')
    }
    const { open, check } = withBob()
    const raw = await open()
    await raw.send(offered(maxSyncOffers + 1))
    expect(await end(raw)).toBe('cut')
    await check('bad-frame')
  })

  it('that do not begin a stream end it there', async () => {
    const { open, check } = withBob()
    const raw = await open()
    await raw.send({ type: 'end', hash: new Uint8Array(32) })
    expect(await end(raw)).toBe('cut')
    await check('bad-frame')
  })

  it('of random bytes and changed ones are never read as a message that encodes otherwise', () => {
    const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
    const bytes16 = fc.uint8Array({ minLength: 16, maxLength: 16 })
    const indexes = fc.uniqueArray(fc.nat(), { maxLength: 5 }).map((list) => list.sort((a, b) => a - b))
    const row = fc.record({ chain: bytes16, seq: fc.maxSafeNat(), hash: bytes32 })
    const message: fc.Arbitrary<SyncMessage> = fc.oneof(
      fc.record({
        type: fc.constant('hello' as const),
        namespace: bytes32,
        scope: fc.oneof(
          fc.constantFrom({ kind: 'namespace' as const }, { kind: 'auth' as const }),
          fc.record({
            kind: fc.constant('artifact' as const),
            artifact: fc.uint8Array({ minLength: 20, maxLength: 20 }),
          }),
        ),
        hash: fc.option(bytes32, { nil: undefined }),
        presentation: fc.option(fc.uint8Array({ maxLength: 300 }), { nil: undefined }),
      }),
      fc.record({
        type: fc.constant('denied' as const),
        reason: fc.option(fc.constantFrom(...refusalReasons), { nil: undefined }),
        evidence: fc.array(fc.uint8Array({ maxLength: 100 }), { maxLength: 5 }),
      }),
      fc.record({
        type: fc.constant('vector' as const),
        same: fc.boolean(),
        rows: fc.array(row, { maxLength: 5 }),
        ids: fc.array(bytes16, { maxLength: 5 }),
        wants: fc.array(bytes32, { maxLength: 5 }),
        more: fc.boolean(),
      }),
      fc.record({
        type: fc.constant('entries' as const),
        entries: fc.array(fc.uint8Array({ maxLength: 90 }), { minLength: 1, maxLength: 5 }),
      }),
      fc.record({ type: fc.constant('end' as const), hash: bytes32 }),
      fc.record({ type: fc.constant('done' as const), hash: bytes32, stored: fc.nat(), unlinked: fc.nat() }),
      fc.record({
        type: fc.constant('push' as const),
        namespace: bytes32,
        entries: fc.array(fc.uint8Array({ maxLength: 90 }), { minLength: 1, maxLength: 5 }),
      }),
      fc.record({
        type: fc.constant('offer' as const),
        rows: fc.array(fc.record({ tag: bytes32, state: bytes16 }), { maxLength: 5 }),
      }),
      fc.record({ type: fc.constant('offered' as const), same: indexes, unknown: indexes }),
      fc.record({ type: fc.constant('names' as const), namespaces: fc.array(bytes32, { maxLength: 5 }) }),
    )
    fc.assert(
      fc.property(message, fc.nat(), fc.integer({ min: 1, max: 255 }), (made, at, flip) => {
        const bytes = encodeSyncMessage(made)
        expect(decodeSyncMessage(bytes)).toEqual(made)
        const changed = Uint8Array.from(bytes)
        changed[at % changed.length] = (changed[at % changed.length] as number) ^ flip
        let read: SyncMessage
        try {
          read = decodeSyncMessage(changed)
        } catch (error) {
          expect((error as { code: string }).code).toMatch(/CORRUPT|TOO_LARGE|UNSUPPORTED_FORMAT/)
          return
        }
        expect(encodeSyncMessage(read)).toEqual(changed)
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('a member who sends', () => {
  const changedEntry = (entry: Entry, change: Partial<Entry>): Uint8Array => encodeEntry({ ...entry, ...change })

  it.each([
    ['an entry with a wrong signature', (entry: Entry) => [changedEntry(entry, { signature: new Uint8Array(64) })]],
    ['an entry with another body', (entry: Entry) => [changedEntry(entry, { body: new Uint8Array(60) })]],
    ['bytes that are no entry', () => [new Uint8Array(100)]],
  ])('%s is dropped, and what was well before it stays', async (_what, make) => {
    const { one, hello, open, check, bobs } = withBob()
    const raw = await open()
    await toEntries(raw, hello, bobs)
    const hashes = bobs.putMany(2)
    const [first, second] = await Promise.all(hashes.map((hash) => bobs.bytes(hash)))
    await raw.send({ type: 'entries', entries: [first as Uint8Array] })
    await raw.send({ type: 'entries', entries: make(decodeEntry(second as Uint8Array)) })
    expect(await end(raw)).toBe('cut')
    expect(one.log.hashes).toContain(toHex(hashes[0] as Uint8Array))
    expect(one.log.hashes).not.toContain(toHex(hashes[1] as Uint8Array))
    await check('bad-entry')
  })

  it('entries of another namespace is dropped, and they are not stored', async () => {
    const { one, hello, open, check, bobs } = withBob()
    const raw = await open()
    await toEntries(raw, hello, bobs)
    const other = MemoryLog.create(bob)
    other.putMany(1)
    const entries: Uint8Array[] = []
    for await (const entry of other.entriesBeyond([])) entries.push(entry)
    const size = one.log.size
    await raw.send({ type: 'entries', entries: entries.slice(1) })
    expect(await end(raw)).toBe('cut')
    expect(one.log.size).toBe(size)
    await check('bad-entry')
  })

  it('what is held already, over and over, is dropped in the end; nothing is stored twice', async () => {
    const { one, hello, open, check, bobs } = withBob()
    const raw = await open()
    await toEntries(raw, hello, bobs)
    const genesis = (await bobs.bytes(bobs.id)) as Uint8Array
    const size = one.log.size
    const sending = (async () => {
      for (;;) await raw.send({ type: 'entries', entries: [genesis] })
    })()
    await expect(sending).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    // One more may be on its way into the log when the last is judged.
    expect(one.log.seen.batches).toBeGreaterThan(maxUselessSyncBatches)
    expect(one.log.seen.batches).toBeLessThanOrEqual(maxUselessSyncBatches + 2)
    expect(one.log.size).toBe(size)
    await check('flood')
  })

  it('entries that follow one that is not held stores nothing', async () => {
    const { one, hello, open, bobs, check } = withBob()
    const raw = await open()
    await toEntries(raw, hello, bobs)
    const size = one.log.size
    // Bob keeps the first to himself.
    const forged = bobs.copy()
    const [, ...later] = forged.putMany(3)
    const entries = await Promise.all(later.map(async (hash) => (await forged.bytes(hash)) as Uint8Array))
    await raw.send({ type: 'entries', entries })
    await raw.send({ type: 'end', hash: bobs.vectorHash })
    expect(await raw.receive()).toMatchObject({ type: 'done', stored: 0, unlinked: 2 })
    expect(one.log.size).toBe(size)
    await check()
  })

  it('a vector without end is dropped at the limit', async () => {
    const { hello, open, check } = withBob()
    const raw = await open()
    await raw.send(hello)
    const [chain, hash] = [new Uint8Array(16), new Uint8Array(32)]
    const rows = Array.from({ length: rowsInPage }, (_, seq) => ({ chain, seq, hash }))
    let sent = 0
    const sending = (async () => {
      for (;;) {
        await raw.send({ type: 'vector', ...empty, rows, more: true })
        sent += rows.length
      }
    })()
    await expect(sending).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(sent).toBeLessThan(maxSyncVectorRows + 3 * rowsInPage)
    await check('flood')
  })

  it('pages without rows is dropped', async () => {
    const { hello, open, check } = withBob()
    const raw = await open()
    await raw.send(hello)
    await raw.send({ type: 'vector', ...empty, rows: [], more: true })
    await raw.send({ type: 'vector', ...empty, rows: [], more: true })
    expect(await end(raw)).toBe('cut')
    await check('bad-frame')
  })

  it('wants of what is not there or is another’s gets nothing for them', async () => {
    const { hello, open, check } = withBob()
    const raw = await open()
    await raw.send(hello)
    await raw.receive()
    const wants = Array.from({ length: maxSyncWants }, (_, at) => new Uint8Array(32).fill(at))
    await raw.send({ type: 'vector', ...empty, rows: [], wants, same: false })
    const first = await raw.receive()
    expect(first).toMatchObject({ type: 'entries', entries: expect.objectContaining({ length: 6 }) })
    await raw.stream.close()
    await check()
  })

  it('a hash that lies only makes a round of its own', async () => {
    const { one, hello, open, check, bobs } = withBob()
    const raw = await open()
    await raw.send({ ...hello, hash: one.log.vectorHash } as SyncMessage)
    expect(await raw.receive()).toMatchObject({ type: 'vector', same: true, rows: [] })
    await raw.send({ type: 'vector', ...empty, same: false, rows: [...bobs.vector()] })
    expect(await end(raw)).toBe('cut')
    await check('bad-frame')
  })
})

describe('a member who opens', () => {
  it('a stream and says nothing is dropped when its time is over', async () => {
    const { world, one, open, check } = withBob()
    const raw = await open()
    await until(() => one.service.counters.streams === 1 && world.scheduler.pending === 1)
    world.scheduler.advance(syncFrameTimeoutMs - 1)
    expect(one.peer.penalties).toEqual([])
    world.scheduler.advance(1)
    expect(await end(raw)).toBe('cut')
    await check('too-slow')
    expect(world.network.openStreams).toBe(0)
  })

  it('a stream and trickles a frame is dropped all the same', async () => {
    const { world, one, hello, open, check } = withBob()
    const raw = await open()
    const frame = encodeSyncMessage(hello)
    await raw.bytes(frame.subarray(0, 5), frame.length)
    for (let at = 5; at < 35; at++) {
      await until(() => world.scheduler.pending === 1)
      world.scheduler.advance(1_000)
      await raw.stream.write(frame.subarray(at, at + 1)).catch(() => {})
    }
    expect(await end(raw)).toBe('cut')
    await check('too-slow')
    expect(one.service.counters.failed).toBe(1)
  })

  it('a round and reads nothing makes nobody hold more than a frame', async () => {
    const { world, one, hello, open, check } = withBob()
    one.log.putMany(3_000, 500)
    let given = 0
    const entriesBeyond = one.log.entriesBeyond.bind(one.log)
    one.log.entriesBeyond = async function* (...args) {
      for await (const entry of entriesBeyond(...args)) {
        given += entry.length
        yield entry
      }
    }
    const raw = await open()
    await raw.send(hello)
    await raw.send({ type: 'vector', ...empty, rows: [] })
    await until(() => given > maxSyncFrameBytes)
    for (let turn = 0; turn < 200; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
    expect(given).toBeLessThan(3 * maxSyncFrameBytes)
    world.scheduler.advance(syncFrameTimeoutMs + ((3 * maxSyncFrameBytes) / syncBatchBytes) * syncBatchMs)
    expect(await end(raw)).toBe('cut')
    await check('too-slow')
  })

  it('more streams than one agent may have loses those beyond, not the others', async () => {
    const { one, open, check } = withBob()
    const streams = await Promise.all(Array.from({ length: maxSyncStreamsPerPeer + 2 }, open))
    await until(() => one.service.counters.floods === 2)
    await check('flood', 'flood')
    for (const raw of streams) raw.stream.abort(new Error('enough'))
    await until(() => one.service.counters.failed === maxSyncStreamsPerPeer)
  })

  it('all streams that there are, of strangers who say nothing, keeps no member out', async () => {
    const { world, one, open, hello, check } = withBob()
    const held: RawStream[] = []
    for (let at = 0; at < maxSyncStreams; at++) {
      const stranger = new AgentKey(new Uint8Array(32).fill(100 + Math.floor(at / maxSyncStreamsPerPeer)))
      held.push(await RawStream.open(world.peer(stranger), owner.publicKey))
    }
    await until(() => one.service.counters.streams === maxSyncStreams)
    const raw = await open()
    await raw.send(hello)
    expect(await raw.receive()).toMatchObject({ type: 'vector' })
    await check()
    expect(one.service.counters.floods).toBe(0)
  })

  it('streams without pause is held to a rate that recovers', async () => {
    const { world, one, hello, open, check } = withBob()
    for (let at = 0; at < syncStreamBurst + 5; at++) {
      const raw = await open()
      await raw.send({ ...hello, hash: undefined } as SyncMessage).catch(() => {})
      expect(await end(raw)).toBe(at < syncStreamBurst ? 'ended' : 'cut')
    }
    expect(one.service.counters).toMatchObject({ streams: syncStreamBurst, floods: 5 })
    world.scheduler.advance(1_000)
    const raw = await open()
    await raw.send({ ...hello, namespace: new Uint8Array(32) } as SyncMessage)
    expect(await world.scheduler.until(raw.receive())).toEqual({ type: 'denied', reason: undefined, evidence: [] })
    await check(...Array.from({ length: 5 }, () => 'flood'))
  })
})

describe('pushes', () => {
  it('are stored and answered one by one; an idle stream of them is no fault, and ends', async () => {
    const { world, one, open, bobs } = withBob()
    const raw = await open()
    for (const hash of bobs.putMany(3)) {
      const entry = (await bobs.bytes(hash)) as Uint8Array
      await raw.send({ type: 'push', namespace: bobs.id, entries: [entry] })
      expect(await raw.receive()).toEqual({ type: 'done', hash: one.log.vectorHash, stored: 1, unlinked: 0 })
    }
    await until(() => world.scheduler.pending === 1)
    world.scheduler.advance(syncPushIdleMs)
    expect(await end(raw)).toBe('cut')
    expect(one.peer.penalties).toEqual([])
  })

  it('over many streams at once are a flood', async () => {
    const { one, open, bobs, check } = withBob()
    const [hash] = bobs.putMany(1)
    const entry = (await bobs.bytes(hash as Uint8Array)) as Uint8Array
    const streams: RawStream[] = []
    for (let at = 0; at < maxPushStreamsPerPeer; at++) {
      const raw = await open()
      streams.push(raw)
      await raw.send({ type: 'push', namespace: bobs.id, entries: [entry] })
      expect(await raw.receive()).toMatchObject({ type: 'done', stored: at === 0 ? 1 : 0 })
    }
    const more = await open()
    await more.send({ type: 'push', namespace: bobs.id, entries: [entry] })
    expect(await end(more)).toBe('cut')
    await check('flood')
    for (const { stream } of streams) await stream.close()
    await until(() => one.service.counters.failed === 1)
    const again = await open()
    await again.send({ type: 'push', namespace: bobs.id, entries: [entry] })
    expect(await again.receive()).toMatchObject({ type: 'done', stored: 0 })
    await again.stream.close()
  })

  it('of a stranger are denied, and without end a flood', async () => {
    const { world, one, hello } = withBob()
    const raw = await RawStream.open(world.peer(eve), owner.publicKey)
    const size = one.log.size
    const push: SyncMessage = { ...(hello as { namespace: Uint8Array }), type: 'push', entries: [new Uint8Array(9)] }
    let denied = 0
    for (;;) {
      const sent = await raw.send(push).then(
        () => true,
        () => false,
      )
      const answering = raw.receive().catch(() => undefined)
      if (!sent || (await world.scheduler.until(answering)) === undefined) break
      denied += 1
    }
    expect(denied).toBe(16)
    expect(one.log.size).toBe(size)
    expect(one.peer.penalties).toEqual([{ agent: toHex(eve.publicKey), misbehaviour: 'flood' }])
  })
})

describe('an agent that answers a round', () => {
  const answering = (answer: (raw: RawStream) => Promise<void>) => {
    const world = new SyncWorld()
    const [, b, c] = threeMembers()
    const two = world.add(b)
    const peer: MemoryPeer = world.peer(bob)
    peer.handle(syncProtocol, async (stream) => await answer(new RawStream(stream)))
    return { world, two, log: c }
  }

  it('with silence is dropped when its time is over', async () => {
    const { world, two, log } = answering(async (raw) => {
      await raw.receive()
      await raw.receive()
    })
    const syncing = world.sync(two, { log })
    syncing.catch(() => {})
    await until(() => world.scheduler.pending === 1)
    for (let turn = 0; turn < 20; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
    world.scheduler.advance(syncFrameTimeoutMs)
    await expect(syncing).rejects.toMatchObject({ code: 'UNAVAILABLE', details: { reason: 'too slow' } })
    expect(two.peer.penalties).toEqual([{ agent: toHex(bob.publicKey), misbehaviour: 'too-slow' }])
    await until(() => world.network.openStreams === 0)
  })

  it('with a genesis that is another’s is refused', async () => {
    const other = MemoryLog.create(bob)
    const { world, log } = answering(async (raw) => {
      await raw.receive()
      await raw.send({ type: 'entries', entries: [(await other.bytes(other.id)) as Uint8Array] })
    })
    const peer = world.peer(eve)
    world.network.connect(peer, world.network.find(bob.publicKey) as MemoryPeer)
    await expect(
      fetchGenesis({ network: peer, scheduler: world.scheduler, namespace: log.id, agent: bob.publicKey }),
    ).rejects.toMatchObject({ code: 'CORRUPT' })
    expect(peer.penalties).toEqual([{ agent: toHex(bob.publicKey), misbehaviour: 'bad-entry' }])
  })

  it('with rows that claim entries without end is given nothing for it', async () => {
    const { world, two, log } = answering(async (raw) => {
      await raw.receive()
      const rows = [{ chain: new Uint8Array(16), seq: Number.MAX_SAFE_INTEGER, hash: new Uint8Array(32) }]
      await raw.send({ type: 'vector', ...empty, rows })
      await raw.receive()
      await raw.send({ type: 'end', hash: new Uint8Array(32) })
      while ((await raw.receive())?.type === 'entries');
      await raw.send({ type: 'done', hash: new Uint8Array(32), stored: 0, unlinked: 0 })
    })
    expect(await world.sync(two, { log })).toMatchObject({ stored: 0, lacking: 1 })
  })
})

describe('100,000 entries to a slow reader', () => {
  it('are sent in bounded memory', async () => {
    const world = new SyncWorld()
    const [a, , c] = threeMembers()
    const one = world.add(a)
    const entry = (await a.bytes(a.put(600))) as Uint8Array
    let [given, read, ahead] = [0, 0, 0]
    a.entriesBeyond = async function* () {
      for (; given < 100_000; given++) {
        ahead = Math.max(ahead, given - read)
        yield entry
      }
    }
    const raw = await RawStream.open(world.peer(bob), owner.publicKey)
    await raw.send({
      type: 'hello',
      namespace: a.id,
      scope: { kind: 'namespace' },
      hash: c.vectorHash,
      presentation: undefined,
    })
    await raw.receive()
    await raw.send({ type: 'vector', ...empty, rows: [] })
    for (;;) {
      const message = await raw.receive()
      if (message?.type !== 'entries') break
      read += message.entries.length
      await new Promise<void>((resolve) => setImmediate(resolve))
    }
    expect(read).toBe(100_000)
    expect(ahead * entry.length).toBeLessThan(4 * maxSyncFrameBytes)
    raw.stream.abort(new Error('enough'))
    await one.service.close()
    expect(world.network.openStreams).toBe(0)
  })
})
