import { expect, test } from 'vitest'
import { maxFilterConditions, maxFilterValues, maxMetadataDepth } from '../limits.ts'
import { conditionText, parseFilter } from './filter.ts'
import { matchesConditions } from './match.ts'
import { type Metadata, validateMetadata } from './metadata.ts'

const matches = (metadata: unknown, filter: unknown) =>
  matchesConditions(validateMetadata(metadata) as Metadata, parseFilter(filter))

test('a dotted path, a nested one and a literal key with a dot are the same', () => {
  expect(conditionText(parseFilter({ 'a.b': 1 }))).toBe(conditionText(parseFilter({ a: { b: 1 } })))
  for (const metadata of [{ a: { b: 1 } }, { 'a.b': 1 }, { a: [{ b: 2 }, { b: 1 }] }]) {
    expect(matches(metadata, { 'a.b': 1 })).toBe(true)
    expect(matches(metadata, { a: { b: 1 } })).toBe(true)
    expect(matches(metadata, { a: { b: 3 } })).toBe(false)
  }
})

test('a condition holds for a list when it holds for the whole or for one item', () => {
  const metadata = { tags: ['x', 'y'], scores: [0, 10], pairs: [[1, 2], [3]] }
  expect(matches(metadata, { tags: 'y' })).toBe(true)
  expect(matches(metadata, { tags: ['x', 'y'] })).toBe(true)
  expect(matches(metadata, { tags: ['y', 'x'] })).toBe(false)
  expect(matches(metadata, { tags: ['x'] })).toBe(false)
  expect(matches(metadata, { pairs: [1, 2] })).toBe(true)
  expect(matches(metadata, { pairs: 3 })).toBe(true)
  // One item must satisfy all of one condition: neither 0 nor 10 lies between.
  expect(matches(metadata, { scores: { $gt: 1, $lt: 5 } })).toBe(false)
  expect(matches(metadata, { scores: { $gt: 1, $lt: 11 } })).toBe(true)
})

test('compares within one type only, strings by code points', () => {
  expect(matches({ a: '5' }, { a: { $gt: 1 } })).toBe(false)
  expect(matches({ a: '5' }, { a: 5 })).toBe(false)
  expect(matches({ a: true }, { a: 1 })).toBe(false)
  expect(matches({ a: null }, { a: { $lte: 0 } })).toBe(false)
  expect(matches({ a: -0 }, { a: 0 })).toBe(true)
  // UTF-16 units would put the emoji (D83D…) before U+FFEE.
  expect(matches({ a: '😀' }, { a: { $gt: '\uffee' } })).toBe(true)
})

test('null is a value and absence is not', () => {
  expect(matches({ a: null }, { a: null })).toBe(true)
  expect(matches({}, { a: null })).toBe(false)
  expect(matches({ a: null }, { a: { $exists: true } })).toBe(true)
  expect(matches({ a: null }, { a: { $exists: false } })).toBe(false)
  expect(matches({ a: {} }, { 'a.b': { $exists: false } })).toBe(true)
})

test('a whole object is asked for with $in', () => {
  expect(matches({ a: { y: 1, x: 2 } }, { a: { $in: [{ x: 2, y: 1 }] } })).toBe(true)
  expect(matches({ a: { x: 2, y: 1, z: 0 } }, { a: { $in: [{ x: 2, y: 1 }] } })).toBe(false)
  expect(matches({ a: 1 }, { a: { $in: [] } })).toBe(false)
})

test('inherited members are never found', () => {
  expect(matches({}, { constructor: { $exists: true } })).toBe(false)
  expect(matches({ a: 'x' }, { 'a.length': 1 })).toBe(false)
  expect(matches({ a: [1] }, { 'a.length': 1 })).toBe(false)
  const own = JSON.parse('{"__proto__":{"a":1}}') as unknown
  expect(matches(own, JSON.parse('{"__proto__":{"a":1}}'))).toBe(true)
  expect(matches({ a: 1 }, own)).toBe(false)
  expect(({} as { a?: number }).a).toBeUndefined()
})

test('undefined is absent, and an object with nothing in it is no condition', () => {
  for (const filter of [undefined, {}, { a: undefined }, { a: {} }, { a: { $gt: undefined, $lt: undefined } }]) {
    expect(parseFilter(filter)).toEqual([])
  }
  expect(conditionText(parseFilter({ a: { $gt: 1, $lt: undefined } }))).toBe(
    conditionText(parseFilter({ a: { $gt: 1 } })),
  )
})

const deep = (depth: number): unknown => (depth === 0 ? 1 : { a: deep(depth - 1) })
const wide = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, i]))
const refused: [string, unknown, string][] = [
  ['no object', 5, ''],
  ['null', null, ''],
  ['a list', [], ''],
  ['an operator at the top', { $or: [] }, ''],
  ['an unknown operator', { a: { $regex: 'x' } }, 'a'],
  ['$eq', { a: { b: { $eq: 1 } } }, 'a.b'],
  ['operators beside paths', { a: { $gt: 1, b: 2 } }, 'a'],
  ['$in without a list', { a: { $in: 'x' } }, 'a'],
  ['too many values', { a: { $in: Array.from({ length: maxFilterValues + 1 }, (_, i) => i) } }, 'a'],
  ['a hole among values', { a: { $in: new Array(2) } }, 'a'],
  ['undefined among values', { a: { $in: [undefined] } }, 'a'],
  ['an end that is no number or string', { a: { $gt: true } }, 'a'],
  ['an end that is NaN', { a: { $gte: Number.NaN } }, 'a'],
  ['ends of two types', { a: { $gte: 1, $lt: 'x' } }, 'a'],
  ['a number beside a prefix', { a: { $gte: 1, $prefix: 'x' } }, 'a'],
  ['two lower ends', { a: { $gt: 1, $gte: 1 } }, 'a'],
  ['two upper ends', { a: { $lt: 1, $lte: 1 } }, 'a'],
  ['$exists of a number', { a: { $exists: 1 } }, 'a'],
  ['absence and a value', { a: { $exists: false, $gt: 1 } }, 'a'],
  ['a prefix that is no string', { a: { $prefix: 1 } }, 'a'],
  ['an unpaired surrogate', { a: '\ud800' }, 'a'],
  ['an unpaired surrogate in a path', { '\ud800': 1 }, ''],
  ['a Date', { a: new Date(0) }, 'a'],
  ['a bigint', { a: 1n }, 'a'],
  ['a list nested too deep', { a: [deep(maxMetadataDepth)] }, 'a'],
  ['paths nested too deep', deep(maxMetadataDepth + 1), Array(maxMetadataDepth).fill('a').join('.')],
  ['too many conditions', wide(maxFilterConditions + 1), ''],
]

test.each(refused)('refuses %s', (_, filter, path) => {
  expect(() => parseFilter(filter)).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT', details: expect.objectContaining({ path }) }),
  )
})

test('takes as many conditions and as deep ones as the limits say', () => {
  expect(parseFilter(wide(maxFilterConditions))).toHaveLength(maxFilterConditions)
  expect(parseFilter(deep(maxMetadataDepth))).toHaveLength(1)
})
