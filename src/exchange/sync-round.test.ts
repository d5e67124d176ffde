import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { artifactIdOf, toHex } from '../encoding/index.ts'
import { blockRefusalMs, maxEntryBytes, streamWindowBytes, syncBatchBytes, syncFrameTimeoutMs } from '../limits.ts'
import { decodeEntry } from '../log/index.ts'
import { MemoryLog } from './memory-log.test-helper.ts'
import { joinNamespace } from './replicator-join.ts'
import { fetchGenesis } from './sync-run.ts'
import { ann, bob, eve, owner, RawStream, SyncWorld, threeMembers } from './sync-world.test-helper.ts'
import { until } from './transfer.test-helper.ts'

describe('a round', () => {
  it('leaves both sides with what either had', async () => {
    const world = new SyncWorld()
    const [a, b] = threeMembers()
    const [one, two] = [world.add(a), world.add(b)]
    a.putMany(300)
    b.putMany(200)
    const outcome = await world.sync(one, two)
    expect(outcome).toMatchObject({ result: 'exchanged', stored: 200, sent: 300, unlinked: 0, known: 0, lacking: 0 })
    expect(a.hashes).toEqual(b.hashes)
    expect(outcome.theirHash).toEqual(a.vectorHash)
    expect(world.network.openStreams).toBe(0)
    expect(two.peer.handlerErrors).toEqual([])
    expect(world.scheduler.pending).toBe(0)
  })

  it('takes under 1 KB and one round trip when both have the same', async () => {
    const world = new SyncWorld()
    const [a, b] = threeMembers()
    const outcome = await world.sync(world.add(a), world.add(b))
    expect(outcome.result).toBe('same')
    expect(outcome.sentBytes + outcome.receivedBytes).toBeLessThan(150)
    expect(b.seen.batches + a.seen.batches).toBe(0)
  })

  it('gives a new member, who has the genesis from it, everything', async () => {
    const world = new SyncWorld()
    const [a] = threeMembers()
    a.putMany(50)
    const one = world.add(a)
    const { log, outcome } = await joinNamespace({
      network: world.peer(ann),
      scheduler: world.scheduler,
      self: ann.publicKey,
      id: a.id,
      providers: [
        { agent: bob.publicKey, addresses: [] },
        { agent: owner.publicKey, addresses: [] },
      ],
      create: async (genesis) => MemoryLog.join(ann, a.id, genesis),
    })
    expect(outcome).toMatchObject({ result: 'exchanged', stored: 52, sent: 0 })
    expect(log.hashes).toEqual(a.hashes)
    expect(one.peer.penalties).toEqual([])
  })

  it('with one who steadily takes in what was sent at once, and needs long for it, comes to its end', async () => {
    const world = new SyncWorld({ windowBytes: 2 * streamWindowBytes })
    const [a, b] = threeMembers()
    const batches = 100
    a.putMany(batches, maxEntryBytes - 1_000)
    const [one, two] = [world.add(a), world.add(b)]
    let isAllSent = false
    const entriesBeyond = a.entriesBeyond.bind(a)
    a.entriesBeyond = async function* (...args) {
      yield* entriesBeyond(...args)
      isAllSent = true
    }
    b.beforeStore = async () => {
      await until(() => isAllSent)
      world.scheduler.advance(900)
    }
    expect(await world.sync(two, one)).toMatchObject({ result: 'exchanged', stored: batches })
    expect(b.seen.batches * 900).toBeGreaterThan(2 * syncFrameTimeoutMs)
    expect([...one.peer.penalties, ...two.peer.penalties]).toEqual([])
  })

  it('brings the missing bodies of entries that both have', async () => {
    const world = new SyncWorld()
    const [a, b] = threeMembers()
    const hashes = a.putMany(5)
    const [one, two] = [world.add(a), world.add(b)]
    await world.sync(two, one)
    b.strip(hashes[1] as Uint8Array)
    b.strip(hashes[4] as Uint8Array)
    expect(await world.sync(two, one)).toMatchObject({ result: 'same' })
    expect(await world.sync(two, one, { wants: true })).toMatchObject({ result: 'exchanged', stored: 2, sent: 0 })
    expect([...b.incomplete()]).toEqual([])
  })

  it('about one artifact moves its entries and those that say who may do what, and no other', async () => {
    const world = new SyncWorld()
    const [a, b] = threeMembers()
    const salt = new Uint8Array(16).fill(3)
    const artifact = artifactIdOf(a.id, salt)
    const wanted = [a.put(60, salt), a.putMany(30) && a.grant(eve, 'reader'), a.put(60, salt)].map(toHex)
    b.needsLinks = false
    const before = b.hashes
    const [one, two] = [world.add(a), world.add(b)]
    const scope = { kind: 'artifact', artifact } as const
    expect(await world.sync(two, one, { scope })).toMatchObject({ result: 'exchanged', stored: 3, sent: 0 })
    expect(new Set(b.hashes)).toEqual(new Set([...before, ...wanted]))
    a.putMany(20)
    expect(await world.sync(two, one, { scope })).toMatchObject({ result: 'same' })
    expect(b.seen.entries).toBe(3)
  })

  it('sends nothing to an agent that its log does not know but the way to what makes it known', async () => {
    const world = new SyncWorld()
    const [a, b] = threeMembers()
    const [one, two] = [world.add(a), world.add(b)]
    a.grant(eve, 'writer')
    const c = a.copy(eve)
    const three = world.add(c)
    c.putMany(3)
    b.putMany(4)
    // Bob has not heard of Eve: he does not serve her.
    const asking = world.sync(three, two)
    expect(await world.scheduler.until(asking)).toMatchObject({ result: 'denied', stored: 0, sent: 0 })
    // Asked by him, she brings the grant, and then he does.
    expect(await world.sync(two, three)).toMatchObject({ result: 'exchanged', stored: 4, sent: 4 })
    expect(b.hashes).toEqual(c.hashes)
    expect(await world.sync(three, one)).toMatchObject({ result: 'exchanged', stored: 0, sent: 7 })
  })

  it('with a stranger who claims to be a member tells it nothing of this log', async () => {
    const world = new SyncWorld()
    const [a, b] = threeMembers()
    b.putMany(4)
    const two = world.add(b)
    // Eve knows the log as it once was, and serves whoever asks.
    const stolen = a.copy(eve)
    world.peer(eve).handle('/artifact-hub/sync/1', async (stream) => {
      const raw = new RawStream(stream)
      expect(await raw.receive()).toMatchObject({ type: 'hello', hash: new Uint8Array(32) })
      await raw.send({ type: 'vector', same: false, rows: [...stolen.vector()], ids: [], wants: [], more: false })
      expect(await raw.receive()).toMatchObject({ rows: [...stolen.vector()], wants: [] })
      await raw.send({ type: 'end', hash: stolen.vectorHash })
      expect(await raw.receive()).toEqual({ type: 'end', hash: new Uint8Array(32) })
      await raw.send({ type: 'done', hash: stolen.vectorHash, stored: 0, unlinked: 0 })
    })
    expect(await world.sync(two, { log: stolen })).toMatchObject({ sent: 0, stored: 0 })
  })

  it('answers a stranger with the same bytes whether or not there is such a namespace', async () => {
    const world = new SyncWorld()
    const [a] = threeMembers()
    const one = world.add(a)
    const stranger = world.peer(eve)
    const denied = { type: 'denied', reason: undefined, evidence: [] }
    const answers = []
    for (const namespace of [a.id, new Uint8Array(32)]) {
      for (const hash of [undefined, a.vectorHash]) {
        for (const scope of [
          { kind: 'namespace' },
          { kind: 'auth' },
          { kind: 'artifact', artifact: new Uint8Array(20) },
        ] as const) {
          const raw = await RawStream.open(stranger, owner.publicKey)
          await raw.send({ type: 'hello', namespace, scope, hash, presentation: undefined })
          answers.push(await world.scheduler.until(raw.receive()), await raw.receive())
        }
      }
      const push = await RawStream.open(stranger, owner.publicKey)
      await push.send({ type: 'push', namespace, entries: [new Uint8Array(1)] })
      answers.push(await world.scheduler.until(push.receive()), undefined)
      await push.stream.close()
    }
    expect(answers).toEqual(Array.from({ length: 14 }, () => [denied, undefined]).flat())
    expect(one.service.counters.denied).toBe(14)
    const { scheduler } = world
    const fetching = fetchGenesis({ network: stranger, scheduler, namespace: a.id, agent: owner.publicKey })
    await expect(scheduler.until(fetching)).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
  })

  it('answers a stranger after one time, whether or not there is such a namespace', async () => {
    const world = new SyncWorld()
    const [a] = threeMembers()
    world.add(a)
    const stranger = world.peer(eve)
    const settled = async () => {
      for (let turn = 0; turn < 60; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
    }
    for (const namespace of [a.id, new Uint8Array(32)]) {
      const raw = await RawStream.open(stranger, owner.publicKey)
      const scope = { kind: 'namespace' } as const
      await raw.send({ type: 'hello', namespace, scope, hash: a.vectorHash, presentation: undefined })
      let answer: string | undefined
      void raw.receive().then((message) => {
        answer = message?.type
      })
      await settled()
      world.scheduler.advance(blockRefusalMs - 1)
      await settled()
      expect(answer).toBeUndefined()
      world.scheduler.advance(1)
      await settled()
      expect(answer).toBe('denied')
      await raw.stream.close()
    }
  })

  it('joining says who was asked and what each answered', async () => {
    const world = new SyncWorld()
    const [a] = threeMembers()
    world.add(a)
    const joining = (providers: Uint8Array[]) =>
      joinNamespace({
        network: world.peer(eve),
        scheduler: world.scheduler,
        self: eve.publicKey,
        id: a.id,
        providers: providers.map((agent) => ({ agent, addresses: [] })),
        create: async () => a,
      })
    await expect(world.scheduler.until(joining([bob.publicKey, owner.publicKey]))).rejects.toMatchObject({
      code: 'ACCESS_DENIED',
      details: { asked: [expect.stringContaining('UNAVAILABLE'), expect.stringContaining('ACCESS_DENIED')] },
    })
    await expect(joining([bob.publicKey])).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })

  it('that is aborted stops at once and closes its stream', async () => {
    const world = new SyncWorld()
    const [a, b] = threeMembers()
    const [one, two] = [world.add(a), world.add(b)]
    b.putMany(2_000)
    const abort = new AbortController()
    a.beforeStore = async () => abort.abort(new Error('enough'))
    await expect(world.sync(one, two, { signal: abort.signal })).rejects.toThrow('enough')
    await two.service.close()
    expect(world.network.openStreams).toBe(0)
    expect(a.size).toBe(3)
    expect(world.scheduler.pending).toBe(0)
  })

  it('with a fork needs another round at most', async () => {
    const world = new SyncWorld()
    const [a, b] = threeMembers()
    const [one, two] = [world.add(a), world.add(b)]
    b.putMany(20)
    await world.sync(one, two)
    // A copy of Bob's own log, restored elsewhere, goes on in the same chain.
    const restored = b.copy()
    b.putMany(5)
    restored.putMany(9)
    await world.sync(one, two)
    world.network.leave(two.peer)
    const three = world.add(restored)
    const first = await world.sync(one, three)
    const second = first.lacking + first.unlinked === 0 ? undefined : await world.sync(one, three)
    expect(a.hashes).toEqual(restored.hashes)
    expect(a.size).toBe(3 + 20 + 5 + 9)
    expect(second?.lacking ?? 0).toBe(0)
  })

  it('counts what is missing here while it comes', async () => {
    const world = new SyncWorld()
    const [a, b] = threeMembers()
    const [one, two] = [world.add(a), world.add(b)]
    b.putMany(2_000)
    const behind: number[] = []
    await world.sync(one, two, { onBehind: (entries) => behind.push(entries) })
    expect(behind[0]).toBe(2_000)
    expect(behind.at(-1)).toBe(0)
    expect(behind.length).toBeGreaterThan(2)
  })
})

describe('rounds between random logs, cut anywhere', () => {
  it('lose nothing that was committed, and end with everything on both sides', async () => {
    const steps = fc.array(
      fc.record({
        action: fc.constantFrom('write', 'write', 'fork', 'sync', 'sync'),
        from: fc.nat(2),
        to: fc.nat(2),
        amount: fc.integer({ min: 1, max: 15 }),
        bodyBytes: fc.constantFrom(1, 60, 9_000),
        cutAfter: fc.option(fc.integer({ min: 1, max: 60 }), { nil: undefined }),
      }),
      { maxLength: 14 },
    )
    await fc.assert(
      fc.asyncProperty(steps, fc.integer({ min: 64, max: 5_000 }), async (plan, pieceBytes) => {
        let readsLeft: number | undefined
        let cut = (): void => {}
        const world = new SyncWorld({
          windowBytes: 20_000,
          pieceBytes: () => {
            if (readsLeft !== undefined && --readsLeft === 0) cut()
            return pieceBytes
          },
        })
        const nodes = threeMembers().map((log) => world.add(log))
        for (const { action, from, to, amount, bodyBytes, cutAfter } of plan) {
          const [one, two] = [nodes[from], nodes[to]] as [(typeof nodes)[0], (typeof nodes)[0]]
          if (action === 'write') one.log.putMany(amount, bodyBytes)
          if (action === 'fork') {
            const twin = one.log.copy()
            twin.putMany((amount % 5) + 1)
            const batch: Uint8Array[] = []
            for await (const entry of twin.entriesBeyond([...two.log.vector()])) batch.push(entry)
            if (from !== to) await two.log.receive(batch)
          }
          if (action !== 'sync' || from === to) continue
          const before = [one.log.hashes, two.log.hashes]
          readsLeft = cutAfter
          cut = () => world.network.disconnect(one.peer, two.peer)
          await world.sync(one, two).catch((error) => expect(error).toMatchObject({ code: 'UNAVAILABLE' }))
          readsLeft = undefined
          world.network.connect(one.peer, two.peer)
          for (const [at, log] of [one.log, two.log].entries())
            expect(new Set(log.hashes).isSupersetOf(new Set(before[at]))).toBe(true)
        }
        const all = new Set(nodes.flatMap(({ log }) => log.hashes))
        for (let turn = 0; turn < 4; turn++) {
          for (const one of nodes) for (const two of nodes) if (one !== two) await world.sync(one, two)
        }
        for (const { log, peer } of nodes) {
          expect(new Set(log.hashes)).toEqual(all)
          expect(peer.penalties).toEqual([])
        }
        expect(await world.sync(nodes[0] as never, nodes[2] as never)).toMatchObject({ result: 'same' })
        expect(world.scheduler.pending).toBe(0)
      }),
      { numRuns: 25 },
    )
  })

  it('never commit more than a batch at once, and send no entry twice without a fork', async () => {
    const world = new SyncWorld()
    const [a, b] = threeMembers()
    const [one, two] = [world.add(a), world.add(b)]
    a.putMany(1_500, 700)
    expect(await world.sync(two, one)).toMatchObject({ stored: 1_500, known: 0 })
    expect(b.seen.entries).toBe(1_500)
    expect(b.seen.largestBatch).toBeLessThan(syncBatchBytes / 700)
    expect(b.seen.largestBatch).toBeGreaterThan(syncBatchBytes / 2_000)
    expect(decodeEntry((await b.bytes(b.id)) as Uint8Array).header.kind).toBe('genesis')
  })

  it('bring entries as large as they may be, each alone', async () => {
    const world = new SyncWorld()
    const [a, b] = threeMembers()
    const [one, two] = [world.add(a), world.add(b)]
    const hashes = a.putMany(3, maxEntryBytes - 1_000)
    expect((await a.bytes(hashes[0] as Uint8Array))?.length).toBeGreaterThan(maxEntryBytes - 600)
    expect(await world.sync(two, one)).toMatchObject({ stored: 3, known: 0 })
    expect(b.seen).toMatchObject({ batches: 3, largestBatch: 1 })
  })
})
