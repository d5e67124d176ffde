import { toHex } from '../encoding/index.ts'
import { maxRememberedAgents } from '../limits.ts'
import { AgentTurns } from './agent-turns.ts'
import { elapsed } from './elapsed.ts'
import type { Scheduler } from './scheduler.ts'

/** How much is begun with one agent: `burst` in a moment, and after that `perSecond`; `atOnce` is under way. */
export interface PaceBounds {
  readonly burst: number
  readonly perSecond: number
  readonly atOnce: number
}

/** Keeps what this node does with each agent within bounds, by waiting. */
export class Pace {
  readonly #scheduler: Scheduler
  readonly #bounds: PaceBounds
  readonly #turns: AgentTurns
  /** By agent in hex, what may be begun with it at a time; below zero by as many as wait. */
  readonly #left = new Map<string, { readonly left: number; readonly at: number }>()

  constructor(scheduler: Scheduler, bounds: PaceBounds) {
    this.#scheduler = scheduler
    this.#bounds = bounds
    this.#turns = new AgentTurns(bounds.atOnce)
  }

  /** Does `work` with an agent when it takes some more. @throws what `work` throws; the signal's reason while it waits */
  async run<T>(agent: Uint8Array, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    return await this.#turns.run(agent, signal, async () => {
      await this.#wait(agent, signal)
      return await work()
    })
  }

  async #wait(agent: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const { burst, perSecond } = this.#bounds
    const name = toHex(agent)
    const now = this.#scheduler.now()
    const { left, at } = this.#left.get(name) ?? { left: burst, at: now }
    const after = Math.min(burst, left + (Math.max(0, now - at) / 1_000) * perSecond) - 1
    this.#left.delete(name)
    this.#left.set(name, { left: after, at: now })
    if (this.#left.size > maxRememberedAgents) this.#left.delete(this.#left.keys().next().value as string)
    if (after < 0) await elapsed(this.#scheduler, (-after / perSecond) * 1_000, signal)
  }
}
