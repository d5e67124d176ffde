import type { ContentRoot } from '../catalog/index.ts'
import { encodeCanonical, sha256 } from '../encoding/index.ts'
import type { SealedBox, TicketPeer } from '../identity/index.ts'
import { clockSkewMs } from '../limits.ts'

/** Who a capability is for: an agent (id: raw Ed25519 public key) or a group (id: hash of its genesis). 32 bytes. */
export interface Audience {
  readonly kind: 'agent' | 'group'
  readonly id: Uint8Array
}

/** What every capability says. Times are whole seconds since 1970. */
interface CommonClaims {
  /** Raw Ed25519 public key of the agent that signs. */
  readonly issuer: Uint8Array
  /** Hash of the grant that the issuer acts under; of the genesis, for the owner. The capability ends with it. */
  readonly grant: Uint8Array
  /** 32 bytes. */
  readonly namespace: Uint8Array
  /** 20 bytes. */
  readonly artifact: Uint8Array
  /** 1 to 16, ascending and distinct (agents first, then by id). */
  readonly audience: readonly Audience[]
  /** It is good from this time. */
  readonly notBefore: number
  /** 16 random bytes: its name, public, by which it is revoked. */
  readonly jti: Uint8Array
}

/** Lets agents and groups follow one artifact. */
export interface ShareClaims extends CommonClaims {
  readonly kind: 'share'
  /** It is good until this time; `undefined`: until it is revoked. */
  readonly expires: number | undefined
  /** Only versions with a `gen` above it; 0 for all. */
  readonly after: number
}

/** Lets gateways serve one artifact over HTTP to whoever holds the link. */
export interface LinkClaims extends CommonClaims {
  readonly kind: 'link'
  /** It is good until this time, at most 7 days after `notBefore`. */
  readonly expires: number
  /** The one version that it is for; `undefined`: whatever version is the latest. */
  readonly pinned: PinnedContent | undefined
  /** Agents that have the blocks, and where they may be dialled: at most 4, with at most 4 addresses each. */
  readonly via: readonly TicketPeer[]
  /** File name that is offered to whoever downloads: `isLinkName`. `undefined`, only without `pinned`: the artifact's own. */
  readonly name: string | undefined
  /** Media type. `undefined`, only without `pinned`: the artifact's own. */
  readonly contentType: string | undefined
  readonly disposition: 'attachment' | 'inline'
  /** Whose requests are served: an IP address or a CIDR prefix. `undefined`: anyone's. */
  readonly ip: string | undefined
  /** How many times each byte may be sent; needs a single audience. `undefined`: any number of times. */
  readonly maxUses: number | undefined
}

/** All that a gateway in the audience needs to find, verify and decrypt one version. */
export interface PinnedContent {
  /** Hash of the version's entry. */
  readonly version: Uint8Array
  readonly root: ContentRoot
  /** SHA-256 of the plaintext. */
  readonly sha256: Uint8Array
  /** X25519 key that the boxes were sealed with. */
  readonly ephemeral: Uint8Array
  /** For each audience, in that order, the key of the leaves sealed to it: `openLinkKey`. */
  readonly boxes: readonly SealedBox[]
}

/** What a capability says. */
export type CapabilityClaims = ShareClaims | LinkClaims

/** Where a time lies in what a capability says of itself. */
export type CapabilityTime = 'valid' | 'expired' | 'not-yet'

/**
 * Whether a capability is good at a time, as far as its own times go.
 *
 * @param nowMs milliseconds since 1970
 * @param skewMs how far the issuer's clock may be from ours
 */
export function timeOf(
  { notBefore, expires }: Pick<CapabilityClaims, 'notBefore' | 'expires'>,
  nowMs: number,
  skewMs = clockSkewMs,
): CapabilityTime {
  if (expires !== undefined && nowMs >= expires * 1000 + skewMs) return 'expired'
  return nowMs < notBefore * 1000 - skewMs ? 'not-yet' : 'valid'
}

/**
 * What a capability is known by among those of all issuers, 16 bytes. Its `jti` tells it only from others of its issuer: whoever sees one
 * can sign another capability of that name.
 */
export function capabilityName({
  namespace,
  issuer,
  jti,
}: Pick<CapabilityClaims, 'namespace' | 'issuer' | 'jti'>): Uint8Array {
  return sha256(encodeCanonical([namespace, issuer, jti])).slice(0, 16)
}
