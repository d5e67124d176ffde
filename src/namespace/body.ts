import {
  type ArtifactState,
  metadataText,
  parseMetadata,
  validateContentType,
  validateMetadata,
  validateName,
} from '../catalog/index.ts'
import { decodeCanonical, encodeCanonical, requireFormatVersion } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { maxEntryBytes } from '../limits.ts'

const formatVersion = 1

/**
 * A put's body before encryption: canonical DAG-CBOR `{ v: 1, name, type, meta, sha256 }`. Metadata is JSON text, for
 * CBOR would lose the difference between a key named `__proto__` and a prototype, and between 1 and 1.0.
 */
export function encodeBody(state: ArtifactState): Uint8Array<ArrayBuffer> {
  return encodeCanonical({
    v: formatVersion,
    name: state.name,
    type: state.contentType,
    meta: metadataText(state.metadata),
    sha256: state.sha256,
  })
}

/** Everything in it is checked again: the writer may be another node, and a hostile one. @throws CORRUPT, UNSUPPORTED_FORMAT */
export function decodeBody(bytes: Uint8Array): ArtifactState {
  const body = decodeCanonical(bytes, { maxBytes: maxEntryBytes, what: 'an entry’s body' }) as Record<
    string,
    unknown
  > | null
  if (typeof body !== 'object' || body === null) throw malformed()
  requireFormatVersion(body.v, formatVersion, 'what this version says')
  const { name, type, meta, sha256 } = body
  if (typeof name !== 'string' || typeof type !== 'string' || typeof meta !== 'string') throw malformed()
  if (!(sha256 instanceof Uint8Array) || sha256.length !== 32 || Object.keys(body).length !== 5) throw malformed()
  try {
    const metadata = validateMetadata(parseMetadata(meta))
    return { name: validateName(name), contentType: validateContentType(type), metadata, sha256 }
  } catch (cause) {
    throw new ArtifactHubError('CORRUPT', 'an entry says what no artifact may be', { cause })
  }
}

function malformed(): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', 'an entry’s body is not what a body must be')
}
