import { expect, test } from 'vitest'
import { ArtifactHubError } from '../../src/errors.ts'
import { prefersHtml, problemOf } from './problem.ts'

test.each([
  [undefined, false],
  ['*/*', false],
  ['application/json', false],
  ['text/html', true],
  ['text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8', true],
  ['text/html;q=0.5, application/json', false],
  ['text/html, application/problem+json;q=0.9', true],
  ['text/html;q=0', false],
  ['text/html;q=abc', false],
  ['image/avif,image/webp,*/*;q=0.8', false],
])('Accept: %s', (accept, isHtml) => {
  expect(prefersHtml(accept)).toBe(isHtml)
})

test('a problem says its code and nothing of what is behind it', () => {
  const error = new ArtifactHubError('NOT_FOUND', 'secret path', {
    details: { path: '/secret' },
    cause: new Error('secret'),
  })
  const { status, headers, body } = problemOf(error, undefined)
  expect(status).toBe(404)
  expect(headers).toMatchObject({ 'content-type': 'application/problem+json', 'cache-control': 'no-store' })
  expect(JSON.parse(body)).toEqual({
    type: 'about:blank',
    title: 'no such artifact, version, namespace or file',
    status: 404,
    code: 'NOT_FOUND',
    retryable: false,
  })
  expect(problemOf(error, 'text/html').body).not.toContain('secret')
})

test('of what is no error of ours nothing is told', () => {
  const { status, body } = problemOf(new TypeError('secret'), undefined)
  expect(status).toBe(500)
  expect(JSON.parse(body)).toMatchObject({ code: 'INTERNAL', status: 500 })
  expect(body).not.toContain('secret')
})

test('who is to come again is told when', () => {
  const limited = new ArtifactHubError('RATE_LIMITED', '', { details: { retryAfterSeconds: 3 } })
  expect(problemOf(limited, undefined)).toMatchObject({ status: 429, headers: { 'retry-after': '3' } })
  expect(problemOf(new ArtifactHubError('STALE_VIEW', ''), undefined)).toMatchObject({
    status: 503,
    headers: { 'retry-after': '5' },
  })
})

test('the page for people has no script and no more than the code', () => {
  const { headers, body } = problemOf(new ArtifactHubError('EXPIRED', ''), 'text/html')
  expect(headers['content-type']).toBe('text/html; charset=utf-8')
  expect(headers['content-length']).toBe(String(Buffer.byteLength(body)))
  expect(body).toContain('403 EXPIRED')
  expect(body).not.toMatch(/<script|onclick|style=/i)
})
