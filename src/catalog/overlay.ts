import type { KeyRange, KeyValueChange, KeyValueStore } from '../storage/index.ts'
import { keyText } from './keys.ts'

/** What the readers of the catalog need: the store itself, or a batch over it. */
export type Reader = Pick<KeyValueStore, 'get' | 'getMany' | 'entries'>

/**
 * A store with changes on top that are not written yet. Reads see them. A range inside one of the groups that
 * `groupOf` sorts keys into costs that group's changes, any other range costs all of them. Changes made while a
 * range is walked are not seen by that walk, but for new values of keys that it had yet to reach.
 */
export class Overlay implements Reader {
  readonly #store: KeyValueStore
  readonly #groupOf: (key: Uint8Array) => Uint8Array | undefined
  readonly #isNew: (key: Uint8Array) => boolean
  /** By key as latin1 text, whose order is the bytewise order. */
  readonly #changes = new Map<string, KeyValueChange>()
  readonly #groups = new Map<string, Set<string>>()
  /** What was read of the store, which does not change under a batch. */
  readonly #read = new Map<string, Uint8Array | undefined>()

  /** @param isNew whether a key is known not to be in the store, so that it need not be looked for */
  constructor(
    store: KeyValueStore,
    groupOf: (key: Uint8Array) => Uint8Array | undefined,
    isNew: (key: Uint8Array) => boolean,
  ) {
    this.#store = store
    this.#groupOf = groupOf
    this.#isNew = isNew
  }

  /** Each changed key once, in the order of first change. */
  get changes(): KeyValueChange[] {
    return [...this.#changes.values()]
  }

  /** `text` spares making the `keyText` of the key when it is at hand. */
  put(key: Uint8Array, value: Uint8Array, text = keyText(key)): void {
    this.#change({ type: 'put', key, value }, text)
  }

  del(key: Uint8Array, text = keyText(key)): void {
    this.#change({ type: 'del', key }, text)
  }

  #change(change: KeyValueChange, text: string): void {
    this.#changes.set(text, change)
    const group = this.#groupOf(change.key)
    if (group === undefined) return
    const name = keyText(group)
    const members = this.#groups.get(name)
    if (members === undefined) this.#groups.set(name, new Set([text]))
    else members.add(text)
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    const text = keyText(key)
    const change = this.#changes.get(text)
    if (change !== undefined) return change.type === 'put' ? change.value : undefined
    if (this.#read.has(text)) return this.#read.get(text)
    if (this.#isNew(key)) return undefined
    const value = await this.#store.get(key)
    this.#read.set(text, value)
    return value
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    const texts = keys.map((key) => keyText(key))
    const missing = keys.filter((key, at) => !this.#isKnown(key, texts[at] as string))
    const values = missing.length === 0 ? [] : await this.#store.getMany(missing)
    for (const [at, key] of missing.entries()) this.#read.set(keyText(key), values[at])
    return texts.map((text) => {
      const change = this.#changes.get(text)
      if (change !== undefined) return change.type === 'put' ? change.value : undefined
      return this.#read.get(text)
    })
  }

  #isKnown(key: Uint8Array, text: string): boolean {
    return this.#changes.has(text) || this.#read.has(text) || this.#isNew(key)
  }

  async *entries(range: KeyRange, options?: { signal?: AbortSignal }): AsyncIterable<[Uint8Array, Uint8Array]> {
    const { limit = Number.POSITIVE_INFINITY, ...bounds } = range
    const changed = this.#changedIn(bounds)
    let given = 0
    for await (const [key, value] of this.#store.entries(bounds, options)) {
      const text = keyText(key)
      while (changed.length > 0 && before(changed.at(-1) as string, text, bounds.reverse)) {
        const change = this.#changes.get(changed.pop() as string) as KeyValueChange
        if (change.type === 'del') continue
        if (given++ >= limit) return
        yield [change.key, change.value]
      }
      const own = this.#changes.get(text)
      if (changed.at(-1) === text) changed.pop()
      if (own?.type === 'del') continue
      if (given++ >= limit) return
      yield [key, own?.value ?? value]
    }
    while (changed.length > 0) {
      const change = this.#changes.get(changed.pop() as string) as KeyValueChange
      if (change.type === 'del') continue
      if (given++ >= limit) return
      yield [change.key, change.value]
    }
  }

  /** The changed keys in a range, last one first, so that `pop` takes them in order. */
  #changedIn(bounds: KeyRange): string[] {
    const edge = bounds.gte ?? bounds.gt ?? bounds.lt ?? bounds.lte
    const group = edge && this.#groupOf(edge)
    const members = group === undefined ? this.#changes.keys() : (this.#groups.get(keyText(group)) ?? [])
    const { gt, gte, lt, lte } = bounds
    const [above, from, below, to] = [gt, gte, lt, lte].map((bound) => bound && keyText(bound))
    const inside = [...members].filter(
      (key) =>
        !(above !== undefined && key <= above) &&
        !(from !== undefined && key < from) &&
        !(below !== undefined && key >= below) &&
        !(to !== undefined && key > to),
    )
    inside.sort()
    return bounds.reverse ? inside : inside.reverse()
  }
}

function before(a: string, b: string, reverse: boolean | undefined): boolean {
  return reverse ? a > b : a < b
}
