import { describe, expect, test } from 'vitest'
import type { Artifact, UpdateOptions } from '../../sdk/index.ts'
import {
  expectBytes,
  failureOf,
  failuresOf,
  freshNamespace,
  MiB,
  type OpenClient,
  seededBytes,
  sha256Hex,
  useClient,
} from './contract-support.ts'

const small = seededBytes('first', 500)
const second = seededBytes('second', 700)
const big = seededBytes('big', 3 * MiB)
const edited = Uint8Array.from(big)
edited[2 * MiB] = (edited[2 * MiB] as number) ^ 1

/** Versions: how they come, what they are called, what can be done with one. */
export function versionsContract(open: OpenClient): void {
  describe('versions', () => {
    const client = useClient(open)
    const create = async (data: Uint8Array = small, more = {}): Promise<Artifact> =>
      await client.artifact.create({ name: 'versioned.bin', data, metadata: { n: 1 }, ...more })
    const update = async (options: UpdateOptions): Promise<Artifact> => await client.artifact.update(options)
    const bytesAt = async ({ id }: Artifact, version?: number | string): Promise<Uint8Array> =>
      await client.artifact.download({ artifactId: id, version })

    test('each update is a new version; older ones stay as they were', async () => {
      const first = await create()
      const next = await update({ artifactId: first.id, data: second })
      expect(next).toEqual({
        ...first,
        version: 2,
        versionId: expect.stringMatching(/^2-[0-9a-f]{8,}$/),
        sizeBytes: second.length,
        sha256: sha256Hex(second),
        cid: expect.any(String),
        updatedAt: next.updatedAt,
      })
      expect(next.cid).not.toBe(first.cid)
      expect(next.updatedAt.getTime()).toBeGreaterThanOrEqual(first.updatedAt.getTime())
      for (const version of [1, first.versionId]) {
        expect(await client.artifact.get({ artifactId: first.id, version })).toEqual(first)
        expectBytes(await bytesAt(first, version), small)
      }
      for (const version of [undefined, 2, next.versionId]) {
        expect(await client.artifact.get({ artifactId: first.id, version })).toEqual(next)
        expectBytes(await bytesAt(first, version), second)
      }
      expect(await client.artifact.get({ name: first.name, version: next.versionId })).toMatchObject({
        versionId: next.versionId,
      })
    })

    test.each<[string, unknown]>([
      ['0', 0],
      ['−1', -1],
      ['1.5', 1.5],
      ['NaN', Number.NaN],
      ['Infinity', Number.POSITIVE_INFINITY],
      ['a word', 'x'],
      ['the empty string', ''],
      ['a number as a string', '1'],
      ['latest', 'latest'],
      ['an id cut short', '1-1f2e3d4'],
      ['an id in capitals', '1-1F2E3D4C'],
      ['an id of version 0', '0-1f2e3d4c'],
      ['null', null],
      ['a boolean', true],
      ['an object', { number: 1 }],
    ])('version %s is INVALID_ARGUMENT everywhere', async (_, version) => {
      const { id: artifactId } = await create()
      const ref = { artifactId, version: version as number }
      await failureOf(client.artifact.get(ref), 'INVALID_ARGUMENT')
      await failureOf(client.artifact.download(ref), 'INVALID_ARGUMENT')
      await failureOf(Array.fromAsync(client.artifact.downloadStream(ref)), 'INVALID_ARGUMENT')
      await failureOf(client.artifact.deleteVersion(ref), 'INVALID_ARGUMENT')
      await failureOf(update({ artifactId, restore: version as number }), 'INVALID_ARGUMENT')
      await failureOf(update({ artifactId, data: second, expectedVersion: version as number }), 'INVALID_ARGUMENT')
      expect((await client.artifact.get({ artifactId })).version).toBe(1)
    })

    test.each([2, 4_294_967_295, 4_294_967_296, Number.MAX_SAFE_INTEGER, 1e300, '1-00000000', '2-1f2e3d4c'])(
      'version %s, not there yet, is NOT_FOUND and is named',
      async (version) => {
        const { id: artifactId } = await create()
        const { details } = await failureOf(client.artifact.get({ artifactId, version }), 'NOT_FOUND')
        expect(details).toMatchObject({ artifactId, version })
        await failureOf(client.artifact.download({ artifactId, version }), 'NOT_FOUND')
        await failureOf(client.artifact.deleteVersion({ artifactId, version }), 'NOT_FOUND')
        await failureOf(update({ artifactId, restore: version }), 'NOT_FOUND')
      },
    )

    test('a version id of another artifact is not found', async () => {
      const [one, two] = [await create(), await create()]
      await failureOf(client.artifact.get({ artifactId: one.id, version: two.versionId }), 'NOT_FOUND')
    })

    describe('update', () => {
      test('changes just what it is given', async () => {
        const first = await create()
        const artifactId = first.id
        const named = await update({ artifactId, name: 'renamed.txt' })
        expect(named).toMatchObject({
          ...first,
          name: 'renamed.txt',
          version: 2,
          versionId: named.versionId,
          updatedAt: named.updatedAt,
        })
        const typed = await update({ artifactId, contentType: 'text/x-test' })
        expect(typed).toMatchObject({
          name: 'renamed.txt',
          contentType: 'text/x-test',
          metadata: { n: 1 },
          sha256: first.sha256,
          version: 3,
        })
        const described = await update({ artifactId, metadata: { other: true } })
        expect(described).toMatchObject({
          name: 'renamed.txt',
          contentType: 'text/x-test',
          metadata: { other: true },
          version: 4,
        })
        expect(described.metadata).toEqual({ other: true })
        const filled = await update({ artifactId, data: second })
        expect(filled).toMatchObject({
          name: 'renamed.txt',
          contentType: 'text/x-test',
          metadata: { other: true },
          version: 5,
        })
        expect((await update({ artifactId, metadata: {} })).metadata).toEqual({})
        expectBytes(await bytesAt(first), second)
        expect((await client.artifact.get({ name: 'renamed.txt' })).id).toBe(artifactId)
      })

      test('takes content as a snippet does', async () => {
        const { id: artifactId } = await client.artifact.createSnippet({ name: 'config.json', content: { a: 1 } })
        const next = await update({ artifactId, content: { a: 2 } })
        expect(next).toMatchObject({ version: 2, contentType: 'application/json' })
        expect(new TextDecoder().decode(await bytesAt(next))).toBe('{\n  "a": 2\n}')
        expect((await update({ artifactId, content: null })).sizeBytes).toBe(4)
      })

      test('takes empty data', async () => {
        const { id: artifactId } = await create()
        expect(await update({ artifactId, data: new Uint8Array(0) })).toMatchObject({ sizeBytes: 0, version: 2 })
      })

      test('between content that fits an entry and content that does not', async () => {
        const artifact = await create(small)
        await update({ artifactId: artifact.id, data: big })
        await update({ artifactId: artifact.id, data: second })
        expectBytes(await bytesAt(artifact, 1), small)
        expectBytes(await bytesAt(artifact, 2), big)
        expectBytes(await bytesAt(artifact, 3), second)
      })

      test('with the same content has the same root', async () => {
        for (const data of [small, big]) {
          const first = await create(data)
          expect(await update({ artifactId: first.id, data })).toMatchObject({ version: 2, cid: first.cid })
        }
      })

      test('with nothing to change is refused', async () => {
        const { id: artifactId } = await create()
        await failureOf(update({ artifactId }), 'INVALID_ARGUMENT')
        await failureOf(
          update({ artifactId, name: undefined, data: undefined, restore: undefined }),
          'INVALID_ARGUMENT',
        )
        await failureOf(update({ artifactId, expectedVersion: 1 }), 'INVALID_ARGUMENT')
        expect((await client.artifact.get({ artifactId })).version).toBe(1)
      })

      test('from two sources is refused, naming both', async () => {
        const { id: artifactId } = await create()
        const sources = { data: second, path: '/nowhere', content: 'text', restore: 1 }
        const names = Object.keys(sources) as (keyof typeof sources)[]
        for (const one of names) {
          for (const two of names) {
            if (one >= two) continue
            const { message } = await failureOf(
              update({ artifactId, [one]: sources[one], [two]: sources[two] }),
              'INVALID_ARGUMENT',
            )
            expect(message).toContain(one)
            expect(message).toContain(two)
          }
        }
      })

      test('is checked as a creation is', async () => {
        const { id: artifactId } = await create()
        await failureOf(update({ artifactId, name: 'a\0' }), 'INVALID_ARGUMENT')
        await failureOf(update({ artifactId, name: 'x'.repeat(1_025) }), 'TOO_LARGE')
        await failureOf(update({ artifactId, contentType: 'nonsense' }), 'INVALID_ARGUMENT')
        await failureOf(update({ artifactId, metadata: [] as never }), 'INVALID_ARGUMENT')
      })

      test('all of many at once become versions, numbered without a gap', async () => {
        const { id: artifactId } = await create()
        const writes = Array.from({ length: 40 }, (_, n) =>
          update({ artifactId, content: `number ${n}`, metadata: { n } }),
        )
        const versions = (await Promise.all(writes)).map(({ version }) => version)
        expect(versions.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, n) => n + 2))
        const listed = await Array.fromAsync(client.artifact.listVersions({ artifactId }))
        expect(listed.map(({ version }) => version)).toEqual(Array.from({ length: 41 }, (_, n) => 41 - n))
        expect(new Set(listed.map(({ metadata }) => metadata.n)).size).toBe(40)
        expect(listed.every(({ siblings }) => siblings.length === 0)).toBe(true)
        for (const { version, metadata } of listed.slice(0, 5)) {
          expect(new TextDecoder().decode(await client.artifact.download({ artifactId, version }))).toBe(
            `number ${metadata.n}`,
          )
        }
      })
    })

    describe('compare and set', () => {
      test('goes through by number and by id', async () => {
        const first = await create()
        const next = await update({ artifactId: first.id, data: second, expectedVersion: 1 })
        expect(await update({ artifactId: first.id, name: 'x', expectedVersion: next.versionId })).toMatchObject({
          version: 3,
        })
      })

      test('otherwise is CONFLICT, names the current version and changes nothing', async () => {
        const first = await create()
        const current = await update({ artifactId: first.id, data: second })
        for (const expectedVersion of [1, first.versionId, 3, '2-00000000']) {
          for (const change of [{ data: big }, { content: 'x' }, { name: 'x' }, { restore: 1 }]) {
            const { details, message } = await failureOf(
              update({ artifactId: first.id, ...change, expectedVersion }),
              'CONFLICT',
            )
            expect(details).toMatchObject({ currentVersion: 2, currentVersionId: current.versionId, expectedVersion })
            expect(message).toContain(current.versionId)
          }
        }
        expect(await client.artifact.get({ artifactId: first.id })).toEqual(current)
      })

      test('otherwise is refused before any of the content is read', async () => {
        const { id: artifactId } = await create()
        let read = 0
        const data = async function* (): AsyncGenerator<Uint8Array> {
          for (; read < 3; read++) yield seededBytes(`piece ${read}`, MiB)
        }
        await failureOf(update({ artifactId, data: data(), expectedVersion: 2 }), 'CONFLICT')
        expect(read).toBe(0)
      })

      test('is looked at again when the content is stored', async () => {
        const { id: artifactId } = await create()
        const data = async function* (): AsyncGenerator<Uint8Array> {
          yield big
          await update({ artifactId, content: 'meanwhile' })
        }
        await failureOf(update({ artifactId, data: data(), expectedVersion: 1 }), 'CONFLICT')
        expect((await client.artifact.get({ artifactId })).version).toBe(2)
      })

      test('of several at once exactly one wins', async () => {
        const { id: artifactId } = await create()
        for (let round = 1; round <= 5; round++) {
          const tries = Array.from({ length: 8 }, (_, n) =>
            update({ artifactId, content: `${round}/${n}`, expectedVersion: round }),
          )
          const outcomes = await Promise.allSettled(tries)
          expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
          for (const outcome of outcomes)
            if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'CONFLICT' })
          expect((await client.artifact.get({ artifactId })).version).toBe(round + 1)
        }
      })
    })

    describe('restore', () => {
      test.each([
        ['content that fits an entry', small, second],
        ['content in chunks', big, edited],
      ])('makes an older version the newest again: %s', async (_, before, after) => {
        const first = await create(before, { name: 'old.txt', contentType: 'text/x-old' })
        await update({
          artifactId: first.id,
          data: after,
          name: 'new.bin',
          contentType: 'text/x-new',
          metadata: { n: 2 },
        })
        await update({ artifactId: first.id, metadata: { n: 3 } })
        const restored = await update({ artifactId: first.id, restore: first.versionId })
        expect(restored).toEqual({ ...first, version: 4, versionId: restored.versionId, updatedAt: restored.updatedAt })
        expectBytes(await bytesAt(first), before)
        expectBytes(await bytesAt(first, 3), after)
        expect(await update({ artifactId: first.id, restore: 2, metadata: { n: 5 } })).toMatchObject({
          name: 'new.bin',
          metadata: { n: 5 },
          version: 5,
        })
        expectBytes(await bytesAt(first), after)
      })

      test('of the current version is a version like any other', async () => {
        const first = await create(big)
        expect(await update({ artifactId: first.id, restore: 1 })).toMatchObject({ version: 2, cid: first.cid })
      })

      test('of a version that was dropped is not found', async () => {
        const { id: artifactId } = await create(big)
        await update({ artifactId, data: small })
        await client.artifact.deleteVersion({ artifactId, version: 1 })
        await failureOf(update({ artifactId, restore: 1 }), 'NOT_FOUND')
      })
    })

    describe('deleteVersion', () => {
      test('ends one version; numbers are never used again', async () => {
        const first = await create()
        const artifactId = first.id
        await update({ artifactId, data: second })
        const third = await update({ artifactId, data: big })
        await client.artifact.deleteVersion({ artifactId, version: 2 })
        await failureOf(client.artifact.get({ artifactId, version: 2 }), 'NOT_FOUND')
        await failureOf(client.artifact.download({ artifactId, version: 2 }), 'NOT_FOUND')
        await failureOf(client.artifact.deleteVersion({ artifactId, version: 2 }), 'NOT_FOUND')
        expect((await client.artifact.listVersions({ artifactId })).items.map(({ version }) => version)).toEqual([3, 1])
        expect(await client.artifact.get({ artifactId })).toEqual(third)
        expect((await update({ artifactId, data: small })).version).toBe(4)
      })

      test('of the current version makes the one before it current', async () => {
        const first = await create()
        const artifactId = first.id
        const next = await update({ artifactId, data: big, name: 'next', metadata: { n: 2 } })
        await client.artifact.deleteVersion({ artifactId, version: next.versionId })
        expect(await client.artifact.get({ artifactId })).toEqual(first)
        expectBytes(await bytesAt(first), small)
        const [row] = (await client.artifact.listVersions({ artifactId })).items
        expect(row).toMatchObject({ version: 1, current: true })
        const again = await update({ artifactId, data: second })
        expect(again.versionId).not.toBe(next.versionId)
        expectBytes(await bytesAt(first), second)
      })

      test('of the only version leaves no artifact', async () => {
        const namespace = await freshNamespace(client)
        const { id: artifactId } = await create(big, { namespace: namespace.id })
        await client.artifact.deleteVersion({ artifactId, version: 1 })
        await failureOf(client.artifact.get({ artifactId }), 'NOT_FOUND')
        await failureOf(client.artifact.listVersions({ artifactId }), 'NOT_FOUND')
        expect((await client.artifact.list({ namespace: namespace.id })).items).toEqual([])
        expect(await client.namespace.usage({ namespace: namespace.id })).toMatchObject({ usedBytes: 0, artifacts: 0 })
      })

      test('keeps what other versions share with it', async () => {
        const artifact = await create(big)
        await update({ artifactId: artifact.id, data: edited })
        await client.artifact.deleteVersion({ artifactId: artifact.id, version: 1 })
        expectBytes(await bytesAt(artifact), edited)
      })

      test('of one version twice at once: one finds it', async () => {
        const { id: artifactId } = await create()
        await update({ artifactId, data: second })
        const outcomes = await Promise.allSettled(
          [1, 1].map((version) => client.artifact.deleteVersion({ artifactId, version })),
        )
        expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
      })
    })

    describe('delete', () => {
      test('ends the artifact and all its versions', async () => {
        const namespace = await freshNamespace(client)
        const first = await create(big, { name: 'gone', namespace: namespace.id })
        const artifactId = first.id
        await update({ artifactId, data: small })
        expect(await client.artifact.delete({ artifactId })).toBeUndefined()
        const calls = [
          () => client.artifact.get({ artifactId }),
          () => client.artifact.get({ artifactId, version: 1 }),
          () => client.artifact.get({ name: 'gone', namespace: namespace.id }),
          () => client.artifact.download({ artifactId }),
          () => client.artifact.download({ artifactId, version: first.versionId }),
          () => Array.fromAsync(client.artifact.downloadStream({ artifactId })),
          () => update({ artifactId, data: second }),
          () => update({ artifactId, restore: 1 }),
          () => client.artifact.listVersions({ artifactId }),
          () => client.artifact.deleteVersion({ artifactId, version: 1 }),
          () => client.artifact.delete({ artifactId }),
        ]
        await failuresOf(calls, 'NOT_FOUND')
        expect((await client.artifact.list({ namespace: namespace.id })).items).toEqual([])
        expect(await client.namespace.usage({ namespace: namespace.id })).toMatchObject({ usedBytes: 0, artifacts: 0 })
      })

      test('frees the name', async () => {
        const namespace = await freshNamespace(client)
        const options = { name: 'same', namespace: namespace.id }
        const old = await create(small, options)
        await client.artifact.delete({ artifactId: old.id })
        const fresh = await create(second, options)
        expect(fresh.id).not.toBe(old.id)
        expect((await client.artifact.get({ name: 'same', namespace: namespace.id })).id).toBe(fresh.id)
      })

      test('a stream that was begun before goes on to its end', async () => {
        const artifact = await create(big)
        const stream = client.artifact.downloadStream({ artifactId: artifact.id })[Symbol.asyncIterator]()
        const pieces = [(await stream.next()).value as Uint8Array]
        await client.artifact.delete({ artifactId: artifact.id })
        for (let step = await stream.next(); step.done !== true; step = await stream.next()) pieces.push(step.value)
        expectBytes(Buffer.concat(pieces), big)
      })
    })
  })
}
