import { ArtifactHubError } from '../errors.ts'
import type { ClockReading } from './operation.ts'

/**
 * Encodings whose bytewise order is the order of what they encode, so that a range of keys is a range of values.
 */

/** Bytes of an ordered clock reading: 6 of wall time, 4 of counter. */
export const orderedClockBytes = 10
/** Last wall time that an ordered clock holds, milliseconds since 1970 (the year 10889). */
const maxWallMs = 2 ** 48 - 1
const maxUint32 = 2 ** 32 - 1

const terminator = Buffer.from([0x00, 0x01])
const cutTerminator = Buffer.from([0x00, 0x02])

/**
 * UTF-8 with each 00 written 00 FF; no terminator, so it is also the common beginning of all texts that start
 * with `text`. UTF-8 bytes compare as Unicode code points do.
 */
export function orderedTextStart(text: string, maxBytes = Number.POSITIVE_INFINITY): Uint8Array {
  const utf8 = Buffer.from(text, 'utf8')
  return escapeZeros(utf8.length > maxBytes ? utf8.subarray(0, maxBytes) : utf8)
}

/** A text and its terminator (00 01); one of more than `maxBytes` of UTF-8 is cut there and ends with 00 02. */
export function orderedText(text: string, maxBytes = Number.POSITIVE_INFINITY): Uint8Array {
  const utf8 = Buffer.from(text, 'utf8')
  if (utf8.length > maxBytes) return Buffer.concat([escapeZeros(utf8.subarray(0, maxBytes)), cutTerminator])
  return Buffer.concat([escapeZeros(utf8), terminator])
}

function escapeZeros(utf8: Buffer): Buffer {
  if (!utf8.includes(0)) return utf8
  const escaped: number[] = []
  for (const byte of utf8) {
    escaped.push(byte)
    if (byte === 0) escaped.push(0xff)
  }
  return Buffer.from(escaped)
}

/** A double as 8 bytes: sign bit flipped when positive, all bits when negative. −0 is written as 0. */
export function orderedNumber(value: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeDoubleBE(value === 0 ? 0 : value)
  if ((bytes[0] as number) & 0x80) for (let i = 0; i < 8; i++) bytes[i] = ~(bytes[i] as number) & 0xff
  else bytes[0] = (bytes[0] as number) | 0x80
  return bytes
}

/** Writes wall time (6 bytes) and counter (4 bytes), big-endian. @throws INVALID_ARGUMENT when they do not fit */
export function writeClock(target: Buffer, offset: number, clock: ClockReading): void {
  if (!isUint(clock.wallMs, maxWallMs) || !isUint(clock.counter, maxUint32)) {
    throw new ArtifactHubError('INVALID_ARGUMENT', `a clock of ${clock.wallMs} ms and ${clock.counter} is out of range`)
  }
  target.writeUIntBE(clock.wallMs, offset, 6)
  target.writeUInt32BE(clock.counter, offset + 6)
}

/** Reads what `writeClock` wrote. */
export function readClock(bytes: Uint8Array, offset: number): ClockReading {
  const view = asBuffer(bytes)
  return { wallMs: view.readUIntBE(offset, 6), counter: view.readUInt32BE(offset + 6) }
}

/** The first ordered clock at or after a wall time; times before 1970 and after the last one are the nearest in range. */
export function clockBound(wallMs: number): Uint8Array {
  const bytes = Buffer.alloc(orderedClockBytes)
  writeClock(bytes, 0, { wallMs: Math.min(Math.max(0, Math.ceil(wallMs)), maxWallMs), counter: 0 })
  return bytes
}

/** The same memory as a Buffer, for its readers and writers. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function isUint(value: number, max: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= max
}
