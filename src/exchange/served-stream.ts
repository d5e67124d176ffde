import { decodePresentation, type Presentation } from '../capability/index.ts'
import { isHubError } from '../errors.ts'
import { blockRefusalMs, maxDenialEvidence } from '../limits.ts'
import { Answers } from './answers.ts'
import { elapsed } from './elapsed.ts'
import type { FollowedScope } from './followed-scope.ts'
import type { Asker, Permission } from './may-read.ts'
import type { Newcomer } from './newcomers.ts'
import type { PeerNetwork } from './peer-network.ts'
import type { Rates } from './rates.ts'
import type { Scheduler } from './scheduler.ts'
import type { DeniedMessage, OfferedMessage, OfferRow } from './sync-codec.ts'
import type { ReplicatedLog } from './sync-log.ts'
import type { SyncStream } from './sync-stream.ts'
import type { SyncTally } from './sync-transfer.ts'

/** What serving is done with, and who is told of it. */
export interface SyncServiceOptions {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
  /** The log of a namespace (32 bytes) on this node. */
  readonly lookup: (namespace: Uint8Array) => ReplicatedLog | undefined
  /** A log of which only some artifacts are here: members may push to it, and nobody is served from it. */
  readonly lookupPartial?: ((namespace: Uint8Array) => ReplicatedLog | undefined) | undefined
  /** Somebody who is no member has got what there is of that scope, by that right. */
  readonly onFollowed?: ((log: ReplicatedLog, agent: Uint8Array, followed: FollowedScope) => void) | undefined
  /** An agent has taken what it was answered by capabilities for it of these jtis (16 bytes each), a refusal of one that was good here too. */
  readonly onAnswered?: ((agent: Uint8Array, jtis: readonly Uint8Array[]) => void) | undefined
  /** A round that another agent began is through: its vector hash at the end, if it told. */
  readonly onRound?: ((log: ReplicatedLog, agent: Uint8Array, round: ServedRound) => void) | undefined
  /** Another agent pushed entries. */
  readonly onPushed?: ((log: ReplicatedLog, agent: Uint8Array, tally: Readonly<SyncTally>) => void) | undefined
  /** An agent asked for a namespace and was denied, as it would be if this node did not have it; `log` is there when it has. */
  readonly onDenied?: ((namespace: Uint8Array, agent: Uint8Array, log: ReplicatedLog | undefined) => void) | undefined
  /** An agent that was denied a namespace gives entries that are to show that it has a role. */
  readonly onClaim?: ((namespace: Uint8Array, agent: Uint8Array, entries: readonly Uint8Array[]) => void) | undefined
  /** An agent offers namespaces; gives the indexes of those in step, and of those not recognised whose ids are of interest. */
  readonly onOffer?:
    | ((agent: Uint8Array, rows: readonly OfferRow[]) => Pick<OfferedMessage, 'same' | 'unknown'>)
    | undefined
  /** The ids behind rows that were not recognised. */
  readonly onNames?: ((agent: Uint8Array, namespaces: readonly Uint8Array[]) => void) | undefined
}

/** What a served round came to. */
export interface ServedRound extends Readonly<SyncTally> {
  readonly result: 'same' | 'exchanged'
  readonly sent: number
  readonly theirHash: Uint8Array | undefined
}

/** Counts since the service began. */
export interface SyncServiceCounters {
  /** Streams answered. */
  streams: number
  /** Streams cut, for that agent had too many or their vectors were too long together. */
  floods: number
  /** Requests of agents that may not read what they asked for. */
  denied: number
  /** Streams that ended with an error. */
  failed: number
}

/** What whoever may not read is told: whether or not it is here. */
const plainDenial: DeniedMessage = { type: 'denied', reason: undefined, evidence: [] }

/** A stream that is answered, and whom it is from. */
export class ServedStream {
  readonly stream: SyncStream
  /** Settled with the first thing that is permitted on it. */
  readonly newcomer: Newcomer
  readonly options: SyncServiceOptions
  readonly counters: SyncServiceCounters
  /** What may be denied after a look. */
  readonly denials: Rates
  readonly answers: Answers

  constructor(
    stream: SyncStream,
    { newcomer, options, counters, denials }: Pick<ServedStream, 'newcomer' | 'options' | 'counters' | 'denials'>,
  ) {
    this.stream = stream
    this.newcomer = newcomer
    this.options = options
    this.counters = counters
    this.denials = denials
    this.answers = new Answers((jtis) => options.onAnswered?.(stream.agent, jtis))
  }

  /** Milliseconds since 1970. */
  now(): number {
    return this.options.scheduler.now()
  }

  /** Who asks, and by what right. @throws CORRUPT, TOO_LARGE when what it shows is nothing that anybody signed: held against it */
  askerOf(shown: Uint8Array | undefined): Asker {
    const { self: provider, network } = this.options
    const asker = { agent: this.stream.agent, provider, nowMs: this.now() }
    if (shown === undefined) return { ...asker, presentations: [] }
    try {
      return { ...asker, presentations: [decodePresentation(shown)] }
    } catch (error) {
      // What a newer release signed gives nothing here.
      if (isHubError(error, 'UNSUPPORTED_FORMAT')) return { ...asker, presentations: [] }
      network.penalise(this.stream.agent, 'bad-frame')
      throw error
    }
  }

  /** It is given what there is by what it shows: noted if that gives it something, by which it was `permitted`, or which is for it besides. */
  gave(log: ReplicatedLog, shown: Presentation, permitted: Presentation | undefined): void {
    // A member is given it whatever it shows.
    const question = { presentation: shown, agent: this.stream.agent, provider: this.options.self, nowMs: this.now() }
    if (permitted !== undefined || log.allows?.(question).allowed === true)
      this.answers.give(shown.capability.claims.jti)
  }

  /** After one time, whatever was looked up. */
  async deny(denial = plainDenial): Promise<void> {
    await elapsed(this.options.scheduler, blockRefusalMs, this.stream.signal)
    await this.stream.send(denial)
  }
}

/** What an agent that may not read is told. */
export async function denialOf(log: ReplicatedLog | undefined, permission: Permission): Promise<DeniedMessage> {
  if (permission.allowed || permission.reason === undefined || permission.by === undefined) return plainDenial
  const evidence: Uint8Array[] = []
  for await (const bytes of log?.held.evidenceAgainst?.(permission.by.capability.claims) ?? []) {
    if (evidence.length < maxDenialEvidence) evidence.push(bytes)
  }
  return { type: 'denied', reason: permission.reason, evidence }
}
