import {
  isIpRange,
  isLinkName,
  type LinkClaims,
  linkNameOf,
  sealLinkKey,
  signCapability,
} from '../../../src/capability/index.ts'
import { ArtifactHubError, isHubError } from '../../../src/errors.ts'
import type { TicketPeer } from '../../../src/identity/index.ts'
import { maxLinkSeconds } from '../../../src/limits.ts'
import { type Grant, rankOf } from '../../../src/membership/index.ts'
import type { SignedUrlOptions } from '../../link-client.ts'
import type { Found } from '../lookup.ts'
import type { Replication } from '../replication/replication.ts'
import type { LinkAudience } from './audience.ts'
import type { LinkCapability } from './links.ts'
import { linkProviders, withoutOneAddress } from './providers.ts'

const defaultSeconds = 3_600

/**
 * Signs a link to a version, or to whatever is current.
 * @throws ACCESS_DENIED unless this agent writes there, and for what it cannot read; INVALID_ARGUMENT; TOO_LARGE
 */
export async function issueLink(
  replication: Replication,
  { namespace, record }: Found,
  audience: LinkAudience,
  options: Omit<SignedUrlOptions, 'artifactId' | 'gateways'>,
): Promise<LinkCapability> {
  const { env } = replication
  const { log } = namespace
  const isPinned = options.version !== 'latest'
  const place = {
    issuer: env.agent.publicKey,
    grant: writingGrant(namespace.log.membership.grantsOf(env.agent.publicKey)).hash,
    namespace: log.id,
    artifact: record.artifact,
    audience: audience.agents.map((id) => ({ kind: 'agent' as const, id })),
    jti: env.random(16),
  }
  const { root, state, entry } = record
  const { content } = await log.artifactKeys.open(record.artifact, root.keyId)
  const sealed = sealLinkKey(content.encryption, root.keyId, place, env.random(32))
  const claims: LinkClaims = {
    kind: 'link',
    ...place,
    ...timesOf(options, env.now()),
    pinned: isPinned ? { version: entry, root, sha256: state.sha256, ...sealed } : undefined,
    via: isForOthers(place) ? linkProviders(replication, namespace) : [],
    name: nameOf(options.filename, isPinned ? state.name : undefined),
    contentType: isPinned ? state.contentType : undefined,
    disposition: options.disposition ?? 'attachment',
    ip: rangeOf(options.ip),
    maxUses: usesOf(options.maxUses, place.audience.length),
  }
  return signAsFits(env.agent, claims)
}

/** The grant that this agent writes under: what it signs ends with it. */
function writingGrant(grants: readonly Grant[]): Grant {
  const [grant] = grants
  if (grant !== undefined && rankOf(grant.role) >= 1) return grant
  throw new ArtifactHubError('ACCESS_DENIED', 'links are made by whoever may write in the namespace', {
    details: { role: grant?.role ?? null },
  })
}

/** Not a moment sooner over than asked, and from the second on that it was asked in. */
function timesOf(
  { expiresIn = defaultSeconds, notBefore }: Pick<SignedUrlOptions, 'expiresIn' | 'notBefore'>,
  nowMs: number,
): Pick<LinkClaims, 'notBefore' | 'expires'> {
  const startMs = Math.max(nowMs, notBefore?.getTime() ?? 0)
  const start = Math.floor(startMs / 1000)
  const expires = Math.min(Math.ceil(startMs / 1000 + expiresIn), start + maxLinkSeconds)
  if (expires - nowMs / 1000 > maxLinkSeconds + 1) {
    throw invalid('notBefore', `a link is over within ${maxLinkSeconds} seconds (7 days) of when it is made`)
  }
  return { notBefore: start, expires }
}

function nameOf(filename: string | undefined, artifactName: string | undefined): string | undefined {
  if (filename === undefined) return artifactName === undefined ? undefined : linkNameOf(artifactName)
  if (isLinkName(filename)) return filename
  throw invalid('filename', 'must be the name of a file: at most 255 bytes, no slashes, no control characters')
}

function rangeOf(ip: string | undefined): string | undefined {
  if (ip === undefined || isIpRange(ip)) return ip
  throw invalid('ip', 'must be an IP address, or a CIDR prefix whose other bits are zero')
}

function usesOf(maxUses: number | undefined, audiences: number): number | undefined {
  if (maxUses === undefined || audiences === 1) return maxUses
  throw invalid('maxUses', 'needs a single gateway, for it is that one which counts')
}

/** Whether other nodes are to serve it. The issuer's own has the blocks, or knows whom to ask. */
export function isForOthers({ issuer, audience }: Pick<LinkClaims, 'issuer' | 'audience'>): boolean {
  return audience.some(({ id }) => Buffer.compare(id, issuer) !== 0)
}

/** Leaves addresses of providers out until it fits. */
function signAsFits(agent: Parameters<typeof signCapability>[0], claims: LinkClaims): LinkCapability {
  let via: TicketPeer[] | undefined = [...claims.via]
  for (;;) {
    try {
      return signCapability(agent, { ...claims, via })
    } catch (error) {
      via = isHubError(error, 'TOO_LARGE') ? withoutOneAddress(via) : undefined
      if (via === undefined) throw error
    }
  }
}

function invalid(option: string, message: string): ArtifactHubError {
  return new ArtifactHubError('INVALID_ARGUMENT', `getSignedUrl: ${option}: ${message}`, { details: { option } })
}
