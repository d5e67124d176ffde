import { expect, test } from 'vitest'
import { seededBytes } from './content.test-helper.ts'
import { copyBytes } from './copy-bytes.ts'

test.each([
  ['memory of one thread', (length: number) => new Uint8Array(length)],
  ['memory that threads share', (length: number) => new Uint8Array(new SharedArrayBuffer(length))],
])('copies into %s what set does, and nothing beside it', (_, allocate) => {
  for (const [length, at] of [
    [0, 0],
    [0, 100],
    [1, 99],
    [97, 3],
    [100, 0],
  ] as const) {
    const bytes = seededBytes(`bytes ${length}`, length)
    const memory = allocate(110)
    memory.fill(7)
    const into = memory.subarray(5, 105)
    copyBytes(bytes, into, at)
    const expected = new Uint8Array(110).fill(7)
    expected.set(bytes, 5 + at)
    expect(Buffer.from(memory)).toEqual(Buffer.from(expected))
  }
})
