import { Catalog, type ListQuery, type Page, type PageOptions } from '../../../src/catalog/index.ts'
import { toHex } from '../../../src/encoding/index.ts'
import type { Share as LoggedShare, Namespace } from '../../../src/namespace/index.ts'
import type { Share, SharedArtifact } from '../../sharing-client.ts'
import type { Groups } from '../groups/groups.ts'
import { presentArtifact } from '../present.ts'
import { presentClaims, presentShare } from './present-share.ts'

/** Shares of one artifact that a list shows. */
const maxSharesShown = 100

type Query = ListQuery & PageOptions

/** A namespace of which something is listed, and the shares that it is listed for by artifact in hex. */
interface Place<S> {
  readonly log: Namespace
  readonly shares: ReadonlyMap<string, readonly S[]>
}

/** What others share with this agent, directly or through a group, as far as it is in force. */
export async function sharedWithMe(groups: Groups, query: Query): Promise<Page<SharedArtifact>> {
  const { follows, namespaces } = groups.replication
  const byNamespace = new Map<string, Map<string, Share[]>>()
  for (const { capability, state } of follows.followed()) {
    const { claims } = capability
    if (claims.kind !== 'share' || state !== 'in-force') continue
    const shares = byNamespace.get(toHex(claims.namespace)) ?? new Map<string, Share[]>()
    byNamespace.set(toHex(claims.namespace), shares)
    const share = presentClaims(groups, claims, { createdMs: claims.notBefore * 1000, message: undefined })
    addTo(shares, toHex(claims.artifact), share)
  }
  const places = namespaces.partial.flatMap(({ log }): Place<Share>[] => {
    const shares = byNamespace.get(toHex(log.id))
    return shares === undefined ? [] : [{ log, shares }]
  })
  return await pageOf(places, query, async (_, share) => share)
}

/** What this agent shares with others, as far as it is in force. */
export async function sharedByMe(groups: Groups, query: Query): Promise<Page<SharedArtifact>> {
  const { env, namespaces } = groups.replication
  const places: Place<LoggedShare>[] = []
  for (const { log } of namespaces.all) {
    const shares = new Map<string, LoggedShare[]>()
    for await (const share of log.allShares({
      issuer: env.agent.publicKey,
      ...(query.signal && { signal: query.signal }),
    })) {
      if (share.claims.kind === 'share') addTo(shares, toHex(share.claims.artifact), share)
    }
    if (shares.size > 0) places.push({ log, shares })
  }
  return await pageOf(places, query, (log, share) => presentShare(groups, log, share))
}

async function pageOf<S>(
  places: readonly Place<S>[],
  query: Query,
  present: (log: Namespace, share: S) => Promise<Share>,
): Promise<Page<SharedArtifact>> {
  const listed = places.map(({ log, shares }) => ({
    catalog: log.catalog,
    only: (artifact: Uint8Array) => shares.has(toHex(artifact)),
  }))
  const { items, nextCursor } = await Catalog.listAcross(listed, query)
  const shown: SharedArtifact[] = []
  for (const { record, catalog } of items) {
    const { log, shares } = places[catalog] as Place<S>
    const own: Share[] = []
    for (const share of (shares.get(toHex(record.artifact)) ?? []).slice(0, maxSharesShown))
      own.push(await present(log, share))
    own.sort((a, b) => a.createdAt.getTime() - b.createdAt.getTime())
    shown.push({ ...presentArtifact(log.idText, record), shares: own })
  }
  return nextCursor === undefined ? { items: shown } : { items: shown, nextCursor }
}

function addTo<T>(all: Map<string, T[]>, name: string, one: T): void {
  const some = all.get(name)
  if (some === undefined) all.set(name, [one])
  else some.push(one)
}
