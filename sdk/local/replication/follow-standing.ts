import {
  type Capability,
  type CapabilityClaims,
  encodePresentation,
  type GroupProof,
  timeOf,
} from '../../../src/capability/index.ts'
import { equalBytes } from '../../../src/encoding/index.ts'
import type { KnownPeer } from '../../../src/exchange/index.ts'
import type { AgentKey } from '../../../src/identity/index.ts'
import { clockSkewMs } from '../../../src/limits.ts'
import type { Namespace } from '../../../src/namespace/index.ts'
import type { FollowBook, FollowEntry } from './follow-book.ts'

/** Something that is followed, and how that stands. */
export interface Followed {
  readonly capability: Capability
  readonly peers: readonly KnownPeer[]
  readonly scope: 'artifact' | 'auth'
  readonly message: string | undefined
  /** `waiting`: nobody has told this node yet what is in it. `ended`: it gives nothing any more, for `reason`. */
  readonly state: 'waiting' | 'in-force' | 'ended'
  readonly reason: string | undefined
}

/** What this agent has as a member of groups (32 bytes each). */
export interface GroupKeys {
  /** The epoch that a group is in; `undefined` when this agent is not in it, or lacks its key. */
  epochOf(group: Uint8Array): Uint8Array | undefined
  /** Whether this agent has the key of that epoch (id, 16 bytes) of a group. */
  canOpen(group: Uint8Array, epoch: Uint8Array): boolean
  /** Proves to a provider that it is in a group, with the key of the newest epoch; `undefined` when it is not. */
  proveMember(options: { readonly group: Uint8Array; readonly provider: Uint8Array }): GroupProof | undefined
  /** The keys of the epochs that it can open. */
  keysOf(group: Uint8Array): Iterable<{ readonly epoch: Uint8Array; readonly key: AgentKey }>
}

interface FollowStandingOptions {
  readonly book: FollowBook
  /** This agent, 32 bytes. */
  readonly self: Uint8Array
  readonly now: () => number
  /** The partial log of a namespace (32 bytes), once its beginning is here. */
  readonly logOf: (namespace: Uint8Array) => Namespace | undefined
}

/** Why what is shared with a group alone ended for this agent, until it is in the group again: others removed it, or it left. */
const outside = ['GROUP_EPOCH', 'LEFT'] as const

export type OutsideReason = (typeof outside)[number]

/**
 * Whether what is followed is in force, and what shows a provider that it is: by its time, by what this node holds of the namespace and by
 * the groups that this agent is in. Changes nothing.
 */
export class FollowStanding {
  readonly #options: FollowStandingOptions
  #groups: GroupKeys | undefined

  constructor(options: FollowStandingOptions) {
    this.#options = options
  }

  /** Takes the groups that this agent is in into account. */
  useGroups(groups: GroupKeys): void {
    this.#groups = groups
  }

  /** The keys of the epochs of a group (32 bytes) that this agent can open. */
  groupKeysOf(group: Uint8Array): ReturnType<GroupKeys['keysOf']> {
    return this.#groups?.keysOf(group) ?? []
  }

  /** The epoch that a group (32 bytes) is in; `undefined` when this agent is not in it. */
  groupEpochOf(group: Uint8Array): Uint8Array | undefined {
    return this.#groups?.epochOf(group)
  }

  /** Those of a namespace (hex) that have not ended. */
  *live(name: string): Generator<FollowEntry> {
    for (const entry of this.#options.book.of(name)) if (this.refusal(entry) === undefined) yield entry
  }

  /** Whether anything of a namespace (hex) has not ended. */
  isAnyLive(name: string): boolean {
    for (const _ of this.live(name)) return true
    return false
  }

  /** Whether it ended, but not by what this node holds itself: it may be in force again. */
  mayRevive({ capability: { claims }, ended }: FollowEntry): boolean {
    if (ended?.reason !== 'REVOKED' && ended?.reason !== 'ISSUER_REMOVED') return false
    return this.#options.logOf(claims.namespace)?.membership.refusalOf(claims) === undefined
  }

  /** Whether what this node holds by now says that it is in force, though it ended. */
  isBack(entry: FollowEntry): boolean {
    const { claims } = entry.capability
    if (isOutside(entry)) return this.refusal({ ...entry, ended: undefined }) === undefined
    const isIssued = this.#options.logOf(claims.namespace)?.isIssued(claims) === true
    return isIssued && this.mayRevive(entry) && this.refusal({ ...entry, ended: undefined }) === undefined
  }

  /** What ended by its time while the clock was ahead: whoever serves it goes by another. */
  *endedEarly(): Generator<FollowEntry> {
    const now = this.#options.now()
    for (const entry of this.#options.book.ended) {
      const isOver = timeOf(entry.capability.claims, now, clockSkewMs) === 'expired'
      if (entry.ended?.reason === 'EXPIRED' && !isOver) yield entry
    }
  }

  /** Whether it lets this agent read its artifact. */
  isReadable(entry: FollowEntry): boolean {
    return entry.scope === 'artifact' && this.refusal(entry) === undefined
  }

  /** What shows a provider the right; `undefined` when this agent is not, or cannot prove to be, of the audience. */
  presentation({ capability }: FollowEntry, provider: Uint8Array): Uint8Array | undefined {
    const { audience } = capability.claims
    if (audience.some(({ kind, id }) => kind === 'agent' && equalBytes(id, this.#options.self)))
      return encodePresentation(capability.token, undefined)
    const proof = this.#proof(capability, provider)
    return proof && encodePresentation(capability.token, proof)
  }

  #proof({ claims }: Capability, provider: Uint8Array): GroupProof | undefined {
    for (const { kind, id } of claims.audience) {
      const proof = kind === 'group' ? this.#groups?.proveMember({ group: id, provider }) : undefined
      if (proof !== undefined) return proof
    }
    return undefined
  }

  /** The epoch by which this agent is of the audience, as a member of a group. */
  epochOf({ audience }: CapabilityClaims): Uint8Array | undefined {
    for (const { kind, id } of audience) {
      const epoch = kind === 'group' ? this.#groups?.epochOf(id) : undefined
      if (epoch !== undefined) return epoch
    }
    return undefined
  }

  /** Why it gives nothing, by its time and by what this node holds of the namespace. */
  refusal({ capability, ended, refusedEpoch }: FollowEntry): string | undefined {
    if (ended !== undefined) return ended.reason
    const { claims } = capability
    const self = this.#options.self
    const log = this.#options.logOf(claims.namespace)
    const isOurs = claims.audience.some(({ kind, id }) =>
      kind === 'agent' ? equalBytes(id, self) : this.#isInGroup(id, log, refusedEpoch),
    )
    // First, for it is for good: what may come back is looked at again.
    if (timeOf(claims, this.#options.now(), clockSkewMs) === 'expired') return 'EXPIRED'
    if (!isOurs) return 'GROUP_EPOCH'
    const reason = log?.membership.refusalOf(claims)
    // What would say that it is in force may not have come yet.
    const mayCome = reason === 'ISSUER_REMOVED' && log?.isIssued(claims) !== true
    return mayCome ? undefined : reason
  }

  /**
   * Whether this agent is in a group, as far as it knows: with the key of an epoch that nobody refused. What a namespace knows of the group may be
   * older than that; when it is of an epoch that this agent cannot open, it was removed.
   */
  #isInGroup(group: Uint8Array, log: Namespace | undefined, refusedEpoch: Uint8Array | undefined): boolean {
    const epoch = this.#groups?.epochOf(group)
    if (epoch === undefined || (refusedEpoch !== undefined && equalBytes(refusedEpoch, epoch))) return false
    const known = log?.descriptors.newest(group)?.epoch
    return known === undefined || this.#groups?.canOpen(group, known) === true
  }

  /** How it stands now. */
  present(entry: FollowEntry): Followed {
    const { capability, peers, scope, message } = entry
    const reason = this.refusal(entry)
    const isWaiting = this.#options.logOf(capability.claims.namespace)?.isIssued(capability.claims) !== true
    const state = reason !== undefined ? 'ended' : isWaiting ? 'waiting' : 'in-force'
    return { capability, peers, scope, message, state, reason }
  }

  /** Why nothing lets this agent read an artifact (20 bytes); `undefined` when something does, or nothing was ever followed of it. */
  refusalOf(artifact: Uint8Array): string | undefined {
    let refusal: string | undefined
    for (const entry of this.#options.book.about(artifact)) {
      if (entry.scope !== 'artifact') continue
      const reason = this.refusal(entry)
      if (reason === undefined) return undefined
      refusal = reason
    }
    return refusal
  }
}

/** Whether it ended with this agent's being in a group alone: it may be in it again. */
export function isOutside({ ended }: FollowEntry): boolean {
  return outside.some((reason) => reason === ended?.reason)
}
