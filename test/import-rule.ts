import { dirname, extname, posix } from 'node:path'
import { isNode, modulesUnder, parseModule, type SyntaxNode, visit } from './syntax-tree.ts'

/** One import, re-export, dynamic import, type import or module URL. */
export interface ModuleImport {
  /** The importing file, relative to the root, with slashes. */
  readonly from: string
  /** As written; `undefined` when it is computed. */
  readonly specifier: string | undefined
  /** Whether it is gone once types are stripped. */
  readonly typeOnly: boolean
}

const folders = ['src', 'sdk', 'node', 'test', 'scripts'] as const
const rank = new Map<string, number>([
  ['src', 0],
  ['sdk', 1],
  ['node', 2],
])

/** What this package's own name stands for in an import. */
const selfReferences = new Map([
  ['artifact-hub', 'node/index.ts'],
  ['artifact-hub/sdk', 'sdk/index.ts'],
])

/** All imports of all modules under src/, sdk/, node/, test/ and scripts/ of `root`. */
export function importsUnder(root: string): ModuleImport[] {
  return folders.flatMap((folder) => modulesUnder(root, folder).flatMap((file) => importsOf(root, file)))
}

/**
 * What breaks the one-way rule, one sentence each. src ← sdk ← node; inside src only to the same folder or one earlier
 * in `layers`, or to a file that stands beside the folders; nothing imports test/ or scripts/ but they themselves, except that
 * a test beside its file takes helpers from test/; no module imports a test or its helper.
 */
export function importRuleViolations(imports: readonly ModuleImport[], layers: readonly string[]): string[] {
  return imports.flatMap((found) => {
    const broken = brokenRule(found, layers)
    return broken === undefined ? [] : [`${found.from} imports ${found.specifier ?? '(computed)'}: ${broken}`]
  })
}

/**
 * Node modules and packages that loading `entry` loads, each with the file that imports it. With `types`, also what its
 * types mention.
 */
export function outsideReach(imports: readonly ModuleImport[], entry: string, types: boolean): string[] {
  const seen = new Set([entry])
  const outside: string[] = []
  for (const file of seen) {
    for (const found of imports) {
      if (found.from !== file || (found.typeOnly && !types)) continue
      const target = targetOf(found)
      if (target === undefined) outside.push(`${file} imports ${found.specifier ?? '(computed)'}`)
      else seen.add(target)
    }
  }
  return outside
}

function brokenRule(found: ModuleImport, layers: readonly string[]): string | undefined {
  const [fromTop = '', fromLayer] = dirname(found.from).split('/')
  const fromRank = rank.get(fromTop)
  if (fromRank === undefined) return undefined
  if (found.specifier === undefined) return fromTop === 'node' ? undefined : 'a computed import cannot be checked'
  const target = targetOf(found)
  if (target === undefined) return undefined
  const [toTop = '', toLayer] = dirname(target).split('/')
  const toRank = rank.get(toTop)
  if (isTest(found.from) && toTop === 'test') return undefined
  if (!isTest(found.from) && isTest(target)) return 'only tests import tests'
  if (toRank === undefined) return `nothing imports ${toTop}/`
  if (toRank > fromRank) return `${fromTop}/ never imports ${toTop}/`
  if (fromTop !== 'src' || toLayer === undefined || toLayer === fromLayer) return undefined
  if (fromLayer === undefined) return 'a file beside the layers imports none of them'
  if (!layers.includes(fromLayer)) return `${fromLayer} is not in the list of layers`
  if (!layers.includes(toLayer)) return `${toLayer} is not in the list of layers`
  return layers.indexOf(toLayer) < layers.indexOf(fromLayer) ? undefined : `${toLayer} stands below ${fromLayer}`
}

/** Whether this is a test, `x.test.ts`, or its helper, `x.test-helper.ts`. */
export function isTest(path: string): boolean {
  return /\.test(?:-[a-z]+)*\.ts$/.test(path)
}

/** The file of this project that is imported; `undefined` for Node's modules, packages and computed imports. */
function targetOf({ from, specifier }: ModuleImport): string | undefined {
  if (specifier === undefined) return undefined
  if (specifier.startsWith('.')) return posix.normalize(posix.join(dirname(from), specifier))
  return selfReferences.get(specifier)
}

function importsOf(root: string, from: string): ModuleImport[] {
  const imports: ModuleImport[] = []
  visit(parseModule(root, from), (node) => {
    const source = sourceOf(node)
    if (source === undefined) return
    const typeOnly = node.type === 'TSImportType' || node.importKind === 'type' || node.exportKind === 'type'
    imports.push({ from, specifier: typeof source.value === 'string' ? source.value : undefined, typeOnly })
  })
  return imports
}

function sourceOf(node: SyntaxNode): SyntaxNode | undefined {
  switch (node.type) {
    case 'ImportDeclaration':
    case 'ExportNamedDeclaration':
    case 'ExportAllDeclaration':
    case 'ImportExpression':
    case 'TSImportType':
      return isNode(node.source) ? node.source : undefined
    case 'NewExpression':
      return moduleUrlSource(node)
    default:
      return undefined
  }
}

/** The path in `new URL(path, import.meta.url)`, when it names a module. */
function moduleUrlSource(node: SyntaxNode): SyntaxNode | undefined {
  const [path, base] = Array.isArray(node.arguments) ? node.arguments : []
  if (!isNode(node.callee) || node.callee.name !== 'URL' || !isNode(path) || !isNode(base)) return undefined
  if (!isNode(base.object) || base.object.type !== 'MetaProperty') return undefined
  return typeof path.value === 'string' && ['.ts', '.js'].includes(extname(path.value)) ? path : undefined
}
