import { ArtifactHubError } from '../../src/errors.ts'
import type { KeyRange, KeyValueChange, KeyValueStore } from '../../src/storage/key-value.ts'

/**
 * A KeyValueStore in memory that keeps its batches, so that a test can cut the power: `afterPowerCut` gives the
 * store as a crash may leave it, every batch up to the last synced one and any number of those after it, in order.
 */
export class MemoryKeyValueStore implements KeyValueStore {
  readonly #rows = new Map<string, Uint8Array>()
  /** Of the rows, ascending, once they were asked for. */
  #keys: string[] | undefined
  #durable = new Map<string, Uint8Array>()
  #unsynced: (readonly KeyValueChange[])[] = []
  /** Makes the next batch fail, either before it did anything or after it was applied: the caller cannot tell. */
  failNextBatch: 'before' | 'after' | undefined

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    return this.#rows.get(hex(key))?.slice()
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    return keys.map((key) => this.#rows.get(hex(key))?.slice())
  }

  async *entries(range: KeyRange, options: { signal?: AbortSignal } = {}): AsyncIterable<[Uint8Array, Uint8Array]> {
    this.#keys ??= [...this.#rows.keys()].sort()
    let from = 0
    let to = this.#keys.length
    // Nothing stands between a key and the same with a character more that is below all others.
    if (range.gte !== undefined) from = Math.max(from, placeOf(this.#keys, hex(range.gte)))
    if (range.gt !== undefined) from = Math.max(from, placeOf(this.#keys, `${hex(range.gt)}\0`))
    if (range.lt !== undefined) to = Math.min(to, placeOf(this.#keys, hex(range.lt)))
    if (range.lte !== undefined) to = Math.min(to, placeOf(this.#keys, `${hex(range.lte)}\0`))
    const count = Math.max(0, Math.min(range.limit ?? Number.POSITIVE_INFINITY, to - from))
    const keys =
      range.reverse === true ? this.#keys.slice(to - count, to).reverse() : this.#keys.slice(from, from + count)
    const snapshot = keys.map((key) => [key, this.#rows.get(key) as Uint8Array] as const)
    for (const [key, value] of snapshot) {
      options.signal?.throwIfAborted()
      yield [Uint8Array.from(Buffer.from(key, 'hex')), value.slice()]
    }
  }

  async batch(changes: readonly KeyValueChange[], options: { sync: boolean }): Promise<void> {
    const failure = this.failNextBatch
    this.failNextBatch = undefined
    if (failure === 'before') throw batchFailed()
    const kept = changes.map((change) =>
      change.type === 'put'
        ? { type: 'put' as const, key: change.key.slice(), value: change.value.slice() }
        : { type: 'del' as const, key: change.key.slice() },
    )
    if (this.#keys !== undefined) for (const change of kept) place(this.#keys, hex(change.key), change.type === 'put')
    apply(this.#rows, kept)
    this.#unsynced.push(kept)
    if (options.sync) {
      for (const batch of this.#unsynced) apply(this.#durable, batch)
      this.#unsynced = []
    }
    if (failure === 'after') throw batchFailed()
  }

  /** Another store with the same rows. */
  copy(): MemoryKeyValueStore {
    const store = new MemoryKeyValueStore()
    for (const [key, value] of this.#rows) {
      store.#rows.set(key, value)
      store.#durable.set(key, value)
    }
    return store
  }

  /** How many batches a power cut could lose now. */
  get unsyncedBatches(): number {
    return this.#unsynced.length
  }

  /** A new store as after a power cut in which the first `kept` of the unsynced batches survived. */
  afterPowerCut(kept: number): MemoryKeyValueStore {
    const store = new MemoryKeyValueStore()
    store.#durable = new Map(this.#durable)
    for (const batch of this.#unsynced.slice(0, kept)) apply(store.#durable, batch)
    for (const [key, value] of store.#durable) store.#rows.set(key, value)
    return store
  }
}

function batchFailed(): ArtifactHubError {
  return new ArtifactHubError('STORAGE_FAILED', 'the batch failed, as the test asked', { details: { inDoubt: true } })
}

/** Puts a key among sorted ones, or takes it out. */
function place(keys: string[], key: string, stays: boolean): void {
  const at = placeOf(keys, key)
  const isThere = keys[at] === key
  if (isThere && !stays) keys.splice(at, 1)
  if (!isThere && stays) keys.splice(at, 0, key)
}

/** Where a key stands in sorted ones, or would. */
function placeOf(keys: readonly string[], key: string): number {
  let [low, high] = [0, keys.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if ((keys[middle] as string) < key) low = middle + 1
    else high = middle
  }
  return low
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')
}

function apply(rows: Map<string, Uint8Array>, batch: readonly KeyValueChange[]): void {
  for (const change of batch) {
    if (change.type === 'put') rows.set(hex(change.key), change.value)
    else rows.delete(hex(change.key))
  }
}
