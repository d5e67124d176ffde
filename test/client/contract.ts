/**
 * What every Client does, whatever is behind it: each function registers tests of one matter against clients that
 * `open` gives.
 */
export { callsContract } from './contract-calls.ts'
export { dataContract } from './contract-data.ts'
export { describeContract } from './contract-describe.ts'
export { filesContract } from './contract-files.ts'
export { interruptionsContract } from './contract-interruptions.ts'
export { linksContract } from './contract-links.ts'
export { listsContract } from './contract-lists.ts'
export { manyContract } from './contract-many.ts'
export { modelContract } from './contract-model.ts'
export { namespacesContract } from './contract-namespaces.ts'
export { readsContract } from './contract-reads.ts'
export { versionsContract } from './contract-versions.ts'
