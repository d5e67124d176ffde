import { createHeliaLight, type Helia } from 'helia'
import type { Fetches, LocalNamespaces } from '../sdk/local/index.ts'
import { toHex } from '../src/encoding/index.ts'
import type { BlockWriter, NamespaceBlocks } from '../src/storage/index.ts'
import { type ListedBlocks, NamespaceBlockstore, type PackStore } from './disk/index.ts'
import { MemberBroker } from './helia-broker.ts'

/** Where blocks go that a program puts through Helia itself: they belong to no namespace, and gc leaves them alone. */
const heliaFolder = 'helia'

/** Helia and what it was given. */
export interface StartedHelia {
  readonly helia: Helia
  stop(): Promise<void>
}

/**
 * Helia over this node's pack store: it reads every block that the node holds, without a copy of any, and those of its namespaces'
 * contents that other members hold.
 */
export async function startHelia({
  packs,
  namespaces,
  fetches,
}: {
  packs: PackStore
  namespaces: LocalNamespaces
  fetches: Fetches
}): Promise<StartedHelia> {
  const own = await packs.namespace(heliaFolder)
  const broker = new MemberBroker(namespaces, fetches)
  const blocks = new AllBlocks(own, packs, namespaces)
  const helia = createHeliaLight({
    blockstore: new NamespaceBlockstore(blocks),
    blockBrokers: [
      {
        name: broker.name,
        retrieve: (cid, options) => blocks.brought(cid.multihash.digest, broker.retrieve(cid, options)),
      },
    ],
  })
  await helia.start()
  return {
    helia,
    async stop() {
      await helia.stop()
      await broker.close()
    },
  }
}

/** The blocks of all namespaces, inline ones too, and Helia's own. */
class AllBlocks implements ListedBlocks {
  readonly #own: NamespaceBlocks
  readonly #packs: PackStore
  readonly #namespaces: LocalNamespaces
  /** Blocks that Helia is about to put because a broker brought them: they are in their namespace already. */
  readonly #brought = new Set<string>()

  constructor(own: NamespaceBlocks, packs: PackStore, namespaces: LocalNamespaces) {
    this.#own = own
    this.#packs = packs
    this.#namespaces = namespaces
  }

  get #everywhere(): NamespaceBlocks[] {
    return [...this.#namespaces.stored.map(({ log }) => log.blocks), this.#own]
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

  /** Notes that a block which a broker brings is stored where it belongs. */
  async brought(digest: Uint8Array, bringing: Promise<Uint8Array>): Promise<Uint8Array> {
    const bytes = await bringing
    this.#brought.add(toHex(digest))
    return bytes
  }

  openWriter(): BlockWriter {
    const writer = this.#own.openWriter()
    const { put } = writer
    return Object.assign(writer, {
      put: async (...[digest, bytes]: Parameters<typeof put>) =>
        this.#brought.delete(toHex(digest)) ? { stored: false } : await put.call(writer, digest, bytes),
    })
  }

  /** Blocks in packs; those carried inside entries are not listed. */
  async *digests(options?: { signal?: AbortSignal }): AsyncGenerator<Uint8Array> {
    for (const folder of await this.#packs.namespaces()) yield* (await this.#packs.namespace(folder)).digests(options)
  }
}
