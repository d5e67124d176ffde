import type { BlockBroker, BlockRetrievalOptions } from 'helia'
import type { CID } from 'multiformats/cid'
import type { Fetches, LocalNamespaces, OpenFetch, OpenNamespace } from '../sdk/local/index.ts'
import { equalBytes, toHex } from '../src/encoding/index.ts'
import { ArtifactHubError, isHubError } from '../src/errors.ts'

/** Contents that stay open between the reads of their blocks. */
const maxOpenContents = 16

interface OpenContent {
  readonly fetch: OpenFetch
  reads: number
}

/**
 * Brings Helia blocks that are on other members' nodes. It knows what to ask whom by the content that a block is of: the root of
 * some version here opens one, and then its other blocks are known of as they are read from the root down. A block alone, of
 * which no root was read before, is not found. Finding a root looks through the live versions of all namespaces.
 */
export class MemberBroker implements BlockBroker {
  readonly name = 'artifact-hub'
  readonly #namespaces: LocalNamespaces
  readonly #fetches: Fetches
  readonly #closing = new AbortController()
  /** By the root's digest in hex, the one used last at the end. */
  readonly #open = new Map<string, OpenContent>()

  constructor(namespaces: LocalNamespaces, fetches: Fetches) {
    this.#namespaces = namespaces
    this.#fetches = fetches
  }

  /** @throws NOT_FOUND for a block of no content that is known, UNAVAILABLE when nobody brings it, CORRUPT, CLOSED; the signal's reason */
  async retrieve(cid: CID, { signal }: BlockRetrievalOptions = {}): Promise<Uint8Array> {
    const { digest } = cid.multihash
    for (const [key, content] of [...this.#open].reverse()) {
      const bytes = await this.#read(content, digest, signal).catch(async (error) => {
        signal?.throwIfAborted()
        // Its namespace is out of reach, or was left: others may have the block.
        const isOver = isHubError(error, 'ACCESS_DENIED') || isHubError(error, 'CLOSED')
        if (!isOver || this.#closing.signal.aborted) throw error
        if (this.#open.get(key) === content) this.#open.delete(key)
        await content.fetch[Symbol.asyncDispose]()
        return undefined
      })
      if (bytes !== undefined) return bytes
    }
    const content = await this.#openRoot(digest, signal)
    const bytes = content && (await this.#read(content, digest, signal))
    if (bytes !== undefined) return bytes
    throw new ArtifactHubError('NOT_FOUND', `block ${cid} is of no content that is known here`, {
      details: { cid: cid.toString() },
    })
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort(new ArtifactHubError('CLOSED', 'the node is closed'))
    const open = [...this.#open.values()]
    this.#open.clear()
    await Promise.all(open.map(({ fetch }) => fetch[Symbol.asyncDispose]()))
  }

  async #read(
    content: OpenContent,
    digest: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array | undefined> {
    content.reads++
    try {
      return await content.fetch.blocks.read(digest, signal && { signal })
    } finally {
      content.reads--
    }
  }

  async #openRoot(digest: Uint8Array, signal: AbortSignal | undefined): Promise<OpenContent | undefined> {
    for (const namespace of this.#namespaces.all) {
      const target = await findRoot(namespace, digest, signal)
      if (target === undefined) continue
      const key = toHex(digest)
      const fetch = this.#fetches.open(namespace.log, target, this.#closing.signal)
      const content = { fetch, reads: 0 }
      await this.#open.get(key)?.fetch[Symbol.asyncDispose]()
      this.#open.delete(key)
      this.#open.set(key, content)
      await this.#closeIdle()
      return content
    }
    return undefined
  }

  async #closeIdle(): Promise<void> {
    for (const [key, { fetch, reads }] of [...this.#open]) {
      if (this.#open.size <= maxOpenContents) return
      if (reads > 0) continue
      this.#open.delete(key)
      await fetch[Symbol.asyncDispose]()
    }
  }
}

async function findRoot({ log }: OpenNamespace, digest: Uint8Array, signal: AbortSignal | undefined) {
  for await (const { artifact, root } of log.catalog.liveRoots(undefined, { signal })) {
    if (equalBytes(root.digest, digest)) return { artifact, root }
  }
  return undefined
}
