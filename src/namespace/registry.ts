import { decodeCanonical, encodeCanonical, formatNamespaceId, requireFormatVersion } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { type PlanName, plans } from '../limits.ts'
import type { KeyValueChange, KeyValueStore } from '../storage/index.ts'
import { keySpaces, NamespaceKeys, nodeKey, nodeRows } from './tables.ts'

const kinds = ['namespace', 'group'] as const

/** What a log is to this node. */
export type LogKind = (typeof kinds)[number]

/** What this node remembers of a namespace or group that it has; local, never replicated. */
export interface NamespaceRow {
  readonly kind: LogKind
  /** 32 bytes. */
  readonly id: Uint8Array
  readonly name: string
  readonly plan: PlanName
  /** Raw Ed25519 public key of the owner. */
  readonly owner: Uint8Array
  readonly createdMs: number
}

const formatVersion = 1
const currentKey = nodeKey('currentNamespace')
const maxRowBytes = 4_096
/** Where a node keeps the stamp that ties this database to its incarnation, 16 bytes. */
export const incarnationStampKey = nodeKey('incarnationStamp')

/** Every namespace that this node has. @throws CORRUPT */
export async function loadNamespaceRows(store: KeyValueStore): Promise<NamespaceRow[]> {
  const rows: NamespaceRow[] = []
  for await (const [id, value] of nodeRows(store, 'namespaces')) rows.push(decodeRow(id, value))
  return rows
}

/** The id of the current namespace, if one was chosen. */
export async function loadCurrentNamespace(store: KeyValueStore): Promise<Uint8Array | undefined> {
  return await store.get(currentKey)
}

/** The change that remembers a namespace. */
export function putNamespaceRow({ id, kind, name, plan, owner, createdMs }: NamespaceRow): KeyValueChange {
  const value = encodeCanonical({ v: formatVersion, kind, name, plan, owner, createdMs })
  return { type: 'put', key: rowKey(id), value }
}

/** The changes that forget a namespace, and remember that what it had is to be removed. */
export function forgetNamespace(id: Uint8Array): KeyValueChange[] {
  return [
    { type: 'del', key: rowKey(id) },
    { type: 'put', key: removalKey(id), value: new Uint8Array(0) },
  ]
}

/** Namespaces of which this node has single artifacts. */
export async function loadPartials(store: KeyValueStore): Promise<Uint8Array[]> {
  return await Array.fromAsync(nodeRows(store, 'partialNamespaces'), ([id]) => id)
}

/** Whether a namespace is one of them. */
export async function isPartialRemembered(store: KeyValueStore, id: Uint8Array): Promise<boolean> {
  return (await store.get(partialKey(id))) !== undefined
}

/** The change that remembers one of them. */
export function putPartial(id: Uint8Array): KeyValueChange {
  return { type: 'put', key: partialKey(id), value: new Uint8Array(0) }
}

/** The changes that forget one, and remember that what it had is to be removed. */
export function forgetPartial(id: Uint8Array): KeyValueChange[] {
  return [
    { type: 'del', key: partialKey(id) },
    { type: 'put', key: removalKey(id), value: new Uint8Array(0) },
  ]
}

/** A namespace of which single artifacts lie beside a log of it that is kept though this agent is in it no more. */
export interface BesideRow {
  readonly id: Uint8Array
  /** It was forgotten, and its removal is not known to be complete. */
  readonly isGone: boolean
}

/** Every one of them. @throws CORRUPT, UNSUPPORTED_FORMAT */
export async function loadBeside(store: KeyValueStore): Promise<BesideRow[]> {
  return await Array.fromAsync(nodeRows(store, 'besideNamespaces'), ([id, value]) => decodeBeside(id, value))
}

/** The change that remembers one, or that what it had is to be removed: `{ v: 1, gone }`. */
export function putBeside({ id, isGone }: BesideRow): KeyValueChange {
  const value = encodeCanonical({ v: formatVersion, gone: isGone })
  return { type: 'put', key: nodeKey('besideNamespaces', id), value }
}

function decodeBeside(id: Uint8Array, value: Uint8Array): BesideRow {
  const row = decodeCanonical(value, { maxBytes: maxRowBytes, what: 'a row of what lies beside a namespace' })
  const { v, gone } = (typeof row === 'object' && row !== null ? row : {}) as Record<string, unknown>
  const what = `what this node remembers beside ${formatNamespaceId(id)}`
  requireFormatVersion(v, formatVersion, what)
  if (typeof gone !== 'boolean') throw new ArtifactHubError('CORRUPT', `${what} is damaged`)
  return { id, isGone: gone }
}

/** Namespaces that were forgotten and whose removal is not known to be complete. */
export async function loadRemovals(store: KeyValueStore): Promise<Uint8Array[]> {
  return await Array.fromAsync(nodeRows(store, 'removals'), ([id]) => id)
}

/** Whether a namespace was forgotten and its removal is not known to be complete. */
export async function isRemovalOwed(store: KeyValueStore, id: Uint8Array): Promise<boolean> {
  return (await store.get(removalKey(id))) !== undefined
}

const removalBatch = 1_000

/** Removes every row of a forgotten namespace. Done again, it goes on. Its blocks must be gone. */
export async function removeRows(store: KeyValueStore, id: Uint8Array): Promise<void> {
  await removeLog(store, new NamespaceKeys(id))
  await store.batch([{ type: 'del', key: removalKey(id) }], { sync: true })
}

/** As `removeRows`, of what lay beside it. */
export async function removeBesideRows(store: KeyValueStore, id: Uint8Array): Promise<void> {
  await removeLog(store, new NamespaceKeys(id, keySpaces.beside))
  await store.batch([{ type: 'del', key: nodeKey('besideNamespaces', id) }], { sync: true })
}

async function removeLog(store: KeyValueStore, keys: NamespaceKeys): Promise<void> {
  for (const one of [keys, keys.scratch]) {
    const range = one.everything()
    for (;;) {
      const changes: KeyValueChange[] = []
      for await (const [key] of store.entries({ ...range, limit: removalBatch })) changes.push({ type: 'del', key })
      if (changes.length === 0) break
      await store.batch(changes, { sync: false })
    }
  }
}

/** The change that makes a namespace the current one. */
export function putCurrentNamespace(id: Uint8Array): KeyValueChange {
  return { type: 'put', key: currentKey, value: id }
}

function removalKey(id: Uint8Array): Uint8Array {
  return nodeKey('removals', id)
}

function partialKey(id: Uint8Array): Uint8Array {
  return nodeKey('partialNamespaces', id)
}

function rowKey(id: Uint8Array): Uint8Array {
  return nodeKey('namespaces', id)
}

function decodeRow(id: Uint8Array, value: Uint8Array): NamespaceRow {
  const row = decodeCanonical(value, { maxBytes: maxRowBytes, what: 'a namespace row' }) as Record<string, unknown>
  const { v, name, plan, owner, createdMs } = row
  const kind = kinds.find((known) => known === row.kind)
  requireFormatVersion(v, formatVersion, `what this node remembers of ${formatNamespaceId(id)}`)
  const isWell =
    typeof name === 'string' && typeof plan === 'string' && Object.hasOwn(plans, plan) && owner instanceof Uint8Array
  if (!isWell || kind === undefined || typeof createdMs !== 'number') {
    throw new ArtifactHubError('CORRUPT', `what this node remembers of ${formatNamespaceId(id)} is damaged`)
  }
  return { id, kind, name, plan: plan as PlanName, owner: owner as Uint8Array, createdMs }
}
