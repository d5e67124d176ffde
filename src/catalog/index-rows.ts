import { bytesText, sha256 } from '../encoding/index.ts'
import { maxIndexedPathBytes, maxIndexedTextBytes } from '../limits.ts'
import { clockOf, type Keyspace, tables } from './keys.ts'
import { canonicalJson, type Metadata, type MetadataValue } from './metadata.ts'
import type { ArtifactState, ClockReading } from './operation.ts'
import { orderedClockBytes, orderedNumber, orderedText, writeClock } from './ordered.ts'
import type { ArtifactHead } from './rows.ts'

/** First byte of an indexed value: values of one type stand together, so a range never leaves its type. */
const valueTags = { null: 1, false: 2, true: 3, number: 4, text: 5, list: 6, object: 7 } as const

/**
 * What one artifact puts in the indexes: the keys, whose values are empty, by their `bytesText`. Nothing when no
 * version is live.
 */
export function indexRows(
  keys: Keyspace,
  artifact: Uint8Array,
  head: ArtifactHead,
  state: ArtifactState,
): Map<string, Uint8Array> {
  const rows = new Map<string, Uint8Array>()
  if (head.current === undefined || head.first === undefined) return rows
  const add = (row: Uint8Array) => rows.set(bytesText(row), row)
  const created = Buffer.concat([orderedClock(head.first.clock), artifact])
  const updated = Buffer.concat([orderedClock(clockOf(head.current)), artifact])
  add(keys.key(tables.byCreated, created))
  add(keys.key(tables.byUpdated, updated))
  add(keys.key(tables.byName, orderedText(state.name), updated))
  add(keys.key(tables.byContentType, orderedText(state.contentType), created))
  // A list may hold a value twice, and long texts may be equal as far as they are indexed: one row each.
  for (const { path, value } of leaves(state.metadata as Metadata)) {
    add(keys.key(tables.byMetadata, indexedPath(path), indexedValue(value), created))
  }
  return rows
}

/**
 * Every value of the metadata with its path: member names joined by dots, so that a literal key with a dot in it
 * and the nested one are the same path. The items of a list have the list's own path; lists and objects are
 * values themselves too.
 */
function* leaves(metadata: Metadata): Generator<{ path: string; value: MetadataValue }> {
  for (const key of Object.keys(metadata)) yield* leavesOf(key, metadata[key] as MetadataValue)
}

function* leavesOf(path: string, value: MetadataValue): Generator<{ path: string; value: MetadataValue }> {
  yield { path, value }
  if (typeof value !== 'object' || value === null) return
  if (Array.isArray(value)) {
    for (const item of value as readonly MetadataValue[]) yield* leavesOf(path, item)
    return
  }
  const object = value as Metadata
  for (const key of Object.keys(object)) yield* leavesOf(`${path}.${key}`, object[key] as MetadataValue)
}

/** A path in a key: 01 and the text, or, above `maxIndexedPathBytes`, 02 and 16 bytes of its SHA-256. */
export function indexedPath(path: string): Uint8Array {
  const utf8 = Buffer.from(path, 'utf8')
  if (utf8.length > maxIndexedPathBytes) return tagged(2, sha256(utf8).subarray(0, 16))
  return tagged(1, orderedText(path))
}

/** A value in a key: its tag, then a number as an ordered double, a text cut at `maxIndexedTextBytes`, or a list or object as the text of its JSON, cut too. */
export function indexedValue(value: MetadataValue): Uint8Array {
  switch (typeof value) {
    case 'number':
      return tagged(valueTags.number, orderedNumber(value))
    case 'string':
      return tagged(valueTags.text, orderedText(value, maxIndexedTextBytes))
    case 'boolean':
      return Buffer.from([value ? valueTags.true : valueTags.false])
    default: {
      if (value === null) return Buffer.from([valueTags.null])
      const tag = Array.isArray(value) ? valueTags.list : valueTags.object
      return tagged(tag, orderedText(canonicalJson(value, { what: 'metadata' }), maxIndexedTextBytes))
    }
  }
}

/** What all indexed numbers, or all indexed texts, begin with. */
export function indexedType(type: 'number' | 'string'): Uint8Array {
  return Buffer.from([type === 'number' ? valueTags.number : valueTags.text])
}

/** A clock as it stands in keys. */
export function orderedClock(clock: ClockReading): Uint8Array {
  const bytes = Buffer.allocUnsafe(orderedClockBytes)
  writeClock(bytes, 0, clock)
  return bytes
}

function tagged(tag: number, rest: Uint8Array): Uint8Array {
  const bytes = Buffer.allocUnsafe(rest.length + 1)
  bytes[0] = tag
  bytes.set(rest, 1)
  return bytes
}
