import { Readable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import { describe, expect, test } from 'vitest'
import { maxChunkBytes, maxInlineBytes, minChunkBytes } from '../../src/limits.ts'
import {
  bytesOf,
  expectBytes,
  failureOf,
  inPieces,
  KiB,
  MiB,
  type OpenClient,
  rejectionOf,
  seededBytes,
  sha256Hex,
  useClient,
} from './contract-support.ts'

const small = seededBytes('small', 1_000)
const big = seededBytes('big', 3 * MiB + 17)

async function* text(): AsyncGenerator<Uint8Array> {
  yield* ['not', 'bytes'] as never[]
}

/** What content may be handed over as, and that it comes back as it went in. */
export function dataContract(open: OpenClient): void {
  describe('data', () => {
    const client = useClient(open)

    const store = async (data: unknown) => await client.artifact.create({ name: 'data.bin', data: data as never })

    describe.each([
      ['inline', small],
      ['in chunks', big],
    ])('%s', (_, bytes) => {
      test.each<[string, () => unknown]>([
        ['Uint8Array', () => bytes],
        ['Buffer', () => Buffer.from(bytes)],
        ['ArrayBuffer', () => bytes.buffer],
        [
          'part of a larger ArrayBuffer',
          () => new Uint8Array(Buffer.concat([small, bytes, small])).subarray(small.length, -small.length),
        ],
        ['Blob', () => new Blob([bytes.subarray(0, 7), bytes.subarray(7)])],
        ['File', () => new File([bytes], 'ignored.txt')],
        ['web ReadableStream', () => new Blob([bytes]).stream()],
        ['Readable', () => Readable.from(inPieces(bytes, 64 * KiB))],
        ['Readable in object mode of one piece', () => Readable.from([bytes])],
        ['async generator', () => inPieces(bytes, 100_003)],
        [
          'pieces of 0 bytes among others',
          async function* () {
            yield new Uint8Array(0)
            for await (const piece of inPieces(bytes, 500_000)) yield* [piece, new Uint8Array(0)]
          },
        ],
        [
          'one byte at a time, then the rest',
          async function* () {
            for (let at = 0; at < 300; at++) yield bytes.subarray(at, at + 1)
            yield bytes.subarray(300)
          },
        ],
      ])('takes a %s and gives it back', async (_kind, make) => {
        const given = make()
        const created = await store(typeof given === 'function' ? given() : given)
        expect(created).toMatchObject({ sizeBytes: bytes.length, sha256: sha256Hex(bytes), version: 1 })
        expectBytes(await client.artifact.download({ artifactId: created.id }), bytes)
        expectBytes(await bytesOf(client.artifact.downloadStream({ artifactId: created.id })), bytes)
      })
    })

    test('takes shared memory', async () => {
      const shared = new Uint8Array(new SharedArrayBuffer(small.length))
      shared.set(small)
      expectBytes(await client.artifact.download({ artifactId: (await store(shared)).id }), small)
      expectBytes(await client.artifact.download({ artifactId: (await store(shared.buffer)).id }), small)
    })

    test('refuses a string, naming what takes files and text', async () => {
      const { message, details } = await failureOf(store('/data/report.pdf'), 'INVALID_ARGUMENT')
      expect(message).toContain('uploadFile')
      expect(message).toContain('createSnippet')
      expect(details.option).toBe('data')
      await failureOf(
        client.artifact.update({ artifactId: (await store(small)).id, data: 'text' as never }),
        'INVALID_ARGUMENT',
      )
    })

    test.each<[string, unknown]>([
      ['nothing', undefined],
      ['null', null],
      ['a number', 7],
      ['a plain object', { length: 3 }],
      ['an array of bytes', [1, 2, 3]],
      ['a promise of bytes', Promise.resolve(small)],
      ['a function', () => small],
      ['a Map', new Map()],
    ])('refuses %s as data', async (_, data) => {
      await failureOf(store(data), 'INVALID_ARGUMENT')
    })

    test('refuses a stream of strings, naming the encoding', async () => {
      const readable = Readable.from(inPieces(small, 100), { objectMode: false })
      readable.setEncoding('utf8')
      expect((await failureOf(store(readable), 'INVALID_ARGUMENT')).message).toMatch(/setEncoding/)
      await failureOf(store(text()), 'INVALID_ARGUMENT')
      await failureOf(
        store(new ReadableStream({ start: (controller) => controller.enqueue('text') })),
        'INVALID_ARGUMENT',
      )
    })

    test.each([
      0,
      1,
      maxInlineBytes - 1,
      maxInlineBytes,
      maxInlineBytes + 1,
      minChunkBytes - 1,
      minChunkBytes,
      minChunkBytes + 1,
      maxChunkBytes - 1,
      maxChunkBytes,
      maxChunkBytes + 1,
    ])('%i bytes come back, of known and of unknown size', async (length) => {
      const bytes = seededBytes(`of ${length}`, length)
      for (const data of [bytes, inPieces(bytes, 300_000)]) {
        const created = await store(data)
        expect(created).toMatchObject({ sizeBytes: length, sha256: sha256Hex(bytes) })
        expectBytes(await client.artifact.download({ artifactId: created.id }), bytes)
        expect(await client.artifact.get({ artifactId: created.id })).toEqual(created)
      }
    })

    test.each([maxChunkBytes - 1, maxChunkBytes, maxChunkBytes + 1, 2 * maxChunkBytes])(
      'content without a place to cut is cut at the longest chunk: %i zeros',
      async (length) => {
        const zeros = new Uint8Array(length)
        const created = await store(zeros)
        expectBytes(await client.artifact.download({ artifactId: created.id }), zeros)
      },
    )

    test('two artifacts of one content share no block', async () => {
      const [one, two] = [await store(small), await store(small)]
      expect(one.id).not.toBe(two.id)
      expect(one.cid).not.toBe(two.cid)
      expect(one.sha256).toBe(two.sha256)
    })

    describe('a source that fails midway', () => {
      const reason = new Error('the sensor was unplugged')
      const failing = (bytes: Uint8Array) =>
        async function* () {
          yield* inPieces(bytes, 200_000)
          throw reason
        }

      test.each([
        ['before the first byte', new Uint8Array(0)],
        ['within the inline bound', small],
        ['after chunks were stored', seededBytes('long', 9 * MiB)],
      ])('%s: SOURCE_FAILED with its cause, and nothing is listed', async (_, bytes) => {
        const namespace = await client.namespace.create({ name: `fails ${_}` })
        const fail = async (data: unknown) => {
          const call = client.artifact.create({ name: 'x', namespace: namespace.id, data: data as never })
          return (await failureOf(call, 'SOURCE_FAILED')).cause
        }
        expect(await fail(failing(bytes)())).toBe(reason)
        expect(await fail(Readable.from(failing(bytes)()))).toBe(reason)
        expect(await fail(ReadableStream.from(failing(bytes)()))).toBe(reason)
        expect((await client.artifact.list({ namespace: namespace.id })).items).toEqual([])
        expect(await client.namespace.usage({ namespace: namespace.id })).toMatchObject({ usedBytes: 0, artifacts: 0 })
      })

      test('an update from it leaves the version that there was', async () => {
        const created = await store(small)
        await failureOf(client.artifact.update({ artifactId: created.id, data: failing(big)() }), 'SOURCE_FAILED')
        expect(await client.artifact.get({ artifactId: created.id })).toEqual(created)
        expect((await client.artifact.listVersions({ artifactId: created.id })).items).toHaveLength(1)
      })

      test('whatever it throws is the cause', async () => {
        const abort = new DOMException('of another call', 'AbortError')
        for (const thrown of ['a string', undefined, { code: 'ENOENT' }, abort]) {
          const throwing = async function* (): AsyncGenerator<Uint8Array> {
            yield small
            throw thrown
          }
          expect((await failureOf(store(throwing()), 'SOURCE_FAILED')).cause).toBe(thrown)
        }
      })

      test('a Readable destroyed midway is SOURCE_FAILED', async () => {
        const readable = new Readable({ read() {} })
        readable.push(small)
        const call = rejectionOf(store(readable))
        readable.destroy()
        expect(await call).toMatchObject({ code: 'SOURCE_FAILED' })
      })

      test('a stream that somebody else reads is SOURCE_FAILED', async () => {
        const stream = new Blob([small]).stream()
        stream.getReader()
        await failureOf(store(stream), 'SOURCE_FAILED')
      })
    })

    test('a source is told when no more of it is wanted', async () => {
      let closed = false
      const endless = async function* () {
        try {
          for (;;) yield small
        } finally {
          closed = true
        }
      }
      const namespace = await client.namespace.create({ name: 'tiny', plan: 'free' })
      await failureOf(
        client.artifact.create({ name: 'endless', namespace: namespace.id, data: endless() }),
        'QUOTA_EXCEEDED',
      )
      expect(closed).toBe(true)
    })
  })
}
