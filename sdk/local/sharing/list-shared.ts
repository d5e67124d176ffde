import type { ShareClaims } from '../../../src/capability/index.ts'
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

/** A namespace of which something is listed, and the shares of each artifact in it. */
interface Place<S> {
  readonly log: Namespace
  readonly sharesOf: (artifact: Uint8Array) => readonly S[]
}

/** What others share with this agent, directly or through a group, as far as it is in force. */
export async function sharedWithMe(groups: Groups, query: Query): Promise<Page<SharedArtifact>> {
  const { follows, namespaces } = groups.replication
  const sharesOf = (artifact: Uint8Array): ShareClaims[] =>
    follows.inForce(artifact).flatMap(({ claims }) => (claims.kind === 'share' ? [claims] : []))
  const places = namespaces.partial.map(({ log }): Place<ShareClaims> => ({ log, sharesOf }))
  return await pageOf(places, query, async (_, claims) =>
    presentClaims(groups, claims, { createdMs: claims.notBefore * 1000, message: undefined }),
  )
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
    if (shares.size > 0) places.push({ log, sharesOf: (artifact) => shares.get(toHex(artifact)) ?? [] })
  }
  return await pageOf(places, query, (log, share) => presentShare(groups, log, share))
}

async function pageOf<S>(
  places: readonly Place<S>[],
  query: Query,
  present: (log: Namespace, share: S) => Promise<Share>,
): Promise<Page<SharedArtifact>> {
  const listed = places.map(({ log, sharesOf }) => ({
    catalog: log.catalog,
    only: (artifact: Uint8Array) => sharesOf(artifact).length > 0,
  }))
  const { items, nextCursor } = await Catalog.listAcross(listed, query)
  const shown: SharedArtifact[] = []
  for (const { record, catalog } of items) {
    const { log, sharesOf } = places[catalog] as Place<S>
    const own: Share[] = []
    for (const share of sharesOf(record.artifact).slice(0, maxSharesShown)) own.push(await present(log, share))
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
