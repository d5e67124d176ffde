import { expect, test } from 'vitest'
import { BlockMemory } from './block-memory.ts'

const KiB = 1024

test('memory that was given back is taken again, by blocks of other lengths too', () => {
  const memory = new BlockMemory(1024 * KiB)
  const first = memory.take(700 * KiB + 3)
  expect(first.length).toBe(700 * KiB + 3)
  memory.give(first)
  const second = memory.take(500 * KiB)
  expect(second.buffer).toBe(first.buffer)
  expect([second.byteOffset, second.length]).toEqual([0, 500 * KiB])
  const third = memory.take(500 * KiB)
  expect(third.buffer).not.toBe(first.buffer)
})

test('what is too short is not taken', () => {
  const memory = new BlockMemory(1024 * KiB)
  memory.give(memory.take(100 * KiB))
  expect(memory.take(200 * KiB).length).toBe(200 * KiB)
})

test('no more is kept than was said, and the longest of it', () => {
  const memory = new BlockMemory(1024 * KiB)
  const lengths = [768, 256, 512].map((count) => count * KiB)
  const taken = lengths.map((length) => memory.take(length))
  for (const block of taken) memory.give(block)
  expect(memory.take(1).buffer).toBe(taken[0]?.buffer)
  expect(taken.map(({ buffer }) => buffer)).not.toContain(memory.take(1).buffer)
})
