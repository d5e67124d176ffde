import { createHash } from 'node:crypto'
import { cp, mkdir, mkdtemp, open, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import type { PackNamespace } from './pack-namespace.ts'
import { PackStore } from './pack-store.ts'
import type { PackFinding } from './pack-verify.ts'

/** 1000 bytes each, the same on every run; five to a pack. */
const blocks = Array.from({ length: 12 }, (_, i) => {
  const bytes = Buffer.concat(
    Array.from({ length: 32 }, (_, j) => createHash('sha256').update(`${i} ${j}`).digest()),
  ).subarray(0, 1000)
  return { bytes, digest: Uint8Array.from(createHash('sha256').update(bytes).digest()) }
})
const recordBytes = 52 + 1000
const fixture = join(import.meta.dirname, 'fixtures', 'pack-v1.pack')

let dir: string
let index: MemoryKeyValueStore
let store: PackStore
let packs: PackNamespace

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ahub-damage-'))
  index = new MemoryKeyValueStore()
  await reopen()
  await using writer = packs.openWriter()
  for (const { bytes, digest } of blocks) await writer.put(digest, bytes)
  await writer.sync()
  await reopen()
})

afterEach(async () => {
  await store.close()
  await rm(dir, { recursive: true, force: true })
})

async function reopen(): Promise<void> {
  await store?.close()
  const now = () => 1_700_000_000_000
  store = await PackStore.open({
    directory: join(dir, 'packs'),
    index,
    keyPrefix: Uint8Array.of(1),
    now,
    maxPackBytes: 5500,
  })
  packs = await store.namespace('ns_a')
}

const packPath = (pack: number) => join(dir, 'packs', 'ns_a', `0000000${pack}.pack`)

async function findings(readData = true): Promise<PackFinding[]> {
  const all: PackFinding[] = []
  for await (const finding of packs.verify({ readData })) all.push(finding)
  return all.sort((a, b) => a.pack - b.pack || a.offset - b.offset)
}

/** Which blocks read back as they were put; the others must be refused or absent, never wrong. */
async function readable(): Promise<number[]> {
  const sound: number[] = []
  for (const [i, { bytes, digest }] of blocks.entries()) {
    const found = await packs.read(digest).catch((error) => {
      expect(error).toMatchObject({ code: 'CORRUPT' })
      return undefined
    })
    if (found && Buffer.from(found).equals(bytes)) sound.push(i)
  }
  return sound
}

async function overwrite(pack: number, position: number, bytes: Uint8Array): Promise<void> {
  const file = await open(packPath(pack), 'r+')
  await file.write(bytes, 0, bytes.length, position)
  await file.close()
}

/** What quarantine leaves absent can be stored again, and then nothing is wrong any more. */
async function expectRepairable(): Promise<void> {
  const wrong = (await findings()).filter(({ digest }) => digest)
  expect(await packs.quarantine(await findings(), { directory: join(dir, 'quarantine') })).toHaveLength(wrong.length)
  await using writer = packs.openWriter()
  for (const { bytes, digest } of blocks) await writer.put(digest, bytes)
  await writer.sync()
  expect((await findings()).filter(({ digest }) => digest)).toEqual([])
  expect(await readable()).toEqual(blocks.map((_, i) => i))
}

test('finds nothing wrong with sound packs', async () => {
  expect(await findings()).toEqual([])
  expect(await readable()).toHaveLength(12)
})

test('finds a flipped bit when it reads the data, and keeps the damaged bytes in quarantine', async () => {
  const position = 32 + 2 * recordBytes + 52 + 500
  const bit = (blocks[2] as (typeof blocks)[0]).bytes[500] as number
  await overwrite(1, position, Uint8Array.of(bit ^ 8))
  expect(await findings(false)).toEqual([])
  expect(await findings()).toMatchObject([{ kind: 'bad-data', pack: 1, offset: 32 + 2 * recordBytes, length: 1000 }])
  await expectRepairable()
  const [kept] = await readdir(join(dir, 'quarantine'))
  const bytes = await readFile(join(dir, 'quarantine', kept as string))
  expect(bytes).toHaveLength(1000)
  expect(bytes[500]).toBe(bit ^ 8)
})

test('finds a zeroed block and its header', async () => {
  await overwrite(2, 32 + recordBytes, new Uint8Array(recordBytes))
  expect(await findings(false)).toMatchObject([{ kind: 'bad-record', pack: 2, offset: 32 + recordBytes }])
  await expectRepairable()
})

test('finds what a truncated pack lost, refuses it as corrupt, and never writes over what the index names', async () => {
  for (const pack of [1, 3]) {
    await truncate(packPath(pack), 32 + recordBytes + 100)
    await reopen()
  }
  expect((await findings(false)).map(({ kind, pack }) => [kind, pack])).toEqual([
    ...Array(4).fill(['outside-pack', 1]),
    ['outside-pack', 3],
  ])
  expect(await readable()).toEqual([0, 5, 6, 7, 8, 9, 10])
  await expect(packs.read((blocks[2] as (typeof blocks)[0]).digest)).rejects.toMatchObject({ code: 'CORRUPT' })
  const before = await readFile(packPath(3))
  await expectRepairable()
  expect((await readFile(packPath(3))).equals(before)).toBe(true)
})

test('takes a missing pack for damage, not for absence', async () => {
  await rename(packPath(2), join(dir, 'away'))
  await reopen()
  expect((await findings(false)).map(({ kind }) => kind)).toEqual(Array(5).fill('missing-pack'))
  expect(await packs.has([(blocks[5] as (typeof blocks)[0]).digest])).toEqual([true])
  expect(await readable()).toEqual([0, 1, 2, 3, 4, 10, 11])
  await expect(packs.read((blocks[5] as (typeof blocks)[0]).digest)).rejects.toMatchObject({ code: 'CORRUPT' })
  // It may come back: nothing of it is forgotten.
  expect(await packs.quarantine(await findings(), { directory: join(dir, 'quarantine') })).toEqual([])
  await rename(join(dir, 'away'), packPath(2))
  expect(await readable()).toHaveLength(12)
})

test('keeps for good a pack that a damaged block was taken out of, through sweeps, a rebuild and a reopening', async () => {
  await overwrite(1, 32 + 52, new Uint8Array(10))
  const before = await readFile(packPath(1))
  expect(await packs.quarantine(await findings(), { directory: join(dir, 'quarantine') })).toHaveLength(1)
  for (const between of [async () => {}, () => packs.rebuildIndex(), reopen]) {
    await between()
    const swept = await packs.sweep({ markLive: async () => () => false, storedBefore: Number.POSITIVE_INFINITY })
    expect(swept.damagedPacks).toEqual([1])
    expect((await readFile(packPath(1))).equals(before)).toBe(true)
  }
  expect((await readdir(join(dir, 'packs', 'ns_a'))).filter((name) => name.endsWith('.pack'))).toEqual([
    '00000001.pack',
  ])
})

test('finds a pack of another namespace in the place of its own', async () => {
  const other = await store.namespace('ns_b')
  await using writer = other.openWriter()
  const { bytes, digest } = blocks[0] as (typeof blocks)[0]
  await writer.put(digest, bytes)
  await writer.sync()
  await cp(join(dir, 'packs', 'ns_b', '00000001.pack'), packPath(1))
  expect((await findings(false))[0]).toMatchObject({ kind: 'bad-pack-header', pack: 1 })
})

test('makes the index again from the packs alone, around damage', async () => {
  await overwrite(1, 0, new Uint8Array(32))
  await overwrite(1, 32 + recordBytes, new Uint8Array(recordBytes + 20))
  await overwrite(2, 32 + 52 + 1, new Uint8Array(10))
  index = new MemoryKeyValueStore()
  await reopen()
  await packs.rebuildIndex()
  const expected = blocks.map((_, i) => i).filter((i) => ![1, 2, 5].includes(i))
  expect(await readable()).toEqual(expected)
  expect(await packs.usage()).toMatchObject({ blocks: expected.length, packs: 3 })
  const [before, after] = [
    await readFile(packPath(2)),
    await (async () => {
      await reopen()
      return readFile(packPath(2))
    })(),
  ]
  expect(after.equals(before)).toBe(true)
  expect(await readable()).toEqual(expected)
})

test('a rebuild that was cut off is finished by the next open', async () => {
  index.failNextBatch = 'after'
  await expect(packs.rebuildIndex()).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
  await reopen()
  expect(await readable()).toHaveLength(12)
  expect(await findings()).toEqual([])
})

test('a record inside a block is not taken for a record', async () => {
  const inner = await readFile(packPath(1))
  const digest = Uint8Array.from(createHash('sha256').update(inner).digest())
  const victim = await store.namespace('ns_c')
  await using writer = victim.openWriter()
  await writer.put(digest, inner)
  await writer.sync()
  const file = await open(join(dir, 'packs', 'ns_c', '00000001.pack'), 'r+')
  await file.write(new Uint8Array(40), 0, 40, 32)
  await file.close()
  await victim.rebuildIndex()
  expect(await victim.has(blocks.map((block) => block.digest))).toEqual(blocks.map(() => false))
})

test.each([0, 2])('refuses a pack of format %s and leaves it as it is', async (format) => {
  const bytes = await readFile(packPath(3))
  bytes.writeUInt32LE(format, 8)
  const { crc32 } = await import('node:zlib')
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 28)), 28)
  await store.close()
  await writeFile(packPath(3), bytes)
  index = new MemoryKeyValueStore()
  await expect(reopen()).rejects.toMatchObject({ code: 'UNSUPPORTED_FORMAT' })
  expect((await readFile(packPath(3))).equals(bytes)).toBe(true)
})

test('writes packs byte for byte as the frozen fixture (v1)', async () => {
  if (process.env.UPDATE_FIXTURES) {
    await mkdir(join(fixture, '..'), { recursive: true })
    await cp(packPath(3), fixture)
  }
  expect((await readFile(packPath(3))).equals(await readFile(fixture))).toBe(true)
})
