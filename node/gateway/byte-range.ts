/** What a Range header asks for of a body. */
export type RangeAnswer =
  | { readonly kind: 'whole' }
  /** Plaintext bytes, `end` exclusive. */
  | { readonly kind: 'part'; readonly start: number; readonly end: number }
  /** No byte of it is there: 416. */
  | { readonly kind: 'unsatisfiable' }

const whole: RangeAnswer = { kind: 'whole' }
/** `bytes=` and one range; units are case-insensitive, lists may have empty elements and blanks (RFC 9110 sections 5.6.1, 14.1.1). */
const oneRange = /^bytes=[ \t,]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t,]*$/i

/**
 * Reads a Range header (RFC 9110 section 14.2). One range is clamped to the body; anything malformed and a list of several are
 * as if the header were not there, which the RFC allows.
 */
export function rangeOf(header: string | undefined, sizeBytes: number): RangeAnswer {
  const match = header === undefined ? null : oneRange.exec(header)
  if (match === null) return whole
  const [, first, last, suffix] = match
  if (suffix !== undefined) {
    const length = Number(suffix)
    if (length === 0) return { kind: 'unsatisfiable' }
    // The last bytes of nothing are there, all none of them, but no Content-Range can say so.
    if (sizeBytes === 0) return whole
    return { kind: 'part', start: Math.max(0, sizeBytes - length), end: sizeBytes }
  }
  const start = Number(first)
  if (last !== '' && Number(last) < start) return whole
  if (start >= sizeBytes) return { kind: 'unsatisfiable' }
  return { kind: 'part', start, end: last === '' ? sizeBytes : Math.min(Number(last) + 1, sizeBytes) }
}
