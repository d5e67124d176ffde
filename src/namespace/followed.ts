import { bytesText } from '../encoding/index.ts'
import { maxFollowedLogBytes } from '../limits.ts'

/**
 * The artifacts that a partial log is about: it holds their entries, all that say who may do what, and bare copies of what
 * proves forks. Links between entries of a chain may be missing there.
 */
export class FollowedArtifacts {
  /** By artifact, as text: versions up to that number were not shared. */
  readonly #after = new Map<string, number>()
  /** What the log may weigh: beyond it no more is taken of artifacts. */
  readonly maxBytes: number
  /** Whether the log lies beside another of the same namespace, which is kept though this agent is in it no more. */
  readonly isBeside: boolean

  constructor({
    maxBytes = maxFollowedLogBytes,
    isBeside = false,
  }: {
    readonly maxBytes?: number
    readonly isBeside?: boolean
  } = {}) {
    this.maxBytes = maxBytes
    this.isBeside = isBeside
  }

  /** @param after versions whose number is not above it are held without what is secret of them */
  set(artifact: Uint8Array, after: number): void {
    this.#after.set(bytesText(artifact), after)
  }

  delete(artifact: Uint8Array): void {
    this.#after.delete(bytesText(artifact))
  }

  has(artifact: Uint8Array): boolean {
    return this.#after.has(bytesText(artifact))
  }

  /** Versions up to that number come without what is secret of them. */
  after(artifact: Uint8Array): number {
    return this.#after.get(bytesText(artifact)) ?? 0
  }
}
