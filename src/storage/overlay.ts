import { bytesText, record } from '../encoding/index.ts'
import type { KeyValueChange, KeyValueStore } from './key-value.ts'

/**
 * Changes that are not in a store yet, over what is there: reads see them. What was read of the store is kept, for the
 * store does not change under whoever gathers a batch. One caller at a time.
 */
export class Overlay {
  /** By key as text of one unit a byte, whose order is the bytewise order. */
  protected readonly changed = new Map<string, KeyValueChange>()
  protected readonly store: KeyValueStore
  readonly #read = new Map<string, Uint8Array | undefined>()

  constructor(store: KeyValueStore) {
    this.store = store
  }

  /** Each changed key once, in the order of first change. */
  get changes(): KeyValueChange[] {
    return [...this.changed.values()]
  }

  /** `text` spares making the `bytesText` of the key when it is at hand. */
  put(key: Uint8Array, value: Uint8Array, text?: string): void {
    this.add(record({ type: 'put', key, value }), text)
  }

  del(key: Uint8Array, text?: string): void {
    this.add({ type: 'del', key }, text)
  }

  add(change: KeyValueChange, text = bytesText(change.key)): void {
    this.changed.set(text, change)
  }

  /** Reads rows at one go, so that `get` has them at hand. Gives what the store has, whatever is changed here. */
  async prime(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    const values = await this.store.getMany(keys)
    for (const [at, key] of keys.entries()) this.#read.set(bytesText(key), values[at])
    return values
  }

  /** @param isNew nothing of it is in the store, as the caller knows: only the changes are looked at */
  async get(key: Uint8Array, isNew = false): Promise<Uint8Array | undefined> {
    const text = bytesText(key)
    const change = this.changed.get(text)
    if (change !== undefined) return change.type === 'put' ? change.value : undefined
    if (this.#read.has(text)) return this.#read.get(text)
    if (isNew || this.isAbsent(key)) return undefined
    const value = await this.store.get(key)
    this.#read.set(text, value)
    return value
  }

  /** As `get`, for each. */
  async getMany(keys: readonly Uint8Array[], isNew = false): Promise<(Uint8Array | undefined)[]> {
    const texts = keys.map(bytesText)
    const missing: number[] = []
    if (!isNew) {
      for (const [at, text] of texts.entries()) {
        if (this.changed.has(text) || this.#read.has(text) || this.isAbsent(keys[at] as Uint8Array)) continue
        missing.push(at)
      }
    }
    const values = missing.length === 0 ? [] : await this.store.getMany(missing.map((at) => keys[at] as Uint8Array))
    for (const [i, at] of missing.entries()) this.#read.set(texts[at] as string, values[i])
    return texts.map((text) => {
      const change = this.changed.get(text)
      if (change === undefined) return this.#read.get(text)
      return change.type === 'put' ? change.value : undefined
    })
  }

  /** Whether a key is known not to be in the store, so that it need not be looked for. */
  protected isAbsent(_key: Uint8Array): boolean {
    return false
  }
}
