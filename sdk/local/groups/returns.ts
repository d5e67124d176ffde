import { equalBytes, formatNamespaceId, fromHex, toHex } from '../../../src/encoding/index.ts'
import { ArtifactHubError, isHubError } from '../../../src/errors.ts'
import { elapsed } from '../../../src/exchange/index.ts'
import { groupAskMs, returnPauseMs, syncBackoffMs } from '../../../src/limits.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import { forgetSurplus } from '../replication/joins.ts'
import type { Replication } from '../replication/replication.ts'
import type { Background } from './background.ts'
import type { Claims } from './claims.ts'
import { isNothingAhead } from './group-namespaces.ts'

/** That somebody says so: another object each time that it is said. */
interface Word {
  /** How often it was asked and did not answer. */
  readonly failures: number
  /** When it is to be asked again, milliseconds since 1970. */
  readonly askAtMs: number
}

/** A namespace that somebody says this agent is in again. */
interface Return {
  /** Who says so, in hex, the last one last. */
  readonly by: Map<string, Word>
  readonly ending: AbortController
  readonly done: PromiseWithResolvers<void>
}

/** Members who are asked of themselves about what has just ended. */
const membersAsked = 3

/**
 * Brings back namespaces that ended, when somebody says that this agent has a role there again and shows it. Who says so is asked, and is
 * not asked again for what it said before; whoever has a role by what is kept goes before others, who push it out of nothing, nor keep it
 * waiting for more than a few seconds. Who does not answer is asked for as long as it is connected. Whoever says so again and again is asked no faster.
 * Not those that a group brought and nobody here joined: the group brings them again, within its bounds.
 */
export class Returns {
  readonly #replication: Replication
  readonly #background: Background
  readonly #claims: Claims
  readonly #inVain: () => void
  readonly #stop: () => void
  /** By namespace in hex. */
  readonly #open = new Map<string, Return>()
  /** In hex, those that came back and that nobody here joined since. */
  readonly #back = new Set<string>()
  /** By namespace in hex, who said so while somebody here joined or left it. */
  readonly #heard = new Map<string, Set<string>>()

  /** @param inVain told when one did not come back: another may bring it, and left it to this meanwhile */
  constructor(replication: Replication, background: Background, claims: Claims, inVain: () => void) {
    this.#replication = replication
    this.#background = background
    this.#claims = claims
    this.#inVain = inVain
    this.#stop = replication.joins.onInvitation((id, from) => this.#invited(id, from))
  }

  close(): void {
    this.#stop()
  }

  /** Leaves a namespace (32 bytes) to whoever claims it, until `resume`. Gives whether it came back of itself and nobody here joined it since. */
  async giveWay(id: Uint8Array): Promise<boolean> {
    const open = this.#open.get(toHex(id))
    open?.ending.abort()
    await open?.done.promise
    return this.#back.has(toHex(id))
  }

  /**
   * A namespace (32 bytes) is claimed no more; who said meanwhile that this agent is in it is asked now, if it is still not here.
   * @param isDone whether what somebody here wanted with it came about
   */
  resume(id: Uint8Array, isDone: boolean): void {
    const key = toHex(id)
    if (isDone) this.#back.delete(key)
    const heard = this.#heard.get(key) ?? []
    this.#heard.delete(key)
    for (const from of heard) this.#invited(id, fromHex(from))
  }

  /** Asks some who are connected about a namespace that ended just now: what they say of a new role while it ends is heard by nobody. */
  askAfter({ row, log }: OpenNamespace): void {
    const members = [...log.memberAgents()]
    const connected = this.#replication.env.network
      .connected()
      .filter((agent) => members.some((one) => equalBytes(one, agent)))
    for (const agent of connected.slice(0, membersAsked)) this.#invited(row.id, agent)
  }

  #isWanted(id: Uint8Array): boolean {
    const ended = this.#replication.namespaces.findEnded(id)?.namespace
    return ended?.row.kind === 'namespace' && !isNothingAhead(this.#replication.policyOf(ended))
  }

  #invited(id: Uint8Array, from: Uint8Array): void {
    const [key, name] = [toHex(id), toHex(from)]
    if (!this.#isWanted(id)) return
    if (this.#claims.has(id)) {
      this.#note(id, [name])
      return
    }
    const open = this.#open.get(key)
    const by = open?.by ?? new Map<string, Word>()
    by.delete(name)
    by.set(name, { failures: 0, askAtMs: 0 })
    this.#forgetSurplus(id, by)
    if (open !== undefined) return
    const one = { by, ending: new AbortController(), done: Promise.withResolvers<void>() }
    this.#open.set(key, one)
    this.#back.delete(key)
    this.#background.run(async (closing) => {
      try {
        if (!(await this.#bring(id, one, closing))) this.#inVain()
      } finally {
        one.done.resolve()
      }
    })
  }

  #note(id: Uint8Array, names: Iterable<string>): void {
    const heard = new Set(this.#heard.get(toHex(id)))
    for (const name of names) {
      heard.delete(name)
      heard.add(name)
      this.#forgetSurplus(id, heard)
    }
    this.#heard.set(toHex(id), heard)
  }

  #forgetSurplus(id: Uint8Array, names: Parameters<typeof forgetSurplus>[0]): void {
    forgetSurplus(names, this.#replication.namespaces.findEnded(id))
  }

  /** Gives whether it is back by this. @throws the signal’s reason at the end of this node */
  async #bring(id: Uint8Array, { by, ending }: Return, closing: AbortSignal): Promise<boolean> {
    const key = toHex(id)
    const signal = AbortSignal.any([closing, ending.signal])
    let isElsewhere = false
    try {
      for (let tries = 0; by.size > 0 && this.#isWanted(id) && !isElsewhere; tries++) {
        const asked = new Set<string>()
        for (let next = this.#next(id, by, asked); next !== undefined; next = this.#next(id, by, asked)) {
          const [name, word] = next
          asked.add(name)
          const failure = await this.#ask(id, name, signal)
          if (failure === undefined) {
            this.#back.add(key)
            return true
          }
          isElsewhere = elsewhere.some((code) => code === failure.code)
          if (isElsewhere) break
          // Who says so meanwhile is asked after it.
          if (by.get(name) === word) this.#noteFailure(by, name, failure)
        }
        const pauseMs = Math.min(returnPauseMs.to, returnPauseMs.from * 2 ** Math.min(tries, 20))
        if (!isElsewhere) await elapsed(this.#replication.env.scheduler, pauseMs, signal)
      }
    } catch (error) {
      if (!ending.signal.aborted) throw error
      this.#note(id, by.keys())
    } finally {
      // In the step that looks at it last: who says so after that makes it begin anew.
      this.#open.delete(key)
    }
    // Somebody here was quicker, and asks them too if it is not back yet; or removed it.
    if (isElsewhere) for (const name of by.keys()) this.#replication.joins.invited(id, fromHex(name))
    return false
  }

  /**
   * Who is to be asked next, if anybody is now: who has a role as far as is known here before anyone else, and of those the last one to say so. Nobody twice in a row of
   * questions: that ends when one with a role says so anew and had to wait for somebody else.
   * @param asked in this row
   */
  #next(
    id: Uint8Array,
    by: ReadonlyMap<string, Word>,
    asked: ReadonlySet<string>,
  ): readonly [string, Word] | undefined {
    const now = this.#replication.env.now()
    const isMember = this.#memberIn(id)
    const due = [...by].filter(([, { askAtMs }]) => askAtMs <= now).reverse()
    const members = due.filter(([name]) => isMember(name))
    const isEnd = members.length > 0 && ![...asked].every(isMember)
    return [...members, ...(isEnd ? [] : due)].find(([name]) => !asked.has(name))
  }

  /** Whether an agent (hex) has a role by what is kept. */
  #memberIn(id: Uint8Array): (name: string) => boolean {
    const log = this.#replication.namespaces.findEnded(id)?.namespace.log
    return (name) => log?.roleOf(fromHex(name)) !== undefined
  }

  /** Gives why it is not back by what an agent shows; nothing when it is. @throws the signal's reason */
  async #ask(id: Uint8Array, name: string, signal: AbortSignal): Promise<ArtifactHubError | undefined> {
    const { joins, namespaces } = this.#replication
    const peers = [{ agent: fromHex(name), addresses: [] }]
    const ticket = { kind: 'namespace' as const, id, peers, name: namespaces.nameFor('namespace', id, '') }
    const overtaken = new AbortController()
    const stop = this.#whenOvertaken(id, name, () =>
      overtaken.abort(new ArtifactHubError('UNAVAILABLE', 'it was slow, and others wait')),
    )
    try {
      const timely = AbortSignal.any([signal, overtaken.signal])
      await this.#replication.join(ticket, { isWaiting: false, findsOthers: false, signal: timely })
      joins.forget(formatNamespaceId(id))
      return undefined
    } catch (error) {
      signal.throwIfAborted()
      if (!isHubError(error)) throw error
      return error
    } finally {
      stop()
    }
  }

  /** Tells once an agent without a role, as far as is known here, was asked for a while, and one with a role said so meanwhile, until the returned function is called. */
  #whenOvertaken(id: Uint8Array, name: string, tell: () => void): () => void {
    const { joins, env } = this.#replication
    const isMember = this.#memberIn(id)
    if (isMember(name)) return () => {}
    const look = (): void => {
      if ([...joins.unaskedOf(id)].some(isMember)) tell()
      else stop = env.scheduler.setTimer(groupAskMs, look)
    }
    let stop = env.scheduler.setTimer(groupAskMs, look)
    return () => stop()
  }

  /** Who does not show it, or is gone, is heard when it says so again; who was busy is asked again. */
  #noteFailure(by: Map<string, Word>, name: string, { code }: ArtifactHubError): void {
    const { network, now } = this.#replication.env
    const isConnected = network.connected().some((agent) => toHex(agent) === name)
    const failures = (by.get(name)?.failures ?? 0) + 1
    if (code === 'ACCESS_DENIED' || !isConnected) by.delete(name)
    else
      by.set(name, { failures, askAtMs: now() + Math.min(syncBackoffMs.to, syncBackoffMs.from * 2 ** (failures - 1)) })
  }
}

const elsewhere = ['ALREADY_EXISTS', 'CONFLICT', 'NOT_FOUND'] as const
