import { concatBytes, formatNamespaceId, orderedUint64, prefixEnd, sha256 } from '../encoding/index.ts'
import type { KeyValueStore } from '../storage/index.ts'

/** First byte of every key in the database: who owns the rest. The pack store's index is one of them. */
export const keySpaces = {
  node: 0x01,
  namespace: 0x02,
  packIndex: 0x03,
  scratch: 0x04,
  beside: 0x05,
  besideScratch: 0x06,
} as const

/**
 * Second byte of the node's own keys: one place for all of them, whoever has them, for two tables of one byte would read each other's
 * rows. Layouts are in the READMEs of the folders named.
 */
export const nodeTables = {
  // src/namespace
  namespaces: 0x6e,
  removals: 0x78,
  partialNamespaces: 0x70,
  besideNamespaces: 0x62,
  currentNamespace: 0x63,
  incarnationStamp: 0x69,
  // sdk/local/replication
  contacts: 0x61,
  settings: 0x73,
  follows: 0x66,
  ended: 0x65,
  // sdk/local/groups
  left: 0x79,
  vouched: 0x76,
  // sdk/local/sharing
  requests: 0x71,
  droppedRequests: 0x72,
  groupRequests: 0x74,
  deliveries: 0x77,
  // sdk/local/links
  links: 0x6c,
  ownGateway: 0x67,
  // node
  addresses: 0x64,
  linkUses: 0x75,
} as const

type NodeTable = keyof typeof nodeTables

/** A key of the node's own. */
export function nodeKey(table: NodeTable, ...parts: readonly Uint8Array[]): Uint8Array {
  return concatBytes(Uint8Array.of(keySpaces.node, nodeTables[table]), ...parts)
}

/** The rows of a table of the node's own: what follows the table in each key, and the value. */
export async function* nodeRows(
  store: KeyValueStore,
  table: NodeTable,
  options: { readonly signal?: AbortSignal } = {},
): AsyncGenerator<[Uint8Array, Uint8Array], void, undefined> {
  const prefix = nodeKey(table)
  for await (const [key, value] of store.entries(range(prefix), options)) yield [key.slice(prefix.length), value]
}

/** Second half of a namespace's prefix: one byte a table. Layouts are in this folder's README. */
const tables = {
  /** chain (16) ‖ seq (8) ‖ entry hash (32) → entry: both branches of a fork have their rows */
  entries: 0x65,
  /** entry hash (32) → chain (16) ‖ seq (8) */
  places: 0x68,
  /** chain (16) ‖ hash (32) of a tip: an entry that none follows → author, grant, incarnation, seq, hash, clock of it */
  tips: 0x63,
  /** artifact (20) ‖ key id (16) → wraps of that artifact key, and entries with boxes of it */
  artifactKeys: 0x6b,
  /** artifact (20) ‖ key id (16) ‖ jti (16) ‖ group's epoch (16, zeros for an agent's own) → entries with boxes of that key for that capability */
  labelledBoxes: 0x78,
  /** artifact (20) ‖ jti (16) ‖ hash of a share entry (32) → chain (16) ‖ seq (8) */
  shares: 0x6a,
  /** digest of an inline leaf (32) ‖ entry hash (32) → nothing: several entries may carry one leaf */
  inlineLeaves: 0x6c,
  /** artifact (20) ‖ digest (32) ‖ bytes (8) → how many live versions (of a root), or live roots (of a leaf), hold it */
  references: 0x72,
  /** → what the namespace holds */
  totals: 0x75,
  /** hash of an auth entry (32) → chain (16) ‖ seq (8) */
  auth: 0x61,
  /** upload (32) → what an unfinished upload needs to find its blocks again */
  uploads: 0x70,
  /** artifact (20) ‖ key id (16) ‖ row (4) → nonces and digests of the leaves of its newest big version, sealed */
  leafRows: 0x6d,
  /** number (8) → one change of what a member sees */
  feed: 0x66,
  /** → which rows of the feed were written under which incarnation */
  feedEras: 0x79,
  /** entry hash (32) → nothing: a stored entry that counts and lacks its body or leaf */
  stripped: 0x73,
  /** agent (32) ‖ hash of an entry of a partial log (32) → chain (16) ‖ seq (8): the agent gave it; neither it nor the author is the owner */
  origins: 0x6f,
  /** → the incarnation that this namespace writes under in place of the node's */
  incarnation: 0x69,
  /** → there while keys have come that hidden versions were not tried with */
  revealing: 0x76,
  /** → there while the derived tables are being made again */
  rebuilding: 0x62,
  /** → there while the log is known to have damaged entries */
  damaged: 0x64,
  /** the catalog's own keys */
  catalog: 0x67,
} as const

/** The name of a table. */
export type TableName = keyof typeof tables

/** Tables that follow from the log and the blocks, and can be made again from them. */
export const derivedTables = [
  'places',
  'tips',
  'auth',
  'artifactKeys',
  'labelledBoxes',
  'shares',
  'inlineLeaves',
  'references',
  'totals',
  'catalog',
] as const

/** The keys of one namespace. */
export class NamespaceKeys {
  readonly #prefix: Uint8Array

  /** @param space another than the default for what is derived a second time, to be compared, and for a log that lies beside another of that namespace */
  constructor(namespace: Uint8Array, space: number = keySpaces.namespace) {
    this.#prefix = concatBytes(Uint8Array.of(space), namespace)
  }

  /** Where what is derived of the log with these keys is made a second time. */
  get scratch(): NamespaceKeys {
    const space = this.#prefix[0] === keySpaces.beside ? keySpaces.besideScratch : keySpaces.scratch
    return new NamespaceKeys(this.#prefix.subarray(1), space)
  }

  /** Every key of a table. */
  all(name: TableName): { gte: Uint8Array; lt: Uint8Array } {
    return range(this.key(name))
  }

  /** Every key of the namespace. */
  everything(): { gte: Uint8Array; lt: Uint8Array } {
    return range(this.#prefix)
  }

  key(name: TableName, ...parts: readonly Uint8Array[]): Uint8Array {
    let length = this.#prefix.length + 1
    for (const part of parts) length += part.length
    const key = new Uint8Array(length)
    key.set(this.#prefix)
    let at = this.#prefix.length
    key[at++] = tables[name]
    for (const part of parts) {
      key.set(part, at)
      at += part.length
    }
    return key
  }

  /** What stands behind the table in a key. */
  rest(key: Uint8Array): Uint8Array {
    return key.subarray(this.#prefix.length + 1)
  }

  /** The row of an entry. */
  entry(chain: Uint8Array, seq: number, hash: Uint8Array): Uint8Array {
    return this.key('entries', placeOf(chain, seq), hash)
  }
}

/** What the blocks of a log are called in the pack store: `ns_…`, of one that lies beside another `ns_…-beside`. */
export function folderOf(namespace: Uint8Array, isBeside: boolean): string {
  return `${formatNamespaceId(namespace)}${isBeside ? '-beside' : ''}`
}

/** Where an entry stands in the log: chain (16) ‖ seq (8, big-endian). */
export function placeOf(chain: Uint8Array, seq: number): Uint8Array {
  return concatBytes(chain, orderedUint64(seq))
}

/** The 16 bytes that name a chain: its author, grant and incarnation, hashed. Nobody else's entry has a place in it. */
export function chainIdOf(author: Uint8Array, grant: Uint8Array, incarnation: Uint8Array): Uint8Array {
  return sha256(author, grant, incarnation).slice(0, 16)
}

function range(prefix: Uint8Array): { gte: Uint8Array; lt: Uint8Array } {
  return { gte: prefix, lt: prefixEnd(prefix) as Uint8Array }
}
