import type { VersionRecord } from '../../../src/catalog/index.ts'
import { readContent, sealInline } from '../../../src/content/index.ts'
import { artifactSaltBytes, concatBytes, type Reader } from '../../../src/encoding/index.ts'
import { isHubError } from '../../../src/errors.ts'
import type { KnownPeer } from '../../../src/exchange/index.ts'
import { isAddress } from '../../../src/identity/index.ts'
import { maxPeersInGroupRecord, maxTicketAddressBytes, maxTicketAddresses } from '../../../src/limits.ts'
import { writeDelete, writeFirstVersion } from '../../../src/namespace/index.ts'
import type { LocalEnvironment } from '../environment.ts'
import { saltOf } from '../lookup.ts'
import type { OpenNamespace } from '../namespace-book.ts'

/** Something that a member writes into a group's log for all members: an artifact there, whose content stands in its entry. */
interface GroupRecord {
  readonly name: string
  readonly contentType: string
  readonly metadata: Readonly<Record<string, string | boolean>>
  readonly content: Uint8Array
}

/** Writes a record into a group's log. @throws ACCESS_DENIED */
export async function writeRecord({ log, quota }: OpenNamespace, record: GroupRecord): Promise<void> {
  const { name, contentType, metadata, content } = record
  const salt = log.env.random(artifactSaltBytes)
  const artifact = log.artifactOf(salt)
  const key = log.artifactKeys.fresh(artifact)
  const { leaf, sha256, ...root } = sealInline(content, key.content)
  await writeFirstVersion(log, {
    handle: { artifact, salt, key },
    wrap: undefined,
    isNew: true,
    state: { name, contentType, metadata },
    content: { root: { ...root, inline: true, keyId: key.id }, sha256, leaf },
    quota,
    reservation: undefined,
    also: [],
  })
}

/**
 * What a record holds, which any member may have written; `undefined` when it is damaged or none, or nobody here can open it.
 * @param decode gives `undefined` for what it cannot read. @throws CORRUPT
 */
export async function readRecord<T>(
  { engine }: LocalEnvironment,
  { log }: OpenNamespace,
  { artifact, root }: VersionRecord,
  decode: (content: Uint8Array) => T | undefined,
): Promise<T | undefined> {
  if (!root.inline) return undefined
  try {
    const { content: keys } = await log.artifactKeys.open(artifact, root.keyId)
    const pieces = await Array.fromAsync(readContent({ root, keys, engine, blocks: log.blocks }))
    return decode(concatBytes(...pieces))
  } catch (error) {
    // One that nobody has the key of keeps from no other.
    if (unreadable.some((code) => isHubError(error, code))) return undefined
    throw error
  }
}

const unreadable = ['CORRUPT', 'UNSUPPORTED_FORMAT', 'ACCESS_DENIED', 'NOT_FOUND', 'UNAVAILABLE'] as const

/** Ends a record for all members. Idempotent. @throws ACCESS_DENIED */
export async function deleteRecord(namespace: OpenNamespace, record: VersionRecord): Promise<void> {
  try {
    const salt = await saltOf({ namespace, record })
    await writeDelete(namespace.log, { artifact: record.artifact, salt })
  } catch (error) {
    if (!isHubError(error, 'NOT_FOUND')) throw error
  }
}

/** Every record of a type in a group's log, the newest first. */
export async function* recordsOf(
  { log }: OpenNamespace,
  contentType: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<VersionRecord, void, undefined> {
  let cursor: string | undefined
  do {
    const page = await log.catalog.list({ contentType, cursor, signal })
    yield* page.items
    cursor = page.nextCursor
  } while (cursor !== undefined)
}

/** Whom a record names, as it is written: `[[agent, [address…]]…]`. */
export function peerRows(peers: readonly KnownPeer[]): unknown[] {
  return peers
    .slice(0, maxPeersInGroupRecord)
    .map(({ agent, addresses }) => [agent, addresses.slice(0, maxTicketAddresses)])
}

/** Whom a record names. @throws CORRUPT */
export function peersIn(reader: Reader): KnownPeer[] {
  return reader.array('peers', 0, maxPeersInGroupRecord).mapLists(2, (row): KnownPeer => {
    const agent = row.bytes(0, 32)
    const addresses = row.array(1, 0, maxTicketAddresses)
    const texts = Array.from({ length: addresses.length }, (_, at) => addresses.text(at, maxTicketAddressBytes))
    return { agent, addresses: texts.filter(isAddress) }
  })
}
