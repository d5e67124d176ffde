import { artifactIdBytes, equalBytes, prefixEnd } from '../encoding/index.ts'
import type { ClockReading } from './operation.ts'
import { asBuffer, orderedClockBytes, readClock, writeClock } from './ordered.ts'

/** The byte after the catalog's prefix: which table a key is of. README.md has the layouts. */
export const tables = {
  counts: 0x00,
  operation: 0x01,
  head: 0x02,
  live: 0x03,
  ended: 0x04,
  waiting: 0x05,
  hidden: 0x06,
  byCreated: 0x10,
  byUpdated: 0x11,
  byName: 0x12,
  byContentType: 0x13,
  byMetadata: 0x14,
} as const

/** Bytes of an entry hash. */
export const entryBytes = 32
/** Bytes of a place: gen (4), clock (10), entry hash (32). */
export const placeBytes = 4 + orderedClockBytes + entryBytes

/**
 * Where a version stands among its artifact's: gen, clock and entry hash in one byte string whose bytewise
 * order is the order of versions.
 */
export type Place = Uint8Array

/** The place of a version. @throws INVALID_ARGUMENT when gen or clock do not fit */
export function placeOf(version: { gen: number; clock: ClockReading; entry: Uint8Array }): Place {
  const place = Buffer.allocUnsafe(placeBytes)
  place.writeUInt32BE(version.gen, 0)
  writeClock(place, 4, version.clock)
  place.set(version.entry, 4 + orderedClockBytes)
  return place
}

/** The gen in a place. */
export function genOf(place: Place): number {
  return asBuffer(place).readUInt32BE(0)
}

/** The clock in a place. */
export function clockOf(place: Place): ClockReading {
  return readClock(place, 4)
}

/** The entry hash in a place. */
export function entryOf(place: Place): Uint8Array {
  // Never a Buffer: it leaves the catalog in records.
  return new Uint8Array(place.buffer, place.byteOffset + 4 + orderedClockBytes, entryBytes)
}

/** Builds and takes apart the keys of one catalog. */
export class Keyspace {
  readonly prefix: Uint8Array

  constructor(prefix: Uint8Array) {
    this.prefix = prefix
  }

  /** Every key of a table that begins with these parts. */
  key(table: number, ...parts: readonly Uint8Array[]): Uint8Array {
    let length = this.prefix.length + 1
    for (const part of parts) length += part.length
    const key = Buffer.allocUnsafe(length)
    key.set(this.prefix, 0)
    let at = this.prefix.length
    key[at++] = table
    for (const part of parts) {
      key.set(part, at)
      at += part.length
    }
    return key
  }

  /** What follows the prefix and the table byte. */
  rest(key: Uint8Array): Uint8Array {
    return key.subarray(this.prefix.length + 1)
  }

  /** The place at the end of a key of `live` or `ended`. */
  place(key: Uint8Array): Place {
    return key.subarray(key.length - placeBytes)
  }

  /** The artifact at the front of a key of the tables below 10. */
  artifact(key: Uint8Array): Uint8Array {
    return this.rest(key).subarray(0, artifactIdBytes)
  }

  /** The artifact at the end of a key of an index. */
  artifactAtEnd(key: Uint8Array): Uint8Array {
    return key.subarray(key.length - artifactIdBytes)
  }

  /**
   * What a batch often scans among its own changes: the live rows of one artifact, or the waiting rows of one target.
   * `undefined` for a key (or the edge of a range) that is in neither.
   */
  scanGroup(key: Uint8Array): Uint8Array | undefined {
    const table = key[this.prefix.length]
    if (table !== tables.live && table !== tables.waiting) return undefined
    const end = this.prefix.length + 1 + artifactIdBytes + (table === tables.waiting ? entryBytes : 0)
    return key.length < end ? undefined : key.subarray(0, end)
  }
}

/** Whether `list` holds these bytes. */
export function includesBytes(list: readonly Uint8Array[], bytes: Uint8Array): boolean {
  return list.some((one) => equalBytes(one, bytes))
}

/** The range of all keys that begin with `prefix`. */
export function within(prefix: Uint8Array): { gte: Uint8Array; lt: Uint8Array | undefined } {
  // A copy, for `slice` of a Buffer shares its memory.
  return { gte: prefix, lt: prefixEnd(Uint8Array.from(prefix)) }
}
