import { toHex } from '../encoding/index.ts'

/**
 * What an agent that is no member was answered on one stream, by the capabilities that it showed. It is told of once the agent has taken the answer: it asked on, or
 * ended the stream. Whoever is refused may ask why, and only then has what says so.
 */
export class Answers {
  readonly #taken: (jtis: readonly Uint8Array[]) => void
  /** By jti in hex. */
  readonly #given = new Map<string, Uint8Array>()
  readonly #refused = new Map<string, Uint8Array>()

  /** @param taken told of the jtis (16 bytes each) */
  constructor(taken: (jtis: readonly Uint8Array[]) => void) {
    this.#taken = taken
  }

  /** It was given what there is, or why there is nothing. */
  give(jti: Uint8Array): void {
    this.#refused.delete(toHex(jti))
    this.#given.set(toHex(jti), jti)
  }

  /** It was refused, and not told why. */
  refuse(jti: Uint8Array): void {
    this.#refused.set(toHex(jti), jti)
  }

  /**
   * It has taken what was answered.
   * @param mayAskWhy whether it may still ask why it was refused
   */
  take(mayAskWhy: boolean): void {
    const taken = [...this.#given.values(), ...(mayAskWhy ? [] : this.#refused.values())]
    this.#given.clear()
    if (!mayAskWhy) this.#refused.clear()
    if (taken.length > 0) this.#taken(taken)
  }
}
