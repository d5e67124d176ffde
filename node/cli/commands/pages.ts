import type { Command } from 'commander'
import type { Artifact, Listing, ListOptions } from '../../../sdk/client.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import { defaultPageItems, maxPageItems } from '../../../src/limits.ts'
import { collect } from '../command.ts'
import type { Session } from '../session.ts'
import { type Column, filterFrom, formatBytes, formatTime, jsonText, parseCount, parseMoment } from '../text/index.ts'

/** Which pages of a list are shown. */
export interface PageOptions {
  readonly limit?: string
  readonly all?: boolean
  readonly cursor?: string
}

/** Which artifacts belong in a list. */
export interface FindOptions extends PageOptions {
  readonly where?: string[]
  readonly prefix?: string
  readonly type?: string
  readonly since?: string
  readonly before?: string
  readonly order?: string
}

/** What a list of artifacts shows of each. */
export const artifactColumns: readonly Column<Artifact>[] = [
  { title: 'NAME', cell: (row) => row.name, shrinkTo: 14 },
  { title: 'SIZE', cell: (row) => formatBytes(row.sizeBytes), align: 'right' },
  { title: 'VERSION', cell: (row) => String(row.version), align: 'right' },
  { title: 'TYPE', cell: (row) => row.contentType, shrinkTo: 8 },
  { title: 'UPDATED', cell: (row) => formatTime(row.updatedAt, 'short') },
  { title: 'ID', cell: (row) => row.id, shrinkTo: 16, plainCut: true },
]

/** Adds the options of `PageOptions`. */
export function paged(command: Command): Command {
  return command
    .option('--limit <count>', `at most this many (default: ${defaultPageItems})`)
    .option('--all', 'all of them')
    .option('--cursor <cursor>', 'go on where a list ended: the nextCursor that --json showed')
}

/** Adds the options of `FindOptions`. */
export function finding(command: Command): Command {
  return command
    .option(
      '--where <condition>',
      'k=v, k>v, k>=v, k<v, k<=v, k^=prefix, k:=json, k, !k or a JSON filter; may be given again',
      collect,
    )
    .option('--prefix <text>', 'names that start with this')
    .option('--type <type>', 'content type')
    .option('--since <time>', 'created at or after: 2h, 7d, 2026-11-03')
    .option('--before <time>', 'created before')
    .option('--order <key>', 'created, updated or name, with :asc or :desc (default: created:desc)')
}

/** What the options ask for. @throws INVALID_ARGUMENT */
export function queryFrom(options: FindOptions): Omit<ListOptions, 'namespace'> {
  const nowMs = Date.now()
  return {
    metadataFilter: filterFrom(options.where ?? []),
    namePrefix: options.prefix,
    contentType: options.type,
    createdAfter: options.since === undefined ? undefined : parseMoment(options.since, nowMs),
    createdBefore: options.before === undefined ? undefined : parseMoment(options.before, nowMs),
    order: parseOrder(options.order),
  }
}

/** Page by page, so that `--all` needs no more memory than one page, whatever it lists. */
export async function showPages<Row>(
  session: Session,
  options: PageOptions,
  shown: {
    page: (cursor: string | undefined) => Listing<Row>
    columns: readonly Column<Row>[]
    json: (row: Row) => unknown
    none: string
  },
): Promise<void> {
  const table = session.table(shown.columns)
  let cursor = options.cursor
  let count = 0
  if (session.json) await session.output.write('{"items":[')
  do {
    const page = await shown.page(cursor)
    if (session.json) {
      const rows = page.items.map((row) => jsonText(shown.json(row)))
      await session.output.write(`${count > 0 && rows.length > 0 ? ',' : ''}\n${rows.join(',\n')}`)
    } else if (page.items.length > 0) {
      await session.output.write(table.render(page.items))
    }
    count += page.items.length
    cursor = page.nextCursor
  } while (options.all && cursor !== undefined)
  if (session.json) await session.output.write(`\n],"nextCursor":${jsonText(cursor ?? null)}}\n`)
  if (count === 0) session.note(shown.none)
  else if (cursor !== undefined) session.note('there are more: --all lists everything, --limit more of it')
}

/** @throws INVALID_ARGUMENT */
export function pageLimit(options: PageOptions): number {
  if (options.limit === undefined) return options.all ? maxPageItems : defaultPageItems
  if (options.all) throw new ArtifactHubError('INVALID_ARGUMENT', 'give --limit or --all, not both')
  return parseCount(options.limit, '--limit', { min: 1, max: maxPageItems })
}

const orderKeys = { created: 'createdAt', updated: 'updatedAt', name: 'name' } as const

function parseOrder(text: string | undefined): ListOptions['order'] {
  if (text === undefined) return undefined
  const [key = '', direction, ...rest] = text.split(':')
  const known = Object.hasOwn(orderKeys, key) && rest.length === 0
  if (!known || (direction !== undefined && direction !== 'asc' && direction !== 'desc')) {
    throw new ArtifactHubError(
      'INVALID_ARGUMENT',
      `--order is created, updated or name, with :asc or :desc, not "${text}"`,
    )
  }
  // Newest first, but names from A.
  return { by: orderKeys[key as keyof typeof orderKeys], direction: direction ?? (key === 'name' ? 'asc' : 'desc') }
}
