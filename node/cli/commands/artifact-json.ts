import type { Artifact, ArtifactVersion } from '../../../sdk/client.ts'
import { fieldLines, formatBytes, formatTime, jsonText } from '../text/index.ts'

/** An artifact as `--json` shows it: the SDK's fields, times in ISO 8601 (UTC). Fields are only ever added. */
export function artifactJson(artifact: Artifact): Record<string, unknown> {
  return {
    id: artifact.id,
    namespace: artifact.namespace,
    name: artifact.name,
    contentType: artifact.contentType,
    sizeBytes: artifact.sizeBytes,
    sha256: artifact.sha256,
    metadata: artifact.metadata,
    version: artifact.version,
    versionId: artifact.versionId,
    createdAt: artifact.createdAt.toISOString(),
    updatedAt: artifact.updatedAt.toISOString(),
    createdBy: artifact.createdBy,
    cid: artifact.cid,
  }
}

/** As `artifactJson`, with what only a row of a history has. */
export function versionJson(version: ArtifactVersion): Record<string, unknown> {
  return { ...artifactJson(version), author: version.author, siblings: version.siblings, current: version.current }
}

/** Everything about one version, as lines for people. */
export function artifactText(artifact: Artifact): string {
  return fieldLines([
    ['name', artifact.name],
    ['id', artifact.id],
    ['version', `${artifact.version} (${artifact.versionId})`],
    ['size', `${formatBytes(artifact.sizeBytes)} (${artifact.sizeBytes.toLocaleString('en-US')} bytes)`],
    ['type', artifact.contentType],
    ['sha256', artifact.sha256],
    ['created', formatTime(artifact.createdAt)],
    ['updated', formatTime(artifact.updatedAt)],
    ['created by', artifact.createdBy],
    ['namespace', artifact.namespace],
    ['cid', artifact.cid],
    ...Object.entries(artifact.metadata).map(
      ([key, value]) =>
        [`  ${jsonText(key).slice(1, -1)}`, typeof value === 'string' ? value : jsonText(value)] as const,
    ),
  ])
}

/** The one line that says what was written: id first, for scripts. */
export function storedLine(artifact: Artifact): string {
  const { id, name, version, sizeBytes } = artifact
  return `${id}  ${jsonText(name).slice(1, -1)}  version ${version}  ${formatBytes(sizeBytes)}\n`
}
