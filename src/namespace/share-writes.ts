import {
  type Audience,
  type Capability,
  type CapabilityClaims,
  type ShareClaims,
  sealEnvelope,
  signCapability,
  timeOf,
} from '../capability/index.ts'
import type { VersionRecord } from '../catalog/index.ts'
import { equalBytes, formatArtifactId, toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import { isUsablePublicKey } from '../identity/index.ts'
import { maxBoxesInEntry, maxCapabilityTime } from '../limits.ts'
import { rankOf } from '../membership/index.ts'
import { ArtifactKey, type SealingItem, sealShareBody } from '../sharing/index.ts'
import { artifactData, noSuchVersion } from './artifact-writes.ts'
import { appendRevocations } from './capability-writes.ts'
import type { Ledger } from './ledger.ts'
import { epochToWriteUnder, readersOf } from './members.ts'
import { openArtifactKey } from './secrets.ts'
import { encodeShareBody, type Share, type SharedBytes } from './share-book.ts'
import { isKeyDue, itemsFor, sectionsOf, usesForShares } from './share-keys.ts'
import { SharingView } from './sharing-view.ts'
import type { Transaction } from './transaction.ts'

/** With whom to share an artifact, and how. */
export interface ShareOptions {
  /** 20 bytes. */
  readonly artifact: Uint8Array
  /** Each gets a capability of its own. A group is one whose descriptor is recorded here. */
  readonly audience: readonly Audience[]
  /** Seconds from now; `undefined`: until it is revoked. */
  readonly expiresIn?: number | undefined
  /** Only versions written from now on. */
  readonly fromNow?: boolean | undefined
  /** What the audience is told with it. */
  readonly message?: string | undefined
}

/** Shares that one batch holds: each is some 1.2 KiB and three signatures. */
const batchShares = 200

/** See `NamespaceSharing.share`. */
export async function writeShares(ledger: Ledger, options: ShareOptions): Promise<Share[]> {
  const { audience, expiresIn } = options
  if (audience.length === 0) throw invalid('a share is with somebody')
  if (expiresIn !== undefined && !(Number.isSafeInteger(expiresIn) && expiresIn >= 1))
    throw invalid('a share ends after a whole number of seconds')
  if (expiresIn !== undefined && ledger.parts.env.clock.nowMs / 1000 + expiresIn >= maxCapabilityTime)
    throw invalid('a share ends before the year 2242, or when it is taken back')
  for (const one of audience) {
    if (one.kind === 'agent' && !isUsablePublicKey(one.id)) throw invalid('that is not the key of an agent')
  }
  const distinct = [...new Map(audience.map((one) => [audienceText(one), one])).values()]
  const shares: Share[] = []
  for (let at = 0; at < distinct.length; at += batchShares) {
    const some = distinct.slice(at, at + batchShares)
    const written = await ledger.commit((tx, mark) => shareWithSome(ledger, tx, mark, { ...options, audience: some }))
    for (const share of written) ledger.parts.shares.keep(share)
    shares.push(...written)
  }
  return shares
}

async function shareWithSome(
  { parts }: Ledger,
  tx: Transaction,
  mark: () => void,
  { artifact, audience, expiresIn, fromNow = false, message }: ShareOptions,
): Promise<Share[]> {
  const { grant } = tx.nextPlace
  const version = await tx.catalog.current(artifact)
  if (version === undefined) throw noSuchVersion(artifact, undefined)
  const view = SharingView.within(parts, tx)
  for (const { kind, id } of audience) {
    if (kind === 'group' && view.groupOf(id) === undefined)
      throw new ArtifactHubError('UNAVAILABLE', 'nothing is known here of that group yet', {
        details: { group: toHex(id) },
      })
  }
  const heads = await tx.catalog.versionHeads(artifact)
  const { nextGen } = heads
  const notBefore = Math.floor(view.nowMs / 1000)
  const terms = {
    issuer: tx.agent.publicKey,
    grant,
    namespace: tx.namespace,
    artifact,
    notBefore,
    expires: expiresIn === undefined ? undefined : notBefore + expiresIn,
    after: fromNow ? nextGen - 1 : 0,
  }
  const isPlain = expiresIn === undefined && !fromNow && message === undefined
  const given = isPlain ? plainShares(await view.sharesInForce(artifact), terms) : new Map<string, Share>()
  const write = await shareWriter(parts, tx, view, version, heads)
  // What no share can say is refused here: whatever fails after the mark takes others' work with it.
  const made = audience.map((one) => given.get(audienceText(one)) ?? sealShare(tx, version, { ...terms, message }, one))
  mark()
  const shares: Share[] = []
  for (const one of made) shares.push('claims' in one ? one : await write(one.capability, one.shared, message))
  return shares
}

/** A new capability for one audience, and what tells of it. @throws INVALID_ARGUMENT, TOO_LARGE */
function sealShare(
  { agent, random }: Transaction,
  { state, root }: VersionRecord,
  { message, ...terms }: Omit<ShareClaims, 'kind' | 'audience' | 'jti'> & Pick<ShareOptions, 'message'>,
  audience: Audience,
): { readonly capability: Capability; readonly shared: SharedBytes } {
  const capability = signCapability(agent, { kind: 'share', ...terms, audience: [audience], jti: random(16) })
  const said = { capability, name: state.name, contentType: state.contentType, sizeBytes: root.sizeBytes, message }
  return { capability, shared: { kind: 'share', bytes: sealEnvelope(agent, said) } }
}

/** By audience, those of shares that give it, and nobody else, all versions without an end, as this agent's, and now: its clock may have been ahead. */
function plainShares(
  shares: readonly Share[],
  terms: Pick<CapabilityClaims, 'issuer' | 'grant' | 'notBefore'>,
): ReadonlyMap<string, Share> {
  const found = new Map<string, Share>()
  for (const share of shares) {
    const { claims } = share
    const [only, ...others] = claims.audience
    const isPlain =
      claims.kind === 'share' &&
      claims.after === 0 &&
      claims.expires === undefined &&
      timeOf(claims, terms.notBefore * 1000) === 'valid' &&
      equalBytes(claims.issuer, terms.issuer) &&
      equalBytes(claims.grant, terms.grant)
    if (!isPlain || only === undefined || others.length > 0) continue
    const name = audienceText(only)
    if (!found.has(name)) found.set(name, share)
  }
  return found
}

/** See `NamespaceSharing.recordLink`. */
export async function writeFollowingLink(
  ledger: Ledger,
  capability: Capability & { readonly claims: { readonly kind: 'link' } },
): Promise<Share> {
  const { claims, token } = capability
  return await ledger.commit(async (tx, mark) => {
    const { grant } = tx.nextPlace
    if (!equalBytes(claims.issuer, tx.agent.publicKey) || !equalBytes(claims.grant, grant))
      throw invalid('a link is recorded by who issued it')
    const version = await tx.catalog.current(claims.artifact)
    if (version === undefined) throw noSuchVersion(claims.artifact, undefined)
    const view = SharingView.within(ledger.parts, tx)
    const heads = await tx.catalog.versionHeads(claims.artifact)
    const write = await shareWriter(ledger.parts, tx, view, version, heads)
    mark()
    return await write(capability, { kind: 'link', bytes: token })
  })
}

type WriteShare = (capability: Capability, shared: SharedBytes, message?: string) => Promise<Share>

/** Opens what shares of one artifact need, so that writing them cannot fail half way. @throws ACCESS_DENIED when a key is missing */
async function shareWriter(
  parts: Ledger['parts'],
  tx: Transaction,
  view: SharingView,
  version: VersionRecord,
  { entries, nextGen }: { readonly entries: readonly Uint8Array[]; readonly nextGen: number },
): Promise<WriteShare> {
  const { artifact, entry } = version
  const artifactSalt = (await tx.entry(entry))?.header.data?.artifactSalt
  if (artifactSalt === undefined)
    throw new ArtifactHubError('CORRUPT', 'the log lacks the entry of a version that the catalog lists')
  const uses = await usesForShares(parts, artifact, nextGen - 1)
  const keys = new Map<string, ArtifactKey>()
  for (const { keyId } of uses) {
    const key = await openArtifactKey(tx, artifact, keyId, [])
    if (key !== undefined) keys.set(toHex(keyId), key)
  }
  if (!keys.has(toHex(version.root.keyId)))
    throw new ArtifactHubError('ACCESS_DENIED', 'this agent cannot open the artifact’s key', {
      details: { artifactId: formatArtifactId(artifact) },
    })
  return async (capability, shared, message) => {
    const { claims } = capability
    const share = { entry: new Uint8Array(0), artifactSalt, clock: version.updatedAt, claims, message }
    const due = uses.filter((use) => isKeyDue(share, use)).flatMap(({ keyId }) => keys.get(toHex(keyId)) ?? [])
    const items = due.flatMap((key) => itemsFor(key, [share], view))
    return await appendShare(tx, share, shared, items, entries)
  }
}

/**
 * Writes the entry that tells of a share, with its boxes.
 *
 * @param versions those that it is given of: whoever follows believes of these, and of those before them, that they stood in the log
 */
export async function appendShare(
  tx: Transaction,
  share: Share,
  shared: SharedBytes,
  items: readonly SealingItem[],
  versions: readonly Uint8Array[],
): Promise<Share> {
  const { keyring, namespace } = tx
  const { claims, artifactSalt } = share
  const { artifact } = claims
  const epoch = await epochToWriteUnder(tx)
  const named = epoch === undefined ? new ArtifactKey(tx.random(32), namespace, artifact) : undefined
  const readers = named === undefined ? [] : readersOf(tx).map((recipient) => ({ key: named, recipient }))
  const { secret, id: keyId } = epoch ?? (named as ArtifactKey)
  const [keys, ...more] = sectionsOf(keyring, artifact, [...readers, ...items], {
    first: maxBoxesInEntry,
    random: tx.random,
  })
  const plaintext = encodeShareBody(shared)
  const body = sealShareBody({ secret, namespace, artifact }, plaintext, tx.nextPlace, tx.random(12))
  const data = artifactData({ artifactSalt })
  const draft = { kind: 'share' as const, keyId, data: { ...data, jti: claims.jti }, names: versions }
  const { hash, header } = await tx.append(draft, { keys, body })
  for (const section of more) {
    await tx.append({ kind: 'keys', keyId: (section.boxes[0] as { keyId: Uint8Array }).keyId, data }, { keys: section })
  }
  return { ...share, entry: hash, clock: header.clock }
}

/** From whom to take an artifact. */
export interface UnshareOptions {
  /** 20 bytes. */
  readonly artifact: Uint8Array
  readonly audience: readonly Audience[]
}

/** See `NamespaceSharing.unshare`. */
export async function writeUnshare(ledger: Ledger, { artifact, audience }: UnshareOptions): Promise<Share[]> {
  const names = new Set(audience.map(audienceText))
  return await ledger.commit(async (tx, mark) => {
    const { grant } = tx.nextPlace
    const view = SharingView.within(ledger.parts, tx)
    const ended = (await view.sharesInForce(artifact)).filter(
      ({ claims }) => claims.kind === 'share' && claims.audience.some((one) => names.has(audienceText(one))),
    )
    if (ended.length === 0)
      throw new ArtifactHubError('NOT_FOUND', 'that artifact is not shared with them', {
        details: { artifactId: formatArtifactId(artifact) },
      })
    const own = rankOf(tx.membership.grantOf(grant)?.role ?? 'reader')
    const mayEnd = ({ claims }: Share) =>
      equalBytes(claims.issuer, tx.agent.publicKey) ||
      own > rankOf(tx.membership.grantOf(claims.grant)?.role ?? 'owner') ||
      equalBytes(tx.membership.owner, tx.agent.publicKey)
    if (!ended.every(mayEnd))
      throw new ArtifactHubError(
        'ACCESS_DENIED',
        'others shared it with them: they, or somebody above them, take it back',
      )
    mark()
    await appendRevocations(
      tx,
      ended.map(({ claims }) => claims.jti),
    )
    return ended
  })
}

function audienceText({ kind, id }: Audience): string {
  return `${kind} ${toHex(id)}`
}

function invalid(why: string): ArtifactHubError {
  return new ArtifactHubError('INVALID_ARGUMENT', why)
}
