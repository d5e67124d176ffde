import { decodeCanonical, encodeCanonical } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import type { KeyWrap } from '../log/index.ts'
import type { Membership } from '../membership/index.ts'

const maxRowBytes = 1 << 20
/** Ways to one artifact key that are kept: those that sort first, so that every node keeps the same. */
const maxWays = 256

/** What is recorded of one artifact key. */
export interface KeyWays {
  readonly wraps: readonly KeyWrap[]
  /** Hashes of the entries that carry any of it: a wrap, or boxes. */
  readonly entries: readonly Uint8Array[]
  /** Of these, the ones with boxes. */
  readonly boxed: readonly Uint8Array[]
}

/** `[under, box, entry]` for a wrap, `[entry]` for boxes in that entry. */
type Way = readonly Uint8Array[]

/** A row with one more way; `undefined` when it is in there. Rows are sorted, so the order of coming leaves no trace. @throws CORRUPT */
export function addKeyRow(row: Uint8Array | undefined, way: Way): Uint8Array | undefined {
  if (row === undefined) return encodeCanonical([way])
  const ways = decodeWays(row)
  if (ways.some((known) => compareWays(known, way) === 0)) return undefined
  return encodeCanonical([...ways, way].sort(compareWays).slice(0, maxWays))
}

/** Reads a row of the artifact keys. @throws CORRUPT */
export function readKeyRow(row: Uint8Array | undefined, keyId: Uint8Array): KeyWays {
  if (row === undefined) return { wraps: [], entries: [], boxed: [] }
  const ways = decodeWays(row)
  const wraps: KeyWrap[] = []
  const boxed: Uint8Array[] = []
  for (const [first, box] of ways) {
    if (box === undefined) boxed.push(first as Uint8Array)
    else wraps.push({ keyId, under: first as Uint8Array, box })
  }
  return { wraps, entries: ways.map((way) => way.at(-1) as Uint8Array), boxed }
}

/**
 * Whether somebody may know an artifact key who should not know what is written next: it was wrapped under an epoch that is
 * not good, sealed to agents by name, or nobody can tell how.
 */
export function isSuperseded(membership: Membership, row: Uint8Array | undefined, keyId: Uint8Array): boolean {
  const { wraps, boxed } = readKeyRow(row, keyId)
  return boxed.length > 0 || wraps.length === 0 || !wraps.every(({ under }) => membership.isGoodEpoch(under))
}

function decodeWays(row: Uint8Array): Way[] {
  const ways = decodeCanonical(row, { maxBytes: maxRowBytes, what: 'the ways to a key' })
  const isWell =
    Array.isArray(ways) &&
    ways.every(
      (way) =>
        Array.isArray(way) && (way.length === 1 || way.length === 3) && way.every((part) => part instanceof Uint8Array),
    )
  if (!isWell) throw new ArtifactHubError('CORRUPT', 'the ways to a key are damaged')
  return ways as Way[]
}

function compareWays(one: Way, two: Way): number {
  return one.length - two.length || Buffer.compare(Buffer.concat(one), Buffer.concat(two))
}
