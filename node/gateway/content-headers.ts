import { cidOf } from '../../src/content/index.ts'
import type { LinkContent } from './content-source.ts'

/** Types that a browser may show: none of them runs a script in the gateway's origin. */
const shownTypes =
  /^(?:image\/(?:png|jpeg|gif|webp|avif|bmp)|audio\/[\w.+-]+|video\/[\w.+-]+|text\/(?:plain|csv|markdown)|application\/(?:pdf|json))$/
/** A media type with parameters that can stand in a header as it is (RFC 9110 section 8.3.1). */
const mediaType =
  /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+(?:[ \t]*;[ \t]*[\w!#$&^.+-]+=(?:[\w!#$&^.+-]+|"[\x20\x21\x23-\x5b\x5d-\x7e]*"))*$/
/** What RFC 8187 lets stand unescaped in an extended value, of what encodeURIComponent leaves. */
const notAttributeCharacter = /['()*]/g

/** The strong ETag of a version, with its quotes: its root's CID. */
export function etagOf({ root }: LinkContent): string {
  return `"${cidOf(root.digest, root.codec)}"`
}

/** What is said of a content whatever part of it is sent. */
export function contentHeaders(
  content: LinkContent,
  { etag, disposition }: { readonly etag: string; readonly disposition: 'attachment' | 'inline' },
): Record<string, string> {
  const type = mediaType.test(content.contentType) ? content.contentType : 'application/octet-stream'
  const isShown = disposition === 'inline' && shownTypes.test(essenceOf(type))
  return {
    etag,
    'accept-ranges': 'bytes',
    'content-type': type,
    'content-disposition': contentDisposition(isShown ? 'inline' : 'attachment', content.name),
    'repr-digest': `sha-256=:${Buffer.from(content.sha256).toString('base64')}:`,
    'content-security-policy': "default-src 'none'; sandbox",
    'cross-origin-resource-policy': 'cross-origin',
  }
}

/** Headers of every answer. */
export const commonHeaders = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'access-control-allow-origin': '*',
  'access-control-expose-headers':
    'Accept-Ranges, Content-Disposition, Content-Length, Content-Range, ETag, Repr-Digest, Retry-After',
} as const

/** RFC 6266: a fallback in ASCII for old clients, and the name as it is (RFC 8187) when that is not the same. */
export function contentDisposition(how: 'attachment' | 'inline', name: string): string {
  const fallback = name.replaceAll(/[^\x20-\x7e]/gu, '_').replaceAll(/["\\%/]/g, '_')
  if (fallback === name) return `${how}; filename="${fallback}"`
  const escaped = (character: string) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`
  const extended = encodeURIComponent(name.toWellFormed()).replaceAll(notAttributeCharacter, escaped)
  return `${how}; filename="${fallback}"; filename*=UTF-8''${extended}`
}

/** How long a browser may keep what it got: no longer than the link lasts. */
export function cacheControl(remainingMs: number, capSeconds: number): string {
  return `private, max-age=${Math.max(0, Math.min(Math.floor(remainingMs / 1000), capSeconds))}`
}

function essenceOf(type: string): string {
  return (type.split(';', 1)[0] as string).trim().toLowerCase()
}
