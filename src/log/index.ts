/** Entries: their form, their bytes, their signatures; chains of them; the hybrid clock. */
export { HybridClock } from './clock.ts'
export type { DataHeader, Entry, EntryHeader, EntryKind, KeyBox, KeySection, KeyWrap } from './entry.ts'
export { decodeEntry, encodeEntry } from './entry-codec.ts'
export { type EntrySections, type HeaderDraft, signEntry } from './sign-entry.ts'
