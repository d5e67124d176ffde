import { maxBlockBytes } from '../../src/limits.ts'
import { type DiskFile, readFully } from './files.ts'
import { decodeRecordHeader, findRecordMagic, isBlockOf, recordHeaderBytes } from './pack-format.ts'

/** A whole record whose header belongs where it stands. */
export interface ScannedRecord {
  readonly digest: Uint8Array
  readonly offset: number
  readonly length: number
  readonly storedAt: number
  /** Header and block as they are in the file; valid until the next step. */
  readonly bytes: Uint8Array
  /** Its block; valid until the next step. */
  readonly block: Uint8Array
  /** Whether the block hashes to the digest. */
  readonly sound: boolean
}

const windowBytes = 4 * (maxBlockBytes + recordHeaderBytes)

/**
 * The records of a pack file from `from` to `to`, in order, each block hashed. Stretches that are no records are passed
 * over to the next header that belongs at its place. Reads sequentially in 8 MiB steps.
 */
export async function* scanRecords(
  file: DiskFile,
  range: { readonly pack: number; readonly from: number; readonly to: number },
  options: { signal?: AbortSignal } = {},
): AsyncGenerator<ScannedRecord> {
  const window = Buffer.allocUnsafe(Math.min(windowBytes, Math.max(range.to - range.from, 0)))
  let start = range.from
  let held = 0
  let at = 0
  const refill = async () => {
    options.signal?.throwIfAborted()
    window.copyWithin(0, at, held)
    start += at
    held -= at
    at = 0
    const want = Math.min(window.length - held, range.to - start - held)
    held += await readFully(file, window.subarray(held, held + want), start + held)
  }
  await refill()
  while (held - at >= recordHeaderBytes) {
    let header = decodeRecordHeader(window.subarray(0, held), at, range.pack, start + at)
    const recordBytes = recordHeaderBytes + (header?.length ?? 0)
    if (header && held - at < recordBytes) {
      await refill()
      if (held < recordBytes) header = undefined
    }
    if (header) {
      const bytes = window.subarray(at, at + recordHeaderBytes + header.length)
      const block = bytes.subarray(recordHeaderBytes)
      yield { ...header, offset: start + at, bytes, block, sound: isBlockOf(header.digest, block) }
      at += recordHeaderBytes + header.length
    } else {
      const next = findRecordMagic(window.subarray(0, held), at + 1)
      // A magic may begin in the last three bytes.
      at = next === -1 ? Math.max(at + 1, held - 3) : next
    }
    if (held - at < recordHeaderBytes) {
      const before = held - at
      await refill()
      if (held === before) return
    }
  }
}
