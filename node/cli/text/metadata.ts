import type { FilterCondition, Json, JsonObject, MetadataFilter } from '../../../sdk/client.ts'
import { ArtifactHubError } from '../../../src/errors.ts'

type Tree = Map<string, Tree | Json>

/**
 * Metadata from the command line: `base` with each assignment laid over it. `key=text` stores a string, `key:=json` any
 * JSON value; dots in a key nest (`a.b=1` is `{ "a": { "b": "1" } }`).
 * @throws INVALID_ARGUMENT
 */
export function metadataFrom(assignments: readonly string[], base: JsonObject = {}): JsonObject {
  const root = toTree(base)
  for (const assignment of assignments) {
    const match = /^([^=]*?)(:?)=(.*)$/s.exec(assignment)
    const key = match?.[1] ?? ''
    if (match === null || key === '' || key.split('.').includes('')) {
      throw invalid(`"${assignment}" is not metadata; write key=text or key:=json`)
    }
    const value = match[2] === ':' ? parseJson(match[3] ?? '', `the value of "${key}"`) : (match[3] ?? '')
    setPath(root, key.split('.'), value)
  }
  return fromTree(root) as JsonObject
}

/**
 * A JSON object typed on the command line.
 * @throws INVALID_ARGUMENT
 */
export function parseJsonObject(text: string, what: string): JsonObject {
  const value = parseJson(text, what)
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw invalid(`${what} must be a JSON object, like {"author":"me"}`)
  }
  return value as JsonObject
}

/**
 * Any JSON value typed on the command line.
 * @throws INVALID_ARGUMENT
 */
export function parseJson(text: string, what: string): Json {
  try {
    return JSON.parse(text) as Json
  } catch (cause) {
    throw new ArtifactHubError('INVALID_ARGUMENT', `${what} is not JSON: ${(cause as Error).message}`, { cause })
  }
}

const operators = [
  ['>=', '$gte'],
  ['<=', '$lte'],
  ['^=', '$prefix'],
  [':=', 'json'],
  ['=', 'equal'],
  ['>', '$gt'],
  ['<', '$lt'],
] as const

/**
 * A filter from conditions that must all hold: `k=v`, `k:=json`, `k>v`, `k>=v`, `k<v`, `k<=v`, `k^=prefix`, `k` (has it), `!k` (has it
 * not), or one JSON object in the SDK's own form. A value that reads as a JSON scalar (`3`, `true`) matches with `=` both as that and
 * as text, because metadata typed as `k=3` is text while programs store numbers.
 * @throws INVALID_ARGUMENT
 */
export function filterFrom(conditions: readonly string[]): MetadataFilter | undefined {
  if (conditions.length === 0) return undefined
  const filter = new Map<string, MetadataFilter[string]>()
  for (const condition of conditions) {
    const parsed = condition.trimStart().startsWith('{')
      ? Object.entries(parseJsonObject(condition, 'the condition') as MetadataFilter)
      : [parseCondition(condition)]
    for (const [path, value] of parsed) {
      if (value !== undefined) filter.set(path, merge(path, filter.get(path), value))
    }
  }
  return Object.fromEntries(filter)
}

function parseCondition(text: string): [path: string, condition: FilterCondition] {
  const match = /^(!?)([^=<>^:]+)(?:(>=|<=|\^=|:=|=|>|<)(.*))?$/s.exec(text)
  const [, negated, path = '', sign, value = ''] = match ?? []
  if (match === null || (negated && sign)) {
    throw invalid(`"${text}" is not a condition; write k=v, k>v, k>=v, k<v, k<=v, k^=prefix, k:=json, k or !k`)
  }
  if (sign === undefined) return [path, { $exists: !negated }]
  const operator = operators.find(([written]) => written === sign)?.[1]
  if (operator === 'json') return [path, parseJson(value, `the value of "${path}"`)]
  if (operator === 'equal') {
    const scalar = readScalar(value)
    return [path, scalar === undefined ? value : { $in: [value, scalar] }]
  }
  if (operator === '$prefix') return [path, { $prefix: value }]
  const bound = readScalar(value)
  return [path, { [operator as string]: typeof bound === 'number' ? bound : value }]
}

function readScalar(text: string): number | boolean | null | undefined {
  if (text === 'true' || text === 'false') return text === 'true'
  if (text === 'null') return null
  return /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text) ? Number(text) : undefined
}

function merge<T>(path: string, before: T | undefined, added: T): T {
  if (before === undefined) return added
  if (!isOperators(before) || !isOperators(added) || Object.keys(added).some((key) => Object.hasOwn(before, key))) {
    throw invalid(`the conditions on "${path}" cannot hold together; give each kind once`)
  }
  return { ...before, ...added }
}

function isOperators(value: unknown): value is object {
  return typeof value === 'object' && value !== null && Object.keys(value).every((key) => key.startsWith('$'))
}

function toTree(object: JsonObject): Tree {
  const tree: Tree = new Map()
  for (const [key, value] of Object.entries(object)) tree.set(key, isPlainObject(value) ? toTree(value) : value)
  return tree
}

function fromTree(tree: Tree | Json): Json {
  if (!(tree instanceof Map)) return tree
  // fromEntries defines own properties, so a key named __proto__ stays a key.
  return Object.fromEntries([...tree].map(([key, value]) => [key, fromTree(value)]))
}

function setPath(tree: Tree, path: readonly string[], value: Json): void {
  const [key = '', ...rest] = path
  if (rest.length === 0) {
    tree.set(key, isPlainObject(value) ? toTree(value) : value)
    return
  }
  const below = tree.get(key)
  const next: Tree = below instanceof Map ? below : new Map()
  tree.set(key, next)
  setPath(next, rest, value)
}

function isPlainObject(value: Json): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid(message: string): ArtifactHubError {
  return new ArtifactHubError('INVALID_ARGUMENT', message)
}
