import type { VersionRecord } from '../../src/catalog/index.ts'
import { cidOf } from '../../src/content/index.ts'
import { formatArtifactId, toHex } from '../../src/encoding/index.ts'
import { formatDid } from '../../src/identity/index.ts'
import type { Artifact, ArtifactVersion, JsonObject } from '../client.ts'

/** A version as programs see it. */
export function presentArtifact(namespace: string, record: VersionRecord): Artifact {
  const { state, root } = record
  return {
    id: formatArtifactId(record.artifact),
    namespace,
    name: state.name,
    contentType: state.contentType,
    sizeBytes: root.sizeBytes,
    sha256: toHex(state.sha256),
    metadata: state.metadata as JsonObject,
    version: record.number,
    versionId: record.versionId,
    createdAt: new Date(record.createdAt.wallMs),
    updatedAt: new Date(record.updatedAt.wallMs),
    createdBy: formatDid(record.createdBy),
    cid: cidOf(root.digest, root.codec),
  }
}

/** A row of a history as programs see it. */
export function presentVersion(namespace: string, record: VersionRecord): ArtifactVersion {
  const { author, siblings, current } = record
  return { ...presentArtifact(namespace, record), author: formatDid(author), siblings, current }
}
