import { prefixEnd } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import { decodeEntry } from '../log/index.ts'
import type { BlockPlace, BlockWriter, KeyValueStore, NamespaceBlocks } from '../storage/index.ts'
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

  async readInto(
    digest: Uint8Array,
    into: Uint8Array,
    options?: { signal?: AbortSignal },
  ): Promise<number | undefined> {
    const length = await this.#packs.readInto(digest, into, options)
    if (length !== undefined) return length
    const leaf = await this.#readInline(digest)
    if (leaf !== undefined && leaf.length > into.length) {
      throw new ArtifactHubError('INTERNAL', 'a leaf is longer than the memory for it')
    }
    if (leaf !== undefined) into.set(leaf)
    return leaf?.length
  }

  async inPlace<T>(
    digest: Uint8Array,
    use: (place: BlockPlace) => Promise<T>,
    options?: { signal?: AbortSignal },
  ): Promise<T | undefined> {
    return await this.#packs.inPlace?.(digest, use, options)
  }

  async has(digests: readonly Uint8Array[]): Promise<boolean[]> {
    const found = await this.#packs.has(digests)
    return await Promise.all(found.map(async (has, at) => has || (await this.#hasInline(digests[at] as Uint8Array))))
  }

  get ofTrees(): NamespaceBlocks {
    return this.#packs
  }

  openWriter(): BlockWriter {
    return this.#packs.openWriter()
  }

  async #hasInline(digest: Uint8Array): Promise<boolean> {
    try {
      return (await this.#readInline(digest)) !== undefined
    } catch (error) {
      if (!isHubError(error, 'CORRUPT')) throw error
      return false
    }
  }

  /** @throws CORRUPT when an entry that should carry it is damaged, and no other one has it */
  async #readInline(digest: Uint8Array): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const prefix = this.#keys.key('inlineLeaves', digest)
    let damage: ArtifactHubError | undefined
    for await (const [key, place] of this.#store.entries({ gte: prefix, lt: prefixEnd(prefix) })) {
      const bytes = await this.#store.get(this.#keys.key('entries', place, key.subarray(prefix.length)))
      try {
        const leaf = bytes === undefined ? undefined : decodeEntry(bytes).leaf
        if (leaf !== undefined) return leaf.slice()
      } catch (error) {
        if (!isHubError(error, 'CORRUPT')) throw error
        damage = error
      }
    }
    if (damage !== undefined) throw damage
    return undefined
  }
}
