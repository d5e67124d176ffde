import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isHubError } from '../../../src/errors.ts'
import { escapeControls, escapeLines, jsonText } from './escape.ts'
import { fileNameFor } from './file-name.ts'
import { filterFrom, metadataFrom, parseJsonObject } from './metadata.ts'
import {
  parseBytes,
  parseCount,
  parseDuration,
  parseDurationMs,
  parseMoment,
  parseRange,
  parseVersion,
} from './parse-units.ts'
import { fieldLines, Table } from './table.ts'
import { formatBytes, formatCount, formatDuration, formatTime } from './units.ts'
import { displayWidth, padToWidth, truncateToWidth } from './width.ts'

const anyText = fc.string({ unit: 'binary', maxLength: 60 })
const dangerous = /[\p{Cc}\u200e\u200f\u2028-\u202e\u2066-\u2069]/u

function refuses(call: () => unknown, message: RegExp): void {
  let thrown: unknown
  try {
    call()
  } catch (error) {
    thrown = error
  }
  expect(isHubError(thrown, 'INVALID_ARGUMENT')).toBe(true)
  expect((thrown as Error).message).toMatch(message)
}

describe('what reaches a terminal', () => {
  test('shows terminal controls as escapes', () => {
    expect(escapeControls('a\u001b[31mb\u009bc\u202ed\ne\tf\u007f')).toBe('a\\x1b[31mb\\x9bc\\u202ed\\ne\\tf\\x7f')
    expect(escapeLines('one\ntwo\r')).toBe('one\ntwo\\r')
  })

  test('never holds a control character, whatever the name', () => {
    fc.assert(fc.property(anyText, (text) => !dangerous.test(escapeControls(text))))
  })

  test('is left as it is when it is harmless', () => {
    expect(escapeControls('Bericht für 東京 👩‍🚀.pdf')).toBe('Bericht für 東京 👩‍🚀.pdf')
  })

  test('is the same JSON value once parsed, and shows no control character', () => {
    fc.assert(
      fc.property(fc.jsonValue(), anyText, (value, text) => {
        const written = jsonText({ value, text })
        expect(JSON.parse(written)).toEqual(JSON.parse(JSON.stringify({ value, text })))
        expect(written).not.toMatch(dangerous)
      }),
    )
  })
})

describe('a file name from an artifact name', () => {
  test.each([
    ['report.pdf', 'report.pdf'],
    ['../../etc/passwd', '___.._etc_passwd'],
    ['/etc/passwd', '_etc_passwd'],
    ['a\\b', 'a_b'],
    ['..', 'artifact'],
    ['.', 'artifact'],
    ['/', 'artifact'],
    ['.bashrc', '_bashrc'],
    ['-rf', '_rf'],
    ['  spaced.txt  ', 'spaced.txt'],
    ['evil\u202efdp.exe', 'evil_fdp.exe'],
    ['a\nb', 'a_b'],
    ['Ünïcode 東京.txt', 'Ünïcode 東京.txt'],
  ])('%j is saved as %j', (name, expected) => {
    expect(fileNameFor(name)).toBe(expected)
  })

  test('is always one visible path component of at most 255 bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (name) => {
        const file = fileNameFor(name)
        expect(file).not.toMatch(/[/\\]|^[.-]|^$/)
        expect(file).not.toMatch(dangerous)
        expect(Buffer.byteLength(file)).toBeLessThanOrEqual(255)
      }),
    )
  })

  test('keeps its extension when it is cut', () => {
    expect(fileNameFor(`${'ü'.repeat(300)}.tar`)).toMatch(/^ü+\.tar$/)
  })
})

describe('sizes and times', () => {
  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1 kB'],
    [1536, '1.5 kB'],
    [99_940, '99.9 kB'],
    [99_960, '100 kB'],
    [999_400, '999 kB'],
    [999_600, '1 MB'],
    [10_000_000, '10 MB'],
    [4_200_000_000, '4.2 GB'],
    [Number.POSITIVE_INFINITY, 'unlimited'],
  ])('%d bytes read as %s', (bytes, expected) => {
    expect(formatBytes(bytes)).toBe(expected)
  })

  test('a size that is written can be read, to within its digits', () => {
    fc.assert(
      fc.property(fc.nat({ max: 999_000_000_000_000 }), (bytes) => {
        expect(Math.abs(parseBytes(formatBytes(bytes)) - bytes)).toBeLessThanOrEqual(bytes * 0.05)
      }),
    )
  })

  test.each([
    ['1500', 1500],
    ['10MB', 10_000_000],
    ['10MiB', 10_485_760],
    ['1.5G', 1_500_000_000],
    ['2 kib', 2048],
    ['0', 0],
  ])('reads the size %s', (text, expected) => {
    expect(parseBytes(text)).toBe(expected)
  })

  test.each(['', 'MB', '10 XB', '-1', '1e9', '99999999TB', 'constructor'])('refuses the size %j', (text) => {
    refuses(() => parseBytes(text), /10MiB/)
  })

  test.each([
    [850, '850 ms'],
    [12_000, '12 s'],
    [200_000, '3 min 20 s'],
    [3600_000, '1 h'],
    [7_500_000, '2 h 5 min'],
    [356_400_000, '4 d 3 h'],
  ])('%d ms reads as %s', (ms, expected) => {
    expect(formatDuration(ms)).toBe(expected)
  })

  test('reads durations', () => {
    expect(parseDurationMs('90s')).toBe(90_000)
    expect(parseDurationMs('1s500ms')).toBe(1_500)
    expect(parseDurationMs('1h30m')).toBe(5_400_000)
    expect(parseDurationMs('5min')).toBe(300_000)
    expect(parseDurationMs('2d')).toBe(172_800_000)
    expect(parseDurationMs('1y')).toBeUndefined()
    expect(parseDurationMs('')).toBeUndefined()
    expect(parseDuration('250ms', '--wait')).toBe(250)
    for (const text of ['', '5', 'soon', '60d'])
      refuses(() => parseDuration(text, '--wait'), /--wait must be a duration/)
  })

  test('reads moments: ago, a local day, a local or zoned time', () => {
    const now = Date.UTC(2026, 10, 3)
    expect(parseMoment('2h', now)).toEqual(new Date(now - 7_200_000))
    expect(parseMoment('2026-11-03', now)).toEqual(new Date(2026, 10, 3))
    expect(parseMoment('2026-11-03 14:05', now)).toEqual(new Date(2026, 10, 3, 14, 5))
    expect(parseMoment('2026-11-03T14:05Z', now)).toEqual(new Date(Date.UTC(2026, 10, 3, 14, 5)))
    for (const text of ['soon', '5', '2026-13-40', 'March 1', ''])
      refuses(() => parseMoment(text, now), /is not a time/)
  })

  test('a time that is written reads back as the same second', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_000_000_000 }), (seconds) => {
        const date = new Date(seconds * 1000)
        // An hour that a change of clocks repeats is written the same twice.
        fc.pre(new Date(formatTime(date).replace(' ', 'T')).getTimezoneOffset() === date.getTimezoneOffset())
        expect(parseMoment(formatTime(date), 0)).toEqual(date)
      }),
    )
  })

  test('counts have their noun', () => {
    expect([formatCount(1, 'block'), formatCount(2000, 'block'), formatCount(0, 'entry', 'entries')]).toEqual([
      '1 block',
      '2,000 blocks',
      '0 entries',
    ])
  })
})

describe('ranges, counts and versions', () => {
  test.each([
    ['0-99', { kind: 'from', offset: 0, length: 100 }],
    ['100-', { kind: 'from', offset: 100, length: undefined }],
    ['-500', { kind: 'last', length: 500 }],
    ['1MB+4kB', { kind: 'from', offset: 1_000_000, length: 4000 }],
    ['7-7', { kind: 'from', offset: 7, length: 1 }],
  ])('reads the range %s', (text, expected) => {
    expect(parseRange(text)).toEqual(expected)
  })

  test.each(['', '-', '+', '9-3', '1-2-3', '1', 'a-b', '1+'])('refuses the range %j', (text) => {
    refuses(() => parseRange(text), /not a byte range|not a size/)
  })

  test('a version is a number or an id', () => {
    expect([parseVersion('3'), parseVersion('-1'), parseVersion('3-1f2e3d4c')]).toEqual([3, -1, '3-1f2e3d4c'])
  })

  test('a count stays within its bounds', () => {
    expect(parseCount('5', '--limit', { min: 1, max: 10 })).toBe(5)
    for (const text of ['0', '11', '1.5', 'x', '']) {
      refuses(() => parseCount(text, '--limit', { min: 1, max: 10 }), /--limit must be a whole number from 1 to 10/)
    }
  })
})

describe('metadata from the command line', () => {
  test('is text, or JSON with :=, and nests at dots', () => {
    expect(metadataFrom(['author=me', 'year:=2026', 'a.b=1', 'a.c:={"d":[true]}', 'url=x=y:=z', 'empty='])).toEqual({
      author: 'me',
      year: 2026,
      a: { b: '1', c: { d: [true] } },
      url: 'x=y:=z',
      empty: '',
    })
  })

  test('is laid over what was there', () => {
    expect(metadataFrom(['a.b=2', 'c=3'], { a: { b: 1, x: 1 }, c: { deep: true }, d: null })).toEqual({
      a: { b: '2', x: 1 },
      c: '3',
      d: null,
    })
  })

  test('a key named __proto__ is just a key', () => {
    const metadata = metadataFrom(['__proto__.polluted=yes'])
    expect(Object.keys(metadata)).toEqual(['__proto__'])
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  test.each(['novalue', '=v', 'a..b=1', '.a=1', ':=1'])('refuses %j', (text) => {
    refuses(() => metadataFrom([text]), /is not metadata/)
  })

  test('refuses JSON that is not, and JSON that is no object', () => {
    refuses(() => metadataFrom(['a:={']), /the value of "a" is not JSON/)
    for (const text of ['[]', 'null', '3', '"x"'])
      refuses(() => parseJsonObject(text, '--meta-json'), /must be a JSON object/)
  })
})

describe('conditions from the command line', () => {
  test.each([
    ['a=x', { a: 'x' }],
    ['a.b=x', { 'a.b': 'x' }],
    ['n=3', { n: { $in: ['3', 3] } }],
    ['n=true', { n: { $in: ['true', true] } }],
    ['n=', { n: '' }],
    ['n:=3', { n: 3 }],
    ['n:="3"', { n: '3' }],
    ['n>=2.5', { n: { $gte: 2.5 } }],
    ['n<abc', { n: { $lt: 'abc' } }],
    ['n^=2026-', { n: { $prefix: '2026-' } }],
    ['n', { n: { $exists: true } }],
    ['!n', { n: { $exists: false } }],
    ['{"a.b":{"$gt":1}}', { 'a.b': { $gt: 1 } }],
  ])('reads %s', (text, expected) => {
    expect(filterFrom([text])).toEqual(expected)
  })

  test('several hold together; bounds on one path make an interval', () => {
    expect(filterFrom(['n>=1', 'n<10', 'a=x'])).toEqual({ n: { $gte: 1, $lt: 10 }, a: 'x' })
    expect(filterFrom([])).toBeUndefined()
  })

  test('refuses two of a kind on one path, rather than drop one', () => {
    refuses(() => filterFrom(['a=x', 'a=y']), /cannot hold together/)
    refuses(() => filterFrom(['a>1', 'a>2']), /cannot hold together/)
  })

  test.each(['', '=x', '!a=x', '>3'])('refuses %j', (text) => {
    refuses(() => filterFrom([text]), /is not a condition/)
  })
})

describe('tables', () => {
  const columns = [
    { title: 'NAME', cell: (row: { name: string; size: string }) => row.name, shrinkTo: 4 },
    { title: 'SIZE', cell: (row: { name: string; size: string }) => row.size, align: 'right' as const },
  ]

  test('align wide characters by the columns they take', () => {
    const text = new Table(columns).render([
      { name: '東京', size: '1 B' },
      { name: 'e\u0301t', size: '10 MB' },
    ])
    expect(text).toBe('NAME   SIZE\n東京    1 B\ne\u0301t    10 MB\n')
  })

  test('fit a terminal by cutting what may shrink, and are whole without one', () => {
    const row = { name: 'a long name of a file', size: '10 MB' }
    expect(new Table(columns, { maxWidth: 16 }).render([row])).toBe('NAME        SIZE\na long n…  10 MB\n')
    const id = [{ title: 'ID', cell: (cut: { id: string }) => cut.id, shrinkTo: 8, plainCut: true }]
    expect(new Table(id, { maxWidth: 8 }).render([{ id: 'art_abcdefgh' }])).toBe('ID\nart_abcd\n')
    expect(new Table(columns).render([row])).toContain('a long name of a file  10 MB')
  })

  test('print their titles once, and never narrow from batch to batch', () => {
    const table = new Table(columns)
    expect(table.render([{ name: 'long-name', size: '1 B' }])).toBe('NAME       SIZE\nlong-name   1 B\n')
    expect(table.render([{ name: 'x', size: '2 B' }])).toBe('x           2 B\n')
  })

  test('escape what they show and hold no tab', () => {
    const text = new Table(columns).render([{ name: 'a\tb\u001b[2J', size: '1 B' }]) + fieldLines([['k', 'a\u001bb']])
    expect(text).not.toContain('\t')
    expect(text).not.toContain('\u001b')
  })
})

describe('display width', () => {
  test('counts terminal columns', () => {
    expect(['abc', '東京', '👩‍🚀', 'e\u0301', 'ﾊ', ''].map(displayWidth)).toEqual([3, 4, 2, 1, 1, 0])
  })

  test('cutting and padding give exactly the columns asked for', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 30 }), fc.integer({ min: 1, max: 20 }), (raw, columns) => {
        const text = escapeControls(raw)
        expect(displayWidth(truncateToWidth(text, columns))).toBeLessThanOrEqual(columns)
        expect(displayWidth(padToWidth(truncateToWidth(text, columns), columns, 'right'))).toBe(columns)
      }),
    )
  })
})
