/** One namespace on one node: its log, its keys, its catalog and its accounts, changed together. */
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
export { leafRowChanges, loadLeafRows, removeStaleLeafRows } from './leaf-rows.ts'
export type { NamespaceChange } from './ledger.ts'
export { Namespace } from './namespace.ts'
export type { NamespaceEnvironment } from './parts.ts'
export { leafBytesOf, Quota, type Reservation } from './quota.ts'
export type { Received, RefusedEntry } from './receive.ts'
export {
  forgetNamespace,
  incarnationStampKey,
  loadCurrentNamespace,
  loadNamespaceRows,
  loadRemovals,
  type NamespaceRow,
  putCurrentNamespace,
  putNamespaceRow,
  removeRows,
} from './registry.ts'
export { chainIdOf, keySpaces, NamespaceKeys } from './tables.ts'
export { loadUpload, type PendingUpload, pendingUploadKey, putUpload } from './uploads.ts'
