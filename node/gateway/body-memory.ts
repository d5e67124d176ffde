/** What a body takes at most while it reads nothing ahead: the largest chunk, bytes. */
const placeBytes = 2 * 1024 * 1024
/** The share of places in use from which on memory is short. */
const tightShare = 0.75
/** The share from which on it is shared. */
const sharedShare = 0.125
/** A body that waits this long for its client may be asked to let go of its memory, milliseconds: fast ones wait for less. */
const parkAfterMs = 20

/** A body's right to hold content in memory. Close it once. */
export interface Place extends Disposable {
  /** Bytes to read ahead of the client, now: its share of what there is. */
  readonly aheadBytes: () => number
  /** Whether others may need the memory soon: what is handed to the client then is a copy that holds nothing more. */
  readonly isTight: () => boolean
  /** Whether several others have some of it, so that it had better not be held for long. */
  readonly isShared: () => boolean
  /** Says that the client takes nothing for now; calls `park` if somebody else needs the place meanwhile. */
  wait(park: () => void): void
  /** The client takes bytes again. */
  resume(): void
}

interface Holder {
  park: (() => void) | undefined
  waitingSince: number
}

interface Asker {
  readonly grant: (place: Place) => void
}

/**
 * Memory for contents on their way out, shared by all bodies. Whoever has a client that takes what it is given has a place; bodies
 * whose clients are slow give theirs up when others need it, and read on when the client does.
 */
export class BodyMemory {
  readonly #limitBytes: number
  readonly #places: number
  readonly #monotonic: () => number
  readonly #holders = new Set<Holder>()
  readonly #askers: Asker[] = []
  #timer: NodeJS.Timeout | undefined

  /** @param monotonic milliseconds of a clock that never jumps */
  constructor(limitBytes: number, monotonic: () => number) {
    this.#limitBytes = limitBytes
    this.#places = Math.max(1, Math.floor(limitBytes / placeBytes))
    this.#monotonic = monotonic
  }

  /** Bodies that hold content, and bodies that wait to. */
  get load(): { readonly holding: number; readonly waiting: number } {
    return { holding: this.#holders.size, waiting: this.#askers.length }
  }

  /** A place, at once if there is one or else in turn. @throws the signal's reason */
  take(signal: AbortSignal): Place | Promise<Place> {
    signal.throwIfAborted()
    if (this.#holders.size < this.#places && this.#askers.length === 0) return this.#give()
    return new Promise((resolve, reject) => {
      const asker: Asker = {
        grant: (place) => {
          signal.removeEventListener('abort', giveUp)
          resolve(place)
        },
      }
      const giveUp = (): void => {
        this.#askers.splice(this.#askers.indexOf(asker), 1)
        reject(signal.reason)
      }
      signal.addEventListener('abort', giveUp, { once: true })
      this.#askers.push(asker)
      this.#makeRoom()
    })
  }

  #give(): Place {
    const holder: Holder = { park: undefined, waitingSince: 0 }
    this.#holders.add(holder)
    return {
      aheadBytes: () => Math.max(0, this.#limitBytes / 2 / this.#holders.size - placeBytes),
      isTight: () => this.#holders.size > this.#places * tightShare,
      isShared: () => this.#holders.size > this.#places * sharedShare,
      wait: (park) => {
        holder.park = park
        holder.waitingSince = this.#monotonic()
        if (this.#askers.length > 0) this.#makeRoom()
      },
      resume: () => {
        holder.park = undefined
      },
      [Symbol.dispose]: () => {
        if (!this.#holders.delete(holder)) return
        while (this.#askers.length > 0 && this.#holders.size < this.#places) this.#askers.shift()?.grant(this.#give())
        if (this.#askers.length > 0) this.#makeRoom()
      },
    }
  }

  /** Asks those who have waited longest, one for each who asks, to make room. */
  #makeRoom(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const now = this.#monotonic()
    const waiting = [...this.#holders].filter(({ park }) => park !== undefined)
    waiting.sort((a, b) => a.waitingSince - b.waitingSince)
    for (const holder of waiting.slice(0, this.#askers.length)) {
      const waitedMs = now - holder.waitingSince
      if (waitedMs < parkAfterMs) {
        this.#timer = setTimeout(() => this.#makeRoom(), parkAfterMs - waitedMs)
        return
      }
      const { park } = holder
      holder.park = undefined
      park?.()
    }
  }
}
