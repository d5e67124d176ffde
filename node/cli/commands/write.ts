import { basename } from 'node:path'
import { buffer } from 'node:stream/consumers'
import type { Command } from 'commander'
import type { Artifact, Client, Json, UpdateOptions } from '../../../sdk/client.ts'
import type { ReplicaOptions, WrittenArtifact } from '../../../sdk/peer-client.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import { type CommandGroup, collect } from '../command.ts'
import { resolveArtifactId } from '../resolve-artifact.ts'
import type { Session } from '../session.ts'
import { standardInput } from '../standard-input.ts'
import {
  formatCount,
  metadataFrom,
  parseCount,
  parseDuration,
  parseJson,
  parseJsonObject,
  parseVersion,
} from '../text/index.ts'
import { artifactJson, storedLine } from './artifact-json.ts'

interface CopyOptions {
  readonly replicas?: string
  readonly replicaTimeout?: string
}

interface DescribeOptions extends CopyOptions {
  readonly name?: string
  readonly type?: string
  readonly meta?: string[]
  readonly metaJson?: string
}

/** Commands that write a version: `put`, `update`, `snippet`. */
export const writeCommands: CommandGroup = (program, act) => {
  describable(program.command('put'), 'default: the file’s own')
    .description('store a file, or standard input, as a new artifact')
    .argument('<file>', 'path of a file, or - for standard input')
    .action(act(put))
  describable(program.command('update'), 'rename it')
    .description('write a new version: other content, another description, or an older version again')
    .argument('<id>', 'artifact')
    .argument('[file]', 'path of a file, or - for standard input; without one the content stays')
    .option('--restore <version>', 'make this older version the newest again')
    .option('--expect <version>', 'only if this is still the current version')
    .action(act(update))
  copied(program.command('snippet'))
    .description('store a small JSON value (or text, with --text) as a new artifact')
    .argument('<name>', 'name of the artifact')
    .argument('[json]', 'the value, or - for standard input (the default)')
    .option('--text', 'store it as it is, not as JSON')
    .option('--meta <key=value>', 'metadata: key=text or key:=json; may be given again', collect)
    .option('--meta-json <object>', 'metadata as one JSON object; --meta adds to it')
    .action(act(snippet))
}

function describable(command: Command, nameDefault: string): Command {
  return copied(command)
    .option('--name <name>', `name of the artifact (${nameDefault})`)
    .option('--type <type>', 'content type, such as text/csv (default: guessed)')
    .option('--meta <key=value>', 'metadata: key=text or key:=json, dots nest; may be given again', collect)
    .option('--meta-json <object>', 'metadata as one JSON object; --meta adds to it')
}

function copied(command: Command): Command {
  return command
    .option('--replicas <number>', 'wait until this many other nodes hold it, on their disks')
    .option('--replica-timeout <duration>', 'how long to wait for them (default: 30s)')
}

/** The client to write with: waiting for others takes a network. */
async function writer(session: Session, options: CopyOptions): Promise<{ client: Client; copies: ReplicaOptions }> {
  const { replicas, replicaTimeout } = options
  if (replicas === undefined) {
    if (replicaTimeout === undefined) return { client: await session.client(), copies: {} }
    throw new ArtifactHubError('INVALID_ARGUMENT', '--replica-timeout is for --replicas')
  }
  const copies = {
    replicas: parseCount(replicas, '--replicas', { min: 1, max: 1_000 }),
    replicaTimeoutMs: replicaTimeout === undefined ? undefined : parseDuration(replicaTimeout, '--replica-timeout'),
  }
  return { client: await session.onlineClient(), copies }
}

async function put(session: Session, options: DescribeOptions, file: string): Promise<void> {
  const metadata = describedMetadata(options)
  const fromInput = file === '-'
  if (fromInput && options.name === undefined) {
    throw new ArtifactHubError('INVALID_ARGUMENT', 'standard input has no name: give one with --name')
  }
  const { client, copies } = await writer(session, options)
  using progress = session.progress(options.name ?? basename(file))
  const common = {
    ...copies,
    contentType: options.type,
    metadata,
    namespace: session.namespace,
    onProgress: progress.transfer,
    signal: session.signal,
  }
  const artifact = fromInput
    ? await client.artifact.create({ ...common, name: options.name ?? '', data: standardInput(session) })
    : await client.artifact.uploadFile({ ...common, name: options.name, path: file })
  progress.close()
  await showStored(session, artifact)
}

async function update(
  session: Session,
  options: DescribeOptions & { restore?: string; expect?: string },
  reference: string,
  file: string | undefined,
): Promise<void> {
  if (file !== undefined && options.restore !== undefined) {
    throw new ArtifactHubError('INVALID_ARGUMENT', 'give a file or --restore, not both')
  }
  const described = describedMetadata(options)
  const changes = [file, options.restore, options.name, options.type, described]
  if (changes.every((change) => change === undefined)) {
    throw new ArtifactHubError(
      'INVALID_ARGUMENT',
      'nothing to change: give a file, --restore, --name, --type, --meta or --meta-json',
    )
  }
  const { client, copies } = await writer(session, options)
  const { namespace, signal } = session
  const artifactId = await resolveArtifactId(client, reference, { namespace, signal })
  const current = await client.artifact.get({ artifactId, namespace, signal })
  using progress = session.progress(options.name ?? current.name)
  const request: UpdateOptions = {
    ...copies,
    artifactId,
    namespace,
    name: options.name,
    contentType: options.type,
    restore: options.restore === undefined ? undefined : parseVersion(options.restore),
    expectedVersion: options.expect === undefined ? undefined : parseVersion(options.expect),
    onProgress: progress.transfer,
    signal,
    ...(file === '-' ? { data: standardInput(session) } : { path: file }),
    ...laidOver(current, options, described),
  }
  const artifact = await client.artifact.update(request)
  progress.close()
  await showStored(session, artifact)
}

/** `--meta` alone changes single keys of what is there, so it must still be what is there when the update lands. */
function laidOver(
  current: Artifact,
  options: DescribeOptions & { restore?: string; expect?: string },
  described: Artifact['metadata'] | undefined,
): Pick<UpdateOptions, 'metadata' | 'expectedVersion'> {
  if (described === undefined) return {}
  if (options.metaJson !== undefined || options.restore !== undefined) return { metadata: described }
  return {
    metadata: metadataFrom(options.meta ?? [], current.metadata),
    ...(options.expect === undefined ? { expectedVersion: current.versionId } : {}),
  }
}

async function snippet(
  session: Session,
  options: DescribeOptions & { text?: boolean },
  name: string,
  given: string | undefined,
): Promise<void> {
  const metadata = describedMetadata(options)
  const source = given === undefined || given === '-' ? textOf(await buffer(standardInput(session)), options) : given
  const content: Json = options.text ? source : parseSnippet(source)
  const { client, copies } = await writer(session, options)
  const { namespace, signal } = session
  await showStored(
    session,
    await client.artifact.createSnippet({ name, content, metadata, namespace, signal, ...copies }),
  )
}

/** As text it keeps a byte order mark, which JSON has none of. */
function textOf(bytes: Uint8Array, options: { text?: boolean }): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: options.text === true }).decode(bytes)
  } catch (cause) {
    throw new ArtifactHubError('INVALID_ARGUMENT', 'standard input is not UTF-8 text; to store it as it is use put', {
      cause,
    })
  }
}

function parseSnippet(source: string): Json {
  try {
    return parseJson(source, 'the value')
  } catch (cause) {
    const message = `${(cause as Error).message}; to store it as plain text add --text`
    throw new ArtifactHubError('INVALID_ARGUMENT', message, { cause })
  }
}

function describedMetadata(options: DescribeOptions): Artifact['metadata'] | undefined {
  if (options.meta === undefined && options.metaJson === undefined) return undefined
  const base = options.metaJson === undefined ? {} : parseJsonObject(options.metaJson, '--meta-json')
  return metadataFrom(options.meta ?? [], base)
}

async function showStored(session: Session, artifact: WrittenArtifact): Promise<void> {
  const { replicas } = artifact
  await session.result(
    { ...artifactJson(artifact), ...(replicas === undefined ? {} : { replicas }) },
    storedLine(artifact),
  )
  if (replicas === undefined) return
  const held = `${replicas.confirmed.length} of ${formatCount(replicas.requested, 'other node')} confirmed a copy`
  session.note(
    replicas.confirmed.length < replicas.requested ? `${held}; it is stored here, and others get it later` : held,
  )
}
