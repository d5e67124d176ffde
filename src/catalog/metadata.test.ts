import fc from 'fast-check'
import { expect, test } from 'vitest'
import { maxMetadataBytes, maxMetadataDepth } from '../limits.ts'
import { metadataText, parseMetadata, validateMetadata } from './index.ts'

function nested(depth: number): unknown {
  let value: unknown = 1
  for (let i = 1; i < depth; i++) value = i % 2 ? { a: value } : [value]
  return { a: value }
}

test('metadata comes back as JSON would give it back, with keys in one order', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue()), (object) => {
      const copy = validateMetadata(object)
      expect(copy).toEqual(JSON.parse(JSON.stringify(object)))
      expect(parseMetadata(metadataText(copy))).toEqual(copy)
      const reversed = Object.fromEntries(Object.entries(object).reverse())
      expect(metadataText(reversed)).toBe(metadataText(object))
    }),
  )
})

test('the text of metadata is RFC 8785: sorted by UTF-16 units, without white space', () => {
  const text = metadataText({ b: 1, a: [1e21, 0.1, -0], '10': 'é', '9': '\u0007', '😀': true, '\uffee': null })
  expect(text).toBe('{"10":"é","9":"\\u0007","a":[1e+21,0.1,0],"b":1,"😀":true,"\uffee":null}')
})

test('keys such as __proto__ are plain data and change no prototype', () => {
  const copy = validateMetadata(JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":2}}}'))
  expect(Object.keys(copy).sort()).toEqual(['__proto__', 'constructor'])
  expect(Object.getPrototypeOf(copy)).toBe(Object.prototype)
  expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  expect(metadataText(copy)).toBe('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":2}}}')
})

test('an object without a prototype, and undefined members, are taken as JSON takes them', () => {
  const bare = Object.assign(Object.create(null) as object, { a: 1, b: undefined, c: { d: undefined } })
  expect(validateMetadata(bare)).toEqual({ a: 1, c: {} })
})

test('an object that looks like a CID is plain data', () => {
  const alike = { '/': 'x', bytes: 'x' }
  expect(validateMetadata(alike)).toEqual(alike)
})

test('a getter runs once, and the copy is its own and frozen', () => {
  let runs = 0
  const list = [1]
  const given = {
    get a() {
      runs++
      return list
    },
  }
  const copy = validateMetadata(given)
  expect(runs).toBe(1)
  list.push(2)
  expect(copy).toEqual({ a: [1] })
  expect(Object.isFrozen(copy) && Object.isFrozen(copy.a)).toBe(true)
})

const cycle: Record<string, unknown> = {}
cycle.a = [{ b: cycle }]
const refused: [string, unknown, RegExp][] = [
  ['a string', 'x', /JSON object, not a string/],
  ['null', null, /not null/],
  ['a list', [], /not an array/],
  ['undefined', undefined, /not undefined/],
  ['NaN', { a: { b: Number.NaN } }, /\.a\.b is NaN/],
  ['Infinity', { a: [1, Number.POSITIVE_INFINITY] }, /\.a\[1\] is Infinity/],
  ['a bigint', { a: 1n }, /\.a is a bigint/],
  ['a function', { a: () => 1 }, /\.a is a function/],
  ['a symbol', { a: Symbol('x') }, /\.a is a symbol/],
  ['a symbol as a key', { [Symbol('x')]: 1 }, /symbol as a key/],
  ['a Date', { a: new Date(0) }, /\.a is a Date/],
  ['a Map', { a: new Map() }, /\.a is a Map/],
  ['bytes', { a: new Uint8Array(1) }, /\.a is a Uint8Array/],
  ['a boxed string', { a: Object('x') as unknown }, /\.a is a String/],
  // biome-ignore lint/suspicious/noSparseArray: the hole is the point
  ['a hole in a list', { a: [1, , 2] }, /\.a is an array with holes/],
  ['undefined in a list', { a: [undefined] }, /\.a\[0\] is undefined/],
  ['a named member of a list', { a: Object.assign([1], { x: 1 }) }, /named members/],
  ['an unpaired surrogate', { a: 'x\ud800' }, /\.a holds an unpaired surrogate/],
  ['an unpaired surrogate in a key', { '\udc00': 1 }, /unpaired surrogate/],
  ['a cycle', cycle, /\.a\[0\]\.b contains itself/],
]

test.each(refused)('refuses %s, naming the path', (_, value, message) => {
  expect(() => validateMetadata(value)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  expect(() => validateMetadata(value)).toThrow(message)
})

test('nests as deep as the limit and no deeper', () => {
  expect(validateMetadata(nested(maxMetadataDepth))).toEqual(nested(maxMetadataDepth))
  expect(() => validateMetadata(nested(maxMetadataDepth + 1))).toThrow(expect.objectContaining({ code: 'TOO_LARGE' }))
})

test('is as long as the limit in UTF-8 and no longer', () => {
  const room = maxMetadataBytes - '{"a":""}'.length
  expect(validateMetadata({ a: 'x'.repeat(room) })).toHaveProperty('a')
  expect(validateMetadata({ a: 'é'.repeat(room / 2) })).toHaveProperty('a')
  for (const text of ['x'.repeat(room + 1), 'é'.repeat(room / 2 + 1), '\u0000'.repeat(room / 6 + 1)]) {
    expect(() => validateMetadata({ a: text })).toThrow(expect.objectContaining({ code: 'TOO_LARGE' }))
  }
  const list = Array.from({ length: 8_000 }, () => 1)
  expect(validateMetadata({ a: list })).toEqual({ a: list })
  expect(() => validateMetadata({ a: [...list, ...list] })).toThrow(expect.objectContaining({ code: 'TOO_LARGE' }))
})

test('stored text that is not an object is reported as corrupt', () => {
  for (const text of ['', '{', '[]', 'null', '1']) {
    expect(() => parseMetadata(text)).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
  }
})
