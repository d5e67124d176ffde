import { importsUnder, isTest } from './import-rule.ts'
import { isNode, modulesUnder, parseModule, type SyntaxNode, visit } from './syntax-tree.ts'

/** Packages that compute and touch nothing else. */
const purePackages = new Set(['@ipld/dag-cbor', '@ipld/dag-pb', 'ipfs-unixfs', 'multiformats', 'tweetnacl', 'zod'])

/** Globals that reach out of the program. */
const outsideGlobals = new Set([
  'crypto',
  'fetch',
  'performance',
  'process',
  'setImmediate',
  'setInterval',
  'setTimeout',
  'WebSocket',
  'Worker',
])

/** Names of functions, here or in a package, that draw random bytes. */
const drawsRandomness = /^(?:random[A-Z]\w*|getRandomValues|generateKey\w*|keyPair)$/

/**
 * Where the modules of src/ (tests aside) reach for what is to be injected: Node modules other than node:crypto,
 * packages that may hold sockets or files, globals, the clock, randomness. One sentence each.
 */
export function coreRuleViolations(root: string): string[] {
  const imported = importsUnder(root)
    .filter(({ from }) => from.startsWith('src/') && !isTest(from))
    .filter(({ specifier }) => specifier !== undefined && !mayImport(specifier))
    .map(({ from, specifier }) => `${from} imports ${specifier}`)
  const used = modulesUnder(root, 'src')
    .filter((path) => !isTest(path))
    .flatMap((path) => outsideUses(parseModule(root, path)).map((use) => `${path} uses ${use}`))
  return [...imported, ...used]
}

function mayImport(specifier: string): boolean {
  if (specifier.startsWith('.') || specifier === 'node:crypto') return true
  return purePackages.has(specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/'))
}

function outsideUses(tree: unknown): string[] {
  const uses: string[] = []
  visit(tree, (node) => {
    const use = outsideUse(node)
    if (use !== undefined) uses.push(use)
  })
  return uses
}

function outsideUse(node: SyntaxNode): string | undefined {
  switch (node.type) {
    case 'ImportSpecifier':
      return randomName(node.imported)
    case 'NewExpression': {
      const name = nameOf(node.callee)
      if (name === 'Date' && Array.isArray(node.arguments) && node.arguments.length === 0) return 'new Date()'
      return name !== undefined && outsideGlobals.has(name) ? name : undefined
    }
    case 'CallExpression': {
      const name = nameOf(node.callee)
      if (name !== undefined) return outsideGlobals.has(name) || name === 'Date' ? name : undefined
      return isNode(node.callee) && node.callee.type === 'MemberExpression' ? memberUse(node.callee) : undefined
    }
    case 'MemberExpression': {
      const name = nameOf(node.object)
      return name !== undefined && (outsideGlobals.has(name) || name === 'globalThis') ? name : undefined
    }
    default:
      return undefined
  }
}

function memberUse(callee: SyntaxNode): string | undefined {
  const called = `${nameOf(callee.object)}.${nameOf(callee.property)}`
  if (called === 'Date.now' || called === 'Math.random') return called
  return randomName(callee.property)
}

function randomName(node: unknown): string | undefined {
  const name = nameOf(node)
  return name !== undefined && drawsRandomness.test(name) ? name : undefined
}

function nameOf(node: unknown): string | undefined {
  return isNode(node) && node.type === 'Identifier' && typeof node.name === 'string' ? node.name : undefined
}
