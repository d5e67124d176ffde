import { base32 } from 'multiformats/bases/base32'
import { decodeCanonical, encodeCanonical, requireFormatVersion } from '../encoding/index.ts'
import { ArtifactHubError, isHubError } from '../errors.ts'
import { maxLabelBytes, maxTicketAddressBytes, maxTicketAddresses, maxTicketPeers, maxTicketText } from '../limits.ts'
import { isUsablePublicKey } from './agreement.ts'

/**
 * One copyable string that carries an id and where to ask: `ahub1` and lowercase base32 (RFC 4648, no padding) of canonical DAG-CBOR
 * `{ v: 1, kind, id, peers: [[agent, [address…]]…], name }`. It is not signed and gives no right: what it names is checked when it is met.
 */
export interface Ticket {
  readonly kind: 'agent' | 'group' | 'namespace'
  /** 32 bytes: the agent's public key, the id of the group or of the namespace. */
  readonly id: Uint8Array
  /** Agents that can be asked, best first. */
  readonly peers: readonly TicketPeer[]
  /** What whoever made it calls the thing: a suggestion, shown to people. */
  readonly name?: string | undefined
}

/** An agent and where it may be dialled. */
export interface TicketPeer {
  /** Raw Ed25519 public key, 32 bytes. */
  readonly agent: Uint8Array
  /** Multiaddr texts (`/ip4/192.0.2.1/tcp/4001`). */
  readonly addresses: readonly string[]
}

const prefix = 'ahub1'
const formatVersion = 1
const kinds = ['agent', 'group', 'namespace'] as const
const addressPattern = /^(?:\/[!-.0-~]+)+$/

/** Whether the text has the form of a ticket, so that it is not looked up as a name. */
export function isTicket(text: string): boolean {
  return text.startsWith(prefix) && text.length > prefix.length
}

/**
 * The text of a ticket, at most 4 KiB: addresses, then peers, are left out from the end until it fits.
 * @throws INVALID_ARGUMENT for what no ticket may hold
 */
export function formatTicket(ticket: Ticket): string {
  const peers = ticket.peers
    .slice(0, maxTicketPeers)
    .map(({ agent, addresses }) => ({ agent, addresses: addresses.slice(0, maxTicketAddresses) }))
  for (;;) {
    const text = encode({ ...ticket, peers })
    if (text.length <= maxTicketText) {
      parseTicket(text)
      return text
    }
    const longest = Math.max(...peers.map(({ addresses }) => addresses.length))
    const last = peers.findLast(({ addresses }) => addresses.length === longest && longest > 1)
    if (last !== undefined) last.addresses.pop()
    else if (peers.pop() === undefined) throw invalid('its name is too long')
  }
}

function encode({ kind, id, peers, name }: Ticket): string {
  const rows = peers.map(({ agent, addresses }) => [agent, addresses])
  return prefix + base32.baseEncode(encodeCanonical({ v: formatVersion, kind, id, peers: rows, name: name ?? null }))
}

/**
 * Reads a ticket; space around it is ignored.
 * @throws INVALID_ARGUMENT when it is none, UNSUPPORTED_FORMAT when its format has another version
 */
export function parseTicket(given: string): Ticket {
  const text = given.trim()
  if (!isTicket(text)) throw invalid(`it does not begin with ${prefix}`)
  if (text.length > maxTicketText) throw invalid('it is too long')
  return ticketOf(decode(text.slice(prefix.length)))
}

function decode(text: string): unknown {
  try {
    const bytes = base32.baseDecode(text)
    // Encoded again, for base32 has spare bits and two spellings must not be one ticket.
    if (base32.baseEncode(bytes) === text) return decodeCanonical(bytes, { maxBytes: maxTicketText, what: 'a ticket' })
  } catch (error) {
    throw invalid(isHubError(error) ? error.message : 'it is damaged')
  }
  throw invalid('it is damaged')
}

function ticketOf(value: unknown): Ticket {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('it is damaged')
  const { v, kind: kindText, id, peers, name, ...others } = value as Record<string, unknown>
  if (!Number.isSafeInteger(v)) throw invalid('it is damaged')
  requireFormatVersion(v, formatVersion, 'this ticket')
  const kind = kinds.find((known) => known === kindText)
  const isWell = kind !== undefined && isBytes32(id) && Object.keys(others).length === 0
  if (!isWell || !Array.isArray(peers) || peers.length > maxTicketPeers) throw invalid('it is damaged')
  if (kind === 'agent' && !isUsablePublicKey(id)) throw invalid('it names no agent')
  if (name !== null && (typeof name !== 'string' || !isLabel(name))) throw invalid('its name cannot be shown')
  return { kind, id, peers: peers.map(peerOf), name: name ?? undefined }
}

function peerOf(value: unknown): TicketPeer {
  const [agent, addresses] = Array.isArray(value) && value.length === 2 ? value : []
  if (!isBytes32(agent) || !isUsablePublicKey(agent)) throw invalid('a peer in it is no agent')
  if (!Array.isArray(addresses) || addresses.length > maxTicketAddresses || !addresses.every(isAddress))
    throw invalid('an address in it is none')
  return { agent, addresses }
}

function isBytes32(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.length === 32
}

/** Whether a value has the form of a multiaddr's text, and its length. */
export function isAddress(value: unknown): value is string {
  return typeof value === 'string' && value.length <= maxTicketAddressBytes && addressPattern.test(value)
}

/** What a ticket is of, with its article. */
export function ticketKindText(kind: Ticket['kind']): string {
  return kind === 'agent' ? 'an agent' : `a ${kind}`
}

function isLabel(name: string): boolean {
  return name.length > 0 && new TextEncoder().encode(name).length <= maxLabelBytes && !/\p{C}/u.test(name)
}

function invalid(why: string): ArtifactHubError {
  return new ArtifactHubError('INVALID_ARGUMENT', `this is not a ticket: ${why}`)
}
