/** Bytes and text: canonical DAG-CBOR with strict reading, ids, order-preserving integers. */
export {
  bytesText,
  concatBytes,
  equalBytes,
  fromHex,
  orderedUint64,
  prefixEnd,
  readUint64,
  sha256,
  toHex,
} from './bytes.ts'
export { decodeCanonical, encodeCanonical } from './canonical.ts'
export { requireFormatVersion } from './format-version.ts'
export {
  artifactIdBytes,
  artifactIdOf,
  artifactSaltBytes,
  formatArtifactId,
  formatGroupId,
  formatNamespaceId,
  isGroupId,
  isNamespaceId,
  parseArtifactId,
  parseGroupId,
  parseNamespaceId,
} from './ids.ts'
export { Reader } from './reader.ts'
export { record } from './record.ts'
