/** What a request's conditions make of it. */
export type Condition = 'send' | 'not-modified' | 'failed'

/** The headers that conditions are in. */
export interface ConditionHeaders {
  readonly 'if-match'?: string | undefined
  readonly 'if-none-match'?: string | undefined
  readonly 'if-range'?: string | undefined
}

/**
 * Evaluates If-Match and If-None-Match (RFC 9110 section 13.2.2) against a strong ETag. Dates are not looked at: a version has no
 * Last-Modified.
 *
 * @param etag with its quotes
 */
export function conditionOf(headers: ConditionHeaders, etag: string): Condition {
  const match = headers['if-match']
  if (match !== undefined && !listed(match, etag, false)) return 'failed'
  const noneMatch = headers['if-none-match']
  return noneMatch !== undefined && listed(noneMatch, etag, true) ? 'not-modified' : 'send'
}

/** Whether a Range counts: without If-Range, and with the ETag of what is there (RFC 9110 section 13.1.5: strong, never a date). */
export function rangeCounts(headers: ConditionHeaders, etag: string): boolean {
  const condition = headers['if-range']
  return condition === undefined || condition.trim() === etag
}

/** @param weakly whether `W/"…"` is the same as `"…"` */
function listed(header: string, etag: string, weakly: boolean): boolean {
  if (header.trim() === '*') return true
  // Ours has no comma and no quote inside.
  return header.split(',').some((one) => {
    const tag = one.trim()
    return tag === etag || (weakly && tag === `W/${etag}`)
  })
}
