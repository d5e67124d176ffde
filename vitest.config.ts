import { configDefaults, defineConfig } from 'vitest/config'
import { withCompileCache } from './test/support/compile-cache.ts'

/** `vitest run` takes the tests beside the files and in test/; `--mode slow` takes only test/slow. */
export default defineConfig(({ mode }) => {
  const slow = mode === 'slow'
  return {
    test: {
      environment: 'node',
      include: slow ? ['test/slow/**/*.slow.ts'] : ['**/*.test.ts'],
      exclude: [...configDefaults.exclude, 'dist/**'],
      // A process of its own for each test file: native modules and worker threads die with it.
      pool: 'forks',
      maxWorkers: 2,
      // Each of them loads the same packages, and so do the worker threads and processes that it starts.
      env: withCompileCache,
      fileParallelism: !slow,
      // A bound on hangs, not on speed: machines that run this are shared and have two cores.
      testTimeout: slow ? 60 * 60_000 : 180_000,
      hookTimeout: 60_000,
      retry: 0,
    },
  }
})
