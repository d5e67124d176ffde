import { ArtifactHubError } from '../errors.ts'
import { queryHash } from './cursor.ts'
import { type Condition, conditionText, parseFilter } from './filter.ts'
import { orderedClock } from './index-rows.ts'
import { clockOf, tables } from './keys.ts'
import { matchesConditions } from './match.ts'
import { canonicalJson, type Metadata } from './metadata.ts'
import type { ArtifactState } from './operation.ts'
import { orderedText } from './ordered.ts'
import type { ArtifactHead } from './rows.ts'

/** What a list asks for: all that is named must hold. */
export interface ListQuery {
  /** See `parseFilter`. */
  readonly metadataFilter?: unknown
  readonly namePrefix?: string | undefined
  /** Equal as text, parameters included. */
  readonly contentType?: string | undefined
  /** At or after. */
  readonly createdAfter?: Date | undefined
  /** Before. */
  readonly createdBefore?: Date | undefined
  /** Default `{ by: 'createdAt', direction: 'desc' }`; by name the default direction is `asc`. */
  readonly order?: ListOrder | undefined
}

/** The order of a list; ties are broken, so every list has one order. */
export interface ListOrder {
  readonly by: 'createdAt' | 'updatedAt' | 'name'
  readonly direction?: 'asc' | 'desc' | undefined
}

/** A query that was checked. */
export interface CheckedQuery {
  readonly conditions: readonly Condition[]
  readonly namePrefix: string | undefined
  readonly contentType: string | undefined
  /** Milliseconds since 1970, inclusive. */
  readonly createdFromMs: number | undefined
  /** Milliseconds since 1970, exclusive. */
  readonly createdToMs: number | undefined
  readonly by: ListOrder['by']
  readonly descending: boolean
  /** What cursors are bound to. */
  readonly hash: Uint8Array
}

/** The index that holds all artifacts in an order; the rest of its key is an artifact's position in that order. */
export const orderTables = { createdAt: tables.byCreated, updatedAt: tables.byUpdated, name: tables.byName } as const

/** @throws INVALID_ARGUMENT */
export function checkQuery(query: ListQuery): CheckedQuery {
  const by = query.order?.by ?? 'createdAt'
  if (!Object.hasOwn(orderTables, by)) throw invalid('order.by must be createdAt, updatedAt or name')
  const direction = query.order?.direction ?? (by === 'name' ? 'asc' : 'desc')
  if (direction !== 'asc' && direction !== 'desc') throw invalid('order.direction must be asc or desc')
  const checked = {
    conditions: parseFilter(query.metadataFilter),
    namePrefix: checkText(query.namePrefix, 'namePrefix') || undefined,
    contentType: checkText(query.contentType, 'contentType'),
    createdFromMs: checkTime(query.createdAfter, 'createdAfter'),
    createdToMs: checkTime(query.createdBefore, 'createdBefore'),
    by,
    descending: direction === 'desc',
  }
  const text = canonicalJson({ ...checked, conditions: conditionText(checked.conditions) }, { what: 'query' })
  return { ...checked, hash: queryHash(text) }
}

/** Whether an artifact belongs in the list. */
export function matchesQuery(query: CheckedQuery, head: ArtifactHead, state: ArtifactState): boolean {
  if (head.first === undefined || head.current === undefined) return false
  const createdMs = head.first.clock.wallMs
  return (
    (query.namePrefix === undefined || state.name.startsWith(query.namePrefix)) &&
    (query.contentType === undefined || state.contentType === query.contentType) &&
    (query.createdFromMs === undefined || createdMs >= query.createdFromMs) &&
    (query.createdToMs === undefined || createdMs < query.createdToMs) &&
    (query.conditions.length === 0 || matchesConditions(state.metadata as Metadata, query.conditions))
  )
}

/** Where an artifact with a live version stands in an order: bytewise, ascending. */
export function positionOf(
  by: ListOrder['by'],
  artifact: Uint8Array,
  head: ArtifactHead,
  state: ArtifactState,
): Uint8Array {
  if (head.first === undefined || head.current === undefined) {
    throw new ArtifactHubError('INTERNAL', 'an artifact without a live version has no position')
  }
  if (by === 'createdAt') return Buffer.concat([orderedClock(head.first.clock), artifact])
  const updated = orderedClock(clockOf(head.current))
  return Buffer.concat(by === 'updatedAt' ? [updated, artifact] : [orderedText(state.name), updated, artifact])
}

function checkText(value: unknown, what: string): string | undefined {
  if (value === undefined) return undefined
  if (typeof value !== 'string' || !value.isWellFormed()) throw invalid(`${what} must be a well-formed string`)
  return value
}

function checkTime(value: unknown, what: string): number | undefined {
  if (value === undefined) return undefined
  if (!(value instanceof Date) || Number.isNaN(value.getTime())) throw invalid(`${what} must be a valid Date`)
  return value.getTime()
}

function invalid(message: string): ArtifactHubError {
  return new ArtifactHubError('INVALID_ARGUMENT', message)
}
