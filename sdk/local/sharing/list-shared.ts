import type { CapabilityClaims } from '../../../src/capability/index.ts'
import { Catalog, type ListQuery, type Page, type PageOptions } from '../../../src/catalog/index.ts'
import { bytesText } from '../../../src/encoding/index.ts'
import type { Share as LoggedShare, Namespace, SharesGiven } from '../../../src/namespace/index.ts'
import type { Share, SharedArtifact } from '../../sharing-client.ts'
import type { Groups } from '../groups/groups.ts'
import { presentArtifact } from '../present.ts'
import { presentClaims, presentShare } from './present-share.ts'

/** Shares of one artifact that a list shows. */
const maxSharesShown = 100

type Query = ListQuery & PageOptions

/** A namespace of which something is listed, and the shares in force of each artifact in it. */
interface Place<S> {
  readonly log: Namespace
  readonly sharesOf: (artifact: Uint8Array) => readonly S[]
  /** All artifacts that may have some, when that is known and of how many. */
  readonly among?: Pick<SharesGiven, 'artifacts' | 'size'> | undefined
}

/** A share with this agent. */
interface Received {
  readonly claims: CapabilityClaims
  readonly message: string | undefined
}

/** What others share with this agent, directly or through a group, as far as it is in force. */
export async function sharedWithMe(groups: Groups, query: Query): Promise<Page<SharedArtifact>> {
  const { follows, namespaces } = groups.replication
  const sharesOf = (artifact: Uint8Array): Received[] =>
    follows
      .inForce(artifact)
      .flatMap(({ capability: { claims }, message }) => (claims.kind === 'share' ? [{ claims, message }] : []))
  const places = namespaces.partial.map(({ log }): Place<Received> => ({ log, sharesOf }))
  return await pageOf(places, query, ({ claims, message }) =>
    presentClaims(groups, claims, { createdMs: claims.notBefore * 1000, message }),
  )
}

/** What this agent shares with others, as far as it is in force. */
export async function sharedByMe(groups: Groups, query: Query): Promise<Page<SharedArtifact>> {
  const places: Place<LoggedShare>[] = []
  for (const { log } of groups.replication.namespaces.all) {
    const given = await log.sharing.own({ signal: query.signal ?? undefined })
    const sharesOf = (artifact: Uint8Array): LoggedShare[] =>
      given.of(artifact).filter(({ claims }) => claims.kind === 'share')
    if (given.size > 0) places.push({ log, sharesOf, among: given })
  }
  return await pageOf(places, query, (share) => presentShare(groups, share))
}

async function pageOf<S>(
  places: readonly Place<S>[],
  query: Query,
  present: (share: S) => Share,
): Promise<Page<SharedArtifact>> {
  // Of what is on the page it is asked twice: whether there are any, and which.
  const found = places.map(() => new Map<string, readonly S[]>())
  const listed = places.map(({ log, sharesOf, among }, at) => ({
    catalog: log.catalog,
    only: (artifact: Uint8Array) => {
      const shares = sharesOf(artifact)
      if (shares.length > 0) found[at]?.set(bytesText(artifact), shares)
      return shares.length > 0
    },
    among,
  }))
  const { items, nextCursor } = await Catalog.listAcross(listed, query)
  const shown: SharedArtifact[] = []
  for (const { record, catalog } of items) {
    const { log } = places[catalog] as Place<S>
    const own = (found[catalog]?.get(bytesText(record.artifact)) ?? []).slice(0, maxSharesShown).map(present)
    own.sort((a, b) => a.createdAt.getTime() - b.createdAt.getTime())
    shown.push({ ...presentArtifact(log.idText, record), shares: own })
  }
  return nextCursor === undefined ? { items: shown } : { items: shown, nextCursor }
}
