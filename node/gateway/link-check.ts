import {
  type Capability,
  decodeCapability,
  decodeToken,
  isInIpRange,
  type LinkClaims,
  timeOf,
} from '../../src/capability/index.ts'
import { equalBytes, formatArtifactId } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'

/** Tokens that were verified and are remembered, some 5 KiB each: verifying one takes a tenth of a millisecond. */
const maxTokens = 4_096

/** What a request says of a link. */
export interface LinkRequest {
  /** `art_…`, as the path has it. */
  readonly artifact: string
  /** As the query has it: once, several times, or not at all. */
  readonly caps: readonly string[]
  /** The client's address. */
  readonly address: string
}

interface LinkCheckOptions {
  /** The gateway's agent, 32 bytes. */
  readonly self: Uint8Array
  readonly skewSeconds: number
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/** Decides whether a request's link is a link, for this gateway, for what is asked, for this client, and in its time. */
export class LinkCheck {
  readonly #options: LinkCheckOptions
  readonly #tokens = new Map<string, Capability<LinkClaims>>()

  constructor(options: LinkCheckOptions) {
    this.#options = options
  }

  /**
   * Nothing that is thrown depends on what is stored here.
   *
   * @throws SIGNATURE_MISSING, SIGNATURE_INVALID, EXPIRED, NOT_YET_VALID, AUDIENCE_MISMATCH, IP_DENIED
   */
  check({ artifact, caps, address }: LinkRequest): Capability<LinkClaims> {
    const [cap, ...others] = caps
    if (cap === undefined || cap === '') throw new ArtifactHubError('SIGNATURE_MISSING', 'the URL has no cap')
    if (others.length > 0) throw invalid()
    const link = this.#verified(cap)
    const { claims } = link
    if (formatArtifactId(claims.artifact) !== artifact) throw invalid()
    this.#checkTime(claims)
    if (!claims.audience.some(({ kind, id }) => kind === 'agent' && equalBytes(id, this.#options.self))) {
      throw new ArtifactHubError('AUDIENCE_MISMATCH', 'the link is for another gateway')
    }
    if (claims.ip !== undefined && !isInIpRange(claims.ip, address)) {
      throw new ArtifactHubError('IP_DENIED', 'the link is for another address')
    }
    return link
  }

  /** How long a link goes on being good, by its own times and this clock, milliseconds. */
  remainingMs({ expires }: LinkClaims): number {
    return expires * 1000 - this.#options.now()
  }

  #verified(cap: string): Capability<LinkClaims> {
    const known = this.#tokens.get(cap)
    if (known !== undefined) {
      this.#tokens.delete(cap)
      this.#tokens.set(cap, known)
      return known
    }
    const link = verifiedLink(cap)
    if (this.#tokens.size >= maxTokens) this.#tokens.delete(this.#tokens.keys().next().value as string)
    this.#tokens.set(cap, link)
    return link
  }

  #checkTime(claims: LinkClaims): void {
    const { now, skewSeconds } = this.#options
    const nowMs = now()
    const time = timeOf(claims, nowMs, skewSeconds * 1000)
    const serverTime = new Date(nowMs).toISOString()
    if (time === 'expired') {
      const details = { expiresAt: new Date(claims.expires * 1000).toISOString(), serverTime }
      throw new ArtifactHubError('EXPIRED', 'the link has expired', { details })
    }
    if (time === 'not-yet') {
      const details = { notBefore: new Date(claims.notBefore * 1000).toISOString(), serverTime }
      throw new ArtifactHubError('NOT_YET_VALID', 'the link is not valid yet', { details })
    }
  }
}

function verifiedLink(cap: string): Capability<LinkClaims> {
  let capability: ReturnType<typeof decodeCapability>
  try {
    capability = decodeCapability(decodeToken(cap))
  } catch (cause) {
    throw invalid(cause)
  }
  const { claims, token } = capability
  if (claims.kind !== 'link') throw invalid()
  return { claims, token }
}

function invalid(cause?: unknown): ArtifactHubError {
  return new ArtifactHubError('SIGNATURE_INVALID', 'the URL is no link to this', { cause })
}
