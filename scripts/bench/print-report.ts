import type { Row, SectionReport } from './figures.ts'

const columns = ['what', 'ours', 'against', 'theirs', 'ratio', 'target', 'met'] as const

/** A section as a Markdown table that also reads well in a terminal. */
export function sectionText({ title, rows, notes }: SectionReport): string {
  const cells = rows.map((row) => [row.what, row.ours, row.against, row.theirs, row.ratio, row.target, metWord(row)])
  const widths = columns.map((name, at) => Math.max(name.length, ...cells.map((row) => (row[at] as string).length)))
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, at) => pad(cell, widths[at] as number, at)).join(' | ')} |`
  const rule = `|${widths.map((width, at) => '-'.repeat(width + 1) + (isFigure(at) ? ':' : '-')).join('|')}|`
  return [`## ${title}`, '', line(columns), rule, ...cells.map(line), '', ...notes.map((note) => `- ${note}`)].join(
    '\n',
  )
}

/** One sentence on how many targets are met; those that are not by name. */
export function verdict(sections: readonly SectionReport[]): string {
  const rows = sections.flatMap((section) => section.rows).filter((row) => row.met !== undefined)
  const missed = rows.filter((row) => row.met === false)
  const first = `${rows.length - missed.length} of ${rows.length} targets are met.`
  return [
    first,
    ...missed.map(
      (row) =>
        `missed: ${row.what}: ${row.ratio === '' ? row.ours : `${row.ratio} ${row.against}`}, target ${row.target}`,
    ),
  ].join('\n')
}

function metWord({ met }: Row): string {
  return met === undefined ? '' : met ? 'yes' : 'NO'
}

function isFigure(column: number): boolean {
  return column === 1 || column === 3 || column === 4
}

function pad(text: string, width: number, column: number): string {
  return isFigure(column) ? text.padStart(width) : text.padEnd(width)
}
