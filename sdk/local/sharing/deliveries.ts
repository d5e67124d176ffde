import { concatBytes, prefixEnd, toHex } from '../../../src/encoding/index.ts'
import { keySpaces } from '../../../src/namespace/index.ts'
import type { KeyValueStore } from '../../../src/storage/index.ts'

const deliveredTable = 0x64

/** Shares whose audience has taken what tells of them, by name (`capabilityName`, 16 bytes): on the disk, so that they are not told again. */
export class Deliveries {
  readonly #store: KeyValueStore
  readonly #taken = new Set<string>()

  private constructor(store: KeyValueStore) {
    this.#store = store
  }

  static async open(store: KeyValueStore): Promise<Deliveries> {
    const deliveries = new Deliveries(store)
    const gte = Uint8Array.of(keySpaces.node, deliveredTable)
    for await (const [key] of store.entries({ gte, lt: prefixEnd(gte) as Uint8Array }))
      deliveries.#taken.add(toHex(key.subarray(gte.length)))
    return deliveries
  }

  has(name: Uint8Array): boolean {
    return this.#taken.has(toHex(name))
  }

  /** Told again after a power cut, nothing is lost: it need not be synced. */
  async add(names: readonly Uint8Array[]): Promise<void> {
    if (names.length === 0) return
    const rows = names.map((name) => concatBytes(Uint8Array.of(keySpaces.node, deliveredTable), name))
    const value = new Uint8Array(0)
    await this.#store.batch(
      rows.map((key) => ({ type: 'put' as const, key, value })),
      { sync: false },
    )
    for (const name of names) this.#taken.add(toHex(name))
  }
}
