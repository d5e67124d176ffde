import { bytesText, concatBytes } from '../encoding/index.ts'
import type { EntrySeat } from '../membership/index.ts'

/** A box that an audience opens, as long as its entry counts and, where it is for a group, the epoch that it is sealed to. */
export interface OpenBox {
  readonly seat: EntrySeat
  /** 32 bytes; `undefined` of a box for an agent. */
  readonly group: Uint8Array | undefined
  /** Id in hex; empty of a box for an agent. */
  readonly epoch: string
}

/** Some 150 bytes each, and 200 an entry with such boxes: twenty keys of an artifact that is shared with several thousand. */
const maxKept = 150_000
/** Of keys that fewer are to have nothing is kept: reading those rows takes no time. */
const fewestKept = 64

/**
 * By which boxes those with whom an artifact is shared were seen to open its keys, by the hash of the share's entry as text. A box that is there stays; whoever asks
 * sees whether it still counts. Keys that were not asked for longest make way.
 */
export class OpenBoxes {
  readonly #max: number
  readonly #ofKeys = new Map<string, ReadonlyMap<string, OpenBox>>()
  #size = 0

  /** @param max boxes that are kept in mind */
  constructor(max = maxKept) {
    this.#max = max
  }

  of(artifact: Uint8Array, keyId: Uint8Array): ReadonlyMap<string, OpenBox> {
    const name = bytesText(concatBytes(artifact, keyId))
    const boxes = this.#ofKeys.get(name)
    if (boxes === undefined) return new Map()
    this.#ofKeys.delete(name)
    this.#ofKeys.set(name, boxes)
    return boxes
  }

  /** In place of what was kept of that key. */
  keep(artifact: Uint8Array, keyId: Uint8Array, boxes: ReadonlyMap<string, OpenBox>): void {
    const name = bytesText(concatBytes(artifact, keyId))
    this.#drop(name)
    if (boxes.size < fewestKept || boxes.size > this.#max) return
    this.#size += boxes.size
    this.#ofKeys.set(name, boxes)
    for (const first of this.#ofKeys.keys()) {
      if (this.#size <= this.#max) break
      this.#drop(first)
    }
  }

  #drop(name: string): void {
    this.#size -= this.#ofKeys.get(name)?.size ?? 0
    this.#ofKeys.delete(name)
  }
}
