import { readSync, writeSync } from 'node:fs'
import type { PlacedLeaf } from '../../src/content/engine.ts'
import { leafNonceBytes, openLeaf, openPieces } from '../../src/content/leaf.ts'
import { maxBlockBytes } from '../../src/limits.ts'
import type { BlockPlace } from '../../src/storage/index.ts'
import { FileError, type FileFailure } from './file-error.ts'

/**
 * The allocator (glibc's, mallopt(3)) asks the kernel anew for each block as large as none that was freed yet, and gives back free memory above
 * twice that: once it has seen one of this size it keeps what pieces of leaves were in for the next.
 */
new ArrayBuffer(4 * 1024 * 1024).transfer(0)

/** Of what is written, the first byte is as far behind a multiple of it in memory as in the file: the kernel then copies it in a fifth less time. */
const alignment = 64

/** Leaves are read into here, one after another: it stays in the processor's cache, and no page of it is fresh. */
let memory: Uint8Array<ArrayBuffer> | undefined

/** What is wanted of a leaf, in pieces. @throws CORRUPT, FileError */
export function readLeaf({ place, digest, encryptionKey, part }: PlacedLeaf): Uint8Array<ArrayBuffer>[] {
  return openPieces(blockAt(place, 0), digest, encryptionKey, part)
}

/** Writes what is wanted of a leaf at `offset` of the file that `descriptor` is. @throws CORRUPT, FileError */
export function copyLeaf({ place, digest, encryptionKey, part }: PlacedLeaf, descriptor: number, offset: number): void {
  const firstByte = leafNonceBytes + part.from
  const block = blockAt(place, (((offset - firstByte) % alignment) + alignment) % alignment)
  const bytes = openLeaf(block, digest, encryptionKey).subarray(part.from, part.to)
  for (let done = 0; done < bytes.length; ) {
    const count = using('write', () => writeSync(descriptor, bytes, done, bytes.length - done, offset + done))
    if (count === 0) throw new FileError({ doing: 'write', code: 'EIO', message: 'the disk took no bytes' })
    done += count
  }
}

/** The block, that far behind a multiple of `alignment`, until the next call. */
function blockAt(place: BlockPlace, behind: number): Uint8Array<ArrayBuffer> {
  memory ??= pages(maxBlockBytes + alignment)
  const block = memory.subarray(behind, behind + place.length)
  readFrom(place, block)
  return block
}

/** Reads a block into memory that is as long as it. @throws FileError */
export function readFrom({ descriptor, offset, length }: BlockPlace, block: Uint8Array): void {
  for (let done = 0; done < length; ) {
    const count = using('read', () => readSync(descriptor, block, done, length - done, offset + done))
    if (count === 0) throw new FileError({ doing: 'read', code: 'EOF', message: 'the file ends inside the block' })
    done += count
  }
}

/** Memory that begins with a page: what could change its size V8 maps by itself. */
function pages(bytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(bytes, { maxByteLength: bytes }), 0, bytes)
}

function using(doing: FileFailure['doing'], work: () => number): number {
  try {
    return work()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === undefined) throw error
    throw new FileError({ doing, code, message })
  }
}
