import { formatArtifactId, parseArtifactId } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { maxCapabilityBytes } from '../limits.ts'

/** What a capability URL is made of. Only the token is signed: host, path and the order of the query may change on the way. */
export interface LinkUrl {
  /** Where the gateway is, without a slash at the end: `https://files.example.org`. */
  readonly gateway: string
  /** 20 bytes. */
  readonly artifact: Uint8Array
  /** As the URL says it; what counts is what the token says. */
  readonly name: string
  /** The capability's bytes, not yet checked. */
  readonly token: Uint8Array
}

const maxTokenText = Math.ceil((maxCapabilityBytes * 4) / 3)

/**
 * `<gateway>/a/<artifact id>/<name>?cap=<base64url>`.
 *
 * @throws INVALID_ARGUMENT when the gateway is not an http(s) URL without query, fragment and credentials
 */
export function formatLinkUrl({ gateway, artifact, name, token }: LinkUrl): string {
  return `${gatewayBase(gateway)}/a/${formatArtifactId(artifact)}/${encodeSegment(name)}?cap=${encodeToken(token)}`
}

/**
 * Reads a capability URL, whatever else its query holds.
 *
 * @throws INVALID_ARGUMENT when it is none; CORRUPT when what should be the token is damaged
 */
export function parseLinkUrl(text: string): LinkUrl {
  const url = parseHttpUrl(text)
  const match = /^(.*)\/a\/(art_[a-z2-7]+)\/([^/]+)$/.exec(url.pathname)
  const [, base = '', id, segment] = match ?? []
  const [token, ...others] = url.searchParams.getAll('cap')
  if (id === undefined || segment === undefined || token === undefined || others.length > 0) throw notALink()
  return {
    gateway: url.origin + base,
    artifact: parseArtifactId(id),
    name: decodeSegment(segment),
    token: decodeToken(token),
  }
}

/**
 * Where a gateway is, as it stands before `/a/…`.
 *
 * @throws INVALID_ARGUMENT
 */
export function gatewayBase(text: string): string {
  const url = parseHttpUrl(text)
  if (url.search !== '' || url.hash !== '' || url.username !== '' || url.password !== '') {
    throw new ArtifactHubError('INVALID_ARGUMENT', 'the URL of a gateway has no query, fragment or credentials')
  }
  return url.origin + url.pathname.replace(/\/+$/, '')
}

/** Base64url without padding (RFC 4648 section 5). */
function encodeToken(token: Uint8Array): string {
  return Buffer.from(token.buffer, token.byteOffset, token.byteLength).toString('base64url')
}

/**
 * The bytes of `cap`: base64url, unpadded, one spelling for each token.
 *
 * @throws TOO_LARGE; CORRUPT
 */
export function decodeToken(text: string): Uint8Array<ArrayBuffer> {
  if (text.length > maxTokenText) throw new ArtifactHubError('TOO_LARGE', 'this is longer than any capability')
  const bytes = Buffer.from(text, 'base64url')
  // Encoded again: the decoder skips what it does not know, and there are spare bits.
  if (bytes.toString('base64url') !== text) throw new ArtifactHubError('CORRUPT', 'this capability is not base64url')
  return new Uint8Array(bytes)
}

function encodeSegment(name: string): string {
  // What encodeURIComponent leaves and shells or markup read: RFC 3986 lets all of it be encoded.
  return encodeURIComponent(name).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    throw notALink()
  }
}

function parseHttpUrl(text: string): URL {
  if (URL.canParse(text)) {
    const url = new URL(text)
    if (url.protocol === 'https:' || url.protocol === 'http:') return url
  }
  throw new ArtifactHubError('INVALID_ARGUMENT', 'this is not an http or https URL')
}

function notALink(): ArtifactHubError {
  return new ArtifactHubError('INVALID_ARGUMENT', 'this is not a capability URL (…/a/art_…/name?cap=…)')
}
