import { bytesText, decodeCanonical, encodeCanonical } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import type { KeyWrap } from '../log/index.ts'
import type { Membership } from '../membership/index.ts'

const maxRowBytes = 1 << 20
const grantPrefixBytes = 8
/**
 * Ways to one artifact key that are kept of entries under one grant, and in all: those that sort first, so that every node
 * keeps the same. Anyone with a grant, ended ones too, can write ways that lead nowhere: they take no place from others'.
 */
const maxWaysOfGrant = 64
const maxWays = 4_096

/** What is recorded of one artifact key. */
export interface KeyWays {
  readonly wraps: readonly (KeyWrap & { readonly entry: Uint8Array })[]
  /** Hashes of the entries that carry any of it: a wrap, or boxes. */
  readonly entries: readonly Uint8Array[]
  /** Of these, the ones with boxes. */
  readonly boxed: readonly Uint8Array[]
  /** Whether there was no room for more: some may be left out. */
  readonly isFull: boolean
}

/** `[grant, under, box, entry]` for a wrap, `[grant, entry]` for boxes in that entry; of the grant the first 8 bytes. */
type Way = readonly Uint8Array[]

/** A way that an entry under that grant brings: a wrap, or boxes. */
export function wayOf(grant: Uint8Array, entry: Uint8Array, wrap: KeyWrap | undefined): Way {
  const prefix = grant.subarray(0, grantPrefixBytes)
  return wrap === undefined ? [prefix, entry] : [prefix, wrap.under, wrap.box, entry]
}

/** A row with one more way; `undefined` when it is in there. Rows are sorted, so the order of coming leaves no trace. @throws CORRUPT */
export function addKeyRow(row: Uint8Array | undefined, way: Way): Uint8Array | undefined {
  if (row === undefined) return encodeCanonical([way])
  const ways = decodeWays(row)
  if (ways.some((known) => compareWays(known, way) === 0)) return undefined
  return encodeCanonical(kept([...ways, way].sort(compareWays)))
}

/** Reads a row of the artifact keys. @throws CORRUPT */
export function readKeyRow(row: Uint8Array | undefined, keyId: Uint8Array): KeyWays {
  if (row === undefined) return { wraps: [], entries: [], boxed: [], isFull: false }
  const ways = decodeWays(row)
  const wraps: (KeyWrap & { readonly entry: Uint8Array })[] = []
  const boxed: Uint8Array[] = []
  for (const [, first, box, entry] of ways) {
    if (box === undefined) boxed.push(first as Uint8Array)
    else wraps.push({ keyId, under: first as Uint8Array, box, entry: entry as Uint8Array })
  }
  const isFull = ways.length >= maxWays || [...countOfGrants(ways).values()].some((count) => count >= maxWaysOfGrant)
  return { wraps, entries: ways.map((way) => way.at(-1) as Uint8Array), boxed, isFull }
}

/**
 * Whether somebody may know an artifact key who should not know what is written next: it was wrapped under an epoch that is
 * not good, sealed to agents by name, or nobody can tell how: a way that was left out may be any.
 */
export function isSuperseded(membership: Membership, row: Uint8Array | undefined, keyId: Uint8Array): boolean {
  const { wraps, boxed, isFull } = readKeyRow(row, keyId)
  if (isFull) return true
  return boxed.length > 0 || wraps.length === 0 || !wraps.every(({ under }) => membership.isGoodEpoch(under))
}

function decodeWays(row: Uint8Array): Way[] {
  const ways = decodeCanonical(row, { maxBytes: maxRowBytes, what: 'the ways to a key' })
  const isWell =
    Array.isArray(ways) &&
    ways.every(
      (way) =>
        Array.isArray(way) && (way.length === 2 || way.length === 4) && way.every((part) => part instanceof Uint8Array),
    )
  if (!isWell) throw new ArtifactHubError('CORRUPT', 'the ways to a key are damaged')
  return ways as Way[]
}

/** @param ways sorted */
function kept(ways: readonly Way[]): Way[] {
  const seen = new Map<string, number>()
  return ways
    .filter((way) => {
      const name = grantOf(way)
      const count = (seen.get(name) ?? 0) + 1
      seen.set(name, count)
      return count <= maxWaysOfGrant
    })
    .slice(0, maxWays)
}

function countOfGrants(ways: readonly Way[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const way of ways) counts.set(grantOf(way), (counts.get(grantOf(way)) ?? 0) + 1)
  return counts
}

function grantOf([grant]: Way): string {
  return bytesText(grant as Uint8Array)
}

function compareWays(one: Way, two: Way): number {
  return one.length - two.length || Buffer.compare(Buffer.concat(one), Buffer.concat(two))
}
