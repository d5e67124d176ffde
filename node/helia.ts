import { createHeliaLight, type Helia } from 'helia'
import type { LocalNamespaces } from '../sdk/local/index.ts'
import type { BlockWriter, NamespaceBlocks } from '../src/storage/index.ts'
import { type ListedBlocks, NamespaceBlockstore, type PackStore } from './disk/index.ts'

/** Where blocks go that a program puts through Helia itself: they belong to no namespace, and gc leaves them alone. */
const heliaFolder = 'helia'

/** Helia over this node's pack store: it reads every block that the node holds, without a copy of any. */
export async function startHelia(packs: PackStore, namespaces: LocalNamespaces): Promise<Helia> {
  const own = await packs.namespace(heliaFolder)
  const blocks = new AllBlocks(own, packs, namespaces)
  const helia = createHeliaLight({ blockstore: new NamespaceBlockstore(blocks) })
  await helia.start()
  return helia
}

/** The blocks of all namespaces, inline ones too, and Helia's own. */
class AllBlocks implements ListedBlocks {
  readonly #own: NamespaceBlocks
  readonly #packs: PackStore
  readonly #namespaces: LocalNamespaces

  constructor(own: NamespaceBlocks, packs: PackStore, namespaces: LocalNamespaces) {
    this.#own = own
    this.#packs = packs
    this.#namespaces = namespaces
  }

  get #everywhere(): NamespaceBlocks[] {
    return [...this.#namespaces.all.map(({ log }) => log.blocks), this.#own]
  }

  async read(digest: Uint8Array, options?: { signal?: AbortSignal }): Promise<Uint8Array<ArrayBuffer> | undefined> {
    for (const blocks of this.#everywhere) {
      const bytes = await blocks.read(digest, options)
      if (bytes !== undefined) return bytes
    }
    return undefined
  }

  async has(digests: readonly Uint8Array[]): Promise<boolean[]> {
    const found = await Promise.all(this.#everywhere.map((blocks) => blocks.has(digests)))
    return digests.map((_, at) => found.some((has) => has[at] === true))
  }

  openWriter(): BlockWriter {
    return this.#own.openWriter()
  }

  /** Blocks in packs; those carried inside entries are not listed. */
  async *digests(options?: { signal?: AbortSignal }): AsyncGenerator<Uint8Array> {
    for (const folder of await this.#packs.namespaces()) yield* (await this.#packs.namespace(folder)).digests(options)
  }
}
