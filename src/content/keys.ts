/**
 * The three keys that content is written and read under, 32 bytes each, all derived from one artifact key.
 */
export interface ContentKeys {
  /** K_enc: AES-256-GCM key of the leaves. All that a reader needs. */
  readonly encryption: Uint8Array
  /** K_nonce: turns a chunk into its nonce (`nonceOf`). */
  readonly nonce: Uint8Array
  /** K_chunk: seeds the gear table, so that chunk sizes do not fingerprint known files. */
  readonly chunking: Uint8Array
}

/** What a leaf is sealed with. */
export type SealingKeys = Pick<ContentKeys, 'encryption' | 'nonce'>
