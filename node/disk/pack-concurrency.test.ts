import { createHash, randomBytes } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { MemoryKeyValueStore } from '../../test/support/memory-key-value.ts'
import { PackStore } from './pack-store.ts'
import { numbers, SimulatedDisk, systemError } from './test-support/simulated-disk.ts'

const blocks = Array.from({ length: 24 }, (_, i) => {
  const bytes = randomBytes(100 + i * 40)
  const digest = Uint8Array.from(createHash('sha256').update(bytes).digest())
  return { bytes, digest, key: Buffer.from(digest).toString('hex') }
})
type Block = (typeof blocks)[0]

async function open(disk: SimulatedDisk, index: MemoryKeyValueStore, now: () => number) {
  const options = { directory: '/packs', index, keyPrefix: Uint8Array.of(1), now, files: disk, maxPackBytes: 5000 }
  return (await PackStore.open(options)).namespace('ns_a')
}

/**
 * Agents that write some blocks, sync and then "commit" them (which makes them live), or delete what is live; sweeps beside them
 * that remove all that is not live, however young; and a disk that fails now and then.
 */
async function crowd(seed: number, faults: boolean): Promise<void> {
  const random = numbers(seed)
  const pick = <T>(from: readonly T[]) => from[Math.floor(random() * from.length)] as T
  const disk = new SimulatedDisk()
  const index = new MemoryKeyValueStore()
  const clock = 1_700_000_000_000
  const packs = await open(disk, index, () => clock)
  const live = new Map<Block, number>()
  disk.pause = async () => {
    if (faults && random() < 0.005) index.failNextBatch = random() < 0.5 ? 'before' : 'after'
    for (let i = Math.floor(random() * 4); i > 0; i--) await turn()
  }
  if (faults) disk.fault = ({ kind }) => (kind !== 'read' && random() < 0.01 ? systemError('EIO') : undefined)
  const attempt = async (work: () => Promise<void>) => {
    try {
      await work()
    } catch (error) {
      expect(error).toMatchObject({ code: 'STORAGE_FAILED' })
      expect(faults).toBe(true)
    }
  }
  let busy = 0
  const agent = async () => {
    busy++
    for (let step = 0; step < 15; step++) {
      await attempt(async () => {
        await using writer = packs.openWriter()
        const some = Array.from({ length: 1 + Math.floor(random() * 5) }, () => pick(blocks))
        await Promise.all(
          some.map(async (block) => {
            if (random() < 0.3 && (await writer.find(block.digest))) return
            await writer.put(block.digest, [block.bytes.subarray(0, 9), block.bytes.subarray(9)])
          }),
        )
        await writer.sync()
        for (const block of some) live.set(block, (live.get(block) ?? 0) + 1)
        if (random() < 0.5) await turn()
      })
      await attempt(async () => {
        const block = pick(blocks)
        const before = live.get(block)
        const found = await packs.read(block.digest)
        if (before !== undefined && live.get(block) === before)
          expect(found && Buffer.from(found).equals(block.bytes)).toBe(true)
      })
      if (random() < 0.4) live.delete(pick(blocks))
    }
    busy--
  }
  const sweeper = async () => {
    while (busy > 0) {
      await attempt(async () => {
        await packs.sweep({
          markLive: async () => {
            const keys = new Set([...live.keys()].map(({ key }) => key))
            await turn()
            return (digest) => keys.has(Buffer.from(digest).toString('hex'))
          },
          storedBefore: clock + 5000,
        })
      })
      await turn()
    }
  }
  await Promise.all([agent(), agent(), agent(), agent(), sweeper()])
  disk.pause = undefined
  disk.fault = () => undefined
  index.failNextBatch = undefined
  const after = disk.afterPowerCut(random)
  for (const [store, crashedIndex] of [
    [disk, index],
    [after, index.afterPowerCut(0)],
  ] as const) {
    const reopened = await open(store, crashedIndex, () => clock)
    for (const { digest, bytes } of live.keys()) {
      const found = await reopened.read(digest)
      expect(found && Buffer.from(found).equals(bytes), `seed ${seed}`).toBe(true)
    }
    for await (const finding of reopened.verify({ readData: true })) expect(finding, `seed ${seed}`).toBeUndefined()
    let count = 0
    for await (const _ of reopened.digests()) count++
    expect((await reopened.usage()).blocks, `seed ${seed}`).toBe(count)
  }
}

const rounds = Number(process.env.CROWD_ROUNDS ?? 25)

test('many writers, readers and sweeps at once lose nothing that was committed', async () => {
  for (let seed = 1; seed <= rounds; seed++) await crowd(seed, false)
})

test('nor when the disk fails now and then', async () => {
  for (let seed = 1; seed <= rounds; seed++) await crowd(-seed, true)
})
