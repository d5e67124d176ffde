import { describe, expect, test } from 'vitest'
import type { Artifact, CreateOptions, Json, JsonObject } from '../../sdk/index.ts'
import { maxContentTypeBytes, maxMetadataBytes, maxMetadataDepth, maxNameBytes } from '../../src/limits.ts'
import { failureOf, type OpenClient, seededBytes, sha256Hex, useClient } from './contract-support.ts'

const data = seededBytes('described', 64)
const textDecoder = new TextDecoder()

function nested(depth: number): JsonObject {
  let value: JsonObject = { leaf: true }
  for (let level = 1; level < depth; level++) value = { in: value }
  return value
}

/** Names, content types, metadata and snippets: what is kept as it was given, and what is refused. */
export function describeContract(open: OpenClient): void {
  describe('descriptions', () => {
    const client = useClient(open)
    const create = async (options: Partial<CreateOptions>): Promise<Artifact> =>
      await client.artifact.create({ name: 'described', data, ...options })

    test('an artifact says all about itself', async () => {
      const before = Date.now()
      const metadata = { author: 'document-agent', nested: { list: [1, 'two', null, true, { three: 3.5 }] } }
      const created = await create({ name: 'report.pdf', contentType: 'application/pdf', metadata })
      expect(created).toEqual({
        id: expect.stringMatching(/^art_[a-z2-7]{32}$/),
        namespace: expect.stringMatching(/^ns_[a-z2-7]{52}$/),
        name: 'report.pdf',
        contentType: 'application/pdf',
        sizeBytes: data.length,
        sha256: sha256Hex(data),
        metadata,
        version: 1,
        versionId: expect.stringMatching(/^1-[0-9a-f]{8,64}$/),
        createdAt: expect.any(Date),
        updatedAt: expect.any(Date),
        createdBy: client.did,
        cid: expect.stringMatching(/^b[a-z2-7]{58}$/),
      })
      expect(client.did).toMatch(/^did:key:z6Mk/)
      expect(created.updatedAt).toEqual(created.createdAt)
      expect(created.createdAt.getTime()).toBeGreaterThanOrEqual(before)
      expect(created.createdAt.getTime()).toBeLessThanOrEqual(Date.now() + 1_000)
      expect(await client.artifact.get({ artifactId: created.id })).toEqual(created)
    })

    test('metadata is empty when none was given', async () => {
      expect((await create({})).metadata).toEqual({})
    })

    test('an option that is undefined is absent', async () => {
      const created = await create({
        contentType: undefined,
        metadata: undefined,
        namespace: undefined,
        signal: undefined,
        onProgress: undefined,
      })
      expect(created).toMatchObject({ metadata: {}, contentType: 'application/octet-stream' })
    })

    test.each<[string, string, string | Uint8Array]>([
      ['the name', 'photo.JPEG', 'whatever'],
      ['the name before the content', 'table.csv', '%PDF-1.7'],
      ['the first bytes of a PDF', 'scan', '%PDF-1.7\n%âãÏÓ\n'],
      [
        'the first bytes of a PNG',
        'image',
        Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82]),
      ],
      ['text', 'notes', 'naïve text — 日本語\n'],
      ['text whose last character is cut off', 'log', Buffer.from('é'.repeat(3_000)).subarray(0, 4_101)],
      ['unknown bytes', 'blob', Uint8Array.from([0, 1, 2, 255])],
      ['nothing', 'empty', ''],
    ])('guesses the content type from %s', async (_, name, content) => {
      const { contentType } = await create({
        name,
        data: typeof content === 'string' ? new TextEncoder().encode(content) : content,
      })
      const expected: Record<string, string> = {
        'photo.JPEG': 'image/jpeg',
        'table.csv': 'text/csv',
        scan: 'application/pdf',
        image: 'image/png',
        notes: 'text/plain',
        log: 'text/plain',
      }
      expect(contentType).toBe(expected[name] ?? 'application/octet-stream')
    })

    test.each(['text/plain; charset=utf-8', 'APPLICATION/X-Custom+Json', 'a/b;c="d;e"'])(
      'keeps the content type %s',
      async (contentType) => {
        expect((await create({ contentType })).contentType).toBe(contentType)
      },
    )

    test.each(['', 'text', 'text/', '/plain', 'text/plain\r\nx: y', 'text/plain; =x', 7, null, {}])(
      'refuses the content type %j',
      async (contentType) => {
        await failureOf(create({ contentType: contentType as never }), 'INVALID_ARGUMENT')
      },
    )

    test('refuses a content type that is too long', async () => {
      await failureOf(create({ contentType: `text/plain; a=${'x'.repeat(maxContentTypeBytes)}` }), 'TOO_LARGE')
    })

    describe('names', () => {
      test.each([
        ['slashes', '../../etc/passwd'],
        ['a slash at each end', '/a/'],
        ['only a slash', '/'],
        ['dots', '..'],
        ['backslashes and colons', 'C:\\con\\aux:1'],
        ['spaces at both ends', '  name  '],
        ['an NFC accent', '\u00e9.txt'],
        ['an NFD accent', 'e\u0301.txt'],
        ['right-to-left text and overrides', '\u202etxt.exe\u202c שלום مرحبا'],
        ['zero-width joiners', '👩\u200d👩\u200d👧\u200d👦\u200b\ufeff'],
        ['astral characters', '𝕏𐍈🂡'],
        ['a byte order mark at its start', '\ufeffreport.txt'],
        ['a noncharacter', 'a\uffffb\ufffeb'],
        ['line and paragraph separators', 'a\u2028b\u2029c\u0085d'],
        ['a private use character', '\ue000'],
        ['quotes, percent signs and markup', `"%00'<script>&amp;`],
        ['__proto__', '__proto__'],
        ['what looks like an id', `art_${'a'.repeat(32)}`],
        ['exactly 1 KiB of ASCII', 'x'.repeat(maxNameBytes)],
        ['exactly 1 KiB of 4-byte characters', '𝕏'.repeat(maxNameBytes / 4)],
      ])('keeps %s, byte for byte', async (_, name) => {
        const created = await create({ name })
        expect(created.name).toBe(name)
        expect((await client.artifact.get({ name })).id).toBe(created.id)
        expect((await client.artifact.list({ namePrefix: name })).items.map(({ id }) => id)).toContain(created.id)
      })

      test('names that differ only in normalisation or case are different names', async () => {
        const names = ['caf\u00e9', 'cafe\u0301', 'CAF\u00c9']
        const ids = new Map<string, string>()
        for (const name of names) ids.set(name, (await create({ name })).id)
        for (const name of names) expect((await client.artifact.get({ name })).id).toBe(ids.get(name))
      })

      test.each([
        ['the empty name', ''],
        ['NUL', 'a\0b'],
        ['a line break', 'a\nb'],
        ['DEL', 'a\u007f'],
        ['a lone high surrogate', 'a\ud800'],
        ['a lone low surrogate', '\udc00a'],
        ['a number', 7],
        ['null', null],
        ['nothing', undefined],
      ])('refuses %s', async (_, name) => {
        await failureOf(create({ name: name as never }), 'INVALID_ARGUMENT')
        await failureOf(client.artifact.createSnippet({ name: name as never, content: 'x' }), 'INVALID_ARGUMENT')
      })

      test('refuses 1 KiB and one byte, of whatever characters', async () => {
        for (const name of [
          'x'.repeat(maxNameBytes + 1),
          `${'𝕏'.repeat(maxNameBytes / 4)}x`,
          'é'.repeat(maxNameBytes / 2 + 1),
        ]) {
          const { details } = await failureOf(create({ name }), 'TOO_LARGE')
          expect(details).toMatchObject({ maxBytes: maxNameBytes, bytes: Buffer.byteLength(name) })
        }
      })
    })

    describe('metadata', () => {
      test.each<[string, () => JsonObject]>([
        [
          '__proto__ and its like',
          () => JSON.parse('{"__proto__": {"admin": true}, "constructor": 1, "toString": null, "hasOwnProperty": []}'),
        ],
        ['__proto__ deeper down', () => JSON.parse('{"a": [{"__proto__": [1]}]}')],
        ['empty names and values', () => ({ '': '', a: {}, b: [], c: null })],
        ['dots and dollars in names', () => ({ 'a.b': 1, a: { b: 2 }, $in: [3], $: 4 })],
        [
          'numbers at the edges',
          () => ({ n: [1e308, -1e308, 5e-324, 2 ** 53, 0.1, -1.5, 1e21, 123456789012345680000] }),
        ],
        ['what DAG-CBOR would take for a CID or bytes', () => ({ '/': 'bafkqaaa', link: { '/': { bytes: 'AA' } } })],
        ['Unicode in names and values', () => ({ 日本: '\u0000\u202e👩\u200d👧\ufffe', 'e\u0301': '\u00e9' })],
        ['an object without a prototype', () => Object.assign(Object.create(null), { a: 1 })],
        ['the deepest nesting', () => nested(maxMetadataDepth)],
        ['the most bytes', () => ({ a: 'x'.repeat(maxMetadataBytes - '{"a":""}'.length) })],
      ])('keeps %s', async (_, make) => {
        const metadata = make()
        const created = await create({ metadata })
        expect(JSON.parse(JSON.stringify(created.metadata))).toEqual(JSON.parse(JSON.stringify(metadata)))
        const got = await client.artifact.get({ artifactId: created.id })
        expect(Object.keys(got.metadata).sort()).toEqual(Object.keys(metadata).sort())
        expect(got.metadata).toEqual(created.metadata)
        expect(({} as { admin?: unknown }).admin).toBeUndefined()
      })

      test('drops members that are undefined, as JSON does', async () => {
        expect((await create({ metadata: { a: 1, b: undefined } as never })).metadata).toEqual({ a: 1 })
      })

      test('is read once: a later change of the object changes nothing', async () => {
        const metadata = { list: [1] }
        const call = create({ metadata })
        metadata.list.push(2)
        expect((await call).metadata).toEqual({ list: [1] })
      })

      test.each<[string, () => unknown]>([
        ['a string', () => 'text'],
        ['a list', () => [1]],
        ['null', () => null],
        ['a Date', () => ({ at: new Date() })],
        ['a Date as metadata', () => new Date()],
        ['NaN', () => ({ a: [Number.NaN] })],
        ['Infinity', () => ({ a: Number.NEGATIVE_INFINITY })],
        ['a bigint', () => ({ a: 1n })],
        ['a function', () => ({ a: () => {} })],
        ['a symbol', () => ({ a: Symbol('a') })],
        ['a Map', () => ({ a: new Map() })],
        ['bytes', () => ({ a: new Uint8Array(3) })],
        ['a hole in a list', () => ({ a: new Array(2) })],
        ['undefined in a list', () => ({ a: [undefined] })],
        ['an unpaired surrogate', () => ({ a: '\ud800' })],
        ['an unpaired surrogate in a name', () => ({ '\udc00': 1 })],
        [
          'a cycle',
          () => {
            const cycle: Record<string, unknown> = {}
            cycle.a = { b: [cycle] }
            return cycle
          },
        ],
      ])('refuses %s', async (_, make) => {
        await failureOf(create({ metadata: make() as never }), 'INVALID_ARGUMENT')
      })

      test('refuses one level too deep and one byte too many', async () => {
        await failureOf(create({ metadata: nested(maxMetadataDepth + 1) }), 'TOO_LARGE')
        await failureOf(create({ metadata: nested(100_000) }), 'TOO_LARGE')
        await failureOf(create({ metadata: { a: 'x'.repeat(maxMetadataBytes - '{"a":""}'.length + 1) } }), 'TOO_LARGE')
        await failureOf(create({ metadata: { a: 'é'.repeat(maxMetadataBytes / 2) } }), 'TOO_LARGE')
      })
    })

    describe('snippets', () => {
      const textOf = async ({ id }: Artifact): Promise<string> =>
        textDecoder.decode(await client.artifact.download({ artifactId: id }))

      test.each<Json>([{ model: 'x', temperature: 0.7 }, [1, 2], 7, true, null, {}, []])(
        'keeps %j as indented JSON',
        async (content) => {
          const created = await client.artifact.createSnippet({ name: 'settings', content, metadata: { kind: 'test' } })
          expect(created).toMatchObject({ contentType: 'application/json', version: 1, metadata: { kind: 'test' } })
          expect(await textOf(created)).toBe(JSON.stringify(content, undefined, 2))
        },
      )

      test('keeps a string as it is', async () => {
        const content = 'line 1\r\nline 2 — 日本語 "quoted"\0'
        const created = await client.artifact.createSnippet({ name: 'notes.md', content })
        expect(created).toMatchObject({ contentType: 'text/markdown', sizeBytes: Buffer.byteLength(content) })
        expect(await textOf(created)).toBe(content)
        expect((await client.artifact.createSnippet({ name: 'notes', content: 'plain' })).contentType).toBe(
          'text/plain',
        )
      })

      test('takes its content type from its name, or as given', async () => {
        expect((await client.artifact.createSnippet({ name: 'config.json', content: { a: 1 } })).contentType).toBe(
          'application/json',
        )
        const given = await client.artifact.createSnippet({
          name: 'config',
          content: { a: 1 },
          contentType: 'application/ld+json',
        })
        expect(given.contentType).toBe('application/ld+json')
      })

      test('may be empty, and may be large', async () => {
        expect(await client.artifact.createSnippet({ name: 'empty', content: '' })).toMatchObject({ sizeBytes: 0 })
        const content = 'x'.repeat(3_000_000)
        expect(await textOf(await client.artifact.createSnippet({ name: 'large', content }))).toBe(content)
      })

      test.each<[string, () => unknown]>([
        ['nothing', () => undefined],
        ['a function', () => () => {}],
        ['a symbol', () => Symbol('s')],
        ['a bigint', () => 1n],
        ['NaN', () => ({ a: [Number.NaN] })],
        ['Infinity', () => Number.POSITIVE_INFINITY],
        ['text with an unpaired surrogate', () => 'a\ud800'],
        [
          'a cycle',
          () => {
            const cycle: Record<string, unknown> = {}
            cycle.self = cycle
            return cycle
          },
        ],
      ])('refuses %s', async (_, make) => {
        await failureOf(client.artifact.createSnippet({ name: 'bad', content: make() as never }), 'INVALID_ARGUMENT')
      })
    })
  })
}
