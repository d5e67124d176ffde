import type { WorkerOptions } from 'node:worker_threads'
import { afterEach, expect, test, vi } from 'vitest'
import { inPieces, MemoryBlocks, seededBytes, testKeys } from '../../src/content/content.test-helper.ts'
import { ingestContent, inThreadEngine, readContent } from '../../src/content/index.ts'
import { WorkerPool } from './pool.ts'

const MiB = 1024 * 1024
/** Threads that the system gives, and how often it was asked for one more. */
const system = vi.hoisted(() => ({ threads: 0, refusals: 0 }))

// As Node does at a limit of processes (ulimit -u, a cgroup's pids.max): the constructor throws.
vi.mock(import('node:worker_threads'), async (original) => {
  const actual = await original()
  class Worker extends actual.Worker {
    constructor(entry: string | URL, options?: WorkerOptions) {
      if (system.threads === 0) {
        system.refusals++
        throw Object.assign(new Error('EAGAIN'), { code: 'ERR_WORKER_INIT_FAILED' })
      }
      system.threads--
      super(entry, options)
    }
  }
  return { ...actual, Worker }
})

afterEach(() => {
  vi.useRealTimers()
  Object.assign(system, { threads: 0, refusals: 0 })
})

async function storeAndRead(pool: WorkerPool): Promise<void> {
  const content = seededBytes('content', 6 * MiB)
  const [here, there] = [new MemoryBlocks(), new MemoryBlocks()]
  const ingest = async (engine: typeof inThreadEngine, blocks: MemoryBlocks) =>
    await ingestContent({ source: inPieces(content, 100_003), keys: testKeys, engine, blocks: blocks.openWriter() })
  const expected = await ingest(inThreadEngine, here)
  const root = await ingest(pool, there)
  expect(root).toEqual(expected)
  const pieces = await Array.fromAsync(readContent({ root, keys: testKeys, blocks: there, engine: pool }))
  expect(Buffer.concat(pieces).equals(content)).toBe(true)
}

test('without a thread for any worker the work is done in the caller’s', async () => {
  await using pool = new WorkerPool(2)
  await storeAndRead(pool)
  expect(Buffer.from(await pool.nonceOf(seededBytes('n', 100_000), testKeys.nonce))).toEqual(
    Buffer.from(await inThreadEngine.nonceOf(seededBytes('n', 100_000), testKeys.nonce)),
  )
  expect(system.refusals).toBeGreaterThan(0)
})

test('with a thread for one worker of three that one does all', async () => {
  system.threads = 1
  await using pool = new WorkerPool(3)
  await storeAndRead(pool)
  expect([system.threads, system.refusals > 0]).toEqual([0, true])
})

test('workers that cannot be started ahead of work throw at nobody, and are started once there are threads', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  await using pool = new WorkerPool(2)
  pool.startSoon()
  vi.advanceTimersByTime(10_000)
  expect(system.refusals).toBe(2)
  vi.useRealTimers()
  system.threads = 2
  await storeAndRead(pool)
  expect(system.threads).toBe(0)
})
