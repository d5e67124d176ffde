import { equalBytes, formatNamespaceId, fromHex, parseNamespaceId, toHex } from '../../../src/encoding/index.ts'
import { ArtifactHubError, isHubError } from '../../../src/errors.ts'
import {
  elapsed,
  joinNamespace,
  type KnownPeer,
  type Pace,
  type PeerNetwork,
  type Scheduler,
} from '../../../src/exchange/index.ts'
import { formatDid } from '../../../src/identity/index.ts'
import { joinPauseMs, maxInvitations, maxTicketPeers, retryBackoffMs } from '../../../src/limits.ts'
import type { LogKind, Namespace } from '../../../src/namespace/index.ts'
import type { EndedLog } from '../ended.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import type { LocalNamespaces } from '../namespaces.ts'
import { type Discovery, discoveryKey } from './discovery.ts'

interface JoinsOptions {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  readonly pace: Pace
  readonly discovery: Discovery
  /** A number from 0 up to 1, for jitter. */
  readonly chance: () => number
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
  readonly namespaces: LocalNamespaces
}

/** What to join. */
export interface JoinTarget {
  /** 32 bytes. */
  readonly id: Uint8Array
  readonly kind: LogKind
  readonly name: string
  /** Who may have it. */
  readonly peers: readonly KnownPeer[]
  /** Between tries while one waits, milliseconds: doubled from the first to the last. */
  readonly retryMs?: { readonly from: number; readonly to: number } | undefined
  /** Whether others who are said to have it are looked for, and dialled, when none of these can be reached. Default: true. */
  readonly findsOthers?: boolean | undefined
}

/** A namespace that is being joined. */
interface Joining {
  /** Who says that this agent has a role there, in hex, the newest last. */
  readonly told: Set<string>
  /** Those of them who said so since the last try began: what came of that says nothing of their word. */
  readonly unasked: Set<string>
  /** Ends the wait for news. */
  wake: () => void
  readonly done: PromiseWithResolvers<void>
}

/** Namespaces that this node is about to have, and those that others say it has a role in. */
export class Joins {
  readonly #options: JoinsOptions
  /** By id. */
  readonly #open = new Map<string, Joining>()
  /** Namespace → who says so, oldest first. */
  readonly #invitations = new Map<string, Uint8Array>()
  readonly #listeners = new Set<(id: Uint8Array, from: Uint8Array) => void>()
  readonly #joinedListeners = new Set<(id: Uint8Array) => void>()

  constructor(options: JoinsOptions) {
    this.#options = options
  }

  /** Namespaces (`ns_…`) that are not here, and who (DID) says that this agent has a role in them. */
  get invitations(): { namespace: string; from: string }[] {
    const { namespaces } = this.#options
    return [...this.#invitations]
      .filter(([namespace]) => !namespaces.has(parseNamespaceId(namespace)))
      .map(([namespace, from]) => ({ namespace, from: formatDid(from) }))
  }

  /** Tells of what comes to be an invitation, with who says so, until the returned function is called. */
  onInvitation(listener: (id: Uint8Array, from: Uint8Array) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Tells of what is being joined no more (32 bytes), whether or not it came to be here, until the returned function is called. */
  onJoined(listener: (id: Uint8Array) => void): () => void {
    this.#joinedListeners.add(listener)
    return () => this.#joinedListeners.delete(listener)
  }

  /** Whether a namespace (32 bytes) is being joined. */
  isJoining(id: Uint8Array): boolean {
    return this.#open.has(toHex(id))
  }

  /** Who said (hex) that this agent has a role in a namespace (32 bytes) since the last try to join it began. */
  unaskedOf(id: Uint8Array): Iterable<string> {
    return this.#open.get(toHex(id))?.unasked ?? []
  }

  /** An agent says that this one has a role in a namespace that is not here. Anyone may say so. */
  invited(namespace: Uint8Array, from: Uint8Array): void {
    const joining = this.#open.get(toHex(namespace))
    if (joining !== undefined) {
      this.#noteLast(joining.told, namespace, from)
      this.#noteLast(joining.unasked, namespace, from)
      joining.wake()
      return
    }
    // Said again while it was joined.
    if (this.#options.namespaces.has(namespace)) return
    this.#invitations.set(formatNamespaceId(namespace), Uint8Array.from(from))
    if (this.#invitations.size > maxInvitations) this.#forgetOneInvitation()
    for (const listener of this.#listeners) listener(namespace, from)
  }

  #noteLast(names: Set<string>, namespace: Uint8Array, from: Uint8Array): void {
    names.delete(toHex(from))
    names.add(toHex(from))
    forgetSurplus(names, this.#options.namespaces.findEnded(namespace))
  }

  /** It is here now, or nothing more is to be said of it. */
  forget(namespace: string): void {
    this.#invitations.delete(namespace)
  }

  /** The oldest of whoever says most: nobody pushes out what others say. */
  #forgetOneInvitation(): void {
    const bySender = new Map<string, string[]>()
    for (const [namespace, from] of this.#invitations) {
      const key = toHex(from)
      bySender.set(key, [...(bySender.get(key) ?? []), namespace])
    }
    const most = [...bySender.values()].reduce((one, two) => (two.length > one.length ? two : one))
    this.#invitations.delete(most[0] as string)
  }

  /**
   * Joins a namespace in which this agent has a role. What was said of one since the last try began is news again if it fails.
   * @param wait whether to wait for the role until the signal fires: for news of it, for somebody to connect, and now and then
   * @throws ACCESS_DENIED, UNAVAILABLE, ALREADY_EXISTS, CONFLICT while it is being joined already; the signal's reason
   */
  async join(target: JoinTarget, wait: boolean, signal: AbortSignal | undefined): Promise<OpenNamespace> {
    const { namespaces } = this.#options
    const key = toHex(target.id)
    if (this.#open.has(key))
      throw new ArtifactHubError('CONFLICT', 'this namespace is being joined already', {
        details: { namespace: formatNamespaceId(target.id) },
      })
    namespaces.checkNew(target)
    const invited = this.#invitations.get(formatNamespaceId(target.id))
    const told = new Set<string>(invited === undefined ? [] : [toHex(invited)])
    const joining: Joining = { told, unasked: new Set(), wake: () => {}, done: Promise.withResolvers() }
    this.#open.set(key, joining)
    try {
      for (let failures = 0; ; failures++) {
        joining.unasked.clear()
        // Before the try: news that come during it must not be missed.
        const news = this.#news(target, joining, failures)
        const began = this.#options.scheduler.now()
        try {
          const joined = await this.#attempt(target, joining.told, signal)
          joining.unasked.clear()
          return joined
        } catch (error) {
          const mayCome = isHubError(error, 'ACCESS_DENIED') || isHubError(error, 'UNAVAILABLE')
          if (!wait || !mayCome) throw error
          await news.wait(signal)
          // Whoever says again and again that there is news makes this node ask others no faster.
          await this.#until(began + Math.min(joinPauseMs.to, joinPauseMs.from * 2 ** Math.min(failures, 20)), signal)
        } finally {
          news.end()
        }
      }
    } finally {
      this.#open.delete(key)
      joining.done.resolve()
      for (const listener of this.#joinedListeners) listener(target.id)
      for (const from of joining.unasked) this.invited(target.id, fromHex(from))
    }
  }

  /** Resolves once a namespace (32 bytes) is not being joined, or not by whoever does so now. */
  async settled(id: Uint8Array): Promise<void> {
    await this.#open.get(toHex(id))?.done.promise
  }

  /** @throws the signal's reason */
  async #until(atMs: number, signal: AbortSignal | undefined): Promise<void> {
    const { scheduler } = this.#options
    const inMs = atMs - scheduler.now()
    if (inMs > 0) await elapsed(scheduler, inMs, signal)
  }

  async #attempt(
    target: JoinTarget,
    told: ReadonlySet<string>,
    signal: AbortSignal | undefined,
  ): Promise<OpenNamespace> {
    const { network, scheduler, pace, namespaces, self } = this.#options
    const { id, kind, name, peers, findsOthers = true } = target
    const connected = new Set(network.connected().map(toHex))
    const isThere = ({ agent }: KnownPeer): boolean => connected.has(toHex(agent))
    // Whom the ticket names before whoever says so; and these, whose word is the newest first, before those who must be dialled.
    const others = [...told].reverse().map((agent) => ({ agent: fromHex(agent), addresses: [] }))
    const named = peers.filter(({ agent }) => !told.has(toHex(agent)))
    const providers = [...named.filter(isThere), ...others, ...named.filter((peer) => !isThere(peer))]
    let joined: OpenNamespace | undefined
    const before = namespaces.endingOf(id)
    const create = async (genesis: Uint8Array): Promise<Namespace> => {
      joined = await namespaces.join({ id, kind, name, genesis })
      return joined.log
    }
    const by = { network, scheduler, pace, self, id, create, signal }
    let failure: unknown
    try {
      await joinNamespace({ ...by, providers })
    } catch (error) {
      failure = error
      // Whom the ticket names are away; others may have come since.
      const isFinding = findsOthers && joined === undefined && isHubError(error, 'UNAVAILABLE')
      const more = isFinding ? await this.#find(id, providers, signal) : []
      if (more.length > 0) {
        await joinNamespace({ ...by, providers: more }).catch((later) => {
          signal?.throwIfAborted()
          // That somebody is there who serves nothing to this agent says more.
          if (isHubError(later, 'ACCESS_DENIED')) failure = later
        })
      }
    }
    // Cut off in the middle, it goes on by itself; but without a role there is nothing to go on with.
    if (joined !== undefined && joined.log.roleOf(self) !== undefined)
      return before === undefined ? joined : await namespaces.takeUp(joined, name)
    // What ended stays as it was.
    if (joined !== undefined && before === undefined) await namespaces.discard(joined)
    throw failure ?? new ArtifactHubError('ACCESS_DENIED', 'this agent has no role in that namespace')
  }

  /** Agents of whom it is said that they have the namespace. Nothing that they send is believed for that. */
  async #find(
    id: Uint8Array,
    asked: readonly KnownPeer[],
    signal: AbortSignal | undefined,
  ): Promise<readonly KnownPeer[]> {
    const { discovery, self } = this.#options
    const found: KnownPeer[] = []
    for await (const agent of discovery.findProviders(discoveryKey(id), { signal })) {
      if (equalBytes(agent, self) || asked.some((peer) => equalBytes(peer.agent, agent))) continue
      found.push({ agent, addresses: [] })
      if (found.length === maxTicketPeers) break
    }
    return found
  }

  /** Notices what makes another try worth while. */
  #news({ peers, retryMs = retryBackoffMs }: JoinTarget, joining: Joining, failures: number) {
    const { network, scheduler, chance } = this.#options
    const come = Promise.withResolvers<void>()
    joining.wake = come.resolve
    const stopListening = network.onPeer((agent, isConnected) => {
      if (isConnected && peers.some((peer) => equalBytes(peer.agent, agent))) come.resolve()
    })
    let stopTimer = (): void => {}
    return {
      wait: async (signal: AbortSignal | undefined): Promise<void> => {
        const delayMs = Math.min(retryMs.to, retryMs.from * 2 ** Math.min(failures, 20))
        stopTimer = scheduler.setTimer(delayMs * (0.5 + chance() / 2), come.resolve)
        const onAbort = (): void => come.resolve()
        signal?.addEventListener('abort', onAbort, { once: true })
        if (signal?.aborted !== true) await come.promise
        signal?.removeEventListener('abort', onAbort)
        signal?.throwIfAborted()
      },
      end: (): void => {
        stopListening()
        stopTimer()
        joining.wake = () => {}
      },
    }
  }
}

/**
 * Of more agents (hex, the last one to say so last) than a ticket names who say that this one has a role in a namespace, forgets one: anyone who knows the id may say
 * so, and whoever has a role by what is kept of it is not forgotten for others.
 */
export function forgetSurplus(
  names: Pick<Set<string> | Map<string, unknown>, 'size' | 'keys' | 'delete'>,
  kept: EndedLog | undefined,
): void {
  if (names.size <= maxTicketPeers) return
  const [...all] = names.keys()
  const log = kept?.namespace.log
  names.delete((all.find((name) => log?.roleOf(fromHex(name)) === undefined) ?? all[0]) as string)
}
