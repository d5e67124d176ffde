import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { maxBlockBytes } from '../../src/limits.ts'

/** Format number of a pack file. Frozen; a change needs a new one. */
const packFormat = 1
/** Bytes of a pack file before its first record. */
export const packHeaderBytes = 32
/** Bytes of a record before its block. */
export const recordHeaderBytes = 52

const packMagic = Buffer.from('AHUBPACK', 'latin1')
const recordMagicBytes = Buffer.from('AHBR', 'latin1')
const recordMagic = recordMagicBytes.readUInt32LE(0)

/** What a record says of its block. */
export interface RecordHeader {
  /** SHA-256 of the block, 32 bytes. */
  readonly digest: Uint8Array
  /** Bytes of the block, 0 to 2 MiB. */
  readonly length: number
  /** When it was stored, seconds since 1970. */
  readonly storedAt: number
}

/** 12 bytes that tie a pack file to its namespace: the start of SHA-256 of the namespace id. */
function namespaceTag(namespace: string): Buffer {
  return createHash('sha256').update(namespace).digest().subarray(0, 12)
}

/**
 * The header of a pack file, 32 bytes little-endian: magic `AHUBPACK` (8), format (u32), pack number (u32),
 * namespace tag (12), CRC-32 of all that (u32).
 */
export function encodePackHeader(namespace: string, pack: number): Uint8Array {
  const bytes = Buffer.alloc(packHeaderBytes)
  packMagic.copy(bytes)
  bytes.writeUInt32LE(packFormat, 8)
  bytes.writeUInt32LE(pack, 12)
  namespaceTag(namespace).copy(bytes, 16)
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 28)), 28)
  return bytes
}

/** What is wrong with the header of a pack file: `unknown` when it has another format, `bad` when it is not this pack's. */
export function checkPackHeader(bytes: Uint8Array, namespace: string, pack: number): 'ok' | 'bad' | 'unknown' {
  if (bytes.length < packHeaderBytes) return 'bad'
  const header = Buffer.from(bytes.buffer, bytes.byteOffset, packHeaderBytes)
  if (header.equals(encodePackHeader(namespace, pack))) return 'ok'
  const sound = header.subarray(0, 8).equals(packMagic) && header.readUInt32LE(28) === crc32(header.subarray(0, 28))
  return sound && header.readUInt32LE(8) !== packFormat ? 'unknown' : 'bad'
}

/**
 * Writes a record header at `at` of `target`, 52 bytes little-endian: magic `AHBR` (4), block length (u32), stored at
 * (u32, seconds), flags (u32, 0), digest (32), CRC-32 (u32) of those 48 bytes preceded by pack number and record
 * offset (u32 each), so that a record copied elsewhere, or carried inside a block, is not taken for one.
 */
export function encodeRecordHeader(
  target: Buffer,
  at: number,
  header: RecordHeader,
  pack: number,
  offset: number,
): void {
  target.writeUInt32LE(recordMagic, at)
  target.writeUInt32LE(header.length, at + 4)
  target.writeUInt32LE(header.storedAt, at + 8)
  target.writeUInt32LE(0, at + 12)
  target.set(header.digest, at + 16)
  target.writeUInt32LE(crc32(target.subarray(at, at + 48), placeSeed(pack, offset)), at + 48)
}

/** The record header at `at` of `source`, or `undefined` when there is none that belongs at this pack and offset. */
export function decodeRecordHeader(source: Buffer, at: number, pack: number, offset: number): RecordHeader | undefined {
  if (at + recordHeaderBytes > source.length || source.readUInt32LE(at) !== recordMagic) return undefined
  const length = source.readUInt32LE(at + 4)
  if (length > maxBlockBytes || source.readUInt32LE(at + 12) !== 0) return undefined
  if (source.readUInt32LE(at + 48) !== crc32(source.subarray(at, at + 48), placeSeed(pack, offset))) return undefined
  return { digest: Uint8Array.from(source.subarray(at + 16, at + 48)), length, storedAt: source.readUInt32LE(at + 8) }
}

/** The next place in `source` from `from` on where a record header may start; -1 if there is none. */
export function findRecordMagic(source: Buffer, from: number): number {
  return source.indexOf(recordMagicBytes, from)
}

const place = Buffer.alloc(8)

function placeSeed(pack: number, offset: number): number {
  place.writeUInt32LE(pack, 0)
  place.writeUInt32LE(offset, 4)
  return crc32(place)
}

/** Whether `bytes` are the block of that SHA-256 digest. */
export function isBlockOf(digest: Uint8Array, bytes: Uint8Array): boolean {
  return createHash('sha256').update(bytes).digest().equals(digest)
}

/** The name of a pack file: its number in eight decimal digits or more. */
export function packFileName(pack: number): string {
  return `${String(pack).padStart(8, '0')}.pack`
}

/** The number of the pack file of this name, or `undefined` when it is not one. */
export function packNumber(fileName: string): number | undefined {
  const digits = /^(\d{8,10})\.pack$/.exec(fileName)?.[1]
  return digits === undefined ? undefined : Number(digits)
}
