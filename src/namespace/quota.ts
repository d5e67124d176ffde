import { ArtifactHubError } from '../errors.ts'
import { leafOverheadBytes, type PlanLimits, type PlanName, plans } from '../limits.ts'

/** A place kept for bytes that are being written. Release it on every path. */
export interface Reservation {
  readonly bytes: number
  /** @throws QUOTA_EXCEEDED when there is no room for `bytes` more; what was held is still held */
  grow(bytes: number): void
  /** Idempotent. */
  release(): void
}

/** What a namespace's plan allows, against what it holds and what is being written. */
export class Quota {
  plan: PlanName
  readonly #usedBytes: () => number
  #reservedBytes = 0

  /** @param usedBytes distinct live leaves, bytes, at the time of the call */
  constructor(plan: PlanName, usedBytes: () => number) {
    this.plan = plan
    this.#usedBytes = usedBytes
  }

  get limits(): PlanLimits {
    return plans[this.plan]
  }

  /** @throws QUOTA_EXCEEDED when a file of that many plaintext bytes is over the plan's largest */
  checkFile(sizeBytes: number): void {
    const { maxFileBytes } = this.limits
    if (sizeBytes <= maxFileBytes) return
    throw new ArtifactHubError(
      'QUOTA_EXCEEDED',
      `${sizeBytes} bytes are over the ${maxFileBytes} that plan ${this.plan} allows for one file`,
      {
        details: { plan: this.plan, limit: 'maxFileBytes', limitBytes: maxFileBytes, sizeBytes },
      },
    )
  }

  /** Keeps room for new leaves, bytes. @throws QUOTA_EXCEEDED */
  reserve(bytes: number): Reservation {
    const reservation = new Held((more) => {
      if (more > 0) this.checkTotal(more, 0)
      this.#reservedBytes += more
    })
    reservation.grow(bytes)
    return reservation
  }

  /**
   * @param ownBytes what the caller has reserved itself for these bytes
   * @param pendingBytes added by others in the same batch
   * @throws QUOTA_EXCEEDED when that many bytes of new leaves are over the plan's total
   */
  checkTotal(newBytes: number, ownBytes: number, pendingBytes = 0): void {
    const { maxTotalBytes } = this.limits
    const usedBytes = this.#usedBytes() + pendingBytes
    const reservedBytes = this.#reservedBytes - ownBytes
    if (newBytes === 0 || usedBytes + reservedBytes + newBytes <= maxTotalBytes) return
    throw new ArtifactHubError(
      'QUOTA_EXCEEDED',
      `${newBytes} bytes more are over the ${maxTotalBytes} that plan ${this.plan} allows in all: ${usedBytes} are used, ${reservedBytes} reserved by writes under way`,
      {
        details: {
          plan: this.plan,
          limit: 'maxTotalBytes',
          limitBytes: maxTotalBytes,
          usedBytes,
          reservedBytes,
          sizeBytes: newBytes,
        },
      },
    )
  }
}

/** An upper bound of the leaves' bytes of content of that size, were none of its chunks alike. */
export function leafBytesOf(sizeBytes: number, minChunkBytes: number): number {
  return sizeBytes + leafOverheadBytes * (Math.floor(sizeBytes / minChunkBytes) + 1)
}

/** A class: the getter of an object literal would live with old objects, and the reservation with it. */
class Held implements Reservation {
  readonly #add: (more: number) => void
  #bytes = 0

  constructor(add: (more: number) => void) {
    this.#add = add
  }

  get bytes(): number {
    return this.#bytes
  }

  grow(more: number): void {
    this.#add(more)
    this.#bytes += more
  }

  release(): void {
    this.#add(-this.#bytes)
    this.#bytes = 0
  }
}
