import { describe, expect, test } from 'vitest'
import { MemoryBlocks, seededBytes, testKeys } from './content.test-helper.ts'
import { type ContentEngine, inThreadEngine } from './engine.ts'
import { type IngestedContent, ingestContent } from './ingest.ts'
import { type KnownLeaves, LeafMemory } from './leaf-memory.ts'

const MiB = 1024 * 1024
const leaf = { digest: new Uint8Array(32), leafBytes: 100 }
const nonce = (seed: number): Uint8Array => seededBytes(`nonce ${seed}`, 12)

describe('the leaf memory', () => {
  test('keeps the leaves of different keys apart', () => {
    const memory = new LeafMemory(10)
    memory.under('a').add(nonce(1), leaf)
    expect(memory.under('a').find(nonce(1))).toEqual(leaf)
    expect(memory.under('a').find(nonce(2))).toBeUndefined()
    expect(memory.under('b').find(nonce(1))).toBeUndefined()
    expect([memory.under('a').size, memory.under('b').size]).toEqual([1, 0])
  })

  test('holds no more than its bound, and forgets the keys that were used longest ago', () => {
    const memory = new LeafMemory(4)
    for (const key of ['a', 'b']) for (const seed of [1, 2]) memory.under(key).add(nonce(seed), leaf)
    memory.under('a')
    memory.under('c').add(nonce(1), leaf)
    expect([memory.under('a').size, memory.under('b').size, memory.under('c').size]).toEqual([2, 0, 1])
    const many = memory.under('d')
    for (let seed = 0; seed < 10; seed++) many.add(nonce(seed), leaf)
    expect(['a', 'b', 'c', 'd'].map((key) => memory.under(key).size)).toEqual([0, 0, 0, 4])
  })
})

describe('ingest with known leaves', () => {
  /** An engine that counts what it seals. */
  function counting(): { engine: ContentEngine; sealed: () => number } {
    let sealed = 0
    const engine: ContentEngine = {
      ...inThreadEngine,
      seal: async (chunk, keys, given) => {
        sealed++
        return await inThreadEngine.seal(chunk, keys, given)
      },
    }
    return { engine, sealed: () => sealed }
  }

  async function ingest(
    bytes: Uint8Array,
    store: MemoryBlocks,
    engine: ContentEngine,
    known?: KnownLeaves,
  ): Promise<IngestedContent> {
    await using blocks = store.openWriter()
    async function* source(): AsyncGenerator<Uint8Array> {
      yield bytes
    }
    return await ingestContent({ source: source(), keys: testKeys, engine, blocks, known })
  }

  const first = seededBytes('content', 16 * MiB)
  const second = new Uint8Array([...first.subarray(0, 100), 1, ...first.subarray(100)])

  test('seals only what changed and gives the result that it gives without them', async () => {
    const memory = new LeafMemory(1000)
    const store = new MemoryBlocks()
    const { engine, sealed } = counting()
    const before = await ingest(first, store, engine, memory.under('a'))
    expect(sealed()).toBe(before.leaves)
    const after = await ingest(second, store, engine, memory.under('a'))
    expect(sealed() - before.leaves).toBeLessThan(4)
    const plainStore = new MemoryBlocks()
    await ingest(first, plainStore, inThreadEngine)
    expect(after).toEqual(await ingest(second, plainStore, inThreadEngine))
    expect([...store.blocks.keys()].sort()).toEqual([...plainStore.blocks.keys()].sort())
  })

  test('seals again what is remembered and no longer in the store', async () => {
    const memory = new LeafMemory(1000)
    const { engine } = counting()
    const result = await ingest(first, new MemoryBlocks(), engine, memory.under('a'))
    const store = new MemoryBlocks()
    expect(await ingest(first, store, engine, memory.under('a'))).toEqual(result)
    expect(store.blocks.size).toBe(result.leaves + 1)
  })
})
