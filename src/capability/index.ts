/** Signed statements that let somebody read one artifact: capabilities of shares and links, and the URLs of links. Formats: README.md. */
export {
  type Audience,
  type CapabilityClaims,
  type CapabilityTime,
  capabilityName,
  type LinkClaims,
  type PinnedContent,
  type ShareClaims,
  timeOf,
} from './claims.ts'
export { compareAudience, encodeClaims } from './claims-codec.ts'
export { decodeEnvelope, decodeUnverifiedEnvelope, type Envelope, sealEnvelope } from './envelope.ts'
export { isInIpRange, isIpRange } from './ip-range.ts'
export { openLinkKey, sealLinkKey } from './link-key.ts'
export { isLinkName, linkNameOf } from './link-name.ts'
export { decodeToken, formatLinkUrl, gatewayBase, type LinkUrl, parseLinkUrl } from './link-url.ts'
export {
  decodePresentation,
  encodePresentation,
  type GroupProof,
  type GroupProofContext,
  isGroupMemberProof,
  type Presentation,
  proveGroupMember,
} from './presentation.ts'
export { type Capability, decodeCapability, decodeUnverifiedCapability, signCapability } from './token.ts'
