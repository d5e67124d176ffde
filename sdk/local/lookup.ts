import type { VersionRecord, VersionRef } from '../../src/catalog/index.ts'
import { formatArtifactId, parseArtifactId } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import { noSuchVersion } from '../../src/namespace/index.ts'
import { type EndedLog, endedError } from './ended.ts'
import type { OpenNamespace } from './namespace-book.ts'
import type { LocalNamespaces, ReadRights } from './namespaces.ts'

/** A version and the namespace that it is in. */
export interface Found {
  readonly namespace: OpenNamespace
  readonly record: VersionRecord
}

/** Finds a version by artifact id, in everything that this node may read. @throws NOT_FOUND, INVALID_ARGUMENT, ACCESS_DENIED, UNAVAILABLE */
export async function findById(
  namespaces: LocalNamespaces,
  options: { artifactId: string; namespace?: string | undefined; version?: VersionRef | undefined },
): Promise<Found> {
  const artifact = parseArtifactId(options.artifactId)
  // Both as they are now: what comes back meanwhile was out of reach when it was asked for.
  const { ended, rights } = namespaces
  const among = options.namespace === undefined ? namespaces.readable : [namespaces.find(options.namespace)]
  for (const namespace of among) {
    const record = await namespace.log.catalog.get(artifact, options.version)
    if (namespace.log.partial !== undefined && record !== undefined) checkRight(namespaces, artifact)
    if (record !== undefined) return { namespace, record }
    if (options.version === undefined || (await namespace.log.catalog.get(artifact)) === undefined) {
      if (namespace.log.partial === undefined) await checkNotHidden(namespace, artifact)
      continue
    }
    throw noSuchVersion(artifact, options.version)
  }
  checkRight(namespaces, artifact)
  if (options.namespace === undefined) await checkNotEnded(ended, rights, artifact)
  throw noSuchVersion(artifact, undefined)
}

/**
 * @throws ACCESS_DENIED for an artifact of a namespace that this agent is in no more; UNAVAILABLE when it is shared with it besides, and is to come from those who
 *   have it
 */
async function checkNotEnded(
  ended: readonly EndedLog[],
  rights: ReadRights | undefined,
  artifact: Uint8Array,
): Promise<void> {
  for (const one of ended) {
    if ((await one.namespace.log.catalog.get(artifact)) === undefined) continue
    if (rights?.isReadable(artifact) !== true) throw endedError(one)
    const message = `artifact ${formatArtifactId(artifact)} is shared with this agent, and nobody has given it yet`
    throw new ArtifactHubError('UNAVAILABLE', message, { details: { artifactId: formatArtifactId(artifact) } })
  }
}

/** @throws ACCESS_DENIED for an artifact that this agent was let read and may not read any more */
function checkRight({ rights }: LocalNamespaces, artifact: Uint8Array): void {
  const reason = rights?.refusalOf(artifact)
  if (reason === undefined) return
  const artifactId = formatArtifactId(artifact)
  throw new ArtifactHubError('ACCESS_DENIED', `artifact ${artifactId} is not shared with this agent any more`, {
    details: { artifactId, reason },
  })
}

/** @throws ACCESS_DENIED for an artifact that is here and that this agent cannot read */
async function checkNotHidden({ log, row }: OpenNamespace, artifact: Uint8Array): Promise<void> {
  for await (const _ of log.catalog.liveRoots(artifact)) {
    const role = log.roleOf(log.env.agent.publicKey) ?? null
    const why = role === 'replica' ? 'a replica has no keys' : 'nobody has sealed its key to this agent yet'
    throw new ArtifactHubError(
      'ACCESS_DENIED',
      `artifact ${formatArtifactId(artifact)} of namespace ${JSON.stringify(row.name)} cannot be read here: ${why}`,
      { details: { artifactId: formatArtifactId(artifact), namespace: log.idText, role, reason: 'no-key' } },
    )
  }
}

/** Finds an artifact by name: of several, the most recently updated. @throws NOT_FOUND, INVALID_ARGUMENT */
export async function findByName(
  namespaces: LocalNamespaces,
  options: { name: string; namespace?: string | undefined; version?: VersionRef | undefined },
): Promise<Found> {
  const namespace = namespaces.find(options.namespace)
  const artifact = await namespace.log.catalog.findByName(options.name)
  const record = artifact && (await namespace.log.catalog.get(artifact, options.version))
  if (record !== undefined) return { namespace, record }
  if (artifact !== undefined) throw noSuchVersion(artifact, options.version)
  const name = options.name.slice(0, 200)
  throw new ArtifactHubError(
    'NOT_FOUND',
    `no artifact is named ${JSON.stringify(name)} in namespace ${JSON.stringify(namespace.row.name)}`,
    {
      details: { name, namespace: namespace.log.idText },
    },
  )
}

/** The salt that makes an artifact's id: every entry of it carries it. @throws CORRUPT when the log lacks the entry */
export async function saltOf({ namespace, record }: Found): Promise<Uint8Array> {
  const entry = await namespace.log.held.entry(record.entry)
  if (entry?.header.data === undefined)
    throw new ArtifactHubError('CORRUPT', 'the log lacks the entry of a version that the catalog lists')
  return entry.header.data.artifactSalt
}
