import type { ArtifactEvent, Holding } from '../../../sdk/peer-client.ts'
import { awaitSync } from '../await-sync.ts'
import type { CommandGroup } from '../command.ts'
import { resolveArtifactId } from '../resolve-artifact.ts'
import type { Session } from '../session.ts'
import { escapeControls, formatBytes, formatTime, jsonText, parseCount, parseDuration } from '../text/index.ts'
import { artifactJson } from './artifact-json.ts'

/** What happens, and where things are: `watch`, `where`. */
export const watchCommands: CommandGroup = (program, act) => {
  program
    .command('watch')
    .description('print what any member does to artifacts, one line an event, until Ctrl-C')
    .argument('[id]', 'only this artifact')
    .option('--all', 'in all namespaces of this node, and what others share with this agent')
    .option('--cursor <cursor>', 'go on after the event that had it; nothing in between is missed')
    .option('--count <number>', 'end after this many events')
    .addHelpText('after', watchHelp)
    .action(act(watch))
  program
    .command('where')
    .description('show which nodes hold which versions of an artifact')
    .argument('<id>', 'artifact')
    .option('--timeout <duration>', 'how long to look for members', '3s')
    .action(act(where))
}

const watchHelp = `
With --json every event is one line: kind (created, updated, deleted; shared: others share it with
this agent from now on; unshared: they do not any more, with reason), namespace, artifactId,
artifact (or null) and cursor.

Examples:
  artifact-hub watch --all
  artifact-hub watch --json | while read -r event; do …; done`

async function watch(
  session: Session,
  options: { all?: boolean; cursor?: string; count?: string },
  reference: string | undefined,
): Promise<void> {
  const most =
    options.count === undefined ? Number.POSITIVE_INFINITY : parseCount(options.count, '--count', countBounds)
  const { client } = await session.online()
  const { signal } = session
  const current = session.namespace ?? (await client.namespace.usage({ signal })).namespace
  const artifactId =
    reference === undefined
      ? undefined
      : await resolveArtifactId(client, reference, { namespace: options.all ? undefined : current, signal })
  // What others share with this agent is in no namespace of its own.
  const isAnywhere = options.all || (artifactId !== undefined && session.namespace === undefined)
  const namespace = isAnywhere ? undefined : current
  let count = 0
  for await (const event of client.artifact.watch({ namespace, artifactId, cursor: options.cursor, signal })) {
    await session.output.write(session.json ? `${jsonText(eventJson(event))}\n` : eventLine(event))
    if (++count >= most) return
  }
}

const countBounds = { min: 1, max: Number.MAX_SAFE_INTEGER }

function eventJson({ kind, namespace, artifactId, artifact, reason, cursor }: ArtifactEvent): Record<string, unknown> {
  const shown = artifact === undefined ? null : artifactJson(artifact)
  return { kind, namespace, artifactId, artifact: shown, ...(reason !== undefined && { reason }), cursor }
}

function eventLine({ kind, artifactId, artifact, reason }: ArtifactEvent): string {
  const about =
    artifact === undefined
      ? reason === undefined
        ? []
        : [reason]
      : [artifact.name, `version ${artifact.version}`, formatBytes(artifact.sizeBytes), formatTime(artifact.updatedAt)]
  return `${[kind, artifactId, ...about].map(escapeControls).join('  ')}\n`
}

async function where(session: Session, options: { timeout: string }, reference: string): Promise<void> {
  const timeoutMs = parseDuration(options.timeout, '--timeout')
  const since = new Date()
  const node = await session.online()
  const { signal } = session
  const artifactId = await resolveArtifactId(node.client, reference, { namespace: session.namespace, signal })
  const { namespace } = await node.client.artifact.get({ artifactId, signal })
  // Until somebody is connected there is nobody to ask.
  await awaitSync(node, { since, timeoutMs, namespace, signal })
  const { versions, unreachable, notAsked } = await node.client.artifact.status({ artifactId, namespace, signal })
  const rows = versions.flatMap((holding) => holdingRows(holding))
  const table = session.table<HoldingRow>([
    { title: 'VERSION', cell: (row) => row.version, align: 'right' },
    { title: 'VERSION ID', cell: (row) => row.versionId },
    { title: 'HOLDS', cell: (row) => row.holds },
    { title: 'DID', cell: (row) => (row.did === node.did ? `${row.did} (this node)` : row.did) },
  ])
  const missed = [
    ...unreachable.map((did) => `not reached: ${escapeControls(did)}\n`),
    ...notAsked.map((did) => `not asked, for the time was over: ${escapeControls(did)}\n`),
  ].join('')
  await session.result(
    { artifactId, versions, unreachable, notAsked },
    (rows.length === 0 ? '' : table.render(rows)) + missed,
  )
}

interface HoldingRow {
  readonly version: string
  readonly versionId: string
  readonly did: string
  readonly holds: string
}

function holdingRows({ version, versionId, nodes }: Holding): HoldingRow[] {
  if (nodes.length === 0) return [{ version: String(version), versionId, did: '', holds: 'nobody answered' }]
  return nodes.map(({ did, holds }) => ({ version: String(version), versionId, did, holds }))
}
