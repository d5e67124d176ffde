import { join } from 'node:path'

/**
 * What processes of tests have in their environment: they load the same files, hundreds of times, and compile each of them once. Node
 * keeps the cache by the files' content, and it goes with node_modules.
 */
export const withCompileCache = {
  NODE_COMPILE_CACHE: join(import.meta.dirname, '../../node_modules/.cache/artifact-hub-tests'),
}
