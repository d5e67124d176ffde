import { createCipheriv, createDecipheriv } from 'node:crypto'
import type { ContentRoot } from '../catalog/index.ts'
import { rememberedLeafBytes } from '../content/index.ts'
import { concatBytes, equalBytes, formatArtifactId, prefixEnd, toHex } from '../encoding/index.ts'
import { leafOverheadBytes, leavesInRow, minLeavesInRows } from '../limits.ts'
import type { ArtifactKey } from '../sharing/index.ts'
import type { KeyValueChange } from '../storage/index.ts'
import type { StoredContent } from './artifact-writes.ts'
import type { Namespace } from './namespace.ts'
import type { TableName } from './tables.ts'

const table = 'leafRows' satisfies TableName
const domain = new TextEncoder().encode('artifact-hub/leaf-rows/v1\0')
const artifactBytes = 20
const keyIdBytes = 16
const nonceBytes = 12
const tagBytes = 16

/** An artifact, and the key that its leaves are under. */
export interface LeafRowsOf {
  readonly artifact: Uint8Array
  readonly key: ArtifactKey
}

/**
 * The changes that write down the leaves of an artifact's newest version and remove what was written down before. None for
 * a version of fewer than `minLeavesInRows`: what they would spare is not worth a row, and what is there stays.
 *
 * Each row is nonce (12) ‖ AES-256-GCM ‖ tag (16) over up to `leavesInRow` of `LeafTable.packed`, under a key derived from
 * the artifact's for this alone, with the row's own key as associated data. Every remembered leaf is a fact for itself, so
 * rows of several versions, old ones or some that are missing do no harm.
 */
export async function leafRowChanges(
  namespace: Namespace,
  { artifact, key }: LeafRowsOf,
  { root, leaves }: Pick<StoredContent, 'root' | 'leaves'>,
): Promise<KeyValueChange[]> {
  if (leaves === undefined || !isRemembered(root)) return []
  const sealingKey = key.leafRowsKey()
  const changes: KeyValueChange[] = []
  const written = new Set<string>()
  for (const packed of leaves.packed(leavesInRow)) {
    const rowKey = namespace.keys.key(table, artifact, key.id, rowNumber(changes.length))
    const nonce = namespace.env.random(nonceBytes)
    const cipher = createCipheriv('aes-256-gcm', sealingKey, nonce).setAAD(concatBytes(domain, rowKey))
    const value = concatBytes(nonce, cipher.update(packed), cipher.final(), cipher.getAuthTag())
    changes.push({ type: 'put', key: rowKey, value })
    written.add(toHex(rowKey))
  }
  for await (const [rowKey] of namespace.env.store.entries(rowsUnder(namespace.keys.key(table, artifact)))) {
    if (!written.has(toHex(rowKey))) changes.push({ type: 'del', key: rowKey })
  }
  return changes
}

/**
 * What was written down of an artifact's leaves under one key, a piece a row, for `LeafMemory.learn`. A row that is not just
 * as it was written under that key and in that place is passed over: a wrong one must not reach a version.
 */
export async function* loadLeafRows(
  namespace: Namespace,
  { artifact, key }: LeafRowsOf,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const openingKey = key.leafRowsKey()
  const rows = rowsUnder(namespace.keys.key(table, artifact, key.id))
  let damaged = 0
  for await (const [rowKey, value] of namespace.env.store.entries(rows, signal && { signal })) {
    const packed = openRow(openingKey, rowKey, value)
    if (packed === undefined) damaged++
    else yield packed
  }
  if (damaged === 0) return
  namespace.env.warn?.('passed over damaged rows of known leaves: the next version of the artifact only takes longer', {
    namespace: namespace.idText,
    artifactId: formatArtifactId(artifact),
    rows: damaged,
  })
}

/**
 * Removes the rows of artifacts that have no version left with so many leaves under that key, ended ones counting until
 * `before` (milliseconds since 1970). A version written meanwhile may lose its rows, which costs its successor time only.
 */
export async function removeStaleLeafRows(
  namespace: Namespace,
  { before, signal }: { before: number; signal?: AbortSignal | undefined },
): Promise<void> {
  const { store } = namespace.env
  const { gte: start, lt } = namespace.keys.all(table)
  for (let gte = start; ; ) {
    const first = await Array.fromAsync(store.entries({ gte, lt, limit: 1 }))
    const rowKey = first[0]?.[0]
    if (rowKey === undefined) return
    signal?.throwIfAborted()
    const owner = rowKey.slice(start.length, start.length + artifactBytes + keyIdBytes)
    const rows = rowsUnder(namespace.keys.key(table, owner))
    if (!(await isNeeded(namespace, owner, before))) {
      const changes: KeyValueChange[] = []
      for await (const [key] of store.entries(rows)) changes.push({ type: 'del', key })
      await store.batch(changes, { sync: false })
    }
    gte = rows.lt
  }
}

async function isNeeded({ catalog }: Namespace, owner: Uint8Array, before: number): Promise<boolean> {
  const [artifact, keyId] = [owner.subarray(0, artifactBytes), owner.subarray(artifactBytes)]
  const isOfThese = (root: ContentRoot): boolean => isRemembered(root) && equalBytes(root.keyId, keyId)
  for await (const { root } of catalog.liveRoots(artifact)) if (isOfThese(root)) return true
  for await (const { root, endedMs } of catalog.endedVersions(artifact)) {
    if (endedMs >= before && isOfThese(root)) return true
  }
  return false
}

/** Whether content has leaves enough. */
function isRemembered({ sizeBytes, storedBytes }: ContentRoot): boolean {
  return storedBytes - sizeBytes >= minLeavesInRows * leafOverheadBytes
}

function openRow(key: Uint8Array, rowKey: Uint8Array, value: Uint8Array): Uint8Array | undefined {
  const leafBytes = value.length - nonceBytes - tagBytes
  if (leafBytes < 0 || leafBytes > leavesInRow * rememberedLeafBytes || leafBytes % rememberedLeafBytes !== 0) {
    return undefined
  }
  const decipher = createDecipheriv('aes-256-gcm', key, value.subarray(0, nonceBytes), { authTagLength: tagBytes })
  decipher.setAAD(concatBytes(domain, rowKey)).setAuthTag(value.subarray(value.length - tagBytes))
  const packed = decipher.update(value.subarray(nonceBytes, value.length - tagBytes))
  try {
    decipher.final()
  } catch {
    return undefined
  }
  return packed
}

function rowsUnder(prefix: Uint8Array): { gte: Uint8Array; lt: Uint8Array } {
  return { gte: prefix, lt: prefixEnd(prefix) as Uint8Array }
}

function rowNumber(row: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, row)
  return bytes
}
