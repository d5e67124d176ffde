/** Files as encrypted blocks: cutting, sealing, the tree over them, and the way back. Formats: README.md. */
export { Budget } from './budget.ts'
export { cidOf, rawCodec } from './cid.ts'
export {
  type ContentEngine,
  type ContentScan,
  type DigestedBlock,
  inThreadEngine,
  type LeafFiles,
  type OutputFile,
  type PlacedLeaf,
} from './engine.ts'
export { type IngestedContent, type IngestOptions, type InlineContent, ingestContent, sealInline } from './ingest.ts'
export type { ContentKeys, SealingKeys } from './keys.ts'
export { type SealedLeaf, type SealOptions, sealLeaf } from './leaf.ts'
export { LeafMemory, LeafTable, rememberedLeafBytes } from './leaf-memory.ts'
export { type CopyContentOptions, copyContent, type ReadContentOptions, readContent } from './read.ts'
export { type ContentSource, isPositioned, openSource, type PositionedSource } from './source.ts'
export { TreeMemory } from './tree-memory.ts'
export {
  type BlockReader,
  type ContentRef,
  childrenOf,
  type Subtree,
  subtreeOfRoot,
  type TreeBlock,
  type WalkOptions,
  walkTree,
} from './tree-walk.ts'
