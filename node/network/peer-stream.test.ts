import { createHash, randomBytes } from 'node:crypto'
import type { Stream } from '@libp2p/interface'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { PeerStream } from '../../src/exchange/peer-network.ts'
import { streamLingerBytes, streamQueueBytes, streamWindowBytes } from '../../src/limits.ts'
import { eventually, Nodes, type TestNode } from './test-support/nodes.ts'

const MiB = 1024 * 1024
const protocol = '/test/1'

let nodes: Nodes
let a: TestNode
let b: TestNode
let end: PromiseWithResolvers<void>

beforeEach(async () => {
  end = Promise.withResolvers()
  nodes = new Nodes()
  ;({ a, b } = await nodes.pair())
})

afterEach(async () => {
  end.resolve()
  await nodes[Symbol.asyncDispose]()
})

/** A stream from a to b, and b's end of it, which is open until the test ends. */
async function bothEnds(): Promise<{ here: PeerStream; there: PeerStream; cut: AbortSignal }> {
  const { promise, resolve } = Promise.withResolvers<{ there: PeerStream; cut: AbortSignal }>()
  const stop = b.network.handle(protocol, async (there, cut) => {
    resolve({ there, cut })
    await end.promise
  })
  const here = await a.network.open(b.agent, protocol)
  const other = await promise
  stop()
  return { here, ...other }
}

async function readAll(stream: PeerStream): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for (let part = await stream.read(); part !== undefined; part = await stream.read()) parts.push(part)
  return Buffer.concat(parts)
}

async function readExactly(stream: PeerStream, bytes: number): Promise<number> {
  let got = 0
  while (got < bytes) got += (await stream.read())?.length ?? Number.POSITIVE_INFINITY
  return got
}

test('each end knows the other’s agent, and bytes arrive in order both ways', async () => {
  const { here, there } = await bothEnds()
  expect(here.agent).toEqual(b.agent)
  expect(there.agent).toEqual(a.agent)
  const [out, back] = [randomBytes(3 * MiB), randomBytes(2 * MiB)]
  const sent = Promise.all([
    here.write(out).then(() => here.closeWrite()),
    there.write(back).then(() => there.closeWrite()),
  ])
  const [backRead, outRead] = await Promise.all([readAll(here), readAll(there)])
  await sent
  expect(outRead.equals(out)).toBe(true)
  expect(backRead.equals(back)).toBe(true)
})

test('writes made at once are not mixed', async () => {
  const { here, there } = await bothEnds()
  const parts = Array.from({ length: 8 }, (_, at) => Buffer.alloc(MiB, at))
  const sent = Promise.all(parts.map((part) => here.write(part))).then(() => here.closeWrite())
  expect((await readAll(there)).equals(Buffer.concat(parts))).toBe(true)
  await sent
})

test('short pieces that nobody has read yet are held together, each a byte of its own', async () => {
  const { here, there } = await bothEnds()
  const bytes = randomBytes(20_000)
  const sent = Array.from(bytes, (byte) => here.write(Uint8Array.of(byte)))
  await Promise.all(sent)
  await here.closeWrite()
  // By then all has come, on one connection.
  await a.network.ping(b.agent)
  const parts: Uint8Array[] = []
  for (let part = await there.read(); part !== undefined; part = await there.read()) parts.push(part)
  expect(Buffer.concat(parts).equals(bytes)).toBe(true)
  expect(parts.length).toBeLessThan(10)
})

test('a half that has ended leaves the other open', async () => {
  const { here, there } = await bothEnds()
  await here.write(Buffer.from('question'))
  await here.closeWrite()
  await here.closeWrite()
  expect((await readAll(there)).toString()).toBe('question')
  expect(await there.read()).toBeUndefined()
  await there.write(Buffer.from('answer'))
  await there.closeWrite()
  expect((await readAll(here)).toString()).toBe('answer')
  await expect(here.write(Buffer.from('more'))).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    details: { reason: 'closed' },
  })
})

test('what was sent is there for a late reader, after both halves have ended', async () => {
  const { here, there } = await bothEnds()
  // Enough that the reader's side has to stop the stream, with some under way.
  const bytes = randomBytes(streamQueueBytes + 100 * 1024)
  await here.write(bytes)
  await Promise.all([here.closeWrite(), there.closeWrite()])
  expect(await here.read()).toBeUndefined()
  const [connection] = b.network.libp2p?.getConnections() ?? []
  await eventually(() => expect(connection?.streams.some((stream) => stream.protocol === protocol)).toBe(false))
  expect((await readAll(there)).equals(bytes)).toBe(true)
})

test('all is delivered of a stream that was written and closed at once', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const got: string[] = []
  b.network.handle(protocol, async (stream) => {
    got.push((await readAll(stream)).toString())
    if (got.length === 30) resolve()
  })
  await Promise.all(
    Array.from({ length: 30 }, async (_, at) => {
      const stream = await a.network.open(b.agent, protocol)
      await stream.write(Buffer.from(`${at}`))
      await stream.close()
    }),
  )
  await promise
  expect(got.map(Number).sort((x, y) => x - y)).toEqual(Array.from({ length: 30 }, (_, at) => at))
})

test('whoever closes a stream after it gave up a write that nobody takes is through as soon as that is cut', async () => {
  const { here } = await bothEnds()
  const giveUp = new AbortController()
  const written = Promise.allSettled([here.write(randomBytes(32 * MiB), { signal: giveUp.signal })])
  const [stream, other] = [a, b].map(({ network }) => {
    const [connection] = network.libp2p?.getConnections() ?? []
    return connection?.streams.find((one) => one.protocol === protocol) ?? expect.fail('it is open')
  }) as [Stream, Stream]
  await eventually(() => {
    expect([stream.writableNeedsDrain, other.readStatus]).toEqual([true, 'paused'])
    expect(stream.writeBufferLength).toBeGreaterThan(0)
  })
  giveUp.abort(new Error('it is not needed'))
  await written
  const closing = here.close()
  await eventually(() => expect(stream.writeStatus).toBe('closing'))
  here.abort(new Error('nobody takes it'))
  await closing
})

describe('a reader that stops for a while', () => {
  test('holds its writer, in bounded memory, and misses nothing of 50 MB', async () => {
    const { here, there } = await bothEnds()
    const total = 48 * MiB
    const [sentHash, gotHash] = [createHash('sha256'), createHash('sha256')]
    let written = 0
    const writing = (async () => {
      while (written < total) {
        const part = randomBytes(MiB)
        sentHash.update(part)
        await here.write(part)
        written += part.length
      }
      await here.closeWrite()
    })()
    let got = 0
    const take = async (upTo: number) => {
      while (got < upTo) {
        const part = (await there.read()) as Uint8Array
        gotHash.update(part)
        got += part.length
      }
    }
    // Fast at first, so that yamux opens its window as far as it goes.
    for (const stopAt of [12 * MiB, 24 * MiB]) {
      await take(stopAt)
      await quiet(() => written)
      const [connection] = b.network.libp2p?.getConnections() ?? []
      const held = connection?.streams.find((stream) => stream.protocol === protocol)?.readBufferLength
      expect(held).toBeGreaterThan(0)
      expect(held).toBeLessThanOrEqual(streamWindowBytes)
      // What is under way: the window, the reader's queue, and what was dispatched as it stopped.
      expect(written - got).toBeLessThanOrEqual(2 * streamWindowBytes + streamQueueBytes + 2 * MiB)
    }
    await take(total)
    expect(await there.read()).toBeUndefined()
    await writing
    expect(gotHash.digest('hex')).toBe(sentHash.digest('hex'))
  })

  test('holds up no other stream of the connection', async () => {
    const { here } = await bothEnds()
    let written = 0
    const stuck = (async () => {
      for (;;) {
        await here.write(Buffer.alloc(MiB))
        written += MiB
      }
    })().catch((error: unknown) => error)
    await quiet(() => written)
    b.network.handle('/echo/1', async (stream) => {
      for (let part = await stream.read(); part !== undefined; part = await stream.read()) await stream.write(part)
    })
    const other = await a.network.open(b.agent, '/echo/1')
    const bytes = randomBytes(4 * MiB)
    const sent = other.write(bytes).then(() => other.closeWrite())
    expect((await readAll(other)).equals(bytes)).toBe(true)
    await sent
    here.abort(new Error('enough'))
    expect(await stuck).toMatchObject({ code: 'UNAVAILABLE', details: { reason: 'aborted' } })
  })

  /** Resolves when a count has stopped growing. */
  async function quiet(count: () => number): Promise<void> {
    let before = -1
    await vi.waitFor(
      () => {
        const now = count()
        const still = now === before
        before = now
        expect(still).toBe(true)
      },
      { interval: 500, timeout: 60_000 },
    )
  }
})

describe('a stream that is cut', () => {
  test('ends both sides’ calls, says by whom, and tells the handler', async () => {
    const { here, there, cut } = await bothEnds()
    const pending = [here.read(), there.read()].map((call) => call.catch((error: unknown) => error))
    here.abort(new Error('no more'))
    here.abort(new Error('again'))
    expect(await Promise.all(pending)).toMatchObject([
      { code: 'UNAVAILABLE', details: { reason: 'aborted' } },
      { code: 'UNAVAILABLE', details: { reason: 'reset' } },
    ])
    await eventually(() => expect(cut.aborted).toBe(true))
    await expect(there.write(Buffer.from('x'))).rejects.toMatchObject({ details: { reason: 'reset' } })
    await expect(here.closeWrite()).rejects.toMatchObject({ details: { reason: 'aborted' } })
    await here.close()
    await there.close()
  })

  test('still gives what had arrived', async () => {
    const { here, there } = await bothEnds()
    await here.write(Buffer.from('last words'))
    await there.write(Buffer.from('heard'))
    await here.read()
    here.abort(new Error('gone'))
    await eventually(() =>
      expect(b.network.libp2p?.getConnections()[0]?.streams.some((s) => s.protocol === protocol)).toBe(false),
    )
    expect(Buffer.from((await there.read()) ?? []).toString()).toBe('last words')
    await expect(there.read()).rejects.toMatchObject({ code: 'UNAVAILABLE', details: { reason: 'reset' } })
  })

  test('with its connection is UNAVAILABLE, never an end', async () => {
    const { here, there } = await bothEnds()
    await here.write(Buffer.alloc(1_000))
    await readExactly(there, 1_000)
    const pending = [here.read(), there.read()].map((call) => call.catch((error: unknown) => error))
    for (const connection of b.network.libp2p?.getConnections() ?? []) connection.abort(new Error('cable pulled'))
    expect(await Promise.all(pending)).toMatchObject([{ code: 'UNAVAILABLE' }, { code: 'UNAVAILABLE' }])
  })

  test('because the other node closed is UNAVAILABLE, never an end', async () => {
    const { here, there } = await bothEnds()
    await there.write(Buffer.from('first half'))
    await here.read()
    const pending = here.read().catch((error: unknown) => error)
    await b.network.close()
    expect(await pending).toMatchObject({ code: 'UNAVAILABLE' })
  })

  test('by a handler that failed is reset, and by one that returned ends', async () => {
    b.network.handle('/fails/1', () => Promise.reject(new Error('a bug')))
    b.network.handle('/returns/1', (stream) => stream.write(Buffer.from('done')))
    const fails = await a.network.open(b.agent, '/fails/1')
    await expect(fails.read()).rejects.toMatchObject({ code: 'UNAVAILABLE', details: { reason: 'reset' } })
    const returns = await a.network.open(b.agent, '/returns/1')
    expect((await readAll(returns)).toString()).toBe('done')
  })
})

test('a signal ends the call and leaves the stream', async () => {
  const { here, there } = await bothEnds()
  const stop = new AbortController()
  const reading = here.read({ signal: stop.signal })
  stop.abort(new Error('changed my mind'))
  await expect(reading).rejects.toThrow('changed my mind')
  await expect(here.write(Buffer.from('x'), { signal: stop.signal })).rejects.toThrow('changed my mind')
  await there.write(Buffer.from('still here'))
  expect(Buffer.from((await here.read()) ?? []).toString()).toBe('still here')
})

test('a closed stream takes no more than a little from a side that goes on, then cuts it', async () => {
  const { here, there } = await bothEnds()
  await Promise.all([here.close(), here.close()])
  await expect(here.read()).rejects.toMatchObject({ code: 'UNAVAILABLE', details: { reason: 'closed' } })
  expect(await there.read()).toBeUndefined()
  let written = 0
  const goOn = async () => {
    for (;;) {
      await there.write(Buffer.alloc(64 * 1024))
      written += 64 * 1024
    }
  }
  await expect(goOn()).rejects.toMatchObject({ code: 'UNAVAILABLE', details: { reason: 'reset' } })
  expect(written).toBeLessThanOrEqual(streamLingerBytes + 2 * streamWindowBytes)
})
