import { decodeCanonical, encodeCanonical, formatGroupId, requireFormatVersion } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import { formatDid } from '../../src/identity/index.ts'
import { nodeKey } from '../../src/namespace/index.ts'
import type { KeyValueChange, KeyValueStore } from '../../src/storage/index.ts'
import type { OpenNamespace } from './namespace-book.ts'

const formatVersion = 1
const maxRowBytes = 256

const reasons = ['REMOVED', 'GROUP'] as const

/** Why a group or a namespace is out of reach. */
export interface Ending {
  /** `REMOVED`: its role was taken away. `GROUP`: it had one by way of a group alone, and is in that no more. */
  readonly reason: (typeof reasons)[number]
  /** Who took the role away: raw public key. */
  readonly by: Uint8Array | undefined
  /** When, by that one's clock, and when this node learned of it; milliseconds since 1970. */
  readonly atMs: number
  readonly learnedMs: number
}

/** A log that is kept out of reach until the agent is let in again, or its grace period is over. */
export interface EndedLog {
  readonly namespace: OpenNamespace
  readonly ending: Ending
}

/** What ended a log (id: 32 bytes), if anything did. @throws CORRUPT, UNSUPPORTED_FORMAT */
export async function loadEnding(store: KeyValueStore, id: Uint8Array): Promise<Ending | undefined> {
  const row = await store.get(endedKey(id))
  return row && decodeRow(row)
}

/** The change that remembers an end (id: 32 bytes): `{ v: 1, why, by, at, ms }`. */
export function putEnded(id: Uint8Array, { reason, by, atMs, learnedMs }: Ending): KeyValueChange {
  const value = encodeCanonical({ v: formatVersion, why: reason, by: by ?? null, at: atMs, ms: learnedMs })
  return { type: 'put', key: endedKey(id), value }
}

/** The change that forgets it. */
export function deleteEnded(id: Uint8Array): KeyValueChange {
  return { type: 'del', key: endedKey(id) }
}

/**
 * Whether only a person removes a log that ended, and no `gc`: this agent had it by name and wrote in it. What nobody else has fetched of that is nowhere else,
 * and who took the role away may think better of it.
 */
export async function isForPerson({ row, log }: OpenNamespace): Promise<boolean> {
  const isByName = log.membership.everGrantedTo(log.env.agent.publicKey).some(({ via }) => via === undefined)
  return row.kind === 'namespace' && isByName && (await log.held.hasOwnWrites())
}

/** What is said of a log that ended. */
export function endedError({ namespace: { row, log }, ending }: EndedLog, cause?: unknown): ArtifactHubError {
  const { kind, name } = row
  const by = ending.by && formatDid(ending.by)
  const why =
    ending.reason === 'GROUP'
      ? 'by way of a group, and is in that group no more'
      : `until ${new Date(ending.atMs).toISOString()}, when ${by} took its role away`
  const id = kind === 'group' ? formatGroupId(row.id) : log.idText
  return new ArtifactHubError('ACCESS_DENIED', `this agent was in ${kind} ${JSON.stringify(name)} ${why}`, {
    details: { [kind]: id, reason: ending.reason, by: by ?? null, at: new Date(ending.atMs).toISOString() },
    ...(cause === undefined ? {} : { cause }),
  })
}

function endedKey(id: Uint8Array): Uint8Array {
  return nodeKey('ended', id)
}

function decodeRow(value: Uint8Array): Ending {
  const row = decodeCanonical(value, { maxBytes: maxRowBytes, what: 'a row of what ended' })
  const { v, why, by, at, ms } = (typeof row === 'object' && row !== null ? row : {}) as Record<string, unknown>
  requireFormatVersion(v, formatVersion, 'what this node remembers of what ended')
  const reason = reasons.find((one) => one === why)
  const isWell = (by === null || (by instanceof Uint8Array && by.length === 32)) && isTime(at) && isTime(ms)
  if (reason === undefined || !isWell)
    throw new ArtifactHubError('CORRUPT', 'what this node remembers of what ended is damaged')
  return { reason, by: by ?? undefined, atMs: at, learnedMs: ms }
}

function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value)
}
