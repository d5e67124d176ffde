import { type ErrorCode, type ErrorDetails, errorTable, isHubError } from '../../src/errors.ts'

/** A refusal as it goes out: nothing of the link, nothing of what is behind it. */
export interface Problem {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Details that a client may see, by code: what it sent itself, and the time. */
const toldDetails: Partial<Record<ErrorCode, readonly string[]>> = {
  EXPIRED: ['expiresAt', 'serverTime'],
  NOT_YET_VALID: ['notBefore', 'serverTime'],
  RANGE_INVALID: ['sizeBytes'],
  RATE_LIMITED: ['retryAfterSeconds'],
}

/** The code that a failure is told by; whatever is not one of ours is a bug. */
export function codeOf(error: unknown): ErrorCode {
  return isHubError(error) ? error.code : 'INTERNAL'
}

/**
 * A refusal by RFC 9457, or a small page for whoever would rather have HTML. The same for a code whatever was asked for, but for
 * `toldDetails`.
 *
 * @param status another than the code's own
 */
export function problemOf(
  error: unknown,
  accept: string | undefined,
  {
    status,
    headers = {},
  }: { readonly status?: number | undefined; readonly headers?: Readonly<Record<string, string>> } = {},
): Problem {
  const code = codeOf(error)
  const traits = errorTable[code]
  const answer = status ?? traits.httpStatus
  const details: Record<string, ErrorDetails[string]> = {}
  if (isHubError(error)) {
    for (const name of toldDetails[code] ?? []) {
      const value = error.details[name]
      if (value !== undefined) details[name] = value
    }
  }
  const isPage = prefersHtml(accept)
  const text = isPage
    ? page(answer, code, traits.means)
    : `${JSON.stringify({ type: 'about:blank', title: traits.means, status: answer, code, retryable: traits.retryable, ...details })}\n`
  const retryAfter = details.retryAfterSeconds ?? (traits.retryable ? 5 : undefined)
  return {
    status: answer,
    headers: {
      ...headers,
      'content-type': isPage ? 'text/html; charset=utf-8' : 'application/problem+json',
      'content-length': String(Buffer.byteLength(text)),
      'content-security-policy': "default-src 'none'; sandbox",
      'cache-control': 'no-store',
      vary: 'Accept',
      ...(answer === 429 || answer === 503 ? { 'retry-after': String(retryAfter ?? 5) } : {}),
    },
    body: text,
  }
}

/** Whether a client names HTML and likes it at least as much as anything else that could be sent. A bare wildcard names nothing. */
export function prefersHtml(accept: string | undefined): boolean {
  let html = 0
  let json = 0
  for (const part of (accept ?? '').split(',')) {
    const [type = '', ...parameters] = part.split(';').map((text) => text.trim().toLowerCase())
    const quality = Number(parameters.find((text) => text.startsWith('q='))?.slice(2) ?? '1')
    if (!(quality > 0)) continue
    if (type === 'text/html' || type === 'application/xhtml+xml') html = Math.max(html, quality)
    else if (type === 'application/json' || type === 'application/problem+json') json = Math.max(json, quality)
  }
  return html > json
}

const pageTitles: Partial<Record<ErrorCode, string>> = {
  EXPIRED: 'This link has expired',
  REVOKED: 'This link was taken back',
  EXHAUSTED: 'This link has been used up',
  NOT_YET_VALID: 'This link is not valid yet',
  RATE_LIMITED: 'Too many requests',
}

function page(status: number, code: ErrorCode, means: string): string {
  const title = pageTitles[code] ?? (status >= 500 ? 'Not available now' : 'This link does not work')
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title>
<h1>${title}</h1>
<p>${means}. Ask whoever sent you the link for another one.</p>
<p><code>${status} ${code}</code></p>
</html>
`
}
