import { prefixEnd } from '../encoding/index.ts'
import { decodeEntry } from '../log/index.ts'
import type { BlockWriter, KeyValueStore, NamespaceBlocks } from '../storage/index.ts'
import type { NamespaceKeys } from './tables.ts'

/** The blocks of a namespace, those carried inside its entries too: one way to read them all. */
export class EntryAndPackBlocks implements NamespaceBlocks {
  readonly #packs: NamespaceBlocks
  readonly #store: KeyValueStore
  readonly #keys: NamespaceKeys

  constructor(packs: NamespaceBlocks, store: KeyValueStore, keys: NamespaceKeys) {
    this.#packs = packs
    this.#store = store
    this.#keys = keys
  }

  async read(digest: Uint8Array, options?: { signal?: AbortSignal }): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return (await this.#packs.read(digest, options)) ?? (await this.#readInline(digest))
  }

  async has(digests: readonly Uint8Array[]): Promise<boolean[]> {
    const found = await this.#packs.has(digests)
    return await Promise.all(
      found.map(async (has, at) => has || (await this.#readInline(digests[at] as Uint8Array)) !== undefined),
    )
  }

  openWriter(): BlockWriter {
    return this.#packs.openWriter()
  }

  async #readInline(digest: Uint8Array): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const prefix = this.#keys.key('inlineLeaves', digest)
    for await (const [, place] of this.#store.entries({ gte: prefix, lt: prefixEnd(prefix) })) {
      const bytes = await this.#store.get(this.#keys.key('entries', place))
      const leaf = bytes === undefined ? undefined : decodeEntry(bytes).leaf
      if (leaf !== undefined) return leaf.slice()
    }
    return undefined
  }
}
