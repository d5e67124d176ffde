import { ArtifactHubError } from '../errors.ts'
import type { KeyRange } from '../storage/index.ts'
import { decodeCursor, encodeCursor } from './cursor.ts'
import { entryOf, genOf, type Keyspace, keyText, type Place, tables } from './keys.ts'
import type { PutOperation } from './operation.ts'
import type { Reader } from './overlay.ts'
import { type Page, type PageOptions, pageLimit } from './page.ts'
import { type CheckedQuery, checkQuery, type ListQuery, matchesQuery, positionOf } from './query.ts'
import { type ArtifactHead, decodeCounts, decodeHead } from './rows.ts'
import { conditionSources, createdPositionBytes, orderSource, type Source } from './sources.ts'
import { livePlaces, readPut, recordOf, type VersionRecord } from './versions.ts'

export type { ListOrder, ListQuery } from './query.ts'

/** An artifact that belongs on the page. */
interface Match {
  readonly artifact: Uint8Array
  readonly position: Uint8Array
  readonly head: ArtifactHead
  readonly current: Place
  readonly op: PutOperation
}

/** A row of an index: which artifact, and where it stands in the list's order when the row says so. */
interface Row {
  readonly artifact: Uint8Array
  readonly position: Uint8Array | undefined
}

/** Artifacts read at a time. */
const readBatch = 128

/**
 * One page of a list.
 *
 * The plan: the index of the order is walked, and each record is checked, until the page is full; unless a
 * condition has so few rows that reading all of those is less work. That is found out by reading the sources in
 * step, up to as many rows as the walk is expected to read. In creation order the rows of one value can be
 * walked instead of the whole index, for they stand in that order.
 *
 * @throws INVALID_ARGUMENT for a bad query, limit or cursor
 */
export async function listPage(
  reader: Reader,
  keys: Keyspace,
  options: ListQuery & PageOptions,
): Promise<Page<VersionRecord>> {
  const limit = pageLimit(options.limit)
  const query = checkQuery(options)
  const after = options.cursor === undefined ? undefined : decodeCursor(query.hash, options.cursor)
  if (after !== undefined && after.length < createdPositionBytes) {
    throw new ArtifactHubError('INVALID_ARGUMENT', 'the cursor is not one that a list gave')
  }
  const lister = new Lister(reader, keys, query, options.signal ?? undefined)
  const matches = await lister.find(after, limit + 1)
  const shown = matches.slice(0, limit)
  const items: VersionRecord[] = []
  for (const { artifact, head, current, op } of shown) {
    const peers = head.siblings === 0 ? [current] : await livePlaces(reader, keys, artifact, genOf(current))
    items.push(recordOf(artifact, head, current, peers, op))
  }
  const last = shown.at(-1)
  if (matches.length <= limit || last === undefined) return { items }
  return { items, nextCursor: encodeCursor(query.hash, last.position) }
}

class Lister {
  readonly #reader: Reader
  readonly #keys: Keyspace
  readonly #query: CheckedQuery
  readonly #signal: AbortSignal | undefined

  constructor(reader: Reader, keys: Keyspace, query: CheckedQuery, signal: AbortSignal | undefined) {
    this.#reader = reader
    this.#keys = keys
    this.#query = query
    this.#signal = signal
  }

  /** The first `wanted` matches after a position, in the list's order. */
  async find(after: Uint8Array | undefined, wanted: number): Promise<Match[]> {
    const walk = orderSource(this.#keys, this.#query, after)
    const sources = conditionSources(this.#keys, this.#query, after)
    const [only] = sources
    if (only === undefined) return this.#walk(walk, wanted)
    if (sources.length === 1 && only.ordered) return this.#walk(only, wanted)
    const probe = await this.#probe(sources, await this.#probeRows(wanted))
    return probe.complete === undefined
      ? this.#walk(probe.sparsest ?? walk, wanted)
      : this.#pick(probe.complete, after, wanted)
  }

  /**
   * How many rows of a source are worth reading before the walk is. With n rows of N artifacts, reading all of a
   * source is n records and the walk about wanted × N / n: equal at the root of wanted × N.
   */
  async #probeRows(wanted: number): Promise<number> {
    const row = await this.#reader.get(this.#keys.key(tables.counts))
    const { artifacts } = row === undefined ? { artifacts: 0 } : decodeCounts(row)
    return Math.ceil(Math.min(Math.max(256, Math.sqrt(wanted * artifacts)), 16_384))
  }

  /**
   * Reads the sources in step until one has no more rows (`complete`: all of them) or each has given `most`.
   * `sparsest` is then the ordered source whose rows reached furthest.
   */
  async #probe(sources: readonly Source[], most: number): Promise<{ complete?: Row[]; sparsest?: Source }> {
    const open = sources.map((source) => ({ source, rows: [] as Row[], iterator: this.#rows(source) }))
    try {
      for (let read = 0; read < most; read += readBatch) {
        for (const { rows, iterator } of open) {
          for (let i = 0; i < readBatch; i++) {
            const { value, done } = await iterator.next()
            if (done) return { complete: rows }
            rows.push(value)
          }
        }
      }
    } finally {
      for (const { iterator } of open) await iterator.return(undefined)
    }
    const reach = open.filter(({ source }) => source.ordered)
    reach.sort((a, b) => this.#compare(reachOf(b.rows), reachOf(a.rows)))
    return { sparsest: reach[0]?.source }
  }

  /** Walks an ordered source until enough matches are found. */
  async #walk(source: Source, wanted: number): Promise<Match[]> {
    const matches: Match[] = []
    let rows: Row[] = []
    let enough = Math.min(readBatch, wanted)
    for await (const row of this.#rows(source)) {
      rows.push(row)
      if (rows.length < enough) continue
      matches.push(...(await this.#read(rows)))
      rows = []
      enough = readBatch
      if (matches.length >= wanted) break
    }
    matches.push(...(await this.#read(rows)))
    return matches.slice(0, wanted)
  }

  /** The first matches among all rows of a source. */
  async #pick(found: readonly Row[], after: Uint8Array | undefined, wanted: number): Promise<Match[]> {
    const rows = [...new Map(found.map((row) => [keyText(row.artifact), row])).values()]
    const isOpen = (position: Uint8Array) => after === undefined || this.#compare(position, after) > 0
    let matches: Match[] = []
    const inOrder = rows.every(({ position }) => position !== undefined)
    if (inOrder) rows.sort((a, b) => this.#compare(a.position as Uint8Array, b.position as Uint8Array))
    const open = inOrder ? rows.filter(({ position }) => isOpen(position as Uint8Array)) : rows
    for (let at = 0; at < open.length; at += readBatch) {
      for (const match of await this.#read(open.slice(at, at + readBatch))) {
        if (isOpen(match.position)) matches.push(match)
      }
      matches = matches.sort((a, b) => this.#compare(a.position, b.position)).slice(0, wanted)
      if (inOrder && matches.length === wanted) break
    }
    return matches
  }

  /** Reads the current versions of these artifacts and keeps those that match. */
  async #read(rows: readonly Row[]): Promise<Match[]> {
    this.#signal?.throwIfAborted()
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

  async *#rows(source: Source): AsyncGenerator<Row, undefined, undefined> {
    for (const range of source.ranges) {
      for await (const [key] of this.#entries(range)) {
        yield { artifact: this.#keys.artifactAtEnd(key), position: source.positionIn?.(key) }
      }
    }
  }

  #entries(range: KeyRange) {
    return this.#reader.entries(range, this.#signal && { signal: this.#signal })
  }

  /** Compares two positions in the list's direction. */
  #compare(a: Uint8Array, b: Uint8Array): number {
    const step = Buffer.compare(a, b)
    return this.#query.descending ? -step : step
  }
}

function reachOf(rows: readonly Row[]): Uint8Array {
  return rows.at(-1)?.position ?? new Uint8Array()
}
