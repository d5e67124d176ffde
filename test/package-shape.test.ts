import { execFileSync, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { npmPack, packCopy } from '../scripts/pack-copy.ts'

const root = join(import.meta.dirname, '..')
const directory = mkdtempSync(join(tmpdir(), 'artifact-hub-package-'))
const consumer = join(directory, 'consumer')
const bin = join(consumer, 'node_modules/.bin/artifact-hub')
let clone: string
let tarball: string

beforeAll(() => {
  const packed = packCopy(directory)
  clone = packed.clone
  tarball = packed.tarball
  installTarball()
}, 300_000)

afterAll(() => rmSync(directory, { recursive: true, force: true }))

test('the tarball holds the compiled code, the README and the licences, and nothing else', () => {
  const files = filesOf(tarball)
  const compiled = /^package\/dist\/(?:src|sdk|node)\/[\w/-]+\.(?:js|d\.ts)$/
  expect(files.filter((file) => !compiled.test(file))).toEqual([
    'package/LICENSE',
    'package/LICENSE-APACHE',
    'package/LICENSE-MIT',
    'package/README.md',
    'package/package.json',
  ])
  expect(files).toContain('package/dist/node/index.js')
})

test('the published package.json asks for Node 24 and nothing that only a clone needs', () => {
  const published = readJson(join(consumer, 'node_modules/artifact-hub/package.json'))
  expect(published.engines).toEqual({ node: '>=24' })
  for (const field of ['devDependencies', 'optionalDependencies', 'overrides']) {
    expect(published).not.toHaveProperty(field)
  }
  expect(published.dependencies).toEqual(readJson(join(root, 'package.json')).dependencies)
})

test('packing leaves the tree as it was', () => {
  expect(readFileSync(join(clone, 'package.json'))).toEqual(readFileSync(join(root, 'package.json')))
  expect(readdirSync(clone).filter((name) => name === 'dist' || name.startsWith('package.json.'))).toEqual([])
})

test('an interrupted pack is mended by the next one', () => {
  const original = readFileSync(join(clone, 'package.json'))
  execFileSync(process.execPath, ['scripts/pack.ts', 'prepare'], { cwd: clone })
  expect(readFileSync(join(clone, 'package.json'))).not.toEqual(original)
  expect(filesOf(npmPack(clone, join(directory, 'again')))).toEqual(filesOf(tarball))
  expect(readFileSync(join(clone, 'package.json'))).toEqual(original)
  expect(existsSync(join(clone, 'dist'))).toBe(false)
})

test('a folder is not published, because npm would announce the dependencies of the clone', () => {
  const { status, stderr } = run(process.execPath, [join(root, 'scripts/pack.ts'), 'refuse'])
  expect(status).toBe(1)
  expect(stderr).toMatch(/publish the tarball/)
})

test('the installed package stores a file and gives it back, in process', () => {
  const program = `
    import { startNode } from 'artifact-hub'
    import { isHubError, plans } from 'artifact-hub/sdk'
    const data = crypto.getRandomValues(new Uint8Array(60_000))
    await using node = await startNode({ network: 'offline', dataDir: process.argv[2] })
    const { artifact } = node.client
    const { id } = await artifact.create({ name: 'random.bin', data })
    const back = await artifact.download({ artifactId: id })
    const missing = await artifact.get({ artifactId: 'art_nothing' }).catch((error) => error)
    console.log(JSON.stringify([Buffer.compare(back, data), isHubError(missing), plans.free.maxFileBytes]))
  `
  writeFileSync(join(consumer, 'program.js'), program)
  const { status, stdout, stderr } = run(process.execPath, ['program.js', join(directory, 'data-of-program')])
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  expect(JSON.parse(stdout)).toEqual([0, true, 10_000_000])
})

test('the installed command stores a file of several chunks and gives it back', () => {
  const content = randomBytes(5_000_000)
  writeFileSync(join(directory, 'input.bin'), content)
  const dataDir = ['--data-dir', join(directory, 'data-of-command')]
  const put = run(process.execPath, [bin, 'put', join(directory, 'input.bin'), '--json', ...dataDir])
  expect({ status: put.status, stderr: put.stderr }).toMatchObject({ status: 0 })
  const { id } = JSON.parse(put.stdout) as { id: string }
  const output = join(directory, 'output.bin')
  const get = run(process.execPath, [bin, 'get', id, '-o', output, ...dataDir])
  expect({ status: get.status, stderr: get.stderr }).toMatchObject({ status: 0 })
  expect(readFileSync(output).equals(content)).toBe(true)
})

test.each(['artifact-hub', 'ahub'])('%s says its version', (name) => {
  const { status, stdout } = run(join(consumer, 'node_modules/.bin', name), ['--version'])
  expect({ status, version: stdout.trim() }).toEqual({
    status: 0,
    version: readJson(join(root, 'package.json')).version,
  })
})

test('the command explains itself in one line on an older Node', () => {
  const older = olderNode()
  const { status, stdout, stderr } = run(older[0], [...older.slice(1), bin, '--version'])
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
  expect(stderr).toMatch(/^artifact-hub needs Node\.js 24 or newer and this is v\d+\.\d+\.\d+[^\n]*\n$/)
})

test('a program that uses the package type-checks, and a wrong one does not', () => {
  const program = `
    import { startNode } from 'artifact-hub'
    import type { Artifact, Client } from 'artifact-hub/sdk'
    export const read = async (client: Client): Promise<Artifact> => client.artifact.get({ name: 'report.pdf' })
    await using node = await startNode({ network: 'offline', dataDir: 'data' })
    const bytes: Uint8Array = await node.client.artifact.download({ artifactId: (await read(node.client)).id })
    export const wrong: string = bytes
  `
  writeFileSync(join(consumer, 'program.ts'), program)
  const options = ['--strict', '--noEmit', '--module', 'nodenext', '--target', 'esnext', '--types', '']
  const { stdout } = run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), ...options, 'program.ts'])
  const ours = stdout.split('\n').filter((line) => /^(?:program\.ts|node_modules\/artifact-hub\/)/.test(line))
  expect(ours).toEqual([expect.stringMatching(/^program\.ts\(7,\d+\): error TS2322: /)])
})

/**
 * Installs the tarball as any package in a project of its own, at the dependency versions of this project's lock file:
 * the bytes that `npm ci` has just cached.
 */
function installTarball(): void {
  mkdirSync(consumer)
  copyFileSync(join(root, '.npmrc'), join(consumer, '.npmrc'))
  const { overrides } = readJson(join(root, 'package.json'))
  const published = JSON.parse(
    execFileSync('tar', ['-xzOf', tarball, 'package/package.json'], { encoding: 'utf8' }),
  ) as Record<string, unknown>
  const { version, dependencies, engines, bin: bins } = published
  const manifest = {
    name: 'consumer',
    version: '1.0.0',
    type: 'module',
    dependencies: { 'artifact-hub': `file:../${basename(tarball)}` },
    overrides,
  }
  const { packages } = readJson(join(root, 'package-lock.json')) as { packages: Record<string, { dev?: boolean }> }
  const brought = Object.entries(packages).filter(([path, { dev }]) => {
    return path !== '' && dev !== true && !path.startsWith('node_modules/node-linux-')
  })
  const integrity = `sha512-${createHash('sha512').update(readFileSync(tarball)).digest('base64')}`
  const resolved = manifest.dependencies['artifact-hub']
  const lock = {
    ...manifest,
    lockfileVersion: 3,
    requires: true,
    packages: {
      '': manifest,
      'node_modules/artifact-hub': { version, resolved, integrity, dependencies, engines, bin: bins },
      ...Object.fromEntries(brought),
    },
  }
  writeFileSync(join(consumer, 'package.json'), JSON.stringify(manifest))
  writeFileSync(join(consumer, 'package-lock.json'), JSON.stringify(lock))
  execFileSync('npm', ['ci', '--prefer-offline'], { cwd: consumer, stdio: 'pipe' })
}

function filesOf(archive: string): string[] {
  return execFileSync('tar', ['-tzf', archive], { encoding: 'utf8' }).trim().split('\n').sort()
}

/** An older Node of this machine, or else this one made to look old before the command's first line runs. */
function olderNode(): [string, ...string[]] {
  for (const folder of (process.env.PATH ?? '').split(':')) {
    const path = join(folder, 'node')
    if (!existsSync(path)) continue
    const version = run(path, ['--version']).stdout
    if (Number(/^v(\d+)/.exec(version)?.[1]) < 24) return [path]
  }
  const disguise = "Object.defineProperty(process.versions, 'node', { value: '20.0.0' })"
  return [process.execPath, '--import', `data:text/javascript,${encodeURIComponent(disguise)}`]
}

function run(command: string, args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(command, args, { cwd: consumer, encoding: 'utf8' })
}

function readJson(path: string): Record<string, unknown> {
  return JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
}
