/** Bundles the programs of tests into the folder that is its argument. See programs.ts. */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { build } from 'vite'
import { programs } from './programs.ts'

const root = join(import.meta.dirname, '../..')
const unusedMs = 24 * 3_600_000

const [folder] = process.argv.slice(2) as [string]
const all = dirname(folder)
mkdirSync(all, { recursive: true })
for (const old of readdirSync(all)) {
  const path = join(all, old)
  if (Date.now() - statSync(path).mtimeMs > unusedMs) rmSync(path, { recursive: true })
}
const making = mkdtempSync(join(all, 'making-'))
await build({
  configFile: false,
  root,
  logLevel: 'error',
  plugins: [
    {
      name: 'no-using-at-the-top',
      transform(code, id) {
        // The bundler makes a plain variable of it, which nobody disposes of.
        if (/^(?:await )?using /m.test(code)) throw new Error(`${id} has a "using" at the top level of the module`)
      },
    },
  ],
  resolve: { conditions: ['node'] },
  ssr: {
    noExternal: true,
    // It looks for its native half from where it stands.
    external: ['classic-level'],
    resolve: { conditions: ['node'], mainFields: ['main'] },
  },
  build: {
    ssr: true,
    outDir: join(making, 'dist/programs'),
    target: 'esnext',
    minify: false,
    rolldownOptions: {
      input: Object.fromEntries(Object.entries(programs).map(([name, path]) => [name, join(root, path)])),
      output: { entryFileNames: '[name].js', chunkFileNames: '[name]-[hash].js' },
    },
  },
})
// The release is read from it.
copyFileSync(join(root, 'package.json'), join(making, 'package.json'))
try {
  renameSync(making, folder)
} catch (error) {
  // Another test file's process was first.
  rmSync(making, { recursive: true })
  if (!existsSync(folder)) throw error
}
