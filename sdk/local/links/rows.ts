import { type Capability, decodeCapability, type LinkClaims } from '../../../src/capability/index.ts'
import { decodeCanonical, encodeCanonical, requireFormatVersion } from '../../../src/encoding/index.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import { maxCapabilityBytes } from '../../../src/limits.ts'
import { nodeKey, nodeRows } from '../../../src/namespace/index.ts'
import type { KeyValueChange, KeyValueStore } from '../../../src/storage/index.ts'

const ownGatewayKey = nodeKey('ownGateway')
const formatVersion = 1
const maxRowBytes = maxCapabilityBytes + 4_096

/** A link that this node made. */
export interface LinkRow {
  readonly capability: Capability<LinkClaims>
  /** Where its gateway is. */
  readonly gateway: string
}

/** What is remembered of a link without looking into its token. */
interface StoredLink {
  readonly key: Uint8Array
  readonly artifact: Uint8Array
  /** Seconds since 1970. */
  readonly expires: number
  readonly gateway: string
  readonly token: Uint8Array
}

/** The change that remembers a link: `jti` → `{ v: 1, art, exp, url, token }`. */
export function putLink({ capability, gateway }: LinkRow): KeyValueChange {
  const { claims, token } = capability
  const value = encodeCanonical({ v: formatVersion, art: claims.artifact, exp: claims.expires, url: gateway, token })
  return { type: 'put', key: nodeKey('links', claims.jti), value }
}

/** The link of that `jti`; `undefined` when this node did not make it, or it is forgotten. @throws CORRUPT */
export async function loadLink(store: KeyValueStore, jti: Uint8Array): Promise<LinkRow | undefined> {
  const key = nodeKey('links', jti)
  const value = await store.get(key)
  return value === undefined ? undefined : linkOf(decodeRow(key, value))
}

/** Links that this node made, those of one artifact if one is named, that have not expired by `nowSeconds` (since 1970). @throws CORRUPT */
export async function loadLinks(
  store: KeyValueStore,
  nowSeconds: number,
  { artifact, signal }: { artifact?: Uint8Array | undefined; signal?: AbortSignal | undefined },
): Promise<LinkRow[]> {
  const rows: LinkRow[] = []
  for await (const row of storedLinks(store, signal)) {
    const isMeant = artifact === undefined || Buffer.compare(row.artifact, artifact) === 0
    if (isMeant && row.expires > nowSeconds) rows.push(linkOf(row))
  }
  return rows
}

/** The changes that forget links that expired before `beforeSeconds`. @throws CORRUPT */
export async function forgetExpiredLinks(store: KeyValueStore, beforeSeconds: number): Promise<KeyValueChange[]> {
  const changes: KeyValueChange[] = []
  for await (const { key, expires } of storedLinks(store, undefined)) {
    if (expires < beforeSeconds) changes.push({ type: 'del', key })
  }
  return changes
}

/** Where this node's own gateway was when it ran last. @throws CORRUPT */
export async function loadOwnGateway(store: KeyValueStore): Promise<string | undefined> {
  const value = await store.get(ownGatewayKey)
  if (value === undefined) return undefined
  const row = decodeCanonical(value, { maxBytes: maxRowBytes, what: 'a row of this node' })
  if (typeof row !== 'object' || row === null) throw damaged()
  const { v, url } = row as Record<string, unknown>
  requireFormatVersion(v, formatVersion, 'what this node remembers of its gateway')
  if (typeof url !== 'string') throw damaged()
  return url
}

/** The change that remembers where it is: `{ v: 1, url }`. */
export function putOwnGateway(url: string): KeyValueChange {
  return { type: 'put', key: ownGatewayKey, value: encodeCanonical({ v: formatVersion, url }) }
}

async function* storedLinks(store: KeyValueStore, signal: AbortSignal | undefined): AsyncGenerator<StoredLink> {
  for await (const [jti, value] of nodeRows(store, 'links', { ...(signal && { signal }) }))
    yield decodeRow(nodeKey('links', jti), value)
}

function decodeRow(key: Uint8Array, value: Uint8Array): StoredLink {
  const row = decodeCanonical(value, { maxBytes: maxRowBytes, what: 'a row of this node' })
  if (typeof row !== 'object' || row === null) throw damaged()
  const { v, art, exp, url, token } = row as Record<string, unknown>
  requireFormatVersion(v, formatVersion, 'what this node remembers of a link')
  const isWell = art instanceof Uint8Array && token instanceof Uint8Array && Number.isSafeInteger(exp)
  if (!isWell || typeof url !== 'string') throw damaged()
  return { key, artifact: art, expires: exp as number, gateway: url, token }
}

function linkOf({ token, gateway }: StoredLink): LinkRow {
  const { claims } = decodeCapability(token)
  if (claims.kind !== 'link') throw damaged()
  return { capability: { claims, token }, gateway }
}

function damaged(): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', 'what this node remembers of its links is damaged')
}
