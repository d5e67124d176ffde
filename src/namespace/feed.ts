import type { ClockReading, Liveness, Operation, VersionRecord } from '../catalog/index.ts'
import { decodeCanonical, encodeCanonical } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import type { FeedCursor } from './feed-eras.ts'

/** Rows of the feed that a node keeps. */
export const keptFeedRows = 100_000
const maxRowBytes = 256
const kinds = ['created', 'updated', 'deleted'] as const

/** What happened to an artifact in the eyes of a member. */
export interface FeedChange {
  readonly kind: (typeof kinds)[number]
  readonly artifact: Uint8Array
  /** The version that appeared; for an update that only took versions away, the current one; for a deletion, what deleted it (or the last version, where entries lost their right to count). */
  readonly entry: Uint8Array
  readonly clock: ClockReading
}

/** A change with its place in this node's order. */
export interface FeedEvent extends FeedChange {
  /** Of this node alone. */
  readonly cursor: FeedCursor
}

/** What a change of an artifact's versions is to a member. */
export function* feedChanges(
  artifact: Uint8Array,
  { appeared, vanished, wasShown, isShown }: Liveness,
  by: Operation | undefined,
  current: VersionRecord | undefined,
): Generator<FeedChange> {
  for (const [at, { entry, clock }] of appeared.entries()) {
    yield { kind: at === 0 && !wasShown ? 'created' : 'updated', artifact, entry, clock }
  }
  const [first] = vanished
  if (first === undefined) return
  if (!isShown) {
    const { entry, clock } = by !== undefined && by.kind !== 'put' ? by : first
    yield { kind: 'deleted', artifact, entry, clock }
  } else if (current !== undefined && appeared.length === 0) {
    yield { kind: 'updated', artifact, entry: current.entry, clock: current.updatedAt }
  }
}

/** A row of the feed: `[kind, artifact, entry, ms, counter]`. */
export function feedRow({ kind, artifact, entry, clock }: FeedChange): Uint8Array {
  return encodeCanonical([kinds.indexOf(kind), artifact, entry, clock.wallMs, clock.counter])
}

/** @throws CORRUPT */
export function readFeedRow(row: Uint8Array): FeedChange {
  const value = decodeCanonical(row, { maxBytes: maxRowBytes, what: 'a row of the feed' })
  const [index, artifact, entry, wallMs, counter] = Array.isArray(value) && value.length === 5 ? value : []
  const kind = kinds[index as number]
  if (kind === undefined || !(artifact instanceof Uint8Array) || !(entry instanceof Uint8Array)) {
    throw new ArtifactHubError('CORRUPT', 'a row of the feed is damaged')
  }
  return { kind, artifact, entry, clock: { wallMs: Number(wallMs), counter: Number(counter) } }
}
