import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { toHex } from '../encoding/index.ts'
import { MemoryBlocks, seededBytes, testKeys } from './content.test-helper.ts'
import { type ContentEngine, inThreadEngine } from './engine.ts'
import { type IngestedContent, ingestContent } from './ingest.ts'
import { type KnownLeaves, LeafMemory, LeafTable } from './leaf-memory.ts'

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

describe('a table of leaves', () => {
  const leaves = fc.array(
    fc.record({
      nonce: fc.integer({ min: 0, max: 200 }).map(nonce),
      digest: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      leafBytes: fc.integer({ min: 28, max: 2 * MiB }),
    }),
    { maxLength: 300 },
  )

  test('keeps the first leaf of each nonce, and gives all of them packed, for a memory to learn', () => {
    fc.assert(
      fc.property(leaves, fc.integer({ min: 1, max: 70 }), (given, perPiece) => {
        const table = new LeafTable()
        const expected = new Map<string, { digest: Uint8Array; leafBytes: number }>()
        for (const { nonce: name, ...one } of given) {
          expect(table.add(name, one)).toBe(!expected.has(toHex(name)))
          if (!expected.has(toHex(name))) expected.set(toHex(name), one)
        }
        const memory = new LeafMemory(1000)
        const pieces = [...table.packed(perPiece)]
        expect(pieces).toHaveLength(Math.ceil(expected.size / perPiece))
        for (const piece of pieces) memory.learn('a', piece)
        const learned = memory.under('a')
        expect([learned.size, table.size]).toEqual([expected.size, expected.size])
        for (const { nonce: name } of given) {
          expect(table.find(name)).toEqual(expected.get(toHex(name)))
          expect(learned.find(name)).toEqual(expected.get(toHex(name)))
        }
        expect(memory.knows('a')).toBe(expected.size > 0)
      }),
    )
  })

  test('is what an upload found and added, and not what else is remembered', () => {
    const memory = new LeafMemory(2)
    for (const seed of [1, 2]) memory.under('a').add(nonce(seed), leaf)
    const session = memory.under('a')
    session.find(nonce(1))
    session.find(nonce(3))
    session.add(nonce(4), leaf)
    expect([1, 2, 3, 4].map((seed) => session.met.find(nonce(seed)) !== undefined)).toEqual([true, false, false, true])
    // There was no room for it in the memory, nor is there for what it learns.
    memory.learn('a', [...session.met.packed(10)][0] as Uint8Array)
    expect(memory.under('a').find(nonce(4))).toBeUndefined()
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
