import { equalBytes, formatNamespaceId, toHex } from '../../../src/encoding/index.ts'
import { isHubError } from '../../../src/errors.ts'
import { elapsed } from '../../../src/exchange/index.ts'
import { groupJoinRetryMs, groupJoinsAtOnce } from '../../../src/limits.ts'
import type { FetchPolicy } from '../../peer-client.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import type { Replication } from '../replication/replication.ts'
import type { Background } from './background.ts'
import type { Claims } from './claims.ts'
import { hasLeft } from './left.ts'
import { type NamespaceRecord, namespacesOf } from './namespace-records.ts'
import type { Vouched } from './vouched.ts'

/** A namespace that is not followed though a group's log names it, for there is no room. */
export interface LeftOutNamespace {
  /** 32 bytes each. */
  readonly namespace: Uint8Array
  readonly group: Uint8Array
  /** Who wrote it down. */
  readonly by: Uint8Array
}

/** What others bring fills no disk, though the role were a replica's: somebody here says what is fetched ahead. */
const nothingAhead: FetchPolicy = { fetch: 'lazy', maxBytes: 0 }

/** Whether a policy is `nothingAhead`: of what others brought, and nobody here joined or set another for. */
export function isNothingAhead({ fetch, maxBytes }: FetchPolicy): boolean {
  return fetch === nothingAhead.fetch && maxBytes === nothingAhead.maxBytes
}

/** A namespace that is being joined. */
interface Awaited {
  /** In hex. */
  readonly group: string
  readonly ending: AbortController
  readonly done: Promise<void>
}

/**
 * Joins the namespaces in which this agent's groups have a role, by what the groups' logs say: whom those name is dialled, and whoever else says that this
 * agent has a role there is asked. Bounded by `Vouched`; what this agent left stays away.
 */
export class GroupNamespaces {
  readonly #replication: Replication
  readonly #vouched: Vouched
  readonly #background: Background
  readonly #claims: Claims
  /** By namespace in hex. */
  readonly #awaited = new Map<string, Awaited>()
  /** By group in hex. */
  readonly #leftOut = new Map<string, LeftOutNamespace[]>()
  /** Groups that are about to be looked at. */
  readonly #queued = new Set<OpenNamespace>()
  /** What cannot be joined at all, in hex. */
  readonly #refused = new Set<string>()
  /** One group after the other: what there is room for is one number. */
  #turn: Promise<void> = Promise.resolve()

  constructor(replication: Replication, vouched: Vouched, background: Background, claims: Claims) {
    this.#replication = replication
    this.#vouched = vouched
    this.#background = background
    this.#claims = claims
  }

  get leftOut(): LeftOutNamespace[] {
    return [...this.#leftOut.values()].flat()
  }

  /** Brings what is followed in step with what a group's log says now. */
  look(group: OpenNamespace): void {
    if (this.#queued.has(group)) return
    this.#queued.add(group)
    this.#background.run(async () => await this.#lookInTurn(group))
  }

  /** This agent has left a group, which is remembered: resolves when nothing is being joined any more by what its log says. */
  async leave(group: OpenNamespace): Promise<void> {
    await this.#lookInTurn(group)
    const key = toHex(group.row.id)
    const ending = [...this.#awaited.values()].filter((awaited) => awaited.group === key)
    await Promise.all(ending.map(({ done }) => done))
  }

  async #lookInTurn(group: OpenNamespace): Promise<void> {
    const turn = this.#turn.then(() => {
      this.#queued.delete(group)
      return this.#look(group, this.#background.signal)
    })
    this.#turn = turn.catch(() => {})
    await turn.catch((error) => {
      if (!group.log.closed) throw error
    })
  }

  /** As `lookAtAll`, where something was left out: there may be room again. */
  lookAgain(): void {
    if (this.#leftOut.size > 0) this.lookAtAll()
  }

  /** Leaves a namespace (32 bytes), which it may be about to join, to whoever claims it; `lookAtAll` is due when it is claimed no more. */
  async giveWay(namespace: Uint8Array): Promise<void> {
    const awaited = this.#awaited.get(toHex(namespace))
    awaited?.ending.abort()
    await awaited?.done
  }

  /** As `look`, of every group: what was left to somebody else may not have come of it. */
  lookAtAll(): void {
    for (const group of this.#replication.namespaces.groups) this.look(group)
  }

  async #look(group: OpenNamespace, signal: AbortSignal): Promise<void> {
    const { namespaces, env, joins } = this.#replication
    const { log, row } = group
    const key = toHex(row.id)
    const isIn = namespaces.groups.includes(group) && log.roleOf(env.agent.publicKey) !== undefined
    const named = new Map<string, NamespaceRecord>()
    if (isIn && !(await hasLeft(env.store, row.id))) {
      for await (const record of namespacesOf(this.#replication, group, signal))
        named.set(toHex(record.namespace), record)
    }
    for (const [name, awaited] of this.#awaited) if (awaited.group === key && !named.has(name)) awaited.ending.abort()
    const leftOut: LeftOutNamespace[] = []
    // What was written first comes first.
    for (const [name, { namespace, author: by, ...record }] of [...named].reverse()) {
      const isOthers = (): boolean =>
        namespaces.has(namespace) || this.#claims.has(namespace) || joins.isJoining(namespace)
      if (this.#awaited.has(name) || this.#refused.has(name) || isOthers()) continue
      if (await hasLeft(env.store, namespace)) continue
      const voucher = { by, group: row.id }
      if (!this.#vouched.hasRoom(voucher)) {
        leftOut.push({ namespace, group: row.id, by })
        continue
      }
      await this.#vouched.add(namespace, voucher)
      if (isOthers()) await this.#vouched.remove(namespace)
      else this.#await({ namespace, author: by, ...record }, key)
    }
    if (leftOut.length === 0) this.#leftOut.delete(key)
    else this.#leftOut.set(key, leftOut)
  }

  #await(record: NamespaceRecord, group: string): void {
    const ending = new AbortController()
    const key = toHex(record.namespace)
    const done = Promise.withResolvers<void>()
    this.#awaited.set(key, { group, ending, done: done.promise })
    this.#background.run(async (closing) => {
      try {
        const signal = AbortSignal.any([ending.signal, closing])
        await this.#spread(signal)
        await this.#join(record, signal)
      } catch (error) {
        if (!closing.aborted) await this.#vouched.remove(record.namespace)
        if (ending.signal.aborted) return
        // Somebody here was quicker; else there is no such namespace.
        if (isHubError(error, 'INVALID_ARGUMENT') || isHubError(error, 'CORRUPT')) this.#refused.add(key)
        else if (!isHubError(error, 'ALREADY_EXISTS') && !isHubError(error, 'CONFLICT')) throw error
      } finally {
        this.#awaited.delete(key)
        done.resolve()
        // Another group may name it as well.
        if (ending.signal.aborted) this.lookAtAll()
        else this.lookAgain()
      }
    })
  }

  /** Those that come after many begin later. @throws the signal's reason */
  async #spread(signal: AbortSignal): Promise<void> {
    const { scheduler } = this.#replication.env
    const delayMs = Math.max(0, this.#awaited.size - groupJoinsAtOnce.count) * groupJoinsAtOnce.everyMs
    if (delayMs > 0) await elapsed(scheduler, delayMs, signal)
  }

  async #join({ namespace: id, name, peers, author }: NamespaceRecord, signal: AbortSignal): Promise<void> {
    const { namespaces } = this.#replication
    const others = peers.filter(({ agent }) => !equalBytes(agent, author))
    const writer = peers.find(({ agent }) => equalBytes(agent, author)) ?? { agent: author, addresses: [] }
    const called = namespaces.nameFor('namespace', id, name)
    const ticket = { kind: 'namespace' as const, id, peers: [writer, ...others], name: called }
    const { from, each, to } = groupJoinRetryMs
    const retryMs = { from: Math.max(from, each * this.#awaited.size), to }
    await this.#replication.join(ticket, { isWaiting: true, retryMs, policy: nothingAhead, signal })
    this.#replication.joins.forget(formatNamespaceId(id))
  }
}
