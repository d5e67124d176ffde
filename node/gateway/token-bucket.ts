/** So much a second, and no more than one second's worth at once. */
export class TokenBucket {
  readonly #perSecond: number
  #tokens: number
  #lastMs: number

  /** @param nowMs of a clock that never jumps */
  constructor(perSecond: number, nowMs: number) {
    this.#perSecond = perSecond
    this.#tokens = perSecond
    this.#lastMs = nowMs
  }

  /** Takes `amount` if it is there. */
  take(amount: number, nowMs: number): boolean {
    this.#fill(nowMs)
    if (this.#tokens < amount) return false
    this.#tokens -= amount
    return true
  }

  /** Takes `amount`, on credit if need be; gives how long to wait before it is used, milliseconds. */
  borrow(amount: number, nowMs: number): number {
    this.#fill(nowMs)
    this.#tokens -= amount
    return this.#tokens >= 0 ? 0 : (-this.#tokens / this.#perSecond) * 1000
  }

  /** Whether nothing was taken of late: a new one would be the same. */
  isFull(nowMs: number): boolean {
    this.#fill(nowMs)
    return this.#tokens >= this.#perSecond
  }

  #fill(nowMs: number): void {
    const gained = (Math.max(0, nowMs - this.#lastMs) / 1000) * this.#perSecond
    this.#tokens = Math.min(this.#perSecond, this.#tokens + gained)
    this.#lastMs = nowMs
  }
}
