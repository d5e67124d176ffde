import type { ContentKeys } from '../../src/content/index.ts'
import type { ErrorCode, ErrorDetails } from '../../src/errors.ts'

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
      readonly keys: ContentKeys
      readonly nonce: Uint8Array | undefined
      /** Shared memory for the block; the answer is the block's digest. */
      readonly into: Uint8Array
    }
  | {
      readonly kind: 'open'
      /** Shared memory, opened in place and answered with nothing; or memory that is moved here and back. */
      readonly leaf: Uint8Array
      readonly digest: Uint8Array
      readonly encryptionKey: Uint8Array
    }
  /** The block's memory is moved here and back. */
  | { readonly kind: 'digest'; readonly block: Uint8Array<ArrayBuffer> }

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
