import { equalBytes, toHex } from '../../src/encoding/index.ts'
import { isHubError } from '../../src/errors.ts'
import { joinNamespace, Replicator, type Scheduler } from '../../src/exchange/index.ts'
import { type Entry, HybridClock, isSignedByAuthor } from '../../src/log/index.ts'
import {
  forgetNamespace,
  loadPartials,
  loadRemovals,
  Namespace,
  type NamespaceEnvironment,
  NamespaceKeys,
  removeRows,
} from '../../src/namespace/index.ts'
import { openWrappedBody } from '../../src/sharing/index.ts'
import { MemoryBlocks } from '../support/namespace-nodes.ts'
import { Follower } from './follower.ts'
import { GroupNews } from './group-news.ts'
import { GroupRoles } from './group-roles.ts'
import type { Machine } from './machine.ts'
import { postShares } from './mail.ts'
import type { Endpoint } from './simulated-network.ts'
import { type Power, SimulatedStore } from './simulated-store.ts'

const verdicts = new Map<string, boolean>()

/** As nodes check it; each signature once for all machines of this process, which changes no answer. */
function isSigned(entry: Entry): boolean {
  const name = toHex(entry.hash) + toHex(entry.signature)
  let verdict = verdicts.get(name)
  if (verdict === undefined) {
    verdict = isSignedByAuthor(entry)
    if (verdicts.size > 50_000) verdicts.clear()
    verdicts.set(name, verdict)
  }
  return verdict
}

/** A node, from its start to its end. */
export class Run {
  readonly machine: Machine
  readonly power: Power = { on: true }
  readonly endpoint: Endpoint
  readonly replicator: Replicator
  readonly scheduler: Scheduler
  readonly env: NamespaceEnvironment
  readonly follower: Follower
  readonly news: GroupNews
  readonly roles: GroupRoles
  readonly #joining = new Set<string>()
  #isStarting = true
  /** The namespace, of a member, is about to be dropped from the disk. */
  #isDropping = false
  /** The namespace, of a member. */
  ns: Namespace | undefined
  /** The group, of whoever is in it. */
  group: Namespace | undefined

  constructor(machine: Machine, incarnation: Uint8Array) {
    this.machine = machine
    const { world, agent, chance } = machine
    const { time } = world
    const { now } = machine
    this.endpoint = world.network.join(agent.publicKey)
    const blocks = new MemoryBlocks()
    this.env = {
      store: new SimulatedStore(machine.image, {
        power: this.power,
        time,
        chance,
        onBoundary: (moment) => {
          if (!this.power.on) return
          if (moment === 'after') this.#noteDropped()
          machine.onBoundary(moment)
        },
      }),
      packs: async () => blocks,
      agent,
      incarnation,
      clock: new HybridClock(now),
      random: chance.bytes,
      verify: async (entries) => entries.map(isSigned),
      openBodies: async (bodies) => bodies.map(openWrappedBody),
    }
    this.scheduler = {
      now,
      setTimer: (delayMs, work) =>
        time.setTimer(delayMs, () => {
          if (this.power.on) work()
        }),
    }
    this.replicator = new Replicator({
      network: this.endpoint,
      scheduler: this.scheduler,
      random: chance.next,
      self: agent.publicKey,
      onInvited: (id, from) => void this.#join(id, from),
    })
    this.follower = new Follower(this)
    this.news = new GroupNews(this)
    this.roles = new GroupRoles(this)
  }

  /** Opens what is on the disk; else waits to be invited. */
  async begin(): Promise<void> {
    const { id, group } = this.machine.world
    const { store } = this.env
    await this.#guard(async () => {
      for (const removed of await loadRemovals(store)) await removeRows(store, removed)
      const isPartial = (await loadPartials(store)).length > 0
      if (isPartial) await this.follower.open()
      for (const one of [isPartial ? undefined : id, group]) {
        const isThere = one && (await store.get(new NamespaceKeys(one).key('places', one))) !== undefined
        if (isThere) this.follow(await Namespace.open(this.env, one))
      }
    })
    this.#isStarting = false
    this.follower.look()
    this.news.begin()
  }

  /** Keeps a namespace, or a group, in step with others. */
  follow(log: Namespace): void {
    const { ledger, groupLedger } = this.machine.world
    const { isGroup } = log.membership
    if (isGroup) this.group = log
    else this.ns = log
    this.#isStarting = false
    log.subscribe(({ written, shared, authChanged, keysGained }) => {
      if (!this.power.on) return
      for (const bytes of written) (isGroup ? groupLedger : ledger).tell(this.machine, bytes)
      if (!isGroup && written.length > 0) postShares(this.machine, log, shared)
      if (authChanged || keysGained) this.follower.look()
      if (isGroup && authChanged) this.news.record()
      if (authChanged) this.roles.look()
    })
    this.replicator.follow(this.machine.disguise?.(log) ?? log)
    this.roles.look()
  }

  /** Drops the namespace of which this agent is no member any more. */
  async leave(): Promise<void> {
    const { ns } = this
    if (ns === undefined) return
    this.ns = undefined
    await this.replicator.unfollow(ns.id)
    await ns.close()
    await this.#forget(ns.id)
  }

  /** Joins the namespace by whoever is connected. */
  async join(): Promise<void> {
    const { world, chance } = this.machine
    const from = chance.pick(this.endpoint.connected())
    if (from !== undefined && world.id !== undefined) await this.#join(world.id, from)
  }

  async end(): Promise<void> {
    await this.#guard(async () => {
      await this.news.close()
      await this.follower.close()
      await this.replicator.close()
      await this.ns?.close()
      await this.group?.close()
    })
    this.crash()
  }

  crash(): void {
    this.power.on = false
    this.machine.world.network.leave(this.endpoint)
  }

  async #join(id: Uint8Array, from: Uint8Array): Promise<void> {
    const { world } = this.machine
    const isGroup = world.group !== undefined && equalBytes(id, world.group)
    if (!isGroup && (world.id === undefined || !equalBytes(id, world.id) || this.machine.hasLeft)) return
    const isHere = (isGroup ? this.group : this.ns) !== undefined
    if (this.#isStarting || isHere || this.#joining.has(toHex(id)) || !this.power.on) return
    this.#joining.add(toHex(id))
    let joined: Namespace | undefined
    try {
      await joinNamespace({
        network: this.endpoint,
        scheduler: this.scheduler,
        self: this.machine.id,
        id,
        providers: [{ agent: from, addresses: [] }],
        create: async (genesis) => {
          if (!isGroup) await this.follower.giveWay()
          joined = await Namespace.join(this.env, id, genesis, () => [])
          return joined
        },
      })
    } catch (error) {
      if (!isHubError(error, 'UNAVAILABLE') && !isHubError(error, 'ACCESS_DENIED') && !isHubError(error, 'CORRUPT'))
        world.failures.push(error)
    }
    // As a node does: cut off in the middle it goes on by itself, but without a role there is nothing to go on with.
    if (joined !== undefined && joined.roleOf(this.machine.id) !== undefined) this.follow(joined)
    else if (joined !== undefined) {
      await joined.close()
      await this.#forget(id)
    }
    this.#joining.delete(toHex(id))
    if (!isGroup) this.follower.goOn()
  }

  async #forget(id: Uint8Array): Promise<void> {
    const { store } = this.env
    if (equalBytes(id, this.machine.world.id as Uint8Array)) this.#isDropping = true
    await store.batch(forgetNamespace(id), { sync: true })
    await removeRows(store, id)
  }

  /** Whatever was under way, others may have been given until the log is dropped, and may drop it too. */
  #noteDropped(): void {
    if (!this.#isDropping || !this.machine.isDropping) return
    this.#isDropping = false
    this.machine.excuse()
  }

  async #guard(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.machine.world.failures.push(error)
    }
  }
}
