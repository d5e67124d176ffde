import type { Progress } from '../../sdk/client.ts'
import {
  displayWidth,
  escapeControls,
  formatBytes,
  formatDuration,
  formatRate,
  padToWidth,
  truncateToWidth,
} from './text/index.ts'

/** Where progress is shown: standard error. */
export interface ProgressStream {
  readonly isTTY?: boolean
  readonly columns?: number
  write(text: string): unknown
}

/** Milliseconds between two redraws of a bar. */
const redrawMs = 100
/** Milliseconds between two plain lines: a log of an hour's upload stays readable. */
const plainLineMs = 10_000
const defaultColumns = 80
/** Columns that the figures of a bar take as a rule; reserved, so that the bar keeps its width. */
const factsColumns = 46

/**
 * How far a command has come: on a terminal one line that is redrawn and at the end erased; elsewhere a plain line every ten
 * seconds, so that short commands print none; nothing at all when `silent`.
 */
export class ProgressLine implements Disposable {
  readonly #stream: ProgressStream
  readonly #label: string
  readonly #silent: boolean
  readonly #nowMs: () => number
  #lastMs: number
  #drawn = false
  #closed = false

  constructor(stream: ProgressStream, options: { label: string; silent: boolean; nowMs?: () => number }) {
    this.#stream = stream
    this.#label = escapeControls(options.label)
    this.#silent = options.silent
    this.#nowMs = options.nowMs ?? (() => performance.now())
    // The first bar after one interval, not at once: what is done by then flickers nothing.
    this.#lastMs = this.#nowMs()
  }

  /** Progress of a transfer. A property, so that it can be handed over as a callback. */
  readonly transfer = (progress: Progress): void => {
    this.#show(() =>
      this.#stream.isTTY ? transferBar(this.#label, progress, this.#columns) : transferLine(this.#label, progress),
    )
  }

  /** Progress of work that is counted, step by step. */
  readonly step = (progress: { readonly step: string; readonly done: number; readonly total: number }): void => {
    const [done, total] = [progress.done, progress.total].map((count) => count.toLocaleString('en-US'))
    this.#show(() => `${this.#label}: ${escapeControls(progress.step)} ${done} of ${total}`)
  }

  /** Erases the bar. Idempotent. */
  close(): void {
    this.#closed = true
    if (this.#drawn) this.#stream.write('\r\x1b[K')
    this.#drawn = false
  }

  [Symbol.dispose](): void {
    this.close()
  }

  get #columns(): number {
    return this.#stream.columns || defaultColumns
  }

  #show(text: () => string): void {
    const now = this.#nowMs()
    if (this.#silent || this.#closed || now - this.#lastMs < (this.#stream.isTTY ? redrawMs : plainLineMs)) return
    this.#lastMs = now
    if (this.#stream.isTTY) {
      this.#drawn = true
      this.#stream.write(`\r${truncateToWidth(text(), this.#columns - 1)}\x1b[K`)
    } else {
      this.#stream.write(`${text()}\n`)
    }
  }
}

/** `report.pdf: 1.2 GB of 3.4 GB (35 %), 210 MB/s, 10 s left`. */
export function transferLine(label: string, progress: Progress): string {
  return `${label}: ${facts(progress).join(', ')}`
}

/** As `transferLine`, with a bar that fills what is left of the terminal's columns when the total is known. */
export function transferBar(label: string, progress: Progress, columns: number): string {
  const told = facts(progress).join('  ')
  if (!progress.total) return `${label}  ${told}`
  const shortLabel = truncateToWidth(label, Math.max(8, Math.floor(columns / 3)))
  const room = Math.min(40, columns - 1 - displayWidth(shortLabel) - Math.max(told.length, factsColumns) - 6)
  if (room < 5) return `${shortLabel}  ${told}`
  const filled = Math.floor((room * Math.min(progress.loaded, progress.total)) / progress.total)
  return `${shortLabel}  [${padToWidth('='.repeat(filled), room, 'right')}]  ${told}`
}

function facts(progress: Progress): string[] {
  const { loaded, total, bytesPerSecond } = progress
  const rate = bytesPerSecond > 0 ? [formatRate(bytesPerSecond)] : []
  if (total === undefined) return [formatBytes(loaded), ...rate]
  const percent = total === 0 ? 100 : Math.floor((loaded / total) * 100)
  const left =
    bytesPerSecond > 0 && loaded < total
      ? [`${formatDuration(Math.ceil((total - loaded) / bytesPerSecond) * 1000)} left`]
      : []
  return [`${formatBytes(loaded)} of ${formatBytes(total)} (${percent} %)`, ...rate, ...left]
}
