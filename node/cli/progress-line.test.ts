import { describe, expect, test } from 'vitest'
import { ProgressLine, transferBar, transferLine } from './progress-line.ts'
import { displayWidth } from './text/index.ts'

const half = { loaded: 1_200_000_000, total: 2_400_000_000, bytesPerSecond: 200_000_000 }

function screen(isTTY: boolean): { isTTY: boolean; columns: number; text: string; write(text: string): void } {
  return {
    isTTY,
    columns: 80,
    text: '',
    write(text) {
      this.text += text
    },
  }
}

describe('a transfer', () => {
  test('says how far, how fast and how long', () => {
    expect(transferLine('a.bin', half)).toBe('a.bin: 1.2 GB of 2.4 GB (50 %), 200 MB/s, 6 s left')
    expect(transferLine('a.bin', { loaded: 5000, total: undefined, bytesPerSecond: 0 })).toBe('a.bin: 5 kB')
    expect(transferLine('empty', { loaded: 0, total: 0, bytesPerSecond: 0 })).toBe('empty: 0 B of 0 B (100 %)')
  })

  test('draws a bar that fits the terminal', () => {
    for (const columns of [20, 40, 60, 80, 200]) {
      const bar = transferBar('a very long name of a file with 東京 in it', half, columns)
      if (columns >= 80) expect(displayWidth(bar)).toBeLessThan(columns)
      expect(bar).toContain('(50 %)')
    }
    expect(transferBar('a', half, 80)).toMatch(
      /^a {2}\[(=+)( +)\] {2}1\.2 GB of 2\.4 GB \(50 %\) {2}200 MB\/s {2}6 s left$/,
    )
  })
})

describe('a progress line', () => {
  test('redraws one line on a terminal, never wider than it, and erases it', () => {
    const stream = screen(true)
    let nowMs = 0
    const line = new ProgressLine(stream, { label: 'a\u001b[31m.bin', silent: false, nowMs: () => nowMs })
    for (nowMs = 0; nowMs < 1000; nowMs += 10) line.transfer(half)
    line.close()
    line.close()
    const drawn = stream.text.split('\r').slice(1)
    expect(drawn.length).toBeGreaterThan(5)
    expect(drawn.length).toBeLessThanOrEqual(11)
    expect(drawn.at(-1)).toBe('\u001b[K')
    for (const text of drawn) expect(displayWidth(text.replace('\u001b[K', ''))).toBeLessThan(80)
    expect(stream.text).toContain('a\\x1b[31m.bin')
  })

  test('prints a plain line now and then elsewhere, and none for what is short', () => {
    const stream = screen(false)
    let nowMs = 0
    const line = new ProgressLine(stream, { label: 'a.bin', silent: false, nowMs: () => nowMs })
    for (nowMs = 0; nowMs < 9_000; nowMs += 50) line.transfer(half)
    expect(stream.text).toBe('')
    for (; nowMs < 35_000; nowMs += 50) line.transfer(half)
    line.close()
    expect(stream.text).toBe(`${transferLine('a.bin', half)}\n`.repeat(3))
  })

  test('says nothing when silent, and nothing after it was closed', () => {
    const stream = screen(true)
    let nowMs = 0
    const silent = new ProgressLine(stream, { label: 'x', silent: true, nowMs: () => nowMs })
    const closed = new ProgressLine(stream, { label: 'x', silent: false, nowMs: () => nowMs })
    closed.close()
    nowMs = 60_000
    silent.transfer(half)
    closed.transfer(half)
    expect(stream.text).toBe('')
  })

  test('counts steps', () => {
    const stream = screen(false)
    let nowMs = 0
    const line = new ProgressLine(stream, { label: 'check', silent: false, nowMs: () => nowMs })
    nowMs = 20_000
    line.step({ step: 'blocks', done: 1500, total: 20_000 })
    expect(stream.text).toBe('check: blocks 1,500 of 20,000\n')
  })
})
