import type { Command } from 'commander'
import type { Artifact, ArtifactVersion, Listing, ListOptions } from '../../../sdk/client.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import { defaultPageItems, maxPageItems } from '../../../src/limits.ts'
import { type CommandGroup, collect } from '../command.ts'
import { resolveArtifactId } from '../resolve-artifact.ts'
import type { Session } from '../session.ts'
import {
  type Column,
  filterFrom,
  formatBytes,
  formatTime,
  jsonText,
  parseCount,
  parseMoment,
  parseVersion,
} from '../text/index.ts'
import { artifactJson, artifactText, versionJson } from './artifact-json.ts'

interface PageOptions {
  readonly limit?: string
  readonly all?: boolean
  readonly cursor?: string
}

interface FindOptions extends PageOptions {
  readonly where?: string[]
  readonly prefix?: string
  readonly type?: string
  readonly since?: string
  readonly before?: string
  readonly order?: string
}

/** Commands that look without reading content: `ls`, `info`, `versions`. */
export const browseCommands: CommandGroup = (program, act) => {
  paged(program.command('ls'))
    .description('list artifacts')
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
    .action(act(list))
  program
    .command('info')
    .description('show everything about an artifact but its content')
    .argument('<id>', 'artifact')
    .option('--version <version>', 'number or version id (default: the current one)')
    .action(act(info))
  paged(program.command('versions'))
    .description('list the versions of an artifact, newest first')
    .argument('<id>', 'artifact')
    .action(act(versions))
}

function paged(command: Command): Command {
  return command
    .option('--limit <count>', `at most this many (default: ${defaultPageItems})`)
    .option('--all', 'all of them')
    .option('--cursor <cursor>', 'go on where a list ended: the nextCursor that --json showed')
}

async function list(session: Session, options: FindOptions): Promise<void> {
  const nowMs = Date.now()
  const query: ListOptions = {
    namespace: session.namespace,
    metadataFilter: filterFrom(options.where ?? []),
    namePrefix: options.prefix,
    contentType: options.type,
    createdAfter: options.since === undefined ? undefined : parseMoment(options.since, nowMs),
    createdBefore: options.before === undefined ? undefined : parseMoment(options.before, nowMs),
    order: parseOrder(options.order),
    signal: session.signal,
  }
  const limit = pageLimit(options)
  const client = await session.client()
  const columns: Column<Artifact>[] = [
    { title: 'NAME', cell: (row) => row.name, shrinkTo: 14 },
    { title: 'SIZE', cell: (row) => formatBytes(row.sizeBytes), align: 'right' },
    { title: 'VERSION', cell: (row) => String(row.version), align: 'right' },
    { title: 'TYPE', cell: (row) => row.contentType, shrinkTo: 8 },
    { title: 'UPDATED', cell: (row) => formatTime(row.updatedAt, 'short') },
    { title: 'ID', cell: (row) => row.id, shrinkTo: 16, plainCut: true },
  ]
  await showPages(session, options, {
    page: (cursor) => client.artifact.list({ ...query, limit, cursor }),
    columns,
    json: artifactJson,
    none: 'no artifacts here that match',
  })
}

async function info(session: Session, options: { version?: string }, reference: string): Promise<void> {
  const client = await session.client()
  const { namespace, signal } = session
  const artifactId = await resolveArtifactId(client, reference, { namespace, signal })
  const version = options.version === undefined ? undefined : parseVersion(options.version)
  const artifact = await client.artifact.get({ artifactId, version, namespace, signal })
  await session.result(artifactJson(artifact), artifactText(artifact))
}

async function versions(session: Session, options: PageOptions, reference: string): Promise<void> {
  const limit = pageLimit(options)
  const client = await session.client()
  const { namespace, signal } = session
  const artifactId = await resolveArtifactId(client, reference, { namespace, signal })
  const columns: Column<ArtifactVersion>[] = [
    { title: '', cell: (row) => (row.current ? '*' : '') },
    { title: 'VERSION', cell: (row) => String(row.version), align: 'right' },
    { title: 'VERSION ID', cell: (row) => row.versionId },
    { title: 'SIZE', cell: (row) => formatBytes(row.sizeBytes), align: 'right' },
    { title: 'WRITTEN', cell: (row) => formatTime(row.updatedAt) },
    { title: 'NAME', cell: (row) => row.name, shrinkTo: 10 },
    { title: 'AUTHOR', cell: (row) => row.author, shrinkTo: 12 },
  ]
  await showPages(session, options, {
    page: (cursor) => client.artifact.listVersions({ artifactId, namespace, signal, limit, cursor }),
    columns,
    json: versionJson,
    none: 'no versions',
  })
}

/** Page by page, so that `--all` needs no more memory than one page, whatever it lists. */
async function showPages<Row>(
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

function pageLimit(options: PageOptions): number {
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
