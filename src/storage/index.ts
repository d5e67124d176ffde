/** What the core asks of a disk: an ordered key-value store, and the blocks of a namespace. */
export type { BlockWriter, NamespaceBlocks } from './blocks.ts'
export type { KeyRange, KeyValueChange, KeyValueStore } from './key-value.ts'
