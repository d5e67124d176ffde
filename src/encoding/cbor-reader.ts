import { ArtifactHubError } from '../errors.ts'

let source: Uint8Array = new Uint8Array(0)
let at = 0

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
/** Formats here nest a few levels; metadata is JSON text. */
const maxDepth = 64
/** Texts up to this many bytes are mostly names of fields, read unit by unit. */
const shortText = 24
/** So few bytes are copied one by one sooner than by a call: hashes and keys. */
const fewBytes = 32

/**
 * The value whose canonical DAG-CBOR (ipld.io/specs/codecs/dag-cbor) the bytes are, of the kinds that `writeCbor` writes. What
 * is not exactly what `writeCbor` makes of that value is refused: numbers and lengths in more bytes than it takes, maps whose
 * keys are out of order or twice there, texts that are no UTF-8, integers that are not safe, integers written as doubles, and
 * whatever stands behind the value.
 *
 * Byte strings of the result share no memory with `bytes`. A map is a plain object, whatever its keys are called.
 *
 * Our own because the general decoder makes a token of every value first, and does not tell whether the bytes were canonical:
 * with the encoding that had to follow it took a seventh of what receiving an entry costs.
 *
 * @throws CORRUPT
 */
export function readCbor(bytes: Uint8Array): unknown {
  source = bytes
  at = 0
  try {
    const value = readValue(0)
    if (at !== bytes.length) throw notCanonical('something behind the value')
    return value
  } finally {
    source = noBytes
  }
}

const noBytes = new Uint8Array(0)
/** Short texts read of late, by a mix of their units: names of fields come again and again, and a text is dear to make. */
const seenTexts: string[] = Array.from({ length: 256 }, () => '')

function readValue(depth: number): unknown {
  if (depth > maxDepth) throw notCanonical('values too deep in one another')
  const head = nextByte()
  const low = head & 0x1f
  switch (head >> 5) {
    case 0:
      return readLength(low)
    case 1:
      return readNegative(low)
    case 2:
      return readBytes(readLength(low))
    case 3:
      return readText(readLength(low))
    case 4:
      return readList(readLength(low), depth)
    case 5:
      return readMap(readLength(low), depth)
    case 7:
      return readSimple(low)
    default:
      throw notCanonical('a tag')
  }
}

function readSimple(low: number): unknown {
  if (low === 22) return null
  if (low === 20) return false
  if (low === 21) return true
  if (low !== 27) throw notCanonical('a simple value of another kind')
  const value = viewOf(take(8)).getFloat64(0)
  // −0 is written as the integer 0, and NaN and infinities are not written at all.
  if (Number.isInteger(value) || !Number.isFinite(value)) throw notCanonical('a double that is none')
  return value
}

/** A length or an unsigned integer, in the fewest bytes. */
function readLength(low: number): number {
  if (low < 24) return low
  if (low === 24) {
    const value = nextByte()
    if (value < 24) throw notCanonical('a number in more bytes than it takes')
    return value
  }
  if (low === 25) {
    const value = nextByte() * 0x100 + nextByte()
    if (value < 0x100) throw notCanonical('a number in more bytes than it takes')
    return value
  }
  if (low === 26) {
    const value = nextUint32()
    if (value < 0x1_0000) throw notCanonical('a number in more bytes than it takes')
    return value
  }
  if (low !== 27) throw notCanonical('a length that is not said')
  const high = nextUint32()
  const value = high * 0x1_0000_0000 + nextUint32()
  if (high === 0) throw notCanonical('a number in more bytes than it takes')
  if (!Number.isSafeInteger(value)) throw notCanonical('an integer that is not safe')
  return value
}

function readNegative(low: number): number {
  const value = -1 - readLength(low)
  if (!Number.isSafeInteger(value)) throw notCanonical('an integer that is not safe')
  return value
}

function readBytes(length: number): Uint8Array<ArrayBuffer> {
  if (length > fewBytes) return new Uint8Array(take(length))
  if (length > source.length - at) throw notCanonical('an end in the middle')
  const copy = new Uint8Array(length)
  for (let byte = 0; byte < length; byte++) copy[byte] = source[at + byte] as number
  at += length
  return copy
}

function readText(length: number): string {
  if (length <= shortText) {
    const from = at
    const ascii = readAscii(length)
    if (ascii !== undefined) return ascii
    at = from
  }
  try {
    return utf8.decode(take(length))
  } catch (cause) {
    if (cause instanceof ArtifactHubError) throw cause
    throw notCanonical('a text that is not UTF-8')
  }
}

/** `undefined` when there is something else than ASCII in it. */
function readAscii(length: number): string | undefined {
  if (length > source.length - at) throw notCanonical('an end in the middle')
  const from = at
  let mixed = length
  for (const end = at + length; at < end; at++) {
    const code = source[at] as number
    if (code > 0x7f) return undefined
    mixed = (mixed * 31 + code) & (seenTexts.length - 1)
  }
  const seen = seenTexts[mixed] as string
  if (isAt(seen, from, length)) return seen
  let text = ''
  for (let unit = from; unit < at; unit++) text += String.fromCharCode(source[unit] as number)
  seenTexts[mixed] = text
  return text
}

function isAt(text: string, from: number, length: number): boolean {
  if (text.length !== length) return false
  for (let unit = 0; unit < length; unit++) if (text.charCodeAt(unit) !== source[from + unit]) return false
  return true
}

function readList(length: number, depth: number): unknown[] {
  // Every item takes a byte: a length that lies is not given memory.
  if (length > source.length - at) throw notCanonical('an end in the middle')
  const list: unknown[] = []
  for (let item = 0; item < length; item++) list.push(readValue(depth + 1))
  return list
}

function readMap(length: number, depth: number): Record<string, unknown> {
  if (length > source.length - at) throw notCanonical('an end in the middle')
  const map: Record<string, unknown> = {}
  let [before, beforeEnd] = [-1, -1]
  for (let entry = 0; entry < length; entry++) {
    const head = nextByte()
    if (head >> 5 !== 3) throw notCanonical('a key that is not text')
    const bytes = readLength(head & 0x1f)
    const from = at
    const key = readText(bytes)
    if (before >= 0 && !isAscending(before, beforeEnd, from, at)) throw notCanonical('keys out of order')
    ;[before, beforeEnd] = [from, at]
    const value = readValue(depth + 1)
    if (key === '__proto__')
      Object.defineProperty(map, key, { value, enumerable: true, configurable: true, writable: true })
    else map[key] = value
  }
  return map
}

/** By length, then bytewise. */
function isAscending(a: number, aEnd: number, b: number, bEnd: number): boolean {
  const [aLength, bLength] = [aEnd - a, bEnd - b]
  if (aLength !== bLength) return aLength < bLength
  for (let byte = 0; byte < aLength; byte++) {
    const [one, two] = [source[a + byte] as number, source[b + byte] as number]
    if (one !== two) return one < two
  }
  return false
}

function nextByte(): number {
  if (at >= source.length) throw notCanonical('an end in the middle')
  return source[at++] as number
}

function nextUint32(): number {
  const high = nextByte() * 0x100 + nextByte()
  return high * 0x1_0000 + nextByte() * 0x100 + nextByte()
}

function take(length: number): Uint8Array {
  if (length > source.length - at) throw notCanonical('an end in the middle')
  const part = source.subarray(at, at + length)
  at += length
  return part
}

function viewOf(part: Uint8Array): DataView {
  return new DataView(part.buffer, part.byteOffset, part.byteLength)
}

function notCanonical(what: string): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', `not canonical DAG-CBOR: ${what}`)
}
