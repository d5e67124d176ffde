import type { Client } from '../client.ts'
import { createAgentApi } from './agent-api.ts'
import { createArtifactApi } from './artifact-api.ts'
import { createGroupApi } from './group-api.ts'
import { createLinkApi } from './links/link-api.ts'
import type { Links } from './links/links.ts'
import { createMembershipApi } from './membership-api.ts'
import { createNamespaceApi } from './namespace-api.ts'
import type { OpenCalls } from './open-calls.ts'
import { createReplicationApi } from './replication-api.ts'
import { createInboxApi } from './sharing/inbox-api.ts'
import { createSharingApi } from './sharing/share-api.ts'
import type { Sharing } from './sharing/sharing.ts'

/** A client whose calls run in this process, as the agent of the node, until `calls` is closed. */
export function createLocalClient(sharing: Sharing, links: Links, calls: OpenCalls): Client {
  const { groups } = sharing
  const { replication } = groups
  return {
    did: replication.env.agent.did,
    agent: createAgentApi(replication, links, calls),
    artifact: {
      ...createArtifactApi(replication, calls),
      ...createReplicationApi(replication, calls),
      ...createSharingApi(sharing, links, calls),
      ...createLinkApi(replication, links, calls),
    },
    namespace: { ...createNamespaceApi(groups, calls), ...createMembershipApi(groups, calls) },
    group: createGroupApi(groups, calls),
    inbox: createInboxApi(sharing, calls),
  }
}
