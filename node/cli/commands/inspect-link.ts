import { decodeCapability, type LinkClaims, parseLinkUrl, timeOf } from '../../../src/capability/index.ts'
import { cidOf } from '../../../src/content/index.ts'
import { equalBytes, formatArtifactId, formatNamespaceId, toHex } from '../../../src/encoding/index.ts'
import { ArtifactHubError, isHubError } from '../../../src/errors.ts'
import { formatDid } from '../../../src/identity/index.ts'
import type { Session } from '../session.ts'
import { secretOf } from '../standard-input.ts'
import { fieldLines, formatBytes, formatCount, formatDuration, formatTime } from '../text/index.ts'

/** `url inspect`: what a link says, in words. Nothing of this node is needed for it. */
export async function inspectLink(session: Session, _options: unknown, reference: string): Promise<void> {
  const link = decodeLink(await secretOf(session, reference))
  await session.result(link.json, fieldLines(link.lines))
}

/** What a link says. */
interface InspectedLink {
  readonly jti: string
  readonly json: Record<string, unknown>
  readonly lines: [string, string][]
}

/** @throws INVALID_ARGUMENT for what is no link; SIGNATURE_INVALID, UNSUPPORTED_FORMAT for what its issuer did not sign so */
export function decodeLink(url: string): InspectedLink {
  const { gateway, artifact, token } = parsed(url)
  const { claims } = verified(token)
  if (claims.kind !== 'link') throw invalid('what it carries is no link')
  if (!equalBytes(claims.artifact, artifact)) throw invalid('its path names another artifact than its signed part')
  const nowMs = Date.now()
  return {
    jti: toHex(claims.jti),
    json: { gateway, ...linkJson(claims, nowMs) },
    lines: [['link', `${toHex(claims.jti)}, signed by its issuer`], ...linesOf(claims, gateway, nowMs)],
  }
}

function parsed(url: string): ReturnType<typeof parseLinkUrl> {
  try {
    return parseLinkUrl(url)
  } catch (error) {
    throw isHubError(error, 'INVALID_ARGUMENT') ? error : invalid('its capability is damaged', error)
  }
}

function verified(token: Uint8Array): ReturnType<typeof decodeCapability> {
  try {
    return decodeCapability(token)
  } catch (error) {
    throw isHubError(error, 'UNSUPPORTED_FORMAT') ? error : invalid('it is damaged, or not signed by its issuer', error)
  }
}

function linesOf(claims: LinkClaims, gateway: string, nowMs: number): [string, string][] {
  const { pinned, name, contentType, disposition, audience, via, ip, maxUses } = claims
  const what =
    pinned === undefined
      ? 'whatever version is current'
      : `one version, ${formatBytes(pinned.root.sizeBytes)}, SHA-256 ${toHex(pinned.sha256)}`
  const how = disposition === 'attachment' ? 'saved by browsers' : 'shown by browsers where that is safe'
  const lines: [string, string][] = [
    ['allows', 'anyone who holds it to download this and nothing else'],
    ['artifact', `${formatArtifactId(claims.artifact)} in ${formatNamespaceId(claims.namespace)}`],
    ['content', what],
    ['as', `${name ?? 'the artifact’s own name'} (${contentType ?? 'its own type'}), ${how}`],
    ['when', whenOf(claims, nowMs)],
    ['issuer', `${formatDid(claims.issuer)}: it ends with its role, or when revoked; gateways know, this does not`],
    ['points to', gateway],
  ]
  for (const { id } of audience) lines.push(['served by', formatDid(id)])
  for (const { agent, addresses } of via) lines.push(['content from', [formatDid(agent), ...addresses].join(' ')])
  if (ip !== undefined) lines.push(['only for', ip])
  if (maxUses !== undefined) lines.push(['how often', `each byte ${formatCount(maxUses, 'time')}`])
  return lines
}

function whenOf(claims: LinkClaims, nowMs: number): string {
  const { notBefore, expires } = claims
  const [from, until] = [notBefore, expires].map((seconds) => formatTime(new Date(seconds * 1000))) as [string, string]
  switch (timeOf(claims, nowMs, 0)) {
    case 'expired':
      return `expired at ${until}, ${formatDuration(nowMs - expires * 1000)} ago`
    case 'not-yet':
      return `from ${from}, in ${formatDuration(notBefore * 1000 - nowMs)}, until ${until}`
    case 'valid':
      return `until ${until}, for ${formatDuration(expires * 1000 - nowMs)} more`
  }
}

function linkJson(claims: LinkClaims, nowMs: number): Record<string, unknown> {
  const { pinned, name, contentType, disposition, audience, via, ip, maxUses, notBefore, expires } = claims
  return {
    jti: toHex(claims.jti),
    issuer: formatDid(claims.issuer),
    namespace: formatNamespaceId(claims.namespace),
    artifactId: formatArtifactId(claims.artifact),
    content: pinned === undefined ? null : contentJson(pinned),
    filename: name ?? null,
    contentType: contentType ?? null,
    disposition,
    gateways: audience.map(({ id }) => formatDid(id)),
    providers: via.map(({ agent, addresses }) => ({ did: formatDid(agent), addresses })),
    ip: ip ?? null,
    maxUses: maxUses ?? null,
    notBefore: new Date(notBefore * 1000).toISOString(),
    expiresAt: new Date(expires * 1000).toISOString(),
    time: timeOf(claims, nowMs, 0),
  }
}

function contentJson({ root, sha256 }: NonNullable<LinkClaims['pinned']>): Record<string, unknown> {
  return { cid: cidOf(root.digest, root.codec), sizeBytes: root.sizeBytes, sha256: toHex(sha256) }
}

function invalid(why: string, cause?: unknown): ArtifactHubError {
  return new ArtifactHubError('SIGNATURE_INVALID', `this link is good for nothing: ${why}`, { cause })
}
