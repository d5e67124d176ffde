import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Artifact, ByteRange, Client } from '../../../sdk/client.ts'
import { ArtifactHubError, isHubError } from '../../../src/errors.ts'
import type { CommandGroup } from '../command.ts'
import { resolveArtifactId } from '../resolve-artifact.ts'
import type { Session } from '../session.ts'
import { escapeControls, fileNameFor, formatBytes, parseRange, parseVersion, type RangeText } from '../text/index.ts'
import { artifactJson } from './artifact-json.ts'

/** Commands that bring content out: `get` to a file, `cat` to standard output. */
export const readCommands: CommandGroup = (program, act) => {
  program
    .command('get')
    .description(
      'bring an artifact out to a file, from other members what is not here; run again, it goes on where it stopped',
    )
    .argument('<id>', 'artifact')
    .option('-o, --output <path>', 'file or folder, or - for standard output (default: the artifact’s name, here)')
    .option('--version <version>', 'number or version id (default: the current one)')
    .option('-f, --force', 'replace what is at the path')
    .action(act(get))
  program
    .command('cat')
    .description('write an artifact’s content to standard output, from other members what is not here')
    .argument('<id>', 'artifact')
    .option('--version <version>', 'number or version id (default: the current one)')
    .option('--range <bytes>', 'only these bytes: 0-99, 100-, -500 (the last 500) or 1MB+4kB (offset and length)')
    .action(act(cat))
}

async function get(
  session: Session,
  options: { output?: string; version?: string; force?: boolean },
  reference: string,
): Promise<void> {
  if (options.output === '-') return await cat(session, options, reference)
  const artifact = await find(session, reference, options.version)
  const path = await targetPath(artifact, options.output)
  using progress = session.progress(artifact.name)
  const saved = await here(session, (client) =>
    client.artifact.downloadFile({
      artifactId: artifact.id,
      version: artifact.versionId,
      path,
      overwrite: options.force,
      onProgress: progress.transfer,
      signal: session.signal,
    }),
  )
  progress.close()
  await session.result({ ...artifactJson(saved), path }, `${escapeControls(path)}  ${formatBytes(saved.sizeBytes)}\n`)
}

async function cat(session: Session, options: { version?: string; range?: string }, reference: string): Promise<void> {
  const given = options.range === undefined ? undefined : parseRange(options.range)
  const artifact = await find(session, reference, options.version)
  refuseBinaryOnTerminal(artifact)
  const range = given && rangeWithin(given, artifact.sizeBytes)
  using progress = session.progress(artifact.name)
  let written = 0
  await here(session, async (client) => {
    const content = client.artifact.downloadStream({
      artifactId: artifact.id,
      version: artifact.versionId,
      range: written === 0 ? range : rest(range, written),
      // On one terminal a bar would be drawn into the content.
      onProgress: process.stdout.isTTY ? undefined : progress.transfer,
      signal: session.signal,
    })
    for await (const bytes of content) {
      await session.output.write(bytes)
      written += bytes.length
    }
  })
}

/**
 * Does it with what is on this disk, and once more with the network if that is not all. Most of what is read is here, and a
 * network takes longer to start than that takes to read.
 */
async function here<T>(session: Session, work: (client: Client) => Promise<T>): Promise<T> {
  try {
    return await work(await session.client())
  } catch (error) {
    if (session.isOnline || session.staysOffline || !isHubError(error, 'UNAVAILABLE')) throw error
  }
  session.note('not all of it is here: asking the other members')
  return await work(await session.onlineClient())
}

/** What is left of a range, or of all, after its first bytes. */
function rest(range: ByteRange | undefined, bytes: number): ByteRange {
  const { offset, length } = range ?? { offset: 0 }
  return { offset: offset + bytes, length: length === undefined ? undefined : length - bytes }
}

async function find(session: Session, reference: string, version: string | undefined): Promise<Artifact> {
  const client = await session.client()
  const { namespace, signal } = session
  const artifactId = await resolveArtifactId(client, reference, { namespace, signal })
  const wanted = version === undefined ? undefined : parseVersion(version)
  return await client.artifact.get({ artifactId, version: wanted, namespace, signal })
}

async function targetPath(artifact: Artifact, output: string | undefined): Promise<string> {
  const name = fileNameFor(artifact.name)
  if (output === undefined) return name
  const isFolder = await stat(output).then(
    (found) => found.isDirectory(),
    () => output.endsWith('/'),
  )
  return isFolder ? join(output, name) : output
}

function rangeWithin(range: RangeText, sizeBytes: number): ByteRange {
  if (range.kind === 'from') return { offset: range.offset, length: range.length }
  // As HTTP does (RFC 9110, 14.1.2): more than there is means all of it.
  const length = Math.min(range.length, sizeBytes)
  return { offset: sizeBytes - length, length }
}

function refuseBinaryOnTerminal(artifact: Artifact): void {
  const readable = /^(text\/|application\/([\w.-]+\+)?(json|xml|yaml|toml|javascript))/.test(artifact.contentType)
  if (!process.stdout.isTTY || readable) return
  throw new ArtifactHubError(
    'INVALID_ARGUMENT',
    `"${artifact.name}" is ${artifact.contentType}, which a terminal cannot show; use \`artifact-hub get\`, or send it into a pipe or a file`,
  )
}
