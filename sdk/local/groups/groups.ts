import { type GroupProof, proveGroupMember } from '../../../src/capability/index.ts'
import {
  equalBytes,
  formatGroupId,
  formatNamespaceId,
  isGroupId,
  parseGroupId,
  parseNamespaceId,
  toHex,
} from '../../../src/encoding/index.ts'
import { ArtifactHubError, isHubError } from '../../../src/errors.ts'
import { type AgentKey, isTicket, parseTicket, type Ticket, ticketKindText } from '../../../src/identity/index.ts'
import type { GroupDescriptor } from '../../../src/membership/index.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import type { Joins } from '../replication/joins.ts'
import type { Replication } from '../replication/replication.ts'
import { groupRequestName, Requests } from '../sharing/requests.ts'
import { Background } from './background.ts'
import { Claims } from './claims.ts'
import { Ends } from './ends.ts'
import { placeholderName, readGroupName } from './group-name.ts'
import { GroupNamespaces, isNothingAhead, type LeftOutNamespace } from './group-namespaces.ts'
import { GroupInvitations } from './invitations.ts'
import { deleteLeft, markLeft, putLeft } from './left.ts'
import { GroupNews } from './news.ts'
import { Returns } from './returns.ts'
import { Upkeep } from './upkeep.ts'
import { Vouched } from './vouched.ts'

/** A group and, where it came from a ticket or a contact, agents who can be asked about it. */
interface NamedGroup {
  /** 32 bytes. */
  readonly group: Uint8Array
  readonly name: string | undefined
  readonly peers: readonly Uint8Array[]
}

/** Groups on this node: those that its agent is in, and those that it shares with from outside. */
export class Groups implements AsyncDisposable {
  readonly replication: Replication
  /** What waits to be accepted. */
  readonly requests: Requests
  readonly #vouched: Vouched
  readonly #namespaces: GroupNamespaces
  readonly #invitations: GroupInvitations
  readonly #news: GroupNews
  readonly #upkeep: Upkeep
  readonly #ends: Ends
  readonly #returns: Returns
  readonly #background: Background
  readonly #claims = new Claims()
  readonly #stopObserving: () => void
  readonly #subscriptions = new Map<OpenNamespace, () => void>()

  private constructor(replication: Replication, vouched: Vouched, requests: Requests) {
    const { env, namespaces } = replication
    this.replication = replication
    this.requests = requests
    this.#vouched = vouched
    this.#background = new Background((error) =>
      env.warn?.('groups could not be kept in step', { error: String(error) }),
    )
    const background = this.#background
    this.#namespaces = new GroupNamespaces(replication, vouched, background, this.#claims)
    this.#returns = new Returns(replication, background, this.#claims, () => this.#namespaces.lookAtAll())
    this.#ends = new Ends(replication, background, (namespace) => this.#returns.askAfter(namespace))
    this.#news = new GroupNews(replication)
    this.#upkeep = new Upkeep(replication, (namespace) => this.#authChanged(namespace))
    replication.follows.useGroups(this)
    this.#stopObserving = namespaces.observe({
      opened: (namespace) => this.#opened(namespace),
      closing: async (namespace) => {
        this.#subscriptions.get(namespace)?.()
        this.#subscriptions.delete(namespace)
        await this.#vouched.remove(namespace.row.id)
        background.run(async () => this.#namespaces.lookAgain())
      },
    })
    for (const namespace of namespaces.everything) this.#opened(namespace)
    const accept = (group: Uint8Array, from: Uint8Array, signal: AbortSignal) => this.accept(group, from, signal)
    this.#invitations = new GroupInvitations({ replication, vouched, requests, background, accept })
  }

  /** @throws CORRUPT, UNSUPPORTED_FORMAT */
  static async open(replication: Replication): Promise<Groups> {
    const { env, namespaces } = replication
    const vouched = await Vouched.open(env.store)
    await vouched.keepOnly(new Set(namespaces.everything.map(({ row }) => toHex(row.id))))
    const groups = new Groups(replication, vouched, await Requests.open(env.store))
    await groups.#ends.begin()
    return groups
  }

  /** As those of `Joins`, without what may turn out to be a group's, or of what this agent left. */
  get invitations(): Joins['invitations'] {
    return this.replication.joins.invitations.filter(
      ({ namespace }) => !this.#invitations.isLookingInto(parseNamespaceId(namespace)),
    )
  }

  /** What is here on the word of others, and what is not, for want of room. */
  get vouched(): { readonly logs: number; readonly leftOut: readonly LeftOutNamespace[] } {
    return { logs: this.#vouched.size, leftOut: this.#namespaces.leftOut }
  }

  /**
   * The epoch that a group is in. Of one that this agent is not in, somebody of it is asked first, if anybody can be reached.
   * @throws UNAVAILABLE when nothing is known of the group and nobody answers; the signal's reason
   */
  async descriptorOf(
    { group, peers }: Pick<NamedGroup, 'group' | 'peers'>,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<GroupDescriptor> {
    const { descriptors } = this.#news
    if ((await descriptors.own(group)) === undefined) await this.#news.ask(group, peers, options.signal)
    const known = await descriptors.newest(group)
    if (known !== undefined) return known.descriptor
    throw new ArtifactHubError('UNAVAILABLE', 'nobody of that group could be asked for its key', {
      details: { group: formatGroupId(group) },
    })
  }

  /** The owner and admins of a group, as far as that is proven here. */
  async decidersOf(group: Uint8Array): Promise<Uint8Array[]> {
    return await this.#news.descriptors.who(group)
  }

  /**
   * As `descriptorOf`, for sealing to the group in a namespace, which records it.
   * @throws as `descriptorOf`; what the log throws
   */
  async prepare(
    { log }: OpenNamespace,
    named: Pick<NamedGroup, 'group' | 'peers'>,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<GroupDescriptor> {
    const descriptor = await this.descriptorOf(named, options)
    const known = await this.#news.descriptors.newest(named.group)
    if (known !== undefined) await log.descriptors.record(known.shown)
    return log.descriptors.newest(named.group) ?? descriptor
  }

  /**
   * Gives a group that this agent is in a role in a namespace: from now on its members have it, each by a grant. `none` ends it.
   * @throws ACCESS_DENIED, TOO_LARGE
   */
  async setRole(
    namespace: OpenNamespace,
    { log }: OpenNamespace,
    role: Parameters<OpenNamespace['log']['descriptors']['record']>[1],
  ): Promise<void> {
    const shown = await log.descriptors.own()
    if (shown === undefined) throw new ArtifactHubError('CONFLICT', 'the group is not in step with its members yet')
    await namespace.log.descriptors.record(shown, role)
    await this.#upkeep.keep(namespace, role === 'none')
  }

  /**
   * Ends a group's role in a namespace, whether or not this agent is in the group.
   * @throws ACCESS_DENIED
   */
  async endRole(namespace: OpenNamespace, group: Uint8Array): Promise<void> {
    const known = await this.#news.descriptors.newest(group)
    if (known === undefined)
      throw new ArtifactHubError('CONFLICT', 'what the namespace knows of the group is not all here')
    await namespace.log.descriptors.record(known.shown, 'none')
    await this.#upkeep.keep(namespace, true)
  }

  /** The epoch that a group (32 bytes) is in; `undefined` when this agent is not in it, or lacks its key. */
  epochOf(group: Uint8Array): Uint8Array | undefined {
    const log = this.#own(group)?.log
    const epoch = log?.membership.groups.epoch?.epoch
    if (epoch === undefined || log?.roleOf(this.replication.env.agent.publicKey) === undefined) return undefined
    return this.canOpen(group, epoch) ? epoch : undefined
  }

  /** Whether this agent has the key of that epoch (id, 16 bytes) of a group. */
  canOpen(group: Uint8Array, epoch: Uint8Array): boolean {
    return this.#own(group)?.log.keyring.epoch(epoch) !== undefined
  }

  /** Proves to a provider that this agent is in a group (32 bytes each); `undefined` when it is not, or lacks the epoch's secret. */
  proveMember({ group, provider }: { group: Uint8Array; provider: Uint8Array }): GroupProof | undefined {
    const self = this.replication.env.agent.publicKey
    const log = this.#own(group)?.log
    const epoch = log?.membership.groups.epoch?.epoch
    const key = epoch && log?.keyring.groupKey(epoch)
    if (epoch === undefined || key === undefined || log?.roleOf(self) === undefined) return undefined
    // It may know an older epoch only, and would refuse; and it is to hear of the next.
    if (!equalBytes(provider, self)) this.#news.listens(group, provider)
    return proveGroupMember(key, { group, epoch, requester: self, provider })
  }

  /** The keys of the epochs of a group (32 bytes) that this agent can open. */
  *keysOf(group: Uint8Array): Generator<{ readonly epoch: Uint8Array; readonly key: AgentKey }> {
    const log = this.#own(group)?.log
    for (const { id } of log?.membership.epochs ?? []) {
      const key = log?.keyring.groupKey(id)
      if (key !== undefined) yield { epoch: id, key }
    }
  }

  /**
   * The group that a text names: one of this agent's by name or id, a contact's name, a group's ticket (whose addresses are remembered), or any group's id.
   * @throws NOT_FOUND for a name that is not known; CONFLICT for one that two groups have; INVALID_ARGUMENT for a damaged id or ticket, and for a ticket
   *   of something else
   */
  resolve(text: string): NamedGroup {
    const { namespaces, contacts, env } = this.replication
    if (isTicket(text.trim())) {
      const { kind, id, peers, name } = parseTicket(text)
      if (kind !== 'group')
        throw new ArtifactHubError(
          'INVALID_ARGUMENT',
          `this is the ticket of ${ticketKindText(kind)}, and a group’s is needed`,
        )
      for (const { agent, addresses } of peers) env.network.addAddresses(agent, addresses)
      return { group: id, name, peers: peers.map(({ agent }) => agent) }
    }
    const id = isGroupId(text) ? parseGroupId(text) : namespaces.groups.find(({ row }) => row.name === text)?.row.id
    const contact = contacts.groups.find(({ name, group }) =>
      id === undefined ? name === text : equalBytes(group, id),
    )
    const group = id ?? contact?.group
    const named = contacts.groups.find(({ name }) => name === text)?.group
    if (group !== undefined && named !== undefined && !equalBytes(group, named)) {
      throw new ArtifactHubError(
        'CONFLICT',
        `two groups are called ${JSON.stringify(text)} here: name the one by its id`,
        {
          details: { groups: [group, named].map(formatGroupId) },
        },
      )
    }
    if (group !== undefined) {
      return { group, name: this.nameOf(group), peers: contact?.peers.map(({ agent }) => agent) ?? [] }
    }
    const shown = JSON.stringify(text.slice(0, 200))
    throw new ArtifactHubError(
      'NOT_FOUND',
      `no group is named ${shown}, and it is neither the id of one nor a ticket`,
      {
        details: { group: text.slice(0, 200) },
      },
    )
  }

  /** What this node calls a group. */
  nameOf(group: Uint8Array): string | undefined {
    return this.#own(group)?.row.name ?? this.replication.contacts.groupOf(group)?.name
  }

  /**
   * Joins a group that somebody says this agent is in.
   * @throws ACCESS_DENIED, UNAVAILABLE, ALREADY_EXISTS, CONFLICT; INVALID_ARGUMENT for what is no group
   */
  async accept(id: Uint8Array, from: Uint8Array, signal: AbortSignal | undefined): Promise<OpenNamespace> {
    const { replication } = this
    const name = replication.namespaces.nameFor('group', id, placeholderName(id))
    const ticket = { kind: 'group' as const, id, peers: [{ agent: from, addresses: [] }], name }
    const group = await replication.join(ticket, { isWaiting: false, signal })
    await this.#takeName(group)
    return group
  }

  /**
   * Joins a namespace for somebody here. One that groups brought, or are about to bring, is the node's own from then on.
   * @throws as `Replication.join`
   */
  async joinNamespace(ticket: Ticket, options: Parameters<Replication['join']>[1]): Promise<OpenNamespace> {
    const { namespaces, env } = this.replication
    const isBrought = this.#vouched.of(ticket.id) !== undefined
    return await this.#leaveTo(ticket.id, async (isBack) => {
      await env.store.batch([deleteLeft(ticket.id)], { sync: true })
      const here = namespaces.all.find(({ row }) => equalBytes(row.id, ticket.id))
      if (here === undefined || !(isBrought || isBack)) return await this.replication.join(ticket, options)
      await this.replication.know(here, ticket.peers)
      const policy = this.replication.policyOf(here)
      if (isNothingAhead(policy)) await this.replication.setPolicy(here, { fetch: policy.fetch })
      if (options.name !== undefined) await namespaces.rename(here, options.name)
      return here
    })
  }

  /**
   * Leaves a namespace to somebody here who names it, undisturbed by what would bring it: it counts as the node's own once that is done.
   * @param work told whether it came back of itself and nobody here joined it since
   * @throws CONFLICT; what `work` throws
   */
  async #leaveTo<T>(id: Uint8Array, work: (isBack: boolean) => Promise<T>): Promise<T> {
    let isDone = false
    try {
      return await this.#claims.during(id, async () => {
        await this.#namespaces.giveWay(id)
        const result = await work(await this.#returns.giveWay(id))
        isDone = true
        await this.#vouched.remove(id)
        return result
      })
    } finally {
      // If it did not come of it, others may bring it all the same.
      this.#returns.resume(id, isDone)
      this.#namespaces.lookAtAll()
    }
  }

  /** Joins a group for somebody here, and what it has a role in. @throws as `Replication.join` */
  async join(ticket: Ticket, options: Parameters<Replication['join']>[1]): Promise<OpenNamespace> {
    const group = await this.replication.join(ticket, options)
    await this.replication.env.store.batch([deleteLeft(ticket.id)], { sync: true })
    this.#namespaces.look(group)
    return group
  }

  /** Forgets a namespace, all of it: no group brings it back. @throws NOT_FOUND; CONFLICT for the current one, and for one that is being joined or left */
  async leaveNamespace(nameOrId: string): Promise<void> {
    const { namespaces, env } = this.replication
    const { id } = namespaces.findKept('namespace', nameOrId).row
    const isBrought = this.#vouched.of(id) !== undefined
    await this.#leaveTo(id, async () => {
      try {
        // By its id: another may have come to be called so meanwhile.
        await namespaces.delete(formatNamespaceId(id), markLeft)
      } catch (error) {
        // It was not all here yet, and went when it was not to come any more.
        if (!isBrought || !isHubError(error, 'NOT_FOUND')) throw error
        await env.store.batch([putLeft(id)], { sync: true })
      }
    })
  }

  /** Forgets a group, and ends what this agent has by way of it alone. @throws NOT_FOUND */
  async leave(nameOrId: string): Promise<void> {
    const { namespaces, env } = this.replication
    const group = namespaces.findKept('group', nameOrId)
    // From here on nothing brings them back.
    await env.store.batch([putLeft(group.row.id)], { sync: true })
    await this.#namespaces.leave(group)
    await this.#ends.leave(group.row.id)
    await namespaces.discard(group)
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#invitations.close()
    this.#ends.close()
    this.#returns.close()
    this.#stopObserving()
    for (const stop of this.#subscriptions.values()) stop()
    this.#subscriptions.clear()
    await this.#background.close()
    await this.#upkeep.close()
    await this.#news.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #own(group: Uint8Array): OpenNamespace | undefined {
    return this.replication.namespaces.groups.find(({ row }) => equalBytes(row.id, group))
  }

  #opened(namespace: OpenNamespace): void {
    if (namespace.row.kind !== 'group') return
    this.#background.run(() => this.requests.remove(groupRequestName(namespace.row.id)))
    this.#namespaces.look(namespace)
    const stop = namespace.log.subscribe(({ artifacts, keysGained }) => {
      if (artifacts.length > 0 || keysGained) this.#namespaces.look(namespace)
    })
    this.#subscriptions.set(namespace, stop)
  }

  #authChanged(namespace: OpenNamespace): void {
    this.#ends.look(namespace)
    if (namespace.row.kind === 'group') {
      this.#news.spread(namespace.row.id)
      this.#namespaces.look(namespace)
      this.#background.run(() => this.#takeName(namespace))
    } else {
      for (const group of namespace.log.membership.groups.recorded) this.#news.spread(group)
    }
  }

  /** A group that was joined without a ticket is called what its own log says, as soon as that is here. */
  async #takeName(group: OpenNamespace): Promise<void> {
    if (!group.row.name.startsWith(placeholderName(group.row.id)) || group.log.closed) return
    const name = await readGroupName(group)
    const { contacts, namespaces } = this.replication
    // What is shared with a group that somebody here named must not go to one that others named so.
    const isAnothers = contacts.groups.some((one) => one.name === name && !equalBytes(one.group, group.row.id))
    if (name !== undefined && !isAnothers) await namespaces.rename(group, name)
  }
}
