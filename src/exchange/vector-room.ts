import { ArtifactHubError } from '../errors.ts'
import { maxServedVectorRows, maxSyncVectorRows } from '../limits.ts'

/** What one round holds of the room. */
export interface VectorShare {
  /** @throws UNAVAILABLE (`details.reason` busy) when there is no room for so many rows more */
  take(rows: number): void
  /** Gives back what was taken. Idempotent. */
  release(): void
}

/**
 * Bounds the memory of all vectors that are held at once: of one agent as many rows as one vector may have, of all together
 * `maxServedVectorRows`. The first page of each is free, so that agents with long vectors do not keep the others out.
 */
export class VectorRoom {
  readonly #held = new Map<string, number>()
  readonly #onFull: () => void
  #total = 0

  /** @param onFull told whenever there is no room */
  constructor(onFull: () => void) {
    this.#onFull = onFull
  }

  /** @param agent in hex */
  open(agent: string): VectorShare {
    let taken = 0
    return {
      take: (rows) => {
        const held = (this.#held.get(agent) ?? 0) + rows
        if (held > maxSyncVectorRows || this.#total + rows > maxServedVectorRows) {
          this.#onFull()
          throw new ArtifactHubError('UNAVAILABLE', 'Too many long vectors are held here', {
            details: { reason: 'busy' },
          })
        }
        taken += rows
        this.#held.set(agent, held)
        this.#total += rows
      },
      release: () => {
        const left = (this.#held.get(agent) ?? 0) - taken
        if (left > 0) this.#held.set(agent, left)
        else this.#held.delete(agent)
        this.#total -= taken
        taken = 0
      },
    }
  }
}
