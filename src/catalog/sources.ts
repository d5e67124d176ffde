import { artifactIdBytes, concatBytes } from '../encoding/index.ts'
import { maxIndexedTextBytes } from '../limits.ts'
import type { KeyRange } from '../storage/index.ts'
import type { Condition } from './filter.ts'
import { indexedPath, indexedType, indexedValue } from './index-rows.ts'
import { type Keyspace, tables, within } from './keys.ts'
import { clockBound, orderedClockBytes, orderedNumber, orderedText, orderedTextStart } from './ordered.ts'
import { type CheckedQuery, orderTables } from './query.ts'

/** Bytes at the end of a key of an index: a clock and the artifact. */
export const createdPositionBytes = orderedClockBytes + artifactIdBytes

/** Ranges of index rows that between them name every artifact that a part of the query can hold for. */
export interface Source {
  readonly ranges: readonly KeyRange[]
  /** Whether its rows come in the order of the list, each artifact once, and begin after the cursor. */
  readonly ordered: boolean
  /** Takes the position in the list's order out of a key, where the rows hold it. */
  readonly positionIn?: (key: Uint8Array) => Uint8Array
}

/** The index of the order itself, after the cursor: every list can be answered by walking it. */
export function orderSource(keys: Keyspace, query: CheckedQuery, after: Uint8Array | undefined): Source {
  const table = orderTables[query.by]
  const start = keys.key(table)
  let low: Uint8Array = start
  let high = within(start).lt
  if (query.by === 'createdAt') [low, high] = createdBounds(start, query)
  if (query.by === 'name' && query.namePrefix !== undefined) {
    low = keys.key(table, orderedTextStart(query.namePrefix))
    high = within(low).lt
  }
  const range = directed(query, low, high, after && concatBytes(start, after))
  return { ranges: [range], ordered: true, positionIn: (key) => keys.rest(key) }
}

/** What else could answer the list: one source for each part of the query that an index serves. */
export function conditionSources(keys: Keyspace, query: CheckedQuery, after: Uint8Array | undefined): Source[] {
  const sources: Source[] = []
  const inCreationOrder = query.by === 'createdAt'
  const positionIn = inCreationOrder ? (key: Uint8Array) => key.subarray(-createdPositionBytes) : undefined
  /** Rows of one exact value: within it they stand in creation order. */
  const exact = (prefix: Uint8Array): KeyRange => {
    const [low, high] = createdBounds(prefix, query)
    return inCreationOrder ? directed(query, low, high, after && concatBytes(prefix, after)) : { gte: low, lt: high }
  }
  if (query.contentType !== undefined) {
    const prefix = keys.key(tables.byContentType, orderedText(query.contentType))
    sources.push({ ranges: [exact(prefix)], ordered: inCreationOrder, positionIn })
  }
  if (query.namePrefix !== undefined && query.by !== 'name') {
    const prefix = keys.key(tables.byName, orderedTextStart(query.namePrefix))
    sources.push({ ranges: [within(prefix)], ordered: false })
  }
  if ((query.createdFromMs ?? query.createdToMs) !== undefined && !inCreationOrder) {
    const [gte, lt] = createdBounds(keys.key(tables.byCreated), query)
    sources.push({ ranges: [{ gte, lt }], ordered: false, positionIn })
  }
  for (const condition of query.conditions) {
    const base = keys.key(tables.byMetadata, indexedPath(condition.path))
    if (condition.among !== undefined) {
      const ranges = [...condition.among.values()].map((value) => exact(concatBytes(base, indexedValue(value))))
      sources.push({ ranges, ordered: inCreationOrder && ranges.length === 1, positionIn })
    } else if (condition.exists !== false) {
      sources.push({ ranges: [valueRange(base, condition)], ordered: false, positionIn })
    }
  }
  return sources
}

/** The values between the ends of a condition, or at a path at all. A superset: texts are cut in keys. */
function valueRange(base: Uint8Array, { lower, upper, prefix }: Condition): KeyRange {
  const type = typeof (lower?.value ?? upper?.value ?? prefix)
  if (type !== 'number' && type !== 'string') return within(base)
  const ofType = concatBytes(base, indexedType(type))
  let { gte, lt }: KeyRange = within(ofType)
  if (lower !== undefined) gte = concatBytes(ofType, orderedEnd(lower.value))
  // Both ends inclusive here: rows equal to an excluded end are few, and cut texts need the record anyway.
  if (upper !== undefined) lt = within(concatBytes(ofType, orderedEnd(upper.value))).lt
  if (prefix !== undefined) {
    const start = within(concatBytes(ofType, orderedTextStart(prefix, maxIndexedTextBytes)))
    if (gte === undefined || Buffer.compare(start.gte as Uint8Array, gte) > 0) gte = start.gte
    if (lt === undefined || (start.lt !== undefined && Buffer.compare(start.lt, lt) < 0)) lt = start.lt
  }
  return { gte, lt }
}

function orderedEnd(value: number | string): Uint8Array {
  return typeof value === 'number' ? orderedNumber(value) : orderedText(value, maxIndexedTextBytes)
}

function createdBounds(prefix: Uint8Array, query: CheckedQuery): [Uint8Array, Uint8Array | undefined] {
  const { createdFromMs, createdToMs } = query
  const low = createdFromMs === undefined ? prefix : concatBytes(prefix, clockBound(createdFromMs))
  const high = createdToMs === undefined ? within(prefix).lt : concatBytes(prefix, clockBound(createdToMs))
  return [low, high]
}

/** A range in the list's direction that begins after the cursor. */
function directed(query: CheckedQuery, low: Uint8Array, high: Uint8Array | undefined, after?: Uint8Array): KeyRange {
  if (query.descending) {
    const isCut = after !== undefined && (high === undefined || Buffer.compare(after, high) < 0)
    return { gte: low, lt: isCut ? after : high, reverse: true }
  }
  const isCut = after !== undefined && Buffer.compare(after, low) >= 0
  return isCut ? { gt: after, lt: high } : { gte: low, lt: high }
}
