import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MemoryNetwork } from '../../test/support/memory-network.ts'
import { concatBytes, toHex } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { maxBlockBytes, maxContentBytes, maxRequestLeaves } from '../limits.ts'
import { FrameReader, FrameWriter } from './frame-stream.ts'
import { type AskerFrame, decodeAskerFrame, decodeServerFrame, encodeFrame, type ServerFrame } from './frames.ts'
import type { PeerStream } from './peer-network.ts'

const live = new AbortController().signal
const id = (length: number, byte: number): Uint8Array => new Uint8Array(length).fill(byte)

const bytes = (min: number, max: number) =>
  fc.uint8Array({ minLength: min, maxLength: max }).map((value) => new Uint8Array(value))
const uint32 = fc.integer({ min: 0, max: 0xffff_ffff })
const serverFrame: fc.Arbitrary<ServerFrame> = fc.oneof(
  fc.constantFrom<ServerFrame>({ kind: 'accept' }, { kind: 'end' }),
  fc.record({
    kind: fc.constant('refuse' as const),
    code: fc.constantFrom('ACCESS_DENIED', 'UNAVAILABLE'),
    message: fc.string({ maxLength: 100 }),
  }),
  fc.record({ kind: fc.constant('node' as const), bytes: bytes(0, 70_000) }),
  fc.record({ kind: fc.constant('leaf' as const), index: uint32, bytes: bytes(0, 300_000) }),
  fc.record({ kind: fc.constant('missing' as const), run: fc.record({ first: uint32, count: uint32 }) }),
)
const runs = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 1000 }), fc.integer({ min: 1, max: 8 })), { minLength: 1, maxLength: 8 })
  .map((gaps) => {
    let next = 0
    return gaps.map(([gap, count]) => {
      const first = next + gap
      next = first + count
      return { first, count }
    })
  })
const askerFrame: fc.Arbitrary<AskerFrame> = fc.oneof(
  fc.record({ kind: fc.constant('credit' as const), bytes: fc.integer({ min: 1, max: maxBlockBytes }) }),
  fc.record({
    kind: fc.constant('request' as const),
    request: fc.record({
      namespace: bytes(32, 32),
      artifact: bytes(20, 20),
      root: fc.record({
        digest: bytes(32, 32),
        codec: fc.constantFrom(0x55, 0x70),
        sizeBytes: fc.integer({ min: 0, max: maxContentBytes }),
        storedBytes: fc.integer({ min: 28, max: maxContentBytes }),
      }),
      runs,
      nodes: fc.constant(false),
    }),
  }),
)

/** What one end of a stream reads after the other wrote `written` and ended. */
async function through<T>(
  pieces: readonly number[],
  write: (stream: PeerStream) => Promise<void>,
  read: (stream: PeerStream) => Promise<T>,
): Promise<T> {
  let turn = 0
  const network = new MemoryNetwork({ pieceBytes: () => pieces[turn++ % pieces.length] as number, windowBytes: 5000 })
  const [a, b] = [network.join(id(32, 1)), network.join(id(32, 2))]
  network.connect(a, b)
  b.handle('x', async (stream) => {
    await write(stream)
    await stream.closeWrite()
    await stream.read()
  })
  const stream = await a.open(b.agent, 'x')
  try {
    return await read(stream)
  } finally {
    stream.abort(new Error('through'))
  }
}

async function framesOf(stream: PeerStream, sender: 'asker' | 'server'): Promise<(AskerFrame | ServerFrame)[]> {
  const reader = new FrameReader(stream, sender)
  const decode = sender === 'asker' ? decodeAskerFrame : decodeServerFrame
  const frames: (AskerFrame | ServerFrame)[] = []
  for (let raw = await reader.next(live); raw !== undefined; raw = await reader.next(live)) frames.push(decode(raw))
  return frames
}

describe('frames', () => {
  test.each([
    ['asker', askerFrame],
    ['server', serverFrame],
  ] as const)('of the %s come out of a stream as they went in, however the stream was cut', async (sender, frame) => {
    const frames = fc.array(frame as fc.Arbitrary<AskerFrame | ServerFrame>, { maxLength: 8 })
    const pieces = fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(frames, pieces, async (sent, cuts) => {
        const received = await through(
          [...cuts, 3000],
          async (stream) => {
            const writer = new FrameWriter(stream)
            await Promise.all(sent.map((each) => writer.write(encodeFrame(each), live)))
          },
          (stream) => framesOf(stream, sender),
        )
        expect(received).toEqual(sent)
      }),
      { numRuns: 40 },
    )
  })

  test('of any bytes are frames, or refused as CORRUPT, TOO_LARGE or cut off, and nothing else', async () => {
    const anyBytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc
        .tuple(
          fc.integer({ min: 0, max: 90 }),
          fc.constantFrom(1, 2, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16),
          fc.uint8Array({ maxLength: 90 }),
        )
        .map(([length, type, rest]) => Uint8Array.from([0, 0, 0, length, type, ...rest])),
    )
    await fc.assert(
      fc.asyncProperty(anyBytes, fc.constantFrom('asker', 'server'), async (given, sender) => {
        const result = await through(
          [1, 70],
          (stream) => stream.write(given),
          (stream) => framesOf(stream, sender),
        ).catch((error) => error)
        const isRefused = ['CORRUPT', 'TOO_LARGE', 'UNAVAILABLE'].some((code) => isHubError(result, code as 'CORRUPT'))
        if (!isRefused) expect(concatBytes(...result.flatMap(encodeFrame))).toEqual(new Uint8Array(given))
      }),
      { numRuns: 300 },
    )
  })

  test('have frozen bytes', () => {
    const root = { digest: id(32, 3), codec: 0x70, sizeBytes: 5_000_000, storedBytes: 5_000_140 }
    const request = { namespace: id(32, 1), artifact: id(20, 2), root, runs: [{ first: 3, count: 2 }], nodes: false }
    const hex = (frame: AskerFrame | ServerFrame): string => toHex(concatBytes(...encodeFrame(frame)))
    expect(hex({ kind: 'request', request })).toBe(frozenRequest)
    expect(hex({ kind: 'credit', bytes: 0x200000 })).toBe('000000050200200000')
    expect(hex({ kind: 'accept' })).toBe('0000000111')
    expect(hex({ kind: 'refuse', code: 'ACCESS_DENIED', message: 'no' })).toBe(
      '0000002012a264636f64656d4143434553535f44454e494544676d657373616765626e6f',
    )
    expect(hex({ kind: 'node', bytes: new Uint8Array([7]) })).toBe('000000021307')
    expect(hex({ kind: 'leaf', index: 258, bytes: new Uint8Array([7, 8]) })).toBe('0000000714000001020708')
    expect(hex({ kind: 'missing', run: { first: 1, count: maxRequestLeaves } })).toBe('00000009150000000100000040')
    expect(hex({ kind: 'end' })).toBe('0000000116')
  })

  test('that are never finished hold no more memory than the longest frame', async () => {
    const before = process.memoryUsage().arrayBuffers
    const header = Uint8Array.from([0xff, 0xff, 0xff, 0xff, 0x14])
    const read = through(
      [5],
      (stream) => stream.write(header),
      (stream) => framesOf(stream, 'server'),
    )
    await expect(read).rejects.toMatchObject({ code: 'TOO_LARGE' })
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * maxBlockBytes)
  })
})

const frozenRequest = [
  '0000009801a9617601626e735820010101010101010101010101010101010101010101010101010101010101010163617274',
  '54020202020202020202020202020202020202020264726f6f74582003030303030303030303030303030303030303030303',
  '030303030303030303036472756e73818203026473697a651a004c4b4065636f6465631870656e6f646573f46673746f7265',
  '641a004c4bcc',
].join('')

test('a reader tells of bytes that the stream has, though the frame that they are of is not whole', async () => {
  const waits = new Promise<number>(() => {})
  const stream = { readInto: () => waits, receivedBytes: 700 } as unknown as PeerStream
  const reader = new FrameReader(stream, 'server')
  void reader.next(live)
  expect(reader.receivedBytes).toBe(700)
})
