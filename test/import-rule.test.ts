import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { layers } from '../src/index.ts'
import { importRuleViolations, importsUnder, outsideReach } from './import-rule.ts'

const root = join(import.meta.dirname, '..')

describe('this project', () => {
  const imports = importsUnder(root)

  test('imports src ← sdk ← node, and inside src only upwards in the list of layers', () => {
    expect(importRuleViolations(imports, layers)).toEqual([])
  })

  test('has exactly the folders in src that the list of layers names', () => {
    const folders = readdirSync(join(root, 'src'), { withFileTypes: true }).filter((entry) => entry.isDirectory())
    expect(folders.map((folder) => folder.name).sort()).toEqual([...layers].sort())
  })

  test('reads imports at all: the sdk is seen to import the core', () => {
    expect(imports).toContainEqual({ from: 'sdk/index.ts', specifier: '../src/errors.ts', typeOnly: false })
    expect(imports).toContainEqual({ from: 'sdk/index.ts', specifier: './client.ts', typeOnly: true })
  })

  test('loads no Node module and no package with the sdk entry, so that a browser can', () => {
    expect(outsideReach(imports, 'sdk/index.ts', false)).toEqual([])
  })

  test('mentions no Node module and no package in the types of the sdk entry', () => {
    expect(outsideReach(imports, 'sdk/index.ts', true)).toEqual([])
  })
})

describe('a tree made for this test', () => {
  const trees: string[] = []
  afterEach(() => {
    for (const tree of trees.splice(0)) rmSync(tree, { recursive: true })
  })

  const sound: Readonly<Record<string, string>> = {
    'src/errors.ts': 'export const one = 1',
    'src/low/index.ts': "export { one } from '../errors.ts'",
    'src/high/index.ts': "import { one } from '../low/index.ts'\nimport { two } from './two.ts'\nexport { one, two }",
    'src/high/two.ts': 'export const two = 2',
    'sdk/index.ts': "export { one } from '../src/high/index.ts'",
    'node/index.ts': "import fs from 'node:fs'\nexport { one } from '../sdk/index.ts'\nexport { fs }",
    'test/all.ts': "import '../node/index.ts'\nimport '../scripts/run.ts'",
    'scripts/run.ts': "import 'artifact-hub'",
    'src/low/low.test.ts': "import '../../test/all.ts'\nimport './memory.test-helper.ts'",
  }

  function importsWith(files: Readonly<Record<string, string>>) {
    const tree = mkdtempSync(join(tmpdir(), 'artifact-hub-imports-'))
    trees.push(tree)
    for (const [path, text] of Object.entries({ ...sound, ...files })) {
      mkdirSync(dirname(join(tree, path)), { recursive: true })
      writeFileSync(join(tree, path), text)
    }
    return importsUnder(tree)
  }

  const violationsWith = (files: Readonly<Record<string, string>>) =>
    importRuleViolations(importsWith(files), ['low', 'high'])

  test('is accepted while it keeps the rule', () => {
    expect(violationsWith({})).toEqual([])
    expect(outsideReach(importsWith({}), 'sdk/index.ts', true)).toEqual([])
  })

  test.each([
    ['the core importing the sdk', 'src/low/index.ts', "import '../../sdk/index.ts'"],
    ['the core importing the node', 'src/low/index.ts', "import '../../node/index.ts'"],
    ['the core importing the node by the package’s name', 'src/errors.ts', "import 'artifact-hub'"],
    ['the core importing the sdk by the package’s name', 'src/errors.ts', "import 'artifact-hub/sdk'"],
    ['the sdk importing the node', 'sdk/index.ts', "export { fs } from '../node/index.ts'"],
    ['a layer importing one below it', 'src/low/index.ts', "import { two } from '../high/index.ts'\nexport { two }"],
    ['a type taken from a layer below', 'src/low/index.ts', "import type { two } from '../high/two.ts'"],
    ['a type expression that names a layer below', 'src/low/a.ts', "type Two = typeof import('../high/two.ts').two"],
    ['a re-export of everything from a layer below', 'src/low/index.ts', "export * from '../high/index.ts'"],
    ['a dynamic import of a layer below', 'src/low/index.ts', "export const late = import('../high/index.ts')"],
    ['a worker that is in the node', 'src/low/a.ts', "new Worker(new URL('../../node/index.ts', import.meta.url))"],
    ['a computed import in the core', 'src/low/index.ts', 'export const load = (name: string) => import(name)'],
    ['a file beside the layers importing one', 'src/errors.ts', "import './low/index.ts'"],
    ['a layer that the list does not name', 'src/other/index.ts', "import '../low/index.ts'"],
    ['an import from a layer that the list does not name', 'src/high/two.ts', "import '../other/index.ts'"],
    ['the node importing test', 'node/index.ts', "import '../test/all.ts'"],
    ['the core importing scripts', 'src/low/index.ts', "import '../../scripts/run.ts'"],
    ['a module importing the helper of a test', 'src/low/index.ts', "import './memory.test-helper.ts'"],
    ['a test beside its file that imports the node', 'src/low/a.test.ts', "import '../../node/index.ts'"],
  ])('is refused for %s', (_, path, text) => {
    const violations = violationsWith({ [path]: text })
    expect(violations).toHaveLength(1)
    expect(violations[0]).toMatch(new RegExp(`^${path} imports `))
  })

  test('is not taken as safe for browsers when something deep below the sdk loads a Node module', () => {
    const imports = importsWith({
      'src/high/two.ts': "import { readFile } from 'node:fs'\nexport const two = readFile",
    })
    expect(outsideReach(imports, 'sdk/index.ts', false)).toEqual(['src/high/two.ts imports node:fs'])
  })

  test('loads nothing for a type, which is seen only when types are followed', () => {
    const imports = importsWith({ 'src/high/two.ts': "import type { Stats } from 'node:fs'\nexport const two = 2" })
    expect(outsideReach(imports, 'sdk/index.ts', false)).toEqual([])
    expect(outsideReach(imports, 'sdk/index.ts', true)).toEqual(['src/high/two.ts imports node:fs'])
  })

  test('loads the module even when only types are named inside the braces', () => {
    const imports = importsWith({ 'src/high/two.ts': "import { type Stats } from 'node:fs'\nexport const two = 2" })
    expect(outsideReach(imports, 'sdk/index.ts', false)).toEqual(['src/high/two.ts imports node:fs'])
  })
})
