import { toHex } from '../../../src/encoding/index.ts'
import type { Holds, PeerNetwork } from '../../../src/exchange/index.ts'
import { maxHoldersAsked, maxHoldersDialled } from '../../../src/limits.ts'
import type { Namespace } from '../../../src/namespace/index.ts'
import { membersByReach } from './members-by-reach.ts'

interface Asked {
  readonly agent: Uint8Array
  readonly times: number
  isBusy: boolean
  holds: Holds | undefined
}

/** Of those who are asked at once so many are the likely ones at most. */
const maxLikelyAsked = (maxHoldersAsked * 3) / 4

/**
 * The members of a namespace, as those who may come to hold one content: who is to be asked next, so many at once. Replicas that are connected and
 * whoever has a part of it come before the others; among these all have their turn, however many there are.
 */
export class Holders {
  readonly #log: Namespace
  readonly #options: { readonly network: PeerNetwork; readonly self: Uint8Array }
  readonly #asked = new Map<string, Asked>()

  constructor(log: Namespace, options: { readonly network: PeerNetwork; readonly self: Uint8Array }) {
    this.#log = log
    this.#options = options
  }

  /** Members (32 bytes) that have it all. */
  get confirmed(): Uint8Array[] {
    return [...this.#asked.values()].filter(({ holds }) => holds === 'all').map(({ agent }) => agent)
  }

  /** Whom to ask now; until `release` it is not given again. `undefined` when enough are being asked. */
  next(): Uint8Array | undefined {
    const busy = [...this.#asked].filter(([, { isBusy }]) => isBusy)
    if (busy.length >= maxHoldersAsked) return undefined
    const connected = new Set(this.#options.network.connected().map(toHex))
    const isLikely = (name: string, agent: Uint8Array): boolean =>
      connected.has(name) && (this.#asked.get(name)?.holds === 'part' || this.#log.roleOf(agent) === 'replica')
    const mayDial = busy.filter(([name]) => !connected.has(name)).length < maxHoldersDialled
    // Whoever only says that it has a part keeps nobody out.
    const isFirst = busy.filter(([name, { agent }]) => isLikely(name, agent)).length < maxLikelyAsked
    let best: { readonly agent: Uint8Array; readonly rank: number } | undefined
    for (const agent of membersByReach(this.#log, this.#options)) {
      const name = toHex(agent)
      const asked = this.#asked.get(name)
      if (asked?.isBusy === true || asked?.holds === 'all' || !(mayDial || connected.has(name))) continue
      const times = asked?.times ?? 0
      const rank = isFirst && isLikely(name, agent) ? times - Number.MAX_SAFE_INTEGER : times
      if (best === undefined || rank < best.rank) best = { agent, rank }
    }
    if (best === undefined) return undefined
    const { agent } = best
    const { times, holds } = this.#asked.get(toHex(agent)) ?? { times: 0, holds: undefined }
    this.#asked.set(toHex(agent), { agent, times: times + 1, isBusy: true, holds })
    return agent
  }

  /** What it said, if anything. */
  told(agent: Uint8Array, holds: Holds | undefined): void {
    const asked = this.#asked.get(toHex(agent))
    if (asked !== undefined) asked.holds = holds
  }

  /** It may be asked again. */
  release(agent: Uint8Array): void {
    const asked = this.#asked.get(toHex(agent))
    if (asked !== undefined) asked.isBusy = false
  }
}
