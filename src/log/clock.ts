import type { ClockReading } from '../catalog/index.ts'
import { maxClockAheadMs } from '../limits.ts'

/**
 * A hybrid logical clock (Kulkarni et al. 2014): follows wall time, never runs backwards, and a reading is later than
 * every reading merged before it. It orders what is concurrent; nothing is ever refused for its time.
 */
export class HybridClock {
  readonly #now: () => number
  #last: ClockReading = { wallMs: 0, counter: 0 }

  /** @param now milliseconds since 1970 */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Wall time now, milliseconds since 1970. */
  get nowMs(): number {
    return this.#now()
  }

  /** What wall time is here, milliseconds since 1970. */
  get now(): number {
    return this.#now()
  }

  /** A reading later than all before. */
  tick(): ClockReading {
    const wallMs = Math.max(0, Math.floor(this.#now()))
    const { wallMs: last, counter } = this.#last
    this.#last = wallMs > last ? { wallMs, counter: 0 } : { wallMs: last, counter: counter + 1 }
    return this.#last
  }

  /** Makes later readings come after this one, unless it runs more than five minutes ahead of wall time. */
  merge(reading: ClockReading): void {
    if (reading.wallMs > this.#now() + maxClockAheadMs) return
    if (compareClocks(reading, this.#last) > 0) this.#last = reading
  }
}

/** Negative, zero or positive as `a` is before, the same as or after `b`. */
function compareClocks(a: ClockReading, b: ClockReading): number {
  return a.wallMs - b.wallMs || a.counter - b.counter
}
