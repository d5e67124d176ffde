import { type CapabilityClaims, capabilityName, decodeEnvelope, type Envelope } from '../../../src/capability/index.ts'
import { equalBytes, toHex } from '../../../src/encoding/index.ts'
import { type KnownPeer, type QuestionServer, serveInbox } from '../../../src/exchange/index.ts'
import { forgetEveryMs, maxFollows, maxTicketPeers, vainRecordPauseMs } from '../../../src/limits.ts'
import type { Namespace, Share } from '../../../src/namespace/index.ts'
import { Background } from '../groups/background.ts'
import type { Groups } from '../groups/groups.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import { ticketAddresses } from '../replication/ticket-addresses.ts'
import { Deliveries } from './deliveries.ts'
import { GroupShares } from './group-shares.ts'
import { Inbox } from './inbox.ts'
import { type DeliveryState, Outbox, type Undelivered } from './outbox.ts'

/** Where sharing stands on this node. */
export interface SharingStatus {
  /** Shared artifacts that are followed, and that were and ended. */
  readonly followed: number
  readonly ended: number
  /** Senders (hex) of whom as many are followed as may be. */
  readonly fullSenders: readonly string[]
  /** What is shared with groups and is not followed, for there is no room. */
  readonly leftOut: number
  /** Who was told of shares and has not taken them. */
  readonly undelivered: readonly Undelivered[]
}

interface Look {
  /** There is more to see since it began. */
  isStale: boolean
  stop: () => void
}

/** What one agent shares with others and others with it, beside the namespaces that it is a member of. */
export class Sharing implements AsyncDisposable {
  readonly groups: Groups
  readonly inbox: Inbox
  readonly #outbox: Outbox
  readonly #groupShares: GroupShares
  readonly #server: QuestionServer | undefined
  readonly #background: Background
  readonly #subscriptions = new Map<Namespace, () => void>()
  readonly #stopObserving: () => void
  #stopForgetting = (): void => {}
  /** By group, shares that are not followed, for there is no room. */
  readonly #leftOut = new Map<Namespace, number>()
  /** Names (hex) of shares in groups' logs that are this agent's own. */
  readonly #own = new Set<string>()
  /** Groups that are looked at, or were just now. */
  readonly #looks = new Map<Namespace, Look>()
  #isMakingRoom = false

  private constructor(groups: Groups, deliveries: Deliveries) {
    const { replication, requests } = groups
    const { env, namespaces, contacts } = replication
    const { network, scheduler, now } = env
    const self = env.agent.publicKey
    const isContact = (agent: Uint8Array): boolean => contacts.nameOf(agent) !== undefined
    this.groups = groups
    this.#background = new Background((error) =>
      env.warn?.('what is shared could not be kept in step', { error: String(error) }),
    )
    this.#groupShares = new GroupShares({
      env,
      namespaces,
      isContact,
      isDropped: (name) => requests.isDropped(name),
      hasEnded: (name) => replication.follows.hasEnded(name),
    })
    this.inbox = new Inbox({
      self,
      now,
      requests,
      isContact,
      isHeld: (name) => replication.follows.has(name) && !replication.follows.mayRevive(name),
      hold: (envelopes, peers) => this.#hold(envelopes, peers),
      depositAll: (group, delivery) => this.#groupShares.depositAll(group, delivery),
      dropInGroup: (group, name) => this.#groupShares.drop(group, name),
      joinGroup: async (group, from, signal) => void (await groups.accept(group, from, signal)),
    })
    this.#outbox = new Outbox({
      network,
      scheduler,
      chance: () => (env.random(1)[0] as number) / 256,
      self,
      deliveries,
      peersOf: (log) => this.#peersOf(log),
      peersOfGroup: (group) => contacts.groupOf(group)?.peers ?? [],
      decidersOf: (group) => groups.decidersOf(group),
      deposit: (group, delivery) => this.#groupShares.depositAll(group, delivery),
      warn: (message, fields) => env.warn?.(message, fields),
    })
    if (env.isOnline) {
      this.#server = serveInbox({
        network,
        scheduler,
        isKnown: isContact,
        receive: (delivery, from, signal) => this.inbox.receive(delivery, from, signal),
      })
    }
    const stopFollows = replication.follows.observe({ ended: () => this.#madeRoom() })
    const stopNamespaces = namespaces.observe({
      opened: (namespace) => this.#opened(namespace),
      closing: async (namespace) => await this.#closing(namespace),
    })
    this.#stopObserving = () => {
      stopFollows()
      stopNamespaces()
      this.#stopForgetting()
    }
    for (const namespace of namespaces.everything) this.#opened(namespace)
    this.#forgetDaily()
  }

  /** @throws CORRUPT */
  static async open(groups: Groups): Promise<Sharing> {
    const { store } = groups.replication.env
    return new Sharing(groups, await Deliveries.open(store))
  }

  /** Tells those that something was just shared with. */
  tell(log: Namespace, shares: readonly Share[]): void {
    this.#outbox.tell(log, shares)
  }

  /** Shares of this node's namespaces have ended. */
  ended(log: Namespace, shares: readonly Share[]): void {
    this.#background.run(() => this.#outbox.ended(log, shares))
  }

  /** How it stands with telling whoever a share is for; `undefined` for what is not told from here. */
  deliveryOf(claims: CapabilityClaims): DeliveryState | undefined {
    return this.#outbox.stateOf(claims)
  }

  /** Whether this agent shares something with another by name, or follows what that one shares: nothing that only waits in the inbox. */
  isParty(agent: Uint8Array): boolean {
    return this.#outbox.isRecipient(agent) || this.groups.replication.follows.isSender(agent)
  }

  /** Who has not taken what is shared with them, and what of others is not followed for want of room. */
  get status(): SharingStatus {
    const leftOut = [...this.#leftOut.values()].reduce((sum, count) => sum + count, 0)
    return { ...this.groups.replication.follows.counts, leftOut, undelivered: this.#outbox.undelivered }
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#stopObserving()
    for (const stop of this.#subscriptions.values()) stop()
    this.#subscriptions.clear()
    await this.#server?.close()
    await this.#outbox.close()
    await this.#background.close()
    for (const { stop } of this.#looks.values()) stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** @param by on whose word, if it is not that of whoever shared it */
  async #hold(
    envelopes: readonly Envelope[],
    peers: readonly KnownPeer[],
    by?: Uint8Array,
  ): Promise<('taken' | 'full')[]> {
    const followed = await this.groups.replication.follows.followAll(
      envelopes.map(({ capability, message }) => ({ capability, peers, message, by })),
    )
    return followed.map((one) => (typeof one === 'object' ? 'taken' : 'full'))
  }

  /** What was left out of what is shared with groups may be followed now. */
  #madeRoom(): void {
    if (this.#leftOut.size === 0 || this.#isMakingRoom) return
    this.#isMakingRoom = true
    this.#background.run(async () => {
      const { namespaces } = this.groups.replication
      await namespaces.settled()
      this.#isMakingRoom = false
      for (const group of namespaces.groups) if (this.#leftOut.has(group.log)) this.#look(group)
    })
  }

  /** A node may run for months: what was delivered and has ended is forgotten every day. */
  #forgetDaily(): void {
    const { env, namespaces } = this.groups.replication
    this.#stopForgetting = env.scheduler.setTimer(forgetEveryMs, () => {
      for (const { log } of namespaces.all) this.#background.run(() => this.#outbox.look(log))
      this.#forgetDaily()
    })
  }

  #opened(namespace: OpenNamespace): void {
    const { log, row } = namespace
    if (log.partial !== undefined) return
    const isGroup = row.kind === 'group'
    const stop = log.subscribe(({ shared, received, artifacts, keysGained }) => {
      if (isGroup) {
        if (artifacts.length > 0 || keysGained) this.#look(namespace)
      } else if (keysGained) this.#background.run(() => this.#outbox.look(log))
      // What this agent shares here it tells of itself.
      else if (received > 0 && shared.length > 0) this.#background.run(() => this.#outbox.lookAt(log, shared))
    })
    this.#subscriptions.set(log, stop)
    if (isGroup) this.#look(namespace)
    else this.#background.run(() => this.#outbox.look(log))
  }

  async #closing({ log, row }: OpenNamespace): Promise<void> {
    this.#subscriptions.get(log)?.()
    this.#subscriptions.delete(log)
    this.#background.run(() => this.#outbox.forget(log))
    if (row.kind !== 'group') return
    this.#leftOut.delete(log)
    this.#looks.get(log)?.stop()
    this.#looks.delete(log)
  }

  /** Has what is shared with a group followed, now or after the look under way: members may write as much as they like of what comes to nothing. */
  #look(group: OpenNamespace): void {
    const { log } = group
    const { scheduler } = this.groups.replication.env
    const before = this.#looks.get(log)
    if (before !== undefined) {
      before.isStale = true
      return
    }
    const look: Look = { isStale: false, stop: () => {} }
    this.#looks.set(log, look)
    let vain = 0
    this.#background.run(async (signal) => {
      try {
        vain = await this.#followGroup(group, signal)
      } finally {
        const again = (): void => {
          this.#looks.delete(log)
          if (look.isStale) this.#look(group)
        }
        if (!signal.aborted && this.#looks.get(log) === look)
          look.stop = scheduler.setTimer(vain * vainRecordPauseMs, again)
      }
    })
  }

  /** Follows what is shared with a group that this agent is in. Gives how many records were read that came to nothing. */
  async #followGroup(group: OpenNamespace, signal: AbortSignal): Promise<number> {
    const { log } = group
    const { follows, contacts, env } = this.groups.replication
    let leftOut = 0
    let vain = 0
    const isSeen = (name: Uint8Array): boolean => {
      const isHere = follows.has(name) || this.inbox.isKnown(name) || this.#own.has(toHex(name))
      if (!isHere) vain += 1
      return isHere
    }
    for await (const share of this.#groupShares.sharesIn(group, isSeen, signal)) {
      const { issuer, audience } = share.capability.claims
      const isFor = audience.some(({ kind, id }) => kind === 'group' && equalBytes(id, log.id))
      if (equalBytes(issuer, env.agent.publicKey)) {
        if (this.#own.size < maxFollows) this.#own.add(toHex(capabilityName(share.capability.claims)))
        continue
      }
      if (!isFor) continue
      // Somebody of the group vouches for it, or whoever shared it is known here: else it waits to be accepted, as to this agent alone.
      const isKnown = contacts.nameOf(issuer) !== undefined || log.roleOf(issuer) !== undefined
      // Anybody can make up agents.
      const by = isKnown || equalBytes(share.author, env.agent.publicKey) ? undefined : share.author
      if (share.isStrange && !isKnown) await this.inbox.keep(share)
      else if ((await this.#hold([decodeEnvelope(share.envelope)], share.peers, by))[0] === 'full') leftOut += 1
      else vain -= 1
    }
    if (log.closed || leftOut === 0) this.#leftOut.delete(log)
    else this.#leftOut.set(log, leftOut)
    return vain
  }

  /** Who can be asked for what is in a namespace: this node, and members of whom it is known where they may be dialled. */
  #peersOf(log: Namespace): KnownPeer[] {
    const { env, contacts, namespaces } = this.groups.replication
    const self = env.agent.publicKey
    const open = namespaces.all.find((one) => one.log === log)
    const known = open === undefined ? [] : this.groups.replication.peersOf(open)
    const own: KnownPeer = { agent: self, addresses: ticketAddresses(env.network) }
    const others = [...known, ...contacts.all].filter(
      ({ agent }) => log.roleOf(agent) !== undefined && !equalBytes(agent, self),
    )
    const peers = new Map([own, ...others].map(({ agent, addresses }) => [toHex(agent), { agent, addresses }]))
    return [...peers.values()].slice(0, maxTicketPeers)
  }
}
