import { decode, encode } from '@ipld/dag-cbor'
import { ArtifactHubError } from '../errors.ts'
import { equalBytes } from './bytes.ts'

/** Canonical DAG-CBOR (ipld.io/specs/codecs/dag-cbor): one value has one encoding, so bytes can be hashed and signed. */
export function encodeCanonical(value: unknown): Uint8Array<ArrayBuffer> {
  const encoded = encode(value) as Uint8Array<ArrayBuffer>
  // A plain view: the encoder may give a Buffer, whose methods differ.
  return new Uint8Array(encoded.buffer, encoded.byteOffset, encoded.byteLength)
}

/**
 * Reads canonical DAG-CBOR and nothing else: what does not encode back to the same bytes is refused, so two
 * different byte strings are never taken for one value.
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
  let value: unknown
  let canonical: Uint8Array
  try {
    value = decode(bytes)
    canonical = encode(value)
  } catch (cause) {
    throw new ArtifactHubError('CORRUPT', `${options.what} is not DAG-CBOR`, { cause })
  }
  if (!equalBytes(canonical, bytes)) throw new ArtifactHubError('CORRUPT', `${options.what} is not canonical DAG-CBOR`)
  return value
}
