import type { OnProgress } from '../client.ts'

const leastIntervalMs = 50
const windowMs = 3_000

/** Turns counts of bytes into progress events: at most 20 a second, rates over the last three seconds. */
export class ProgressMeter {
  readonly #onProgress: OnProgress | undefined
  readonly #monotonic: () => number
  readonly #samples: { atMs: number; loaded: number }[] = []
  #total: number | undefined
  #reportedMs = Number.NEGATIVE_INFINITY

  /** @param startBytes done before, by an earlier try: part of `loaded`, not of the rate */
  constructor(onProgress: OnProgress | undefined, total: number | undefined, monotonic: () => number, startBytes = 0) {
    this.#onProgress = onProgress
    this.#total = total
    this.#monotonic = monotonic
    this.#samples.push({ atMs: monotonic(), loaded: startBytes })
  }

  /** @param loaded bytes done in all */
  report(loaded: number): void {
    if (this.#onProgress === undefined) return
    const atMs = this.#monotonic()
    if (atMs - this.#reportedMs < leastIntervalMs || loaded === this.#total) return
    this.#emit(this.#onProgress, atMs, loaded)
  }

  /** The last event. */
  finish(total: number): void {
    this.#total = total
    if (this.#onProgress !== undefined) this.#emit(this.#onProgress, this.#monotonic(), total)
  }

  #emit(onProgress: OnProgress, atMs: number, loaded: number): void {
    this.#reportedMs = atMs
    this.#samples.push({ atMs, loaded })
    while (this.#samples.length > 2 && atMs - (this.#samples[0]?.atMs ?? 0) > windowMs) this.#samples.shift()
    const oldest = this.#samples[0] ?? { atMs, loaded }
    const seconds = (atMs - oldest.atMs) / 1000
    const bytesPerSecond = seconds > 0 ? (loaded - oldest.loaded) / seconds : 0
    onProgress({ loaded, total: this.#total, bytesPerSecond })
  }
}
