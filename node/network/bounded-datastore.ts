import { MemoryDatastore } from 'datastore-core/memory'
import { Key } from 'interface-datastore/key'
import { maxPeerDataBytes } from '../../src/limits.ts'

/** What a row costs beside its bytes. */
const rowOverheadBytes = 256

/**
 * What libp2p remembers of peers and for the DHT, in memory, up to a size: strangers may have a node store provider records and
 * peers without end, and libp2p sets no bound. The rows untouched for longest go.
 */
export class BoundedDatastore extends MemoryDatastore {
  /** Cost by key, the one touched last at the end. */
  readonly #costs = new Map<string, number>()
  #total = 0

  override put(key: Key, value: Uint8Array, options?: { signal?: AbortSignal }): Key | Promise<Key> {
    const name = key.toString()
    this.#forget(name)
    const cost = 2 * name.length + value.length + rowOverheadBytes
    this.#costs.set(name, cost)
    this.#total += cost
    const put = super.put(key, value, options)
    for (const oldest of this.#costs.keys()) {
      if (this.#total <= maxPeerDataBytes) break
      this.#forget(oldest)
      void super.delete(new Key(oldest))
    }
    return put
  }

  override get(key: Key, options?: { signal?: AbortSignal }): Uint8Array | Promise<Uint8Array> {
    const name = key.toString()
    const cost = this.#costs.get(name)
    if (cost !== undefined) {
      this.#costs.delete(name)
      this.#costs.set(name, cost)
    }
    return super.get(key, options)
  }

  override delete(key: Key, options?: { signal?: AbortSignal }): void | Promise<void> {
    this.#forget(key.toString())
    return super.delete(key, options)
  }

  #forget(name: string): void {
    this.#total -= this.#costs.get(name) ?? 0
    this.#costs.delete(name)
  }
}
