import type { ShareClaims } from '../../src/capability/index.ts'
import { equalBytes, toHex } from '../../src/encoding/index.ts'
import { clockSkewMs } from '../../src/limits.ts'
import type { Entry } from '../../src/log/index.ts'
import type { World } from './machine.ts'
import { Ruling } from './ruling.ts'

/** What a share gives: `maybe` near the times that it names. */
type Standing = 'given' | 'maybe' | 'ended'

/** So near to the end of a share nothing is said of it, milliseconds. */
const marginMs = 20_000

/** Who should be able to read what, worked out from what was granted, shared and taken back, and from nothing that a node says of it. */
export class Access {
  readonly #world: World
  readonly #ruling: Ruling
  readonly #groupRuling: Ruling | undefined
  readonly #ofGroup: readonly Entry[]
  readonly #nowMs: number
  /** Hashes (hex). */
  readonly #held: ReadonlySet<string>
  readonly #isSplit: boolean

  /**
   * @param entries of the namespace and @param ofGroup of the group: all that there are
   * @param isSplit whether another machine of the owner has others, of which nobody hears who made these (`ownersApart`)
   */
  constructor(
    world: World,
    entries: readonly Entry[],
    ofGroup: readonly Entry[],
    { nowMs, isSplit }: { readonly nowMs: number; readonly isSplit: boolean },
  ) {
    this.#world = world
    this.#ruling = new Ruling(world.id as Uint8Array, entries)
    this.#groupRuling = world.group && new Ruling(world.group, ofGroup)
    this.#ofGroup = ofGroup
    this.#nowMs = nowMs
    this.#isSplit = isSplit
    this.#held = new Set(entries.map(({ hash }) => toHex(hash)))
  }

  /** By its role. */
  isReader(agent: Uint8Array): boolean {
    const role = this.#ruling.roleOf(agent)
    return role !== undefined && role !== 'replica'
  }

  isMember(agent: Uint8Array): boolean {
    return this.#ruling.roleOf(agent) !== undefined
  }

  isInGroup(agent: Uint8Array): boolean {
    return this.#groupRuling?.roleOf(agent) !== undefined
  }

  /** Versions with a number above it are for an agent by shares that are surely in force; `undefined` when there is none. */
  after(agent: Uint8Array, artifact: Uint8Array): number | undefined {
    return lowest(this.#shares(agent, artifact, ['given']))
  }

  /** As `after`, of what may be in force. */
  possiblyAfter(agent: Uint8Array, artifact: Uint8Array): number | undefined {
    const unsent = this.#unsentOf(artifact).filter((claims) => isFor(claims, agent) || isForGroup(claims))
    return lowest([...this.#shares(agent, artifact, ['given', 'maybe']), ...unsent])
  }

  /** As `after`, of what was ever shared with an agent, or with the group if it ever was in it. */
  everAfter(agent: Uint8Array, artifact: Uint8Array): number | undefined {
    return lowest(this.everShared(agent, artifact))
  }

  everShared(agent: Uint8Array, artifact: Uint8Array): ShareClaims[] {
    return [...this.#of(artifact), ...this.#unsentOf(artifact)].filter(
      (claims) => isFor(claims, agent) || (isForGroup(claims) && this.#everInGroup(agent)),
    )
  }

  everMember(agent: Uint8Array): boolean {
    return this.#ruling.roleOf(agent) === 'owner' || this.#world.ledger.grants.has(toHex(agent))
  }

  /**
   * Whether an agent was to read by a grant that came to nothing without being ended, for whoever gave it forked or was cut: the keys are out all the same, whatever role it has
   * by another.
   */
  mayHoldKeys(agent: Uint8Array): boolean {
    return [...(this.#world.ledger.grants.get(toHex(agent)) ?? [])].some((grant) => this.#ruling.isVoid(grant))
  }

  /** Whether a share gives nothing any more. */
  hasEnded(claims: ShareClaims): boolean {
    return this.#standingOf(claims) === 'ended'
  }

  /** Whether an epoch of the group (id in hex) is one that nobody takes back by removing who began it: what was sealed to it is then given to the one that holds. */
  isLastingEpoch(epoch: string): boolean {
    return this.#ofGroup.some(
      (entry) =>
        entry.header.kind === 'rotate' &&
        entry.header.keyId !== undefined &&
        toHex(entry.header.keyId) === epoch &&
        this.#groupRuling?.holds(entry) === true,
    )
  }

  #everInGroup(agent: Uint8Array): boolean {
    return this.#groupRuling?.roleOf(agent) === 'owner' || this.#world.groupLedger.grants.has(toHex(agent))
  }

  #shares(agent: Uint8Array, artifact: Uint8Array, standings: readonly Standing[]): ShareClaims[] {
    return this.#of(artifact).filter(
      (claims) =>
        (isFor(claims, agent) || (isForGroup(claims) && this.isInGroup(agent))) &&
        standings.includes(this.#standingOf(claims)),
    )
  }

  #of(artifact: Uint8Array): ShareClaims[] {
    return [...this.#world.ledger.shares.values()].filter((claims) => equalBytes(claims.artifact, artifact))
  }

  #unsentOf(artifact: Uint8Array): ShareClaims[] {
    return [...this.#world.ledger.unsent.values()].filter((claims) => equalBytes(claims.artifact, artifact))
  }

  #standingOf(claims: ShareClaims): Standing {
    if (!this.#ruling.isGiven(claims)) return 'ended'
    const ends = claims.expires === undefined ? Number.POSITIVE_INFINITY : claims.expires * 1000
    if (this.#nowMs > ends + clockSkewMs + marginMs) return 'ended'
    if (this.#isUnheard(claims)) return 'maybe'
    const isNow = this.#nowMs < ends - marginMs && this.#nowMs > claims.notBefore * 1000 - clockSkewMs + marginMs
    return isNow ? 'given' : 'maybe'
  }

  /**
   * Whether nobody here holds what says of a share: it went with the one log that had it, or another machine of the owner has it alone. Providers let its audience in, and nobody
   * here gives it keys. Those with which that other machine gave it come once the audience asks that one: by the name of the agent, under which either of the two answers, so that
   * it may be in step with the one that never heard of the share for some minutes before. For what is written here after, no key is ever sealed for it.
   */
  #isUnheard({ jti }: ShareClaims): boolean {
    const { shareEntries, excused } = this.#world.ledger
    const entry = shareEntries.get(toHex(jti))
    return entry !== undefined && !this.#held.has(entry) && (this.#isSplit || excused.has(entry))
  }
}

function isFor({ audience }: ShareClaims, agent: Uint8Array): boolean {
  return audience.some(({ kind, id }) => kind === 'agent' && equalBytes(id, agent))
}

/** Whether a share is for the group. */
export function isForGroup({ audience }: ShareClaims): boolean {
  return audience.some(({ kind }) => kind === 'group')
}

function lowest(shares: readonly ShareClaims[]): number | undefined {
  return shares.length === 0 ? undefined : Math.min(...shares.map(({ after }) => after))
}
