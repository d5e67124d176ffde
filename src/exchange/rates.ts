import { toHex } from '../encoding/index.ts'
import { maxRememberedAgents } from '../limits.ts'
import type { Scheduler } from './scheduler.ts'

/** How much each agent may still ask for now: `burst` at once, and after that `perSecond`. */
export class Rates {
  readonly #scheduler: Scheduler
  readonly #burst: number
  readonly #perSecond: number
  /** By agent in hex, those asked last at the end. */
  readonly #left = new Map<string, { readonly left: number; readonly at: number }>()

  constructor(scheduler: Scheduler, { burst, perSecond }: { readonly burst: number; readonly perSecond: number }) {
    this.#scheduler = scheduler
    this.#burst = burst
    this.#perSecond = perSecond
  }

  /** Whether an agent may have that much. It counts either way. */
  take(agent: Uint8Array, cost: number): boolean {
    const key = toHex(agent)
    const left = this.#leftOf(key)
    this.#left.delete(key)
    this.#left.set(key, { left: Math.max(0, left - cost), at: this.#scheduler.now() })
    if (this.#left.size > maxRememberedAgents) this.#left.delete(this.#left.keys().next().value as string)
    return left >= cost
  }

  /** Whether an agent may have one more; it takes none. */
  has(agent: Uint8Array): boolean {
    return this.#leftOf(toHex(agent)) >= 1
  }

  #leftOf(key: string): number {
    const now = this.#scheduler.now()
    const { left, at } = this.#left.get(key) ?? { left: this.#burst, at: now }
    return Math.min(this.#burst, left + (Math.max(0, now - at) / 1_000) * this.#perSecond)
  }
}
