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
/** As long as entries come, hashes are bound to differ: it is looked into again after this; and so soon after somebody was asked. */
const checkAgainMs = 500
/**
 * How often that is put off at first, and once entries were still coming then: where much is written, or nodes are slow, what is told of is mostly on
 * its way from who wrote it, and each round would bring it once more. No longer, for whoever is pushed nothing by who wrote it hears of it in no other way: longer would spare each
 * of them a round in a minute or so.
 */
const putOffs = { from: 10, to: 20 }
/** Hashes that were told, and that were looked into, of which each so many are remembered. */
const maxRecent = 64
/** Agents whose hints wait to be looked into. */
const maxNews = 64
/** Agents that are asked at once: what several tell of is mostly the same, and one brings all that it has. The others have their turn if it is not. While entries still come it is one. */
const maxAsked = 2

/**
 * The gossip about one log: tells the hash of what is held here when that has changed, and notices hashes that are not known here. A
 * hint says nothing to whoever does not know the log, and it is never believed: it only makes this node ask.
 */
export class LogHints {
  readonly #options: LogHintsOptions
  readonly #topic: string
  readonly #timers: NamedTimers<'hint' | 'rest' | 'check' | 'asked'>
  /** Hashes that this log had when it told of them. */
  readonly #told = new Set<string>()
  /** What agents told, and was asked about, as agent and hash: a second time would bring no more. */
  readonly #askedFor = new Set<string>()
  /** By agent, its latest hint that is not known here. */
  readonly #news = new Map<string, { readonly agent: Uint8Array; readonly hash: Uint8Array }>()
  readonly #stop: () => void
  #isDue = false
  #changes = 0
  #putOffs = putOffs.from

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
      const hash = this.#options.log.held.vectorHash
      remember(this.#told, toHex(hash))
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
    if (equalBytes(payload, this.#options.log.held.vectorHash) || this.#askedFor.has(toHex(from) + toHex(payload)))
      return
    if (this.#told.has(toHex(payload))) {
      // It is where this log once was: it has not heard what came since.
      this.#tell(othersDelayMs)
      return
    }
    if (this.#news.size < maxNews || this.#news.has(toHex(from)))
      this.#news.set(toHex(from), { agent: from, hash: payload })
    if (!this.#timers.has('check')) this.#check(0)
  }

  #check(checks: number): void {
    const { random, connectedMembers, onNews } = this.#options
    const changes = this.#changes
    const isSoon = checks === 0 && !this.#timers.has('asked')
    this.#timers.set('check', (isSoon ? checkMs : checkAgainMs) * (1 + random()), () => {
      const known = toHex(this.#options.log.held.vectorHash)
      for (const [name, { hash }] of this.#news) {
        if (toHex(hash) === known || this.#told.has(toHex(hash))) this.#news.delete(name)
      }
      const isComing = this.#changes !== changes || this.#options.log.isReceiving === true
      if (!isComing) this.#putOffs = putOffs.from
      if (this.#news.size === 0) return
      if (isComing && checks < this.#putOffs) {
        this.#check(checks + 1)
        return
      }
      if (isComing) this.#putOffs = putOffs.to
      const members = connectedMembers()
      const asked = new Set<string>()
      for (const [name, { agent, hash }] of this.#news) {
        if (asked.size >= (isComing ? 1 : maxAsked)) break
        this.#news.delete(name)
        remember(this.#askedFor, toHex(agent) + toHex(hash))
        const isConnected = members.some((member) => equalBytes(member, agent))
        const whom = isConnected ? agent : members[Math.floor(random() * members.length)]
        if (whom === undefined || asked.has(toHex(whom))) continue
        asked.add(toHex(whom))
        onNews(whom)
      }
      // Whoever tells of one hash after the other has this node ask twice a second, no more.
      this.#timers.set('asked', checkAgainMs, () => {})
      if (this.#news.size > 0) this.#check(1)
    })
  }
}

function remember(hashes: Set<string>, hash: string): void {
  hashes.add(hash)
  if (hashes.size > maxRecent) hashes.delete(hashes.values().next().value as string)
}
