/**
 * `npm pack` and `npm publish` of the compiled package. `prepare` (prepack) compiles to dist/ and puts the published
 * package.json in place of the clone's; `restore` (postpack) puts the clone's back. Between them the original stands in
 * `package.json.clone`, so that whoever was interrupted loses nothing: the next `prepare` or `restore` takes it from there.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ClonePackage, publishedPackage } from './published-package.ts'

const root = join(import.meta.dirname, '..')
const packagePath = join(root, 'package.json')
const originalPath = join(root, 'package.json.clone')
const distPath = join(root, 'dist')

function prepare(): void {
  restore()
  const compiler = join(root, 'node_modules/typescript/bin/tsc')
  const { status } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], {
    cwd: root,
    stdio: 'inherit',
  })
  if (status !== 0) {
    rmSync(distPath, { recursive: true, force: true })
    throw new Error('the build failed; nothing was packed')
  }
  const original = readFileSync(packagePath, 'utf8')
  writeWhole(originalPath, original)
  writeWhole(packagePath, `${JSON.stringify(publishedPackage(JSON.parse(original) as ClonePackage), undefined, 2)}\n`)
}

function restore(): void {
  if (existsSync(originalPath)) renameSync(originalPath, packagePath)
  rmSync(distPath, { recursive: true, force: true })
}

// npm reads package.json again after postpack when it publishes a folder, and would announce the clone's dependencies.
function refuse(): never {
  throw new Error('publish the tarball, not the folder: npm pack, then npm publish ./artifact-hub-VERSION.tgz')
}

function writeWhole(path: string, text: string): void {
  writeFileSync(`${path}.new`, text)
  renameSync(`${path}.new`, path)
}

const steps = { prepare, restore, refuse }
const step = process.argv[2] ?? ''
try {
  if (!Object.hasOwn(steps, step)) throw new Error(`usage: pack.ts ${Object.keys(steps).join('|')}`)
  steps[step as keyof typeof steps]()
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
