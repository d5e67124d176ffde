import type { LocalEnvironment } from '../../sdk/local/index.ts'
import {
  type Capability,
  encodePresentation,
  type LinkClaims,
  linkNameOf,
  type PinnedContent,
} from '../../src/capability/index.ts'
import type { ContentRoot } from '../../src/catalog/index.ts'
import { equalBytes, toHex } from '../../src/encoding/index.ts'
import { type KnownPeer, Transfers } from '../../src/exchange/index.ts'
import { maxPresentations } from '../../src/limits.ts'
import type { Namespace } from '../../src/namespace/index.ts'
import { BlockCache } from './block-cache.ts'
import type { LinkBlocks, LinkContent } from './content-source.ts'
import { noKey, notFound } from './own-contents.ts'
import { staleView } from './own-view.ts'
import { TreeReader } from './tree-reader.ts'

interface ForeignContentsOptions {
  readonly env: LocalEnvironment
  readonly peersOf: (claims: LinkClaims) => readonly KnownPeer[]
  /** Memory for their blocks, bytes. */
  readonly cacheBytes: number
}

/** Contents of namespaces that this agent has no part in: their blocks come from others, by the right that the link is, into a bounded cache. */
export class ForeignContents {
  readonly #options: ForeignContentsOptions
  readonly #cache: BlockCache
  readonly #transfers: Transfers
  /** By content, the tokens of those who are reading it: any of them is a right to it, should another end meanwhile. */
  readonly #tokens = new Map<string, Uint8Array[]>()

  constructor(options: ForeignContentsOptions) {
    const { network, scheduler, engine } = options.env
    this.#options = options
    this.#cache = new BlockCache(options.cacheBytes)
    this.#transfers = new Transfers({ network, scheduler, engine })
  }

  /** The version that a link is pinned to: all that is needed is in the link, but for the blocks. */
  pinned(
    link: Capability<LinkClaims>,
    log: Namespace,
    { root, sha256 }: PinnedContent,
    encryptionKey: Uint8Array,
  ): LinkContent {
    const { name, contentType } = link.claims as LinkClaims & { name: string; contentType: string }
    return { root, encryptionKey, sha256, name, contentType, open: (signal) => this.#open(link, log, root, signal) }
  }

  /** The current version. @throws NOT_FOUND; UNAVAILABLE while its key has not come, STALE_VIEW while nothing of it has */
  async latest(link: Capability<LinkClaims>, log: Namespace): Promise<LinkContent> {
    const { artifact, name, contentType } = link.claims
    const record = await log.catalog.get(artifact)
    if (record === undefined) {
      for await (const _ of log.catalog.liveRoots(artifact)) throw noKey()
      for await (const _ of log.catalog.endedVersions(artifact)) throw notFound()
      throw staleView()
    }
    const { root, state } = record
    const { content } = await log.artifactKeys.open(artifact, root.keyId)
    return {
      root,
      encryptionKey: content.encryption,
      sha256: state.sha256,
      name: name ?? linkNameOf(state.name),
      contentType: contentType ?? state.contentType,
      open: (signal) => this.#open(link, log, root, signal),
    }
  }

  /** Stops what is being fetched. */
  async close(): Promise<void> {
    await this.#transfers.close()
  }

  #open({ claims, token }: Capability<LinkClaims>, log: Namespace, root: ContentRoot, signal: AbortSignal): LinkBlocks {
    const { env, peersOf } = this.#options
    const { namespace, artifact } = claims
    const peers = peersOf(claims)
    for (const { agent, addresses } of peers) env.network.addAddresses(agent, addresses)
    const key = `${toHex(namespace)} ${toHex(root.digest)}`
    const tokens = this.#tokens.get(key) ?? []
    tokens.push(token)
    this.#tokens.set(key, tokens)
    const transfer = this.#transfers.open({
      namespace,
      artifact,
      root,
      blocks: this.#cache.of(namespace),
      providers: () => providersOf(env, log, peers),
      present: () =>
        distinct(tokens)
          .slice(-maxPresentations)
          .map((one) => encodePresentation(one, undefined)),
      signal,
    })
    return {
      blocks: new TreeReader(transfer.reader, root),
      [Symbol.asyncDispose]: async () => {
        tokens.splice(tokens.indexOf(token), 1)
        if (tokens.length === 0 && this.#tokens.get(key) === tokens) this.#tokens.delete(key)
        await transfer.close()
      },
    }
  }
}

/** Those whom the link names, then members who are connected. */
function providersOf(
  { network, agent: self }: LocalEnvironment,
  log: Namespace,
  peers: readonly KnownPeer[],
): Uint8Array[] {
  const named = peers.map(({ agent }) => agent)
  const members = network
    .connected()
    .filter((agent) => log.roleOf(agent) !== undefined && !named.some((one) => equalBytes(one, agent)))
  return [...named, ...members].filter((agent) => !equalBytes(agent, self.publicKey))
}

function distinct(tokens: readonly Uint8Array[]): Uint8Array[] {
  return tokens.filter((token, at) => !tokens.slice(at + 1).some((later) => equalBytes(later, token)))
}
