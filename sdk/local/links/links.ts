import { type Capability, formatLinkUrl, type LinkClaims, linkNameOf } from '../../../src/capability/index.ts'
import { formatArtifactId, toHex } from '../../../src/encoding/index.ts'
import { clockSkewMs } from '../../../src/limits.ts'
import { SignedUrl } from '../../signed-url.ts'
import type { LocalEnvironment } from '../environment.ts'
import {
  forgetExpiredLinks,
  type LinkRow,
  loadLink,
  loadLinks,
  loadOwnGateway,
  putLink,
  putOwnGateway,
} from './rows.ts'

/** The links that this node made, and where its own gateway is. */
export class Links {
  readonly #env: Pick<LocalEnvironment, 'store' | 'now'>
  #ownGateway: string | undefined

  private constructor(env: Pick<LocalEnvironment, 'store' | 'now'>, ownGateway: string | undefined) {
    this.#env = env
    this.#ownGateway = ownGateway
  }

  /** Forgets what has expired. @throws CORRUPT */
  static async open(env: Pick<LocalEnvironment, 'store' | 'now'>): Promise<Links> {
    const gone = await forgetExpiredLinks(env.store, (env.now() - clockSkewMs) / 1000)
    if (gone.length > 0) await env.store.batch(gone, { sync: false })
    return new Links(env, await loadOwnGateway(env.store))
  }

  /** The URL of this node's own gateway: of the one that runs, or that ran last. */
  get ownGateway(): string | undefined {
    return this.#ownGateway
  }

  /** This node's gateway runs there; remembered past a restart, for links are made while it does not run too. */
  async gatewayRuns(url: string): Promise<void> {
    if (url === this.#ownGateway) return
    await this.#env.store.batch([putOwnGateway(url)], { sync: true })
    this.#ownGateway = url
  }

  /** Durable when it resolves. */
  async remember(row: LinkRow): Promise<void> {
    await this.#env.store.batch([putLink(row)], { sync: true })
  }

  /** @throws CORRUPT */
  async find(jti: Uint8Array): Promise<LinkRow | undefined> {
    return await loadLink(this.#env.store, jti)
  }

  /** Those that have not expired, the ones that end first first. @throws CORRUPT */
  async list(options: { artifact?: Uint8Array | undefined; signal?: AbortSignal | undefined }): Promise<LinkRow[]> {
    const rows = await loadLinks(this.#env.store, this.#env.now() / 1000, options)
    return rows.sort((a, b) => a.capability.claims.expires - b.capability.claims.expires)
  }
}

/** A link as programs see it. @param artifactName what the artifact is called, for links that name no file */
export function presentLink({ capability, gateway }: LinkRow, artifactName?: string): SignedUrl {
  const { claims, token } = capability
  const name =
    claims.name ?? (artifactName === undefined ? formatArtifactId(claims.artifact) : linkNameOf(artifactName))
  return new SignedUrl({
    url: formatLinkUrl({ gateway, artifact: claims.artifact, name, token }),
    jti: toHex(claims.jti),
    notBefore: new Date(claims.notBefore * 1000),
    expiresAt: new Date(claims.expires * 1000),
  })
}

/** What a link says. */
export type LinkCapability = Capability<LinkClaims>
