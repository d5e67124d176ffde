import type { LocalEnvironment, LocalNamespaces, OpenNamespace } from '../../sdk/local/index.ts'
import { type LinkClaims, linkNameOf, openLinkKey } from '../../src/capability/index.ts'
import { equalBytes } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import type { ContentSource, LinkContent } from './content-source.ts'

/** Contents of the namespaces of this node, fetched from their members where they are not here. */
export class NamespaceSource implements ContentSource {
  readonly #env: LocalEnvironment
  readonly #namespaces: LocalNamespaces
  /** Opening a box costs more than all else of a small request. */
  readonly #keys = new WeakMap<LinkClaims, Uint8Array>()

  constructor(env: LocalEnvironment, namespaces: LocalNamespaces) {
    this.#env = env
    this.#namespaces = namespaces
  }

  async find(claims: LinkClaims): Promise<LinkContent> {
    const namespace = this.#namespaces.all.find(({ row }) => equalBytes(row.id, claims.namespace))
    if (namespace === undefined) throw notFound()
    if (namespace.log.membership.refusalOf(claims) !== undefined) {
      throw new ArtifactHubError('REVOKED', 'the link, or the right of its issuer, was taken back')
    }
    return claims.pinned === undefined
      ? await this.#latest(namespace, claims)
      : await this.#pinned(namespace, claims, claims.pinned)
  }

  async #pinned(
    { log }: OpenNamespace,
    claims: LinkClaims,
    { root, sha256 }: NonNullable<LinkClaims['pinned']>,
  ): Promise<LinkContent> {
    const live = await log.rootOf(claims.artifact, root.digest, { endedAfterMs: Number.POSITIVE_INFINITY })
    const encryptionKey = this.#keys.get(claims) ?? openLinkKey(claims, this.#env.agent)
    if (live === undefined || encryptionKey === undefined) throw notFound()
    this.#keys.set(claims, encryptionKey)
    const { name, contentType } = claims as { name: string; contentType: string }
    const target = { artifact: claims.artifact, root: live }
    const open = (signal: AbortSignal) => this.#env.fetches.open(log, target, signal)
    return { root: live, encryptionKey, sha256, name, contentType, open }
  }

  async #latest({ log }: OpenNamespace, claims: LinkClaims): Promise<LinkContent> {
    const record = await log.catalog.get(claims.artifact)
    if (record === undefined) throw notFound()
    const { artifact, root, author, state } = record
    const { content } = await log.artifactKey(artifact, root.keyId)
    return {
      root,
      encryptionKey: content.encryption,
      sha256: state.sha256,
      name: claims.name ?? linkNameOf(state.name),
      contentType: claims.contentType ?? state.contentType,
      open: (signal) => this.#env.fetches.open(log, { artifact, root, author }, signal),
    }
  }
}

function notFound(): ArtifactHubError {
  return new ArtifactHubError('NOT_FOUND', 'the link leads to nothing that is here')
}
