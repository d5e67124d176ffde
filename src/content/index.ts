/** Files as encrypted blocks: cutting, sealing, the tree over them, and the way back. Formats: README.md. */
export { cidOf, rawCodec } from './cid.ts'
export { type ContentEngine, type ContentKeys, type ContentScan, inThreadEngine, ScanState } from './engine.ts'
export { type IngestedContent, type IngestOptions, type InlineContent, ingestContent, sealInline } from './ingest.ts'
export { nonceOf, openLeaf, type SealedLeaf, sealLeaf } from './leaf.ts'
export { type KnownLeaves, LeafMemory } from './leaf-memory.ts'
export { type ReadContentOptions, readContent } from './read.ts'
export { type ContentSource, isPositioned, openSource, type PositionedSource } from './source.ts'
export { type BlockReader, type ContentRef, type TreeBlock, type WalkOptions, walkTree } from './tree-walk.ts'
