import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import { LevelStore } from './level-store.ts'
import { PackStore } from './pack-store.ts'

let dir: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ahub-packs-'))
})

afterEach(() => rm(dir, { recursive: true, force: true }))

const digestOf = (block: Uint8Array) => Uint8Array.from(createHash('sha256').update(block).digest())

test('reads back after reopening, over LevelDB, what was put in parts and synced', async () => {
  const blocks = Array.from({ length: 20 }, (_, i) => randomBytes(1 + i * 5000))
  for (const opening of [1, 2, 3]) {
    await using level = await LevelStore.open({ path: join(dir, 'db') })
    await using store = await PackStore.open({
      directory: join(dir, 'packs'),
      index: level,
      keyPrefix: Uint8Array.of(1),
      now: Date.now,
    })
    const namespace = await store.namespace('ns_a')
    await using writer = namespace.openWriter()
    for (const block of blocks) {
      const parts = [block.subarray(0, 100), block.subarray(100)]
      expect(await writer.put(digestOf(block), parts)).toEqual({ stored: opening === 1 })
    }
    await writer.sync()
    for (const block of blocks) expect(Buffer.from((await namespace.read(digestOf(block))) ?? [])).toEqual(block)
    expect(await (await store.namespace('ns_b')).has(blocks.map(digestOf))).toEqual(blocks.map(() => false))
  }
})

test('stores a block once when many writers put it at the same time', async () => {
  const store = await PackStore.open({
    directory: join(dir, 'packs'),
    index: new MemoryKeyValueStore(),
    keyPrefix: Uint8Array.of(1),
    now: Date.now,
  })
  const namespace = await store.namespace('ns_a')
  const block = randomBytes(1000)
  const results = await Promise.all(
    Array.from({ length: 64 }, async () => {
      await using writer = namespace.openWriter()
      const { stored } = await writer.put(digestOf(block), block)
      await writer.sync()
      return stored
    }),
  )
  expect(results.filter((stored) => stored)).toHaveLength(1)
  await store.close()
})

test('reads into the caller’s memory, up to the end of the block and no further', async () => {
  await using store = await PackStore.open({
    directory: join(dir, 'packs'),
    index: new MemoryKeyValueStore(),
    keyPrefix: Uint8Array.of(1),
    now: Date.now,
  })
  const namespace = await store.namespace('ns_a')
  const block = randomBytes(5000)
  await using writer = namespace.openWriter()
  await writer.put(digestOf(block), block)
  await writer.sync()
  const memory = new Uint8Array(new SharedArrayBuffer(6000)).fill(7)
  expect(await namespace.readInto(digestOf(block), memory.subarray(4))).toBe(5000)
  expect(Buffer.from(memory)).toEqual(Buffer.concat([Buffer.alloc(4, 7), block, Buffer.alloc(996, 7)]))
  expect(await namespace.readInto(digestOf(randomBytes(1)), memory)).toBeUndefined()
  const tooShort = namespace.readInto(digestOf(block), memory.subarray(0, 4999))
  await expect(tooShort).rejects.toMatchObject({ code: 'INTERNAL' })
})
