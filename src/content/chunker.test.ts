import { ctr } from '@noble/ciphers/aes.js'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { chunkMaskBits, maxChunkBytes, minChunkBytes } from '../limits.ts'
import { Chunker, expandGearTable } from './chunker.ts'
import { seededBytes } from './content.test-helper.ts'

const key = seededBytes('a chunking key', 32)

/** Cut points straight from the definition, over the whole input at once. */
function plainCuts(input: Uint8Array, chunkingKey: Uint8Array): number[] {
  const gear = expandGearTable(chunkingKey)
  const cuts: number[] = []
  for (let start = 0; start + minChunkBytes <= input.length; start = cuts.at(-1) as number) {
    let hash = 0
    let end = start + minChunkBytes - 32
    for (; end < input.length; end++) {
      if (end - start >= minChunkBytes && hash >>> (32 - chunkMaskBits) === 0) break
      if (end - start === maxChunkBytes) break
      hash = ((hash << 1) + (gear[input[end] as number] as number)) | 0
    }
    const atMaximum = end - start === maxChunkBytes
    const byHash = end - start >= minChunkBytes && hash >>> (32 - chunkMaskBits) === 0
    if (!atMaximum && !byHash) break
    cuts.push(end)
  }
  return cuts
}

/** Cut points when the input comes in pieces that end at `ends` (any order). */
function cutsOf(input: Uint8Array, chunkingKey: Uint8Array, ends: readonly number[] = []): number[] {
  const chunker = new Chunker(chunkingKey)
  const cuts: number[] = []
  let start = 0
  for (const end of [...ends].sort((a, b) => a - b).concat(input.length)) {
    const piece = input.subarray(start, end)
    for (let at = chunker.next(piece, 0); at >= 0; at = chunker.next(piece, at)) cuts.push(start + at)
    start = end
  }
  return cuts
}

function lengthsOf(cuts: readonly number[], total: number): number[] {
  const ends = cuts.at(-1) === total ? cuts : [...cuts, total]
  return ends.map((end, index) => end - (index === 0 ? 0 : (ends[index - 1] as number)))
}

describe('the chunker', () => {
  const input = seededBytes('chunker input', 6 * 1024 * 1024 + 3)

  test('takes its gear table from the AES-256-CTR keystream under the key', () => {
    const keystream = ctr(key, new Uint8Array(16)).encrypt(new Uint8Array(1024))
    const view = new DataView(keystream.buffer, keystream.byteOffset)
    const table = Array.from({ length: 256 }, (_, index) => view.getInt32(4 * index, true))
    expect([...expandGearTable(key)]).toEqual(table)
  })

  test('cuts where the definition says', () => {
    const cuts = cutsOf(input, key)
    expect(cuts.length).toBeGreaterThan(3)
    expect(cuts).toEqual(plainCuts(input, key))
  })

  test('cuts at the same places however the input is split', () => {
    const whole = cutsOf(input, key)
    const near = whole.flatMap((cut) => [cut - 1, cut, cut + 1])
    const place = fc.oneof(
      fc.nat(input.length),
      fc.constantFrom(...near, minChunkBytes - 33, minChunkBytes - 32, minChunkBytes - 1, minChunkBytes, maxChunkBytes),
    )
    fc.assert(
      fc.property(fc.array(place, { maxLength: 40 }), (ends) => {
        expect(cutsOf(input, key, ends)).toEqual(whole)
      }),
      { numRuns: 25 },
    )
  })

  test('cuts at the same places when bytes come one by one, at any alignment', () => {
    const whole = cutsOf(input, key)
    const around = [minChunkBytes, ...whole, input.length].flatMap((place) =>
      Array.from({ length: 40 }, (_, index) => place - 20 + index).filter((end) => end <= input.length),
    )
    expect(cutsOf(input, key, around)).toEqual(whole)
    const every = (step: number): number[] => Array.from({ length: 200 }, (_, index) => minChunkBytes + index * step)
    for (const step of [1, 2, 3, 5, 7, 9]) expect(cutsOf(input, key, every(step))).toEqual(whole)
  })

  test('cuts at the same places wherever in memory the input lies', () => {
    const whole = cutsOf(input, key)
    for (const shift of [1, 2, 3]) {
      const moved = new Uint8Array(new SharedArrayBuffer(input.length + shift)).subarray(shift)
      moved.set(input)
      expect(cutsOf(moved, key)).toEqual(whole)
    }
  })

  test('keeps chunks within the bounds, on the average at about 1 MiB', () => {
    const long = seededBytes('long input', 48 * 1024 * 1024)
    const lengths = lengthsOf(cutsOf(long, key), long.length)
    for (const length of lengths.slice(0, -1)) {
      expect(length).toBeGreaterThanOrEqual(minChunkBytes)
      expect(length).toBeLessThanOrEqual(maxChunkBytes)
    }
    expect(long.length / lengths.length).toBeGreaterThan(0.75 * 1024 * 1024)
    expect(long.length / lengths.length).toBeLessThan(1.25 * 1024 * 1024)
  })

  test.each([-1, 0, 1])(
    'of one repeated byte without a cut, ends a chunk at the maximum (input: maximum %i)',
    (more) => {
      const gear = expandGearTable(key)
      // Of one byte repeated the hash is constant once the window is full: -gear[byte].
      const byte = gear.findIndex((value) => -value >>> (32 - chunkMaskBits) !== 0)
      const repeated = new Uint8Array(maxChunkBytes + more).fill(byte)
      expect(cutsOf(repeated, key)).toEqual(more < 0 ? [] : [maxChunkBytes])
    },
  )

  test.each([-1, 0, 1])('cuts at the minimum and never below it (window that cuts ends at: minimum %i)', (more) => {
    const cut = cutsOf(input, key)[0] as number
    const place = minChunkBytes + more - 32
    const quiet = new Uint8Array(minChunkBytes + 100)
    expect(cutsOf(quiet, key)).toEqual([])
    quiet.set(input.subarray(cut - 32, cut), place)
    expect(cutsOf(quiet, key)).toEqual(more < 0 ? [] : [minChunkBytes + more])
  })

  test('cuts by each chunker’s own key when several take turns', () => {
    const other = seededBytes('another chunking key', 32)
    const chunkers = [new Chunker(key), new Chunker(other)]
    const cuts: number[][] = [[], []]
    for (let start = 0; start < input.length; start += 100_003) {
      const piece = input.subarray(start, start + 100_003)
      chunkers.forEach((chunker, index) => {
        for (let at = chunker.next(piece, 0); at >= 0; at = chunker.next(piece, at)) cuts[index]?.push(start + at)
      })
    }
    expect(cuts).toEqual([cutsOf(input, key), cutsOf(input, other)])
    expect(cuts[0]).not.toEqual(cuts[1])
  })

  test('finds its old cuts again after an edit near the front', () => {
    const long = seededBytes('edited input', 24 * 1024 * 1024)
    const edited = new Uint8Array(long.length + 1)
    edited.set(long.subarray(0, 1000))
    edited.set(long.subarray(1000), 1001)
    const before = new Set(cutsOf(long, key))
    const lost = cutsOf(edited, key).filter((cut) => !before.has(cut - 1))
    expect(lost.length).toBeLessThanOrEqual(8)
    expect(before.size - lost.length).toBeGreaterThan(10)
  })
})
