import { toHex } from '../../../src/encoding/index.ts'
import { isHubError } from '../../../src/errors.ts'
import { elapsed, fetchGenesis, type SyncScope } from '../../../src/exchange/index.ts'
import { joinPauseMs, maxHoldersAsked, retryBackoffMs } from '../../../src/limits.ts'
import type { LocalEnvironment } from '../environment.ts'
import type { LocalNamespaces } from '../namespaces.ts'
import type { FollowEntry } from './follow-book.ts'

export interface BeginningsOptions {
  readonly env: LocalEnvironment
  readonly namespaces: LocalNamespaces
  readonly chance: () => number
  /** What is in force of a namespace (32 bytes), as far as is known. */
  readonly live: (namespace: Uint8Array) => Iterable<FollowEntry>
  /** What shows the right to an agent. */
  readonly present: (entry: FollowEntry, agent: Uint8Array) => Uint8Array | undefined
  /** An agent proved that it gives nothing any more, as far as it told; others of whom it may be had (hex) did not say. */
  readonly revoked: (entry: FollowEntry, unheard: readonly string[]) => Promise<void>
  /** The beginning is here, or no more is asked for it. */
  readonly done: (namespace: Uint8Array) => void
}

/** A namespace whose beginning is being asked for, from all who may be asked, and after a while again. */
export interface Opening {
  /** Resolves when the beginning is here, or is not asked for any more. */
  done: Promise<void>
  /** Resolves when the attempt under way, or the last one, has failed. */
  attempt: PromiseWithResolvers<void>
  /** Resolves when one that has not begun has. */
  next: PromiseWithResolvers<void>
  /** Makes the next attempt follow at once. */
  wake: () => void
  /** Who was asked, and by which right, since the last time that everybody had been. */
  readonly asked: Set<string>
  /** How often everybody was asked, and some of it seemed to have ended while others did not answer. */
  doubts: number
}

/** So often is everybody asked before an end is believed while others do not answer: whoever is busy, or restarts, is there again soon. */
const asksInDoubt = 3

/** Asks for the beginnings of namespaces of which something is followed, until somebody gives them. */
export class Beginnings {
  readonly #options: BeginningsOptions
  readonly #ending = new AbortController()
  /** By namespace in hex. */
  readonly #opening = new Map<string, Opening>()

  constructor(options: BeginningsOptions) {
    this.#options = options
  }

  /** Begins to ask; if it does already, asks once more as soon as that is through: there is more to ask for, and others to ask, than it knows of. */
  begin(id: Uint8Array): void {
    const name = toHex(id)
    if (this.#ending.signal.aborted) return
    const under = this.#opening.get(name)
    if (under !== undefined) {
      under.wake()
      return
    }
    const opening: Opening = {
      done: Promise.resolve(),
      attempt: Promise.withResolvers(),
      next: Promise.withResolvers(),
      wake: () => {},
      asked: new Set(),
      doubts: 0,
    }
    this.#opening.set(name, opening)
    opening.done = this.#open(id, opening).finally(() => {
      this.#opening.delete(name)
      this.#options.done(id)
    })
  }

  /** What is under way for a namespace. */
  asking(id: Uint8Array): Opening | undefined {
    return this.#opening.get(toHex(id))
  }

  /**
   * Has it asked for now, if it is being asked for; resolves when it is here, or everybody who may be asked was.
   * @param before what was under way before the caller had more to ask for: that does not know of it
   */
  async asked(id: Uint8Array, before: Opening | undefined): Promise<void> {
    const opening = this.asking(id)
    if (opening === undefined) return
    const { promise: failed } = opening === before ? opening.next : opening.attempt
    if (opening === before) opening.wake()
    await Promise.race([opening.done, failed])
  }

  /** Stops; resolves when nothing of it is under way. Idempotent. */
  async close(): Promise<void> {
    this.#ending.abort(new DOMException('the node is closed', 'AbortError'))
    for (const opening of this.#opening.values()) opening.wake()
    await Promise.all([...this.#opening.values()].map(({ done }) => done))
  }

  async #open(id: Uint8Array, opening: Opening): Promise<void> {
    const { env, chance } = this.#options
    const { signal } = this.#ending
    for (let failures = 0; !signal.aborted && this.#isWanted(id); failures++) {
      const again = Promise.withResolvers<void>()
      opening.wake = again.resolve
      opening.attempt = opening.next
      opening.next = Promise.withResolvers()
      const stopListening = env.network.onPeer((agent, isConnected) => {
        if (isConnected && this.#mayHave(id, agent)) again.resolve()
      })
      let stopTimer = (): void => {}
      const began = env.scheduler.now()
      try {
        if (await this.#attempt(id, opening, signal)) return
        opening.attempt.resolve()
        const delayMs = Math.min(retryBackoffMs.to, retryBackoffMs.from * 2 ** Math.min(failures, 20))
        stopTimer = env.scheduler.setTimer(delayMs * (0.5 + chance() / 2), again.resolve)
        await again.promise
        // Whoever shares again and again makes this node ask, and dial, others no faster.
        const pauseMs = Math.min(joinPauseMs.to, joinPauseMs.from * 2 ** Math.min(failures, 20))
        await elapsed(env.scheduler, Math.max(0, began + pauseMs - env.scheduler.now()), signal)
      } catch (error) {
        if (!signal.aborted) throw error
      } finally {
        stopListening()
        stopTimer()
      }
    }
  }

  /** Gives whether it is through: the beginning is here, or nothing comes of asking again. */
  async #attempt(id: Uint8Array, opening: Opening, signal: AbortSignal): Promise<boolean> {
    const { env, namespaces } = this.#options
    try {
      // Of what this agent was in the beginning is here; what it may read of it now comes from others.
      const kept = await namespaces.findEnded(id)?.namespace.log.held.bytes(id)
      const genesis = kept ?? (await this.#genesisOf(id, opening, signal))
      if (genesis === undefined) return false
      await namespaces.followPartial(id, genesis)
      return true
    } catch (error) {
      if (signal.aborted || isHubError(error, 'ALREADY_EXISTS')) return true
      env.warn?.('could not begin to follow an artifact', { namespace: toHex(id), error: String(error) })
      // The disk may take it later.
      return !isHubError(error, 'STORAGE_FAILED')
    }
  }

  #isWanted(id: Uint8Array): boolean {
    for (const _ of this.#options.live(id)) return true
    return false
  }

  #mayHave(id: Uint8Array, agent: Uint8Array): boolean {
    const name = toHex(agent)
    for (const { peers } of this.#options.live(id)) if (peers.some((one) => toHex(one.agent) === name)) return true
    return false
  }

  /**
   * Asks who may have it: first who is connected, then some of the others, next time some more: whoever shares something of a namespace, or says so, can name
   * any number of agents. That a capability was ended is believed of one only when nobody else says otherwise, and whoever does not answer was asked a few times:
   * who leaves entries out can make it seem so.
   */
  async #genesisOf(namespace: Uint8Array, opening: Opening, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const { asked } = opening
    const { network, scheduler } = this.#options.env
    const scope: SyncScope = { kind: 'auth' }
    const connected = new Set(network.connected().map(toHex))
    const [near, far] = [new Set<string>(), new Set<string>()]
    const ended = new Set<FollowEntry>()
    let isEverybodyAsked = true
    for (const now of [near, far]) {
      for (const entry of [...this.#options.live(namespace)]) {
        for (const { agent, addresses } of entry.peers) {
          const name = `${toHex(agent)} ${rightOf(entry)}`
          if (connected.has(toHex(agent)) !== (now === near) || now.has(name)) continue
          if (now === far && (asked.has(name) || far.size >= maxHoldersAsked)) {
            isEverybodyAsked &&= asked.has(name)
            continue
          }
          const presentation = this.#options.present(entry, agent)
          if (presentation === undefined) continue
          network.addAddresses(agent, addresses)
          try {
            const { claims } = entry.capability
            return await fetchGenesis({ network, scheduler, agent, namespace, scope, presentation, claims, signal })
          } catch (error) {
            signal.throwIfAborted()
            // Another one by the same right may be in force.
            if (isHubError(error, 'REVOKED')) ended.add(entry)
            else now.add(name)
          }
        }
      }
    }
    for (const name of far) asked.add(name)
    if (!isEverybodyAsked) return undefined
    const silent = new Set([...asked, ...near])
    asked.clear()
    const ends = [...ended].map((entry) => {
      const agents = entry.peers.map(({ agent }) => toHex(agent))
      return { entry, unheard: agents.filter((agent) => silent.has(`${agent} ${rightOf(entry)}`)) }
    })
    const isDoubted = ends.some(({ unheard }) => unheard.length > 0) && ++opening.doubts < asksInDoubt
    for (const { entry, unheard } of ends)
      if (!isDoubted || unheard.length === 0) await this.#options.revoked(entry, unheard)
    return undefined
  }
}

/** What an agent goes by that is shown a capability: several thousand shares may be of one sender for one audience, and most name the same agents. */
function rightOf({ capability: { claims } }: FollowEntry): string {
  return [claims.issuer, ...claims.audience.map(({ id }) => id)].map(toHex).join(' ')
}
