import { ArtifactHubError } from '../errors.ts'
import { readCbor } from './cbor-reader.ts'
import { writeCbor } from './cbor-writer.ts'

/**
 * Canonical DAG-CBOR (ipld.io/specs/codecs/dag-cbor): one value has one encoding, so bytes can be hashed and signed.
 *
 * @throws INTERNAL for what no format here has: CIDs, bigints, `undefined`, instances of classes
 */
export function encodeCanonical(value: unknown): Uint8Array<ArrayBuffer> {
  return writeCbor(value)
}

/**
 * Reads canonical DAG-CBOR and nothing else: what `encodeCanonical` would not make of the value is refused, so two
 * different byte strings are never taken for one value. Byte strings of the result have memory of their own.
 *
 * @throws TOO_LARGE above `maxBytes`, before anything is decoded; CORRUPT for anything not canonical
 */
export function decodeCanonical(bytes: Uint8Array, options: { maxBytes: number; what: string }): unknown {
  if (bytes.length > options.maxBytes) {
    throw new ArtifactHubError(
      'TOO_LARGE',
      `${options.what} is ${bytes.length} bytes; at most ${options.maxBytes} are allowed`,
    )
  }
  try {
    return readCbor(bytes)
  } catch (cause) {
    throw new ArtifactHubError('CORRUPT', `${options.what} is not canonical DAG-CBOR`, { cause })
  }
}
