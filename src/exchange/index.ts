/** Between agents: keeping logs in step, and what the core asks of a network. */
export type { Misbehaviour, PeerNetwork, PeerStream, StreamHandler } from './peer-network.ts'
export { type KnownPeer, Replicator, type ReplicatorOptions } from './replicator.ts'
export { type JoinOptions, joinNamespace } from './replicator-join.ts'
export type { NamespaceSyncStatus, PeerSyncStatus } from './replicator-log.ts'
export type { Scheduler } from './scheduler.ts'
export type { LogChange, Received, RefusedEntry, ReplicatedLog, StoredEntry, VectorRow } from './sync-log.ts'
export { runSync, type SyncOutcome, type SyncRunOptions, syncProtocol } from './sync-run.ts'
export type { SyncScope } from './sync-view.ts'
