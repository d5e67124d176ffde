import { expect, test } from 'vitest'
import { SharedMemory } from './shared-memory.ts'

const MiB = 1024 * 1024

/** Whether two parts have a byte in common. */
function overlap(a: Uint8Array, b: Uint8Array): boolean {
  return a.buffer === b.buffer && a.byteOffset < b.byteOffset + b.length && b.byteOffset < a.byteOffset + a.length
}

test('lends a part to one at a time, and again when it was given back', () => {
  const memory = new SharedMemory()
  const parts = [6, 6, 1, 2, 2, 6].map((size) => memory.allocate(size * MiB))
  expect(parts.map((part) => part.length / MiB)).toEqual([6, 6, 1, 2, 2, 6])
  expect(parts[0]?.buffer).toBeInstanceOf(SharedArrayBuffer)
  for (const [at, part] of parts.entries()) expect(parts.slice(0, at).some((other) => overlap(part, other))).toBe(false)
  memory.free(parts[3] as Uint8Array)
  const again = memory.allocate(2 * MiB)
  expect(again).toBe(parts[3])
  expect(memory.allocate(2 * MiB)).not.toBe(again)
})

test('takes more from the system when what it has is lent, and keeps one region of what comes back', () => {
  const memory = new SharedMemory()
  const parts = Array.from({ length: 40 }, () => memory.allocate(6 * MiB))
  for (const [at, part] of parts.entries()) expect(parts.slice(0, at).some((other) => overlap(part, other))).toBe(false)
  const buffers = new Set(parts.map(({ buffer }) => buffer))
  expect(buffers.size).toBeGreaterThan(3)
  for (const part of parts) memory.free(part)
  const again = Array.from({ length: 40 }, () => memory.allocate(6 * MiB))
  expect(new Set(again.map(({ buffer }) => buffer)).intersection(buffers).size).toBe(1)
})

test('cuts what is not lent anew for parts of another length', () => {
  const memory = new SharedMemory()
  const small = Array.from({ length: 20 }, () => memory.allocate(3 * MiB))
  for (const part of small) memory.free(part)
  const large = memory.allocate(50 * MiB)
  expect(large.buffer).toBe(small[0]?.buffer)
  const one = memory.allocate(3 * MiB)
  expect(overlap(one, large)).toBe(false)
  memory.free(large)
  expect(overlap(memory.allocate(40 * MiB), one)).toBe(false)
})

test('lends more than a region at once', () => {
  expect(new SharedMemory().allocate(100 * MiB)).toHaveLength(100 * MiB)
})

test('lets go of what is not lent, and of the rest when it comes back', () => {
  const memory = new SharedMemory()
  const [kept, freed] = [memory.allocate(6 * MiB), memory.allocate(6 * MiB)]
  memory.free(freed)
  memory.drop()
  expect(memory.allocate(6 * MiB)).toBe(freed)
  memory.free(freed)
  memory.free(kept)
  memory.drop()
  expect(memory.allocate(6 * MiB).buffer).not.toBe(kept.buffer)
})
