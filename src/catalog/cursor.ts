import { concatBytes, equalBytes, sha256 } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'

const cursorVersion = 1
const queryHashBytes = 8

/** What a cursor is bound to: 8 bytes of the SHA-256 of the text of a query. */
export function queryHash(text: string): Uint8Array {
  return sha256(new TextEncoder().encode(text)).subarray(0, queryHashBytes)
}

/** Base64url of: 01, the query's hash (8), the position after which the next page begins. */
export function encodeCursor(query: Uint8Array, position: Uint8Array): string {
  return Buffer.from(concatBytes(Uint8Array.of(cursorVersion), query, position)).toString('base64url')
}

/** The position in a cursor. @throws INVALID_ARGUMENT when it is garbled or another query's */
export function decodeCursor(query: Uint8Array, cursor: string): Uint8Array {
  const bytes = typeof cursor === 'string' ? Buffer.from(cursor, 'base64url') : Buffer.alloc(0)
  const isCursor =
    bytes.length > 1 + queryHashBytes && bytes[0] === cursorVersion && bytes.toString('base64url') === cursor
  if (!isCursor) throw new ArtifactHubError('INVALID_ARGUMENT', 'the cursor is not one that a list gave')
  if (!equalBytes(bytes.subarray(1, 1 + queryHashBytes), query)) {
    throw new ArtifactHubError('INVALID_ARGUMENT', 'the cursor belongs to a list with other options')
  }
  return bytes.subarray(1 + queryHashBytes)
}
