import { CID } from 'multiformats/cid'
import { create } from 'multiformats/hashes/digest'

/** Multicodec of a leaf: bytes as they are. */
export const rawCodec = 0x55
/** Multicodec of a tree node: dag-pb, a UnixFS file. */
export const dagPbCodec = 0x70
const sha256Code = 0x12

/** The CIDv1 of a block by its SHA-256 digest (32 bytes) and multicodec. */
export function cidOf(digest: Uint8Array, codec: number): CID {
  return CID.createV1(codec, create(sha256Code, digest))
}
