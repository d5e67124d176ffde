import type { KeyValueChange, KeyValueStore } from '../storage/index.ts'
import { CatalogBatch } from './batch.ts'
import { listVersionPage } from './history-pages.ts'
import { clockOf, entryBytes, entryOf, genOf, Keyspace, placeOf, tables, within } from './keys.ts'
import { type CatalogPlace, type ListedAcross, type ListQuery, listAcross, listPage } from './list.ts'
import type { ClockReading, ContentRoot } from './operation.ts'
import { orderedText } from './ordered.ts'
import type { Page, PageOptions } from './page.ts'
import { type CatalogCounts, decodeCounts, decodeEnded, decodeLive } from './rows.ts'
import { readVersion, type VersionRecord, type VersionRef } from './versions.ts'

/** A version and where its content is. */
export interface VersionRoot {
  readonly artifact: Uint8Array
  readonly entry: Uint8Array
  readonly number: number
  readonly clock: ClockReading
  readonly root: ContentRoot
}

/** A version that a delete or a drop ended. */
export interface EndedVersion extends VersionRoot {
  /** Wall time of the earliest delete or drop that covers it, milliseconds since 1970, as its author's clock said. */
  readonly endedMs: number
}

/** A version that cannot be read here. */
export interface HiddenVersion {
  readonly artifact: Uint8Array
  readonly entry: Uint8Array
}

interface ScanOptions {
  readonly signal?: AbortSignal | undefined
}

/**
 * What the counted data entries of one namespace say, kept in a key-value store under one prefix: versions,
 * records and indexes. The bytes in the store are a function of the set of operations alone, so a catalog can be
 * thrown away and built again from the log.
 */
export class Catalog {
  readonly #store: KeyValueStore
  readonly #keys: Keyspace

  constructor(options: { store: KeyValueStore; prefix: Uint8Array }) {
    this.#store = options.store
    this.#keys = new Keyspace(options.prefix)
  }

  /** Begins changes over what is stored now; only one batch may be open at a time. */
  begin(): CatalogBatch {
    return new CatalogBatch(this.#store, this.#keys)
  }

  /**
   * One version, the current one when `ref` is absent. `undefined` when there is none.
   *
   * @throws INVALID_ARGUMENT when `ref` is neither a positive integer nor has the form of a version id, or is a
   *   beginning that two versions share
   */
  get(artifact: Uint8Array, ref?: VersionRef): Promise<VersionRecord | undefined> {
    return readVersion(this.#store, this.#keys, artifact, ref)
  }

  /** Of the artifacts whose current version has this name, the most recently updated: its id. */
  async findByName(name: string): Promise<Uint8Array | undefined> {
    const prefix = this.#keys.key(tables.byName, orderedText(name))
    const range = { ...within(prefix), reverse: true, limit: 1 }
    for await (const [key] of this.#store.entries(range)) return this.#keys.artifactAtEnd(key)
    return undefined
  }

  /** Live versions of an artifact, newest first. @throws INVALID_ARGUMENT for a bad limit or cursor */
  listVersions(artifact: Uint8Array, options: PageOptions = {}): Promise<Page<VersionRecord>> {
    return listVersionPage(this.#store, this.#keys, artifact, options)
  }

  /**
   * Current versions of artifacts that satisfy a query, in its order. While others write, no item is shown twice
   * or left out over the pages of one list unless it changed itself.
   *
   * @throws INVALID_ARGUMENT for a bad query, limit or cursor
   */
  list(query: ListQuery & PageOptions = {}): Promise<Page<VersionRecord>> {
    return listPage(this.#store, this.#keys, query)
  }

  /**
   * As `list`, over several catalogs as if they were one, and of each only the artifacts that `only` takes, if it is there; all of these are `among` some,
   * if that is.
   *
   * @throws as `list`
   */
  static listAcross(
    places: readonly (Pick<CatalogPlace, 'only' | 'among'> & { readonly catalog: Catalog })[],
    query: ListQuery & PageOptions = {},
  ): Promise<Page<ListedAcross>> {
    const open = places.map(({ catalog, ...which }) => ({ reader: catalog.#store, keys: catalog.#keys, ...which }))
    return listAcross(open, query)
  }

  /** Figures of what is live. */
  async counts(): Promise<CatalogCounts> {
    const row = await this.#store.get(this.#keys.key(tables.counts))
    return row === undefined ? { artifacts: 0, versions: 0 } : decodeCounts(row)
  }

  /** Every live version of one artifact or, without one, of all, with its root: what gc must keep. */
  async *liveRoots(artifact?: Uint8Array, options: ScanOptions = {}): AsyncIterable<VersionRoot> {
    for await (const [key, value] of this.#rows(tables.live, artifact, options)) {
      yield { ...this.#versionAt(key), root: decodeLive(value).root }
    }
  }

  /** Every version of one artifact or of all that a delete or a drop ended. */
  async *endedVersions(artifact?: Uint8Array, options: ScanOptions = {}): AsyncIterable<EndedVersion> {
    for await (const [key, value] of this.#rows(tables.ended, artifact, options)) {
      const { root, deletedMs, droppedMs } = decodeEnded(value)
      const endedMs = Math.min(deletedMs ?? Number.POSITIVE_INFINITY, droppedMs ?? Number.POSITIVE_INFINITY)
      yield { ...this.#versionAt(key), root, endedMs }
    }
  }

  /** The root of a version by its place; `undefined` when it is not live. */
  async liveRoot(
    artifact: Uint8Array,
    version: { gen: number; clock: ClockReading; entry: Uint8Array },
  ): Promise<ContentRoot | undefined> {
    const row = await this.#store.get(this.#keys.key(tables.live, artifact, placeOf(version)))
    return row && decodeLive(row).root
  }

  /** Whether a version, by its place, has ended. */
  async hasEnded(
    artifact: Uint8Array,
    version: { gen: number; clock: ClockReading; entry: Uint8Array },
  ): Promise<boolean> {
    return (await this.#store.get(this.#keys.key(tables.ended, artifact, placeOf(version)))) !== undefined
  }

  /** Versions, and puts that wait to be versions, whose state is not known here, after one of them if it is named. */
  async *hidden(after?: HiddenVersion, { signal }: ScanOptions = {}): AsyncIterable<HiddenVersion> {
    const all = within(this.#keys.key(tables.hidden))
    const range =
      after === undefined ? all : { gt: this.#keys.key(tables.hidden, after.artifact, after.entry), lt: all.lt }
    for await (const [key] of this.#store.entries(range, signal && { signal })) {
      yield { artifact: this.#keys.artifact(key), entry: key.subarray(key.length - entryBytes) }
    }
  }

  /** Hashes of all counted entries of an artifact. */
  async *entriesOf(artifact: Uint8Array, { signal }: ScanOptions = {}): AsyncIterable<Uint8Array> {
    const range = within(this.#keys.key(tables.operation, artifact))
    for await (const [key] of this.#store.entries(range, signal && { signal })) {
      yield key.subarray(key.length - entryBytes)
    }
  }

  /** Of entries of artifacts, whether each was taken in. */
  async holds(entries: readonly { readonly artifact: Uint8Array; readonly entry: Uint8Array }[]): Promise<boolean[]> {
    const rows = entries.map(({ artifact, entry }) => this.#keys.key(tables.operation, artifact, entry))
    return (await this.#store.getMany(rows)).map((row) => row !== undefined)
  }

  /** Changes that remove everything of this catalog, at most `limit` of them; none when it is empty. */
  async clearChanges(limit = 10_000): Promise<KeyValueChange[]> {
    const changes: KeyValueChange[] = []
    const range = { ...within(this.#keys.prefix), limit }
    for await (const [key] of this.#store.entries(range)) changes.push({ type: 'del', key })
    return changes
  }

  #rows(table: number, artifact: Uint8Array | undefined, { signal }: ScanOptions) {
    const prefix = artifact === undefined ? this.#keys.key(table) : this.#keys.key(table, artifact)
    return this.#store.entries(within(prefix), signal && { signal })
  }

  #versionAt(key: Uint8Array): Omit<VersionRoot, 'root'> {
    const place = this.#keys.place(key)
    return {
      artifact: this.#keys.artifact(key),
      entry: entryOf(place),
      number: genOf(place),
      clock: clockOf(place),
    }
  }
}
