import { timeOf } from '../../../src/capability/index.ts'
import { cidOf } from '../../../src/content/index.ts'
import { equalBytes, formatArtifactId, formatNamespaceId, parseArtifactId } from '../../../src/encoding/index.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import { formatDid } from '../../../src/identity/index.ts'
import type { LinkApi, ListedUrl } from '../../link-client.ts'
import { checked, shapes } from '../arguments.ts'
import { endedError } from '../ended.ts'
import { findById } from '../lookup.ts'
import type { OpenCalls } from '../open-calls.ts'
import type { Replication } from '../replication/replication.ts'
import { audienceOf } from './audience.ts'
import { isForOthers, issueLink } from './issue-link.ts'
import { type LinkCapability, type Links, presentLink } from './links.ts'

/** The link calls of a client in this process. */
export function createLinkApi(replication: Replication, links: Links, calls: OpenCalls): LinkApi {
  const { env, namespaces, contacts } = replication
  const openNamespace = (id: Uint8Array) => namespaces.all.find(({ log }) => equalBytes(log.id, id))

  const stateOf = ({ claims }: LinkCapability): ListedUrl['state'] => {
    const refusal = openNamespace(claims.namespace)?.log.membership.refusalOf(claims)
    if (refusal === 'REVOKED') return 'revoked'
    // A namespace that was left took the right to link to it along, as far as this node can tell.
    if (refusal !== undefined || openNamespace(claims.namespace) === undefined) return 'issuer-removed'
    return timeOf(claims, env.now(), 0) === 'not-yet' ? 'not-yet' : 'good'
  }

  return {
    getSignedUrl: async (options) =>
      await calls.run(checked('getSignedUrl', shapes.signedUrl, options), async ({ gateways, ...call }) => {
        const { artifactId, namespace, version } = call
        const found = await findById(namespaces, {
          artifactId,
          namespace,
          version: version === 'latest' ? undefined : version,
        })
        const audience = audienceOf(gateways, { self: env.agent.publicKey, contacts, ownGateway: links.ownGateway })
        const capability = await namespaces.during(found.namespace, async () => {
          const issued = await issueLink(replication, found, audience, call)
          // So that whoever writes next seals what gateways elsewhere need to follow the artifact.
          const isFollowing = issued.claims.pinned === undefined && isForOthers(issued.claims)
          if (isFollowing) await found.namespace.log.sharing.recordLink(issued)
          return issued
        })
        const row = { capability, gateway: audience.url }
        await links.remember(row)
        return presentLink(row, found.record.state.name)
      }),
    listSignedUrls: async (options) =>
      await calls.run(checked('listSignedUrls', shapes.signedUrls, options), async ({ artifactId, signal }) => {
        const artifact = artifactId === undefined ? undefined : parseArtifactId(artifactId)
        const rows = await links.list({ artifact, signal })
        return await Promise.all(
          rows.map(async (row): Promise<ListedUrl> => {
            const { claims } = row.capability
            const { pinned, name, ip, maxUses } = claims
            const record =
              name === undefined ? await openNamespace(claims.namespace)?.log.catalog.get(claims.artifact) : undefined
            return {
              link: presentLink(row, record?.state.name),
              artifactId: formatArtifactId(claims.artifact),
              namespace: formatNamespaceId(claims.namespace),
              cid: pinned && cidOf(pinned.root.digest, pinned.root.codec),
              filename: name,
              gateways: claims.audience.map(({ id }) => formatDid(id)),
              ip,
              maxUses,
              state: stateOf(row.capability),
            }
          }),
        )
      }),
    revokeSignedUrl: async (options) =>
      await calls.run(checked('revokeSignedUrl', shapes.revokeSignedUrl, options), async ({ jti: text, namespace }) => {
        const jti = new Uint8Array(Buffer.from(text, 'hex'))
        const row = await links.find(jti)
        if (row !== undefined && stateOf(row.capability) === 'revoked') return
        const own = row && openNamespace(row.capability.claims.namespace)
        const ended = row && own === undefined && namespaces.findEnded(row.capability.claims.namespace)
        if (ended) throw endedError(ended)
        const target = own ?? (namespace === undefined ? undefined : namespaces.find(namespace))
        if (target === undefined) {
          throw new ArtifactHubError('NOT_FOUND', 'this node did not make that link: say which namespace it is for', {
            details: { jti: text },
          })
        }
        await namespaces.during(target, () => target.log.sharing.revokeCapabilities([jti]))
      }),
  }
}
