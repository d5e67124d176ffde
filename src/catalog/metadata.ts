import { ArtifactHubError, readGiven } from '../errors.ts'
import { maxMetadataBytes, maxMetadataDepth } from '../limits.ts'

/** A JSON value as metadata holds it. */
export type MetadataValue =
  | null
  | boolean
  | number
  | string
  | readonly MetadataValue[]
  | { readonly [key: string]: MetadataValue }

/** Metadata: a JSON object. Keys such as `__proto__` are plain data, always own properties. */
export type Metadata = { readonly [key: string]: MetadataValue }

/**
 * A deep, frozen copy of what a caller gave as metadata, read once (a getter runs once, a later change of the
 * original changes nothing). As JSON does, it drops members that are `undefined` and turns −0 into 0; unlike
 * JSON it refuses whatever else it could not give back: non-finite numbers, bigints, functions, symbols, class
 * instances (a Date too), holes in arrays, unpaired surrogates, cycles.
 *
 * @throws INVALID_ARGUMENT naming the path; TOO_LARGE when nested deeper than `maxMetadataDepth` (the object
 *   itself is 1) or longer than `maxMetadataBytes` as JSON text in UTF-8
 */
export function validateMetadata(value: unknown): Metadata {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ArtifactHubError('INVALID_ARGUMENT', `metadata must be a JSON object, not ${nameKind(value)}`)
  }
  const text = canonicalJson(value, { what: 'metadata', maxDepth: maxMetadataDepth, maxBytes: maxMetadataBytes })
  const copy = freezeDeep(JSON.parse(text) as Metadata)
  texts.set(copy, text)
  return copy
}

/** The text of each copy that `validateMetadata` made: it is frozen, so this stays true. */
const texts = new WeakMap<object, string>()

/**
 * Metadata as one text: JSON by RFC 8785 (keys sorted by UTF-16 code units, no white space), so equal metadata is
 * equal bytes whoever wrote it. A text, not a DAG-CBOR map, because that cannot tell −0 or floats from integers,
 * takes a map with equal `/` and `bytes` for a CID, and readers differ on `__proto__`.
 */
export function metadataText(metadata: Readonly<Record<string, unknown>>): string {
  return texts.get(metadata) ?? canonicalJson(metadata, { what: 'metadata' })
}

/** Reads `metadataText`. @throws CORRUPT when it is not a JSON object */
export function parseMetadata(text: string): Metadata {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new ArtifactHubError('CORRUPT', 'metadata is not JSON', { cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ArtifactHubError('CORRUPT', 'metadata is not a JSON object')
  }
  return value as Metadata
}

/** Bounds of `canonicalJson` and what its errors call the value. */
interface JsonBounds {
  readonly what: string
  readonly maxDepth?: number
  readonly maxBytes?: number
}

/**
 * RFC 8785 text of a JSON value, with every check of `validateMetadata`.
 *
 * @throws INVALID_ARGUMENT, TOO_LARGE
 */
export function canonicalJson(value: unknown, bounds: JsonBounds): string {
  const { what, maxDepth = Number.POSITIVE_INFINITY, maxBytes = Number.POSITIVE_INFINITY } = bounds
  const ancestors: object[] = []
  let budget = maxBytes

  const refuse = (problem: string, path: string): never => {
    throw new ArtifactHubError('INVALID_ARGUMENT', `${what}${path} ${problem}`, { details: { path } })
  }
  const spend = (text: string): string => {
    // A lower bound while walking (UTF-8 is never shorter than UTF-16 units), so that a huge value is refused early.
    budget -= text.length
    if (budget < 0) tooLong()
    return text
  }
  const tooLong = (): never => {
    throw new ArtifactHubError('TOO_LARGE', `${what} is longer than ${maxBytes} bytes of JSON`, {
      details: { maxBytes },
    })
  }
  const writeString = (text: string, path: string): string => {
    if (!text.isWellFormed()) refuse('holds an unpaired surrogate', path)
    return spend(JSON.stringify(text))
  }
  const enter = (container: object, path: string): void => {
    if (ancestors.includes(container)) refuse('contains itself', path)
    if (ancestors.length >= maxDepth) {
      throw new ArtifactHubError('TOO_LARGE', `${what}${path} is nested deeper than ${maxDepth}`, {
        details: { maxDepth },
      })
    }
    ancestors.push(container)
  }
  const writeArray = (list: readonly unknown[], path: string): string => {
    enter(list, path)
    if (Object.keys(list).length !== list.length) refuse('is an array with holes or named members', path)
    const parts: string[] = []
    for (let i = 0; i < list.length; i++) {
      const at = `${path}[${i}]`
      const item = list[i]
      if (item === undefined) refuse('is undefined', at)
      spend(',')
      parts.push(write(item, at))
    }
    ancestors.pop()
    return `[${parts.join(',')}]`
  }
  const writeObject = (object: object, path: string): string => {
    const prototype: unknown = Object.getPrototypeOf(object)
    if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
      refuse(`is ${nameKind(object)}, not a plain object`, path)
    }
    if (Object.getOwnPropertySymbols(object).length > 0) refuse('has a symbol as a key', path)
    enter(object, path)
    const parts: string[] = []
    for (const key of Object.keys(object).sort()) {
      const at = `${path}.${key.length > 80 ? `${key.slice(0, 80)}…` : key}`
      const member = (object as Record<string, unknown>)[key]
      if (member === undefined) continue
      const name = writeString(key, at)
      spend(':,')
      parts.push(`${name}:${write(member, at)}`)
    }
    ancestors.pop()
    return `{${parts.join(',')}}`
  }
  const write = (item: unknown, path: string): string => {
    switch (typeof item) {
      case 'string':
        return writeString(item, path)
      case 'boolean':
        return spend(String(item))
      case 'number':
        if (!Number.isFinite(item)) refuse(`is ${item}, which JSON has no number for`, path)
        return spend(JSON.stringify(item))
      case 'object':
        if (item === null) return spend('null')
        return Array.isArray(item) ? writeArray(item, path) : writeObject(item, path)
      default:
        return refuse(`is ${nameKind(item)}, which JSON cannot hold`, path)
    }
  }

  const text = readGiven(what, () => write(value, ''))
  if (Buffer.byteLength(text) > maxBytes) tooLong()
  return text
}

function freezeDeep<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const member of Object.values(value)) freezeDeep(member)
    Object.freeze(value)
  }
  return value
}

function nameKind(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'object') {
    const name: unknown = value.constructor?.name
    return typeof name === 'string' && name !== '' && name !== 'Object' ? `a ${name}` : 'an object'
  }
  return typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`
}
