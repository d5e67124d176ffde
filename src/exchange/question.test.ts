import { expect, test } from 'vitest'
import { memoryInUse } from '../../test/support/memory-in-use.ts'
import { ManualScheduler, MemoryNetwork } from '../../test/support/memory-network.ts'
import type { PeerNetwork, PeerStream, StreamHandler } from './peer-network.ts'
import { framed } from './question.test-helper.ts'
import { answerQuestions, askQuestion, type QuestionProtocol } from './question.ts'

const protocol: QuestionProtocol = { name: '/test/1', version: 1, maxQuestionBytes: 100_000, maxAnswerBytes: 100_000 }
const [one, other] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]

/** A stream that gives these, and takes an answer. */
function streamOf(read: () => Promise<Uint8Array | undefined>): PeerStream {
  return {
    agent: other,
    read,
    write: async () => {},
    closeWrite: async () => {},
    close: async () => {},
    abort: () => {},
  }
}

/** Answers one stream. Gives what was asked. */
async function askedOf(stream: PeerStream): Promise<unknown> {
  const handlers: StreamHandler[] = []
  const network = new MemoryNetwork().join(one)
  network.handle = (_, handler) => {
    handlers.push(handler)
    return () => {}
  }
  const asked: unknown[] = []
  const answer = async (question: unknown) => {
    asked.push(question)
    return { v: 1 }
  }
  const scheduler = new ManualScheduler()
  await using _server = answerQuestions(protocol, { network, scheduler, maxOfAgent: 1, maxInAll: 1, answer })
  await handlers[0]?.(stream, new AbortController().signal)
  return asked[0]
}

test('of a question no more is held than it is long, however short the pieces in which it comes', async () => {
  const question = { v: 1, all: new Uint8Array(60_000).fill(1) }
  const bytes = framed(question)
  const before = memoryInUse()
  let held = 0
  let at = 0
  const stream = streamOf(async () => {
    if (at === bytes.length - 1) held = memoryInUse() - before
    return bytes.subarray(at, ++at)
  })
  expect(await askedOf(stream)).toEqual(question)
  expect(held).toBeLessThan(20 * bytes.length)
})

test.each([
  ['too long a question', 'TOO_LARGE', Uint8Array.of(0, 1, 0x86, 0xa1)],
  ['no question', 'CORRUPT', Uint8Array.of(0, 0, 0, 0)],
  ['more after the question', 'CORRUPT', new Uint8Array([...framed({ v: 1 }), 0])],
  ['more after none', 'CORRUPT', Uint8Array.of(0, 0, 0, 0, 0)],
  ['half of a question', 'UNAVAILABLE', framed({ v: 1 }).subarray(0, -1)],
  ['half of a length', 'UNAVAILABLE', Uint8Array.of(0, 0)],
  ['another version', 'UNSUPPORTED_FORMAT', framed({ v: 2 })],
])('%s is not answered', async (_what, code, bytes) => {
  const pieces = [bytes]
  await expect(askedOf(streamOf(async () => pieces.shift()))).rejects.toMatchObject({ code })
})

test('an answer is read as a question is', async () => {
  const bytes = framed({ v: 1, said: 'yes' })
  const pieces = [bytes.subarray(0, 2), bytes.subarray(2, 7), bytes.subarray(7)]
  const network: Pick<PeerNetwork, 'open'> = { open: async () => streamOf(async () => pieces.shift()) }
  const options = {
    network: Object.assign(new MemoryNetwork().join(one), network),
    scheduler: new ManualScheduler(),
    signal: new AbortController().signal,
  }
  expect(await askQuestion(protocol, options, other, { v: 1 })).toEqual({ v: 1, said: 'yes' })
})
