/** One change of an atomic batch. A put and a del of one key in one batch: the later one wins. */
export type KeyValueChange =
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: Uint8Array }

/** A range of keys in bytewise order. */
export interface KeyRange {
  readonly gte?: Uint8Array
  readonly gt?: Uint8Array
  readonly lt?: Uint8Array
  readonly lte?: Uint8Array
  readonly reverse?: boolean
  readonly limit?: number
}

/**
 * An ordered key-value store of bytes: Level on a disk, a sorted map in tests. A get of what is absent gives
 * `undefined`; a disk that fails is `STORAGE_FAILED` or `STORAGE_FULL`, never absence.
 */
export interface KeyValueStore {
  get(key: Uint8Array): Promise<Uint8Array | undefined>
  /** In order; not of one moment when something is written meanwhile. */
  getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]>
  /** In key order (or its reverse), over a snapshot taken at the first step. */
  entries(range: KeyRange, options?: { signal?: AbortSignal }): AsyncIterable<[Uint8Array, Uint8Array]>
  /** All or nothing. With `sync` it, and every batch before it, survives a power cut once resolved. */
  batch(changes: readonly KeyValueChange[], options: { sync: boolean }): Promise<void>
}
