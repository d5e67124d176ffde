/**
 * One namespace on one node: its log, its keys, its catalog and its accounts, changed together. README.md has the tables and
 * why they are so. From the ground up; a file imports only from lines above its own, or files beside it that stand lower:
 *
 * - rows        `tables` names them; `chains`, `accounts`, `key-rows`, `body`, `feed`, `feed-eras`, `quota`, `registry` read and write one kind each
 * - parts       `parts` is what a namespace is made of; `stored-log` and `log-queries` find entries (`shown`: of which others are told), `namespace-blocks` blocks,
 *               `sealed-keys` and `secrets` open what is encrypted (`opened-bodies`: much of it ahead, beside the main thread), `artifact-keys` says what to write with
 * - one batch   `transaction` puts together `own-chain` (what this agent writes on), `log-growth`, `membership-growth` and
 *               `artifact-changes`; `operations` is what an entry says, `recount` applies what counts now
 *               (`opened-artifacts`: of which artifacts a partial log speaks, `held-back` what it held of them before), `members` appends (`epoch-waits`: when an
 *               epoch may be given to nobody yet; `denied`: what an agent is told that may not)
 * - shares      `labelled-boxes` and `key-uses` find what keys were sealed for and used for, `share-book` opens share entries; `sharing-view` is what of
 *               both holds at one moment, `share-keys` which keys go to whom and which are done for; `share-writes`, `share-heal` (`author-knowledge`: when
 *               a key may be given to nobody yet), `lost-shares` over the ledger (`gifts`: what an entry gives, `gifts-told`: of which others are told,
 *               `told-entries`: which need not be looked at again)
 * - closed keys `closed-keys` finds keys that not every member comes by, `key-heal` gives them, over the ledger
 * - again       `derive` (with `chain-walk`, `derived-tables`) makes all that follows from the log anew; `auth-log` who may do what
 * - ledger      `ledger` keeps the memory of a namespace in step with its store: one `commit-queue` of synced batches
 * - doing       `receive` (whom a partial log believes: `origins`, `vouched`, `doubtful`; how much is held of what does not count: `surplus`) and `reveal`, `beyond`, `farewell`, `role-claim`, `membership-writes`, `capability-writes`, `follow-feed`: one idea each, over the ledger
 * - namespace   `namespace` is the face of all that; its parts are `held-entries`, `namespace-members`, `namespace-sharing`, `artifact-keys`, `follow-feed`, `healer` and `group-descriptor`; over it `artifact-writes`, `erase`, `leaf-rows`, `uploads`
 */

export type { CountedBlocks } from './accounts.ts'
export type { ArtifactHandle } from './artifact-keys.ts'
export {
  noSuchVersion,
  type StoredContent,
  writeDelete,
  writeDrop,
  writeFirstVersion,
  writeNextVersion,
} from './artifact-writes.ts'
export { deriveFromLog } from './derive.ts'
export {
  clearDerived,
  compareDerived,
  isKnownDamaged,
  type LogFinding,
  recordDamage,
  replaceDerived,
} from './derived-tables.ts'
export { eraseBodies, removeStaleUploads } from './erase.ts'
export type { FeedEvent } from './feed.ts'
export { type FeedCursor, feedStart } from './feed-eras.ts'
export { FollowedArtifacts } from './followed.ts'
export type { ShownDescriptor } from './group-descriptor.ts'
export type { RefusedEntry } from './incoming-batch.ts'
export { leafRowChanges, loadLeafRows, removeStaleLeafRows } from './leaf-rows.ts'
export type { NamespaceChange } from './ledger.ts'
export { Namespace } from './namespace.ts'
export type { SharesGiven } from './own-shares.ts'
export type { NamespaceEnvironment } from './parts.ts'
export { leafBytesOf, Quota, type Reservation } from './quota.ts'
export type { Received } from './receive.ts'
export {
  type BesideRow,
  forgetNamespace,
  forgetPartial,
  incarnationStampKey,
  isPartialRemembered,
  isRemovalOwed,
  type LogKind,
  loadBeside,
  loadCurrentNamespace,
  loadNamespaceRows,
  loadPartials,
  loadRemovals,
  type NamespaceRow,
  putBeside,
  putCurrentNamespace,
  putNamespaceRow,
  putPartial,
  removeBesideRows,
  removeRows,
} from './registry.ts'
export type { Share } from './share-book.ts'
export { chainIdOf, folderOf, keySpaces, NamespaceKeys, nodeKey, nodeRows } from './tables.ts'
export { loadUpload, type PendingUpload, pendingUploadKey, putUpload } from './uploads.ts'
