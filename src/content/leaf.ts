import { createCipheriv, createDecipheriv, createHmac, createSecretKey, hash } from 'node:crypto'
import { ArtifactHubError } from '../errors.ts'
import { leafOverheadBytes, maxBlockBytes } from '../limits.ts'
import { cidOf, rawCodec } from './cid.ts'
import { copyBytes } from './copy-bytes.ts'
import type { SealingKeys } from './keys.ts'

/** A leaf begins with its nonce, bytes. */
export const leafNonceBytes = 12
const tagBytes = 16
/** Longer than what else K_nonce hashes, so never the same. */
const nonceHashLabel = 'artifact-hub/content/nonce-hash/v1'
const zeroIv = new Uint8Array(leafNonceBytes)
/**
 * Encrypted and decrypted at a time. The cipher gives new memory for each piece; pieces of this size come from the cache, while
 * the allocator asks the kernel anew for each of 128 KiB.
 */
const sliceBytes = 64 * 1024

/** Decrypted at a time where what the cipher gives is handed on: one size, so that what a consumer has dropped serves again. */
const pieceBytes = 256 * 1024

/** Bytes of a chunk, `to` exclusive. */
export interface ChunkPart {
  readonly from: number
  readonly to: number
}

/** A chunk encrypted. */
export interface SealedLeaf {
  /** SHA-256 of the block, 32 bytes. */
  readonly digest: Uint8Array
  /** Nonce (12) ‖ ciphertext (as long as the chunk) ‖ tag (16). */
  readonly block: Uint8Array
}

/** What sealing a chunk may be given. */
export interface SealOptions {
  /** The chunk's nonce: spares working it out again. */
  readonly nonce?: Uint8Array | undefined
  /** Memory whose beginning becomes the block, at least `leafOverheadBytes` longer than the chunk. Default new memory. */
  readonly into?: Uint8Array | undefined
}

/**
 * The nonce of a chunk: hashed, then put through a PRF, as AES-GCM-SIV does (RFC 8452). K_gmac is
 * HMAC-SHA-256(K_nonce, `nonceHashLabel`); the hash is the GMAC (NIST SP 800-38D) of the chunk under K_gmac and the all-zero
 * IV; the nonce is the first 12 bytes of HMAC-SHA-256(K_nonce, GMAC ‖ chunk length (u64 big-endian)).
 *
 * GMAC takes a third of the time of SHA-256. Why one IV for all is safe here, where it would not be for a MAC: README.md.
 */
export function nonceOf(chunk: Uint8Array, nonceKey: Uint8Array): Uint8Array {
  const key = createSecretKey(nonceKey)
  const hashKey = createSecretKey(createHmac('sha256', key).update(nonceHashLabel).digest())
  const gmac = createCipheriv('aes-256-gcm', hashKey, zeroIv).setAAD(chunk)
  gmac.final()
  const hashed = Buffer.alloc(tagBytes + 8)
  hashed.set(gmac.getAuthTag())
  hashed.writeBigUInt64BE(BigInt(chunk.length), tagBytes)
  return new Uint8Array(createHmac('sha256', key).update(hashed).digest().subarray(0, leafNonceBytes))
}

/**
 * Encrypts one chunk with AES-256-GCM (NIST SP 800-38D, no associated data) under its own nonce. The same chunk under the
 * same keys is the same block; two chunks share a nonce only if 96 bits of a keyed hash collide, which 2^32 chunks do with
 * chance 2^-33.
 */
export function sealLeaf(
  chunk: Uint8Array,
  keys: SealingKeys,
  { nonce = nonceOf(chunk, keys.nonce), into = new Uint8Array(chunk.length + leafOverheadBytes) }: SealOptions = {},
): SealedLeaf {
  const block = into.subarray(0, chunk.length + leafOverheadBytes)
  const cipher = createCipheriv('aes-256-gcm', createSecretKey(keys.encryption), nonce)
  block.set(nonce)
  for (let at = 0; at < chunk.length; at += sliceBytes) {
    const slice = cipher.update(chunk.subarray(at, at + sliceBytes))
    copyBytes(slice, block, leafNonceBytes + at)
    giveBack(slice)
  }
  cipher.final()
  block.set(cipher.getAuthTag(), leafNonceBytes + chunk.length)
  return { digest: new Uint8Array(hash('sha256', block, 'buffer')), block }
}

/** Frees it now: the collector would let tens of megabytes pile up first, in every thread. */
function giveBack(slice: Buffer<ArrayBuffer>): void {
  if (slice.length === slice.buffer.byteLength) slice.buffer.transfer(0)
}

/**
 * Checks a leaf against its digest, and only then decrypts it, in place: what it gives is `chunkIn(leaf)`, and the leaf must be
 * the caller's to overwrite. Of a leaf that fails, nothing in there may be used.
 * @throws CORRUPT when the bytes are not the block that `digest` names, or were not sealed under this key
 */
export function openLeaf<M extends ArrayBufferLike>(
  leaf: Uint8Array<M>,
  digest: Uint8Array,
  encryptionKey: Uint8Array,
): Uint8Array<M> {
  decryptLeaf(leaf, digest, encryptionKey, sliceBytes, (slice, at) => {
    copyBytes(slice, leaf, leafNonceBytes + at)
    giveBack(slice)
  })
  return chunkIn(leaf)
}

/**
 * As `openLeaf`, but gives the bytes `from` to `to` of the chunk, in order, in pieces that are memory of their own, and leaves the leaf as
 * it is.
 */
export function openPieces(
  leaf: Uint8Array,
  digest: Uint8Array,
  encryptionKey: Uint8Array,
  { from, to }: ChunkPart,
): Uint8Array<ArrayBuffer>[] {
  const pieces: Uint8Array<ArrayBuffer>[] = []
  decryptLeaf(leaf, digest, encryptionKey, pieceBytes, (slice, at) => {
    const piece = new Uint8Array(slice.buffer, slice.byteOffset, slice.length).subarray(
      Math.max(0, from - at),
      Math.max(0, to - at),
    )
    if (piece.length > 0) pieces.push(piece)
    else giveBack(slice)
  })
  return pieces
}

/** Calls `take` with what it decrypts, in order: `slice` begins at `at` in the chunk. */
function decryptLeaf(
  leaf: Uint8Array,
  digest: Uint8Array,
  encryptionKey: Uint8Array,
  bytes: number,
  take: (slice: Buffer<ArrayBuffer>, at: number) => void,
): void {
  verifyBlock(leaf, digest, rawCodec)
  if (leaf.length < leafOverheadBytes) throw corrupt('A leaf is shorter than its nonce and tag', digest)
  const nonce = leaf.slice(0, leafNonceBytes)
  const decipher = createDecipheriv('aes-256-gcm', createSecretKey(encryptionKey), nonce, { authTagLength: tagBytes })
  decipher.setAuthTag(leaf.slice(leaf.length - tagBytes))
  const chunkBytes = leaf.length - leafOverheadBytes
  for (let at = 0; at < chunkBytes; at += bytes) {
    const end = Math.min(at + bytes, chunkBytes)
    take(decipher.update(leaf.subarray(leafNonceBytes + at, leafNonceBytes + end)), at)
  }
  try {
    decipher.final()
  } catch (cause) {
    throw corrupt('A leaf does not decrypt under its key', digest, cause)
  }
}

/** Where in a leaf's memory its chunk is, once it is opened. */
function chunkIn<M extends ArrayBufferLike>(leaf: Uint8Array<M>): Uint8Array<M> {
  return leaf.subarray(leafNonceBytes, leaf.length - tagBytes)
}

/** @throws CORRUPT unless `bytes` are at most 2 MiB and hash (SHA-256) to `digest` */
export function verifyBlock(bytes: Uint8Array, digest: Uint8Array, codec: number): void {
  const fits = bytes.length <= maxBlockBytes
  if (fits && Buffer.compare(hash('sha256', bytes, 'buffer'), digest) === 0) return
  throw new ArtifactHubError('CORRUPT', 'A block’s bytes are not the ones that its CID names', {
    details: { cid: cidOf(digest, codec) },
  })
}

function corrupt(message: string, digest: Uint8Array, cause?: unknown): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', message, { details: { cid: cidOf(digest, rawCodec) }, cause })
}
