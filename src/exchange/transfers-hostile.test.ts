import { describe, expect, test } from 'vitest'
import type { MemoryPeer } from '../../test/support/memory-network.ts'
import { seededBytes } from '../content/content.test-helper.ts'
import { sha256, toHex } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { formatDid } from '../identity/index.ts'
import { askAgainMs, laneIdleMs, maxBlockBytes, progressMs } from '../limits.ts'
import type { BlockRequest } from './frames.ts'
import {
  type AskedStream,
  agentOf,
  blockOf,
  contentOf,
  leafOf,
  nextTurn,
  type TestContent,
  TestSwarm,
  until,
  wrongOf,
} from './transfer.test-helper.ts'
import type { TransferCounters } from './transfers.ts'

const content = await contentOf(12)
/** Enough for a bulk stream. */
const large = await contentOf(40, 'large')

/** One hostile provider that is asked first; it is on its own until it was asked, then an honest one comes. */
interface Attack {
  readonly what: string
  readonly answer: (stream: AskedStream, signal: AbortSignal, swarm: TestSwarm) => Promise<void>
  readonly counter: keyof TransferCounters
  readonly penalty: string | undefined
}

const everyRequest = async (stream: AskedStream, answer: (request: BlockRequest) => Promise<void>): Promise<void> => {
  for (let request = await stream.request(); request !== undefined; request = await stream.request()) {
    await answer(request)
  }
}

/** Says nothing and holds the stream open. */
const hold = async (signal: AbortSignal): Promise<void> => await until(() => signal.aborted)

const attacks: readonly Attack[] = [
  {
    what: 'sends bytes that are not the block',
    answer: (stream) =>
      everyRequest(stream, (request) =>
        stream.answer(content, request, (index) => seededBytes(`wrong ${index}`, leafOf(content, index).length)),
      ),
    counter: 'bad-block',
    penalty: 'bad-block',
  },
  {
    what: 'sends the bytes of another leaf of the same content',
    answer: (stream) =>
      everyRequest(stream, (request) =>
        stream.answer(content, request, (index) => leafOf(content, index === 0 ? 1 : index - 1)),
      ),
    counter: 'bad-block',
    penalty: 'bad-block',
  },
  {
    what: 'sends a block that is shorter than the tree says',
    answer: (stream) =>
      everyRequest(stream, (request) =>
        stream.answer(content, request, (index) => leafOf(content, index).slice(0, 100)),
      ),
    counter: 'bad-block',
    penalty: 'bad-block',
  },
  {
    what: 'sends another node than the root',
    answer: (stream) =>
      everyRequest(
        stream,
        async () => await stream.send({ kind: 'accept' }, { kind: 'node', bytes: seededBytes('x', 50) }),
      ),
    counter: 'bad-block',
    penalty: 'bad-block',
  },
  {
    what: 'sends one good leaf again and again without end',
    answer: (stream) =>
      everyRequest(stream, async () => {
        await stream.send({ kind: 'accept' }, { kind: 'node', bytes: blockOf(content, toHex(content.root.digest)) })
        for (;;) await stream.send({ kind: 'leaf', index: 0, bytes: leafOf(content, 0) })
      }),
    counter: 'bad-frame',
    penalty: 'bad-frame',
  },
  {
    what: 'accepts without end',
    answer: async (stream) => {
      for (;;) await stream.send({ kind: 'accept' })
    },
    counter: 'bad-frame',
    penalty: 'bad-frame',
  },
  {
    what: 'says without end that blocks are missing',
    answer: (stream) =>
      everyRequest(stream, async () => {
        await stream.send({ kind: 'accept' })
        for (;;) await stream.send({ kind: 'missing', run: { first: 0, count: 0xffff_ffff } })
      }),
    counter: 'bad-frame',
    penalty: 'bad-frame',
  },
  {
    what: 'sends a frame over the limit',
    answer: async ({ stream }, signal) => {
      const start = Buffer.alloc(5, 0x14)
      start.writeUInt32BE(5 + maxBlockBytes + 1)
      await stream.write(start)
      await hold(signal)
    },
    counter: 'bad-frame',
    penalty: 'bad-frame',
  },
  {
    what: 'sends a frame of no type',
    answer: async ({ stream }, signal) => {
      await stream.write(new Uint8Array([0, 0, 0, 1, 0x77]))
      await hold(signal)
    },
    counter: 'bad-frame',
    penalty: 'bad-frame',
  },
  {
    what: 'claims to have it and leaves leaves out',
    answer: (stream) =>
      everyRequest(stream, async (request) => {
        await stream.send({ kind: 'accept' })
        if (request.nodes) await stream.send({ kind: 'node', bytes: blockOf(content, toHex(content.root.digest)) })
        await stream.send({ kind: 'end' })
      }),
    counter: 'false-claim',
    penalty: 'false-claim',
  },
  {
    what: 'says nothing',
    answer: (_stream, signal) => hold(signal),
    counter: 'silent',
    penalty: 'too-slow',
  },
  {
    what: 'sends half of a frame and then nothing',
    answer: async ({ stream }, signal) => {
      await stream.write(new Uint8Array([0, 0]))
      await hold(signal)
    },
    counter: 'too-slow',
    penalty: 'too-slow',
  },
  {
    what: 'sends a few bytes a second',
    answer: (stream, signal, swarm) =>
      everyRequest(stream, async () => {
        await stream.send({ kind: 'accept' })
        const start = Buffer.alloc(9)
        start.writeUInt32BE(5 + 500_000)
        start[4] = 0x14
        await stream.stream.write(start)
        let at = swarm.scheduler.now()
        while (!signal.aborted) {
          if (swarm.scheduler.now() >= at + 1000) {
            at += 1000
            await stream.stream.write(new Uint8Array(1000))
          }
          await nextTurn()
        }
      }),
    counter: 'too-slow',
    penalty: 'too-slow',
  },
  {
    what: 'opens streams and ends its half at once',
    answer: async ({ stream }) => await stream.closeWrite(),
    counter: 'cut',
    penalty: undefined,
  },
  {
    what: 'cuts every stream in the middle of the first block',
    answer: (stream) =>
      everyRequest(stream, async () => {
        await stream.send({ kind: 'accept' })
        const bytes = Buffer.alloc(1000, 0x13)
        bytes.writeUInt32BE(50_000)
        await stream.stream.write(bytes)
        throw new Error('cut')
      }),
    counter: 'cut',
    penalty: undefined,
  },
  {
    what: 'refuses',
    answer: (stream) =>
      everyRequest(stream, () => stream.send({ kind: 'refuse', code: 'ACCESS_DENIED', message: 'no \u001b[2J' })),
    counter: 'refused',
    penalty: undefined,
  },
]

describe.each(attacks)('a provider that $what', ({ answer, counter, penalty }) => {
  const start = (swarm: TestSwarm): MemoryPeer =>
    swarm.impostor('hostile', (stream, signal) => answer(stream, signal, swarm))

  test('is counted, held against if it is hostile, and told of when nobody else has it', async () => {
    await using swarm = new TestSwarm()
    start(swarm)
    await using transfer = swarm.open(content)
    const failure = await swarm.during(transfer.whole().catch((error) => error))
    expect(isHubError(failure, 'UNAVAILABLE')).toBe(true)
    expect(failure.details.asked).toHaveLength(1)
    expect(failure.details.asked[0]).toMatch(`${formatDid(agentOf('hostile'))}: `)
    expect(failure.details.asked[0]).toMatch(/^[\x20-\x7e]+$/)
    await transfer.close()
    // A stream that ends early may be the connection's fault: there is a second one.
    expect(swarm.transfers.counters[counter]).toBe(counter === 'cut' ? 2 : 1)
    expect(swarm.reader.penalties.map(({ misbehaviour }) => misbehaviour)).toEqual(
      penalty === undefined ? [] : [penalty],
    )
    expect(foreignTo(content, swarm)).toEqual([])
    await until(() => swarm.network.openStreams === 0)
    expect([swarm.blocks.openWriters, swarm.scheduler.pending]).toEqual([0, 0])
  })

  test('does not keep the content from coming from another, and none of its wrong bytes is stored', async () => {
    await using swarm = new TestSwarm()
    start(swarm)
    const { server } = swarm.provider('honest', content)
    await using transfer = swarm.open(content)
    await swarm.during(transfer.whole())
    expect(wrongOf(content, swarm.blocks)).toEqual([])
    expect(foreignTo(content, swarm)).toEqual([])
    expect(server.counters.sentBytes).toBeLessThanOrEqual(2 * content.root.storedBytes)
  })

  test('is asked again at the next try, but not if it is hostile', async () => {
    await using swarm = new TestSwarm()
    start(swarm)
    await using transfer = swarm.open(content)
    const asked = async (): Promise<number> => {
      const failure = await swarm.during(transfer.whole().catch((error) => error))
      expect(failure.details.asked).toHaveLength(1)
      return swarm.transfers.counters[counter]
    }
    const before = await asked()
    const isHostile = ['bad-block', 'bad-frame', 'false-claim'].includes(counter)
    expect((await asked()) > before).toBe(!isHostile)
  })
})

test('a provider that lacks everything is told apart from one that is a stranger to us', async () => {
  await using swarm = new TestSwarm()
  swarm.provider('empty', content, new Map())
  const other = swarm.provider('other', content)
  swarm.members.clear()
  await using transfer = swarm.open(content)
  const failure = await swarm.during(transfer.whole().catch((error) => error))
  expect(failure.details.asked).toHaveLength(2)
  expect(failure.details.asked[0]).toMatch('refused: ACCESS_DENIED')
  expect(other.server.counters.sentBlocks).toBe(0)
  swarm.members.add(toHex(swarm.reader.agent))
  const again = await swarm.during(
    swarm
      .open({ ...content })
      .whole()
      .then(() => 'whole'),
  )
  expect(again).toBe('whole')
})

test('a provider that refused is asked again when it connects anew, while another takes its time', async () => {
  await using swarm = new TestSwarm()
  let asked = 0
  const peer = swarm.impostor('changes its mind', async (stream) => {
    asked += 1
    await everyRequest(stream, () => stream.send({ kind: 'refuse', code: 'ACCESS_DENIED', message: 'not now' }))
  })
  swarm.impostor('says nothing', (_, signal) => hold(signal))
  await using transfer = swarm.open(content)
  const failing = transfer.whole().catch(() => {})
  const turns = async (): Promise<void> => {
    for (let turn = 0; turn < 100; turn++) await nextTurn()
  }
  await turns()
  expect(asked).toBe(1)
  swarm.network.disconnect(peer, swarm.reader)
  swarm.network.connect(peer, swarm.reader)
  await turns()
  // What another is asked for is asked for elsewhere too once it is late.
  swarm.scheduler.advance(2 * askAgainMs)
  await turns()
  expect(asked).toBe(2)
  await transfer.close()
  await failing
})

test('a tree that no content has is the content’s fault and nobody else’s', async () => {
  await using swarm = new TestSwarm()
  const bomb = seededBytes('not a node', 400)
  const root = { ...content.root, digest: sha256(bomb) }
  const bad: TestContent = { ...content, root, blocks: new Map([[toHex(root.digest), bomb]]) }
  swarm.impostor('a', (stream) => everyRequest(stream, (request) => stream.answer(bad, request, () => undefined)))
  await using transfer = swarm.open(bad)
  const failure = await swarm.during(transfer.whole().catch((error) => error))
  expect(isHubError(failure, 'CORRUPT')).toBe(true)
  expect(swarm.transfers.counters.broken).toBe(1)
  expect(swarm.reader.penalties).toEqual([])
  expect(swarm.blocks.blocks.size).toBe(0)
})

test('a provider that is slower than the least progress is replaced after that time', async () => {
  await using swarm = new TestSwarm()
  const began = swarm.scheduler.now()
  let ended = 0
  swarm.impostor('slow', async (stream, signal) => {
    await stream.request()
    await stream.send({ kind: 'accept' })
    await stream.stream.write(Buffer.concat([Buffer.from([0, 0, 200, 0, 0x13]), new Uint8Array(100)]))
    await hold(signal)
    ended = swarm.scheduler.now()
  })
  await using transfer = swarm.open(content)
  await expect(swarm.during(transfer.whole())).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  await until(() => ended > 0)
  expect(swarm.transfers.counters['too-slow']).toBe(1)
  expect(ended - began).toBeGreaterThanOrEqual(progressMs)
  expect(ended - began).toBeLessThan(progressMs + 2_000)
})

describe('a provider of much, which has bulk streams,', () => {
  const leaf = (index: number) => leafOf(large, index)

  test('that ends its first stream in the middle once the second is there has cut it', async () => {
    await using swarm = new TestSwarm()
    let streams = 0
    swarm.impostor(
      'a',
      async (stream) => {
        if (++streams > 1) return await everyRequest(stream, (request) => stream.answer(large, request, leaf))
        await stream.answer(large, (await stream.request()) as BlockRequest, leaf)
        await until(() => streams === 2)
        await stream.stream.closeWrite()
        await stream.request()
      },
      { bulk: true },
    )
    await using transfer = swarm.open(large)
    const began = swarm.scheduler.now()
    await swarm.during(transfer.whole())
    expect(wrongOf(large, swarm.blocks)).toEqual([])
    expect(swarm.transfers.counters.cut).toBe(1)
    expect(swarm.scheduler.now() - began).toBeLessThan(laneIdleMs)
    expect(swarm.reader.penalties).toEqual([])
  })

  test('that is late to take credit on the first stream has not cut the second', async () => {
    await using swarm = new TestSwarm({ windowBytes: 16 })
    let streams = 0
    let moved = false
    swarm.impostor(
      'a',
      async (stream) => {
        if (++streams > 1) {
          return await everyRequest(stream, async (request) => {
            moved = true
            await stream.answer(large, request, leaf)
          })
        }
        await stream.answer(large, (await stream.request()) as BlockRequest, leaf)
        const asked = [await stream.request(), await stream.request()]
        for (const request of asked) await stream.answer(large, request as BlockRequest, leaf)
        await until(() => moved)
        expect(await stream.request()).toBe(undefined)
      },
      { bulk: true },
    )
    await using transfer = swarm.open(large)
    await swarm.during(transfer.whole())
    expect(wrongOf(large, swarm.blocks)).toEqual([])
    expect([swarm.transfers.counters.cut, streams]).toEqual([0, 2])
  })
})

function foreignTo(known: TestContent, swarm: TestSwarm): string[] {
  return [...swarm.blocks.blocks]
    .filter(([key, bytes]) => toHex(sha256(bytes)) !== key || !known.blocks.has(key))
    .map(([key]) => key)
}
