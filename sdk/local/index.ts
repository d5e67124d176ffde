/** The Client over this process's own namespaces. Needs Node; programs in a browser take the types and errors of `sdk/index.ts`. */

export type { EndedLog } from './ended.ts'
export type { LocalEnvironment, LocalFiles, SourceFile, TargetFile } from './environment.ts'
export { Groups } from './groups/groups.ts'
export { Links } from './links/links.ts'
export { createLocalClient } from './local-client.ts'
export { LocalNamespaces, type OpenNamespace } from './namespaces.ts'
export { OpenCalls } from './open-calls.ts'
export { Fetches, type OpenFetch } from './replication/fetches.ts'
export type { Followed, Follows } from './replication/follows.ts'
export { believedPeers } from './replication/public-address.ts'
export { namespaceTicket, Replication } from './replication/replication.ts'
export { Sharing } from './sharing/sharing.ts'
