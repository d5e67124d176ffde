import type { Condition, RangeEnd } from './filter.ts'
import { canonicalJson, type Metadata, type MetadataValue } from './metadata.ts'

/** Whether all conditions hold of the metadata. */
export function matchesConditions(metadata: Metadata, conditions: readonly Condition[]): boolean {
  return conditions.every((condition) => holds(metadata, condition))
}

function holds(metadata: Metadata, condition: Condition): boolean {
  for (const value of valuesAt(metadata, condition.path)) {
    if (condition.exists === false) return false
    if (satisfies(value, condition)) return true
  }
  return condition.exists === false
}

/** Every value at a path, however the path is cut into member names; see `leaves` for what the values are. */
function* valuesAt(node: MetadataValue, path: string): Generator<MetadataValue> {
  if (typeof node !== 'object' || node === null) return
  if (Array.isArray(node)) {
    for (const item of node as readonly MetadataValue[]) yield* valuesAt(item, path)
    return
  }
  const object = node as Metadata
  if (Object.hasOwn(object, path)) yield* itself(object[path] as MetadataValue)
  for (let dot = path.indexOf('.'); dot !== -1; dot = path.indexOf('.', dot + 1)) {
    const key = path.slice(0, dot)
    if (Object.hasOwn(object, key)) yield* valuesAt(object[key] as MetadataValue, path.slice(dot + 1))
  }
}

function* itself(value: MetadataValue): Generator<MetadataValue> {
  yield value
  if (Array.isArray(value)) for (const item of value as readonly MetadataValue[]) yield* itself(item)
}

function satisfies(value: MetadataValue, { among, lower, upper, prefix }: Condition): boolean {
  if (among !== undefined && !among.has(canonicalJson(value, { what: 'metadata' }))) return false
  if (lower !== undefined && !isBeyond(value, lower, 1)) return false
  if (upper !== undefined && !isBeyond(value, upper, -1)) return false
  return prefix === undefined || (typeof value === 'string' && value.startsWith(prefix))
}

function isBeyond(value: MetadataValue, end: RangeEnd, direction: 1 | -1): boolean {
  let step: number
  if (typeof value === 'number' && typeof end.value === 'number') step = Math.sign(value - end.value)
  else if (typeof value === 'string' && typeof end.value === 'string') step = compareTexts(value, end.value)
  else return false
  return step === direction || (step === 0 && end.inclusive)
}

/** By Unicode code points, which is how UTF-8 bytes compare; UTF-16 units differ above U+FFFF. */
function compareTexts(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'))
}
