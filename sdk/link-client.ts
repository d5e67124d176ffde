import type { ArtifactRef, CallOptions, VersionRef } from './client.ts'
import type { SignedUrl } from './signed-url.ts'

/**
 * Who serves a link: this agent's DID, a contact's name, a DID or a ticket, of an agent that says in its ticket where its gateway is; or
 * such an agent and where its gateway is (`https://files.example.org`).
 */
export type GatewayRef = string | { readonly agent: string; readonly url: string }

export interface SignedUrlOptions extends ArtifactRef {
  /** The current one when absent: the link goes on giving that one. `latest`: whatever is current when it is used. */
  readonly version?: VersionRef | 'latest' | undefined
  /** Seconds from now, or from `notBefore`: 1 to 604,800 (7 days). Default 3,600. */
  readonly expiresIn?: number | undefined
  /** Not good before. */
  readonly notBefore?: Date | undefined
  /** 1 to 16, any of which serves it; the URL names the first. Default: this node's own. */
  readonly gateways?: readonly GatewayRef[] | undefined
  /** What it is saved as. Default: the last part of the artifact's name. */
  readonly filename?: string | undefined
  /** Whether browsers save it (the default) or show it, where that is safe. */
  readonly disposition?: 'attachment' | 'inline' | undefined
  /** Serve requests from this IP address, or CIDR prefix, only. */
  readonly ip?: string | undefined
  /** How many times each byte may be downloaded; needs a single gateway. */
  readonly maxUses?: number | undefined
}

/** A link that this node made and that has not expired. */
export interface ListedUrl {
  readonly link: SignedUrl
  readonly artifactId: string
  readonly namespace: string
  /** CID of the content root; `undefined` when the link follows the artifact. */
  readonly cid: string | undefined
  readonly filename: string | undefined
  /** DIDs of the gateways that serve it. */
  readonly gateways: readonly string[]
  readonly ip: string | undefined
  readonly maxUses: number | undefined
  /** `issuer-removed`: this agent lost the role that it was made under. */
  readonly state: 'good' | 'not-yet' | 'revoked' | 'issuer-removed'
}

/** Links: downloads over HTTP by whoever holds a URL, for a limited time. */
export interface LinkApi {
  /**
   * Signs a link. It gives its holder that content, and nothing else, until it expires, is revoked, or this agent loses its role.
   * @throws INVALID_ARGUMENT, also when no gateway is known; ACCESS_DENIED unless this agent writes in the namespace; NOT_FOUND
   */
  getSignedUrl(options: SignedUrlOptions): Promise<SignedUrl>
  /** Links that this node made and that have not expired, the ones that end first first. Each node lists its own. */
  listSignedUrls(options?: CallOptions & { readonly artifactId?: string | undefined }): Promise<readonly ListedUrl[]>
  /**
   * Ends a link before its time, for good. Gateways that are connected know within moments, others within a minute of when they next serve it.
   * A body that is on its way goes on.
   * @param options.jti of `getSignedUrl`; of a link that another node of this agent made (or, for owners, another agent) with its `namespace`
   * @throws NOT_FOUND for a link that this node did not make, without a namespace
   */
  revokeSignedUrl(
    options: CallOptions & { readonly jti: string; readonly namespace?: string | undefined },
  ): Promise<void>
}
