import { equalBytes, toHex } from '../../../src/encoding/index.ts'
import { isHubError } from '../../../src/errors.ts'
import {
  AgentTurns,
  askDescriptor,
  type QuestionServer,
  serveGroups,
  tellDescriptor,
} from '../../../src/exchange/index.ts'
import { groupAskMs, groupConfirmMs, groupRefreshMs, maxGroupQuestionsToAgent } from '../../../src/limits.ts'
import type { ShownDescriptor } from '../../../src/namespace/index.ts'
import type { Replication } from '../replication/replication.ts'
import { Background } from './background.ts'
import { Descriptors } from './descriptors.ts'
import { GroupListeners } from './listeners.ts'

/** Agents that are asked about one group at once. */
const askedAtOnce = 4

/**
 * How the epochs of groups come to be known: serves those of the groups that this node's agent is in, asks for others, and brings what is new into every
 * namespace here that records the group and to connected agents who count on it.
 */
export class GroupNews {
  readonly descriptors: Descriptors
  readonly #replication: Replication
  readonly #listeners = new GroupListeners()
  readonly #background: Background
  readonly #server: QuestionServer | undefined
  readonly #stopListening: () => void
  readonly #asking = new AgentTurns(maxGroupQuestionsToAgent)
  /** By group in hex: one piece of news after the other. */
  readonly #turns = new Map<string, Promise<void>>()
  /** By connected agent in hex, groups in hex that it was asked about: it tells of what comes. */
  readonly #asked = new Map<string, Set<string>>()
  #stopRefresh = (): void => {}

  constructor(replication: Replication) {
    const { network, scheduler, isOnline, warn } = replication.env
    this.#replication = replication
    this.descriptors = new Descriptors(replication.namespaces)
    this.#background = new Background((error) => warn?.('news of a group were not passed on', { error: String(error) }))
    this.#server = isOnline
      ? serveGroups({
          network,
          scheduler,
          shown: (group, asker) => this.#shown(group, asker),
          told: (shown) => this.#told(shown),
        })
      : undefined
    this.#stopListening = network.onPeer((agent, isConnected) => {
      this.#asked.delete(toHex(agent))
      if (isConnected && isOnline) this.#background.run(() => this.#connected(agent))
    })
    if (isOnline) this.#refreshLater()
  }

  /** Has connected agents who count on a group told of its epoch, and namespaces here record it, if that is new. */
  spread(group: Uint8Array): void {
    this.#background.run(() => this.#spread(group))
  }

  /** An agent counts on what it knows of a group: it is told now, unless it was, and of what comes. */
  listens(group: Uint8Array, agent: Uint8Array): void {
    this.#listeners.add(group, agent, undefined)
    this.#background.run(() => this.#tell(group))
  }

  /**
   * Asks for a group's descriptor, until somebody answers, and those who decide there if they do so soon, or a few seconds are over.
   * @param peers agents to ask beside those that what is known of it names
   * @throws the signal's reason
   */
  async ask(group: Uint8Array, peers: readonly Uint8Array[], signal: AbortSignal | undefined): Promise<void> {
    const { network, scheduler, agent, isOnline } = this.#replication.env
    if (!isOnline) return
    const connected = new Set(network.connected().map(toHex))
    const agents = new Map([...peers, ...(await this.descriptors.who(group))].map((one) => [toHex(one), one]))
    agents.delete(toHex(agent.publicKey))
    const nearest = [...agents].sort(([one], [two]) => Number(connected.has(two)) - Number(connected.has(one)))
    const late = new AbortController()
    const stop = scheduler.setTimer(groupAskMs, () => late.abort(new Error('nobody answered in time')))
    const bounds = [late.signal, this.#background.signal, ...(signal === undefined ? [] : [signal])]
    const timely = AbortSignal.any(bounds)
    const asking = new Map<string, Promise<boolean>>()
    const askOnce = (one: Uint8Array): Promise<boolean> => {
      const key = toHex(one)
      const answer = asking.get(key) ?? this.#askOne(one, group, timely).then((shown) => shown !== undefined)
      asking.set(key, answer)
      return answer
    }
    const queue = nearest.map(([, one]) => one)
    const answered = Promise.withResolvers<boolean>()
    const askNext = async (): Promise<void> => {
      for (let one = queue.shift(); one !== undefined && !timely.aborted; one = queue.shift()) {
        if (await askOnce(one)) answered.resolve(true)
      }
    }
    try {
      const all = Promise.all(Array.from({ length: askedAtOnce }, askNext)).then(() => false)
      if (!(await Promise.race([answered.promise, all]))) return
      queue.length = 0
      // Who was removed, or has been away, knows no better: those who decide there are heard too.
      const deciders = (await this.descriptors.who(group)).filter((one) => !equalBytes(one, agent.publicKey))
      const enough = Promise.withResolvers<void>()
      const stopWaiting = scheduler.setTimer(groupConfirmMs, enough.resolve)
      await Promise.race([enough.promise, Promise.all(deciders.slice(0, askedAtOnce).map(askOnce))])
      stopWaiting()
    } finally {
      stop()
      late.abort(new Error('enough was answered'))
    }
    signal?.throwIfAborted()
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#stopRefresh()
    this.#stopListening()
    await this.#server?.close()
    await this.#background.close()
  }

  /** What came back and was proven. */
  async #askOne(agent: Uint8Array, group: Uint8Array, signal: AbortSignal): Promise<ShownDescriptor | undefined> {
    const { network, scheduler } = this.#replication.env
    try {
      const ask = () => askDescriptor({ network, scheduler, signal }, agent, group)
      const shown = await this.#asking.run(agent, signal, ask)
      if (shown !== undefined && (await this.descriptors.hear(shown))) this.spread(group)
      return shown
    } catch (error) {
      if (isHubError(error, 'CORRUPT')) network.penalise(agent, 'false-claim')
      return undefined
    }
  }

  async #shown(group: Uint8Array, asker: Uint8Array): Promise<ShownDescriptor | undefined> {
    const shown = await this.descriptors.own(group)
    if (shown === undefined) return undefined
    const epoch = (await this.descriptors.newest(group))?.descriptor.epoch
    this.#listeners.add(group, asker, epoch)
    return shown
  }

  /** Of groups that are nothing here nothing is believed, nor looked at. */
  async #told(shown: ShownDescriptor): Promise<void> {
    const { group } = shown
    const { contacts } = this.#replication
    const isKnown =
      this.descriptors.recorded().some((one) => equalBytes(one, group)) || contacts.groupOf(group) !== undefined
    if (isKnown && (await this.descriptors.hear(shown))) this.spread(group)
  }

  async #spread(group: Uint8Array): Promise<void> {
    const key = toHex(group)
    const turn = (this.#turns.get(key) ?? Promise.resolve()).then(async () => {
      const known = await this.descriptors.newest(group)
      if (known === undefined) return
      for (const { log } of this.#replication.namespaces.everything) {
        if (!log.membership.groups.recorded.some((one) => equalBytes(one, group))) continue
        await log.descriptors.record(known.shown).catch((error) => {
          if (!log.closed) throw error
        })
      }
    })
    const kept = turn.catch(() => {})
    this.#turns.set(key, kept)
    void kept.then(() => {
      if (this.#turns.get(key) === kept) this.#turns.delete(key)
    })
    await turn
    await this.#tell(group)
    await this.#listen(group, this.#replication.env.network.connected())
  }

  /** Only what this agent is in itself is told: others hear it from there. */
  async #tell(group: Uint8Array): Promise<void> {
    const { network, scheduler, isOnline } = this.#replication.env
    const shown = isOnline ? await this.descriptors.own(group) : undefined
    const epoch = shown && (await this.descriptors.newest(group))?.descriptor.epoch
    if (shown === undefined || epoch === undefined) return
    const { signal } = this.#background
    await Promise.all(
      this.#listeners.untold(group, epoch, network.connected()).map(async (agent) => {
        // Whoever is gone is told when it is back.
        await tellDescriptor({ network, scheduler, signal }, agent, shown).catch(() =>
          this.#listeners.forgetTold(group, agent),
        )
      }),
    )
  }

  async #connected(agent: Uint8Array): Promise<void> {
    for (const { row } of this.#replication.namespaces.groups) await this.#tell(row.id)
    for (const group of this.descriptors.recorded()) await this.#listen(group, [agent])
  }

  /** Asks those of the agents who are of a group that is recorded here, once on each connection: from then on they tell. */
  async #listen(group: Uint8Array, agents: readonly Uint8Array[]): Promise<void> {
    if (!this.#replication.env.isOnline || !(await this.#isOutside(group))) return
    const who = new Set((await this.descriptors.who(group)).map(toHex))
    for (const agent of agents) {
      const name = toHex(agent)
      const asked = this.#asked.get(name) ?? new Set<string>()
      if (!who.has(name) || asked.has(toHex(group))) continue
      this.#asked.set(name, asked.add(toHex(group)))
      await this.#askOne(agent, group, this.#background.signal)
    }
  }

  /** Whether a group is recorded here and this agent is not in it. */
  async #isOutside(group: Uint8Array): Promise<boolean> {
    const isRecorded = this.descriptors.recorded().some((one) => equalBytes(one, group))
    return isRecorded && (await this.descriptors.own(group)) === undefined
  }

  #refreshLater(): void {
    const { scheduler } = this.#replication.env
    const delayMs = groupRefreshMs.from + this.#replication.chance() * (groupRefreshMs.to - groupRefreshMs.from)
    this.#stopRefresh = scheduler.setTimer(delayMs, () => {
      this.#background.run(() => this.#refresh())
      this.#refreshLater()
    })
  }

  /** Asks a connected agent about each group that is recorded here and that this agent is not in. */
  async #refresh(): Promise<void> {
    const connected = this.#replication.env.network.connected()
    for (const group of this.descriptors.recorded()) {
      // There may not have been room to record the newest.
      this.spread(group)
      if (!(await this.#isOutside(group))) continue
      const who = new Set((await this.descriptors.who(group)).map(toHex))
      const asked = connected.find((agent) => who.has(toHex(agent)))
      if (asked !== undefined) await this.#askOne(asked, group, this.#background.signal)
    }
  }
}
