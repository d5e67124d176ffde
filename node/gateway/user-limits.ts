import { setTimeout as delay } from 'node:timers/promises'
import { ArtifactHubError } from '../../src/errors.ts'
import type { Limits } from './gateway-options.ts'
import { TokenBucket } from './token-bucket.ts'

/** Users about whom there is something to remember, at most: some 300 bytes each. */
const maxUsers = 50_000

interface User {
  running: number
  readonly requests: TokenBucket
  readonly bytes: TokenBucket
}

/** A request that was let in. Close it once, when its answer has gone out. */
export interface Admission extends Disposable {
  /** Resolves when so many bytes may go out. @throws the signal's reason */
  pace(bytes: number, signal: AbortSignal): Promise<void> | undefined
}

/** What several users (clients, or links) may each have at once and in a second. */
export class UserLimits {
  readonly #limits: Limits
  readonly #monotonic: () => number
  readonly #users = new Map<string, User>()
  #lookedMs = Number.NEGATIVE_INFINITY

  /** @param monotonic milliseconds of a clock that never jumps */
  constructor(limits: Limits, monotonic: () => number) {
    this.#limits = limits
    this.#monotonic = monotonic
  }

  /** Lets a request of a user in. @throws RATE_LIMITED */
  admit(name: string): Admission {
    const now = this.#monotonic()
    const user = this.#userOf(name, now)
    if (user.running >= this.#limits.concurrent || !user.requests.take(1, now)) {
      throw new ArtifactHubError('RATE_LIMITED', 'too many requests', { details: { retryAfterSeconds: 1 } })
    }
    user.running++
    return {
      pace: (bytes, signal) => {
        const waitMs = user.bytes.borrow(bytes, this.#monotonic())
        return waitMs < 1 ? undefined : delay(waitMs, undefined, { signal })
      },
      [Symbol.dispose]: () => {
        user.running--
      },
    }
  }

  #userOf(name: string, now: number): User {
    const known = this.#users.get(name)
    if (known !== undefined) return known
    if (this.#users.size >= maxUsers) this.#forgetIdle(now)
    const { requestsPerSecond, bytesPerSecond } = this.#limits
    const user = {
      running: 0,
      requests: new TokenBucket(requestsPerSecond, now),
      bytes: new TokenBucket(bytesPerSecond, now),
    }
    this.#users.set(name, user)
    return user
  }

  #forgetIdle(now: number): void {
    // Not for each of many strangers.
    if (now - this.#lookedMs >= 1_000) {
      this.#lookedMs = now
      for (const [name, { running, requests, bytes }] of this.#users) {
        if (running === 0 && requests.isFull(now) && bytes.isFull(now)) this.#users.delete(name)
      }
    }
    if (this.#users.size < maxUsers) return
    throw new ArtifactHubError('RATE_LIMITED', 'too many clients', { details: { retryAfterSeconds: 1 } })
  }
}

/** What counts as one client: an address, or the /64 of an IPv6 one, which is what one household is given. */
export function clientName(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped !== null) return mapped[1] as string
  if (!address.includes(':')) return address
  const [left = '', right] = (address.split('%', 1)[0] as string).toLowerCase().split('::')
  const head = left === '' ? [] : left.split(':')
  const tail = right === undefined || right === '' ? [] : right.split(':')
  const zeros = right === undefined ? 0 : Math.max(0, 8 - head.length - tail.length)
  const groups = [...head, ...new Array<string>(zeros).fill('0'), ...tail]
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`
}
