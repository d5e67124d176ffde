/** What the core asks of a disk: an ordered key-value store, and the blocks of a namespace; and changes over such a store that are not written yet. */
export type { BlockPlace, BlockWriter, NamespaceBlocks } from './blocks.ts'
export type { KeyRange, KeyValueChange, KeyValueStore } from './key-value.ts'
export { Overlay } from './overlay.ts'
