import { decodeCanonical, encodeCanonical } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import type { Place } from './keys.ts'
import { metadataText, parseMetadata } from './metadata.ts'
import type { ArtifactState, ClockReading, ContentRoot, Operation } from './operation.ts'

/**
 * What became of an operation.
 * - `pending`: a put that names a version which is not here or itself pending
 * - `listed`: a put that is part of the history (live or ended)
 * - `ignored`: a put whose gen is wrong, or that names something which is no listed version and never will be
 * - `ending`: a delete or a drop
 */
type Status = 'pending' | 'listed' | 'ignored' | 'ending'

const statuses: readonly Status[] = ['pending', 'listed', 'ignored', 'ending']
const kinds: readonly Operation['kind'][] = ['put', 'delete', 'drop']

/** An operation as stored, with what became of it. */
export interface StoredOperation {
  readonly status: Status
  readonly op: Operation
}

/** What is kept of one artifact beside its operations; all of it follows from them. */
export interface ArtifactHead {
  /** The lowest version by (gen, clock, entry), dropped or not; absent while every put is pending. */
  readonly first: { readonly clock: ClockReading; readonly entry: Uint8Array; readonly author: Uint8Array } | undefined
  /** The highest live version that is not hidden. */
  readonly current: Place | undefined
  /** Other live versions with the gen of the current one, hidden ones not counted. */
  readonly siblings: number
  /** Heads of the version DAG, ended ones and hidden ones too, ascending. */
  readonly heads: readonly Place[]
  /** Live versions, hidden ones too. */
  readonly live: number
  /** Rows of the waiting table: references to what is not here yet. */
  readonly waiting: number
}

/** A live version's row: what gc and usage ask for without reading its state. */
interface LiveRow {
  readonly root: ContentRoot
  /** Whether its state is not known here. */
  readonly hidden: boolean
}

/** An ended version's row. */
interface EndedRow {
  readonly root: ContentRoot
  /** Wall time of the earliest delete that covers it, milliseconds since 1970. */
  readonly deletedMs: number | undefined
  /** Wall time of the earliest drop that names it. */
  readonly droppedMs: number | undefined
}

/** Live figures of a catalog. */
export interface CatalogCounts {
  /** Artifacts with a live version, hidden or not. */
  readonly artifacts: number
  /** Live versions, hidden or not. */
  readonly versions: number
}

/** Status byte, then DAG-CBOR: [kind, author, wallMs, counter, parents, …]; README.md has the rest. */
export function encodeOperation({ status, op }: StoredOperation): Uint8Array {
  const common = [kinds.indexOf(op.kind), op.author, op.clock.wallMs, op.clock.counter, op.parents]
  let fields: unknown[] = common
  if (op.kind === 'put') {
    fields = [...common, op.gen, rootFields(op.root), ...stateFields(op.state)]
  } else if (op.kind === 'drop') {
    fields = [...common, op.versions]
  }
  const body = encodeCanonical(fields)
  const row = Buffer.allocUnsafe(body.length + 1)
  row[0] = statuses.indexOf(status)
  row.set(body, 1)
  return row
}

/** Only the status of a stored operation. */
export function statusOf(row: Uint8Array): Status {
  return present(statuses[row[0] as number])
}

/** The same row with another status. */
export function withStatus(row: Uint8Array, status: Status): Uint8Array {
  const changed = Uint8Array.from(row)
  changed[0] = statuses.indexOf(status)
  return changed
}

/** Reads `encodeOperation`; artifact and entry are in the key. @throws CORRUPT */
export function decodeOperation(artifact: Uint8Array, entry: Uint8Array, row: Uint8Array): StoredOperation {
  const fields = decodeRow<[number, Uint8Array, number, number, Uint8Array[], ...unknown[]]>(row.subarray(1))
  const [kindIndex, author, wallMs, counter, parents, ...more] = fields
  const common = { artifact, entry, author, clock: { wallMs, counter }, parents }
  const kind = present(kinds[kindIndex])
  const status = statusOf(row)
  if (kind === 'delete') return { status, op: { kind, ...common } }
  if (kind === 'drop') return { status, op: { kind, ...common, versions: more[0] as Uint8Array[] } }
  const [gen, root, ...state] = more as [number, RootFields, ...StateFields]
  return { status, op: { kind, ...common, gen, root: readRoot(root), state: readState(state) } }
}

type StateFields = [string, string, string, Uint8Array] | [null, null, null, null]

function stateFields(state: ArtifactState | undefined): StateFields {
  if (state === undefined) return [null, null, null, null]
  return [state.name, state.contentType, metadataText(state.metadata), state.sha256]
}

function readState([name, contentType, text, sha256]: StateFields): ArtifactState | undefined {
  return name === null ? undefined : lazyState(name, contentType, text, sha256)
}

/** Parses metadata when it is first asked for: walks over the history never do. */
function lazyState(name: string, contentType: string, text: string, sha256: Uint8Array): ArtifactState {
  let metadata: ArtifactState['metadata'] | undefined
  return {
    name,
    contentType,
    get metadata() {
      metadata ??= parseMetadata(text)
      return metadata
    },
    sha256,
  }
}

/** DAG-CBOR list of the members in order; absent ones are null. */
export function encodeHead(head: ArtifactHead): Uint8Array {
  const { first } = head
  return encodeCanonical([
    first === undefined ? null : [first.clock.wallMs, first.clock.counter, first.entry, first.author],
    head.current ?? null,
    head.siblings,
    head.heads,
    head.live,
    head.waiting,
  ])
}

/** Reads `encodeHead`. @throws CORRUPT */
export function decodeHead(row: Uint8Array): ArtifactHead {
  type Fields = [[number, number, Uint8Array, Uint8Array] | null, Place | null, number, Place[], number, number]
  const [first, current, siblings, heads, live, waiting] = decodeRow<Fields>(row)
  return {
    first:
      first === null
        ? undefined
        : { clock: { wallMs: first[0], counter: first[1] }, entry: first[2], author: first[3] },
    current: current ?? undefined,
    siblings,
    heads,
    live,
    waiting,
  }
}

export function encodeLive(row: LiveRow): Uint8Array {
  return encodeCanonical(row.hidden ? [...rootFields(row.root), true] : rootFields(row.root))
}

/** @throws CORRUPT */
export function decodeLive(row: Uint8Array): LiveRow {
  return { root: readRoot(decodeRow<RootFields>(row)), hidden: isHiddenRow(row) }
}

/** Whether a live row is a hidden version's: only those lists have seven members. */
export function isHiddenRow(row: Uint8Array): boolean {
  return row[0] === 0x87
}

export function encodeEnded(row: EndedRow): Uint8Array {
  return encodeCanonical([rootFields(row.root), row.deletedMs ?? null, row.droppedMs ?? null])
}

/** @throws CORRUPT */
export function decodeEnded(row: Uint8Array): EndedRow {
  const [root, deletedMs, droppedMs] = decodeRow<[RootFields, number | null, number | null]>(row)
  return { root: readRoot(root), deletedMs: deletedMs ?? undefined, droppedMs: droppedMs ?? undefined }
}

export function encodeCounts(counts: CatalogCounts): Uint8Array {
  return encodeCanonical([counts.artifacts, counts.versions])
}

/** @throws CORRUPT */
export function decodeCounts(row: Uint8Array): CatalogCounts {
  const [artifacts, versions] = decodeRow<[number, number]>(row)
  return { artifacts, versions }
}

type RootFields = [Uint8Array, number, boolean, number, number, Uint8Array]

function rootFields(root: ContentRoot): RootFields {
  return [root.digest, root.codec, root.inline, root.sizeBytes, root.storedBytes, root.keyId]
}

function readRoot([digest, codec, inline, sizeBytes, storedBytes, keyId]: RootFields): ContentRoot {
  return { digest, codec, inline, sizeBytes, storedBytes, keyId }
}

function decodeRow<T>(row: Uint8Array): T {
  const value = decodeCanonical(row, { maxBytes: row.length, what: 'a row of the catalog' })
  if (!Array.isArray(value)) throw new ArtifactHubError('CORRUPT', 'a row of the catalog is not a list')
  return value as T
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new ArtifactHubError('CORRUPT', 'a row of the catalog has an unknown tag')
  return value
}
