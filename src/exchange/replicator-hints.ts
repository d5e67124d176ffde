import { equalBytes, toHex } from '../encoding/index.ts'
import { NamedTimers } from './named-timers.ts'
import type { PeerNetwork } from './peer-network.ts'
import type { Scheduler } from './scheduler.ts'
import type { ReplicatedLog } from './sync-log.ts'
import { hintTopic } from './sync-offer.ts'

/** What the hints of one log need. */
export interface LogHintsOptions {
  readonly log: ReplicatedLog
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  readonly random: () => number
  /** Whether an agent is another one that has a role. */
  readonly isMember: (agent: Uint8Array) => boolean
  /** Connected agents that have a role. */
  readonly connectedMembers: () => readonly Uint8Array[]
  /** An agent has, or has heard of, something that is not here. */
  readonly onNews: (agent: Uint8Array) => void
}

/** Own changes of a moment go into one hint. */
const ownDelayMs = 10
/** Others' changes are told later: whoever wrote them tells first. */
const othersDelayMs = 100
/** At most one hint in this time, and always one after the last change. */
const everyMs = 500
/** An unknown hash is looked into after this, and twice as long at most: the entries may be on their way. */
const checkMs = 25
/** As long as entries come, hashes are bound to differ: it is looked into again after this. */
const checkAgainMs = 500
/** How often that is put off. */
const maxChecks = 10
/** Hashes of the log, or looked into, that are remembered. */
const maxRecent = 64

/**
 * The gossip about one log: tells the hash of what is held here when that has changed, and notices hashes that are not known here. A
 * hint says nothing to whoever does not know the log, and it is never believed: it only makes this node ask.
 */
export class LogHints {
  readonly #options: LogHintsOptions
  readonly #topic: string
  readonly #timers: NamedTimers<'hint' | 'rest' | 'check'>
  readonly #recent = new Set<string>()
  readonly #stop: () => void
  #isDue = false
  #changes = 0

  constructor(options: LogHintsOptions) {
    this.#options = options
    this.#timers = new NamedTimers(options.scheduler)
    this.#topic = hintTopic(options.log.id)
    this.#stop = options.network.onHint(this.#topic, (payload, from) => this.#onHint(payload, from))
  }

  /** The log has changed; `own` when by this node's entries. */
  changed(own: boolean): void {
    this.#changes += 1
    this.#tell(own ? ownDelayMs : othersDelayMs)
  }

  /** That hash needs no looking into. */
  remember(hash: Uint8Array): void {
    this.#recent.add(toHex(hash))
    if (this.#recent.size > maxRecent) this.#recent.delete(this.#recent.keys().next().value as string)
  }

  /** Neither tells nor hears any more. Idempotent. */
  close(): void {
    this.#stop()
    this.#timers.close()
  }

  #tell(delayMs: number): void {
    this.#isDue = true
    if (this.#timers.has('rest')) return
    if (this.#timers.has('hint') && delayMs > ownDelayMs) return
    this.#timers.set('hint', delayMs, () => {
      this.#isDue = false
      const hash = this.#options.log.vectorHash
      this.remember(hash)
      this.#options.network.hint(this.#topic, hash)
      this.#timers.set('rest', everyMs, () => {
        if (this.#isDue) this.#tell(ownDelayMs)
      })
    })
  }

  #onHint(payload: Uint8Array, from: Uint8Array): void {
    // Strangers that know the topic could keep this node busy: they are not heard.
    if (!this.#options.isMember(from)) return
    if (payload.length !== 32) {
      this.#options.network.penalise(from, 'bad-frame')
      return
    }
    if (!this.#timers.has('check') && !this.#isKnown(payload)) this.#check(payload, from, 0)
  }

  #check(hash: Uint8Array, from: Uint8Array, checks: number): void {
    const { random, connectedMembers, onNews } = this.#options
    const changes = this.#changes
    this.#timers.set('check', (checks === 0 ? checkMs : checkAgainMs) * (1 + random()), () => {
      if (this.#isKnown(hash)) return
      const members = connectedMembers()
      const isConnected = members.some((agent) => equalBytes(agent, from))
      if (isConnected && this.#changes !== changes && checks < maxChecks) {
        this.#check(hash, from, checks + 1)
        return
      }
      this.remember(hash)
      const agent = isConnected ? from : members[Math.floor(random() * members.length)]
      if (agent !== undefined) onNews(agent)
    })
  }

  #isKnown(hash: Uint8Array): boolean {
    return equalBytes(hash, this.#options.log.vectorHash) || this.#recent.has(toHex(hash))
  }
}
