import { maxHoldingQuestionsToAgent } from '../limits.ts'
import { AgentTurns } from './agent-turns.ts'
import { askHolding } from './holding.ts'
import type { HoldingQuestion, Holds } from './holding-codec.ts'
import type { AskOptions } from './question.ts'

/** Asks other agents what they hold: each of them no more at once than it takes from one agent. */
export class HoldingAsker {
  readonly #options: Omit<AskOptions, 'signal'>
  readonly #turns = new AgentTurns(maxHoldingQuestionsToAgent)

  constructor(options: Omit<AskOptions, 'signal'>) {
    this.#options = options
  }

  /** As `askHolding`, once it is this question's turn. @throws as that; the signal's reason */
  async ask(agent: Uint8Array, question: HoldingQuestion, signal: AbortSignal): Promise<Holds> {
    return await this.#turns.run(agent, signal, () => askHolding({ ...this.#options, signal }, agent, question))
  }
}
