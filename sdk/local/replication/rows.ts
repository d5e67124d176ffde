import { decodeCanonical, encodeCanonical, requireFormatVersion } from '../../../src/encoding/index.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import type { KnownPeer } from '../../../src/exchange/index.ts'
import { nodeKey, nodeRows } from '../../../src/namespace/index.ts'
import type { KeyValueChange, KeyValueStore } from '../../../src/storage/index.ts'
import type { FetchPolicy } from '../../peer-client.ts'

const formatVersion = 1
/** `maxKnownPeers`, each with as many addresses as a ticket names, of the longest. */
const maxRowBytes = 1024 * 1024

/** An agent's name as it is stored: name → `{ v: 1, agent, addresses }`. */
export interface ContactRow {
  readonly name: string
  /** 32 bytes. */
  readonly agent: Uint8Array
  readonly addresses: readonly string[]
}

/** A group's name as it is stored: name → `{ v: 1, group, peers }`. */
export interface GroupContactRow {
  readonly name: string
  /** 32 bytes. */
  readonly group: Uint8Array
  /** Whom its ticket named. */
  readonly peers: readonly KnownPeer[]
}

/** What this node remembers of a namespace for the sake of replication: id → `{ v: 1, fetch, maxBytes, peers }`. Never replicated. */
export interface SettingsRow {
  readonly policy: FetchPolicy
  /** Whom tickets named. */
  readonly peers: readonly KnownPeer[]
}

/** Every contact, by name. @throws CORRUPT */
export async function loadContacts(store: KeyValueStore): Promise<(ContactRow | GroupContactRow)[]> {
  const rows: (ContactRow | GroupContactRow)[] = []
  for await (const [key, value] of nodeRows(store, 'contacts')) {
    const { agent, addresses, group, peers } = decode(value)
    const name = Buffer.from(key).toString()
    if (isBytes32(group) && Array.isArray(peers)) rows.push({ name, group, peers: peers.map(peerOf) })
    else if (isBytes32(agent) && isTexts(addresses)) rows.push({ name, agent, addresses })
    else throw damaged()
  }
  return rows
}

/** The change that remembers a contact. */
export function putContact(row: ContactRow | GroupContactRow): KeyValueChange {
  const value =
    'group' in row
      ? { v: formatVersion, group: row.group, peers: row.peers.map(peerRow) }
      : { v: formatVersion, agent: row.agent, addresses: row.addresses }
  return { type: 'put', key: contactKey(row.name), value: encodeCanonical(value) }
}

/** The change that forgets one. */
export function deleteContact(name: string): KeyValueChange {
  return { type: 'del', key: contactKey(name) }
}

/** What is remembered of every namespace, by id. @throws CORRUPT */
export async function loadSettings(store: KeyValueStore): Promise<{ id: Uint8Array; row: SettingsRow }[]> {
  const rows: { id: Uint8Array; row: SettingsRow }[] = []
  for await (const [id, value] of nodeRows(store, 'settings')) {
    const { fetch, maxBytes, peers } = decode(value)
    const isWell = (fetch === 'eager' || fetch === 'lazy') && (maxBytes === null || Number.isSafeInteger(maxBytes))
    if (!isWell || !Array.isArray(peers)) throw damaged()
    rows.push({
      id,
      row: { policy: { fetch, maxBytes: (maxBytes as number | null) ?? undefined }, peers: peers.map(peerOf) },
    })
  }
  return rows
}

/** The change that remembers a namespace's settings (id: 32 bytes). */
export function putSettings(id: Uint8Array, { policy, peers }: SettingsRow): KeyValueChange {
  const rows = peers.map(peerRow)
  const value = encodeCanonical({
    v: formatVersion,
    fetch: policy.fetch,
    maxBytes: policy.maxBytes ?? null,
    peers: rows,
  })
  return { type: 'put', key: nodeKey('settings', id), value }
}

/** The change that forgets them. */
export function deleteSettings(id: Uint8Array): KeyValueChange {
  return { type: 'del', key: nodeKey('settings', id) }
}

function decode(value: Uint8Array): Record<string, unknown> {
  const row = decodeCanonical(value, { maxBytes: maxRowBytes, what: 'a row of this node' })
  if (typeof row !== 'object' || row === null) throw damaged()
  requireFormatVersion((row as { v?: unknown }).v, formatVersion, 'what this node remembers of a contact or a setting')
  return row as Record<string, unknown>
}

function peerRow({ agent, addresses }: KnownPeer): unknown {
  return [agent, addresses]
}

function peerOf(value: unknown): KnownPeer {
  const [agent, addresses] = Array.isArray(value) ? value : []
  if (!isBytes32(agent) || !isTexts(addresses)) throw damaged()
  return { agent, addresses }
}

function contactKey(name: string): Uint8Array {
  return nodeKey('contacts', new TextEncoder().encode(name))
}

function isBytes32(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array && value.length === 32
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string')
}

function damaged(): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', 'what this node remembers of its contacts or settings is damaged')
}
