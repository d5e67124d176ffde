/**
 * Lists of facts by key, never changed in place: `with` gives another index that shares what was there. Kept as a few
 * layers of falling size that are merged as they grow, so n facts added in any number of steps cost O(n log n) in all.
 */
export class FactIndex<T> {
  readonly #layers: readonly ReadonlyMap<string, readonly T[]>[]

  private constructor(layers: readonly ReadonlyMap<string, readonly T[]>[]) {
    this.#layers = layers
  }

  static empty<T>(): FactIndex<T> {
    return new FactIndex([])
  }

  get isEmpty(): boolean {
    return this.#layers.length === 0
  }

  has(key: string): boolean {
    return this.#layers.some((layer) => layer.has(key))
  }

  /** Facts under a key, in no particular order. */
  get(key: string): readonly T[] {
    let found: readonly T[] | undefined
    for (const layer of this.#layers) {
      const facts = layer.get(key)
      if (facts !== undefined) found = found === undefined ? facts : [...found, ...facts]
    }
    return found ?? []
  }

  /** Every key once, in no particular order. */
  keys(): Iterable<string> {
    if (this.#layers.length === 1) return (this.#layers[0] as ReadonlyMap<string, readonly T[]>).keys()
    return new Set(this.#layers.flatMap((layer) => [...layer.keys()]))
  }

  with(additions: readonly (readonly [key: string, fact: T])[]): FactIndex<T> {
    if (additions.length === 0) return this
    let top = new Map<string, T[]>()
    for (const [key, fact] of additions) {
      const facts = top.get(key)
      if (facts === undefined) top.set(key, [fact])
      else facts.push(fact)
    }
    const layers = [...this.#layers]
    for (let below = layers.at(-1); below !== undefined && below.size <= 2 * top.size; below = layers.at(-1)) {
      layers.pop()
      top = merge(below, top)
    }
    return new FactIndex([...layers, top])
  }
}

function merge<T>(one: ReadonlyMap<string, readonly T[]>, two: ReadonlyMap<string, readonly T[]>): Map<string, T[]> {
  const both = new Map(one) as Map<string, T[]>
  for (const [key, facts] of two) {
    const others = one.get(key)
    both.set(key, others === undefined ? (facts as T[]) : [...others, ...facts])
  }
  return both
}
