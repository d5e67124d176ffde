import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import { Catalog } from './index.ts'
import type { PutOperation } from './operation.ts'

const prefix = new TextEncoder().encode('c/')

function put(fields: Partial<PutOperation> & { name?: string; metadata?: Record<string, unknown> } = {}): PutOperation {
  const { name = 'report.pdf', metadata = {}, ...rest } = fields
  return {
    kind: 'put',
    artifact: new Uint8Array(randomBytes(20)),
    entry: new Uint8Array(randomBytes(32)),
    author: new Uint8Array(32).fill(7),
    clock: { wallMs: 1_790_000_000_000, counter: 0 },
    parents: [],
    gen: 1,
    root: {
      digest: new Uint8Array(32).fill(9),
      codec: 0x55,
      inline: true,
      sizeBytes: 3,
      storedBytes: 31,
      keyId: new Uint8Array(16),
    },
    state: { name, contentType: 'application/pdf', metadata, sha256: new Uint8Array(32).fill(5) },
    ...rest,
  }
}

test('a put can be got and is listed', async () => {
  const store = new MemoryKeyValueStore()
  const catalog = new Catalog({ store, prefix })
  const batch = catalog.begin()
  const one = put({ metadata: { a: { b: [1, 'x'] } } })
  await batch.apply(one)
  expect((await batch.current(one.artifact))?.number).toBe(1)
  await store.batch(batch.changes, { sync: true })
  const got = await catalog.get(one.artifact)
  expect(got).toMatchObject({ number: 1, root: one.root, state: one.state, current: true, siblings: [] })
  expect((await catalog.list()).items).toEqual([got])
  expect((await catalog.list({ metadataFilter: { 'a.b': 'x' } })).items).toEqual([got])
  expect((await catalog.list({ metadataFilter: { a: { b: 'y' } } })).items).toEqual([])
})
