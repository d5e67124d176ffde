import type { Audience } from '../../../src/capability/index.ts'
import { equalBytes, toHex } from '../../../src/encoding/index.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import type { Share as LoggedShare, Namespace } from '../../../src/namespace/index.ts'
import type { Share, SharingApi } from '../../sharing-client.ts'
import { checked, shapes } from '../arguments.ts'
import type { Groups } from '../groups/groups.ts'
import type { Links } from '../links/links.ts'
import { createListing } from '../listing.ts'
import { findById } from '../lookup.ts'
import type { OpenCalls } from '../open-calls.ts'
import { accessOf } from './access.ts'
import { sharedByMe, sharedWithMe } from './list-shared.ts'
import { presentShare } from './present-share.ts'
import type { Sharing } from './sharing.ts'

/** The sharing calls of a client in this process. */
export function createSharingApi(sharing: Sharing, links: Links, calls: OpenCalls): SharingApi {
  const { groups } = sharing
  const { namespaces } = groups.replication

  const present = (shares: readonly LoggedShare[]): Share[] => shares.map((share) => presentShare(groups, share))

  return {
    share: async (options) =>
      await calls.run(checked('share', shapes.share, options), async (call) => {
        const { namespace, record } = await findById(namespaces, call)
        const { log } = namespace
        requireMember(groups, log)
        const audience = agentsNamed(groups, call.withAgents ?? [])
        for (const text of call.withGroups ?? []) {
          const named = groups.resolve(text)
          await groups.prepare(namespace, named, { signal: call.signal })
          audience.push({ kind: 'group', id: named.group })
        }
        const shares = await namespaces.during(namespace, () =>
          log.sharing.share({
            artifact: record.artifact,
            audience: requireSome('share', audience),
            expiresIn: call.expiresIn,
            fromNow: call.fromNow,
            message: call.message,
          }),
        )
        sharing.tell(log, shares)
        return present(shares)
      }),
    unshare: async (options) =>
      await calls.run(checked('unshare', shapes.unshare, options), async (call) => {
        const { namespace, record } = await findById(namespaces, call)
        const { log } = namespace
        requireMember(groups, log)
        const named = (call.groups ?? []).map((text): Audience => ({ kind: 'group', id: groups.resolve(text).group }))
        const audience = requireSome('unshare', [...agentsNamed(groups, call.agents ?? []), ...named])
        const ended = await namespaces.during(namespace, () =>
          log.sharing.unshare({ artifact: record.artifact, audience }),
        )
        sharing.ended(log, ended)
        return present(ended)
      }),
    listShared: (options) =>
      createListing(
        async (next) =>
          await calls.run(checked('listShared', shapes.listShared, options), async ({ by, cursor, ...query }) => {
            const page = { ...query, cursor: next ?? cursor } as Parameters<typeof sharedWithMe>[1]
            return by === 'me' ? await sharedByMe(groups, page) : await sharedWithMe(groups, page)
          }),
      ),
    access: async (options) =>
      await calls.run(checked('access', shapes.artifact, options), async (call) => {
        const { namespace, record } = await findById(namespaces, call)
        return await accessOf(sharing, links, namespace.log, record.artifact)
      }),
  }
}

function agentsNamed(groups: Groups, texts: readonly string[]): Audience[] {
  const { contacts, env } = groups.replication
  const found = new Map<string, Audience>()
  for (const text of texts) {
    const { agent } = contacts.resolve(text)
    if (equalBytes(agent, env.agent.publicKey))
      throw new ArtifactHubError('INVALID_ARGUMENT', 'an agent shares nothing with itself')
    found.set(toHex(agent), { kind: 'agent', id: agent })
  }
  return [...found.values()]
}

function requireSome(call: string, audience: Audience[]): Audience[] {
  if (audience.length > 0) return audience
  throw new ArtifactHubError('INVALID_ARGUMENT', `${call}: name at least one agent or group`)
}

/** @throws ACCESS_DENIED for what was only shared with this agent */
function requireMember(groups: Groups, log: Namespace): void {
  if (log.roleOf(groups.replication.env.agent.publicKey) !== undefined) return
  throw new ArtifactHubError('ACCESS_DENIED', 'what was shared with this agent is not for it to share')
}
