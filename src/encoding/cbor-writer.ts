import { ArtifactHubError } from '../errors.ts'

/** Grown when a value does not fit, and kept: encoding runs to its end before anything else runs. */
let target = Buffer.allocUnsafeSlow(80 * 1024)
/** The same memory: a Buffer's own `slice` would not copy. */
let memory = new Uint8Array(target.buffer)
let at = 0

/** Kept for the next value when it is no larger. */
const maxKeptBytes = 1024 * 1024

const majorUint = 0x00
const majorNegative = 0x20
const majorBytes = 0x40
const majorText = 0x60
const majorList = 0x80
const majorMap = 0xa0

/** Shorter texts of ASCII are written unit by unit, which takes less time than one call out of JavaScript. */
const shortText = 24
/** So few bytes are copied one by one sooner than by a call of `set`. */
const fewBytes = 32
/** So many are sorted by insertion, which is faster than a call of `sort`, but quadratic. */
const fewKeys = 16

/**
 * Canonical DAG-CBOR (ipld.io/specs/codecs/dag-cbor) of what the formats here are made of: null, booleans, safe
 * integers, other finite doubles, text, bytes, lists, and plain objects as maps, keys sorted by length and then bytewise.
 * The result has its memory for itself.
 *
 * Our own because the general encoder, which makes a token of every value first, took a seventh of what creating a
 * small artifact costs.
 *
 * @throws INTERNAL for anything else: nothing in our formats is a CID, a bigint or `undefined`
 */
export function writeCbor(value: unknown): Uint8Array<ArrayBuffer> {
  at = 0
  writeValue(value)
  const encoded = memory.slice(0, at)
  if (target.length > maxKeptBytes) use(Buffer.allocUnsafeSlow(maxKeptBytes))
  return encoded
}

function writeValue(value: unknown): void {
  if (typeof value === 'string') writeText(value)
  else if (typeof value === 'number') writeNumber(value)
  else if (value instanceof Uint8Array) writeBytes(value)
  else if (value === null) writeByte(0xf6)
  else if (typeof value === 'boolean') writeByte(value ? 0xf5 : 0xf4)
  else if (Array.isArray(value)) writeList(value)
  else if (typeof value === 'object') writeMap(value as Record<string, unknown>)
  else throw unencodable(typeof value)
}

function writeByte(byte: number): void {
  reserve(1)
  target[at++] = byte
}

function writeNumber(value: number): void {
  if (Number.isSafeInteger(value)) {
    if (value < 0) writeHead(majorNegative, -1 - value)
    else writeHead(majorUint, value)
    return
  }
  // Integers beyond the safe ones are spelled in two ways elsewhere: as such and as doubles.
  if (Number.isInteger(value) || !Number.isFinite(value)) throw unencodable(String(value))
  reserve(9)
  target[at++] = 0xfb
  at = target.writeDoubleBE(value, at)
}

function writeText(text: string): void {
  // A unit of UTF-16 is at most three bytes of UTF-8.
  reserve(9 + 3 * text.length)
  if (text.length >= shortText || !writeAscii(text)) writeLongText(text)
}

/** Nothing is written when the text is not ASCII. */
function writeAscii(text: string): boolean {
  for (let unit = 0; unit < text.length; unit++) {
    const code = text.charCodeAt(unit)
    if (code > 0x7f) return false
    target[at + 1 + unit] = code
  }
  target[at] = majorText | text.length
  at += 1 + text.length
  return true
}

function writeLongText(text: string): void {
  writeHead(majorText, Buffer.byteLength(text))
  at += target.write(text, at)
}

function writeBytes(bytes: Uint8Array): void {
  writeHead(majorBytes, bytes.length)
  reserve(bytes.length)
  if (bytes.length <= fewBytes)
    for (let byte = 0; byte < bytes.length; byte++) target[at + byte] = bytes[byte] as number
  else target.set(bytes, at)
  at += bytes.length
}

function writeList(list: readonly unknown[]): void {
  writeHead(majorList, list.length)
  for (let item = 0; item < list.length; item++) writeValue(list[item])
}

function writeMap(map: Readonly<Record<string, unknown>>): void {
  const prototype: unknown = Object.getPrototypeOf(map)
  if (prototype !== Object.prototype && prototype !== null) throw unencodable('an instance of a class')
  const keys = Object.keys(map)
  sortKeys(keys)
  writeHead(majorMap, keys.length)
  for (const key of keys) {
    writeText(key)
    writeValue(map[key])
  }
}

/** Sorts by length in UTF-8, then bytewise. */
function sortKeys(keys: string[]): void {
  if (keys.length > fewKeys || !keys.every(isAscii)) {
    keys.sort(compareUtf8)
    return
  }
  for (let next = 1; next < keys.length; next++) {
    const key = keys[next] as string
    let place = next
    for (; place > 0; place--) {
      const before = keys[place - 1] as string
      if (before.length < key.length || (before.length === key.length && before < key)) break
      keys[place] = before
    }
    keys[place] = key
  }
}

function compareUtf8(a: string, b: string): number {
  const [aBytes, bBytes] = [Buffer.from(a), Buffer.from(b)]
  return aBytes.length - bBytes.length || Buffer.compare(aBytes, bBytes)
}

function isAscii(text: string): boolean {
  for (let unit = 0; unit < text.length; unit++) if (text.charCodeAt(unit) > 0x7f) return false
  return true
}

/** The type and a length or value, in the fewest bytes. */
function writeHead(major: number, value: number): void {
  reserve(9)
  if (value < 24) target[at++] = major | value
  else if (value < 0x100) {
    target[at++] = major | 24
    target[at++] = value
  } else if (value < 0x1_0000) {
    target[at++] = major | 25
    at = target.writeUInt16BE(value, at)
  } else if (value < 0x1_0000_0000) {
    target[at++] = major | 26
    at = target.writeUInt32BE(value, at)
  } else {
    target[at++] = major | 27
    at = target.writeUInt32BE(Math.floor(value / 0x1_0000_0000), at)
    at = target.writeUInt32BE(value % 0x1_0000_0000, at)
  }
}

function reserve(bytes: number): void {
  if (target.length - at >= bytes) return
  const larger = Buffer.allocUnsafeSlow(Math.max(2 * target.length, at + bytes))
  larger.set(target.subarray(0, at))
  use(larger)
}

function use(buffer: Buffer<ArrayBuffer>): void {
  target = buffer
  memory = new Uint8Array(buffer.buffer)
}

function unencodable(what: string): ArtifactHubError {
  return new ArtifactHubError('INTERNAL', `${what} has no place in a format here`)
}
