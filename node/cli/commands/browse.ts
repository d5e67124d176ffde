import type { ArtifactVersion, ListOptions } from '../../../sdk/client.ts'
import type { CommandGroup } from '../command.ts'
import { resolveArtifactId } from '../resolve-artifact.ts'
import type { Session } from '../session.ts'
import { type Column, formatBytes, formatTime, parseVersion } from '../text/index.ts'
import { artifactJson, artifactText, versionJson } from './artifact-json.ts'
import {
  artifactColumns,
  type FindOptions,
  finding,
  type PageOptions,
  paged,
  pageLimit,
  queryFrom,
  showPages,
} from './pages.ts'

/** Commands that look without reading content: `ls`, `info`, `versions`. */
export const browseCommands: CommandGroup = (program, act) => {
  finding(paged(program.command('ls').description('list artifacts'))).action(act(list))
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

async function list(session: Session, options: FindOptions): Promise<void> {
  const query: ListOptions = { ...queryFrom(options), namespace: session.namespace, signal: session.signal }
  const limit = pageLimit(options)
  const client = await session.client()
  await showPages(session, options, {
    page: (cursor) => client.artifact.list({ ...query, limit, cursor }),
    columns: artifactColumns,
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
