import { expect, test } from 'vitest'
import { type OpenBox, OpenBoxes } from './open-boxes.ts'

const artifact = new Uint8Array(20)
const keyId = (byte: number) => new Uint8Array(16).fill(byte)

function boxes(count: number): ReadonlyMap<string, OpenBox> {
  return new Map(Array.from({ length: count }, (_, at) => [`${at}`, { epoch: `${at}` } as OpenBox]))
}

test('what was not asked for longest makes way, and of the others nothing', () => {
  const open = new OpenBoxes(200)
  for (const byte of [1, 2]) open.keep(artifact, keyId(byte), boxes(100))
  expect(open.of(artifact, keyId(1)).size).toBe(100)
  open.keep(artifact, keyId(3), boxes(100))
  expect([1, 2, 3].map((byte) => open.of(artifact, keyId(byte)).size)).toEqual([100, 0, 100])
  // In place of what there was of that key.
  open.keep(artifact, keyId(3), boxes(90))
  open.keep(artifact, keyId(1), boxes(110))
  expect([1, 2, 3].map((byte) => open.of(artifact, keyId(byte)).size)).toEqual([110, 0, 90])
})

test('of keys that few are to have nothing is kept, nor of one that more have than there is room for', () => {
  const open = new OpenBoxes(200)
  open.keep(artifact, keyId(1), boxes(100))
  open.keep(artifact, keyId(2), boxes(63))
  open.keep(artifact, keyId(3), boxes(201))
  expect([1, 2, 3].map((byte) => open.of(artifact, keyId(byte)).size)).toEqual([100, 0, 0])
  open.keep(artifact, keyId(1), boxes(10))
  expect(open.of(artifact, keyId(1)).size).toBe(0)
})
