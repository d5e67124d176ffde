import { formatNamespaceId, fromHex, toHex } from '../../../src/encoding/index.ts'
import { isHubError } from '../../../src/errors.ts'
import { elapsed } from '../../../src/exchange/index.ts'
import { maxTicketPeers, returnPauseMs } from '../../../src/limits.ts'
import type { Replication } from '../replication/replication.ts'
import type { Background } from './background.ts'
import { isNothingAhead } from './group-namespaces.ts'

/** A namespace that somebody says this agent is in again. */
interface Return {
  /** Who says so, in hex, the last one last, and how often each was asked and did not answer. */
  readonly by: Map<string, number>
  readonly ending: AbortController
  readonly done: Promise<void>
}

/** How often who says so and does not answer is asked. */
const asksAtMost = 5

/**
 * Brings back namespaces that ended, when somebody says that this agent has a role there again and shows it. Who says so is asked and nobody else; whoever
 * says so again and again is asked no faster. Not those that a group brought and nobody here joined: the group brings them again, within its bounds.
 */
export class Returns {
  readonly #replication: Replication
  readonly #background: Background
  readonly #inVain: () => void
  readonly #stop: () => void
  /** By namespace in hex. */
  readonly #open = new Map<string, Return>()
  /** In hex, those that came back and that nobody here joined since. */
  readonly #back = new Set<string>()
  /** In hex, those that somebody here joins or leaves. */
  readonly #claimed = new Set<string>()

  /** @param inVain told when one did not come back: another may bring it, and left it to this meanwhile */
  constructor(replication: Replication, background: Background, inVain: () => void) {
    this.#replication = replication
    this.#background = background
    this.#inVain = inVain
    this.#stop = replication.joins.onInvitation((id, from) => this.#invited(id, from))
  }

  close(): void {
    this.#stop()
  }

  /**
   * Leaves a namespace (32 bytes) to somebody here who joins or leaves it.
   * @param work not disturbed by this while it runs; told whether the namespace came back of itself and nobody here joined it since
   */
  async leaveTo<T>(id: Uint8Array, work: (isBack: boolean) => Promise<T>): Promise<T> {
    const key = toHex(id)
    this.#claimed.add(key)
    try {
      const open = this.#open.get(key)
      open?.ending.abort()
      await open?.done
      const result = await work(this.#back.has(key))
      this.#back.delete(key)
      return result
    } finally {
      this.#claimed.delete(key)
    }
  }

  #isWanted(id: Uint8Array): boolean {
    const ended = this.#replication.namespaces.findEnded(id)?.namespace
    return ended?.row.kind === 'namespace' && !isNothingAhead(this.#replication.policyOf(ended))
  }

  #invited(id: Uint8Array, from: Uint8Array): void {
    const key = toHex(id)
    if (this.#claimed.has(key) || !this.#isWanted(id)) return
    const by = this.#open.get(key)?.by ?? new Map<string, number>()
    by.delete(toHex(from))
    by.set(toHex(from), 0)
    if (by.size > maxTicketPeers) by.delete(by.keys().next().value as string)
    if (this.#open.has(key)) return
    const done = Promise.withResolvers<void>()
    const one = { by, ending: new AbortController(), done: done.promise }
    this.#open.set(key, one)
    this.#back.delete(key)
    this.#background.run(async (closing) => {
      try {
        if (await this.#bring(id, by, AbortSignal.any([closing, one.ending.signal]))) this.#back.add(key)
        else this.#inVain()
      } catch (error) {
        if (!one.ending.signal.aborted) throw error
      } finally {
        this.#open.delete(key)
        done.resolve()
      }
    })
  }

  /** Gives whether it is back by this. @throws the signal's reason */
  async #bring(id: Uint8Array, by: Map<string, number>, signal: AbortSignal): Promise<boolean> {
    const { joins, namespaces } = this.#replication
    for (let tries = 0; by.size > 0 && this.#isWanted(id) && !joins.isJoining(id); tries++) {
      const asked = [...by.keys()].reverse()
      const peers = asked.map((name) => ({ agent: fromHex(name), addresses: [] }))
      const ticket = { kind: 'namespace' as const, id, peers, name: namespaces.nameFor('namespace', id, '') }
      try {
        await this.#replication.join(ticket, { isWaiting: false, findsOthers: false, signal })
        joins.forget(formatNamespaceId(id))
        return true
      } catch (error) {
        signal.throwIfAborted()
        // Somebody here was quicker, or removed it.
        if (elsewhere.some((code) => isHubError(error, code))) return false
        if (!isHubError(error, 'ACCESS_DENIED') && !isHubError(error, 'UNAVAILABLE')) throw error
        this.#noteFailure(by, asked, isHubError(error, 'ACCESS_DENIED'))
      }
      // Who says so meanwhile is asked after it.
      const pauseMs = Math.min(returnPauseMs.to, returnPauseMs.from * 2 ** Math.min(tries, 20))
      await elapsed(this.#replication.env.scheduler, pauseMs, signal)
    }
    return false
  }

  /** Who does not show it is heard when it says so again; who was busy is asked again. */
  #noteFailure(by: Map<string, number>, asked: readonly string[], isDenied: boolean): void {
    const connected = new Set(this.#replication.env.network.connected().map(toHex))
    for (const name of asked) {
      const failures = (by.get(name) ?? 0) + 1
      if (isDenied || failures === asksAtMost || !connected.has(name)) by.delete(name)
      else by.set(name, failures)
    }
  }
}

const elsewhere = ['ALREADY_EXISTS', 'CONFLICT', 'NOT_FOUND'] as const
