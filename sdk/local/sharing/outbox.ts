import { capabilityName } from '../../../src/capability/index.ts'
import { equalBytes, toHex } from '../../../src/encoding/index.ts'
import { isHubError } from '../../../src/errors.ts'
import {
  type Delivery,
  deliver,
  type KnownPeer,
  type PeerNetwork,
  type Scheduler,
} from '../../../src/exchange/index.ts'
import { maxEnvelopesInDelivery, maxHoldersAsked, retryBackoffMs } from '../../../src/limits.ts'
import type { Namespace, Share } from '../../../src/namespace/index.ts'
import type { Deliveries } from './deliveries.ts'

/** What the outbox is made of. */
export interface OutboxOptions {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  readonly chance: () => number
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
  readonly deliveries: Deliveries
  /** Who has a namespace, for whoever is told of a share of it. */
  readonly peersOf: (log: Namespace) => readonly KnownPeer[]
  /** Whom this node knows that may be in a group (32 bytes). */
  readonly peersOfGroup: (group: Uint8Array) => readonly KnownPeer[]
  /** Puts envelopes for a group that this agent is in itself where its members find them; `false` when it is not. */
  readonly deposit: (group: Uint8Array, delivery: Delivery) => Promise<boolean>
  readonly warn: (message: string, fields: Readonly<Record<string, unknown>>) => void
}

/** A share that whoever it is for may not know of. */
interface Pending {
  readonly log: Namespace
  readonly share: Share
}

/** An agent or a group, with what it is to be told. */
interface Target {
  readonly group: boolean
  readonly id: Uint8Array
  readonly pending: Map<string, Pending>
  failures: number
  busy: boolean
  stopTimer: () => void
}

/**
 * Tells agents and groups what is shared with them. The logs that say so are the outbox: whoever holds one and can read it tells those it
 * meets; who shared something dials them as well. What was taken is remembered on the disk.
 */
export class Outbox {
  readonly #options: OutboxOptions
  readonly #targets = new Map<string, Target>()
  readonly #scans = new Map<Namespace, Promise<void>>()
  readonly #running = new Set<Promise<unknown>>()
  readonly #ending = new AbortController()
  readonly #stopListening: () => void

  constructor(options: OutboxOptions) {
    this.#options = options
    this.#stopListening = options.network.onPeer((agent, connected) => {
      if (connected) this.#met(agent)
    })
  }

  /** Takes a namespace's shares into the outbox: when it is opened, and when some may have come. */
  async look(log: Namespace): Promise<void> {
    const before = this.#scans.get(log)
    const scan = (before ?? Promise.resolve()).then(() => this.#scan(log))
    this.#scans.set(log, scan)
    try {
      await this.#keep(scan)
    } finally {
      if (this.#scans.get(log) === scan) this.#scans.delete(log)
    }
  }

  /** Forgets what a namespace had: it is about to be closed. */
  forget(log: Namespace): void {
    for (const { pending } of this.#targets.values()) {
      for (const [name, one] of pending) if (one.log === log) pending.delete(name)
    }
  }

  /** Ends what is under way. Idempotent. */
  async close(): Promise<void> {
    this.#ending.abort()
    this.#stopListening()
    for (const target of this.#targets.values()) target.stopTimer()
    while (this.#running.size > 0) await Promise.allSettled(this.#running)
  }

  async #scan(log: Namespace): Promise<void> {
    const { deliveries, self } = this.#options
    const urgent = new Set<Target>()
    try {
      for await (const share of log.allShares({ signal: this.#ending.signal })) {
        const { claims } = share
        const [audience] = claims.audience
        if (claims.kind !== 'share' || audience === undefined || deliveries.has(capabilityName(claims))) continue
        const isGroup = audience.kind === 'group'
        if (!isGroup && equalBytes(audience.id, self)) continue
        const key = `${audience.kind} ${toHex(audience.id)}`
        let target = this.#targets.get(key)
        if (target === undefined) {
          const none = (): void => {}
          target = { group: isGroup, id: audience.id, pending: new Map(), failures: 0, busy: false, stopTimer: none }
          this.#targets.set(key, target)
        }
        const name = toHex(capabilityName(claims))
        if (target.pending.has(name)) continue
        target.pending.set(name, { log, share })
        urgent.add(target)
      }
    } catch (error) {
      // It is tried again when the namespace is opened.
      if (!this.#ending.signal.aborted && !log.closed) this.#warn(error)
    }
    for (const target of urgent) {
      target.failures = 0
      this.#go(target)
    }
  }

  #met(agent: Uint8Array): void {
    for (const target of this.#targets.values()) {
      const peers = target.group ? this.#options.peersOfGroup(target.id) : [{ agent: target.id }]
      if (peers.some((peer) => equalBytes(peer.agent, agent))) this.#go(target)
    }
  }

  /** Delivers to a target now; again later while there is something that this agent shared itself. */
  #go(target: Target): void {
    if (target.busy || target.pending.size === 0 || this.#ending.signal.aborted) return
    target.busy = true
    target.stopTimer()
    void this.#keep(
      this.#deliverTo(target)
        .catch((error) => {
          if (!this.#ending.signal.aborted) this.#warn(error)
        })
        .finally(() => {
          target.busy = false
          if (this.#ending.signal.aborted || target.pending.size === 0) return
          const { scheduler, chance, self } = this.#options
          const isOwn = [...target.pending.values()].some(({ share }) => equalBytes(share.claims.issuer, self))
          if (!isOwn) return
          const delayMs = Math.min(retryBackoffMs.to, retryBackoffMs.from * 2 ** Math.min(target.failures++, 20))
          target.stopTimer = scheduler.setTimer(delayMs * (0.5 + chance() / 2), () => this.#go(target))
        }),
    )
  }

  async #deliverTo(target: Target): Promise<void> {
    for (const [log, all] of byLog(target.pending)) {
      for (let at = 0; at < all.length; at += maxEnvelopesInDelivery) {
        const some = all.slice(at, at + maxEnvelopesInDelivery)
        if (!(await this.#deliverSome(target, log, some))) return
      }
    }
  }

  /** Gives whether it is worth to go on with this target now. */
  async #deliverSome(target: Target, log: Namespace, some: readonly Share[]): Promise<boolean> {
    const { peersOf, deposit } = this.#options
    const open: { readonly share: Share; readonly envelope: Uint8Array }[] = []
    for (const share of some) {
      const envelope = log.isInForce(share) ? await log.envelopeOf(share) : undefined
      if (envelope === undefined) target.pending.delete(toHex(capabilityName(share.claims)))
      else open.push({ share, envelope })
    }
    if (open.length === 0) return true
    const group = target.group ? target.id : undefined
    const delivery = { envelopes: open.map(({ envelope }) => envelope), group, peers: peersOf(log) }
    if (group !== undefined && (await deposit(group, delivery))) {
      await this.#taken(
        target,
        open.map(({ share }) => share),
      )
      return true
    }
    const receipts = await this.#ask(target, delivery)
    if (receipts === undefined) return false
    const isOver = (at: number): boolean => receipts[at] === 'taken' || (receipts[at] === 'refused' && !target.group)
    await this.#taken(
      target,
      open.flatMap(({ share }, at) => (isOver(at) ? [share] : [])),
    )
    return receipts.every((receipt) => receipt !== 'full')
  }

  async #taken(target: Target, shares: readonly Share[]): Promise<void> {
    const names = shares.map(({ claims }) => capabilityName(claims))
    await this.#options.deliveries.add(names)
    for (const name of names) target.pending.delete(toHex(name))
  }

  /** Delivers to the agent, or to the first of a group that takes it; `undefined` when nobody could be reached. */
  async #ask(target: Target, delivery: Delivery) {
    const { network, scheduler, peersOfGroup } = this.#options
    const peers = target.group ? peersOfGroup(target.id) : [{ agent: target.id, addresses: [] }]
    const { signal } = this.#ending
    let receipts: Awaited<ReturnType<typeof deliver>> | undefined
    for (const { agent, addresses } of peers.slice(0, maxHoldersAsked)) {
      if (equalBytes(agent, this.#options.self)) continue
      network.addAddresses(agent, addresses)
      try {
        receipts = await deliver({ network, scheduler, signal }, agent, delivery)
        if (receipts.every((receipt) => receipt === 'taken')) return receipts
      } catch (error) {
        signal.throwIfAborted()
        if (!isHubError(error)) throw error
      }
    }
    return receipts
  }

  #warn(error: unknown): void {
    this.#options.warn('what is shared could not be told to those it is shared with', { error: String(error) })
  }

  #keep<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work)
    const done = (): void => {
      this.#running.delete(work)
    }
    work.then(done, done)
    return work
  }
}

function byLog(pending: ReadonlyMap<string, Pending>): Map<Namespace, Share[]> {
  const found = new Map<Namespace, Share[]>()
  for (const { log, share } of pending.values()) {
    const some = found.get(log)
    if (some === undefined) found.set(log, [share])
    else some.push(share)
  }
  return found
}
