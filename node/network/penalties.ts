import { toHex } from '../../src/encoding/index.ts'
import type { Misbehaviour } from '../../src/exchange/peer-network.ts'
import { maxPenalty, maxRememberedAgents, penaltyHalfLifeMs, refusalMs } from '../../src/limits.ts'

/**
 * Points of each kind: a wrong block or a claim of blocks that are not there cost others a transfer, and twice is no accident of a disk;
 * slowness may be the line's.
 */
const points: Record<Misbehaviour, number> = {
  'bad-block': 50,
  'bad-entry': 25,
  'bad-frame': 25,
  'false-claim': 20,
  flood: 10,
  'too-slow': 2,
}

interface Standing {
  points: number
  at: number
  refusedUntil: number
}

/** What is held against agents: points that fade, and for whoever has too many a time in which it is refused. */
export class Penalties {
  readonly #monotonic: () => number
  readonly #agents = new Map<string, Standing>()
  readonly #counts = new Map<Misbehaviour, number>()

  /** @param monotonic milliseconds that never go back */
  constructor(monotonic: () => number) {
    this.#monotonic = monotonic
  }

  /** Holds one misbehaviour against an agent. @returns whether the agent is refused from now on and was not before */
  add(agent: Uint8Array, misbehaviour: Misbehaviour): boolean {
    this.#counts.set(misbehaviour, (this.#counts.get(misbehaviour) ?? 0) + 1)
    const id = toHex(agent)
    const now = this.#monotonic()
    const record = this.#agents.get(id) ?? { points: 0, at: now, refusedUntil: Number.NEGATIVE_INFINITY }
    record.points = record.points * 2 ** ((record.at - now) / penaltyHalfLifeMs) + points[misbehaviour]
    record.at = now
    const newly = record.points >= maxPenalty && record.refusedUntil <= now
    if (record.points >= maxPenalty) record.refusedUntil = now + refusalMs
    this.#agents.delete(id)
    this.#agents.set(id, record)
    if (this.#agents.size > maxRememberedAgents) this.#forgetOne()
    return newly
  }

  /** The one untouched for longest goes; the refused ones last, so that a crowd of fresh keys frees nobody. */
  #forgetOne(): void {
    const now = this.#monotonic()
    for (const [id, { refusedUntil }] of this.#agents) {
      if (refusedUntil > now) continue
      this.#agents.delete(id)
      return
    }
    this.#agents.delete(this.#agents.keys().next().value as string)
  }

  refused(agent: Uint8Array): boolean {
    return (this.#agents.get(toHex(agent))?.refusedUntil ?? Number.NEGATIVE_INFINITY) > this.#monotonic()
  }

  /** Agents (hex) refused now. */
  refusedAgents(): string[] {
    const now = this.#monotonic()
    return [...this.#agents].filter(([, { refusedUntil }]) => refusedUntil > now).map(([id]) => id)
  }

  /** How often each kind was seen since the start. */
  counts(): Record<Misbehaviour, number> {
    const of = (kind: Misbehaviour): number => this.#counts.get(kind) ?? 0
    return {
      'bad-block': of('bad-block'),
      'bad-entry': of('bad-entry'),
      'bad-frame': of('bad-frame'),
      flood: of('flood'),
      'too-slow': of('too-slow'),
      'false-claim': of('false-claim'),
    }
  }
}
