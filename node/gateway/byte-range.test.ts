import { expect, test } from 'vitest'
import { rangeOf } from './byte-range.ts'

const part = (start: number, end: number) => ({ kind: 'part', start, end })
const whole = { kind: 'whole' }
const unsatisfiable = { kind: 'unsatisfiable' }

test.each([
  ['bytes=0-0', part(0, 1)],
  ['bytes=0-9', part(0, 10)],
  ['bytes=2-4', part(2, 5)],
  ['bytes=9-9', part(9, 10)],
  ['bytes=3-', part(3, 10)],
  ['bytes=0-', part(0, 10)],
  ['bytes=-3', part(7, 10)],
  ['bytes=-10', part(0, 10)],
  // clamped
  ['bytes=5-100', part(5, 10)],
  ['bytes=-11', part(0, 10)],
  ['bytes=0-18446744073709551615', part(0, 10)],
  [`bytes=0-${'9'.repeat(400)}`, part(0, 10)],
  // as lists and units may be written
  ['BYTES=1-2', part(1, 3)],
  ['bytes= 1-2', part(1, 3)],
  ['bytes=1-2 ', part(1, 3)],
  ['bytes=,1-2,', part(1, 3)],
  // outside
  ['bytes=10-', unsatisfiable],
  ['bytes=10-20', unsatisfiable],
  ['bytes=-0', unsatisfiable],
  ['bytes=9007199254740992-9007199254740992', unsatisfiable],
  [`bytes=${'9'.repeat(400)}-`, unsatisfiable],
  // several
  ['bytes=0-1,4-5', whole],
  ['bytes=0-1,', part(0, 2)],
  // malformed
  ['bytes=5-2', whole],
  ['bytes=', whole],
  ['bytes=-', whole],
  ['bytes=a-b', whole],
  ['bytes=0x1-2', whole],
  ['bytes=1-2-3', whole],
  ['bytes=--1', whole],
  ['bytes=+1-2', whole],
  ['bytes=1.5-2', whole],
  ['bytes 0-1', whole],
  ['0-1', whole],
  ['lines=0-1', whole],
  ['', whole],
  [undefined, whole],
])('%j of ten bytes', (header, answer) => {
  expect(rangeOf(header, 10)).toEqual(answer)
})

test('of nothing there is no range', () => {
  expect(rangeOf('bytes=0-', 0)).toEqual(unsatisfiable)
  expect(rangeOf('bytes=-5', 0)).toEqual(whole)
  expect(rangeOf(undefined, 0)).toEqual(whole)
})

test('the last bytes of 100 GB', () => {
  expect(rangeOf('bytes=99999999990-', 100_000_000_000)).toEqual(part(99_999_999_990, 100_000_000_000))
})
