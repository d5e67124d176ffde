import { toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { emptyHead } from './history.ts'
import { clockOf, entryOf, genOf, type Keyspace, type Place, tables, within } from './keys.ts'
import type { ArtifactState, ClockReading, ContentRoot, PutOperation } from './operation.ts'
import type { Reader } from './overlay.ts'
import { type ArtifactHead, decodeHead, decodeOperation, isHiddenRow } from './rows.ts'

/** One live version of one artifact. Bytes are raw: the caller spells ids. */
export interface VersionRecord {
  readonly artifact: Uint8Array
  /** Hash of the entry that wrote this version. */
  readonly entry: Uint8Array
  readonly author: Uint8Array
  /** The gen: a number for people. */
  readonly number: number
  /** `<number>-<8 or more hex digits of the entry hash>`: unique among the artifact's live versions. */
  readonly versionId: string
  /** Clock of the artifact's first version, whether or not that still lives. */
  readonly createdAt: ClockReading
  /** Author of the artifact's first version. */
  readonly createdBy: Uint8Array
  /** Clock of this version. */
  readonly updatedAt: ClockReading
  readonly root: ContentRoot
  readonly state: ArtifactState
  /** Version ids of the other live versions with this number. */
  readonly siblings: readonly string[]
  /** Whether this is the artifact's current version. */
  readonly current: boolean
}

/** What names a version: its number, or its id (or a longer beginning of its entry hash). */
export type VersionRef = number | string

const leastHexDigits = 8

/** The stored head of an artifact; an empty one when nothing was said of it. */
export async function readHead(reader: Reader, keys: Keyspace, artifact: Uint8Array): Promise<ArtifactHead> {
  const row = await reader.get(keys.key(tables.head, artifact))
  return row === undefined ? emptyHead : decodeHead(row)
}

/**
 * One version: the current one when `ref` is absent. `undefined` when there is no such live version.
 *
 * @throws INVALID_ARGUMENT when `ref` is neither a positive integer nor has the form of a version id, or is a
 *   beginning that two versions share
 */
export async function readVersion(
  reader: Reader,
  keys: Keyspace,
  artifact: Uint8Array,
  ref?: VersionRef,
): Promise<VersionRecord | undefined> {
  const wanted = ref === undefined ? undefined : parseVersionRef(ref)
  const head = await readHead(reader, keys, artifact)
  if (head.current === undefined) return undefined
  if (wanted === undefined || (wanted.hex === '' && wanted.gen === genOf(head.current))) {
    return readAt(reader, keys, artifact, head, head.current)
  }
  const isAlone = head.siblings === 0 && wanted.gen === genOf(head.current)
  const peers = isAlone ? [head.current] : await livePlaces(reader, keys, artifact, wanted.gen)
  const matches = peers.filter((place) => toHex(entryOf(place)).startsWith(wanted.hex))
  if (wanted.hex !== '' && matches.length > 1) {
    const versionIds = matches.map((place) => versionIdOf(place, peers))
    throw new ArtifactHubError(
      'INVALID_ARGUMENT',
      `version id ${ref} names several versions: ${versionIds.join(', ')}`,
      {
        details: { versionIds },
      },
    )
  }
  const place = matches.at(-1)
  return place && readAt(reader, keys, artifact, head, place, peers)
}

/** The record of a live version whose place is known. `peers`, when known, are all live places of its gen. */
async function readAt(
  reader: Reader,
  keys: Keyspace,
  artifact: Uint8Array,
  head: ArtifactHead,
  place: Place,
  peers?: readonly Place[],
): Promise<VersionRecord> {
  const row = await reader.get(keys.key(tables.operation, artifact, entryOf(place)))
  const lone = head.siblings === 0 && head.current !== undefined && genOf(head.current) === genOf(place)
  const all = peers ?? (lone ? [place] : await livePlaces(reader, keys, artifact, genOf(place)))
  return recordOf(artifact, head, place, all, readPut(artifact, entryOf(place), row))
}

/** A put whose state is known. */
export type ShownPut = PutOperation & { readonly state: ArtifactState }

/** Reads the row of a version that is known to be here and not hidden. @throws CORRUPT */
export function readPut(artifact: Uint8Array, entry: Uint8Array, row: Uint8Array | undefined): ShownPut {
  if (row === undefined) throw new ArtifactHubError('CORRUPT', 'the catalog lacks a version that it lists')
  const { op } = decodeOperation(artifact, entry, row)
  if (op.kind !== 'put' || op.state === undefined)
    throw new ArtifactHubError('CORRUPT', 'the catalog lists an operation that is no version')
  return op as ShownPut
}

/** Puts a record together. `peers` are all live places of its gen that are not hidden, itself among them. */
export function recordOf(
  artifact: Uint8Array,
  head: ArtifactHead,
  place: Place,
  peers: readonly Place[],
  op: ShownPut,
): VersionRecord {
  const { first, current } = head
  if (first === undefined || current === undefined) {
    throw new ArtifactHubError('CORRUPT', 'the catalog lists a version of an artifact that has none')
  }
  return {
    artifact,
    entry: op.entry,
    author: op.author,
    number: op.gen,
    versionId: versionIdOf(place, peers),
    createdAt: first.clock,
    createdBy: first.author,
    updatedAt: clockOf(place),
    root: op.root,
    state: op.state,
    siblings: peers.filter((peer) => Buffer.compare(peer, place) !== 0).map((peer) => versionIdOf(peer, peers)),
    current: Buffer.compare(place, current) === 0,
  }
}

/** All live places of one gen that are not hidden, ascending. */
export async function livePlaces(reader: Reader, keys: Keyspace, artifact: Uint8Array, gen: number): Promise<Place[]> {
  const genBytes = Buffer.alloc(4)
  genBytes.writeUInt32BE(gen)
  const prefix = keys.key(tables.live, artifact, genBytes)
  const places: Place[] = []
  for await (const [key, row] of reader.entries(within(prefix))) if (!isHiddenRow(row)) places.push(keys.place(key))
  return places
}

/** As many digits, from 8 up, as it takes to differ from every other live version of the same gen. */
function versionIdOf(place: Place, peers: readonly Place[]): string {
  const hex = toHex(entryOf(place))
  let digits = leastHexDigits
  for (const peer of peers) {
    const other = toHex(entryOf(peer))
    if (other === hex) continue
    while (other.startsWith(hex.slice(0, digits))) digits++
  }
  return `${genOf(place)}-${hex.slice(0, digits)}`
}

function parseVersionRef(ref: VersionRef): { gen: number; hex: string } {
  const match = typeof ref === 'string' ? /^([1-9][0-9]{0,9})-([0-9a-f]{8,64})$/.exec(ref) : null
  const gen = match === null ? ref : Number(match[1])
  if (typeof gen !== 'number' || !Number.isInteger(gen) || gen < 1) {
    const given = typeof ref === 'string' ? JSON.stringify(ref.slice(0, 80)) : String(ref)
    throw new ArtifactHubError(
      'INVALID_ARGUMENT',
      `${given} is neither a version number (1, 2, …) nor a version id (3-1f2e3d4c)`,
    )
  }
  // No history is as long as the key's 4 bytes: a number beyond them is one that nothing has.
  return { gen: Math.min(gen, 2 ** 32 - 1), hex: match?.[2] ?? '' }
}
