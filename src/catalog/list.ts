import { bytesText } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { decodeCursor, encodeCursor } from './cursor.ts'
import { entryOf, genOf, type Keyspace, type Place, tables } from './keys.ts'
import type { Reader } from './overlay.ts'
import { type Page, type PageOptions, pageLimit } from './page.ts'
import { type CheckedQuery, checkQuery, type ListQuery, matchesQuery, positionOf } from './query.ts'
import { type Row, RowReader } from './row-reader.ts'
import { type ArtifactHead, decodeCounts, decodeHead } from './rows.ts'
import { conditionSources, createdPositionBytes, orderSource, type Source } from './sources.ts'
import { livePlaces, readPut, recordOf, type ShownPut, type VersionRecord } from './versions.ts'

export type { ListOrder, ListQuery } from './query.ts'

/** An artifact that belongs on the page. */
interface Match {
  readonly artifact: Uint8Array
  readonly position: Uint8Array
  readonly head: ArtifactHead
  readonly current: Place
  readonly op: ShownPut
}

/** A source that is being read, with what it gave so far. */
interface OpenSource {
  readonly source: Source
  readonly reader: RowReader
  readonly rows: Row[]
}

/** How far a walk came. */
interface Walk {
  readonly reader: RowReader
  readonly matches: Match[]
}

/** Artifacts read at a time. */
const readBatch = 128
/** Rows of each source that are read before a walk is tried. */
const firstProbeRows = 256
/** Rows of each source that are read at most: they are held in memory. */
const mostProbeRows = 16_384

/**
 * One page of a list.
 *
 * The plan: a source with few rows is read whole. Otherwise the index of the order is walked, and each record is
 * checked, until the page is full; in creation order the rows of one value can be walked instead, for they stand
 * in that order. Which it is, is found out by doing: the sources are read in step for a few rows, then the walk goes
 * on for a few records, then the sources again up to as many rows as the walk is expected to read, then the walk.
 *
 * @throws INVALID_ARGUMENT for a bad query, limit or cursor
 */
export async function listPage(
  reader: Reader,
  keys: Keyspace,
  options: ListQuery & PageOptions,
): Promise<Page<VersionRecord>> {
  const { items, nextCursor } = await listAcross([{ reader, keys }], options)
  const records = items.map(({ record }) => record)
  return nextCursor === undefined ? { items: records } : { items: records, nextCursor }
}

/** Where a catalog is kept. */
export interface CatalogPlace {
  readonly reader: Reader
  readonly keys: Keyspace
  /** Whether an artifact (20 bytes) is looked at at all. Absent: every one. */
  readonly only?: ((artifact: Uint8Array) => boolean) | undefined
  /** Artifacts of which all that `only` takes are: when they are few, these are looked at, and no index. */
  readonly among?: { readonly artifacts: Iterable<Uint8Array>; readonly size: number } | undefined
}

/** An item of a list over several catalogs, and which of them has it. */
export interface ListedAcross {
  readonly record: VersionRecord
  /** Index among the catalogs that were given. */
  readonly catalog: number
}

/**
 * As `listPage`, over several catalogs as if they were one. A position in an order says nothing of where it is kept, so a cursor holds
 * for all of them, and for those that come later.
 */
export async function listAcross(
  places: readonly CatalogPlace[],
  options: ListQuery & PageOptions,
): Promise<Page<ListedAcross>> {
  const limit = pageLimit(options.limit)
  const query = checkQuery(options)
  const after = options.cursor === undefined ? undefined : decodeCursor(query.hash, options.cursor)
  if (after !== undefined && after.length < createdPositionBytes) {
    throw new ArtifactHubError('INVALID_ARGUMENT', 'the cursor is not one that a list gave')
  }
  let matches: (Match & { readonly catalog: number })[] = []
  for (const [catalog, place] of places.entries()) {
    const found = await new Lister(place, query, options.signal ?? undefined).find(after, limit + 1)
    if (found.length === 0) continue
    matches.push(...found.map((match) => ({ ...match, catalog })))
    if (matches.length === found.length) continue
    matches = matches.sort((a, b) => comparePositions(query, a.position, b.position)).slice(0, limit + 1)
  }
  const items: ListedAcross[] = []
  for (const { artifact, head, current, op, catalog } of matches.slice(0, limit)) {
    const { reader, keys } = places[catalog] as CatalogPlace
    const peers = head.siblings === 0 ? [current] : await livePlaces(reader, keys, artifact, genOf(current))
    items.push({ record: recordOf(artifact, head, current, peers, op), catalog })
  }
  const last = matches[items.length - 1]
  if (matches.length <= limit || last === undefined) return { items }
  return { items, nextCursor: encodeCursor(query.hash, last.position) }
}

/** Compares two positions in a list's direction. */
function comparePositions(query: CheckedQuery, a: Uint8Array, b: Uint8Array): number {
  const step = Buffer.compare(a, b)
  return query.descending ? -step : step
}

class Lister {
  readonly #reader: Reader
  readonly #keys: Keyspace
  readonly #only: CatalogPlace['only']
  readonly #among: CatalogPlace['among']
  readonly #query: CheckedQuery
  readonly #signal: AbortSignal | undefined

  constructor({ reader, keys, only, among }: CatalogPlace, query: CheckedQuery, signal: AbortSignal | undefined) {
    this.#reader = reader
    this.#keys = keys
    this.#only = only
    this.#among = among
    this.#query = query
    this.#signal = signal
  }

  /** The first `wanted` matches after a position, in the list's order. */
  async find(after: Uint8Array | undefined, wanted: number): Promise<Match[]> {
    if (this.#among !== undefined && this.#among.size <= (await this.#lastProbeRows(wanted))) {
      const rows = [...this.#among.artifacts].map((artifact) => ({ artifact, position: undefined }))
      return await this.#pick(rows, after, wanted)
    }
    await using stack = new AsyncDisposableStack()
    const open = (source: Source): OpenSource => {
      const reader = new RowReader(source, this.#reader, this.#keys, this.#signal)
      stack.defer(() => reader.close())
      return { source, reader, rows: [] }
    }
    const begin = (source: Source): Walk => ({ reader: open(source).reader, matches: [] })
    const whole = orderSource(this.#keys, this.#query, after)
    const sources = conditionSources(this.#keys, this.#query, after)
    const [only] = sources
    if (only === undefined || (sources.length === 1 && only.ordered)) {
      return await this.#walk(begin(only ?? whole), wanted, Number.POSITIVE_INFINITY)
    }
    const probes = sources.map(open)
    let complete = await this.#probe(probes, firstProbeRows)
    if (complete !== undefined) return await this.#pick(complete, after, wanted)
    const walk = begin(this.#sparsest(probes) ?? whole)
    if ((await this.#walk(walk, wanted, Math.max(2 * wanted, firstProbeRows))).length === wanted) return walk.matches
    complete = await this.#probe(probes, await this.#lastProbeRows(wanted))
    if (complete !== undefined) return await this.#pick(complete, after, wanted)
    return await this.#walk(walk, wanted, Number.POSITIVE_INFINITY)
  }

  /**
   * How many rows of a source are worth reading before the walk is. With n rows of N artifacts, reading all of a
   * source is n records and the walk about wanted × N / n: equal at the root of wanted × N.
   */
  async #lastProbeRows(wanted: number): Promise<number> {
    const row = await this.#reader.get(this.#keys.key(tables.counts))
    const { artifacts } = row === undefined ? { artifacts: 0 } : decodeCounts(row)
    return Math.min(Math.sqrt(wanted * artifacts), mostProbeRows)
  }

  /** Reads the sources in step until one has no more rows, and gives those; `undefined` when each has given `most`. */
  async #probe(probes: readonly OpenSource[], most: number): Promise<Row[] | undefined> {
    while (probes.some(({ rows }) => rows.length < most)) {
      for (const { rows, reader } of probes) {
        for (let i = 0; i < readBatch; i++) {
          const next = await reader.next()
          if (next === undefined) return rows
          rows.push(next)
        }
      }
    }
    return undefined
  }

  /** The ordered source whose rows, as many as of any other, reach furthest. */
  #sparsest(probes: readonly OpenSource[]): Source | undefined {
    const reach = ({ rows }: OpenSource) => rows.at(-1)?.position ?? new Uint8Array()
    const ordered = probes.filter(({ source }) => source.ordered)
    return ordered.sort((a, b) => comparePositions(this.#query, reach(b), reach(a)))[0]?.source
  }

  /** Walks on in an ordered source until `wanted` matches are found or `most` more rows are read. */
  async #walk(walk: Walk, wanted: number, most: number): Promise<Match[]> {
    let rows: Row[] = []
    let enough = Math.min(readBatch, wanted)
    for (let read = 1; read <= most; read++) {
      const row = await walk.reader.next()
      if (row !== undefined) rows.push(row)
      if (row !== undefined && read < most && rows.length < enough) continue
      walk.matches.push(...(await this.#read(rows)))
      walk.matches.splice(wanted)
      if (row === undefined || walk.matches.length === wanted) break
      rows = []
      enough = readBatch
    }
    return walk.matches
  }

  /** The first matches among all rows of a source. */
  async #pick(found: readonly Row[], after: Uint8Array | undefined, wanted: number): Promise<Match[]> {
    const rows = [...new Map(found.map((row) => [bytesText(row.artifact), row])).values()]
    const isOpen = (position: Uint8Array) => after === undefined || comparePositions(this.#query, position, after) > 0
    let matches: Match[] = []
    const inOrder = rows.every(({ position }) => position !== undefined)
    if (inOrder) rows.sort((a, b) => comparePositions(this.#query, a.position as Uint8Array, b.position as Uint8Array))
    const open = inOrder ? rows.filter(({ position }) => isOpen(position as Uint8Array)) : rows
    for (let at = 0; at < open.length; at += readBatch) {
      for (const match of await this.#read(open.slice(at, at + readBatch))) {
        if (isOpen(match.position)) matches.push(match)
      }
      matches = matches.sort((a, b) => comparePositions(this.#query, a.position, b.position)).slice(0, wanted)
      if (inOrder && matches.length === wanted) break
    }
    return matches
  }

  /** Reads the current versions of these artifacts and keeps those that match. */
  async #read(all: readonly Row[]): Promise<Match[]> {
    this.#signal?.throwIfAborted()
    const only = this.#only
    const rows = only === undefined ? all : all.filter(({ artifact }) => only(artifact))
    const headRows = await this.#reader.getMany(rows.map(({ artifact }) => this.#keys.key(tables.head, artifact)))
    const live: (Row & { head: ArtifactHead; current: Place })[] = []
    for (const [at, artifactRow] of rows.entries()) {
      const row = headRows[at]
      // Since the index was read the artifact may have lost its last version.
      const head = row && decodeHead(row)
      if (head?.current !== undefined) live.push({ ...artifactRow, head, current: head.current })
    }
    const ops = await this.#reader.getMany(
      live.map(({ artifact, current }) => this.#keys.key(tables.operation, artifact, entryOf(current))),
    )
    const matches: Match[] = []
    for (const [at, { artifact, position, head, current }] of live.entries()) {
      const op = readPut(artifact, entryOf(current), ops[at])
      if (!matchesQuery(this.#query, head, op.state)) continue
      // The row's position rather than the record's, which may have moved since: the cursor must say how far the walk came.
      const place = position ?? positionOf(this.#query.by, artifact, head, op.state)
      matches.push({ artifact, head, current, op, position: place })
    }
    return matches
  }
}
