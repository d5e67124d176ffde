import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'

const root = join(import.meta.dirname, '..')

/** Bounds on what `npm ci` installs, packages. */
const maxProductionPackages = 370
const maxPackages = 470

interface LockedPackage {
  readonly dev?: boolean
  readonly optional?: boolean
  readonly resolved?: string
  readonly integrity?: string
}

const locked = new Map(
  Object.entries((readJson('package-lock.json') as { packages: Record<string, LockedPackage> }).packages),
)
locked.delete('')

describe('the installed packages', () => {
  const installed = installedUnder('node_modules')

  test('are the ones that the lock file names, all but optional ones for other platforms', () => {
    expect(installed.filter((path) => !locked.has(path))).toEqual([])
    const present = new Set(installed)
    const absent = [...locked].filter(([path, { optional }]) => !present.has(path) && optional !== true)
    expect(absent.map(([path]) => path)).toEqual([])
  })

  test(`are at most ${maxProductionPackages} in production and ${maxPackages} in all`, () => {
    const production = installed.filter((path) => locked.get(path)?.dev !== true)
    expect(production).toContain('node_modules/helia')
    expect(production).not.toContain('node_modules/vitest')
    expect(production.length).toBeLessThanOrEqual(maxProductionPackages)
    expect(installed.length).toBeLessThanOrEqual(maxPackages)
  })
})

describe('the lock file', () => {
  test('names no place to download from', () => {
    expect([...locked].filter(([, { resolved }]) => resolved !== undefined)).toEqual([])
  })

  test('pins the bytes of every package', () => {
    expect([...locked].filter(([, { integrity }]) => integrity?.startsWith('sha512-') !== true)).toEqual([])
  })
})

test('every dependency is pinned to one version', () => {
  const { dependencies, devDependencies, optionalDependencies, overrides } = readJson('package.json') as Record<
    string,
    Record<string, string>
  >
  const versions = Object.values({ ...dependencies, ...devDependencies, ...optionalDependencies, ...overrides })
  expect(versions.length).toBeGreaterThan(20)
  expect(versions.filter((version) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([])
})

/** The folders of the packages below a node_modules folder, as the lock file writes them. */
function installedUnder(modules: string): string[] {
  return folders(modules)
    .filter((name) => !name.startsWith('.'))
    .flatMap((name) =>
      name.startsWith('@') ? folders(join(modules, name)).map((inner) => `${name}/${inner}`) : [name],
    )
    .map((name) => join(modules, name))
    .flatMap((path) => [
      path,
      ...(folders(path).includes('node_modules') ? installedUnder(join(path, 'node_modules')) : []),
    ])
}

function folders(path: string): string[] {
  return readdirSync(join(root, path), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(join(root, path), 'utf8'))
}
