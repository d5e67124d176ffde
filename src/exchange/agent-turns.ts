import { toHex } from '../encoding/index.ts'
import { OpenCount } from './open-count.ts'
import { Turns } from './turns.ts'

/** Lets so much be under way with each agent at once: what is beyond the bound of the other side is held against this one. */
export class AgentTurns {
  readonly #max: number
  readonly #turns = new Map<string, Turns>()
  readonly #open = new OpenCount()

  constructor(max: number) {
    this.#max = max
  }

  /** Runs `work` when it is its turn with that agent. @throws what `work` throws; the signal's reason while it waits */
  async run<T>(agent: Uint8Array, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    const name = toHex(agent)
    const turns = this.#turns.get(name) ?? new Turns(this.#max)
    this.#turns.set(name, turns)
    const done = this.#open.add(name)
    try {
      return await turns.run(signal, work)
    } finally {
      done()
      if (this.#open.of(name) === 0) this.#turns.delete(name)
    }
  }
}
