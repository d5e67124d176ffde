import { readdirSync, readFileSync } from 'node:fs'
import { extname, join, posix } from 'node:path'
import { parseSync } from 'vite'

/** A node of an ESTree with TypeScript; its other fields depend on its type. */
export interface SyntaxNode {
  readonly type: string
  readonly [field: string]: unknown
}

/** Paths of the modules below a folder of `root`, relative to `root`. */
export function modulesUnder(root: string, folder: string): string[] {
  const entries = readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
  return entries
    .filter((entry) => entry.isFile() && ['.ts', '.js'].includes(extname(entry.name)))
    .map((entry) => posix.relative(root, posix.join(entry.parentPath, entry.name)))
    .sort()
}

/** The tree of one module. Throws when the module does not parse. */
export function parseModule(root: string, path: string): unknown {
  const { program, errors } = parseSync(path, readFileSync(join(root, path), 'utf8'))
  if (errors.length > 0) throw new Error(`${path} does not parse: ${errors[0]?.message}`)
  return program
}

/** Hands every node of a tree to `seen`, parents first. */
export function visit(tree: unknown, seen: (node: SyntaxNode) => void): void {
  if (Array.isArray(tree)) {
    for (const item of tree) visit(item, seen)
  } else if (typeof tree === 'object' && tree !== null) {
    if (isNode(tree)) seen(tree)
    for (const child of Object.values(tree)) visit(child, seen)
  }
}

/** Whether a field of a node holds a node. */
export function isNode(value: unknown): value is SyntaxNode {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'
}
