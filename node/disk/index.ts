/** What a node keeps on its disk: blocks in pack files, and everything else in one LevelDB database. */
export { LevelStore, type LevelStoreOptions } from './level-store.ts'
export type { PackNamespace } from './pack-namespace.ts'
export { PackStore, type PackStoreOptions } from './pack-store.ts'
export type { PackFinding } from './pack-verify.ts'
export { DataDir } from './data-dir.ts'
export { readIncarnation } from './incarnation.ts'
