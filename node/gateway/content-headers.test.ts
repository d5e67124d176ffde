import { expect, test } from 'vitest'
import { cacheControl, contentDisposition, contentHeaders } from './content-headers.ts'
import type { LinkContent } from './content-source.ts'

test.each([
  ['report.pdf', 'attachment; filename="report.pdf"'],
  ['a b.txt', 'attachment; filename="a b.txt"'],
  ['größe.txt', `attachment; filename="gr__e.txt"; filename*=UTF-8''gr%C3%B6%C3%9Fe.txt`],
  ['🎉.png', `attachment; filename="_.png"; filename*=UTF-8''%F0%9F%8E%89.png`],
  ['say "hi".txt', `attachment; filename="say _hi_.txt"; filename*=UTF-8''say%20%22hi%22.txt`],
  ['100%.txt', `attachment; filename="100_.txt"; filename*=UTF-8''100%25.txt`],
  ["it's (1)*.txt", `attachment; filename="it's (1)*.txt"`],
  ["ö'(*).txt", `attachment; filename="_'(*).txt"; filename*=UTF-8''%C3%B6%27%28%2A%29.txt`],
  ['line\r\nbreak', `attachment; filename="line__break"; filename*=UTF-8''line%0D%0Abreak`],
])('a file named %j', (name, header) => {
  expect(contentDisposition('attachment', name)).toBe(header)
})

const shown = (contentType: string) => {
  const headers = contentHeaders({ contentType, name: 'x', sha256: new Uint8Array(32) } as LinkContent, {
    etag: '"e"',
    disposition: 'inline',
  })
  return [headers['content-disposition'], headers['content-type']]
}

test('only what cannot run in a browser is shown there', () => {
  for (const type of [
    'image/png',
    'video/mp4',
    'audio/ogg',
    'application/pdf',
    'text/plain; charset=utf-8',
    'IMAGE/JPEG',
  ])
    expect(shown(type), type).toEqual(['inline; filename="x"', type])
  for (const type of [
    'text/html',
    'image/svg+xml',
    'application/xhtml+xml',
    'text/xml',
    'application/javascript',
    'x/y',
  ])
    expect(shown(type), type).toEqual(['attachment; filename="x"', type])
})

test('what is no media type is bytes', () => {
  for (const type of ['', 'text', 'text/html\r\nSet-Cookie: a=b', 'text/plain; charset', 'a/b; c="d'])
    expect(shown(type), type).toEqual(['attachment; filename="x"', 'application/octet-stream'])
})

test('nobody keeps an answer for longer than the link lasts', () => {
  expect(cacheControl(10_500, 3_600)).toBe('private, max-age=10')
  expect(cacheControl(7_200_000, 3_600)).toBe('private, max-age=3600')
  expect(cacheControl(-5_000, 3_600)).toBe('private, max-age=0')
})
