/** Agents: Ed25519 keys and their DIDs, signing domains, sealed boxes, key wrapping, the identity file. */
export { AgentKey, verifySignature, verifySignatureBeside } from './agent-key.ts'
export { isUsablePublicKey } from './agreement.ts'
export { formatDid, parseDid } from './did.ts'
export type { SigningDomain } from './domains.ts'
export { HmacKey, hkdf, hkdfExpand, hkdfExtract } from './hkdf.ts'
export { decodeIdentityFile, encodeIdentityFile } from './identity-file.ts'
export {
  boxedKeyBytes,
  boxTagBytes,
  type KeyContext,
  openSealed,
  type SealedBox,
  Sealer,
  unwrapKey,
  wrapKey,
  wrappingKey,
} from './seal.ts'
export {
  formatTicket,
  isAddress,
  isTicket,
  parseTicket,
  type Ticket,
  type TicketPeer,
  ticketKindText,
} from './ticket.ts'
