/** One thing that was measured several times. */
export interface Figure {
  readonly contender: string
  readonly what: string
  readonly unit: Unit
  readonly runs: readonly number[]
}

/** What a figure counts. MB is 10^6 bytes, MiB 2^20. */
export type Unit = 'MB/s' | 'MiB' | 'KiB' | 'MB' | 'B' | 'µs' | 'ms' | 's' | '1/s' | ''

/** One row of the table: ours, what it is held against, and whether that is met. */
export interface Row {
  readonly what: string
  readonly ours: string
  /** Whose figure the next column is. */
  readonly against: string
  readonly theirs: string
  /** Ours to theirs. */
  readonly ratio: string
  readonly target: string
  /** `undefined` when there is no target. */
  readonly met: boolean | undefined
}

/** What a section found. */
export interface SectionReport {
  readonly title: string
  readonly rows: readonly Row[]
  readonly notes: readonly string[]
  readonly figures: readonly Figure[]
}

/** The middle of the values; of an even number, the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length / 2
  const upper = sorted[Math.floor(middle)] ?? Number.NaN
  return Number.isInteger(middle) ? (upper + (sorted[middle - 1] ?? Number.NaN)) / 2 : upper
}

/** A bound on a number, in words and as a test. */
export interface Target {
  readonly words: string
  readonly isMet: (value: number) => boolean
}

/** At least that many times theirs. */
export function atLeastTimes(factor: number): Target {
  return { words: `≥ ${factor} ×`, isMet: (ratio) => ratio >= factor }
}

/** A bound from above on a plain figure. */
export function atMost(value: number, unit: Unit): Target {
  return { words: `≤ ${show(value, unit)}`, isMet: (figure) => figure <= value }
}

/** A bound from below on a plain figure. */
export function atLeast(value: number, unit: Unit): Target {
  return { words: `≥ ${show(value, unit)}`, isMet: (figure) => figure >= value }
}

/** A row that holds our median against another's; the target, if any, is on the ratio. */
export function against(ours: Figure, theirs: Figure, target?: Target): Row {
  const ratio = median(ours.runs) / median(theirs.runs)
  return {
    what: ours.what,
    ours: showMedian(ours),
    against: theirs.contender,
    theirs: showMedian(theirs),
    ratio: `${ratio.toFixed(2)} ×`,
    target: target?.words ?? '',
    met: target?.isMet(ratio),
  }
}

/** A row that holds our median against a plain bound. */
export function alone(ours: Figure, target?: Target): Row {
  return {
    what: ours.what,
    ours: showMedian(ours),
    against: '',
    theirs: '',
    ratio: '',
    target: target?.words ?? '',
    met: target?.isMet(median(ours.runs)),
  }
}

/** The median with its unit. */
function showMedian(figure: Figure): string {
  return show(median(figure.runs), figure.unit)
}

function show(value: number, unit: Unit): string {
  const digits = value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? 1 : 2
  return `${value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })}${unit === '' ? '' : ` ${unit}`}`
}
