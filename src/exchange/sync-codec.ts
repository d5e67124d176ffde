import { decodeCanonical, encodeCanonical, requireFormatVersion } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import {
  maxClaimEntries,
  maxDenialEvidence,
  maxFollowsInFrame,
  maxPresentationBytes,
  maxSyncFrameBytes,
  maxSyncOffers,
  maxSyncWants,
} from '../limits.ts'
import { type ReadSubject, type RefusalReason, refusalReasons } from './may-read.ts'
import type { VectorRow } from './sync-log.ts'

/**
 * What a round is about: a whole namespace; who may do what in it; or besides that one artifact (20 bytes).
 */
export type SyncScope = ReadSubject

/**
 * What agents say to each other on a sync stream. The first message of a stream decides what it is: `hello` a round, `follow` one about
 * artifacts, `push` new entries unasked, `offer` which namespaces are in common.
 */
export type SyncMessage =
  | HelloMessage
  | DeniedMessage
  | VectorMessage
  | EntriesMessage
  | EndMessage
  | DoneMessage
  | PushMessage
  | OfferMessage
  | OfferedMessage
  | NamesMessage
  | ClaimMessage
  | FollowMessage
  | FollowedMessage

/** In a `hello` to an agent that has no role by the log of who asks: that log's own hash is not told. */
export const noHash = new Uint8Array(32)

/** Begins a round. */
export interface HelloMessage {
  readonly type: 'hello'
  /** 32 bytes. */
  readonly namespace: Uint8Array
  readonly scope: SyncScope
  /** The vector hash of who asks; `undefined` asks for the genesis entry alone. */
  readonly hash: Uint8Array | undefined
  /** By what right, if not by a role: `encodePresentation`. */
  readonly presentation: Uint8Array | undefined
}

/** The answer to whoever may not read it, whether or not there is such a namespace. */
export interface DeniedMessage {
  readonly type: 'denied'
  /** Why what it showed gives it nothing any more; only for whoever has shown a right that was good here. */
  readonly reason: RefusalReason | undefined
  /** The entries that say so, and those that these stand on. */
  readonly evidence: readonly Uint8Array[]
}

/** A page of what one side has, and entries that it holds without their body. */
export interface VectorMessage {
  readonly type: 'vector'
  /** The other side's hash is ours too: there are no rows. */
  readonly same: boolean
  /** Of a round about a namespace. */
  readonly rows: readonly VectorRow[]
  /** Of a round about one artifact: the first 16 bytes of the hash of each entry. */
  readonly ids: readonly Uint8Array[]
  /** Hashes, 32 bytes each. */
  readonly wants: readonly Uint8Array[]
  /** Another page follows. */
  readonly more: boolean
}

/** Entries as they are stored. At least one. */
export interface EntriesMessage {
  readonly type: 'entries'
  readonly entries: readonly Uint8Array[]
}

/** Nothing more comes from this side. */
export interface EndMessage {
  readonly type: 'end'
  /** The sender's vector hash now. */
  readonly hash: Uint8Array
}

/** What was received is durable. */
export interface DoneMessage {
  readonly type: 'done'
  /** The receiver's vector hash now. */
  readonly hash: Uint8Array
  readonly stored: number
  /** How many could not be stored for want of what they stand on. */
  readonly unlinked: number
}

/** Entries that nobody asked for: new ones. Answered by `done` or `denied`. */
export interface PushMessage {
  readonly type: 'push'
  readonly namespace: Uint8Array
  readonly entries: readonly Uint8Array[]
}

/** The namespaces that the sender believes to have in common with the receiver. */
export interface OfferMessage {
  readonly type: 'offer'
  readonly rows: readonly OfferRow[]
}

/** One namespace, told so that only who knows its id recognises it. */
export interface OfferRow {
  /** 32 bytes: see `offerTag`. */
  readonly tag: Uint8Array
  /** 16 bytes: see `offerState`. */
  readonly state: Uint8Array
}

/** What the receiver of an offer makes of it: indexes of rows, ascending. */
export interface OfferedMessage {
  readonly type: 'offered'
  /** It has just the same. */
  readonly same: readonly number[]
  /** It does not recognise them, and asks for their names. */
  readonly unknown: readonly number[]
}

/** The namespaces behind those rows, told to an agent that has a role in each. */
export interface NamesMessage {
  readonly type: 'names'
  readonly namespaces: readonly Uint8Array[]
}

/** Entries by which the sender, who was denied a namespace, shows that it has a role in it. Never answered. */
export interface ClaimMessage {
  readonly type: 'claim'
  /** 32 bytes. */
  readonly namespace: Uint8Array
  /** One to `maxClaimEntries`. */
  readonly entries: readonly Uint8Array[]
}

/** Begins a round of an agent that is no member, about all that it shows a right to. */
export interface FollowMessage {
  readonly type: 'follow'
  /** 32 bytes. */
  readonly namespace: Uint8Array
  /** SHA-256 over the ids of the entries that say who may do what. */
  readonly authHash: Uint8Array
  /** One to `maxFollowsInFrame`. */
  readonly rows: readonly FollowMessageRow[]
}

/** One artifact, or nothing but who may do what, and by what right. */
export interface FollowMessageRow {
  readonly scope: Exclude<SyncScope, { readonly kind: 'namespace' }>
  /** SHA-256 over the ids of the artifact's entries in that view, ascending; of no bytes when there is no artifact. */
  readonly hash: Uint8Array
  /** `encodePresentation`. */
  readonly presentation: Uint8Array
}

/** What the other side makes of it: indexes of rows, ascending. */
export interface FollowedMessage {
  readonly type: 'followed'
  /** It has the same entries that say who may do what; `false` as well when every row is denied. */
  readonly same: boolean
  /** It has other entries of these. */
  readonly differ: readonly number[]
  /** These it does not serve; `hello` with the same capability tells why, if it is told. */
  readonly denied: readonly number[]
}

const formatVersion = 1
const codes = {
  hello: 0,
  denied: 1,
  vector: 2,
  entries: 3,
  end: 4,
  done: 5,
  push: 6,
  offer: 7,
  offered: 8,
  names: 9,
  claim: 10,
  follow: 11,
  followed: 12,
} as const
/** What a list of entries costs beside them in a frame, bytes, and each entry in it. */
const frameOverheadBytes = 64
const entryOverheadBytes = 5
/** A row of either kind takes no more than this, bytes. */
const rowBytes = 64

/** Rows of one page: no page is over the limit of a frame, whatever the wants beside them. */
export const rowsInPage = Math.floor((maxSyncFrameBytes - frameOverheadBytes - maxSyncWants * 40) / rowBytes)

/** What begins a round. */
export type RoundMessage = HelloMessage | FollowMessage

/** Whether a message begins a round. */
export function isRound(message: SyncMessage): message is RoundMessage {
  return message.type === 'hello' || message.type === 'follow'
}

/** What an entry takes of the room of a frame, bytes. */
export function roomOf(entry: Uint8Array): number {
  return entry.length + entryOverheadBytes
}

/** What an artifact that is asked about takes of the room of a frame, bytes. */
export function roomOfFollow({ presentation }: Pick<FollowMessageRow, 'presentation'>): number {
  return presentation.length + 64
}

/** The room in one frame for the rows of a message, bytes. */
export const frameRoomBytes = maxSyncFrameBytes - frameOverheadBytes

/** A message as canonical DAG-CBOR: a list whose first item is the code of its type. Layouts: README. */
export function encodeSyncMessage(message: SyncMessage): Uint8Array<ArrayBuffer> {
  return encodeCanonical([codes[message.type], ...membersOf(message)])
}

function membersOf(message: SyncMessage): unknown[] {
  switch (message.type) {
    case 'hello':
      return [
        formatVersion,
        message.namespace,
        encodeScope(message.scope),
        message.hash ?? null,
        message.presentation ?? null,
      ]
    case 'denied':
      return ['ACCESS_DENIED', message.reason ?? null, message.evidence]
    case 'vector': {
      const rows = message.rows.map(({ chain, seq, hash }) => [chain, seq, hash])
      return [message.same, rows, message.ids, message.wants, message.more]
    }
    case 'entries':
      return [message.entries]
    case 'end':
      return [message.hash]
    case 'done':
      return [message.hash, message.stored, message.unlinked]
    case 'push':
      return [formatVersion, message.namespace, message.entries]
    case 'offer':
      return [formatVersion, message.rows.map(({ tag, state }) => [tag, state])]
    case 'offered':
      return [message.same, message.unknown]
    case 'names':
      return [message.namespaces]
    case 'claim':
      return [formatVersion, message.namespace, message.entries]
    case 'follow': {
      const rows = message.rows.map(({ scope, hash, presentation }) => [encodeScope(scope), hash, presentation])
      return [formatVersion, message.namespace, message.authHash, rows]
    }
    case 'followed':
      return [message.same, message.differ, message.denied]
  }
}

/** @throws TOO_LARGE, CORRUPT, UNSUPPORTED_FORMAT */
export function decodeSyncMessage(bytes: Uint8Array): SyncMessage {
  const message = decodeCanonical(bytes, { maxBytes: maxSyncFrameBytes, what: 'a sync frame' })
  if (!Array.isArray(message)) throw malformed()
  const [code, ...members] = message
  switch (code) {
    case codes.hello: {
      const [version, namespace, scope, hash, presentation] = members
      checkVersion(version)
      checkCount(members, 5)
      return {
        type: 'hello',
        namespace: bytesOf(namespace, 32),
        scope: scopeOf(scope),
        hash: hash === null ? undefined : bytesOf(hash, 32),
        presentation: presentation === null ? undefined : someBytesOf(presentation, maxPresentationBytes),
      }
    }
    case codes.denied:
      checkCount(members, 3)
      if (members[0] !== 'ACCESS_DENIED') throw malformed()
      return { type: 'denied', reason: reasonOf(members[1]), evidence: evidenceOf(members[2]) }
    case codes.vector: {
      checkCount(members, 5)
      const [same, rows, ids, wants, more] = members
      return {
        type: 'vector',
        same: booleanOf(same),
        rows: listOf(rows, rowsInPage).map(rowOf),
        ids: listOf(ids, rowsInPage).map((id) => bytesOf(id, 16)),
        wants: listOf(wants, maxSyncWants).map((hash) => bytesOf(hash, 32)),
        more: booleanOf(more),
      }
    }
    case codes.entries:
      checkCount(members, 1)
      return { type: 'entries', entries: entriesOf(members[0]) }
    case codes.end:
      checkCount(members, 1)
      return { type: 'end', hash: bytesOf(members[0], 32) }
    case codes.done: {
      checkCount(members, 3)
      const [hash, stored, unlinked] = members
      return { type: 'done', hash: bytesOf(hash, 32), stored: countOf(stored), unlinked: countOf(unlinked) }
    }
    case codes.push: {
      const [version, namespace, entries] = members
      checkVersion(version)
      checkCount(members, 3)
      return { type: 'push', namespace: bytesOf(namespace, 32), entries: entriesOf(entries) }
    }
    case codes.offer: {
      const [version, rows] = members
      checkVersion(version)
      checkCount(members, 2)
      return { type: 'offer', rows: listOf(rows, maxSyncOffers).map(offerRowOf) }
    }
    case codes.offered:
      checkCount(members, 2)
      return { type: 'offered', same: indexesOf(members[0]), unknown: indexesOf(members[1]) }
    case codes.names:
      checkCount(members, 1)
      return { type: 'names', namespaces: listOf(members[0], maxSyncOffers).map((id) => bytesOf(id, 32)) }
    case codes.claim: {
      const [version, namespace, list] = members
      checkVersion(version)
      checkCount(members, 3)
      const entries = entriesOf(list)
      if (entries.length > maxClaimEntries) throw malformed()
      return { type: 'claim', namespace: bytesOf(namespace, 32), entries }
    }
    case codes.follow: {
      const [version, namespace, authHash, list] = members
      checkVersion(version)
      checkCount(members, 4)
      const rows = listOf(list, maxFollowsInFrame).map(followRowOf)
      if (rows.length === 0) throw malformed()
      return { type: 'follow', namespace: bytesOf(namespace, 32), authHash: bytesOf(authHash, 32), rows }
    }
    case codes.followed: {
      checkCount(members, 3)
      const [same, differ, denied] = members
      return { type: 'followed', same: booleanOf(same), differ: indexesOf(differ), denied: indexesOf(denied) }
    }
    default:
      throw malformed()
  }
}

/** Null, no bytes, or the artifact. */
function encodeScope(scope: SyncScope): Uint8Array | null {
  return scope.kind === 'namespace' ? null : scope.kind === 'auth' ? new Uint8Array(0) : scope.artifact
}

function scopeOf(value: unknown): SyncScope {
  if (value === null) return { kind: 'namespace' }
  if (value instanceof Uint8Array && value.length === 0) return { kind: 'auth' }
  return { kind: 'artifact', artifact: bytesOf(value, 20) }
}

function reasonOf(value: unknown): RefusalReason | undefined {
  if (value === null) return undefined
  const reason = refusalReasons.find((known) => known === value)
  if (reason === undefined) throw malformed()
  return reason
}

function evidenceOf(value: unknown): Uint8Array[] {
  const entries = listOf(value, maxDenialEvidence)
  if (!entries.every((entry) => entry instanceof Uint8Array)) throw malformed()
  return entries as Uint8Array[]
}

function malformed(): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', 'not a valid sync frame')
}

function checkVersion(version: unknown): void {
  requireFormatVersion(version, formatVersion, 'this sync frame')
}

function checkCount(members: readonly unknown[], count: number): void {
  if (members.length !== count) throw malformed()
}

function bytesOf(value: unknown, length: number): Uint8Array {
  if (value instanceof Uint8Array && value.length === length) return value
  throw malformed()
}

function someBytesOf(value: unknown, maxBytes: number): Uint8Array {
  if (value instanceof Uint8Array && value.length <= maxBytes) return value
  throw malformed()
}

function booleanOf(value: unknown): boolean {
  if (typeof value === 'boolean') return value
  throw malformed()
}

function countOf(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
  throw malformed()
}

function listOf(value: unknown, max: number): unknown[] {
  if (Array.isArray(value) && value.length <= max) return value
  throw malformed()
}

function indexesOf(value: unknown): number[] {
  const indexes = listOf(value, maxSyncOffers).map(countOf)
  if (indexes.some((index, at) => at > 0 && index <= (indexes[at - 1] as number))) throw malformed()
  return indexes
}

function entriesOf(value: unknown): Uint8Array[] {
  const entries = listOf(value, maxSyncFrameBytes)
  if (entries.length === 0 || !entries.every((entry) => entry instanceof Uint8Array)) throw malformed()
  return entries as Uint8Array[]
}

function rowOf(value: unknown): VectorRow {
  const row = listOf(value, 3)
  checkCount(row, 3)
  return { chain: bytesOf(row[0], 16), seq: countOf(row[1]), hash: bytesOf(row[2], 32) }
}

function followRowOf(value: unknown): FollowMessageRow {
  const row = listOf(value, 3)
  checkCount(row, 3)
  const scope = scopeOf(row[0])
  if (scope.kind === 'namespace') throw malformed()
  return { scope, hash: bytesOf(row[1], 32), presentation: someBytesOf(row[2], maxPresentationBytes) }
}

function offerRowOf(value: unknown): OfferRow {
  const row = listOf(value, 2)
  checkCount(row, 2)
  return { tag: bytesOf(row[0], 32), state: bytesOf(row[1], 16) }
}
