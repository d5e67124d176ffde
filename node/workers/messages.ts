import type { PlacedLeaf, SealingKeys } from '../../src/content/index.ts'
import type { ErrorCode, ErrorDetails } from '../../src/errors.ts'
import type { BlockPlace } from '../../src/storage/index.ts'
import type { FileFailure } from './file-error.ts'

/** What a worker can do. Scans live in one worker and are named by a number. */
export type Job =
  | { readonly kind: 'scan-open'; readonly scan: number; readonly chunkingKey: Uint8Array }
  | { readonly kind: 'scan-update'; readonly scan: number; readonly bytes: Uint8Array }
  | { readonly kind: 'scan-finish'; readonly scan: number }
  | { readonly kind: 'scan-close'; readonly scan: number }
  | { readonly kind: 'nonce'; readonly chunk: Uint8Array; readonly nonceKey: Uint8Array }
  | {
      readonly kind: 'seal'
      readonly chunk: Uint8Array
      readonly keys: SealingKeys
      readonly nonce: Uint8Array | undefined
      /** Shared memory for the block; the answer is the block's digest. */
      readonly into: Uint8Array
    }
  | {
      readonly kind: 'open'
      /** Moved here and back. */
      readonly leaf: Uint8Array<ArrayBuffer>
      readonly digest: Uint8Array
      readonly encryptionKey: Uint8Array
    }
  /** Answered with pieces. */
  | { readonly kind: 'read-leaf'; readonly leaf: PlacedLeaf }
  /** Answered with nothing. */
  | { readonly kind: 'copy-leaf'; readonly leaf: PlacedLeaf; readonly descriptor: number; readonly offset: number }
  /** Answered with nothing, once what stood for shared memory that was let go of is collected. */
  | { readonly kind: 'collect' }
  /** The block's memory is moved here and back. */
  | {
      readonly kind: 'digest'
      readonly block: Uint8Array<ArrayBuffer>
      /** Where it is read from first, if it is not there yet. */
      readonly from?: BlockPlace | undefined
    }
  | EntryJob

/** Of entries, packed: `entry-jobs.ts`. Answered with what is packed, in memory that is moved. */
export interface EntryJob {
  readonly kind: 'verify' | 'open-bodies'
  readonly packed: Uint8Array<ArrayBuffer>
}

/** To a worker. */
export interface Request {
  readonly id: number
  readonly job: Job
}

/** From a worker: one for each request, in order. */
export type Response =
  | { readonly id: number; readonly result: unknown }
  | {
      readonly id: number
      readonly error: { readonly code: ErrorCode; readonly message: string; readonly details: ErrorDetails }
    }
  | { readonly id: number; readonly fileFailure: FileFailure }
