/** Entries: their form, their bytes, their signatures; chains of them; the hybrid clock. */
export {
  type AdoptBody,
  type AuthBody,
  type Cut,
  encodeAuthBody,
  type GenesisBody,
  type GrantBody,
  type GrantedRole,
  type GroupRole,
  grantPrefix,
  type RevokeBody,
  type SealingBody,
} from './auth-body.ts'
export { HybridClock } from './clock.ts'
export type { BoxLabel, DataHeader, Entry, EntryHeader, EntryKind, KeyBox, KeySection, KeyWrap } from './entry.ts'
export {
  type DecodeOptions,
  decodeEntry,
  decodeStoredKeys,
  decodeUnverifiedEntry,
  encodeEntry,
  isSignedBeside,
  isSignedByAuthor,
} from './entry-codec.ts'
export { publicBytes, publicPart } from './public-part.ts'
export { beginEntry, type EntrySections, type HeaderDraft, signEntry } from './sign-entry.ts'
