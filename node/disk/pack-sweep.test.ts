import { createHash, randomBytes } from 'node:crypto'
import { beforeEach, expect, test } from 'vitest'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import type { PackNamespace } from './pack-namespace.ts'
import { PackStore } from './pack-store.ts'
import { SimulatedDisk } from './test-support/simulated-disk.ts'

const digestOf = (bytes: Uint8Array) => Uint8Array.from(createHash('sha256').update(bytes).digest())
const blocks = Array.from({ length: 30 }, () => randomBytes(300)).map((bytes) => ({ bytes, digest: digestOf(bytes) }))
const [first, second] = blocks as [(typeof blocks)[0], (typeof blocks)[0]]
const day = 24 * 3600_000

let disk: SimulatedDisk
let index: MemoryKeyValueStore
let store: PackStore
let packs: PackNamespace
let now: number

beforeEach(async () => {
  disk = new SimulatedDisk()
  index = new MemoryKeyValueStore()
  now = 1_700_000_000_000
  await reopen()
})

async function reopen(): Promise<void> {
  await store?.close().catch(() => {})
  const options = { directory: '/packs', index, keyPrefix: Uint8Array.of(1), files: disk, maxPackBytes: 4000 }
  store = await PackStore.open({ ...options, now: () => now })
  packs = await store.namespace('ns_a')
}

async function storeBlocks(some: readonly { bytes: Uint8Array; digest: Uint8Array }[]): Promise<void> {
  await using writer = packs.openWriter()
  for (const { bytes, digest } of some) await writer.put(digest, bytes)
  await writer.sync()
}

const nothingLive = async () => () => false
const sweepAll = () => packs.sweep({ markLive: nothingLive, storedBefore: now + day })
const isHere = async (block: { digest: Uint8Array }) => (await packs.has([block.digest]))[0]

test('removes what is dead and old, keeps what is live or young, and gives the room back', async () => {
  await storeBlocks(blocks.slice(0, 20))
  now += 10 * day
  await storeBlocks(blocks.slice(20))
  const live = new Set(blocks.slice(0, 5).map(({ digest }) => Buffer.from(digest).toString('hex')))
  const before = await packs.usage()
  const progress: string[] = []
  const result = await packs.sweep({
    markLive: async () => (digest) => live.has(Buffer.from(digest).toString('hex')),
    storedBefore: now - 7 * day,
    onProgress: ({ phase }) => progress.push(phase),
  })
  expect(result).toMatchObject({ removedBlocks: 15, removedBytes: 15 * 300, damagedPacks: [] })
  expect(await packs.has(blocks.map(({ digest }) => digest))).toEqual(blocks.map((_, i) => i < 5 || i >= 20))
  const after = await packs.usage()
  expect(before.diskBytes - after.diskBytes).toBe(result.reclaimedBytes)
  expect(after).toMatchObject({ blocks: 15 })
  expect(after.deadBytes / after.diskBytes).toBeLessThan(0.25)
  expect(progress).toContain('compact')
  for (const { bytes, digest } of [...blocks.slice(0, 5), ...blocks.slice(20)]) {
    expect(Buffer.from((await packs.read(digest)) as Uint8Array)).toEqual(bytes)
  }
})

test('keeps what an open writer stored or found, until it closes', async () => {
  await storeBlocks(blocks.slice(0, 3))
  const writer = packs.openWriter()
  expect(await writer.find(first.digest)).toBe(true)
  expect(await writer.put(second.digest, second.bytes)).toEqual({ stored: false })
  expect(await sweepAll()).toMatchObject({ removedBlocks: 1 })
  expect(await isHere(first)).toBe(true)
  expect(await isHere(second)).toBe(true)
  await writer.close()
  expect(await sweepAll()).toMatchObject({ removedBlocks: 2 })
})

test('keeps what a writer found that opened and closed after the live blocks were listed', async () => {
  await storeBlocks(blocks.slice(0, 3))
  const result = await packs.sweep({
    markLive: async () => {
      const live = new Set<string>()
      await using writer = packs.openWriter()
      expect(await writer.find(first.digest)).toBe(true)
      return (digest) => live.has(Buffer.from(digest).toString('hex'))
    },
    storedBefore: now + day,
  })
  expect(result.removedBlocks).toBe(2)
  expect(await isHere(first)).toBe(true)
})

test('a put of a block whose removal is under way stores it again', async () => {
  await storeBlocks(blocks.slice(0, 3))
  const batch = index.batch.bind(index)
  const reached = Promise.withResolvers<void>()
  const go = Promise.withResolvers<void>()
  index.batch = async (changes, options) => {
    if (changes.some((change) => change.type === 'del')) {
      reached.resolve()
      await go.promise
    }
    return batch(changes, options)
  }
  const sweeping = sweepAll()
  await reached.promise
  await using writer = packs.openWriter()
  const putting = writer.put(first.digest, first.bytes)
  const finding = writer.find(second.digest)
  go.resolve()
  expect(await putting).toEqual({ stored: true })
  expect(await finding).toBe(false)
  await writer.sync()
  await sweeping
  await reopen()
  expect(Buffer.from((await packs.read(first.digest)) as Uint8Array)).toEqual(first.bytes)
})

test('reads go on while their pack is compacted away', async () => {
  await storeBlocks(blocks)
  const live = new Set(blocks.filter((_, i) => i % 3 === 0).map(({ digest }) => Buffer.from(digest).toString('hex')))
  let done = false
  const reading = (async () => {
    let reads = 0
    while (!done || reads === 0) {
      for (const { bytes, digest } of blocks.filter((_, i) => i % 3 === 0)) {
        expect(Buffer.from((await packs.read(digest)) as Uint8Array).equals(bytes)).toBe(true)
        reads++
      }
    }
  })()
  const result = await packs.sweep({
    markLive: async () => (digest) => live.has(Buffer.from(digest).toString('hex')),
    storedBefore: now + day,
  })
  done = true
  await reading
  expect(result.reclaimedBytes).toBeGreaterThan(4000)
})

test('an aborted sweep leaves everything that it did not remove readable', async () => {
  await storeBlocks(blocks)
  const live = new Set(blocks.filter((_, i) => i % 2 === 0).map(({ digest }) => Buffer.from(digest).toString('hex')))
  const abort = new AbortController()
  const sweeping = packs.sweep({
    markLive: async () => (digest) => live.has(Buffer.from(digest).toString('hex')),
    storedBefore: now + day,
    signal: abort.signal,
    onProgress: ({ phase }) => phase === 'compact' && abort.abort(),
  })
  await expect(sweeping).rejects.toMatchObject({ name: 'AbortError' })
  await reopen()
  for (const { bytes, digest } of blocks.filter((_, i) => i % 2 === 0)) {
    expect(Buffer.from((await packs.read(digest)) as Uint8Array)).toEqual(bytes)
  }
})

test('leaves a pack alone in which a live block is damaged, and loses none of the others', async () => {
  await storeBlocks(blocks)
  const live = new Set(blocks.filter((_, i) => i % 3 === 0).map(({ digest }) => Buffer.from(digest).toString('hex')))
  const file = disk.bytes('/packs/ns_a/00000001.pack')
  file[32 + 52 + 7] = (file[32 + 52 + 7] as number) ^ 0x40
  const result = await packs.sweep({
    markLive: async () => (digest) => live.has(Buffer.from(digest).toString('hex')),
    storedBefore: now + day,
  })
  expect(result.damagedPacks).toEqual([1])
  expect((await disk.readdir('/packs/ns_a')).sort()[0]).toBe('00000001.pack')
  for (const { bytes, digest } of blocks.filter((_, i) => i % 3 === 0 && i > 0)) {
    expect(Buffer.from((await packs.read(digest)) as Uint8Array)).toEqual(bytes)
  }
})

test('removes a namespace with its blocks, and finishes that after a kill', async () => {
  await storeBlocks(blocks)
  const other = await store.namespace('ns_b')
  await using writer = other.openWriter()
  await writer.put(first.digest, first.bytes)
  await writer.sync()
  let budget = Number.POSITIVE_INFINITY
  disk.fault = ({ kind }) =>
    kind === 'unlink' && budget-- <= 0 ? Object.assign(new Error('EIO'), { code: 'EIO' }) : undefined
  budget = 1
  await expect(store.removeNamespace('ns_a')).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
  disk.fault = () => undefined
  await expect(packs.read(first.digest)).rejects.toMatchObject({ code: 'CLOSED' })
  await writer.close()
  await reopen()
  expect(await packs.has(blocks.map(({ digest }) => digest))).toEqual(blocks.map(() => false))
  expect((await disk.readdir('/packs')).sort()).toEqual(['ns_a', 'ns_b'])
  expect(await (await store.namespace('ns_b')).has([first.digest])).toEqual([true])
})
