import type { ContentRoot } from '../../../src/catalog/index.ts'
import { type BlockReader, rawCodec } from '../../../src/content/index.ts'
import {
  type OpenTransfer,
  type TransferCounters,
  Transfers,
  type TransfersOptions,
} from '../../../src/exchange/index.ts'
import type { Namespace } from '../../../src/namespace/index.ts'
import { membersByReach } from './members-by-reach.ts'

/** A content that is read, from here and from others. Close it on every path; `await using` does. */
export interface OpenFetch extends AsyncDisposable {
  /** Its blocks: those that are here at once, the others when a provider brings them. @throws as `OpenTransfer.reader` */
  readonly blocks: BlockReader
  /** Whether a block of it came from others, or it was not known to be whole here. */
  mayBeNews(): Promise<boolean>
  /** Resolves once all of it is here, durable and counted. @throws as `OpenTransfer.reader` */
  whole(): Promise<void>
}

/** What is fetched: some content of an artifact. */
export interface FetchTarget {
  readonly artifact: Uint8Array
  readonly root: ContentRoot
  /** Who wrote it, asked before others. */
  readonly author?: Uint8Array | undefined
  /** A link gives it, whatever this agent's role: it goes on when that ends. */
  readonly isByLink?: boolean | undefined
}

/** A fetch under way. */
export interface FetchUnderWay extends FetchTarget {
  readonly log: Namespace
  readonly fetchedBytes: number
  readonly elapsedMs: number
  readonly providers: readonly { readonly agent: Uint8Array; readonly fetchedBytes: number }[]
}

/** What lets this agent fetch of a namespace that it is no member of. */
export interface FetchRights {
  /** What to show an agent to be given contents of an artifact. */
  present(namespace: Uint8Array, artifact: Uint8Array, provider: Uint8Array): readonly Uint8Array[]
  /** Agents that may have something of it, beside its members. */
  peersOf(namespace: Uint8Array): readonly Uint8Array[]
}

interface FetchesOptions extends TransfersOptions {
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
  /** Milliseconds of a clock that never jumps. */
  readonly monotonic: () => number
}

/** The contents being read on this node, wherever their blocks are. */
export class Fetches implements AsyncDisposable {
  readonly #options: FetchesOptions
  readonly #transfers: Transfers
  #rights: FetchRights | undefined
  readonly #listeners = new Set<(log: Namespace, artifact: Uint8Array) => void>()
  readonly #open = new Set<{
    readonly log: Namespace
    readonly target: FetchTarget
    readonly transfer: OpenTransfer
    readonly since: number
    readonly ending: AbortController
  }>()
  /** Logs of which nothing is read by this agent's role, and what is said of that. */
  readonly #shut = new WeakMap<Namespace, Error>()

  constructor(options: FetchesOptions) {
    this.#options = options
    this.#transfers = new Transfers(options)
  }

  /** How contents of namespaces that this agent is no member of are fetched. */
  useRights(rights: FetchRights): void {
    this.#rights = rights
  }

  get counters(): TransferCounters {
    return this.#transfers.counters
  }

  /** Calls `listener` when a content of an artifact is known to be whole here, until the returned function is called. */
  onWhole(listener: (log: Namespace, artifact: Uint8Array) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Those for which something came from others, or is being asked for. */
  get underWay(): FetchUnderWay[] {
    const now = this.#options.monotonic()
    return [...this.#open].flatMap(({ log, target, transfer, since }) => {
      const { fetchedBytes, providers } = transfer.progress
      if (fetchedBytes === 0 && providers.length === 0) return []
      return [{ ...target, log, fetchedBytes, providers, elapsedMs: now - since }]
    })
  }

  /** Nothing of a log is read by this agent's role until `admit`, from here or from others: what is under way fails with that error. */
  shut(log: Namespace, error: Error): void {
    this.#shut.set(log, error)
    for (const open of this.#open) if (open.log === log && open.target.isByLink !== true) open.ending.abort(error)
  }

  /** It is read again. */
  admit(log: Namespace): void {
    this.#shut.delete(log)
  }

  /** @throws CORRUPT when no content has such sizes, CLOSED, the signal's reason; what `shut` was given */
  open(log: Namespace, target: FetchTarget, callers?: AbortSignal | undefined): OpenFetch {
    const { artifact, root, author, isByLink = false } = target
    const shut = isByLink ? undefined : this.#shut.get(log)
    if (shut !== undefined) throw shut
    const ending = new AbortController()
    const signal = callers === undefined ? ending.signal : AbortSignal.any([callers, ending.signal])
    const held = root.codec === rawCodec ? log.blocks : (log.blocks.ofTrees ?? log.blocks)
    const transfer = this.#transfers.open({
      namespace: log.id,
      folder: log.folder,
      artifact,
      root,
      blocks: held,
      providers: () => membersByReach(log, this.#options, author, this.#peersOf(log)),
      present: (provider) =>
        log.partial === undefined ? [] : (this.#rights?.present(log.id, artifact, provider) ?? []),
      signal,
    })
    const row = { log, target, transfer, since: this.#options.monotonic(), ending }
    this.#open.add(row)
    const close = async (): Promise<void> => {
      this.#open.delete(row)
      await transfer.close()
    }
    const { reader } = transfer
    return {
      blocks: {
        read: (digest, options) => reader.read(digest, options),
        bring: async (digest, options) => await reader.bring?.(digest, options),
        inPlace: async (digest, use, options) => {
          ending.signal.throwIfAborted()
          return await held.inPlace?.(digest, use, options)
        },
      },
      mayBeNews: async () => transfer.progress.fetchedBytes > 0 || (await log.isEstimated(artifact, root)),
      whole: async () => {
        if (root.inline && (await log.blocks.has([root.digest]))[0] === true) return
        await transfer.whole()
        await log.settle(artifact, root)
        for (const listener of this.#listeners) listener(log, artifact)
      },
      [Symbol.asyncDispose]: close,
    }
  }

  #peersOf(log: Namespace): readonly Uint8Array[] {
    return log.partial === undefined ? [] : (this.#rights?.peersOf(log.id) ?? [])
  }

  /** Stops all of them. Idempotent. */
  async close(): Promise<void> {
    await this.#transfers.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
