import type { KeyRange, KeyValueChange, KeyValueStore } from '../../src/storage/index.ts'
import type { Chance } from './chance.ts'
import type { VirtualTime } from './virtual-time.ts'

/** Whether a machine runs: what is asked of one that does not is never answered. */
export interface Power {
  on: boolean
}

/** What a batch replaced, newest last. */
type Undo = readonly (readonly [key: string, before: Uint8Array | undefined])[]

/** Sorted rows on a disk. Batches are atomic; a synced one survives a power cut, with all before it. */
export class StoreImage {
  readonly #rows = new Map<string, Uint8Array>()
  #keys: string[] = []
  /** Batches since the last synced one, as they can be undone. */
  #unsynced: Undo[] = []
  /** Batches ever written. */
  batches = 0

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#rows.get(textOf(key))?.slice()
  }

  range(range: KeyRange): (readonly [Uint8Array, Uint8Array])[] {
    let from = 0
    let to = this.#keys.length
    if (range.gte !== undefined) from = Math.max(from, this.#firstFrom(textOf(range.gte)))
    if (range.gt !== undefined) from = Math.max(from, this.#firstFrom(`${textOf(range.gt)}\0`))
    if (range.lt !== undefined) to = Math.min(to, this.#firstFrom(textOf(range.lt)))
    if (range.lte !== undefined) to = Math.min(to, this.#firstFrom(`${textOf(range.lte)}\0`))
    const limit = range.limit === undefined || range.limit < 0 ? to - from : Math.min(range.limit, to - from)
    const keys =
      range.reverse === true
        ? this.#keys.slice(to - Math.max(0, limit), to).reverse()
        : this.#keys.slice(from, from + Math.max(0, limit))
    return keys.map((key) => [bytesOf(key), this.#rows.get(key) as Uint8Array] as const)
  }

  write(changes: readonly KeyValueChange[], sync: boolean): void {
    const undo: [string, Uint8Array | undefined][] = []
    for (const change of changes) {
      const key = textOf(change.key)
      undo.push([key, this.#rows.get(key)])
      this.#set(key, change.type === 'put' ? change.value.slice() : undefined)
    }
    this.batches += 1
    if (sync) this.#unsynced = []
    else this.#unsynced.push(undo)
  }

  /** Loses any number of the batches since the last synced one, the newest first. */
  losePower(chance: Chance): void {
    const kept = chance.int(this.#unsynced.length + 1)
    for (const undo of this.#unsynced.splice(kept).reverse()) {
      for (const [key, before] of [...undo].reverse()) this.#set(key, before)
    }
    this.#unsynced = []
  }

  copy(): StoreImage {
    const image = new StoreImage()
    for (const [key, value] of this.#rows) image.#rows.set(key, value)
    image.#keys = [...this.#keys]
    return image
  }

  #set(key: string, value: Uint8Array | undefined): void {
    const isThere = this.#rows.has(key)
    if (value !== undefined) this.#rows.set(key, value)
    else this.#rows.delete(key)
    if (isThere === (value !== undefined)) return
    this.#keys.splice(this.#firstFrom(key), isThere ? 1 : 0, ...(isThere ? [] : [key]))
  }

  #firstFrom(key: string): number {
    let low = 0
    let high = this.#keys.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#keys[middle] as string) < key) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** A disk as one run of a machine sees it: batches take their time, and end with the power. */
export class SimulatedStore implements KeyValueStore {
  readonly #image: StoreImage
  readonly #power: Power
  readonly #time: VirtualTime
  readonly #chance: Chance
  /** Called right before and right after each batch is on the disk, and before anybody is told: power may go there. */
  readonly #onBoundary: (moment: 'before' | 'after') => void
  #turn: Promise<void> = Promise.resolve()

  constructor(
    image: StoreImage,
    options: { power: Power; time: VirtualTime; chance: Chance; onBoundary: (moment: 'before' | 'after') => void },
  ) {
    this.#image = image
    this.#power = options.power
    this.#time = options.time
    this.#chance = options.chance
    this.#onBoundary = options.onBoundary
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    await this.#powered()
    return this.#image.get(key)
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    await this.#powered()
    return keys.map((key) => this.#image.get(key))
  }

  async *entries(range: KeyRange, options: { signal?: AbortSignal } = {}): AsyncIterable<[Uint8Array, Uint8Array]> {
    await this.#powered()
    for (const [key, value] of this.#image.range(range)) {
      options.signal?.throwIfAborted()
      yield [key, value.slice()]
    }
  }

  batch(changes: readonly KeyValueChange[], options: { sync: boolean }): Promise<void> {
    const written = this.#turn.then(() => this.#write(changes, options.sync))
    this.#turn = written
    return written
  }

  async #write(changes: readonly KeyValueChange[], sync: boolean): Promise<void> {
    await this.#powered()
    if (sync) await this.#time.sleep(this.#chance.between(0, 8))
    await this.#powered()
    this.#onBoundary('before')
    await this.#powered()
    this.#image.write(changes, sync)
    this.#onBoundary('after')
    await this.#powered()
    if (sync) await this.#time.sleep(this.#chance.between(0, 2))
    await this.#powered()
  }

  async #powered(): Promise<void> {
    if (!this.#power.on) await new Promise<never>(() => {})
  }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'))
}
