/** Counted operations → versions, records, indexes, lists: everything that is asked about artifacts is answered here. */
export { CatalogBatch, type Liveness, type VersionHeads } from './batch.ts'
export { Catalog, type EndedVersion, type HiddenVersion, type VersionRoot } from './catalog.ts'
export type { ListedAcross, ListOrder, ListQuery } from './list.ts'
export { type Metadata, type MetadataValue, metadataText, parseMetadata, validateMetadata } from './metadata.ts'
export { validateContentType, validateName } from './name.ts'
export type {
  ArtifactState,
  ClockReading,
  ContentRoot,
  DeleteOperation,
  DropOperation,
  Operation,
  PutOperation,
} from './operation.ts'
export type { Page, PageOptions } from './page.ts'
export { decodeRoot, encodeRoot, rootMembers } from './root-codec.ts'
export type { CatalogCounts } from './rows.ts'
export type { VersionRecord, VersionRef } from './versions.ts'
