import { type MultiaddrConnection, type Stream, StreamMessageEvent } from '@libp2p/interface'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { streamWindowBytes } from '../../src/limits.ts'
import { boundedYamux } from './bounded-yamux.ts'

const [data, windowUpdate, ping] = [0, 1, 2]
const [syn, fin] = [1, 4]

function header(type: number, flags: number, stream: number, length: number): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(12))
  bytes.setUint8(1, type)
  bytes.setUint16(2, flags)
  bytes.setUint32(4, stream)
  bytes.setUint32(8, length)
  return new Uint8Array(bytes.buffer)
}

/** What a muxer makes of the bytes of a connection: what each stream brought, what was answered, and after how many bytes it was cut. */
function madeOf(pieces: readonly Uint8Array[]) {
  const answers: string[] = []
  const streams = new Map<string, { came: Buffer; hasEnded: boolean }>()
  let taken = 0
  let cutAfter: number | undefined
  const log = Object.assign(() => {}, { error: () => {}, trace: () => {}, newScope: () => log })
  const connection = Object.assign(new EventTarget(), {
    direction: 'inbound',
    log,
    send: (bytes: { subarray(): Uint8Array }) => answers.push(Buffer.from(bytes.subarray()).toString('hex')) > 0,
    abort: () => {
      cutAfter ??= taken
    },
  })
  const muxer = boundedYamux({ enableKeepAlive: false }, () => 0)().createStreamMuxer(
    connection as unknown as MultiaddrConnection,
  )
  muxer.addEventListener('stream', ({ detail }: CustomEvent<Stream>) => {
    const kept = { came: Buffer.alloc(0), hasEnded: false }
    streams.set(detail.id, kept)
    detail.addEventListener('message', (event) => {
      kept.came = Buffer.concat([kept.came, event.data.subarray()])
    })
    detail.addEventListener('remoteCloseWrite', () => {
      kept.hasEnded = true
    })
  })
  for (const piece of pieces) {
    taken += piece.length
    if (cutAfter === undefined) connection.dispatchEvent(new StreamMessageEvent(piece))
  }
  return { streams, answers, cutAfter }
}

const streamIds = [1, 3, 5]
const frames = fc.array(
  fc.oneof(
    fc
      .record({ stream: fc.constantFrom(...streamIds), bytes: fc.uint8Array({ maxLength: 600 }) })
      .map(({ stream, bytes }) => Buffer.concat([header(data, 0, stream, bytes.length), bytes])),
    fc.constantFrom(...streamIds).map((stream) => header(windowUpdate, fin, stream, 0)),
    // Their length is how much more may be sent, or a number of the other side's.
    fc.tuple(fc.constantFrom(...streamIds), fc.nat(0xffff)).map(([id, more]) => header(windowUpdate, 0, id, more)),
    fc.integer({ min: 0, max: 0xffff_ffff }).map((id) => header(ping, syn, 0, id)),
  ),
  { maxLength: 20 },
)

function split(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const ends = [...new Set([...cuts.map((cut) => cut % bytes.length), bytes.length])].filter((end) => end > 0)
  return ends.sort((a, b) => a - b).map((end, at, all) => bytes.slice(all[at - 1] ?? 0, end))
}

const begun = streamIds.map((stream) => header(windowUpdate, syn, stream, 0))

test('however the bytes of a connection are split, they are the same frames', () => {
  fc.assert(
    fc.property(frames, fc.array(fc.nat(), { maxLength: 60 }), (sent, cuts) => {
      const bytes = Buffer.concat([...begun, ...sent])
      const whole = madeOf([bytes])
      expect(whole.cutAfter).toBeUndefined()
      expect(madeOf(split(bytes, cuts))).toEqual(whole)
      expect(madeOf([...bytes].map((byte) => Uint8Array.of(byte)))).toEqual(whole)
    }),
  )
})

test('however it is split, the header of a frame longer than a window ends the connection, and one of a window does not', () => {
  fc.assert(
    fc.property(frames, fc.array(fc.nat(), { maxLength: 60 }), (sent, cuts) => {
      const before = Buffer.concat([...begun, ...sent])
      const [longest, longer] = [streamWindowBytes, streamWindowBytes + 1].map((length) =>
        Buffer.concat([before, header(data, 0, 1, length), Buffer.alloc(100)]),
      ) as [Buffer, Buffer]
      expect(madeOf(split(longest, cuts)).cutAfter).toBeUndefined()
      const { cutAfter } = madeOf([...longer].map((byte) => Uint8Array.of(byte)))
      expect(cutAfter).toBe(before.length + 12)
      const pieces = split(longer, cuts)
      const ends = pieces.map((_, at) => pieces.slice(0, at + 1).reduce((sum, { length }) => sum + length, 0))
      expect(madeOf(pieces).cutAfter).toBe(ends.find((end) => end >= before.length + 12))
    }),
  )
})
