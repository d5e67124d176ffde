import type { VersionRecord } from '../../../src/catalog/index.ts'
import { decodeCanonical, encodeCanonical, formatNamespaceId, Reader, toHex } from '../../../src/encoding/index.ts'
import type { KnownPeer } from '../../../src/exchange/index.ts'
import {
  maxInlineBytes,
  maxLabelBytes,
  maxNamespaceRecordsOfAuthor,
  maxNamespaceRecordsRead,
} from '../../../src/limits.ts'
import { rankOf } from '../../../src/membership/index.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import { believedPeers } from '../replication/public-address.ts'
import type { Replication } from '../replication/replication.ts'
import { ticketAddresses } from '../replication/ticket-addresses.ts'
import { isUsableName } from './group-name.ts'
import { deleteRecord, peerRows, peersIn, readRecord, recordsOf, writeRecord } from './group-records.ts'

/** That a group has a role in a namespace is a record of this type in the group's log, for its members alone. */
const contentType = 'application/vnd.artifact-hub.namespace'
const formatVersion = 1

/** A namespace in which a group has a role, as a member says. */
export interface NamespaceRecord {
  /** 32 bytes. */
  readonly namespace: Uint8Array
  /** What that member calls it. */
  readonly name: string
  readonly peers: readonly KnownPeer[]
  /** Who wrote it: raw public key. */
  readonly author: Uint8Array
}

/** A record is left alone for so long by who does not know of the role, milliseconds: its copy of the namespace may be behind. */
const patienceMs = 10 * 60_000

/**
 * Brings what this agent's groups say of a namespace in step with what the namespace says of them, as far as this agent is to say so: as an admin of it
 * who is in the group.
 * @param isCertain whether this agent itself just ended a group's role
 */
export async function announce(replication: Replication, namespace: OpenNamespace, isCertain: boolean): Promise<void> {
  const { namespaces, env } = replication
  const { log, row } = namespace
  const self = env.agent.publicKey
  const own = log.roleOf(self)
  if (own === undefined || rankOf(own) < 2) return
  const recordName = nameOf(row.id)
  for (const group of namespaces.groups) {
    if (group.log.roleOf(self) === undefined) continue
    const known = await recordIn(group, recordName)
    const isOver = ({ updatedAt }: VersionRecord) => isCertain || env.now() - updatedAt.wallMs > patienceMs
    if (!log.membership.groups.hasRole(group.row.id)) {
      for (let one = known; one !== undefined && isOver(one); one = await recordIn(group, recordName))
        await deleteRecord(group, one)
    } else if (known === undefined) {
      const peers = [{ agent: self, addresses: ticketAddresses(env.network) }, ...replication.peersOf(namespace)]
      const content = encodeCanonical({ v: formatVersion, ns: row.id, name: row.name, peers: peerRows(peers) })
      await writeRecord(group, { name: recordName, contentType, metadata: {}, content })
    }
  }
}

/** The namespaces that a group's log names, each once, of the newest records. */
export async function* namespacesOf(
  { env, contacts }: Replication,
  group: OpenNamespace,
  signal: AbortSignal,
): AsyncGenerator<NamespaceRecord, void, undefined> {
  const seen = new Set<string>()
  const byAuthor = new Map<string, number>()
  let read = 0
  for await (const record of recordsOf(group, contentType, signal)) {
    const author = toHex(record.author)
    const ofAuthor = byAuthor.get(author) ?? 0
    // Nobody's records keep from those of others.
    if (ofAuthor === maxNamespaceRecordsOfAuthor || seen.has(record.state.name)) continue
    read += 1
    if (read > maxNamespaceRecordsRead) return
    byAuthor.set(author, ofAuthor + 1)
    const found = await readRecord(env, group, record, decode)
    if (found === undefined || nameOf(found.namespace) !== record.state.name) continue
    seen.add(record.state.name)
    const isBelieved = contacts.nameOf(record.author) !== undefined
    yield { ...found, peers: believedPeers(found.peers, isBelieved), author: record.author }
  }
}

async function recordIn({ log }: OpenNamespace, name: string): Promise<VersionRecord | undefined> {
  const artifact = await log.catalog.findByName(name)
  const record = artifact && (await log.catalog.get(artifact))
  return record?.state.contentType === contentType ? record : undefined
}

/** `{ v: 1, ns, name, peers: [[agent, [address…]]…] }` */
function decode(bytes: Uint8Array): Omit<NamespaceRecord, 'author'> | undefined {
  const reader = Reader.map(decodeCanonical(bytes, { maxBytes: maxInlineBytes, what: 'a namespace' }), 'namespace')
  if (reader.integer('v', 0, Number.MAX_SAFE_INTEGER) !== formatVersion) return undefined
  const namespace = reader.bytes('ns', 32)
  const name = reader.text('name', maxLabelBytes)
  const peers = peersIn(reader)
  reader.end()
  return { namespace, name: isUsableName(name) ? name : formatNamespaceId(namespace).slice(0, 12), peers }
}

function nameOf(namespace: Uint8Array): string {
  return `namespace-${toHex(namespace)}`
}
