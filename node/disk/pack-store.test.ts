import { createHash, randomBytes } from 'node:crypto'
import { readSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ArtifactHubError } from '../../src/errors.ts'
import type { BlockPlace } from '../../src/storage/index.ts'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import { LevelStore } from './level-store.ts'
import { PackStore } from './pack-store.ts'
import { SimulatedDisk } from './test-support/simulated-disk.ts'

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

test('names the place of a block in an open file, and again when that was not to be read', async () => {
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
  const bytesAt = async ({ descriptor, offset, length }: BlockPlace): Promise<Buffer> => {
    const bytes = Buffer.alloc(length)
    expect(readSync(descriptor, bytes, 0, length, offset)).toBe(length)
    return bytes
  }
  expect(await namespace.inPlace(digestOf(block), bytesAt)).toEqual(block)
  expect(await namespace.inPlace(digestOf(randomBytes(1)), bytesAt)).toBeUndefined()
  let tries = 0
  const failing = (code: string) =>
    namespace.inPlace(digestOf(block), async () => {
      tries++
      throw Object.assign(new Error(code), { code })
    })
  await expect(failing('EOF')).rejects.toMatchObject({ code: 'CORRUPT' })
  expect(tries).toBe(2)
  await expect(failing('EIO')).rejects.toMatchObject({ code: 'STORAGE_FAILED', details: { systemCode: 'EIO' } })
  const ours = new ArtifactHubError('STORAGE_FULL', 'of another file')
  const theirs = namespace.inPlace(digestOf(block), async () => {
    throw ours
  })
  await expect(theirs).rejects.toBe(ours)
  const stop = new AbortController()
  const reason = new DOMException('enough', 'AbortError')
  const ended = namespace.inPlace(
    digestOf(block),
    async () => {
      stop.abort(reason)
      throw reason
    },
    { signal: stop.signal },
  )
  await expect(ended).rejects.toBe(reason)
})

test('has no place for a block on a disk without descriptors', async () => {
  await using store = await PackStore.open({
    directory: '/packs',
    index: new MemoryKeyValueStore(),
    keyPrefix: Uint8Array.of(1),
    now: Date.now,
    files: new SimulatedDisk(),
  })
  const namespace = await store.namespace('ns_a')
  await using writer = namespace.openWriter()
  await writer.put(digestOf(Buffer.alloc(9)), Buffer.alloc(9))
  expect(await namespace.inPlace(digestOf(Buffer.alloc(9)), async () => 1)).toBeUndefined()
  expect(await namespace.read(digestOf(Buffer.alloc(9)))).toHaveLength(9)
})
