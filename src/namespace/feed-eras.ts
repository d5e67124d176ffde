import { bytesText, decodeCanonical, encodeCanonical } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { maxFeedEras } from '../limits.ts'

/** The rows that a node wrote to a feed under one incarnation: a copy of it that was put back goes on with the same numbers. */
export interface FeedEra {
  /** The node's incarnation, 16 bytes. */
  readonly incarnation: Uint8Array
  /** Number of its first row. */
  readonly from: number
}

/** A place in a node's feed. */
export interface FeedCursor {
  /** Number of the row; -1 before the first. */
  readonly row: number
  /** The incarnation that it was written under; `undefined` before the first row. */
  readonly era: Uint8Array | undefined
}

/** Before all that a feed has. */
export const feedStart: FeedCursor = { row: -1, era: undefined }

/** The place of a row, as the eras say; of one before all of them, the start. */
export function cursorAt(eras: readonly FeedEra[], row: number): FeedCursor {
  const era = eras.findLast(({ from }) => from <= row)
  return era === undefined ? feedStart : { row, era: era.incarnation }
}

/** Whether that row is the one that a cursor was given for. */
export function isSamePlace(one: FeedCursor, other: FeedCursor): boolean {
  const name = ({ era }: FeedCursor) => era && bytesText(era)
  return one.row === other.row && name(one) === name(other)
}

/** The eras with rows from that number on under an incarnation. The same list when that is no change. */
export function withEra(eras: readonly FeedEra[], incarnation: Uint8Array, from: number): readonly FeedEra[] {
  const last = eras.at(-1)
  if (last !== undefined && bytesText(last.incarnation) === bytesText(incarnation)) return eras
  return [...eras, { incarnation, from }].slice(-maxFeedEras)
}

/** `[[incarnation, from]…]`. */
export function encodeEras(eras: readonly FeedEra[]): Uint8Array {
  return encodeCanonical(eras.map(({ incarnation, from }) => [incarnation, from]))
}

/** @throws CORRUPT */
export function decodeEras(bytes: Uint8Array): FeedEra[] {
  const rows = decodeCanonical(bytes, { maxBytes: 64 * maxFeedEras, what: 'the eras of a feed' })
  if (!Array.isArray(rows)) throw damaged()
  return rows.map((row) => {
    const [incarnation, from] = Array.isArray(row) ? row : []
    if (!(incarnation instanceof Uint8Array) || !Number.isSafeInteger(from)) throw damaged()
    return { incarnation, from: Number(from) }
  })
}

function damaged(): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', 'the eras of a feed are damaged')
}
