import { base32 } from 'multiformats/bases/base32'

/** Multicodec of a leaf: bytes as they are. */
export const rawCodec = 0x55
/** Multicodec of a tree node: dag-pb, a UnixFS file. */
export const dagPbCodec = 0x70
const cidVersion = 1
const sha256Code = 0x12

/**
 * The CIDv1 of a block, as text, by its SHA-256 digest (32 bytes) and its multicodec, less than 0x80. Of multiformats only the base is
 * loaded: each worker would load the rest of it for an error's message.
 */
export function cidOf(digest: Uint8Array, codec: number): string {
  return base32.encode(Uint8Array.of(cidVersion, codec, sha256Code, digest.length, ...digest))
}
