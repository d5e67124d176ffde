import { concatBytes, orderedUint64, prefixEnd, sha256 } from '../encoding/index.ts'

/** First byte of every key in the database: who owns the rest. The pack store's index is one of them. */
export const keySpaces = { node: 0x01, namespace: 0x02, packIndex: 0x03, scratch: 0x04 } as const

/** Second half of a namespace's prefix: one byte a table. Layouts are in this folder's README. */
const tables = {
  /** chain (16) ‖ seq (8) → entry */
  entries: 0x65,
  /** entry hash (32) → chain (16) ‖ seq (8) */
  places: 0x68,
  /** chain (16) → grant, incarnation, seq, hash, clock of its newest entry */
  chains: 0x63,
  /** artifact (20) ‖ key id (16) → wraps of that artifact key */
  artifactKeys: 0x6b,
  /** digest of an inline leaf (32) ‖ entry hash (32) → nothing: several entries may carry one leaf */
  inlineLeaves: 0x6c,
  /** artifact (20) ‖ digest (32) → how many live versions (of a root), or live roots (of a leaf), hold it */
  references: 0x72,
  /** → what the namespace holds */
  totals: 0x75,
  /** key id of an epoch's secret (16) → chain (16) ‖ seq (8) of the rotate that brought it */
  epochs: 0x6f,
  /** upload (32) → what an unfinished upload needs to find its blocks again */
  uploads: 0x70,
  /** artifact (20) ‖ key id (16) ‖ row (4) → nonces and digests of the leaves of its newest big version, sealed */
  leafRows: 0x6d,
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
  'chains',
  'epochs',
  'artifactKeys',
  'inlineLeaves',
  'references',
  'totals',
  'catalog',
] as const

/** The keys of one namespace. */
export class NamespaceKeys {
  readonly #prefix: Uint8Array

  /** @param space another than the default for what is derived a second time, to be compared */
  constructor(namespace: Uint8Array, space: number = keySpaces.namespace) {
    this.#prefix = concatBytes(Uint8Array.of(space), namespace)
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
    return concatBytes(this.#prefix, Uint8Array.of(tables[name]), ...parts)
  }

  entry(chain: Uint8Array, seq: number): Uint8Array {
    return this.key('entries', placeOf(chain, seq))
  }
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
