import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Level } from 'level'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { KeyValueStore } from '../../src/storage/key-value.ts'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import { DiskReserve } from './disk-reserve.ts'
import { LevelStore } from './level-store.ts'

let dir: string

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ahub-level-'))
})

afterEach(() => rm(dir, { recursive: true, force: true }))

const key = (...bytes: number[]) => Uint8Array.from(bytes)
const put = (k: Uint8Array, value: Uint8Array) => ({ type: 'put' as const, key: k, value })

async function keysOf(store: KeyValueStore, range: Parameters<KeyValueStore['entries']>[0]): Promise<string[]> {
  const keys: string[] = []
  for await (const [k] of store.entries(range)) keys.push(Buffer.from(k).toString('hex'))
  return keys
}

for (const [name, open] of Object.entries<() => Promise<KeyValueStore>>({
  LevelStore: () => LevelStore.open({ path: join(dir, 'db') }),
  'the store in memory': async () => new MemoryKeyValueStore(),
})) {
  test(`${name} keeps bytes in key order, changes them in batches and gives ranges of them`, async () => {
    const store = await open()
    const keys = [key(), key(0), key(0, 255), key(1), key(1, 0), key(128), key(255, 255)].filter((k) => k.length > 0)
    await store.batch(
      keys.map((k, i) => put(k, key(i))),
      { sync: true },
    )
    expect(await store.get(key(0, 255))).toEqual(key(1))
    expect(await store.get(key(9))).toBeUndefined()
    expect(await store.getMany([key(9), key(128)])).toEqual([undefined, key(4)])
    expect(await keysOf(store, {})).toEqual(['00', '00ff', '01', '0100', '80', 'ffff'])
    expect(await keysOf(store, { gte: key(0, 255), lt: key(128) })).toEqual(['00ff', '01', '0100'])
    expect(await keysOf(store, { gt: key(0, 255), lte: key(128), reverse: true, limit: 2 })).toEqual(['80', '0100'])
    await store.batch(
      [put(key(1), key(7)), { type: 'del', key: key(1) }, { type: 'del', key: key(0) }, put(key(0), key(8))],
      { sync: false },
    )
    expect(await store.getMany([key(0), key(1)])).toEqual([key(8), undefined])
    await (store as Partial<LevelStore>).close?.()
  })

  test(`${name} iterates over a snapshot and stops at an abort`, async () => {
    const store = await open()
    await store.batch(
      Array.from({ length: 100 }, (_, i) => put(key(i), key(i))),
      { sync: false },
    )
    const seen: number[] = []
    for await (const [k] of store.entries({})) {
      seen.push(k[0] as number)
      if (seen.length === 1) await store.batch([put(key(200), key(0)), { type: 'del', key: key(50) }], { sync: false })
    }
    expect(seen).toEqual(Array.from({ length: 100 }, (_, i) => i))
    const abort = new AbortController()
    const iterate = async () => {
      for await (const [k] of store.entries({}, { signal: abort.signal })) if (k[0] === 3) abort.abort()
    }
    await expect(iterate()).rejects.toMatchObject({ name: 'AbortError' })
    for await (const _ of store.entries({})) break
    await (store as Partial<LevelStore>).close?.()
  })
}

test('everything is CLOSED after close, which may be called again', async () => {
  const store = await LevelStore.open({ path: join(dir, 'db') })
  await store.close()
  await store.close()
  await expect(store.get(key(1))).rejects.toMatchObject({ code: 'CLOSED' })
  await expect(store.getMany([key(1)])).rejects.toMatchObject({ code: 'CLOSED' })
  await expect(store.batch([put(key(1), key(1))], { sync: false })).rejects.toMatchObject({ code: 'CLOSED' })
  await expect(keysOf(store, {})).rejects.toMatchObject({ code: 'CLOSED' })
})

test('a database that is open already is LOCKED, and one whose folder cannot be is STORAGE_FAILED', async () => {
  await using _ = await LevelStore.open({ path: join(dir, 'db') })
  await expect(LevelStore.open({ path: join(dir, 'db') })).rejects.toMatchObject({ code: 'LOCKED' })
  await writeFile(join(dir, 'file'), '')
  await expect(LevelStore.open({ path: join(dir, 'file', 'db') })).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
})

const isRoot = process.getuid?.() === 0

test.skipIf(!isRoot)(
  'a full disk leaves a batch in doubt, and the store opens itself again (a tmpfs, so root only)',
  async () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', dir])
    try {
      let told = 0
      const store = await LevelStore.open({ path: join(dir, 'db'), onInDoubt: (epoch) => (told = epoch) })
      await store.batch([put(key(1), key(1))], { sync: true })
      const big = new Uint8Array(300_000)
      const fill = async () => {
        for (let i = 0; ; i++) await store.batch([put(key(2, i), big)], { sync: true })
      }
      await expect(fill()).rejects.toMatchObject({ code: 'STORAGE_FULL', details: { inDoubt: true } })
      expect(told).toBe(1)
      expect(store.epoch).toBe(1)
      execFileSync('mount', ['-o', 'remount,size=64m', dir])
      expect(await store.get(key(1))).toEqual(key(1))
      await store.batch([put(key(3), key(3))], { sync: true })
      await store.close()
      await using again = await LevelStore.open({ path: join(dir, 'db') })
      expect(await again.getMany([key(1), key(3)])).toEqual([key(1), key(3)])
      expect((await keysOf(again, { gte: key(2), lt: key(3) })).length).toBeGreaterThan(3)
    } finally {
      execFileSync('umount', ['-l', dir])
    }
  },
)

test.skipIf(!isRoot)(
  'with a reserve it opens itself again on a full disk, at the reserve’s cost (a tmpfs, so root only)',
  async () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=200m', 'tmpfs', dir])
    try {
      const reserve = join(dir, 'reserve')
      await using store = await LevelStore.open({ path: join(dir, 'db'), reserve: new DiskReserve(reserve) })
      await store.batch([put(key(1), new Uint8Array(2_000_000))], { sync: true })
      await vi.waitFor(() => stat(reserve), { timeout: 10_000 })
      const fill = async () => {
        // Not compressible: LevelDB would make little of zeros.
        for (let i = 0; ; i++) await store.batch([put(key(2, i), randomBytes(1_000_000))], { sync: true })
      }
      await expect(fill()).rejects.toMatchObject({ code: 'STORAGE_FULL' })
      expect((await store.get(key(1)))?.length).toBe(2_000_000)
      await expect(stat(reserve)).rejects.toMatchObject({ code: 'ENOENT' })
    } finally {
      execFileSync('umount', ['-l', dir])
    }
  },
  60_000,
)

test.skipIf(!isRoot)(
  'a database that is gone when it opens itself again is CORRUPT, and none is made in its place (a tmpfs, so root only)',
  async () => {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', dir])
    const [current, aside] = [join(dir, 'db', 'CURRENT'), join(dir, 'put aside')]
    try {
      await using store = await LevelStore.open({ path: join(dir, 'db') })
      await store.batch([put(key(1), key(1))], { sync: true })
      const fill = async () => {
        for (let i = 0; ; i++) await store.batch([put(key(2, i), new Uint8Array(300_000))], { sync: true })
      }
      await expect(fill()).rejects.toMatchObject({ code: 'STORAGE_FULL' })
      execFileSync('mount', ['-o', 'remount,size=64m', dir])
      await rename(current, aside)
      await expect(store.get(key(1))).rejects.toMatchObject({ code: 'CORRUPT' })
      await rename(aside, current)
      expect(await store.get(key(1))).toEqual(key(1))
    } finally {
      execFileSync('umount', ['-l', dir])
    }
  },
)

test('a database that was there before must be there, with its file CURRENT', async () => {
  const path = join(dir, 'db')
  await expect(LevelStore.open({ path, mustExist: true })).rejects.toMatchObject({ code: 'CORRUPT', details: { path } })
  await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' })
  await (await LevelStore.open({ path })).close()
  await (await LevelStore.open({ path, mustExist: true })).close()
})

test('its folder is for its owner alone, also one that was made wider before', async () => {
  const path = join(dir, 'db')
  await (await LevelStore.open({ path })).close()
  expect((await stat(path)).mode & 0o777).toBe(0o700)
  await chmod(path, 0o755)
  await (await LevelStore.open({ path })).close()
  expect((await stat(path)).mode & 0o777).toBe(0o700)
})

test('no empty value is given to LevelDB, which would never free it, and one that is there is read as that', async () => {
  const path = join(dir, 'db')
  const values = [key(), key(255), key(255, 255), key(255, 0), key(0), key(7, 255)]
  const rows = values.map((value, at): [Uint8Array, Uint8Array] => [key(at), value])
  const read = async (store: LevelStore) => {
    expect(await Array.fromAsync(store.entries({}))).toEqual(rows)
    for (const many of [values.length, 100]) {
      const keys = Array.from({ length: many }, (_, at) => key(at))
      expect(await store.getMany(keys)).toEqual(keys.map((_, at) => values[at]))
    }
    for (const [at, value] of values.entries()) expect(await store.get(key(at))).toEqual(value)
  }
  {
    await using store = await LevelStore.open({ path })
    await store.batch(
      rows.map(([k, value]) => put(k, value)),
      { sync: false },
    )
    await read(store)
  }
  const level = new Level<Uint8Array, Uint8Array>(path, { keyEncoding: 'view', valueEncoding: 'view' })
  const stored = (await level.iterator().all()).map(([, value]) => value.length)
  expect(stored).toEqual([1, 2, 3, 2, 1, 2])
  await level.put(key(0), key())
  await level.close()
  await using store = await LevelStore.open({ path })
  await read(store)
})
