import { describe, expect, test } from 'vitest'
import type { Artifact, ListOptions, MetadataFilter } from '../../sdk/index.ts'
import { failureOf, freshNamespace, type OpenClient, rejectionOf, useClient } from './contract-support.ts'

/** Lists of artifacts and of versions: filters, orders, pages. What a list holds of a catalog is tested beside it. */
export function listsContract(open: OpenClient): void {
  describe('lists', () => {
    const client = useClient(open)
    let made: Promise<{ namespace: string; artifacts: readonly Artifact[] }> | undefined

    /** Ten artifacts, created one after the other. */
    const shelf = async (): Promise<{ namespace: string; artifacts: readonly Artifact[] }> => {
      made ??= (async () => {
        const { id: namespace } = await freshNamespace(client)
        const artifacts: Artifact[] = []
        for (let n = 0; n < 10; n++) {
          const metadata = {
            n,
            parity: n % 2 === 0 ? 'even' : 'odd',
            category: n < 5 ? 'quarterly-reports' : 'notes',
            a: { b: n % 3, list: [n, { deep: `x${n}` }] },
            ...(n === 3 ? { only: null } : {}),
          }
          const name = n < 5 ? `report ${9 - n}` : `note ${9 - n}`
          const contentType = n % 5 === 0 ? 'text/markdown' : undefined
          artifacts.push(
            await client.artifact.createSnippet({ name, namespace, content: `${n}`, metadata, contentType }),
          )
        }
        return { namespace, artifacts }
      })()
      return await made
    }
    const numbers = (items: readonly Artifact[]): number[] => items.map(({ metadata }) => metadata.n as number)
    const listed = async (options: ListOptions): Promise<number[]> => {
      const { namespace } = await shelf()
      const { items, nextCursor } = await client.artifact.list({ namespace, ...options })
      expect(nextCursor).toBeUndefined()
      const all = await Array.fromAsync(client.artifact.list({ namespace, ...options, limit: 3 }))
      expect(all).toEqual(items)
      return numbers(items)
    }

    test('awaited gives a page, iterated gives all, newest first', async () => {
      const { namespace, artifacts } = await shelf()
      expect((await client.artifact.list({ namespace })).items).toEqual(artifacts.toReversed())
      expect(await Array.fromAsync(client.artifact.list({ namespace }))).toEqual(artifacts.toReversed())
    })

    test.each<[string, MetadataFilter, number[]]>([
      ['a value', { category: 'quarterly-reports' }, [4, 3, 2, 1, 0]],
      ['a value at a dotted path', { 'a.b': 1 }, [7, 4, 1]],
      ['a value in a nested filter', { a: { b: 1 } }, [7, 4, 1]],
      ['two values', { parity: 'odd', 'a.b': 0 }, [9, 3]],
      ['an item of a list', { 'a.list': 6 }, [6]],
      ['a member of an item of a list', { 'a.list.deep': 'x2' }, [2]],
      ['$in', { n: { $in: [1, 5, 77] } }, [5, 1]],
      ['$in of nothing', { n: { $in: [] } }, []],
      ['$gt and $lte', { n: { $gt: 2, $lte: 5 } }, [5, 4, 3]],
      ['$gte and $lt', { n: { $gte: 2, $lt: 5 } }, [4, 3, 2]],
      ['$prefix', { category: { $prefix: 'quarter' } }, [4, 3, 2, 1, 0]],
      ['$exists', { only: { $exists: true } }, [3]],
      ['not $exists', { only: { $exists: false }, n: { $lt: 5 } }, [4, 2, 1, 0]],
      ['null', { only: null }, [3]],
      ['a number, which is no string', { n: '1' }, []],
      ['a comparison across types', { parity: { $gt: 0 } }, []],
      ['a path that nothing has', { 'x.y.z': 1 }, []],
      ['no condition', {}, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]],
    ])('filters by %s', async (_, metadataFilter, expected) => {
      expect(await listed({ metadataFilter })).toEqual(expected)
    })

    test('filters by the start of the name, by content type and by the time of creation', async () => {
      const { artifacts } = await shelf()
      expect(await listed({ namePrefix: 'report' })).toEqual([4, 3, 2, 1, 0])
      expect(await listed({ namePrefix: 'nothing' })).toEqual([])
      expect(await listed({ contentType: 'text/markdown' })).toEqual([5, 0])
      expect(
        await listed({ contentType: 'text/markdown', namePrefix: 'note', metadataFilter: { parity: 'odd' } }),
      ).toEqual([5])
      const { createdAt } = artifacts[5] as Artifact
      const isFrom = artifacts.filter((artifact) => artifact.createdAt >= createdAt).length
      expect(await listed({ createdAfter: createdAt })).toHaveLength(isFrom)
      expect(await listed({ createdBefore: createdAt })).toHaveLength(10 - isFrom)
      expect(await listed({ createdAfter: new Date(Date.now() + 60_000) })).toEqual([])
      expect(await listed({ createdBefore: new Date(0) })).toEqual([])
    })

    test('orders by creation, by update and by name, either way', async () => {
      const up = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
      expect(await listed({ order: { by: 'createdAt' } })).toEqual(up.toReversed())
      expect(await listed({ order: { by: 'createdAt', direction: 'asc' } })).toEqual(up)
      const byName = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
      expect(await listed({ order: { by: 'name', direction: 'asc' } })).toEqual(byName)
      expect(await listed({ order: { by: 'name', direction: 'desc' } })).toEqual(byName.toReversed())
      const { id: namespace } = await freshNamespace(client)
      const snippet = async (n: number) =>
        await client.artifact.createSnippet({ name: 'n', namespace, content: '', metadata: { n } })
      const [first] = [await snippet(1), await snippet(2), await snippet(3)]
      await client.artifact.update({ artifactId: first.id, content: 'again' })
      const order = async (direction: 'asc' | 'desc') =>
        numbers((await client.artifact.list({ namespace, order: { by: 'updatedAt', direction } })).items)
      expect(await order('desc')).toEqual([1, 3, 2])
      expect(await order('asc')).toEqual([2, 3, 1])
      expect(numbers((await client.artifact.list({ namespace })).items)).toEqual([3, 2, 1])
    })

    test.each([1, 3, 5, 9, 10, 11, 1_000])('comes whole in pages of %i', async (limit) => {
      const { namespace, artifacts } = await shelf()
      const seen: Artifact[] = []
      let cursor: string | undefined
      let pages = 0
      do {
        const page = await client.artifact.list({ namespace, limit, cursor })
        expect(page.items.length).toBeLessThanOrEqual(limit)
        seen.push(...page.items)
        cursor = page.nextCursor
        pages += 1
      } while (cursor !== undefined)
      expect(seen).toEqual(artifacts.toReversed())
      expect(pages).toBeLessThanOrEqual(Math.ceil(10 / limit) + 1)
      const rest = await client.artifact.list({ namespace, limit: 3 })
      expect(await Array.fromAsync(client.artifact.list({ namespace, limit: 3, cursor: rest.nextCursor }))).toEqual(
        artifacts.toReversed().slice(3),
      )
    })

    test('a cursor goes with the list that gave it', async () => {
      const { namespace } = await shelf()
      const { nextCursor: cursor } = await client.artifact.list({ namespace, limit: 2 })
      for (const other of [{ namePrefix: 'r' }, { order: { by: 'name' } as const }, { metadataFilter: { n: 1 } }]) {
        await failureOf(client.artifact.list({ namespace, limit: 2, cursor, ...other }), 'INVALID_ARGUMENT')
      }
      for (const garbled of ['', 'x', `${cursor}A`, cursor?.slice(1), '../..']) {
        await failureOf(client.artifact.list({ namespace, cursor: garbled as string }), 'INVALID_ARGUMENT')
      }
    })

    test('what is deleted or changed between two pages does not disturb the rest', async () => {
      const { id: namespace } = await freshNamespace(client)
      const made: Artifact[] = []
      for (let n = 0; n < 6; n++)
        made.push(await client.artifact.createSnippet({ name: 'n', namespace, content: '', metadata: { n } }))
      const order = { by: 'createdAt', direction: 'asc' } as const
      const first = await client.artifact.list({ namespace, limit: 2, order })
      for (const n of [1, 2]) await client.artifact.delete({ artifactId: (made[n] as Artifact).id })
      await client.artifact.update({ artifactId: (made[0] as Artifact).id, content: 'changed' })
      await client.artifact.createSnippet({ name: 'n', namespace, content: '', metadata: { n: 6 } })
      const rest = await Array.fromAsync(client.artifact.list({ namespace, limit: 2, order, cursor: first.nextCursor }))
      expect([...numbers(first.items), ...numbers(rest)]).toEqual([0, 1, 3, 4, 5, 6])
    })

    test('nothing is asked before it is awaited or iterated, and being awaited twice asks once', async () => {
      const { id: namespace } = await freshNamespace(client)
      const list = client.artifact.list({ namespace })
      const iterated = client.artifact.list({ namespace })
      void client.artifact.list({ namespace: 'there is none' })
      void client.artifact.list({ limit: 0 })
      await client.artifact.createSnippet({ name: 'later', namespace, content: '' })
      expect((await list).items).toHaveLength(1)
      await client.artifact.createSnippet({ name: 'later still', namespace, content: '' })
      expect((await list).items).toHaveLength(1)
      expect(await Array.fromAsync(iterated)).toHaveLength(2)
      expect(await Array.fromAsync(list)).toHaveLength(2)
    })

    test.each<[string, unknown]>([
      ['a limit of 0', { limit: 0 }],
      ['a limit of 1,001', { limit: 1_001 }],
      ['a fraction as a limit', { limit: 1.5 }],
      ['a limit as text', { limit: '5' }],
      ['an unknown order', { order: { by: 'size' } }],
      ['an unknown direction', { order: { by: 'name', direction: 'down' } }],
      ['an order as text', { order: 'name' }],
      ['a date as text', { createdAfter: '2026-01-01' }],
      ['an invalid date', { createdBefore: new Date('never') }],
      ['a name prefix that is no text', { namePrefix: 1 }],
      ['an unknown operator', { metadataFilter: { a: { $regex: 'x' } } }],
      ['an operator without a path', { metadataFilter: { $in: [1] } }],
      ['operators among paths', { metadataFilter: { a: { $gt: 1, b: 2 } } }],
      ['$in without a list', { metadataFilter: { a: { $in: 1 } } }],
      ['$gt of a list', { metadataFilter: { a: { $gt: [1] } } }],
      ['a filter that is no object', { metadataFilter: [] }],
      ['a filter as text', { metadataFilter: 'a=1' }],
      ['a filter with NaN', { metadataFilter: { a: Number.NaN } }],
      ['a filter too deep', { metadataFilter: JSON.parse(`${'{"a":'.repeat(40)}1${'}'.repeat(40)}`) }],
      [
        'too many conditions',
        { metadataFilter: Object.fromEntries(Array.from({ length: 65 }, (_, n) => [`k${n}`, n])) },
      ],
      ['an unknown option', { filter: {} }],
    ])('refuses %s, awaited or iterated', async (_, options) => {
      await failureOf(client.artifact.list(options as ListOptions), 'INVALID_ARGUMENT')
      await failureOf(Array.fromAsync(client.artifact.list(options as ListOptions)), 'INVALID_ARGUMENT')
    })

    test('a namespace that is not there is NOT_FOUND', async () => {
      await failureOf(client.artifact.list({ namespace: 'there is none' }), 'NOT_FOUND')
      await failureOf(client.artifact.list({ namespace: `ns_${'a'.repeat(52)}` }), 'NOT_FOUND')
    })

    describe('of versions', () => {
      test('newest first, with their authors, in pages', async () => {
        const { id: artifactId } = await client.artifact.createSnippet({ name: 'v', content: '1' })
        for (let n = 2; n <= 7; n++) await client.artifact.update({ artifactId, content: `${n}` })
        const all = await Array.fromAsync(client.artifact.listVersions({ artifactId }))
        expect(all.map(({ version }) => version)).toEqual([7, 6, 5, 4, 3, 2, 1])
        for (const row of all) {
          const { author, siblings, current, ...artifact } = row
          expect({ author, siblings, current }).toEqual({
            author: client.did,
            siblings: [],
            current: row.version === 7,
          })
          expect(await client.artifact.get({ artifactId, version: row.versionId })).toEqual(artifact)
        }
        for (const limit of [1, 2, 6, 7, 8]) {
          expect(await Array.fromAsync(client.artifact.listVersions({ artifactId, limit }))).toEqual(all)
          const page = await client.artifact.listVersions({ artifactId, limit })
          expect(page.items).toEqual(all.slice(0, limit))
          expect(page.nextCursor === undefined).toBe(limit >= 7)
        }
        const { nextCursor: cursor } = await client.artifact.listVersions({ artifactId, limit: 3 })
        expect((await client.artifact.listVersions({ artifactId, limit: 3, cursor })).items).toEqual(all.slice(3, 6))
        await client.artifact.deleteVersion({ artifactId, version: 4 })
        const rest = await Array.fromAsync(client.artifact.listVersions({ artifactId, cursor }))
        expect(rest.map(({ version }) => version)).toEqual([3, 2, 1])
      })

      test('refuses what is wrong with the call', async () => {
        const [one, two] = [
          await client.artifact.createSnippet({ name: 'v', content: '1' }),
          await client.artifact.createSnippet({ name: 'w', content: '1' }),
        ]
        await client.artifact.update({ artifactId: one.id, content: '2' })
        const { nextCursor: cursor } = await client.artifact.listVersions({ artifactId: one.id, limit: 1 })
        await failureOf(client.artifact.listVersions({ artifactId: two.id, cursor }), 'INVALID_ARGUMENT')
        await failureOf(client.artifact.listVersions({ artifactId: one.id, limit: 0 }), 'INVALID_ARGUMENT')
        await failureOf(client.artifact.listVersions({ artifactId: one.id, cursor: 'x' }), 'INVALID_ARGUMENT')
        await failureOf(client.artifact.listVersions({ artifactId: one.id, version: 1 } as never), 'INVALID_ARGUMENT')
        expect(await rejectionOf(client.artifact.listVersions(undefined as never))).toMatchObject({
          code: 'INVALID_ARGUMENT',
        })
      })
    })
  })
}
