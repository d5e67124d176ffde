/** Between agents: keeping logs in step, fetching blocks, and what the core asks of a network. */

export { AgentTurns } from './agent-turns.ts'
export { type BlockServer, type ServeBlocksOptions, serveBlocks } from './blocks-server.ts'
export type { BlockServerCounters, ServedNamespace } from './blocks-session.ts'
export { durableShare } from './durable-share.ts'
export { elapsed } from './elapsed.ts'
export { askDescriptor, type ServeGroupsOptions, serveGroups, tellDescriptor } from './group-protocol.ts'
export {
  askHolding,
  type HeldNamespace,
  type ServeHoldingOptions,
  serveHolding,
} from './holding.ts'
export { HoldingAsker } from './holding-asker.ts'
export type { HoldingQuestion, Holds } from './holding-codec.ts'
export { type Delivery, deliver, type Receipt, type ServeInboxOptions, serveInbox } from './inbox.ts'
export { afterOf, type NamespaceRoots, type ReadableNamespace } from './may-read.ts'
export { Pace } from './pace.ts'
export type { Misbehaviour, PeerNetwork, PeerStream, StreamHandler } from './peer-network.ts'
export type { QuestionServer } from './question.ts'
export { type KnownPeer, Replicator, type ReplicatorCounters, type ReplicatorOptions } from './replicator.ts'
export { type JoinOptions, joinNamespace } from './replicator-join.ts'
export type { NamespaceSyncStatus } from './replicator-log.ts'
export type { Following } from './replicator-partial.ts'
export type { PeerSyncStatus } from './replicator-peers.ts'
export type { Scheduler } from './scheduler.ts'
export type { SyncScope } from './sync-codec.ts'
export type { LogChange, Received, RefusedEntry, ReplicatedLog, StoredEntry, VectorRow } from './sync-log.ts'
export { fetchGenesis, runSync, type SyncOutcome, type SyncRunOptions } from './sync-run.ts'
export type { ContentRange, TransferProgress, TransferTarget } from './transfer.ts'
export {
  type OpenTransfer,
  type OpenTransferOptions,
  type TransferCounters,
  Transfers,
  type TransfersOptions,
} from './transfers.ts'
