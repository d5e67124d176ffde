/**
 * What a node keeps on its disk: a data directory that one process holds at a time, blocks in pack files, and everything
 * else in one LevelDB database. README.md has the formats and what happens when things fail.
 */
export { type ListedBlocks, NamespaceBlockstore } from './blockstore.ts'
export { DataDir, reserveOf } from './data-dir.ts'
export { openIncarnation } from './incarnation.ts'
export { LevelStore, type LevelStoreOptions } from './level-store.ts'
export type { PackNamespace } from './pack-namespace.ts'
export { PackStore, type PackStoreOptions } from './pack-store.ts'
export type { SweepOptions, SweepProgress, SweepResult } from './pack-sweep.ts'
export type { PackUsage } from './pack-usage.ts'
export type { PackFinding, VerifyOptions } from './pack-verify.ts'
