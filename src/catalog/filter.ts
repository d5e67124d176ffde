import { ArtifactHubError, isHubError, readGiven } from '../errors.ts'
import { maxFilterConditions, maxFilterValues, maxMetadataBytes, maxMetadataDepth } from '../limits.ts'
import { canonicalJson, type MetadataValue } from './metadata.ts'

/** One end of a range. */
export interface RangeEnd {
  readonly value: number | string
  readonly inclusive: boolean
}

/**
 * What must hold of one value at a path: everything that is present. A value is a list's item as well as the
 * list, so a condition holds for a list when it holds for the whole of it or for one item.
 */
export interface Condition {
  /** Member names joined by dots. */
  readonly path: string
  /** Whether there must be a value at all. */
  readonly exists?: boolean
  /** Canonical JSON texts, one of which it must be equal to, with their values. */
  readonly among?: ReadonlyMap<string, MetadataValue>
  readonly lower?: RangeEnd
  readonly upper?: RangeEnd
  readonly prefix?: string
}

type Draft = { -readonly [K in keyof Condition]: Condition[K] }

/**
 * Reads a metadata filter: paths, nested or dotted, to literals or to objects of operators (`$in`, `$gt`, `$gte`,
 * `$lt`, `$lte`, `$exists`, `$prefix`). A member that is `undefined` is absent, and an object with nothing in it
 * is no condition. A literal `null` asks for a null, not for absence. To ask for a whole object, use `$in`.
 *
 * @throws INVALID_ARGUMENT naming the path
 */
export function parseFilter(filter: unknown): Condition[] {
  const conditions: Condition[] = []
  if (filter === undefined) return conditions
  const add = (condition: Condition): void => {
    if (conditions.length === maxFilterConditions) {
      throw invalid('', `has more than ${maxFilterConditions} conditions`, { maxFilterConditions })
    }
    conditions.push(condition)
  }
  const read = (object: object, path: string | undefined, depth: number): void => {
    if (depth > maxMetadataDepth) throw invalid(path ?? '', `is nested deeper than ${maxMetadataDepth}`)
    const members = Object.keys(object)
      .map((key): [string, unknown] => [key, (object as Record<string, unknown>)[key]])
      .filter(([, value]) => value !== undefined)
    const operators = members.filter(([key]) => key.startsWith('$'))
    if (operators.length > 0) {
      if (path === undefined) throw invalid('', `has an operator (${operators[0]?.[0]}) where a path must stand`)
      if (operators.length < members.length) throw invalid(path, 'mixes operators and paths')
      add(readOperators(operators, path))
      return
    }
    for (const [key, value] of members) {
      if (!key.isWellFormed()) throw invalid(path ?? '', 'has a path with an unpaired surrogate')
      const at = path === undefined ? key : `${path}.${key}`
      if (isPlainObject(value)) read(value, at, depth + 1)
      else add({ path: at, among: readValues([value], at) })
    }
  }
  readGiven('metadataFilter', () => {
    if (!isPlainObject(filter)) throw invalid('', 'must be an object of paths')
    read(filter, undefined, 1)
  })
  return conditions
}

function readOperators(operators: readonly [string, unknown][], path: string): Condition {
  const draft: Draft = { path }
  for (const [operator, operand] of operators) {
    switch (operator) {
      case '$in':
        if (!Array.isArray(operand)) throw invalid(path, '$in takes a list')
        if (operand.length > maxFilterValues) throw invalid(path, `$in has more than ${maxFilterValues} values`)
        draft.among = readValues(operand, path)
        break
      case '$gt':
      case '$gte':
        if (draft.lower !== undefined) throw invalid(path, 'has both $gt and $gte')
        draft.lower = { value: readEnd(operator, operand, path), inclusive: operator === '$gte' }
        break
      case '$lt':
      case '$lte':
        if (draft.upper !== undefined) throw invalid(path, 'has both $lt and $lte')
        draft.upper = { value: readEnd(operator, operand, path), inclusive: operator === '$lte' }
        break
      case '$exists':
        if (typeof operand !== 'boolean') throw invalid(path, '$exists takes true or false')
        draft.exists = operand
        break
      case '$prefix':
        if (typeof operand !== 'string' || !operand.isWellFormed()) throw invalid(path, '$prefix takes a string')
        draft.prefix = operand
        break
      default:
        throw invalid(path, `has the unknown operator ${JSON.stringify(operator.slice(0, 80))}`)
    }
  }
  const { exists, lower, upper, prefix } = draft
  if (exists === false && operators.length > 1) throw invalid(path, 'asks for absence and for a value')
  const types = new Set([lower && typeof lower.value, upper && typeof upper.value, prefix && 'string'])
  if (types.has('number') && types.has('string')) throw invalid(path, 'compares with numbers and with strings')
  return draft
}

function readEnd(operator: string, operand: unknown, path: string): number | string {
  const isFit = typeof operand === 'string' ? operand.isWellFormed() : Number.isFinite(operand)
  if (!isFit) throw invalid(path, `${operator} takes a finite number or a string`)
  return operand as number | string
}

function readValues(values: readonly unknown[], path: string): Map<string, MetadataValue> {
  const read = new Map<string, MetadataValue>()
  // By index, so that a hole in the list is an undefined value and not skipped.
  for (let i = 0; i < values.length; i++) {
    const text = literalText(values[i], path)
    read.set(text, JSON.parse(text) as MetadataValue)
  }
  return read
}

function literalText(value: unknown, path: string): string {
  try {
    const what = `metadataFilter: ${describePath(path)}`
    return canonicalJson(value, { what, maxDepth: maxMetadataDepth, maxBytes: maxMetadataBytes })
  } catch (error) {
    if (!isHubError(error)) throw error
    throw new ArtifactHubError('INVALID_ARGUMENT', error.message, { details: { path }, cause: error })
  }
}

/** The text that a query's hash is made of: the same for filters that ask the same in the same order. */
export function conditionText(conditions: readonly Condition[]): string {
  const fields = conditions.map(({ among, ...rest }) => ({ ...rest, among: among && [...among.keys()] }))
  return canonicalJson(fields, { what: 'metadataFilter' })
}

function isPlainObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function describePath(path: string): string {
  return JSON.stringify(path.length > 80 ? `${path.slice(0, 80)}…` : path)
}

function invalid(path: string, problem: string, details: Record<string, number> = {}): ArtifactHubError {
  const where = path === '' ? 'metadataFilter' : `metadataFilter: ${describePath(path)}`
  return new ArtifactHubError('INVALID_ARGUMENT', `${where} ${problem}`, { details: { path, ...details } })
}
