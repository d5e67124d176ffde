import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '../..')

/** What tests run as processes of their own, by the names that their bundles have. */
export const programs = {
  cli: 'node/cli/bin.js',
  // Beside the others: where the threads of a compiled node look for it.
  worker: 'node/workers/worker.ts',
  'controlled-node': 'test/support/controlled-node-child.ts',
  crash: 'test/support/crash-child.ts',
  member: 'test/replication/member-child.ts',
  node: 'test/support/node-child.ts',
} as const

/**
 * A program of tests with all that it loads in a few files. Of what starting a process costs, most is looking for 1,400 modules, and
 * tests start hundreds. What a clone and the published package run, module by module, is run by the tests of these.
 *
 * Made when first asked for after a source has changed, within seconds; call it where nothing runs yet that must not wait.
 */
export function bundled(name: keyof typeof programs): string {
  made ??= make()
  return join(made, `${name}.js`)
}

let made: string | undefined

/** Gives the folder that they are in. */
function make(): string {
  const folder = join(root, 'node_modules/.cache/artifact-hub-programs', stateOfSources())
  const there = join(folder, 'dist/programs')
  if (existsSync(there)) return there
  const { status, stderr } = spawnSync(process.execPath, [join(import.meta.dirname, 'bundle-programs.ts'), folder])
  if (status !== 0) throw new Error(`the programs of tests cannot be bundled: ${stderr}`)
  return there
}

/** Another text after any change to a file that a bundle is made of. */
function stateOfSources(): string {
  const hash = createHash('sha256')
  for (const path of ['package.json', 'package-lock.json', ...['src', 'sdk', 'node', 'test'].flatMap(codeIn)]) {
    const { mtimeMs, size } = statSync(join(root, path))
    hash.update(`${path} ${mtimeMs} ${size}\n`)
  }
  return hash.digest('hex').slice(0, 16)
}

function codeIn(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((path) => /\.[jt]s$/.test(path) && !path.endsWith('.test.ts'))
    .sort()
    .map((path) => join(folder, path))
}
