import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { bytesFrom, makeEnding, makeNext, makePut } from '../../test/support/catalog-operations.ts'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import { toHex } from '../encoding/index.ts'
import { Catalog, type ListQuery, type Operation, type VersionRecord } from './index.ts'

/** A version whose state is known. */
type ShownPut = ReturnType<typeof makePut>

const prefix = Uint8Array.of(1)

async function filled(ops: readonly Operation[]) {
  const store = new MemoryKeyValueStore()
  const catalog = new Catalog({ store, prefix })
  const write = async (more: readonly Operation[]) => {
    const batch = catalog.begin()
    for (const op of more) await batch.apply(op)
    await store.batch(batch.changes, { sync: true })
  }
  await write(ops)
  return { store, catalog, write }
}

async function all(catalog: Catalog, query: ListQuery, limit?: number): Promise<VersionRecord[]> {
  const items: VersionRecord[] = []
  let cursor: string | undefined
  do {
    const page = await catalog.list({ ...query, limit, cursor })
    expect(page.items.length).toBeLessThanOrEqual(limit ?? 100)
    items.push(...page.items)
    cursor = page.nextCursor
    if (cursor !== undefined) expect(page.items.length).toBe(limit ?? 100)
  } while (cursor !== undefined)
  return items
}

/** Every value at a path, by trying each way to cut the path: plain, slow, and not the code under test. */
function valuesAt(value: unknown, path: readonly string[]): unknown[] {
  if (Array.isArray(value) && path.length > 0) return value.flatMap((item) => valuesAt(item, path))
  if (path.length === 0) return Array.isArray(value) ? [value, ...value.flatMap((item) => valuesAt(item, []))] : [value]
  if (typeof value !== 'object' || value === null) return []
  return path.flatMap((_, cut) => {
    const key = path.slice(0, cut + 1).join('.')
    return Object.hasOwn(value, key) ? valuesAt((value as Record<string, unknown>)[key], path.slice(cut + 1)) : []
  })
}

const codePoints = (text: string) => Array.from(text, (character) => character.codePointAt(0) as number)

function compare(a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b
  if (typeof a !== 'string' || typeof b !== 'string') return Number.NaN
  const [left, right] = [codePoints(a), codePoints(b)]
  const at = left.findIndex((point, i) => point !== right[i])
  if (at === -1) return left.length - right.length
  return right[at] === undefined ? 1 : (left[at] as number) - right[at]
}

type FlatFilter = Record<string, unknown>

function holds(value: unknown, condition: unknown): boolean {
  const isOperators = typeof condition === 'object' && condition !== null && !Array.isArray(condition)
  if (!isOperators) return JSON.stringify(value) === JSON.stringify(condition)
  return Object.entries(condition).every(([operator, operand]) => {
    if (operator === '$in') return (operand as unknown[]).some((one) => JSON.stringify(one) === JSON.stringify(value))
    if (operator === '$gt') return compare(value, operand) > 0
    if (operator === '$gte') return compare(value, operand) >= 0
    if (operator === '$lt') return compare(value, operand) < 0
    if (operator === '$lte') return compare(value, operand) <= 0
    if (operator === '$prefix') return typeof value === 'string' && value.startsWith(operand as string)
    return operator === '$exists'
  })
}

function matches(op: ShownPut, filter: FlatFilter): boolean {
  return Object.entries(filter).every(([path, condition]) => {
    const values = valuesAt(op.state.metadata, path.split('.'))
    const wantsNone = (condition as { $exists?: boolean } | null)?.$exists === false
    return wantsNone ? values.length === 0 : values.some((value) => holds(value, condition))
  })
}

interface Case {
  readonly filter: FlatFilter
  readonly namePrefix: string | undefined
  readonly contentType: string | undefined
  readonly from: number | undefined
  readonly to: number | undefined
  readonly by: 'createdAt' | 'updatedAt' | 'name'
  readonly direction: 'asc' | 'desc'
}

/** First and current version of each artifact, in the order asked for, worked out from the operations. */
function expected(artifacts: readonly { first: ShownPut; current: ShownPut }[], query: Case): string[] {
  const { filter, namePrefix, contentType, from, to, by, direction } = query
  const found = artifacts.filter(
    ({ first, current }) =>
      matches(current, filter) &&
      (namePrefix === undefined || current.state.name.startsWith(namePrefix)) &&
      (contentType === undefined || current.state.contentType === contentType) &&
      (from === undefined || first.clock.wallMs >= from) &&
      (to === undefined || first.clock.wallMs < to),
  )
  const byClock = (a: ShownPut, b: ShownPut) => a.clock.wallMs - b.clock.wallMs || a.clock.counter - b.clock.counter
  found.sort((a, b) => {
    const step =
      by === 'createdAt'
        ? byClock(a.first, b.first)
        : (by === 'name' ? compare(a.current.state.name, b.current.state.name) : 0) || byClock(a.current, b.current)
    return (step || Buffer.compare(a.first.artifact, b.first.artifact)) * (direction === 'asc' ? 1 : -1)
  })
  return found.map(({ current }) => toHex(current.entry))
}

function queryOf({ filter, namePrefix, contentType, from, to, by, direction }: Case): ListQuery {
  return {
    metadataFilter: filter,
    namePrefix,
    contentType,
    createdAfter: from === undefined ? undefined : new Date(from),
    createdBefore: to === undefined ? undefined : new Date(to),
    order: { by, direction },
  }
}

const long = 'x'.repeat(70)
const texts = ['', 'a', 'ab', 'a\u0000', 'a\u0000b', 'é', '\uffee', '😀', `${long}a`, `${long}b`, 'x'.repeat(64)]
const scalar = fc.oneof(
  fc.constantFrom<unknown>(null, true, false),
  fc.constantFrom(-1e300, -2, -1.5, -1, 0, 0.5, 1, 2, 10, 2 ** 53, 1e300, 5e-324),
  fc.constantFrom(...texts),
)
const value: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 2, depthSize: 'small' },
    scalar,
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('a', 'b', 'a.b', '__proto__', 'constructor', ''), tie('value'), { maxKeys: 3 }),
  ),
})).value
const metadata = fc
  .dictionary(fc.constantFrom('a', 'b', 'a.b', 'b.a.b', '__proto__'), value, { maxKeys: 4 })
  .map((object) => JSON.parse(JSON.stringify(object)) as Record<string, unknown>)
const end = fc.oneof(fc.constantFrom(-2, 0, 1, 1.5, 1e300), fc.constantFrom(...texts))
const condition = fc.oneof(
  scalar,
  fc.array(scalar, { maxLength: 2 }),
  fc.record({ $in: fc.array(value, { maxLength: 3 }) }).map((one) => JSON.parse(JSON.stringify(one)) as unknown),
  end.map(($gt) => ({ $gt })),
  end.map(($lte) => ({ $lte })),
  fc.constantFrom(...texts).map(($prefix) => ({ $prefix })),
  fc.constantFrom(...texts).map(($prefix) => ({ $prefix, $gte: 'a', $lt: 'é' })),
  fc.record({ $gte: fc.constantFrom(-2, 0, 1), $lt: fc.constantFrom(0.5, 2, 10) }),
  fc.boolean().map(($exists) => ({ $exists })),
)
const path = fc.constantFrom('a', 'b', 'a.b', 'b.a.b', 'a.a', '__proto__', 'a.constructor', 'a.__proto__', 'b.')
const cases: fc.Arbitrary<Case> = fc.record({
  filter: fc.array(fc.tuple(path, condition), { maxLength: 2 }).map((pairs) => Object.fromEntries(pairs) as FlatFilter),
  namePrefix: fc.option(fc.constantFrom('', 'f', 'fé', 'g'), { nil: undefined, freq: 3 }),
  contentType: fc.option(fc.constantFrom('a/a', 'a/b'), { nil: undefined, freq: 4 }),
  from: fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined, freq: 4 }),
  to: fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined, freq: 4 }),
  by: fc.constantFrom('createdAt', 'updatedAt', 'name'),
  direction: fc.constantFrom('asc', 'desc'),
})

const smallArtifact = fc.record({
  wallMs: fc.integer({ min: 0, max: 4 }),
  name: fc.constantFrom('f', 'fé', 'f/', 'f\uffee', 'f😀', 'g'),
  contentType: fc.constantFrom('a/a', 'a/b'),
  metadata,
  next: fc.option(fc.record({ wallMs: fc.integer({ min: 0, max: 6 }), metadata })),
})

test('a list is what a walk over everything would give, whatever the filter, the order and the page', async () => {
  const artifacts = fc.array(smallArtifact, { maxLength: 12 })
  await fc.assert(
    fc.asyncProperty(
      artifacts,
      fc.array(cases, { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 4 }),
      async (made, queries, limit) => {
        const ops = made.map(({ next, ...fields }, at) => {
          const first = makePut({ label: `${at}`, ...fields })
          return {
            first,
            current: next === null ? first : makeNext(`next ${at}`, [first], { name: fields.name, ...next }),
          }
        })
        const { catalog } = await filled(ops.flatMap(({ first, current }) => [first, current]))
        for (const query of queries) {
          const items = await all(catalog, queryOf(query), limit)
          expect(items.map(({ entry }) => toHex(entry))).toEqual(expected(ops, query))
        }
      },
    ),
    { numRuns: 250 },
  )
})

// Large enough that sources are not read to their end: every way of answering is taken.
const many: { first: ShownPut; current: ShownPut }[] = []
let large: Catalog
beforeAll(async () => {
  for (let i = 0; i < 1_500; i++) {
    const label = `many ${i}`
    const metadata = {
      half: i % 2,
      third: `t${i % 3}`,
      rare: i % 100,
      unique: i,
      tags: [`x${i % 5}`, 'all'],
      long: `${long}${i}`,
    }
    const name = `${i % 4 === 0 ? 'even' : 'odd'}-${i % 700}`
    const first = makePut({ label, name, contentType: i % 10 === 0 ? 'a/a' : 'a/b', metadata, wallMs: (i * 7) % 501 })
    const isUpdated = i % 9 === 0
    const moved = { name, contentType: 'a/b', metadata: { ...metadata, half: 2 }, wallMs: 10_000 - i }
    many.push({ first, current: isUpdated ? makeNext(`${label} again`, [first], moved) : first })
  }
  large = (await filled(many.flatMap(({ first, current }) => [first, current]))).catalog
})

const largeCondition = fc.constantFrom<[string, unknown]>(
  ['half', 0],
  ['half', { $in: [0, 2] }],
  ['third', 't1'],
  ['third', { $prefix: 't' }],
  ['rare', 7],
  ['rare', { $lt: 90 }],
  ['rare', { $gte: 98 }],
  ['unique', { $gte: 10, $lt: 400 }],
  ['tags', 'all'],
  ['tags', { $in: ['x1', 'x2', 'all'] }],
  ['tags', { $exists: true }],
  ['long', { $prefix: `${long}1` }],
  ['long', `${long}77`],
  ['none', { $exists: false }],
)

test('a list over many artifacts is the same whichever index answers it', async () => {
  const query = fc.record({
    filter: fc.array(largeCondition, { maxLength: 3 }).map((pairs) => Object.fromEntries(pairs) as FlatFilter),
    namePrefix: fc.option(fc.constantFrom('o', 'even', 'odd-1'), { nil: undefined, freq: 3 }),
    contentType: fc.option(fc.constantFrom('a/a', 'a/b'), { nil: undefined, freq: 3 }),
    from: fc.option(fc.constantFrom(20, 400), { nil: undefined, freq: 4 }),
    to: fc.option(fc.constantFrom(100, 480), { nil: undefined, freq: 4 }),
    by: fc.constantFrom<Case['by']>('createdAt', 'updatedAt', 'name'),
    direction: fc.constantFrom<Case['direction']>('asc', 'desc'),
  })
  await fc.assert(
    fc.asyncProperty(query, fc.constantFrom(1000, 333), async (one, limit) => {
      const items = await all(large, queryOf(one), limit)
      expect(items.map(({ entry }) => toHex(entry))).toEqual(expected(many, one))
    }),
    { numRuns: 60 },
  )
})

class CountingStore extends MemoryKeyValueStore {
  rows = 0

  override async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    this.rows++
    return await super.get(key)
  }

  override async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    this.rows += keys.length
    return await super.getMany(keys)
  }

  override async *entries(
    ...call: Parameters<MemoryKeyValueStore['entries']>
  ): ReturnType<MemoryKeyValueStore['entries']> {
    for await (const row of super.entries(...call)) {
      this.rows++
      yield row
    }
  }
}

test('a selective list reads what it finds and not the namespace, and a page no more than about a page', async () => {
  const artifacts = 6_000
  const store = new CountingStore()
  const catalog = new Catalog({ store, prefix })
  const batch = catalog.begin()
  for (let at = 0; at < artifacts; at++) {
    const metadata = { half: at % 2, of: { ten: at % (artifacts / 10) }, size: at, tags: ['all', `tag-${at}`] }
    const contentType = at % 1_000 === 0 ? 'a/rare' : 'a/a'
    await batch.apply(makePut({ label: `${at}`, name: `name-${at}`, contentType, metadata, wallMs: at }))
  }
  await store.batch(batch.changes, { sync: true })
  const cost = async (query: ListQuery): Promise<number> => {
    store.rows = 0
    await catalog.list(query)
    return store.rows
  }
  const selective: [ListQuery, number][] = [
    [{ metadataFilter: { 'of.ten': 7 } }, 10],
    [{ metadataFilter: { of: { ten: { $in: [7, 8] } } } }, 20],
    [{ metadataFilter: { size: { $gt: 10, $lt: 14 } } }, 3],
    [{ metadataFilter: { size: { $gte: artifacts - 5 } } }, 5],
    [{ metadataFilter: { tags: { $prefix: 'tag-59' } } }, 111],
    [{ metadataFilter: { tags: 'tag-77', half: 1, size: { $exists: true } } }, 1],
    [{ contentType: 'a/rare' }, 6],
    [{ namePrefix: 'name-123' }, 11],
    [{ createdAfter: new Date(artifacts - 5) }, 10],
    [{ metadataFilter: { 'of.ten': 7 }, order: { by: 'name' } }, 10],
  ]
  for (const [query, found] of selective)
    expect(await cost(query), JSON.stringify(query)).toBeLessThanOrEqual(4 * found + 20)
  for (const query of [{}, { metadataFilter: { half: 1 } }, { metadataFilter: { tags: 'all' }, limit: 10 }])
    expect(await cost(query), JSON.stringify(query)).toBeLessThanOrEqual(4 * (query.limit ?? 100) + 20)
})

test('nothing unchanged is left out or shown twice while others write', async () => {
  const write = fc.record({
    at: fc.nat(30),
    kind: fc.constantFrom('new', 'update', 'delete'),
    wallMs: fc.integer({ min: 0, max: 9 }),
  })
  await fc.assert(
    fc.asyncProperty(cases, fc.array(write, { maxLength: 12 }), async (query, writes) => {
      const start = Array.from({ length: 10 }, (_, i) =>
        makePut({ label: `${i}`, name: `f${i % 3}`, contentType: 'a/a', metadata: { a: i % 2 }, wallMs: i % 5 }),
      )
      const plain = { ...query, filter: {}, namePrefix: 'f', contentType: undefined, from: undefined, to: undefined }
      const { catalog, write: apply } = await filled(start)
      const latest = new Map(start.map((op) => [toHex(op.artifact), op]))
      const touched = new Set<string>()
      const seen: string[] = []
      const rest = [...writes]
      let cursor: string | undefined
      do {
        const page = await catalog.list({ ...queryOf(plain), limit: 2, cursor })
        seen.push(...page.items.map(({ artifact }) => toHex(artifact)))
        cursor = page.nextCursor
        for (const { at, kind, wallMs } of rest.splice(0, 3)) {
          const label = `write ${rest.length} ${at} ${kind} ${seen.length}`
          const [id, op] = [...latest][at % latest.size] as [string, ShownPut]
          if (kind === 'new') await apply([makePut({ label, name: 'f1', wallMs })])
          else if (kind === 'delete') await apply([makeEnding('delete', label, [op])])
          else {
            const next = makeNext(label, [op], { name: 'f2', wallMs })
            latest.set(id, next)
            await apply([next])
          }
          if (kind !== 'new') touched.add(id)
        }
      } while (cursor !== undefined)
      for (const id of latest.keys()) {
        if (!touched.has(id)) expect(seen.filter((one) => one === id)).toEqual([id])
      }
    }),
    { numRuns: 150 },
  )
})

test('a cursor of another query, or a garbled one, is refused', async () => {
  const { catalog } = await filled(['a', 'b', 'c'].map((label) => makePut({ label, metadata: { x: 1 } })))
  const { nextCursor } = await catalog.list({ limit: 1 })
  expect((await catalog.list({ limit: 2, cursor: nextCursor })).items).toHaveLength(2)
  const others: (ListQuery & { cursor?: string })[] = [
    { metadataFilter: { x: 1 }, cursor: nextCursor },
    { order: { by: 'createdAt', direction: 'asc' }, cursor: nextCursor },
    { namePrefix: 'r', cursor: nextCursor },
    { cursor: '' },
    { cursor: 'AQ' },
    { cursor: `${nextCursor}AAAA=` },
    { cursor: nextCursor?.slice(0, 16) },
    { cursor: nextCursor?.slice(0, -8) },
  ]
  for (const query of others) {
    await expect(catalog.list(query), query.cursor).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  }
  const one = await catalog.listVersions(bytesFrom('artifact a', 20), { limit: 1 })
  expect(one.items).toHaveLength(1)
  await expect(catalog.listVersions(bytesFrom('artifact a', 20), { cursor: nextCursor })).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
  })
})

test('a limit outside 1 to 1,000 and an order that is none are refused', async () => {
  const { catalog } = await filled([makePut({ label: 'a' })])
  const wrong: unknown[] = [
    { limit: 0 },
    { limit: 1001 },
    { limit: 1.5 },
    { order: { by: 'size' } },
    { order: { by: '__proto__' } },
    { order: { by: 'name', direction: 'up' } },
    { createdAfter: new Date('no date') },
    { createdBefore: 5 },
    { namePrefix: 5 },
    { contentType: '\ud800' },
  ]
  for (const query of wrong) {
    await expect(catalog.list(query as ListQuery), JSON.stringify(query)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
  }
})

test('an abort stops a list', async () => {
  const { catalog } = await filled([makePut({ label: 'a' })])
  const reason = new Error('enough')
  await expect(catalog.list({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
})

test('of many artifacts with one name, the most recently updated is found', async () => {
  const puts = [5, 9, 7].map((wallMs) => makePut({ label: `${wallMs}`, name: 'same', wallMs }))
  const { catalog, write } = await filled([...puts, makePut({ label: 'x', name: 'same!', wallMs: 20 })])
  expect(await catalog.findByName('same')).toEqual(puts[1]?.artifact)
  await write([makeNext('newer', [puts[0] as ShownPut], { name: 'same', wallMs: 11 })])
  expect(await catalog.findByName('same')).toEqual(puts[0]?.artifact)
  await write([makeNext('renamed', [puts[1] as ShownPut], { name: 'other', wallMs: 12 })])
  expect(await catalog.findByName('other')).toEqual(puts[1]?.artifact)
  expect(await catalog.findByName('sam')).toBeUndefined()
})

test('lists several catalogs as if they were one', async () => {
  const ops = fc.sample(fc.array(fc.tuple(fc.nat(2), fc.nat(40)), { minLength: 30, maxLength: 60 }), {
    seed: 20_260_712,
    numRuns: 4,
  })
  for (const places of ops) {
    const puts = places.map(([, wallMs], at) =>
      makePut({ label: `${at}`, clock: { wallMs, counter: at }, name: `n${wallMs}` }),
    )
    const one = await filled(puts)
    const several = await Promise.all(
      [0, 1, 2].map((which) => filled(puts.filter((_, at) => places[at]?.[0] === which))),
    )
    const catalogs = several.map(({ catalog }) => catalog)
    const isOpen = (artifact: Uint8Array) => (artifact[0] as number) % 3 > 0
    const places3 = catalogs.map((catalog) => ({ catalog, only: isOpen }))
    for (const by of ['createdAt', 'updatedAt', 'name'] as const) {
      for (const direction of ['asc', 'desc'] as const) {
        const query = { order: { by, direction }, limit: 7 }
        const records = (await all(one.catalog, query, 7)).filter(({ artifact }) => isOpen(artifact))
        const expected = records.map(({ artifact }) => toHex(artifact))
        const found: string[] = []
        let cursor: string | undefined
        do {
          const page = await Catalog.listAcross(places3, { ...query, cursor })
          for (const { record, catalog } of page.items) {
            found.push(toHex(record.artifact))
            expect(await catalogs[catalog]?.get(record.artifact)).toBeDefined()
          }
          cursor = page.nextCursor
        } while (cursor !== undefined)
        expect(found).toEqual(expected)
      }
    }
  }
})
