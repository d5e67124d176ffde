import { bytesText } from '../encoding/index.ts'
import { type KeyRange, type KeyValueChange, type KeyValueStore, Overlay } from '../storage/index.ts'

/** What the readers of the catalog need: the store itself, or a batch over it. */
export type Reader = Pick<KeyValueStore, 'get' | 'getMany' | 'entries'>

/**
 * An overlay whose ranges can be walked too. A range inside one of the groups that `groupOf` sorts keys into costs that
 * group's changes, any other range costs all of them. Changes made while a range is walked are not seen by that walk, but
 * for new values of keys that it had yet to reach.
 */
export class RangeOverlay extends Overlay implements Reader {
  readonly #groupOf: (key: Uint8Array) => Uint8Array | undefined
  readonly #isNew: (key: Uint8Array) => boolean
  readonly #groups = new Map<string, Set<string>>()

  /** @param isNew whether a key is known not to be in the store, so that it need not be looked for */
  constructor(
    store: KeyValueStore,
    groupOf: (key: Uint8Array) => Uint8Array | undefined,
    isNew: (key: Uint8Array) => boolean,
  ) {
    super(store)
    this.#groupOf = groupOf
    this.#isNew = isNew
  }

  override add(change: KeyValueChange, text = bytesText(change.key)): void {
    super.add(change, text)
    const group = this.#groupOf(change.key)
    if (group === undefined) return
    const name = bytesText(group)
    const members = this.#groups.get(name)
    if (members === undefined) this.#groups.set(name, new Set([text]))
    else members.add(text)
  }

  protected override isAbsent(key: Uint8Array): boolean {
    return this.#isNew(key)
  }

  async *entries(range: KeyRange, options?: { signal?: AbortSignal }): AsyncIterable<[Uint8Array, Uint8Array]> {
    const { limit = Number.POSITIVE_INFINITY, ...bounds } = range
    const changed = this.#changedIn(bounds)
    let given = 0
    for await (const [key, value] of this.store.entries(bounds, options)) {
      const text = bytesText(key)
      while (changed.length > 0 && before(changed.at(-1) as string, text, bounds.reverse)) {
        const change = this.changed.get(changed.pop() as string) as KeyValueChange
        if (change.type === 'del') continue
        if (given++ >= limit) return
        yield [change.key, change.value]
      }
      const own = this.changed.get(text)
      if (changed.at(-1) === text) changed.pop()
      if (own?.type === 'del') continue
      if (given++ >= limit) return
      yield [key, own?.value ?? value]
    }
    while (changed.length > 0) {
      const change = this.changed.get(changed.pop() as string) as KeyValueChange
      if (change.type === 'del') continue
      if (given++ >= limit) return
      yield [change.key, change.value]
    }
  }

  /** The changed keys in a range, last one first, so that `pop` takes them in order. */
  #changedIn(bounds: KeyRange): string[] {
    const edge = bounds.gte ?? bounds.gt ?? bounds.lt ?? bounds.lte
    const group = edge && this.#groupOf(edge)
    const members = group === undefined ? this.changed.keys() : (this.#groups.get(bytesText(group)) ?? [])
    const { gt, gte, lt, lte } = bounds
    const [above, from, below, to] = [gt, gte, lt, lte].map((bound) => bound && bytesText(bound))
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
