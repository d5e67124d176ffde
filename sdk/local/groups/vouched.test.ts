import { expect, test } from 'vitest'
import { maxLogsByAgent, maxLogsByGroup, maxLogsByOthers } from '../../../src/limits.ts'
import { MemoryKeyValueStore } from '../../../test/support/memory-key-value.ts'
import { Vouched } from './vouched.ts'

const numbered = (value: number) => {
  const bytes = new Uint8Array(32)
  new DataView(bytes.buffer).setUint32(0, value)
  return bytes
}

test('what one agent vouches for is bounded, over a restart, and frees its room when it goes', async () => {
  const store = new MemoryKeyValueStore()
  const vouched = await Vouched.open(store)
  const by = numbered(1)
  for (let number = 0; number < maxLogsByAgent; number++) {
    expect(vouched.hasRoom({ by, group: undefined })).toBe(true)
    await vouched.add(numbered(100 + number), { by, group: undefined })
  }
  const again = await Vouched.open(store)
  expect(again.hasRoom({ by, group: numbered(7) })).toBe(false)
  expect(again.hasRoom({ by: numbered(2), group: undefined })).toBe(true)
  await again.remove(numbered(100))
  await again.remove(numbered(100))
  expect(again.hasRoom({ by, group: undefined })).toBe(true)
  expect((await Vouched.open(store)).size).toBe(maxLogsByAgent - 1)
})

test('what one group brings is bounded, whoever of it vouches', async () => {
  const vouched = await Vouched.open(new MemoryKeyValueStore())
  const group = numbered(7)
  for (let number = 0; number < maxLogsByGroup; number++)
    await vouched.add(numbered(100 + number), { by: numbered(1_000 + number), group })
  expect(vouched.hasRoom({ by: numbered(2), group })).toBe(false)
  expect(vouched.hasRoom({ by: numbered(2), group: numbered(8) })).toBe(true)
})

test('what all bring together is bounded; what is not here after all is forgotten', async () => {
  const store = new MemoryKeyValueStore()
  const vouched = await Vouched.open(store)
  for (let number = 0; number < maxLogsByOthers; number++)
    await vouched.add(numbered(10_000 + number), { by: numbered(number), group: numbered(number) })
  expect(vouched.hasRoom({ by: numbered(5_000), group: numbered(5_000) })).toBe(false)
  await vouched.keepOnly(new Set([Buffer.from(numbered(10_000)).toString('hex')]))
  expect(vouched.size).toBe(1)
  expect((await Vouched.open(store)).of(numbered(10_000))?.by).toEqual(numbered(0))
})
