import { describe, expect, test } from 'vitest'
import { type Artifact, type ByteRange, isHubError } from '../../sdk/index.ts'
import { maxChunkBytes, maxInlineBytes } from '../../src/limits.ts'
import {
  bytesOf,
  expectBytes,
  failureOf,
  failuresOf,
  freshNamespace,
  MiB,
  type OpenClient,
  seededBytes,
  useClient,
} from './contract-support.ts'

const contents = {
  'that fits an entry': seededBytes('short', 1_000),
  'of one chunk': seededBytes('one chunk', maxInlineBytes + 1),
  'of several chunks': seededBytes('several', 4 * MiB + 1),
  'without a place to cut': new Uint8Array(maxChunkBytes + 5),
}

/** Finding one artifact, and reading all or part of it. */
export function readsContract(open: OpenClient): void {
  describe('reading', () => {
    const client = useClient(open)

    describe.each(Object.entries(contents))('ranges of content %s', (kind, bytes) => {
      let made: Promise<Artifact> | undefined
      const artifactId = async (): Promise<string> => {
        made ??= client.artifact.create({ name: `${kind}.bin`, data: bytes })
        return (await made).id
      }
      const { length } = bytes
      const middle = Math.floor(length / 2)

      test.each<[string, ByteRange]>([
        ['all of it', { offset: 0, length }],
        ['all without a length', { offset: 0 }],
        ['an undefined length', { offset: 3, length: undefined }],
        ['the first byte', { offset: 0, length: 1 }],
        ['the last byte', { offset: length - 1, length: 1 }],
        ['the last byte without a length', { offset: length - 1 }],
        ['the middle', { offset: middle - 100, length: 200 }],
        ['half of it', { offset: middle }],
        ['all but the ends', { offset: 1, length: length - 2 }],
        ['nothing at the start', { offset: 0, length: 0 }],
        ['nothing in the middle', { offset: middle, length: 0 }],
        ['nothing at the end', { offset: length, length: 0 }],
        ['nothing from the end on', { offset: length }],
        [
          'across a chunk of the longest length',
          {
            offset: Math.min(length - 1, maxChunkBytes - 1),
            length: Math.min(2, length - Math.min(length - 1, maxChunkBytes - 1)),
          },
        ],
      ])('%s', async (_, range) => {
        const wanted = bytes.subarray(
          range.offset,
          range.length === undefined ? undefined : range.offset + range.length,
        )
        const options = { artifactId: await artifactId(), range }
        expectBytes(await client.artifact.download(options), wanted)
        expectBytes(await bytesOf(client.artifact.downloadStream(options)), wanted)
      })

      test.each<[string, ByteRange]>([
        ['past the end by one', { offset: 0, length: length + 1 }],
        ['from past the end', { offset: length + 1 }],
        ['from past the end, of nothing', { offset: length + 1, length: 0 }],
        ['over the end', { offset: length - 1, length: 2 }],
        ['of a length that overflows', { offset: 1, length: Number.MAX_SAFE_INTEGER }],
        ['from the largest offset', { offset: Number.MAX_SAFE_INTEGER }],
      ])('%s is RANGE_INVALID', async (_, range) => {
        const options = { artifactId: await artifactId(), range }
        const { details } = await failureOf(client.artifact.download(options), 'RANGE_INVALID')
        expect(details).toMatchObject({ sizeBytes: length, offset: range.offset })
        await failureOf(bytesOf(client.artifact.downloadStream(options)), 'RANGE_INVALID')
      })

      test.each<[string, unknown]>([
        ['a negative offset', { offset: -1 }],
        ['a negative length', { offset: 0, length: -1 }],
        ['a fraction', { offset: 0.5 }],
        ['NaN', { offset: Number.NaN }],
        ['a string', { offset: '0' }],
        ['no offset', { length: 1 }],
        ['null as a length', { offset: 0, length: null }],
        ['an unknown member', { offset: 0, end: 5 }],
        ['text', 'bytes=0-1'],
      ])('%s is INVALID_ARGUMENT', async (_, range) => {
        const options = { artifactId: await artifactId(), range: range as ByteRange }
        await failureOf(client.artifact.download(options), 'INVALID_ARGUMENT')
        await failureOf(bytesOf(client.artifact.downloadStream(options)), 'INVALID_ARGUMENT')
      })
    })

    test('ranges of nothing', async () => {
      const { id: artifactId } = await client.artifact.create({ name: 'empty', data: new Uint8Array(0) })
      for (const range of [undefined, { offset: 0 }, { offset: 0, length: 0 }]) {
        expectBytes(await client.artifact.download({ artifactId, range }), new Uint8Array(0))
        expect(await Array.fromAsync(client.artifact.downloadStream({ artifactId, range }))).toEqual([])
      }
      await failureOf(client.artifact.download({ artifactId, range: { offset: 0, length: 1 } }), 'RANGE_INVALID')
      await failureOf(client.artifact.download({ artifactId, range: { offset: 1 } }), 'RANGE_INVALID')
    })

    test('a range is of the version that is named', async () => {
      const { id: artifactId } = await client.artifact.create({ name: 'v', data: contents['that fits an entry'] })
      await client.artifact.update({ artifactId, data: contents['of several chunks'] })
      const range = { offset: 2_000, length: 10 }
      expectBytes(
        await client.artifact.download({ artifactId, range }),
        contents['of several chunks'].subarray(2_000, 2_010),
      )
      await failureOf(client.artifact.download({ artifactId, version: 1, range }), 'RANGE_INVALID')
    })

    test('what is downloaded is the caller’s: changing it changes nothing', async () => {
      for (const bytes of [contents['that fits an entry'], contents['of several chunks']]) {
        const { id: artifactId } = await client.artifact.create({ name: 'mine', data: bytes })
        const mine = await client.artifact.download({ artifactId })
        expect(mine.buffer.byteLength).toBe(bytes.length)
        mine.fill(0)
        expectBytes(await client.artifact.download({ artifactId }), bytes)
      }
    })

    test('a stream asks for nothing before it is read, and may be left early', async () => {
      const missing = client.artifact.downloadStream({ artifactId: `art_${'a'.repeat(32)}` })
      await failureOf(bytesOf(missing), 'NOT_FOUND')
      const { id: artifactId } = await client.artifact.create({ name: 'left', data: contents['of several chunks'] })
      let read = 0
      for await (const piece of client.artifact.downloadStream({ artifactId })) {
        read += piece.length
        break
      }
      expect(read).toBeGreaterThan(0)
      expectBytes(await client.artifact.download({ artifactId }), contents['of several chunks'])
    })

    test('many read one artifact at once', async () => {
      const bytes = contents['of several chunks']
      const { id: artifactId } = await client.artifact.create({ name: 'popular', data: bytes })
      const reads = Array.from({ length: 12 }, (_, n) =>
        client.artifact.download({ artifactId, range: { offset: n * 1_000 } }),
      )
      for (const [n, read] of (await Promise.all(reads)).entries()) expectBytes(read, bytes.subarray(n * 1_000))
    })

    describe('finding', () => {
      test('by name: of several the one updated last', async () => {
        const namespace = await freshNamespace(client)
        const by = { name: 'same', namespace: namespace.name }
        const first = await client.artifact.createSnippet({ ...by, content: '1' })
        const second = await client.artifact.createSnippet({ ...by, content: '2' })
        expect((await client.artifact.get(by)).id).toBe(second.id)
        await client.artifact.update({ artifactId: first.id, content: '3' })
        expect(await client.artifact.get(by)).toMatchObject({ id: first.id, version: 2 })
        expect(await client.artifact.get({ ...by, version: 1 })).toMatchObject({ id: first.id, version: 1 })
        await failureOf(client.artifact.get({ ...by, version: 3 }), 'NOT_FOUND')
        await client.artifact.update({ artifactId: first.id, name: 'other' })
        expect((await client.artifact.get(by)).id).toBe(second.id)
        await client.artifact.delete({ artifactId: second.id })
        const { details } = await failureOf(client.artifact.get(by), 'NOT_FOUND')
        expect(details).toMatchObject({ name: 'same', namespace: namespace.id })
      })

      test('a name with a longer one that begins alike is told apart', async () => {
        const namespace = (await freshNamespace(client)).id
        const long = await client.artifact.createSnippet({
          name: 'a\u0001'.replace('\u0001', '\u00ff'),
          content: '',
          namespace,
        })
        await failureOf(client.artifact.get({ name: 'a', namespace }), 'NOT_FOUND')
        expect((await client.artifact.get({ name: long.name, namespace })).id).toBe(long.id)
      })

      test('an id is found whatever namespace is current, and must be of the one that is named', async () => {
        const [one, two] = [await freshNamespace(client), await freshNamespace(client)]
        const { id: artifactId } = await client.artifact.createSnippet({ name: 'x', content: 'x', namespace: one.id })
        for (const namespace of [undefined, one.id, one.name]) {
          expect((await client.artifact.get({ artifactId, namespace })).namespace).toBe(one.id)
        }
        for (const namespace of [two.id, two.name]) {
          const calls = [
            () => client.artifact.get({ artifactId, namespace }),
            () => client.artifact.download({ artifactId, namespace }),
            () => bytesOf(client.artifact.downloadStream({ artifactId, namespace })),
            () => client.artifact.update({ artifactId, namespace, content: 'y' }),
            () => client.artifact.listVersions({ artifactId, namespace }),
            () => client.artifact.deleteVersion({ artifactId, namespace, version: 1 }),
            () => client.artifact.delete({ artifactId, namespace }),
          ]
          await failuresOf(calls, 'NOT_FOUND')
        }
        await failureOf(client.artifact.get({ artifactId, namespace: 'no such namespace' }), 'NOT_FOUND')
        expect((await client.artifact.get({ artifactId })).version).toBe(1)
      })

      test('an id that nothing has is NOT_FOUND', async () => {
        const artifactId = `art_${'a'.repeat(32)}`
        for (const { details } of await failuresOf(callsOn(artifactId), 'NOT_FOUND'))
          expect(details).toMatchObject({ artifactId })
      })

      test.each<[string, unknown]>([
        ['the empty string', ''],
        ['a word', 'report'],
        ['only the prefix', 'art_'],
        ['one letter short', `art_${'a'.repeat(31)}`],
        ['one letter long', `art_${'a'.repeat(33)}`],
        ['capitals', `art_${'A'.repeat(32)}`],
        ['letters that base32 has not', `art_${'1'.repeat(32)}`],
        ['a namespace id', `ns_${'a'.repeat(52)}`],
        ['white space', ` art_${'a'.repeat(32)}`],
        ['a path', '../../art_x'],
        ['a number', 7],
        ['null', null],
        ['nothing', undefined],
        ['a list', ['art_']],
      ])('%s is no id: INVALID_ARGUMENT', async (_, artifactId) => {
        await failuresOf(callsOn(artifactId as string), 'INVALID_ARGUMENT')
      })

      const callsOn = (artifactId: string): (() => PromiseLike<unknown>)[] => [
        () => client.artifact.get({ artifactId }),
        () => client.artifact.download({ artifactId }),
        () => bytesOf(client.artifact.downloadStream({ artifactId })),
        () => client.artifact.downloadFile({ artifactId, path: '/nowhere/at/all' }),
        () => client.artifact.update({ artifactId, content: 'x' }),
        () => client.artifact.delete({ artifactId }),
        () => client.artifact.deleteVersion({ artifactId, version: 1 }),
        () => client.artifact.listVersions({ artifactId }),
      ]
    })

    test('a failure of a read says what the table says', async () => {
      try {
        await client.artifact.get({ artifactId: `art_${'a'.repeat(32)}` })
        expect.unreachable()
      } catch (error) {
        expect(isHubError(error, 'NOT_FOUND')).toBe(true)
        expect(JSON.parse(JSON.stringify(error))).toMatchObject({ code: 'NOT_FOUND', retryable: false })
      }
    })
  })
}
