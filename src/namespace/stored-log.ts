import { prefixEnd } from '../encoding/index.ts'
import { isHubError } from '../errors.ts'
import { decodeEntry, decodeStoredKeys, decodeUnverifiedEntry, type Entry, type KeySection } from '../log/index.ts'
import type { KeyValueStore } from '../storage/index.ts'
import { type NamespaceKeys, placeOf } from './tables.ts'

interface SignalOption {
  readonly signal?: AbortSignal | undefined
}

/**
 * An entry from bytes that were checked when they came: a log of which only some artifacts are followed has copies of others'
 * entries without their keys. @throws CORRUPT, UNSUPPORTED_FORMAT
 */
export function decodeStored(bytes: Uint8Array): Entry {
  return decodeUnverifiedEntry(bytes, { partial: true })
}

/** As `decodeStored`; `undefined` when it cannot be read. */
export function readStored(bytes: Uint8Array): Entry | undefined {
  try {
    return decodeStored(bytes)
  } catch (error) {
    if (!isHubError(error)) throw error
    return undefined
  }
}

/** The stored bytes of an entry, under its hash. */
export interface StoredEntry {
  readonly hash: Uint8Array
  readonly bytes: Uint8Array
}

/** The entries of a namespace as they are in the store: by hash, by chain, or all. Only reads. */
export class StoredLog {
  readonly #store: KeyValueStore
  readonly #keys: NamespaceKeys

  constructor(store: KeyValueStore, keys: NamespaceKeys) {
    this.#store = store
    this.#keys = keys
  }

  /** Whether an entry of that hash is here. */
  async has(hash: Uint8Array): Promise<boolean> {
    return (await this.#store.get(this.#keys.key('places', hash))) !== undefined
  }

  /** Stored bytes of an entry; `undefined` when it is not here. */
  async bytes(hash: Uint8Array): Promise<Uint8Array | undefined> {
    const place = await this.#store.get(this.#keys.key('places', hash))
    return place === undefined ? undefined : await this.#store.get(this.#keys.key('entries', place, hash))
  }

  /** An entry, checked to the signature; `undefined` when it is not here. @throws CORRUPT */
  async entry(hash: Uint8Array): Promise<Entry | undefined> {
    const bytes = await this.bytes(hash)
    return bytes === undefined ? undefined : decodeEntry(bytes, { partial: true })
  }

  /** As `entry`, without the signature, which was checked when the entry came. @throws CORRUPT */
  async unverified(hash: Uint8Array): Promise<Entry | undefined> {
    const bytes = await this.bytes(hash)
    return bytes === undefined ? undefined : decodeStored(bytes)
  }

  /** The keys section of an entry, looked at for itself. @throws CORRUPT */
  async keysIn(hash: Uint8Array): Promise<KeySection | undefined> {
    const bytes = await this.bytes(hash)
    return bytes === undefined ? undefined : decodeStoredKeys(bytes)
  }

  /** Those of many entries that are here, each as by `unverified`. @throws CORRUPT */
  async unverifiedMany(hashes: readonly Uint8Array[]): Promise<Entry[]> {
    return (await this.#bytesOfMany(hashes)).map(decodeStored)
  }

  /** As `unverifiedMany`, without those that are damaged. */
  async readableMany(hashes: readonly Uint8Array[]): Promise<Entry[]> {
    return (await this.#bytesOfMany(hashes)).flatMap((bytes) => readStored(bytes) ?? [])
  }

  async #bytesOfMany(hashes: readonly Uint8Array[]): Promise<Uint8Array[]> {
    const places = await this.#store.getMany(hashes.map((hash) => this.#keys.key('places', hash)))
    const rows = hashes.flatMap((hash, at) => {
      const place = places[at]
      return place === undefined ? [] : [this.#keys.key('entries', place, hash)]
    })
    return (await this.#store.getMany(rows)).flatMap((bytes) => bytes ?? [])
  }

  /** Entries of one chain from a seq up, in order of (seq, hash). */
  async *ofChain(chain: Uint8Array, from: number, { signal }: SignalOption = {}): AsyncGenerator<StoredEntry> {
    const gte = this.#keys.key('entries', placeOf(chain, Math.min(from, Number.MAX_SAFE_INTEGER)))
    const lt = this.#keys.key('entries', chain, new Uint8Array(8).fill(0xff))
    for await (const [key, bytes] of this.#store.entries({ gte, lt }, signal && { signal })) {
      yield { hash: key.subarray(gte.length), bytes }
    }
  }

  /** The entries at one place of a chain: several where it is forked. */
  async *at(chain: Uint8Array, seq: number): AsyncGenerator<StoredEntry> {
    const gte = this.#keys.key('entries', placeOf(chain, seq))
    for await (const [key, bytes] of this.#store.entries({ gte, lt: prefixEnd(gte) as Uint8Array })) {
      yield { hash: key.subarray(gte.length), bytes }
    }
  }

  /** Every entry, chain by chain. `place` is chain (16) ‖ seq (8) ‖ hash (32). */
  async *all({ signal }: SignalOption = {}): AsyncGenerator<{ place: Uint8Array; bytes: Uint8Array }> {
    const { gte, lt } = this.#keys.all('entries')
    for await (const [key, bytes] of this.#store.entries({ gte, lt }, signal && { signal })) {
      yield { place: key.subarray(gte.length), bytes }
    }
  }

  /** All entries that say who may do what, ascending by hash. */
  async *auth({ signal }: SignalOption = {}): AsyncGenerator<StoredEntry> {
    const { gte, lt } = this.#keys.all('auth')
    for await (const [key, place] of this.#store.entries({ gte, lt }, signal && { signal })) {
      const hash = key.subarray(gte.length)
      const bytes = await this.#store.get(this.#keys.key('entries', place, hash))
      if (bytes !== undefined) yield { hash, bytes }
    }
  }
}
