import { type CapabilityClaims, capabilityName } from '../../../src/capability/index.ts'
import { equalBytes, toHex } from '../../../src/encoding/index.ts'
import { isHubError } from '../../../src/errors.ts'
import {
  type Delivery,
  deliver,
  type KnownPeer,
  type PeerNetwork,
  type Receipt,
  type Scheduler,
} from '../../../src/exchange/index.ts'
import {
  deliveryBackoffMs,
  fullBackoffMs,
  maxDeliveriesAtOnce,
  maxEnvelopesInDelivery,
  maxFullAnswers,
  maxHoldersAsked,
} from '../../../src/limits.ts'
import type { Namespace, Share } from '../../../src/namespace/index.ts'
import type { Deliveries } from './deliveries.ts'
import { Recipients } from './recipients.ts'

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
  /** Who decides in a group, as far as that is proven here: its owner and admins. */
  readonly decidersOf: (group: Uint8Array) => Promise<readonly Uint8Array[]>
  /** Puts envelopes for a group that this agent is in itself where its members find them; `undefined` when it is not. */
  readonly deposit: (group: Uint8Array, delivery: Delivery) => Promise<readonly Receipt[] | undefined>
  readonly warn: (message: string, fields: Readonly<Record<string, unknown>>) => void
}

/** How it stands with telling whoever a share is for: `full` when there was no room for it there, time and again, and it was given up. */
export type DeliveryState = 'taken' | 'refused' | 'waiting' | 'full'

/** An agent or a group that has not taken everything that it is told of. */
export interface Undelivered {
  readonly kind: 'agent' | 'group'
  /** 32 bytes. */
  readonly id: Uint8Array
  readonly state: 'waiting' | 'full'
  /** Shares. */
  readonly count: number
}

/** A share that whoever it is for may not know of. */
interface Pending {
  readonly log: Namespace
  readonly share: Share
  /** Of a group, who said (in hex) that they took it: anybody whom its ticket names may say so, in the group or not. */
  readonly takers: Set<string>
}

/** How it went: `in part` when a group was told, by what somebody says whose word is not enough. */
type Told = 'told' | 'in part' | 'unreached' | 'full'

/** Of those who do not decide in a group so many must have taken what is for it. */
const takersOfGroup = 2

/** An agent or a group, with what it is to be told. */
interface Target {
  readonly kind: 'agent' | 'group'
  readonly id: Uint8Array
  readonly pending: Map<string, Pending>
  /** What it had no room for, and is not told of any more while this node runs, unless it is shared again. */
  readonly givenUp: Map<string, Pending>
  failures: number
  /** Times in a row that it had no room. */
  fulls: number
  state: 'idle' | 'queued' | 'busy' | 'no room'
  stopTimer: () => void
}

/**
 * Tells agents and groups what is shared with them. The logs that say so are the outbox: whoever holds one and can read it tells those it
 * meets; who shared something dials them as well. What was answered is remembered on the disk.
 */
export class Outbox {
  readonly #options: OutboxOptions
  /** By id in hex, while there is something that they have not taken. */
  readonly #agents = new Map<string, Target>()
  readonly #groups = new Map<string, Target>()
  readonly #recipients: Recipients
  readonly #scans = new Map<Namespace, Promise<void>>()
  readonly #queue: Target[] = []
  #busy = 0
  readonly #running = new Set<Promise<unknown>>()
  readonly #ending = new AbortController()
  readonly #stopListening: () => void

  constructor(options: OutboxOptions) {
    this.#options = options
    this.#recipients = new Recipients(options.self)
    this.#stopListening = options.network.onPeer((agent, connected) => {
      if (connected) this.#met(agent)
    })
  }

  /** Takes all shares of a namespace into the outbox: when it is opened, and when more may be readable. What was answered of those that ended is forgotten. */
  async look(log: Namespace): Promise<void> {
    const { deliveries } = this.#options
    await this.#scan(log, async (admit) => {
      const inForce = new Set<string>()
      for await (const share of log.sharing.all({ signal: this.#ending.signal })) {
        inForce.add(toHex(capabilityName(share.claims)))
        admit(share)
      }
      await deliveries.forget(log.id, (name) => !inForce.has(name))
    })
  }

  /** Takes the shares of some artifacts of a namespace into the outbox. */
  async lookAt(log: Namespace, artifacts: readonly Uint8Array[]): Promise<void> {
    await this.#scan(log, async (admit) => {
      for (const artifact of artifacts) {
        for (const { share, refusal } of await log.sharing.of(artifact)) if (refusal === undefined) admit(share)
      }
    })
  }

  /** Takes shares in that this agent just gave: to those it had given up as well, and to groups once more, for any member may have taken out what was written down. */
  tell(log: Namespace, shares: readonly Share[]): void {
    const { deliveries } = this.#options
    const again = shares.filter(
      ({ claims }) => claims.audience[0]?.kind === 'group' && this.stateOf(claims) === 'taken',
    )
    const names = again.map(({ claims }) => ({ namespace: log.id, name: capabilityName(claims) }))
    const forgetting = names.length === 0 ? undefined : deliveries.remove(names)
    this.#tellNow(
      log,
      shares.filter((share) => !again.includes(share)),
    )
    if (forgetting === undefined) return
    const telling = forgetting.then(
      () => this.#tellNow(log, again),
      (error) => this.#warn(error),
    )
    void this.#keep(telling)
  }

  #tellNow(log: Namespace, shares: readonly Share[]): void {
    const urgent = new Set<Target>()
    for (const share of shares) {
      const target = this.#admit(log, share)
      if (target === undefined) continue
      if (target.givenUp.size > 0) {
        for (const [name, one] of target.givenUp) target.pending.set(name, one)
        target.givenUp.clear()
        target.fulls = 0
      }
      urgent.add(target)
    }
    this.#hurry(urgent)
  }

  /** Shares have ended: nobody is told of them, and nothing of them is remembered. */
  async ended(log: Namespace, shares: readonly Share[]): Promise<void> {
    const names = shares.map(({ claims }) => {
      const name = capabilityName(claims)
      const target = this.#targetOf(claims)
      if (target !== undefined) this.#drop(target, toHex(name))
      return { namespace: log.id, name }
    })
    await this.#options.deliveries.remove(names)
  }

  /** Forgets what a namespace had: it is about to be closed, for it is to go. */
  async forget(log: Namespace): Promise<void> {
    for (const target of this.#targets()) {
      for (const all of [target.pending, target.givenUp]) {
        for (const [name, one] of all) if (one.log === log) this.#drop(target, name)
      }
    }
    this.#recipients.forget(log)
    await this.#options.deliveries.forget(log.id, () => true)
  }

  /** How it stands with a share; `undefined` for what is not told from here. */
  stateOf(claims: CapabilityClaims): DeliveryState | undefined {
    const { namespace } = claims
    const name = capabilityName(claims)
    const answer = this.#options.deliveries.answerOf({ namespace, name })
    if (answer !== undefined) return answer
    const target = this.#targetOf(claims)
    const pending = target?.pending.get(toHex(name))
    if (pending !== undefined) return pending.takers.size > 0 ? 'taken' : 'waiting'
    return target?.givenUp.has(toHex(name)) === true ? 'full' : undefined
  }

  /** Whether this agent shares something with another, who may have taken it long ago. */
  isRecipient(agent: Uint8Array): boolean {
    return this.#recipients.has(agent)
  }

  /** Who has not taken everything. */
  get undelivered(): Undelivered[] {
    return [...this.#targets()].flatMap(({ kind, id, pending, givenUp }) => {
      const waiting = [...pending.values()].filter(({ takers }) => takers.size === 0).length
      return [
        ...(waiting > 0 ? [{ kind, id, state: 'waiting' as const, count: waiting }] : []),
        ...(givenUp.size > 0 ? [{ kind, id, state: 'full' as const, count: givenUp.size }] : []),
      ]
    })
  }

  /** Ends what is under way. Idempotent. */
  async close(): Promise<void> {
    this.#ending.abort()
    this.#stopListening()
    for (const target of this.#targets()) target.stopTimer()
    while (this.#running.size > 0) await Promise.allSettled(this.#running)
  }

  *#targets(): Generator<Target> {
    yield* this.#agents.values()
    yield* this.#groups.values()
  }

  #targetOf({ audience: [only] }: CapabilityClaims): Target | undefined {
    return only && this.#of(only.kind).get(toHex(only.id))
  }

  #of(kind: Target['kind']): Map<string, Target> {
    return kind === 'group' ? this.#groups : this.#agents
  }

  /** One look at a namespace after the other. */
  async #scan(log: Namespace, read: (admit: (share: Share) => void) => Promise<void>): Promise<void> {
    const before = this.#scans.get(log) ?? Promise.resolve()
    const scan = before.then(async () => {
      const urgent = new Set<Target>()
      try {
        await read((share) => {
          const target = this.#admit(log, share)
          if (target !== undefined) urgent.add(target)
        })
      } catch (error) {
        // It is tried again when the namespace is opened.
        if (!this.#ending.signal.aborted && !log.closed) this.#warn(error)
      }
      this.#hurry(urgent)
    })
    this.#scans.set(log, scan)
    try {
      await this.#keep(scan)
    } finally {
      if (this.#scans.get(log) === scan) this.#scans.delete(log)
    }
  }

  /** Gives who is to be told of a share, unless that is known already. */
  #admit(log: Namespace, share: Share): Target | undefined {
    const { deliveries, self } = this.#options
    const { claims } = share
    this.#recipients.add(log, share)
    const [audience] = claims.audience
    const name = capabilityName(claims)
    const isNone = claims.kind !== 'share' || audience === undefined
    if (isNone || deliveries.answerOf({ namespace: claims.namespace, name }) !== undefined) return undefined
    const { kind, id } = audience
    if (kind === 'agent' && equalBytes(id, self)) return undefined
    const target = this.#targetOf(claims) ?? {
      ...{ kind, id, pending: new Map(), givenUp: new Map() },
      ...{ failures: 0, fulls: 0, state: 'idle' as const, stopTimer: () => {} },
    }
    this.#of(kind).set(toHex(id), target)
    if (target.pending.has(toHex(name)) || target.givenUp.has(toHex(name))) return target
    target.pending.set(toHex(name), { log, share, takers: new Set() })
    return target
  }

  #hurry(targets: Iterable<Target>): void {
    for (const target of targets) {
      target.failures = 0
      this.#go(target)
    }
  }

  #met(agent: Uint8Array): void {
    const own = this.#agents.get(toHex(agent))
    if (own !== undefined) this.#go(own)
    for (const target of this.#groups.values()) {
      const peers = this.#options.peersOfGroup(target.id)
      if (peers.some((peer) => equalBytes(peer.agent, agent))) this.#go(target)
    }
  }

  /** Has a target told as soon as its turn comes; one that has no room waits. */
  #go(target: Target): void {
    if (target.state !== 'idle' || target.pending.size === 0 || this.#ending.signal.aborted) return
    target.state = 'queued'
    target.stopTimer()
    this.#queue.push(target)
    this.#next()
  }

  #next(): void {
    while (this.#busy < maxDeliveriesAtOnce && !this.#ending.signal.aborted) {
      const target = this.#queue.shift()
      if (target === undefined) return
      this.#busy += 1
      target.state = 'busy'
      const delivering = this.#deliverTo(target).catch((error) => {
        if (!this.#ending.signal.aborted) this.#warn(error)
        return 'unreached' as const
      })
      void this.#keep(
        delivering.then((result) => {
          this.#busy -= 1
          this.#after(target, result)
          this.#next()
        }),
      )
    }
  }

  /** Decides when a target is told next: later, while there is something that this agent shared itself. */
  #after(target: Target, result: Told): void {
    const { scheduler, chance, self } = this.#options
    target.state = 'idle'
    target.fulls = result === 'full' ? target.fulls + 1 : result === 'unreached' ? target.fulls : 0
    if (target.fulls >= maxFullAnswers) {
      for (const [name, one] of target.pending) target.givenUp.set(name, one)
      target.pending.clear()
    }
    if (target.pending.size === 0) {
      if (target.givenUp.size === 0) this.#of(target.kind).delete(toHex(target.id))
      return
    }
    const again = (bounds: typeof deliveryBackoffMs, failures: number): void => {
      const delayMs = Math.min(bounds.to, bounds.from * 2 ** Math.min(failures, 20)) * (0.5 + chance() / 2)
      target.stopTimer = scheduler.setTimer(delayMs, () => {
        target.state = 'idle'
        this.#go(target)
      })
    }
    if (result === 'full') {
      target.state = 'no room'
      again(fullBackoffMs, target.fulls - 1)
      return
    }
    if (result === 'told') {
      // More came meanwhile.
      this.#go(target)
      return
    }
    const isOwn = [...target.pending.values()].some(({ share }) => equalBytes(share.claims.issuer, self))
    if (isOwn) again(deliveryBackoffMs, target.failures++)
  }

  async #deliverTo(target: Target): Promise<Told> {
    let told: Told = 'told'
    for (const [log, all] of byLog(target.pending)) {
      for (let at = 0; at < all.length; at += maxEnvelopesInDelivery) {
        const some = await this.#deliverSome(target, log, all.slice(at, at + maxEnvelopesInDelivery))
        if (some === 'unreached' || some === 'full') return some
        if (some === 'in part') told = some
      }
    }
    return told
  }

  async #deliverSome(target: Target, log: Namespace, some: readonly Pending[]): Promise<Told> {
    const { peersOf, deposit, deliveries } = this.#options
    const open: { readonly pending: Pending; readonly envelope: Uint8Array }[] = []
    for (const pending of some) {
      const { share } = pending
      const envelope = log.sharing.isInForce(share) ? await log.sharing.envelopeOf(share) : undefined
      if (envelope === undefined) this.#drop(target, toHex(capabilityName(share.claims)))
      else open.push({ pending, envelope })
    }
    if (open.length === 0) return 'told'
    const group = target.kind === 'group' ? target.id : undefined
    const delivery = { envelopes: open.map(({ envelope }) => envelope), group, peers: peersOf(log) }
    const own = group && (await deposit(group, delivery))
    const all = open.map(({ pending }) => pending)
    const receipts =
      own ??
      (await (group === undefined ? this.#askAgent(target.id, delivery) : this.#askGroup(target.id, delivery, all)))
    if (receipts === undefined) return 'unreached'
    for (const answer of ['taken', 'refused'] as const) {
      // Of a group another may take it.
      if (answer === 'refused' && target.kind === 'group') continue
      const answered = all.filter((_, at) => receipts[at] === answer)
      const names = answered.map(({ share: { claims } }) => ({
        namespace: claims.namespace,
        name: capabilityName(claims),
      }))
      await deliveries.add(names, answer)
      for (const { name } of names) this.#drop(target, toHex(name))
    }
    if (receipts.includes('full')) return 'full'
    if (receipts.includes('in part')) return 'in part'
    return receipts.every((receipt) => receipt === 'refused') && target.kind === 'group' ? 'unreached' : 'told'
  }

  #drop(target: Target, name: string): void {
    target.pending.delete(name)
    target.givenUp.delete(name)
    const isOver = target.pending.size + target.givenUp.size === 0
    if (!isOver || target.state === 'busy' || target.state === 'queued') return
    target.stopTimer()
    this.#of(target.kind).delete(toHex(target.id))
  }

  /** `undefined` when it could not be reached. */
  async #askAgent(agent: Uint8Array, delivery: Delivery): Promise<readonly Receipt[] | undefined> {
    const { network, scheduler } = this.#options
    const { signal } = this.#ending
    try {
      return await deliver({ network, scheduler, signal }, agent, delivery)
    } catch (error) {
      signal.throwIfAborted()
      if (!isHubError(error)) throw error
      return undefined
    }
  }

  /**
   * Delivers to some of a group until each envelope was taken by who decides there, or by two others; or by one, when nobody else is known: who just
   * says so keeps it from no group that has somebody else. `undefined` when nobody could be reached.
   */
  async #askGroup(
    group: Uint8Array,
    delivery: Delivery,
    all: readonly Pending[],
  ): Promise<readonly (Receipt | 'in part')[] | undefined> {
    const { network, peersOfGroup, decidersOf, self } = this.#options
    const deciders = new Set((await decidersOf(group)).map(toHex))
    const known = new Map([...deciders].map((name) => [name, [] as readonly string[]]))
    for (const { agent, addresses } of peersOfGroup(group)) known.set(toHex(agent), addresses)
    known.delete(toHex(self))
    const isTaken = ({ takers }: Pending): boolean =>
      takers.size >= takersOfGroup || [...takers].some((name) => deciders.has(name))
    const open = [...known].filter(([name]) => !all.every(({ takers }) => takers.has(name)))
    let receipts: readonly Receipt[] | undefined
    let isEverybodyAsked = open.length <= maxHoldersAsked
    for (const [name, addresses] of open.slice(0, maxHoldersAsked)) {
      if (all.every(isTaken)) break
      const agent = new Uint8Array(Buffer.from(name, 'hex'))
      network.addAddresses(agent, addresses)
      const answer = await this.#askAgent(agent, delivery)
      if (answer === undefined) isEverybodyAsked = false
      else receipts = answer
      for (const [at, one] of all.entries()) if (answer?.[at] === 'taken') one.takers.add(name)
    }
    const isAnyTaken = all.some(({ takers }) => takers.size > 0)
    if (receipts === undefined && !isAnyTaken) return undefined
    return all.map((one, at) => {
      if (isTaken(one) || (isEverybodyAsked && one.takers.size > 0)) return 'taken'
      return one.takers.size > 0 ? 'in part' : (receipts?.[at] ?? 'refused')
    })
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

function byLog(pending: ReadonlyMap<string, Pending>): Map<Namespace, Pending[]> {
  const found = new Map<Namespace, Pending[]>()
  for (const one of pending.values()) {
    const some = found.get(one.log)
    if (some === undefined) found.set(one.log, [one])
    else some.push(one)
  }
  return found
}
