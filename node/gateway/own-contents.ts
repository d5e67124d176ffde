import type { LocalEnvironment, OpenNamespace } from '../../sdk/local/index.ts'
import { type LinkClaims, linkNameOf, type PinnedContent } from '../../src/capability/index.ts'
import type { ContentRoot, VersionRecord } from '../../src/catalog/index.ts'
import { artifactIdOf, equalBytes } from '../../src/encoding/index.ts'
import { ArtifactHubError, isHubError } from '../../src/errors.ts'
import type { EntryHeader } from '../../src/log/index.ts'
import type { LinkContent } from './content-source.ts'

/** A version's place among its artifact's. */
interface VersionPlace {
  readonly gen: number
  readonly clock: EntryHeader['clock']
  readonly entry: Uint8Array
}

/** Contents of the namespaces that this node is a member of, fetched from other members where they are not here. */
export class OwnContents {
  readonly #env: LocalEnvironment
  readonly #places = new WeakMap<LinkClaims, VersionPlace>()

  constructor(env: LocalEnvironment) {
    this.#env = env
  }

  /**
   * The version that a link is pinned to.
   * @param encryptionKey what the link gives
   * @throws NOT_FOUND
   */
  async pinned(
    { log }: OpenNamespace,
    claims: LinkClaims,
    { root, sha256, version }: PinnedContent,
    encryptionKey: Uint8Array,
  ): Promise<LinkContent> {
    const place = await this.#placeOf(log, claims, version, root)
    if (place !== undefined && (await log.catalog.liveRoot(claims.artifact, place)) === undefined) {
      // A version that waits for those before it has not ended.
      if (await log.catalog.hasEnded(claims.artifact, place)) throw notFound()
    }
    const { artifact, issuer, name, contentType } = claims as LinkClaims & { name: string; contentType: string }
    const target = { artifact, root, author: issuer, isByLink: true }
    const open = (signal: AbortSignal) => this.#env.fetches.open(log, target, signal)
    return { root, encryptionKey, sha256, name, contentType, open }
  }

  /** The current version. @throws NOT_FOUND; UNAVAILABLE while nobody has given this agent its key */
  async latest({ log }: OpenNamespace, claims: LinkClaims): Promise<LinkContent> {
    const record = (await log.catalog.get(claims.artifact)) ?? (await this.#opened(log, claims))
    const { artifact, root, author, state } = record
    const { content } = await log.artifactKeys.open(artifact, root.keyId).catch((error) => {
      throw isHubError(error, 'ACCESS_DENIED') ? noKey() : error
    })
    return {
      root,
      encryptionKey: content.encryption,
      sha256: state.sha256,
      name: claims.name ?? linkNameOf(state.name),
      contentType: claims.contentType ?? state.contentType,
      open: (signal) => this.#env.fetches.open(log, { artifact, root, author, isByLink: true }, signal),
    }
  }

  /** The current version by what the link lets this agent open, where its role does not: a replica has no keys. @throws NOT_FOUND, UNAVAILABLE */
  async #opened(log: OpenNamespace['log'], { artifact, jti }: LinkClaims): Promise<VersionRecord> {
    let isHidden = false
    for await (const _ of log.catalog.liveRoots(artifact)) isHidden = true
    if (!isHidden) throw notFound()
    await log.holdCapabilities([{ artifact, jti, groups: [] }])
    const record = await log.catalog.get(artifact)
    if (record === undefined) throw noKey()
    return record
  }

  /**
   * Where the log has the version; `undefined` when another member wrote it and it has not come yet.
   * @throws NOT_FOUND when it is no version of that artifact, or has another content
   */
  async #placeOf(
    log: OpenNamespace['log'],
    claims: LinkClaims,
    version: Uint8Array,
    root: ContentRoot,
  ): Promise<VersionPlace | undefined> {
    const known = this.#places.get(claims)
    if (known !== undefined) return known
    const entry = await log.held.entry(version)
    if (entry === undefined) {
      // Whatever this agent links to its own node has.
      if (equalBytes(claims.issuer, this.#env.agent.publicKey)) throw notFound()
      return undefined
    }
    const { kind, data, clock } = entry.header
    const isOfArtifact =
      kind === 'put' && data !== undefined && equalBytes(artifactIdOf(log.id, data.artifactSalt), claims.artifact)
    if (!isOfArtifact || data.root === undefined || !equalBytes(data.root.digest, root.digest)) throw notFound()
    const place = { gen: data.gen, clock, entry: version }
    this.#places.set(claims, place)
    return place
  }
}

/** The error for a version, or an artifact, that is gone. */
export function notFound(): ArtifactHubError {
  return new ArtifactHubError('NOT_FOUND', 'what the link leads to was deleted')
}

/** The error for a version that is here and cannot be opened yet. */
export function noKey(): ArtifactHubError {
  return new ArtifactHubError('UNAVAILABLE', 'nobody has given this gateway the key of the current version yet')
}
