import { decodeRoot, encodeRoot, rootMembers, validateContentType } from '../catalog/index.ts'
import { encodeCanonical, equalBytes, type Reader, requireFormatVersion } from '../encoding/index.ts'
import { boxedKeyBytes, boxTagBytes, isAddress, type TicketPeer } from '../identity/index.ts'
import {
  maxAudience,
  maxCapabilityTime,
  maxContentTypeBytes,
  maxLinkNameBytes,
  maxLinkProviderAddresses,
  maxLinkProviders,
  maxLinkSeconds,
  maxTicketAddressBytes,
} from '../limits.ts'
import type { Audience, CapabilityClaims, LinkClaims, PinnedContent, ShareClaims } from './claims.ts'
import { isIpRange, maxIpRangeUnits } from './ip-range.ts'
import { isLinkName } from './link-name.ts'

const formatVersion = 1
const audienceKinds = ['agent', 'group'] as const
const maxGen = 2 ** 32 - 1
const maxUsesBound = 2 ** 32 - 1

/** The value whose canonical DAG-CBOR is signed; layout in the README. */
export function claimsValue(claims: CapabilityClaims): unknown {
  const common = {
    v: formatVersion,
    kind: claims.kind,
    iss: claims.issuer,
    grant: claims.grant,
    ns: claims.namespace,
    art: claims.artifact,
    aud: claims.audience.map(({ kind, id }) => [audienceKinds.indexOf(kind), id]),
    nbf: claims.notBefore,
    exp: claims.expires ?? null,
    jti: claims.jti,
  }
  if (claims.kind === 'share') return { ...common, after: claims.after }
  const { pinned } = claims
  return {
    ...common,
    ver: pinned?.version ?? null,
    root: pinned === undefined ? null : encodeRoot(pinned.root),
    sha256: pinned?.sha256 ?? null,
    eph: pinned?.ephemeral ?? null,
    boxes: pinned?.boxes.map(({ tag, box }) => [tag, box]) ?? [],
    via: claims.via.map(({ agent, addresses }) => [agent, addresses]),
    name: claims.name ?? null,
    type: claims.contentType ?? null,
    disp: claims.disposition,
    ip: claims.ip ?? null,
    max: claims.maxUses ?? null,
  }
}

/** What a capability says, as it is signed. */
export function encodeClaims(claims: CapabilityClaims): Uint8Array<ArrayBuffer> {
  return encodeCanonical(claimsValue(claims))
}

/** @throws UNSUPPORTED_FORMAT when its format has another version, else CORRUPT for whatever no capability says */
export function readClaims(reader: Reader): CapabilityClaims {
  requireFormatVersion(reader.integer('v', 0, Number.MAX_SAFE_INTEGER), formatVersion, 'this capability')
  const kind = reader.oneOf('kind', ['share', 'link'] as const)
  const common = {
    issuer: reader.bytes('iss', 32),
    grant: reader.bytes('grant', 32),
    namespace: reader.bytes('ns', 32),
    artifact: reader.bytes('art', 20),
    audience: readAudience(reader),
    notBefore: reader.integer('nbf', 0, maxCapabilityTime),
    jti: reader.bytes('jti', 16),
  }
  const expires = reader.optionalInteger('exp', common.notBefore + 1, maxCapabilityTime)
  const claims = kind === 'share' ? readShare(reader, common, expires) : readLink(reader, common, expires)
  reader.end()
  return claims
}

type Common = Omit<ShareClaims, 'kind' | 'expires' | 'after'>

function readShare(reader: Reader, common: Common, expires: number | undefined): ShareClaims {
  return { kind: 'share', ...common, expires, after: reader.integer('after', 0, maxGen) }
}

function readLink(reader: Reader, common: Common, expires: number | undefined): LinkClaims {
  if (expires === undefined || expires - common.notBefore > maxLinkSeconds) {
    throw reader.malformed('a link ends within 7 days')
  }
  const { audience } = common
  if (!audience.every(({ kind }) => kind === 'agent')) throw reader.malformed('links are for agents')
  const maxUses = reader.optionalInteger('max', 1, maxUsesBound)
  if (maxUses !== undefined && audience.length > 1) throw reader.malformed('uses are counted by one gateway')
  const pinned = readPinned(reader, audience.length)
  const name = reader.optionalText('name', maxLinkNameBytes)
  const contentType = reader.optionalText('type', maxContentTypeBytes)
  if (pinned !== undefined && (name === undefined || contentType === undefined)) {
    throw reader.malformed('a link to a version says its name and type')
  }
  if (name !== undefined && !isLinkName(name)) throw reader.malformed('its name is not the name of a file')
  if (contentType !== undefined) requireContentType(reader, contentType)
  const ip = reader.optionalText('ip', maxIpRangeUnits)
  if (ip !== undefined && !isIpRange(ip)) throw reader.malformed('its ip is no address')
  const disposition = reader.oneOf('disp', ['attachment', 'inline'] as const)
  return { kind: 'link', ...common, expires, pinned, via: readVia(reader), name, contentType, disposition, ip, maxUses }
}

function readAudience(reader: Reader): Audience[] {
  const rows = reader.array('aud', 1, maxAudience).mapLists(2, (row): Audience => {
    return { kind: audienceKinds[row.integer(0, 0, 1)] as Audience['kind'], id: row.bytes(1, 32) }
  })
  for (let at = 1; at < rows.length; at++) {
    if (compareAudience(rows[at - 1] as Audience, rows[at] as Audience) >= 0) {
      throw reader.malformed('its audience is not in order')
    }
  }
  return rows
}

/** The order in which a capability names whom it is for. */
export function compareAudience(a: Audience, b: Audience): number {
  return audienceKinds.indexOf(a.kind) - audienceKinds.indexOf(b.kind) || Buffer.compare(a.id, b.id)
}

function readPinned(reader: Reader, audiences: number): PinnedContent | undefined {
  const version = reader.optionalBytes('ver', 32)
  const root = reader.optionalList('root', rootMembers)
  const sha256 = reader.optionalBytes('sha256', 32)
  const ephemeral = reader.optionalBytes('eph', 32)
  const boxes = reader.array('boxes', 0, maxAudience).mapLists(2, (row) => ({
    tag: row.bytes(0, boxTagBytes),
    box: row.bytes(1, boxedKeyBytes),
  }))
  if (version === undefined || root === undefined || sha256 === undefined || ephemeral === undefined) {
    const isLatest = version === undefined && root === undefined && sha256 === undefined && ephemeral === undefined
    if (isLatest && boxes.length === 0) return undefined
    throw reader.malformed('a link is to a version or to none')
  }
  if (boxes.length !== audiences) throw reader.malformed('there is not one box for each audience')
  return { version, root: decodeRoot(root), sha256, ephemeral, boxes }
}

function readVia(reader: Reader): TicketPeer[] {
  const peers = reader.array('via', 0, maxLinkProviders).mapLists(2, (row): TicketPeer => {
    const agent = row.bytes(0, 32)
    const list = row.list(1, 0, maxLinkProviderAddresses)
    const addresses = Array.from({ length: list.length }, (_, at) => list.text(at, maxTicketAddressBytes))
    if (!addresses.every(isAddress)) throw row.malformed('an address is none')
    return { agent, addresses }
  })
  const isTwice = peers.some(({ agent }, at) => peers.slice(0, at).some((other) => equalBytes(other.agent, agent)))
  if (isTwice) throw reader.malformed('it names a provider twice')
  return peers
}

function requireContentType(reader: Reader, value: string): void {
  try {
    validateContentType(value)
  } catch {
    throw reader.malformed('its type is no media type')
  }
}
