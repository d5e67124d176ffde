import { bytesText } from '../encoding/index.ts'
import type { KeyValueChange, KeyValueStore } from '../storage/index.ts'

/** Changes that are not in the store yet, over what is: reads see them. One caller at a time. */
export class Overlay {
  readonly #store: KeyValueStore
  readonly #changes = new Map<string, KeyValueChange>()
  /** Rows looked up ahead of their use. */
  readonly #primed = new Map<string, Uint8Array | undefined>()

  constructor(store: KeyValueStore) {
    this.#store = store
  }

  get changes(): readonly KeyValueChange[] {
    return [...this.#changes.values()]
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.add({ type: 'put', key, value })
  }

  del(key: Uint8Array): void {
    this.add({ type: 'del', key })
  }

  add(change: KeyValueChange): void {
    this.#changes.set(bytesText(change.key), change)
  }

  /** Reads rows at one go, so that `get` has them at hand. Gives what the store has. */
  async prime(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    const values = await this.#store.getMany(keys)
    for (const [at, key] of keys.entries()) this.#primed.set(bytesText(key), values[at])
    return values
  }

  /** @param isNew nothing of it is in the store, as the caller knows: only the changes are looked at */
  async get(key: Uint8Array, isNew = false): Promise<Uint8Array | undefined> {
    const name = bytesText(key)
    const change = this.#changes.get(name)
    if (change !== undefined) return change.type === 'put' ? change.value : undefined
    if (isNew) return undefined
    return this.#primed.has(name) ? this.#primed.get(name) : await this.#store.get(key)
  }

  /** As `get`, for each. */
  async getMany(keys: readonly Uint8Array[], isNew = false): Promise<(Uint8Array | undefined)[]> {
    const stored = isNew ? [] : await this.#store.getMany(keys)
    return keys.map((key, at) => {
      const change = this.#changes.get(bytesText(key))
      if (change === undefined) return stored[at]
      return change.type === 'put' ? change.value : undefined
    })
  }
}
