import { ArtifactHubError } from '../errors.ts'

/**
 * Reads the members of a decoded map or list, each of an exact type and size, and notices members that nobody asked for.
 * Every method throws CORRUPT.
 */
export class Reader {
  readonly #members: Record<string | number, unknown>
  readonly #where: string
  #left: number

  private constructor(members: Record<string | number, unknown>, count: number, where: string) {
    this.#members = members
    this.#where = where
    this.#left = count
  }

  static map(value: unknown, where: string): Reader {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array) {
      throw malformed(`${where} is not a map`)
    }
    return new Reader(value as Record<string, unknown>, Object.keys(value).length, where)
  }

  static list(value: unknown, where: string, min: number, max: number): Reader {
    if (!Array.isArray(value) || value.length < min || value.length > max)
      throw malformed(`${where} is not a list of that length`)
    return new Reader(value as unknown as Record<number, unknown>, value.length, where)
  }

  /** The error for what was read but must not be so. */
  malformed(why: string): ArtifactHubError {
    return malformed(`${this.#where}: ${why}`)
  }

  get length(): number {
    return (this.#members as unknown as unknown[]).length
  }

  bytes(name: string | number, length: number): Uint8Array {
    const value = this.#take(name)
    if (value instanceof Uint8Array && value.length === length) return value
    throw malformed(`${this.#where}.${name} is not ${length} bytes`)
  }

  optionalBytes(name: string | number, length: number): Uint8Array | undefined {
    return this.#members[name] === null ? this.#takeNull(name) : this.bytes(name, length)
  }

  optionalOneOf<T extends string>(name: string, allowed: readonly T[]): T | undefined {
    return this.#members[name] === null ? this.#takeNull(name) : this.oneOf(name, allowed)
  }

  optionalText(name: string, maxUnits: number): string | undefined {
    return this.#members[name] === null ? this.#takeNull(name) : this.text(name, maxUnits)
  }

  optionalInteger(name: string, min: number, max: number): number | undefined {
    return this.#members[name] === null ? this.#takeNull(name) : this.integer(name, min, max)
  }

  optionalMap(name: string): Reader | undefined {
    return this.#members[name] === null ? this.#takeNull(name) : Reader.map(this.#take(name), `${this.#where}.${name}`)
  }

  integer(name: string | number, min: number, max: number): number {
    const value = this.#take(name)
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value
    throw malformed(`${this.#where}.${name} is not an integer from ${min} to ${max}`)
  }

  boolean(name: string | number): boolean {
    const value = this.#take(name)
    if (typeof value === 'boolean') return value
    throw malformed(`${this.#where}.${name} is not a boolean`)
  }

  oneOf<T extends string>(name: string, allowed: readonly T[]): T {
    const value = this.#take(name)
    if ((allowed as readonly unknown[]).includes(value)) return value as T
    throw malformed(`${this.#where}.${name} is none of ${allowed.join(', ')}`)
  }

  text(name: string | number, maxUnits: number): string {
    const value = this.#take(name)
    if (typeof value === 'string' && value.length <= maxUnits) return value
    throw malformed(`${this.#where}.${name} is not a text of at most ${maxUnits} units`)
  }

  /** Any number of bytes up to `maxLength`. */
  someBytes(name: string | number, maxLength: number): Uint8Array {
    const value = this.#take(name)
    if (value instanceof Uint8Array && value.length <= maxLength) return value
    throw malformed(`${this.#where}.${name} is not at most ${maxLength} bytes`)
  }

  array(name: string | number, min: number, max: number): Reader {
    return Reader.list(this.#take(name), `${this.#where}.${name}`, min, max)
  }

  optionalList(name: string | number, length: number): Reader | undefined {
    return this.#members[name] === null ? this.#takeNull(name) : this.array(name, length, length)
  }

  list(index: number, min: number, max = min): Reader {
    return Reader.list(this.#take(index), `${this.#where}.${index}`, min, max)
  }

  mapLists<T>(length: number, read: (row: Reader, index: number) => T): T[] {
    return Array.from({ length: this.length }, (_, index) => read(this.list(index, length), index))
  }

  /** Strictly ascending, so that one set has one encoding. */
  bytesArray(name: string, length: number, max: number): Uint8Array[] {
    const items = this.array(name, 0, max)
    const values = Array.from({ length: items.length }, (_, index) => items.bytes(index, length))
    for (let at = 1; at < values.length; at++) {
      if (Buffer.compare(values[at - 1] as Uint8Array, values[at] as Uint8Array) >= 0) {
        throw malformed(`${this.#where}.${name} is not in order`)
      }
    }
    return values
  }

  /** Ends the reading: members that nobody asked for are refused. */
  end(): void {
    if (this.#left !== 0) throw malformed(`${this.#where} has unknown members`)
  }

  #takeNull(name: string | number): undefined {
    this.#take(name)
  }

  #take(name: string | number): unknown {
    if (!Object.hasOwn(this.#members, name)) throw malformed(`${this.#where}.${name} is missing`)
    this.#left -= 1
    return this.#members[name]
  }
}

function malformed(why: string): ArtifactHubError {
  return new ArtifactHubError('CORRUPT', `malformed: ${why}`)
}
