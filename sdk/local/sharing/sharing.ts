import type { Capability, ShareClaims } from '../../../src/capability/index.ts'
import { equalBytes, toHex } from '../../../src/encoding/index.ts'
import { type KnownPeer, type QuestionServer, serveInbox } from '../../../src/exchange/index.ts'
import { maxTicketPeers } from '../../../src/limits.ts'
import type { Namespace } from '../../../src/namespace/index.ts'
import { Background } from '../groups/background.ts'
import type { Groups } from '../groups/groups.ts'
import type { OpenNamespace } from '../namespaces.ts'
import { ticketAddresses } from '../replication/ticket-addresses.ts'
import { Deliveries } from './deliveries.ts'
import { GroupShares } from './group-shares.ts'
import { Inbox } from './inbox.ts'
import { Outbox } from './outbox.ts'
import { Requests } from './requests.ts'

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

  private constructor(groups: Groups, requests: Requests, deliveries: Deliveries) {
    const { replication } = groups
    const { env, namespaces, contacts } = replication
    const { network, scheduler, now } = env
    const self = env.agent.publicKey
    const isContact = (agent: Uint8Array): boolean => contacts.nameOf(agent) !== undefined
    this.groups = groups
    this.#background = new Background((error) =>
      env.warn?.('what is shared could not be kept in step', { error: String(error) }),
    )
    this.#groupShares = new GroupShares({ env, namespaces, isContact })
    this.inbox = new Inbox({
      self,
      now,
      requests,
      isContact,
      isHeld: (name) => replication.follows.has(name),
      hold: (capability, peers) => this.#hold(capability, peers),
      depositAll: (group, delivery) => this.#groupShares.depositAll(group, delivery),
    })
    this.#outbox = new Outbox({
      network,
      scheduler,
      chance: () => (env.random(1)[0] as number) / 256,
      self,
      deliveries,
      peersOf: (log) => this.#peersOf(log),
      peersOfGroup: (group) => contacts.groups.find((one) => equalBytes(one.group, group))?.peers ?? [],
      deposit: async (group, delivery) => (await this.#groupShares.depositAll(group, delivery)) !== undefined,
      warn: (message, fields) => env.warn?.(message, fields),
    })
    if (env.isOnline) {
      this.#server = serveInbox({
        network,
        scheduler,
        receive: (delivery, from, signal) => this.inbox.receive(delivery, from, signal),
      })
    }
    this.#stopObserving = namespaces.observe({
      opened: (namespace) => this.#opened(namespace),
      closing: async (namespace) => await this.#closing(namespace),
    })
    for (const namespace of namespaces.everything) this.#opened(namespace)
  }

  /** @throws CORRUPT */
  static async open(groups: Groups): Promise<Sharing> {
    const { store } = groups.replication.env
    return new Sharing(groups, await Requests.open(store), await Deliveries.open(store))
  }

  /** Tells those that something was just shared with. */
  tell(log: Namespace): void {
    this.#background.run(() => this.#outbox.look(log))
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#stopObserving()
    for (const stop of this.#subscriptions.values()) stop()
    this.#subscriptions.clear()
    await this.#server?.close()
    await this.#outbox.close()
    await this.#background.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #hold({ token }: Capability<ShareClaims>, peers: readonly KnownPeer[]): Promise<void> {
    await this.groups.replication.follows.follow({ token, peers })
  }

  #opened(namespace: OpenNamespace): void {
    const { log, row } = namespace
    if (log.partial !== undefined) return
    const isGroup = row.kind === 'group'
    const stop = log.subscribe(({ shared, artifacts, keysGained }) => {
      if (isGroup) {
        if (artifacts.length > 0 || keysGained) this.#background.run((signal) => this.#followGroup(namespace, signal))
      } else if (shared.length > 0 || keysGained) this.#background.run(() => this.#outbox.look(log))
    })
    this.#subscriptions.set(log, stop)
    this.#background.run((signal) => (isGroup ? this.#followGroup(namespace, signal) : this.#outbox.look(log)))
  }

  async #closing({ log, row }: OpenNamespace): Promise<void> {
    this.#subscriptions.get(log)?.()
    this.#subscriptions.delete(log)
    this.#outbox.forget(log)
    if (row.kind !== 'group') return
    // What is followed lets go of namespaces of its own, one change at a time: after this one.
    this.#background.run(async () => {
      await this.groups.replication.namespaces.settled()
      await this.#leaveGroup(log.id)
    })
  }

  /** Follows what is shared with a group that this agent is in. */
  async #followGroup(group: OpenNamespace, signal: AbortSignal): Promise<void> {
    const { log } = group
    const { follows, contacts, env } = this.groups.replication
    const isSeen = (name: Uint8Array): boolean => follows.has(name) || this.inbox.isKnown(name)
    for await (const share of this.#groupShares.sharesIn(group, isSeen, signal)) {
      const { issuer, audience } = share.capability.claims
      const isFor = audience.some(({ kind, id }) => kind === 'group' && equalBytes(id, log.id))
      if (!isFor || equalBytes(issuer, env.agent.publicKey)) continue
      // Somebody of the group vouches for it, or whoever shared it is known here: else it waits to be accepted, as to this agent alone.
      const isVouched = !share.isStrange || contacts.nameOf(issuer) !== undefined || log.roleOf(issuer) !== undefined
      if (isVouched) await this.#hold(share.capability, share.peers)
      else await this.inbox.keep(share)
    }
  }

  /** What was shared with a group alone is no longer this agent's once it has left. */
  async #leaveGroup(group: Uint8Array): Promise<void> {
    const { follows, env } = this.groups.replication
    for (const { capability } of follows.followed()) {
      const { audience } = capability.claims
      const isOther = ({ kind, id }: (typeof audience)[number]): boolean =>
        kind === 'group' ? !equalBytes(id, group) : equalBytes(id, env.agent.publicKey)
      if (!audience.some(isOther)) await follows.unfollow(capability.claims)
    }
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
