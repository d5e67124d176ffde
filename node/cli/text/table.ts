import { escapeControls } from './escape.ts'
import { displayWidth, padToWidth, truncateToWidth } from './width.ts'

/** One column of a table. */
export interface Column<Row> {
  readonly title: string
  /** The cell, raw: the table escapes it. */
  readonly cell: (row: Row) => string
  readonly align?: 'left' | 'right'
  /** Gives way, down to `shrinkTo` columns, when the table is wider than the terminal. */
  readonly shrinkTo?: number
  /** What is left of a cut cell is still of use as it stands (the start of an id): it gets no `…`. */
  readonly plainCut?: boolean
}

const gap = '  '

/**
 * Rows as aligned lines of text, without tabs, printed batch by batch: columns only ever get wider, so a list of any
 * length needs no more memory than one batch. With `maxWidth` (a terminal's columns) long cells are cut; without, never.
 */
export class Table<Row> {
  readonly #columns: readonly Column<Row>[]
  readonly #maxWidth: number | undefined
  readonly #styleTitle: (title: string) => string
  readonly #widths: number[]
  #titled = false

  constructor(
    columns: readonly Column<Row>[],
    options: { maxWidth?: number | undefined; styleTitle?: ((title: string) => string) | undefined } = {},
  ) {
    this.#columns = columns
    this.#maxWidth = options.maxWidth
    this.#styleTitle = options.styleTitle ?? ((title) => title)
    this.#widths = columns.map((column) => column.title.length)
  }

  /** The lines of these rows, each ending in a line feed; the titles come before the first batch. */
  render(rows: readonly Row[]): string {
    const cells = rows.map((row) => this.#columns.map((column) => escapeControls(column.cell(row))))
    for (const line of cells) {
      for (const [index, cell] of line.entries()) {
        this.#widths[index] = Math.max(this.#widths[index] ?? 0, displayWidth(cell))
      }
    }
    const widths = this.#fit()
    const titles = this.#titled
      ? ''
      : this.#styleTitle(
          this.#line(
            this.#columns.map((column) => column.title),
            widths,
          ),
        )
    const head = this.#titled ? '' : `${titles}\n`
    this.#titled = true
    return head + cells.map((line) => `${this.#line(line, widths)}\n`).join('')
  }

  #line(cells: readonly string[], widths: readonly number[]): string {
    return cells
      .map((cell, index) => {
        const width = widths[index] ?? 0
        const column = this.#columns[index]
        const side = column?.align === 'right' ? 'left' : 'right'
        if (this.#maxWidth === undefined) return padToWidth(cell, width, side)
        return padToWidth(truncateToWidth(cell, width, column?.plainCut ? '' : '…'), width, side)
      })
      .join(gap)
      .trimEnd()
  }

  #fit(): number[] {
    const widths = [...this.#widths]
    if (this.#maxWidth === undefined) return widths
    let excess = widths.reduce((sum, width) => sum + width, gap.length * (widths.length - 1)) - this.#maxWidth
    for (const [index, column] of this.#columns.entries()) {
      const width = widths[index] ?? 0
      if (excess <= 0 || column.shrinkTo === undefined) continue
      const given = Math.min(excess, Math.max(0, width - column.shrinkTo))
      widths[index] = width - given
      excess -= given
    }
    return widths
  }
}

/** `label  value` lines, the labels padded to one width, values escaped. */
export function fieldLines(fields: readonly (readonly [label: string, value: string])[]): string {
  const width = Math.max(...fields.map(([label]) => displayWidth(label)))
  return fields.map(([label, value]) => `${padToWidth(label, width, 'right')}${gap}${escapeControls(value)}\n`).join('')
}
