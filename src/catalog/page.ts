import { ArtifactHubError } from '../errors.ts'
import { defaultPageItems, maxPageItems } from '../limits.ts'

/** One page of a list. */
export interface Page<T> {
  readonly items: T[]
  /** Absent on the last page. */
  readonly nextCursor?: string
}

/** Which page of a list. */
export interface PageOptions {
  /** Items, 1 to 1,000; default 100. */
  readonly limit?: number | undefined
  /** `nextCursor` of the page before; only with the same other options. */
  readonly cursor?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/** The limit, checked. @throws INVALID_ARGUMENT */
export function pageLimit(limit: number | undefined): number {
  if (limit === undefined) return defaultPageItems
  if (!Number.isInteger(limit) || limit < 1 || limit > maxPageItems) {
    throw new ArtifactHubError('INVALID_ARGUMENT', `limit must be an integer from 1 to ${maxPageItems}`)
  }
  return limit
}
