import { createHash, randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import type { PackNamespace } from './pack-namespace.ts'
import { PackStore } from './pack-store.ts'
import { type Fault, numbers, SimulatedDisk, systemError } from './test-support/simulated-disk.ts'

interface Block {
  readonly bytes: Buffer
  readonly digest: Uint8Array
}

const block = (bytes: Buffer): Block => ({
  bytes,
  digest: Uint8Array.from(createHash('sha256').update(bytes).digest()),
})
const pool = Array.from({ length: 40 }, (_, i) => block(randomBytes(20 + i * 60)))
const now = () => 1_700_000_000_000

async function open(disk: SimulatedDisk, index: MemoryKeyValueStore): Promise<[PackStore, PackNamespace]> {
  const store = await PackStore.open({
    directory: '/packs',
    index,
    keyPrefix: Uint8Array.of(1),
    now,
    files: disk,
    maxPackBytes: 6000,
  })
  return [store, await store.namespace('ns_a')]
}

/** Writers side by side, syncs, a sweep of half of what they stored, and more writes; tells of every promise and every failure. */
async function workload(
  disk: SimulatedDisk,
  index: MemoryKeyValueStore,
  promised: Set<Block>,
  onFailure: (error: unknown) => void,
): Promise<void> {
  const attempt = async (work: () => Promise<unknown>) => {
    try {
      await work()
      return true
    } catch (error) {
      onFailure(error)
      return false
    }
  }
  let store: PackStore | undefined
  await attempt(async () => {
    const [opened, packs] = await open(disk, index)
    store = opened
    const write = (blocks: readonly Block[], syncEvery: number) =>
      attempt(async () => {
        await using writer = packs.openWriter()
        let waiting: Block[] = []
        for (const [i, { bytes, digest }] of blocks.entries()) {
          await writer.put(digest, [bytes.subarray(0, 3), bytes.subarray(3)])
          waiting.push(blocks[i] as Block)
          if ((i + 1) % syncEvery === 0) {
            await writer.sync()
            for (const one of waiting) promised.add(one)
            waiting = []
          }
        }
      })
    await Promise.all([write(pool.slice(0, 8), 4), write(pool.slice(4, 16), 3), write(pool.slice(16, 20), 1)])
    const live = new Set(pool.filter((_, i) => i % 2 === 0).map(({ digest }) => Buffer.from(digest).toString('hex')))
    const during = pool.slice(20, 30)
    await Promise.all([
      attempt(() => {
        for (const [i, one] of pool.slice(0, 20).entries()) if (i % 2 === 1) promised.delete(one)
        return packs.sweep({
          markLive: async () => (digest) => live.has(Buffer.from(digest).toString('hex')),
          storedBefore: now() + 1000,
        })
      }),
      write(during, 5),
    ])
    await write(pool.slice(30), 2)
  })
  await attempt(async () => store?.close())
}

async function expectSound(disk: SimulatedDisk, index: MemoryKeyValueStore, promised: Iterable<Block>): Promise<void> {
  const [store, packs] = await open(disk, index)
  for (const { bytes, digest } of promised) {
    const found = await packs.read(digest)
    expect(found && Buffer.from(found).equals(bytes)).toBe(true)
  }
  for await (const finding of packs.verify({ readData: true })) expect(finding).toBeUndefined()
  await store.close()
}

test('after a power cut at any operation, however unkind, everything synced reads back', async () => {
  const disk = new SimulatedDisk()
  const index = new MemoryKeyValueStore()
  const promised = new Set<Block>()
  const cuts: { disk: SimulatedDisk; index: MemoryKeyValueStore; promised: Block[] }[] = []
  disk.fault = () => {
    const batches = index.unsyncedBatches
    for (const kept of new Set([0, Math.floor(batches / 2), batches])) {
      for (const random of [() => 0, () => 0.99, numbers(cuts.length), numbers(-cuts.length)]) {
        cuts.push({ disk: disk.afterPowerCut(random), index: index.afterPowerCut(kept), promised: [...promised] })
      }
    }
    return undefined
  }
  await workload(disk, index, promised, (error) => expect(error).toBeUndefined())
  expect(promised.size).toBe(30)
  expect(cuts.length).toBeGreaterThan(500)
  for (const cut of cuts) await expectSound(cut.disk, cut.index, cut.promised)
}, 60_000)

for (const [name, fault] of Object.entries({
  EIO: systemError('EIO'),
  EMFILE: systemError('EMFILE'),
  ENOSPC: systemError('ENOSPC'),
  'a short write, then ENOSPC': { shortWrite: 70, error: systemError('ENOSPC') },
  'a short write': { shortWrite: 70 },
} satisfies Record<string, Fault>)) {
  test(`with ${name} at any operation, nothing synced is lost and the store goes on`, async () => {
    for (let k = 0; ; k++) {
      const disk = new SimulatedDisk()
      const index = new MemoryKeyValueStore()
      const promised = new Set<Block>()
      let hit = false
      let seen = 0
      disk.fault = ({ kind }) => {
        if ((!(fault instanceof Error) && kind !== 'write') || seen++ !== k) return undefined
        hit = true
        return fault
      }
      await workload(disk, index, promised, (error) => {
        expect((error as { code: string }).code).toMatch(/^STORAGE_(FULL|FAILED)$/)
        if (name === 'ENOSPC') expect((error as { code: string }).code).toBe('STORAGE_FULL')
      })
      if (!hit) {
        expect(k).toBeGreaterThan(fault instanceof Error ? 100 : 25)
        break
      }
      disk.fault = () => undefined
      const [store, packs] = await open(disk, index)
      await using writer = packs.openWriter()
      for (const { bytes, digest } of pool) await writer.put(digest, bytes)
      await writer.sync()
      await store.close()
      await expectSound(disk, index, [...promised, ...pool])
    }
  }, 60_000)
}

test('a failed write rejects its put with the reason, and the same writer goes on in a fresh pack', async () => {
  const disk = new SimulatedDisk()
  const [, packs] = await open(disk, new MemoryKeyValueStore())
  const [a, b, c] = pool as [Block, Block, Block]
  await using writer = packs.openWriter()
  await writer.put(a.digest, a.bytes)
  disk.fault = ({ kind }) => (kind === 'write' ? { shortWrite: 60, error: systemError('ENOSPC') } : undefined)
  await expect(writer.put(b.digest, b.bytes)).rejects.toMatchObject({ code: 'STORAGE_FULL', retryable: true })
  disk.fault = () => undefined
  await writer.put(c.digest, c.bytes)
  await writer.sync()
  expect(await packs.has([a.digest, b.digest, c.digest])).toEqual([true, false, true])
  expect((await disk.readdir('/packs/ns_a')).sort()).toEqual(['00000001.pack', '00000002.pack'])
})

test('a failed fsync tells everyone who relied on the block, who put it and who found it, until it is put again', async () => {
  const disk = new SimulatedDisk()
  const [, packs] = await open(disk, new MemoryKeyValueStore())
  const { digest, bytes } = pool[5] as Block
  await using putter = packs.openWriter()
  await using finder = packs.openWriter()
  expect(await putter.put(digest, bytes)).toEqual({ stored: true })
  expect(await finder.put(digest, bytes)).toEqual({ stored: false })
  disk.fault = ({ kind }) => (kind === 'datasync' ? systemError('EIO') : undefined)
  await expect(putter.sync()).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
  disk.fault = () => undefined
  await expect(putter.sync()).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
  await expect(finder.sync()).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
  expect(await packs.has([digest])).toEqual([false])
  expect(await finder.put(digest, bytes)).toEqual({ stored: true })
  await finder.sync()
  expect(await putter.find(digest)).toBe(true)
  await putter.sync()
})

test('a disk error while reading is never taken for absence', async () => {
  const disk = new SimulatedDisk()
  const index = new MemoryKeyValueStore()
  const [, first] = await open(disk, index)
  const { digest, bytes } = pool[9] as Block
  await using writer = first.openWriter()
  await writer.put(digest, bytes)
  await writer.sync()
  for (const code of ['EIO', 'EMFILE', 'EACCES']) {
    for (const kind of ['open', 'read']) {
      const [store, packs] = await open(disk, index)
      disk.fault = (operation) => (operation.kind === kind ? systemError(code) : undefined)
      await expect(packs.read(digest)).rejects.toMatchObject({ code: 'STORAGE_FAILED' })
      disk.fault = () => undefined
      expect(Buffer.from((await packs.read(digest)) as Uint8Array)).toEqual(bytes)
      await store.close()
    }
  }
})
