import { type Capability, capabilityName } from '../../../src/capability/index.ts'
import { decodeCanonical, encodeCanonical, requireFormatVersion } from '../../../src/encoding/index.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import type { KnownPeer } from '../../../src/exchange/index.ts'
import { nodeKey, nodeRows } from '../../../src/namespace/index.ts'
import type { KeyValueChange, KeyValueStore } from '../../../src/storage/index.ts'

const formatVersion = 3
const maxRowBytes = 64 * 1024

/** Why a capability gives nothing any more, and since when, milliseconds since 1970, as this node came to know it. */
export interface FollowEnd {
  readonly reason: string
  readonly atMs: number
}

/**
 * A capability that this node follows an artifact by, as it is stored: namespace ‖ name → `{ v: 3, token, peers, ended, message, by }`, `ended`
 * `[reason, ms]` or null, `message` text or null, `by` an agent or null. Of version 2, which is read, there is no `by`; of version 1 neither, nor a message, and `ended` is the
 * reason alone.
 */
export interface FollowRow {
  readonly token: Uint8Array
  /** Who may have it. */
  readonly peers: readonly KnownPeer[]
  readonly ended: FollowEnd | undefined
  /** What whoever shared it said with it. */
  readonly message: string | undefined
  /** Raw public key of the agent on whose word it is followed, if that is not whoever shared it. */
  readonly by: Uint8Array | undefined
}

interface FollowedBy extends Partial<Pick<FollowRow, 'by'>> {
  readonly capability: Capability
}

/** By what a capability is known. */
export type FollowedClaims = Parameters<typeof capabilityName>[0]

/** Every capability that is followed. @throws CORRUPT, UNSUPPORTED_FORMAT */
export async function loadFollowRows(store: KeyValueStore): Promise<FollowRow[]> {
  const rows: FollowRow[] = []
  for await (const [, value] of nodeRows(store, 'follows')) rows.push(readRow(value))
  return rows
}

/** The change that remembers one. */
export function putFollowRow(claims: FollowedClaims, { token, peers, ended, message, by }: FollowRow): KeyValueChange {
  const rows = peers.map(({ agent, addresses }) => [agent, addresses])
  const end = ended === undefined ? null : [ended.reason, ended.atMs]
  const told = { message: message ?? null, by: by ?? null }
  const value = encodeCanonical({ v: formatVersion, token, peers: rows, ended: end, ...told })
  return { type: 'put', key: keyOf(claims), value }
}

/** As `putFollowRow`, of something that is followed. */
export function putFollow({ capability, by, ...row }: Omit<FollowRow, 'token' | 'by'> & FollowedBy): KeyValueChange {
  return putFollowRow(capability.claims, { ...row, by, token: capability.token })
}

/** The change that forgets one. */
export function deleteFollowRow(claims: FollowedClaims): KeyValueChange {
  return { type: 'del', key: keyOf(claims) }
}

function keyOf(claims: FollowedClaims): Uint8Array {
  return nodeKey('follows', claims.namespace, capabilityName(claims))
}

function readRow(bytes: Uint8Array): FollowRow {
  const row = decodeCanonical(bytes, { maxBytes: maxRowBytes, what: 'a followed capability' })
  if (typeof row !== 'object' || row === null) throw damaged()
  const { v, token, peers, ended, message = null, by = null } = row as Record<string, unknown>
  if (v !== 1 && v !== 2) requireFormatVersion(v, formatVersion, 'what this node remembers of a followed artifact')
  const isWell =
    token instanceof Uint8Array &&
    Array.isArray(peers) &&
    (message === null || typeof message === 'string') &&
    (by === null || by instanceof Uint8Array)
  if (!isWell) throw damaged()
  return {
    token,
    peers: (peers as unknown[]).map(peerOf),
    ended: ended === null ? undefined : endOf(v === 1 ? [ended, 0] : ended),
    message: message ?? undefined,
    by: by ?? undefined,
  }
}

function endOf(value: unknown): FollowEnd {
  const [reason, atMs] = Array.isArray(value) ? value : []
  if (typeof reason !== 'string' || !Number.isSafeInteger(atMs)) throw damaged()
  return { reason, atMs: atMs as number }
}

function peerOf(value: unknown): KnownPeer {
  const [agent, addresses] = Array.isArray(value) ? value : []
  const isWell =
    agent instanceof Uint8Array && Array.isArray(addresses) && addresses.every((one) => typeof one === 'string')
  if (!isWell) throw damaged()
  return { agent: agent as Uint8Array, addresses: addresses as string[] }
}

function damaged(): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', 'what this node remembers of followed artifacts is damaged')
}
