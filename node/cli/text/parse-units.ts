import { ArtifactHubError } from '../../../src/errors.ts'

const byteFactors: Readonly<Record<string, number>> = {
  b: 1,
  k: 1e3,
  kb: 1e3,
  m: 1e6,
  mb: 1e6,
  g: 1e9,
  gb: 1e9,
  t: 1e12,
  tb: 1e12,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
}

const durationFactorsMs: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  min: 60_000,
  h: 3600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
}

/**
 * Bytes from `1500`, `10MB` (decimal), `10MiB` (binary), `1.5G`.
 * @throws INVALID_ARGUMENT
 */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i.exec(text.trim())
  const factor = match ? byteFactors[match[2]?.toLowerCase() || 'b'] : undefined
  const bytes = factor === undefined ? Number.NaN : Math.round(Number(match?.[1]) * factor)
  if (!Number.isSafeInteger(bytes)) throw invalid(`"${text}" is not a size; write one like 1500, 10MB or 10MiB`)
  return bytes
}

/**
 * Milliseconds from `500ms`, `90s`, `5m`, `1h`, `2d`, `1w`, `1h30m`; `undefined` when the text is no duration.
 */
export function parseDurationMs(text: string): number | undefined {
  if (!/^(\d+(\.\d+)?(ms|s|min|m|h|d|w))+$/.test(text)) return undefined
  let ms = 0
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|min|[smhdw])/g)) {
    ms += Number(count) * (durationFactorsMs[unit ?? ''] ?? Number.NaN)
  }
  return ms
}

/**
 * Milliseconds from a duration that an option gives.
 * @throws INVALID_ARGUMENT
 */
export function parseDuration(text: string, what: string): number {
  const ms = parseDurationMs(text)
  if (ms === undefined || !(ms <= longestMs))
    throw invalid(`${what} must be a duration like 500ms, 30s or 5m, not "${text}"`)
  return ms
}

/** What a timer takes: 2³¹ − 1. */
const longestMs = 2_147_483_647

/**
 * A moment: a duration before now (`2d`) or an ISO date or date and time (`2026-11-03`, `2026-11-03T14:05`), local unless
 * it names its zone.
 * @throws INVALID_ARGUMENT
 */
export function parseMoment(text: string, nowMs: number): Date {
  const ago = parseDurationMs(text)
  // A bare date is midnight UTC to Date.parse; people mean their own midnight.
  const iso = /^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00` : text.replace(' ', 'T')
  const moment = ago === undefined ? (/^\d{4}-\d\d-\d\dT/.test(iso) ? Date.parse(iso) : Number.NaN) : nowMs - ago
  const date = new Date(moment)
  if (Number.isNaN(date.getTime())) {
    throw invalid(`"${text}" is not a time; write one like 2h, 7d, 2026-11-03 or 2026-11-03T14:05`)
  }
  return date
}

/** A range before the size of the content is known. */
export type RangeText =
  | { readonly kind: 'from'; readonly offset: number; readonly length: number | undefined }
  | { readonly kind: 'last'; readonly length: number }

/**
 * A byte range: `0-99` (both ends included, as in HTTP), `100-` (to the end), `-500` (the last 500), `1MB+4kB` (offset and length).
 * @throws INVALID_ARGUMENT
 */
export function parseRange(text: string): RangeText {
  const plus = /^([^+-]+)\+([^+-]+)$/.exec(text)
  if (plus?.[1] && plus[2]) return { kind: 'from', offset: parseBytes(plus[1]), length: parseBytes(plus[2]) }
  const dash = /^([^+-]*)-([^+-]*)$/.exec(text)
  if (dash && !dash[1] && dash[2]) return { kind: 'last', length: parseBytes(dash[2]) }
  if (dash?.[1]) {
    const offset = parseBytes(dash[1])
    if (!dash[2]) return { kind: 'from', offset, length: undefined }
    const last = parseBytes(dash[2])
    if (last >= offset) return { kind: 'from', offset, length: last - offset + 1 }
  }
  throw invalid(`"${text}" is not a byte range; write one like 0-99, 100-, -500 or 1MB+4kB`)
}

/**
 * A whole number within bounds.
 * @throws INVALID_ARGUMENT
 */
export function parseCount(text: string, what: string, bounds: { min: number; max: number }): number {
  const count = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!(count >= bounds.min && count <= bounds.max)) {
    throw invalid(`${what} must be a whole number from ${bounds.min} to ${bounds.max}, not "${text}"`)
  }
  return count
}

/** A version as people type it: digits are a number, anything else a version id. */
export function parseVersion(text: string): number | string {
  return /^-?\d+$/.test(text) ? Number(text) : text
}

function invalid(message: string): ArtifactHubError {
  return new ArtifactHubError('INVALID_ARGUMENT', message)
}
