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
    const now = this.#scheduler.now()
    const { left, at } = this.#left.get(key) ?? { left: this.#burst, at: now }
    const refilled = Math.min(this.#burst, left + (Math.max(0, now - at) / 1_000) * this.#perSecond)
    this.#left.delete(key)
    this.#left.set(key, { left: Math.max(0, refilled - cost), at: now })
    if (this.#left.size > maxRememberedAgents) this.#left.delete(this.#left.keys().next().value as string)
    return refilled >= cost
  }
}
