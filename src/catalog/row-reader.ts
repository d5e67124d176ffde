import type { KeyRange } from '../storage/index.ts'
import type { Keyspace } from './keys.ts'
import type { Reader } from './overlay.ts'
import type { Source } from './sources.ts'

/** A row of an index: which artifact, and where it stands in the list's order when the row says so. */
export interface Row {
  readonly artifact: Uint8Array
  readonly position: Uint8Array | undefined
}

/**
 * Reads the rows of a source one by one. Close it on every path.
 *
 * No generator: an async generator around the store's own would double the cost of a row.
 */
export class RowReader {
  readonly #source: Source
  readonly #open: (range: KeyRange) => AsyncIterator<[Uint8Array, Uint8Array]>
  readonly #artifactIn: (key: Uint8Array) => Uint8Array
  #range = 0
  #entries: AsyncIterator<[Uint8Array, Uint8Array]> | undefined

  constructor(source: Source, reader: Reader, keys: Keyspace, signal: AbortSignal | undefined) {
    this.#source = source
    this.#open = (range) => reader.entries(range, signal && { signal })[Symbol.asyncIterator]()
    this.#artifactIn = (key) => keys.artifactAtEnd(key)
  }

  /** The next row; `undefined` after the last. */
  async next(): Promise<Row | undefined> {
    for (;;) {
      if (this.#entries === undefined) {
        const range = this.#source.ranges[this.#range++]
        if (range === undefined) return undefined
        this.#entries = this.#open(range)
      }
      const step = await this.#entries.next()
      if (!step.done) {
        const key = step.value[0]
        return { artifact: this.#artifactIn(key), position: this.#source.positionIn?.(key) }
      }
      this.#entries = undefined
    }
  }

  async close(): Promise<void> {
    await this.#entries?.return?.()
    this.#entries = undefined
  }
}
