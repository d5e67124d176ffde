import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bytesFrom, dumpStore, makeEnding, makeNext, makePut } from '../../test/support/catalog-operations.ts'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import { toHex } from '../encoding/index.ts'
import { Catalog, type Operation, type PutOperation, type VersionRecord } from './index.ts'

const prefix = Uint8Array.of(0x63, 0xff)
const artifact = bytesFrom('the artifact', 20)

interface Step {
  readonly kind: Operation['kind']
  readonly wallMs: number
  readonly counter: number
  /** Which earlier steps it names, as shares of how many there are; above 1: something that never comes. */
  readonly names: readonly number[]
  /** Added to the right gen. */
  readonly wrongBy: number
  /** Whether its entry hash begins as all such do, so that version ids must be longer. */
  readonly isAlike: boolean
}

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('put', 'put', 'put', 'put', 'delete', 'drop'),
  wallMs: fc.integer({ min: 1, max: 4 }),
  counter: fc.integer({ min: 0, max: 1 }),
  names: fc.array(fc.oneof({ weight: 20, arbitrary: fc.double({ min: 0, max: 1, noNaN: true }) }, fc.constant(2)), {
    maxLength: 3,
  }),
  wrongBy: fc.oneof({ weight: 15, arbitrary: fc.constant(0) }, fc.constantFrom(1, 2)),
  isAlike: fc.boolean(),
})

/** Steps as operations, each naming only earlier ones; recent ones are likelier, so that histories grow long. */
function operationsFrom(steps: readonly Step[]): Operation[] {
  const ops: Operation[] = []
  for (const [at, { kind, wallMs, counter, names, wrongBy, isAlike }] of steps.entries()) {
    const chosen = names.map((share) => (share > 1 ? undefined : ops[Math.floor(Math.sqrt(share) * ops.length)]))
    const named = chosen.map((op, i) => op?.entry ?? bytesFrom(`never ${at} ${i}`))
    const entry = bytesFrom(`entry ${at}`)
    if (isAlike) entry.set([0xab, 0xcd, 0xef, 0x01], 0)
    const gens = chosen.map((op) => (op?.kind === 'put' ? op.gen : 0))
    const common = { artifact, entry, author: bytesFrom(`author ${at % 3}`), clock: { wallMs, counter } }
    const gen = Math.max(0, ...gens) + 1 + wrongBy
    if (kind === 'put') ops.push(makePut({ label: `${at}`, ...common, parents: named, gen, metadata: { at, wallMs } }))
    else if (kind === 'delete') ops.push({ kind, ...common, parents: named })
    else ops.push({ kind, ...common, parents: [], versions: named })
  }
  return ops
}

/** What a set of operations means, worked out as plainly as it can be said. */
function meaningOf(ops: readonly Operation[]) {
  const byEntry = new Map(ops.map((op) => [toHex(op.entry), op]))
  const statusOf = (hash: Uint8Array): 'absent' | 'pending' | 'ignored' | 'listed' => {
    const op = byEntry.get(toHex(hash))
    if (op === undefined) return 'absent'
    if (op.kind !== 'put') return 'ignored'
    const parents = op.parents.map(statusOf)
    if (parents.includes('ignored')) return 'ignored'
    if (parents.includes('absent') || parents.includes('pending')) return 'pending'
    const gens = op.parents.map((parent) => (byEntry.get(toHex(parent)) as PutOperation).gen)
    return op.gen === 1 + Math.max(0, ...gens) ? 'listed' : 'ignored'
  }
  const listed = ops.filter((op) => op.kind === 'put' && statusOf(op.entry) === 'listed') as PutOperation[]
  const isAncestorOrSelf = (a: PutOperation, hash: Uint8Array): boolean => {
    if (toHex(a.entry) === toHex(hash)) return true
    return (byEntry.get(toHex(hash)) as PutOperation).parents.some((parent) => isAncestorOrSelf(a, parent))
  }
  const endedMsOf = (version: PutOperation): number =>
    Math.min(
      ...ops
        .filter((op) => {
          if (op.kind === 'drop') return op.versions.some((hash) => toHex(hash) === toHex(version.entry))
          if (op.kind === 'put') return false
          return op.parents.some((hash) => statusOf(hash) === 'listed' && isAncestorOrSelf(version, hash))
        })
        .map((op) => op.clock.wallMs),
    )
  const inOrder = (versions: PutOperation[]) =>
    versions.sort(
      (a, b) =>
        a.gen - b.gen ||
        a.clock.wallMs - b.clock.wallMs ||
        a.clock.counter - b.clock.counter ||
        Buffer.compare(a.entry, b.entry),
    )
  inOrder(listed)
  const isNamed = (version: PutOperation) =>
    listed.some((op) => op.parents.some((hash) => toHex(hash) === toHex(version.entry)))
  return {
    listed,
    live: listed.filter((version) => endedMsOf(version) === Number.POSITIVE_INFINITY),
    ended: listed
      .filter((version) => endedMsOf(version) < Number.POSITIVE_INFINITY)
      .map((version) => ({ entry: toHex(version.entry), endedMs: endedMsOf(version) })),
    heads: listed.filter((version) => !isNamed(version)),
  }
}

async function built(batches: readonly (readonly Operation[])[], on = new MemoryKeyValueStore()) {
  const catalog = new Catalog({ store: on, prefix })
  for (const ops of batches) {
    const batch = catalog.begin()
    for (const op of ops) await batch.apply(op)
    await on.batch(batch.changes, { sync: true })
  }
  return { store: on, catalog }
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

async function allVersions(catalog: Catalog, limit: number): Promise<VersionRecord[]> {
  const all: VersionRecord[] = []
  let cursor: string | undefined
  do {
    const page = await catalog.listVersions(artifact, { limit, cursor })
    all.push(...page.items)
    cursor = page.nextCursor
  } while (cursor !== undefined)
  return all
}

const histories = fc.array(step, { minLength: 1, maxLength: 14 }).map(operationsFrom)

/** The same operations in another order, some twice, cut into batches. */
function shuffled(ops: readonly Operation[]): fc.Arbitrary<Operation[][]> {
  return fc
    .tuple(
      fc.shuffledSubarray([...ops], { minLength: ops.length }),
      fc.subarray([...ops]),
      fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1 }),
    )
    .map(([order, again, sizes]) => {
      const rest = [...order, ...again]
      const batches: Operation[][] = []
      for (let i = 0; rest.length > 0; i++) batches.push(rest.splice(0, sizes[i % sizes.length]))
      return batches
    })
}

test('the same operations give the same bytes in any order, any grouping, and twice', async () => {
  const cases = histories.chain((ops) => fc.tuple(fc.constant(ops), shuffled(ops), shuffled(ops)))
  await fc.assert(
    fc.asyncProperty(cases, async ([ops, one, other]) => {
      const expected = await dumpStore((await built([ops])).store)
      expect(await dumpStore((await built(one)).store)).toEqual(expected)
      expect(await dumpStore((await built(other)).store)).toEqual(expected)
    }),
    { numRuns: 300 },
  )
})

test('hidden versions that take their states in any order leave the same bytes as if all had been known', async () => {
  const cases = histories.chain((ops) =>
    fc.tuple(fc.constant(ops), shuffled(ops), shuffled(ops), fc.subarray([...ops])),
  )
  await fc.assert(
    fc.asyncProperty(cases, async ([ops, one, other, hiddenOnes]) => {
      const hidden = new Set<Operation>(hiddenOnes)
      const hide = (op: Operation) => (op.kind === 'put' && hidden.has(op) ? { ...op, state: undefined } : op)
      const expected = await dumpStore((await built([ops.map(hide)])).store)
      const { store, catalog } = await built(one.map((batch) => batch.map(hide)))
      expect(await dumpStore(store)).toEqual(expected)

      const { live, heads } = meaningOf(ops)
      const shown = live.filter((op) => !hidden.has(op))
      expect((await catalog.get(artifact))?.entry).toEqual(shown.at(-1)?.entry)
      const versions = await allVersions(catalog, 2)
      expect(versions.map(({ entry }) => toHex(entry))).toEqual(shown.map(({ entry }) => toHex(entry)).reverse())
      const roots = await Array.fromAsync(catalog.liveRoots())
      expect(roots.map(({ entry }) => toHex(entry))).toEqual(live.map(({ entry }) => toHex(entry)))
      const named = await catalog.begin().versionHeads(artifact)
      expect(named.entries).toEqual(heads.map(({ entry }) => entry))
      for await (const { entry } of catalog.hidden()) {
        expect([...hidden].map((op) => toHex(op.entry))).toContain(toHex(entry))
      }

      const revealed = await built(other, store)
      expect(await dumpStore(revealed.store)).toEqual(await dumpStore((await built([ops])).store))
      expect(await Array.fromAsync(catalog.hidden())).toEqual([])
    }),
    { numRuns: 300 },
  )
})

test('what a batch says appeared and vanished is what is shown after it and was not before', async () => {
  const cases = histories.chain((ops) => fc.tuple(shuffled(ops), fc.subarray([...ops])))
  await fc.assert(
    fc.asyncProperty(cases, async ([batches, hiddenOnes]) => {
      const store = new MemoryKeyValueStore()
      const catalog = new Catalog({ store, prefix })
      const shown = async () => new Set((await allVersions(catalog, 3)).map(({ entry }) => toHex(entry)))
      for (const op of batches.flat()) {
        const before = await shown()
        const batch = catalog.begin()
        const isHidden = op.kind === 'put' && hiddenOnes.includes(op)
        const said = await batch.apply(isHidden ? { ...op, state: undefined } : op)
        await store.batch(batch.changes, { sync: true })
        const after = await shown()
        expect(new Set(said.appeared.map(({ entry }) => toHex(entry)))).toEqual(after.difference(before))
        expect(new Set(said.vanished.map(({ entry }) => toHex(entry)))).toEqual(before.difference(after))
        expect([said.wasShown, said.isShown]).toEqual([before.size > 0, after.size > 0])
      }
    }),
    { numRuns: 200 },
  )
})

test('versions, heads, ends and roots are what the operations mean', async () => {
  const cases = histories.chain((ops) => fc.tuple(fc.constant(ops), shuffled(ops)))
  await fc.assert(
    fc.asyncProperty(cases, fc.integer({ min: 1, max: 3 }), async ([ops, batches], limit) => {
      const { catalog } = await built(batches)
      const { listed, live, ended, heads } = meaningOf(ops)
      const [first] = listed
      const current = live.at(-1)

      const got = await catalog.get(artifact)
      expect(got?.entry).toEqual(current?.entry)
      if (got !== undefined) {
        expect(got).toMatchObject({ current: true, createdAt: first?.clock, createdBy: first?.author })
        expect(got).toMatchObject({ root: current?.root, state: current?.state, updatedAt: current?.clock })
      }
      const versions = await allVersions(catalog, limit)
      expect(versions.map(({ entry }) => toHex(entry))).toEqual(live.map(({ entry }) => toHex(entry)).reverse())
      expect(new Set(versions.map(({ versionId }) => versionId)).size).toBe(live.length)
      for (const version of versions) {
        const siblings = versions.filter((other) => other.number === version.number && other !== version)
        expect([...version.siblings].sort()).toEqual(siblings.map(({ versionId }) => versionId).sort())
        expect(await catalog.get(artifact, version.versionId)).toEqual(version)
        expect(await catalog.get(artifact, `${version.number}-${toHex(version.entry)}`)).toEqual(version)
        const highest = live.filter(({ gen }) => gen === version.number).at(-1)
        expect((await catalog.get(artifact, version.number))?.entry).toEqual(highest?.entry)
      }
      expect(await catalog.begin().versionHeads(artifact)).toEqual({
        entries: heads.map(({ entry }) => entry),
        nextGen: (heads.at(-1)?.gen ?? 0) + 1,
      })
      const roots = await collect(catalog.liveRoots())
      expect(roots.map(({ root }) => root)).toEqual(live.map(({ root }) => root))
      expect(
        (await collect(catalog.endedVersions(artifact))).map(({ entry, endedMs }) => ({
          entry: toHex(entry),
          endedMs,
        })),
      ).toEqual(ended)
      expect(await catalog.counts()).toEqual({ artifacts: live.length > 0 ? 1 : 0, versions: live.length })
      expect((await catalog.list()).items.map(({ entry }) => entry)).toEqual(
        current === undefined ? [] : [current.entry],
      )
    }),
    { numRuns: 300 },
  )
})

test('what an operation began and ended adds up to what is live', async () => {
  const cases = histories.chain((ops) => shuffled(ops))
  await fc.assert(
    fc.asyncProperty(cases, async (batches) => {
      const store = new MemoryKeyValueStore()
      const catalog = new Catalog({ store, prefix })
      const held = new Set<string>()
      for (const ops of batches) {
        const batch = catalog.begin()
        for (const op of ops) {
          const { began, ended } = await batch.apply(op)
          for (const { digest } of ended) expect(held.delete(toHex(digest))).toBe(true)
          for (const { digest } of began) held.add(toHex(digest))
        }
        await store.batch(batch.changes, { sync: true })
      }
      const roots = await collect(catalog.liveRoots())
      expect([...held].sort()).toEqual(roots.map(({ root }) => toHex(root.digest)).sort())
    }),
    { numRuns: 200 },
  )
})

test('an artifact rebuilt from fewer operations is as if the others had never counted', async () => {
  const cases = histories.chain((ops) => fc.tuple(fc.constant(ops), fc.shuffledSubarray(ops)))
  await fc.assert(
    fc.asyncProperty(cases, async ([ops, counted]) => {
      const bystander = makePut({ label: 'bystander' })
      const { store, catalog } = await built([[bystander, ...ops]])
      const before = (await collect(catalog.liveRoots(artifact))).map(({ root }) => toHex(root.digest))
      const batch = catalog.begin()
      const { began, ended } = await batch.rebuild(artifact, counted)
      await store.batch(batch.changes, { sync: true })
      const direct = await built([[bystander], counted])
      expect(await dumpStore(store)).toEqual(await dumpStore(direct.store))
      const after = (await collect(catalog.liveRoots(artifact))).map(({ root }) => toHex(root.digest))
      const endedDigests = new Set(ended.map(({ digest }) => toHex(digest)))
      const kept = before.filter((digest) => !endedDigests.has(digest))
      expect([...kept, ...began.map(({ digest }) => toHex(digest))].sort()).toEqual(after.sort())
    }),
    { numRuns: 200 },
  )
})

test('reads of a batch see what it was given', async () => {
  const cases = histories.chain((ops) => fc.tuple(fc.constant(ops), fc.integer({ min: 0, max: ops.length })))
  await fc.assert(
    fc.asyncProperty(cases, async ([ops, stored]) => {
      const { catalog } = await built([ops.slice(0, stored)])
      const batch = catalog.begin()
      for (const op of ops.slice(stored)) await batch.apply(op)
      const whole = await built([ops])
      expect(await batch.current(artifact)).toEqual(await whole.catalog.get(artifact))
      expect(await batch.versionHeads(artifact)).toEqual(await whole.catalog.begin().versionHeads(artifact))
      for (const number of [1, 2, 3]) {
        expect(await batch.version(artifact, number)).toEqual(await whole.catalog.get(artifact, number))
      }
    }),
    { numRuns: 200 },
  )
})

test('a put whose parents are listed in one step is listed once', async () => {
  const root = makePut({ label: 'root', artifact })
  const [left, right] = [makeNext('left', [root]), makeNext('right', [root])]
  const merge = makeNext('merge', [left, right])
  const { catalog } = await built([[merge, right, left], [root]])
  expect((await allVersions(catalog, 100)).map(({ number }) => number)).toEqual([3, 2, 2, 1])
  expect(await catalog.begin().versionHeads(artifact)).toEqual({ entries: [merge.entry], nextGen: 4 })
  expect(await catalog.counts()).toEqual({ artifacts: 1, versions: 4 })
})

test('of more than 32 heads the next update names the highest', async () => {
  const puts = Array.from({ length: 40 }, (_, i) => makePut({ label: `head ${i}`, artifact, wallMs: 100 + i }))
  const { catalog } = await built([puts])
  const heads = await catalog.begin().versionHeads(artifact)
  expect(heads).toEqual({ entries: puts.slice(8).map(({ entry }) => entry), nextGen: 2 })
})

test('a delete that names versions of which one is still missing ends the others at once, and that one when it comes', async () => {
  const [here, late] = [makePut({ label: 'here', artifact }), makePut({ label: 'late', artifact })]
  const { catalog, store } = await built([[here], [makeEnding('delete', 'gone', [here, late])]])
  expect(await catalog.get(artifact)).toBeUndefined()
  const batch = catalog.begin()
  expect(await batch.apply(late)).toMatchObject({ began: [], ended: [] })
  await store.batch(batch.changes, { sync: true })
  expect(await catalog.get(artifact)).toBeUndefined()
  expect(await catalog.begin().versionHeads(artifact)).toMatchObject({ nextGen: 2 })
})

test('a version id that another live version shares is refused, and both are given longer ones', async () => {
  const alike = ['one', 'two'].map((label) => {
    const entry = bytesFrom(label)
    entry.set([0xab, 0xcd, 0xef, 0x01, 0x23], 0)
    return makePut({ label, artifact, entry })
  })
  const { catalog } = await built([alike])
  const ids = (await allVersions(catalog, 10)).map(({ versionId }) => versionId)
  expect(ids.every((id) => id.startsWith('1-abcdef0123') && id.length > 12)).toBe(true)
  await expect(catalog.get(artifact, '1-abcdef01')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  const dropped = await built([alike, [makeEnding('drop', 'drop', alike.slice(0, 1))]])
  expect((await dropped.catalog.get(artifact, '1-abcdef01'))?.versionId).toBe('1-abcdef01')
})

test('what is no version number and no version id is refused; one that is not there gives nothing', async () => {
  const { catalog } = await built([[makePut({ label: 'one', artifact })]])
  for (const ref of [
    0,
    -1,
    1.5,
    Number.NaN,
    '',
    '1',
    '1-',
    '1-abc',
    '01-abcdef01',
    '1-ABCDEF01',
    `1-${'a'.repeat(65)}`,
  ]) {
    await expect(catalog.get(artifact, ref), String(ref)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  }
  for (const ref of [2, 2 ** 40, '1-00000000', '9999999999-00000000']) {
    expect(await catalog.get(artifact, ref)).toBeUndefined()
  }
})

test('an operation out of range is refused and changes nothing', async () => {
  const { catalog } = await built([])
  const wrong: Partial<PutOperation>[] = [
    { artifact: new Uint8Array(19) },
    { entry: new Uint8Array(31) },
    { parents: [new Uint8Array(33)] },
    { clock: { wallMs: -1, counter: 0 } },
    { clock: { wallMs: 2 ** 48, counter: 0 } },
    { clock: { wallMs: 1, counter: 2 ** 32 } },
    { gen: 0 },
    { gen: 2 ** 32 },
  ]
  for (const fields of wrong) {
    const batch = catalog.begin()
    await expect(batch.apply(makePut({ label: 'x', ...fields }))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(batch.changes).toEqual([])
  }
})

test('clearing removes everything under the prefix and nothing beside it', async () => {
  const { catalog, store } = await built([['a', 'b', 'c'].map((label) => makePut({ label }))])
  await store.batch(
    [Uint8Array.of(0x62), Uint8Array.of(0x64)].map((key) => ({ type: 'put', key, value: key })),
    { sync: true },
  )
  for (let changes = await catalog.clearChanges(7); changes.length > 0; changes = await catalog.clearChanges(7)) {
    expect(changes.length).toBeLessThanOrEqual(7)
    await store.batch(changes, { sync: true })
  }
  expect(await dumpStore(store)).toEqual(['62=62', '64=64'])
})
