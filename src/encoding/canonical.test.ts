import * as dagCbor from '@ipld/dag-cbor'
import fc from 'fast-check'
import { CID } from 'multiformats/cid'
import { describe, expect, test } from 'vitest'
import { decodeCanonical, encodeCanonical } from './canonical.ts'

const bounds = { maxBytes: 1 << 24, what: 'a value' }

const { value: anyValue } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.integer({ min: -70_000, max: 70_000 }),
    fc.double({ noNaN: true, noDefaultInfinity: true }).filter((n) => !Number.isInteger(n)),
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.uint8Array({ maxLength: 300 }),
    fc.array(tie('value'), { maxLength: 30 }),
    fc.dictionary(fc.string({ unit: 'binary', maxLength: 30 }), tie('value'), { maxKeys: 40, noNullPrototype: true }),
  ),
}))

describe('encodeCanonical', () => {
  test('gives the bytes that @ipld/dag-cbor gives, and they are read back', () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        const bytes = encodeCanonical(value)
        expect(Buffer.from(bytes).equals(dagCbor.encode(value))).toBe(true)
        expect(bytes.buffer.byteLength).toBe(bytes.length)
        expect(encodeCanonical(decodeCanonical(bytes, bounds))).toEqual(bytes)
      }),
      { numRuns: 500 },
    )
  })

  test.each([23, 24, 255, 256, 65_535, 65_536])('spells a length of %i as @ipld/dag-cbor does', (length) => {
    for (const value of [
      'a'.repeat(length),
      'é'.repeat(length),
      new Uint8Array(length).fill(7),
      Array.from({ length }, () => 0),
      Object.fromEntries(Array.from({ length }, (_, key) => [`k${(key * 7_919) % length}`, key])),
    ]) {
      expect(Buffer.from(encodeCanonical(value)).equals(dagCbor.encode(value))).toBe(true)
    }
  })

  test.each([0, -0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER])(
    'spells %i and its negative as @ipld/dag-cbor does',
    (number) => {
      for (const value of [number, -number, -number - 1].filter(Number.isSafeInteger)) {
        expect(Buffer.from(encodeCanonical(value)).equals(dagCbor.encode(value))).toBe(true)
      }
    },
  )

  test('sorts keys by their length in UTF-8, then bytewise', () => {
    const value = { zz: 1, é: 2, a: 3, bbb: 4, '\u{1f600}': 5, '\uffff': 6, aaaa: 7, ab: 8 }
    expect(Object.keys(dagCbor.decode(encodeCanonical(value)) as object)).toEqual([
      'a',
      'ab',
      'zz',
      'é',
      'bbb',
      '\uffff',
      'aaaa',
      '\u{1f600}',
    ])
  })

  test('encodes what is larger than its memory, and small values after it', () => {
    const large = { bytes: new Uint8Array(3_000_000).fill(1), text: 'ü'.repeat(700_000), list: [1, 'x'] }
    expect(Buffer.from(encodeCanonical(large)).equals(dagCbor.encode(large))).toBe(true)
    expect(encodeCanonical([1])).toEqual(Uint8Array.of(0x81, 1))
  })

  test.each([
    ['undefined', undefined],
    ['undefined in a list', [undefined]],
    ['a bigint', 1n],
    ['NaN', Number.NaN],
    ['infinity', Number.POSITIVE_INFINITY],
    ['an unsafe integer', 2 ** 53],
    ['a Map', new Map()],
    ['a CID', CID.parse('bafkqaaa')],
    ['a function', () => {}],
  ])('refuses %s, and encodes the next value as if nothing had been', (_name, value) => {
    expect(() => encodeCanonical(['x', value])).toThrow(expect.objectContaining({ code: 'INTERNAL' }))
    expect(encodeCanonical('x')).toEqual(Uint8Array.of(0x61, 0x78))
  })
})

describe('decodeCanonical', () => {
  test.each([
    ['a CID', dagCbor.encode(CID.parse('bafkqaaa'))],
    ['an integer that is not safe', Uint8Array.of(0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)],
    ['an integer in more bytes than it takes', Uint8Array.of(0x18, 5)],
    ['a whole number as a double', Uint8Array.of(0xfb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0)],
    ['keys out of order', Uint8Array.of(0xa2, 0x61, 0x62, 1, 0x61, 0x61, 1)],
    ['one key twice', Uint8Array.of(0xa2, 0x61, 0x61, 1, 0x61, 0x61, 1)],
    ['text that is not UTF-8', Uint8Array.of(0x61, 0xff)],
    ['bytes after the value', Uint8Array.of(1, 1)],
    ['less than a value', Uint8Array.of(0x82, 1)],
    ['nothing', new Uint8Array()],
    ['100,000 lists in each other', new Uint8Array(100_000).fill(0x81)],
  ])('refuses %s', (_name, bytes) => {
    expect(() => decodeCanonical(bytes, bounds)).toThrow(expect.objectContaining({ code: 'CORRUPT' }))
  })

  test('refuses more bytes than allowed before it decodes them', () => {
    expect(() => decodeCanonical(new Uint8Array(11), { maxBytes: 10, what: 'a value' })).toThrow(
      expect.objectContaining({ code: 'TOO_LARGE' }),
    )
  })

  test('reads what @ipld/dag-cbor reads, if it encodes back to the same bytes, and nothing else', () => {
    fc.assert(
      fc.property(anyValue, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }), (value, changes) => {
        const bytes = encodeCanonical(value)
        for (const [at, byte] of changes) bytes[at % bytes.length] = byte
        expect(outcomeOf(() => decodeCanonical(bytes, bounds))).toEqual(
          outcomeOf(() => {
            const read = dagCbor.decode(bytes)
            if (!Buffer.from(encodeCanonical(read)).equals(bytes)) throw new Error('not canonical')
            return read
          }),
        )
      }),
      { numRuns: 2_000 },
    )
  })

  test('gives byte strings that do not change with what they were read from', () => {
    const bytes = encodeCanonical([Uint8Array.of(1, 2, 3), { a: new Uint8Array(100) }])
    const read = decodeCanonical(bytes, bounds)
    bytes.fill(0xff)
    expect(read).toEqual([Uint8Array.of(1, 2, 3), { a: new Uint8Array(100) }])
  })

  test('takes a key named __proto__ for a key', () => {
    const read = decodeCanonical(Buffer.from('a1695f5f70726f746f5f5fa1617801', 'hex'), bounds) as object
    expect(Object.keys(read)).toEqual(['__proto__'])
    expect(Object.getPrototypeOf(read)).toBe(Object.prototype)
    expect((read as { x?: number }).x).toBeUndefined()
  })

  test('changed bytes are refused or are another value, never the same one', () => {
    fc.assert(
      fc.property(anyValue, fc.nat(), fc.integer({ min: 1, max: 255 }), (value, at, flip) => {
        const bytes = encodeCanonical(value)
        const changed = Uint8Array.from(bytes)
        changed[at % changed.length] = (changed[at % changed.length] as number) ^ flip
        let read: unknown
        try {
          read = decodeCanonical(changed, bounds)
        } catch (error) {
          expect(error).toMatchObject({ code: 'CORRUPT' })
          return
        }
        expect(encodeCanonical(read)).toEqual(changed)
      }),
      { numRuns: 300 },
    )
  })
})

function outcomeOf(read: () => unknown): unknown {
  try {
    return { value: read() }
  } catch {
    return 'refused'
  }
}
