import { equalBytes, formatNamespaceId, toHex } from '../../../src/encoding/index.ts'
import { ArtifactHubError, isHubError } from '../../../src/errors.ts'
import { fetchGenesis } from '../../../src/exchange/index.ts'
import {
  groupAskMs,
  maxInvitations,
  maxInvitationsInTurn,
  maxInvitationsInTurnOfAgent,
  maxTicketPeers,
} from '../../../src/limits.ts'
import { decodeEntry } from '../../../src/log/index.ts'
import type { Replication } from '../replication/replication.ts'
import { groupRequestName, type Requests } from '../sharing/requests.ts'
import type { Background } from './background.ts'
import { hasLeft } from './left.ts'
import type { Vouched } from './vouched.ts'

interface InvitationsOptions {
  readonly replication: Replication
  readonly vouched: Vouched
  readonly requests: Requests
  readonly background: Background
  /** Joins a group that an agent says this one is in. */
  readonly accept: (group: Uint8Array, from: Uint8Array, signal: AbortSignal) => Promise<unknown>
}

/**
 * What becomes of it when an agent says that this one is in a group. A contact's word is enough, as far as there is room; a stranger's waits in the inbox. What
 * this agent left or dropped does not come back. That it is a group and no namespace, whoever says so has to show: it is asked for the beginning of its log.
 */
export class GroupInvitations {
  readonly #options: InvitationsOptions
  readonly #stop: () => void
  /** In hex, what is no group. */
  readonly #others = new Set<string>()
  /** By id in hex that is looked into, who named it since: what is found by then may be of before. */
  readonly #again = new Map<string, Map<string, Uint8Array>>()
  /** Ids that wait to be looked into, and who named them, in hex. */
  readonly #queued = new Map<string, string>()
  #turn: Promise<void> = Promise.resolve()

  constructor(options: InvitationsOptions) {
    this.#options = options
    this.#stop = options.replication.joins.onInvitation((id, from) => this.#invited(id, from))
  }

  close(): void {
    this.#stop()
  }

  /** Whether it is being looked into what an id (32 bytes), which somebody named, is of: it may be a group's, or of what this agent left. */
  isLookingInto(id: Uint8Array): boolean {
    return this.#again.has(toHex(id))
  }

  #invited(id: Uint8Array, from: Uint8Array): void {
    const key = toHex(id)
    const again = this.#again.get(key)
    if (again !== undefined) {
      again.delete(toHex(from))
      // Anyone who knows the id may say so.
      if (again.size < maxTicketPeers) again.set(toHex(from), from)
      return
    }
    const later = new Map<string, Uint8Array>()
    this.#again.set(key, later)
    this.#options.background.run(async (signal) => {
      try {
        await this.#look(id, from, signal)
      } finally {
        this.#again.delete(key)
        for (const one of later.values()) this.#invited(id, one)
      }
    })
  }

  async #look(id: Uint8Array, from: Uint8Array, signal: AbortSignal): Promise<void> {
    const { replication, vouched, requests, accept } = this.#options
    const { contacts, joins, env } = replication
    if (joins.isJoining(id) || replication.namespaces.has(id)) return
    // A namespace that was here comes back otherwise.
    if (replication.namespaces.findEnded(id)?.namespace.row.kind === 'namespace') return
    const isLeft = await hasLeft(env.store, id)
    if (isLeft || requests.isDropped(groupRequestName(id))) {
      joins.forget(formatNamespaceId(id))
      return
    }
    if (this.#others.has(toHex(id))) return
    if (vouched.of(id) !== undefined) return
    const voucher = { by: from, group: undefined }
    const isVouched = (): boolean => contacts.nameOf(from) !== undefined && vouched.hasRoom(voucher)
    const keep = () => this.#inTurn(id, from, () => this.#keep(id, from, signal))
    if (!isVouched()) return await keep()
    if (!(await this.#isGroup(id, from, signal)) || vouched.of(id) !== undefined) return
    // Many may come at once.
    if (!isVouched()) return await keep()
    await vouched.add(id, voucher)
    try {
      await accept(id, from, signal)
    } catch (error) {
      if (!signal.aborted) await vouched.remove(id)
      // Told again, it is tried again.
      if (!mayCome.some((code) => isHubError(error, code))) throw error
    }
  }

  /** One after the other, and no more than a few: whoever is passed over is heard when it connects again. */
  async #inTurn(id: Uint8Array, from: Uint8Array, work: () => Promise<void>): Promise<void> {
    const [key, sender] = [toHex(id), toHex(from)]
    const ofSender = [...this.#queued.values()].filter((one) => one === sender).length
    const isFull = this.#queued.size >= maxInvitationsInTurn || ofSender >= maxInvitationsInTurnOfAgent
    if (this.#queued.has(key) || isFull) return
    this.#queued.set(key, sender)
    const turn = this.#turn.then(work).finally(() => this.#queued.delete(key))
    this.#turn = turn.catch(() => {})
    await turn
  }

  /** Has a stranger's group wait in the inbox. */
  async #keep(id: Uint8Array, from: Uint8Array, signal: AbortSignal): Promise<void> {
    const { replication, requests } = this.#options
    const { env, joins, namespaces } = replication
    const name = groupRequestName(id)
    const isKnown = namespaces.has(id) || joins.isJoining(id) || requests.isKnown(name)
    if (isKnown || !requests.hasRoom(from) || !(await this.#isGroup(id, from, signal))) return
    const peers = [{ agent: from, addresses: [] }]
    const receipt = await requests.add({ name, sender: from, group: id, peers, receivedMs: env.now() })
    if (receipt === 'taken') joins.forget(formatNamespaceId(id))
  }

  /** Has whoever says so show, over the connection that there is, the beginning of a log: whether it is a group's. */
  async #isGroup(id: Uint8Array, from: Uint8Array, signal: AbortSignal): Promise<boolean> {
    const { network } = this.#options.replication.env
    const isConnected = (): boolean => network.connected().some((one) => equalBytes(one, from))
    // It is not said again on this connection, and either side may be busy.
    for (let tries = 0; tries < asksAtMost && isConnected(); tries++) {
      try {
        const { auth } = decodeEntry(await this.#genesisOf(id, from, signal))
        if (auth?.kind === 'genesis' && auth.type === 'group') return true
        this.#others.add(toHex(id))
        if (this.#others.size > maxInvitations) this.#others.delete(this.#others.values().next().value as string)
        return false
      } catch (error) {
        signal.throwIfAborted()
        if (!isHubError(error)) throw error
        if (error.code !== 'UNAVAILABLE') return false
      }
    }
    return false
  }

  async #genesisOf(namespace: Uint8Array, agent: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const { network, scheduler } = this.#options.replication.env
    const late = new AbortController()
    const stop = scheduler.setTimer(groupAskMs, () =>
      late.abort(new ArtifactHubError('UNAVAILABLE', 'no answer in time')),
    )
    try {
      const timely = AbortSignal.any([signal, late.signal])
      return await fetchGenesis({ network, scheduler, agent, namespace, signal: timely })
    } finally {
      stop()
    }
  }
}

/** How often an agent that does not answer is asked about one group. */
const asksAtMost = 3

const mayCome = ['ACCESS_DENIED', 'UNAVAILABLE', 'ALREADY_EXISTS', 'CONFLICT'] as const
