import fc from 'fast-check'
import { expect, test } from 'vitest'
import { seededBytes } from '../content/content.test-helper.ts'
import { isHubError } from '../errors.ts'
import {
  contentOf,
  leafOf,
  leavesThrough,
  makeContent,
  nextTurn,
  type TestContent,
  TestSwarm,
  until,
  wrongOf,
} from './transfer.test-helper.ts'

/** A few contents, made once: their leaves are half a MiB each. */
const contents: readonly TestContent[] = [
  await makeContent(['one'], 700),
  await makeContent(['a', 'b', 'a', 'a', 'c', 'b', 'a'], 4000),
  await contentOf(9),
  await contentOf(24, 'other'),
  await makeContent(Array.from({ length: 1030 }, (_, index) => `kind ${index < 1020 ? index % 3 : index}`)),
]

type Conduct = 'honest' | 'liar' | 'silent' | 'cutter' | 'refuser' | 'forgetful'

const providers = fc.array(
  fc.record({
    conduct: fc.constantFrom<Conduct>('honest', 'honest', 'honest', 'liar', 'silent', 'cutter', 'refuser', 'forgetful'),
    /** Which leaves it has: bit i for those whose number is i modulo 8. */
    has: fc.oneof(fc.constant(255), fc.integer({ min: 0, max: 255 })),
    hasNodes: fc.boolean(),
  }),
  { minLength: 1, maxLength: 6 },
)

const scenario = fc.record({
  content: fc.integer({ min: 0, max: contents.length - 1 }),
  held: fc.integer({ min: 0, max: 255 }),
  providers,
  /** Pieces in which bytes arrive. */
  pieces: fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 5 }),
  windowBytes: fc.constantFrom(1000, 70_000, 1_000_000),
  /** After how many turns the first provider's connection is lost, and comes back. */
  lostAfter: fc.option(fc.integer({ min: 0, max: 60 })),
  streams: fc.boolean(),
})

function part(content: TestContent, bits: number, withNodes: boolean): Map<string, Uint8Array<ArrayBuffer>> {
  const leaves = new Map(content.leaves.map((key, index) => [key, index]))
  return new Map(
    [...content.blocks].filter(([key]) => {
      const index = leaves.get(key)
      return index === undefined ? withNodes : (bits >> (index % 8)) % 2 === 1
    }),
  )
}

function addProvider(
  swarm: TestSwarm,
  content: TestContent,
  name: string,
  conduct: Conduct,
  has: number,
  hasNodes: boolean,
): void {
  if (conduct === 'honest') swarm.provider(name, content, part(content, has, hasNodes))
  else {
    swarm.impostor(name, async (stream, signal) => {
      for (let request = await stream.request(); request !== undefined; request = await stream.request()) {
        if (conduct === 'refuser') await stream.send({ kind: 'refuse', code: 'ACCESS_DENIED', message: 'no' })
        else if (conduct === 'silent') await until(() => signal.aborted)
        else if (conduct === 'forgetful') await stream.send({ kind: 'accept' }, { kind: 'end' })
        else if (conduct === 'liar') {
          await stream.answer(content, request, (index) => seededBytes(`lie ${index}`, leafOf(content, index).length))
        } else {
          await stream.send({ kind: 'accept' })
          throw new Error('cut')
        }
      }
    })
  }
}

test('whatever providers do, a fetch ends: with the same bytes if honest ones have them all, else with all it can know', async () => {
  await fc.assert(
    fc.asyncProperty(
      scenario,
      async ({ content: which, held, providers: given, pieces, windowBytes, lostAfter, streams }) => {
        const content = contents[which] as TestContent
        let turn = 0
        await using swarm = new TestSwarm({ windowBytes, pieceBytes: () => pieces[turn++ % pieces.length] as number })
        // Of what is held all leaves are there, or none is known of.
        for (const [key, bytes] of part(content, held, held > 100)) swarm.blocks.blocks.set(key, bytes)
        for (const [index, { conduct, has, hasNodes }] of given.entries()) {
          addProvider(swarm, content, `${index}`, conduct, has, hasNodes)
        }
        const honest = given.filter(({ conduct, hasNodes }) => conduct === 'honest' && hasNodes)
        const known = new Set(swarm.blocks.blocks.keys())
        for (const { has } of honest) for (const key of part(content, has, true).keys()) known.add(key)
        const isThere = [...content.blocks.keys()].every((key) => known.has(key))

        const transfer = swarm.open(content)
        const work = Promise.allSettled([
          transfer.whole(),
          streams ? leavesThrough(content, (digest) => transfer.reader.read(digest)) : Promise.resolve(undefined),
        ])
        if (lostAfter !== null) void lose(swarm, lostAfter)
        const [whole, leaves] = await swarm.during(work)
        if (isThere) {
          expect(whole).toMatchObject({ status: 'fulfilled' })
          expect(wrongOf(content, swarm.blocks)).toEqual([])
          if (streams) expect(leaves).toEqual({ status: 'fulfilled', value: content.leaves })
        }
        if (whole.status === 'rejected') expect(isHubError(whole.reason, 'UNAVAILABLE')).toBe(true)
        // Whatever came is what it should be.
        const foreign = [...swarm.blocks.blocks].filter(
          ([key, bytes]) => Buffer.compare(content.blocks.get(key) ?? new Uint8Array(0), bytes) !== 0,
        )
        expect(foreign).toEqual([])
        await transfer.close()
        await Promise.all(swarm.servers.map((server) => server.close()))
        await until(() => swarm.network.openStreams === 0)
        expect([swarm.blocks.openWriters, swarm.scheduler.pending]).toEqual([0, 0])
      },
    ),
    { numRuns: 30, interruptAfterTimeLimit: 60_000 },
  )
})

async function lose(swarm: TestSwarm, turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await nextTurn()
  const peer = swarm.network.find(swarm.providers[0] as Uint8Array)
  if (peer === undefined) return
  swarm.network.disconnect(peer, swarm.reader)
  swarm.network.connect(peer, swarm.reader)
}
