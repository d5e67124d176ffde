import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { bytesFrom, dumpStore, makeEnding, makeNext, makePut } from '../../test/support/catalog-operations.ts'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import { Catalog, type Operation } from './index.ts'

const prefix = Uint8Array.of(0x67, 0x01)

/** One of everything that has a row: live, ended by delete and by drop, siblings, pending, ignored, waiting. */
function variedOperations(): Operation[] {
  const metadata = JSON.parse(
    `{"n":null,"yes":true,"no":false,"int":3,"minus":-1.5,"big":1e300,"text":"a\\u0000b","emoji":"😀","long":"${'x'.repeat(70)}",
      "list":[1,"1",[2],{"in":"list"}],"object":{"a.b":{"c":1}},"${'p'.repeat(70)}":1,"__proto__":{"own":1}}`,
  ) as Record<string, unknown>
  const one = makePut({ label: 'one', name: 'ä/b', contentType: 'text/plain; charset=utf-8', metadata, wallMs: 1_000 })
  const two = makeNext('two', [one], { metadata: { v: 2 }, clock: { wallMs: 2_000, counter: 3 } })
  const sibling = makeNext('sibling', [one], { metadata: { v: 3 }, wallMs: 1_500 })
  const four = makeNext('four', [two, sibling], { metadata: { v: 4 }, wallMs: 2_500 })
  const orphan = makePut({ label: 'orphan', artifact: one.artifact, parents: [bytesFrom('missing')], gen: 9 })
  const wrong = makeNext('wrong', [one], { gen: 7 })
  const other = makePut({ label: 'other', wallMs: 5_000 })
  return [
    one,
    two,
    sibling,
    four,
    orphan,
    wrong,
    makeEnding('drop', 'drop', [four], 6_000),
    makeEnding('delete', 'delete waits', [sibling, orphan], 7_000),
    other,
    makeEnding('delete', 'delete', [other], 8_000),
  ]
}

async function built(ops: readonly Operation[]) {
  const store = new MemoryKeyValueStore()
  const catalog = new Catalog({ store, prefix })
  const batch = catalog.begin()
  for (const op of ops) await batch.apply(op)
  await store.batch(batch.changes, { sync: true })
  return { store, catalog }
}

// v1, frozen: bytes that change here are another format of data directories, with a fixture of its own.
test('rows are the bytes of the frozen fixture', async () => {
  const { store } = await built(variedOperations())
  const fixture = JSON.parse(
    await readFile(new URL('../../test/fixtures/catalog-v1.json', import.meta.url), 'utf8'),
  ) as {
    rows: string[]
    hidden: string[]
  }
  expect(await dumpStore(store)).toEqual(fixture.rows)
  const hidden = await built([{ ...makePut({ label: 'hidden' }), state: undefined }])
  expect(await dumpStore(hidden.store)).toEqual(fixture.hidden)
})

test('a put can be got and is listed, from the batch and from the store', async () => {
  const put = makePut({ label: 'a', metadata: { a: { b: [1, 'x'] } } })
  const { catalog } = await built([put])
  const got = await catalog.get(put.artifact)
  expect(got).toEqual({
    artifact: put.artifact,
    entry: put.entry,
    author: put.author,
    number: 1,
    versionId: `1-${Buffer.from(put.entry).toString('hex').slice(0, 8)}`,
    createdAt: put.clock,
    createdBy: put.author,
    updatedAt: put.clock,
    root: put.root,
    state: put.state,
    siblings: [],
    current: true,
  })
  expect((await catalog.list()).items).toEqual([got])
  expect((await catalog.list({ metadataFilter: { 'a.b': 'x' } })).items).toEqual([got])
  expect(await catalog.get(bytesFrom('another', 20))).toBeUndefined()
})

test('a deleted artifact is not listed, and its next version goes on counting', async () => {
  const one = makePut({ label: 'one' })
  const { catalog, store } = await built([one, makeEnding('delete', 'delete', [one])])
  expect(await catalog.get(one.artifact)).toBeUndefined()
  expect((await catalog.list()).items).toEqual([])
  const batch = catalog.begin()
  const { entries: parents, nextGen } = await batch.versionHeads(one.artifact)
  await batch.apply(makePut({ label: 'again', artifact: one.artifact, parents, gen: nextGen }))
  await store.batch(batch.changes, { sync: true })
  expect(await catalog.get(one.artifact)).toMatchObject({ number: 2, createdAt: one.clock })
})

test('metadata keys that name parts of a prototype come back as they were', async () => {
  const metadata = JSON.parse('{"__proto__":{"x":1},"constructor":2,"/":"s","bytes":"s"}') as Record<string, unknown>
  const put = makePut({ label: 'a', metadata })
  const { catalog } = await built([put])
  const got = await catalog.get(put.artifact)
  expect(JSON.stringify(got?.state.metadata)).toBe('{"/":"s","__proto__":{"x":1},"bytes":"s","constructor":2}')
  expect((await catalog.list({ metadataFilter: JSON.parse('{"__proto__":{"x":1}}') })).items).toHaveLength(1)
})
