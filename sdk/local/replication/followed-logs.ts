import { capabilityName } from '../../../src/capability/index.ts'
import { equalBytes, toHex } from '../../../src/encoding/index.ts'
import { afterOf, type Following, type Replicator, type SyncScope } from '../../../src/exchange/index.ts'
import type { Entry } from '../../../src/log/index.ts'
import type { Namespace } from '../../../src/namespace/index.ts'
import type { LocalEnvironment } from '../environment.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import type { LocalNamespaces } from '../namespaces.ts'
import { Beginnings, type BeginningsOptions, type Opening } from './follow-begin.ts'
import { type FollowBook, type FollowEntry, isForGroup } from './follow-book.ts'
import type { FollowStanding } from './follow-standing.ts'

interface FollowedLogsOptions extends Pick<BeginningsOptions, 'chance' | 'revoked'> {
  readonly env: LocalEnvironment
  readonly namespaces: LocalNamespaces
  /** Absent offline. */
  readonly replicator: Replicator | undefined
  readonly book: FollowBook
  readonly standing: FollowStanding
  /** The first version of what is followed is here. */
  readonly arrived: (entry: FollowEntry) => void
  /** Something of a namespace (hex) may have ended, or be in force again: what is followed by these (jtis, hex), or anything. */
  readonly changed: (name: string, jtis?: Iterable<string>) => void
  readonly inBackground: (work: Promise<void>) => void
}

/** How long what is followed anew waits for more of it, milliseconds. */
const refreshDelayMs = 10

/** The partial logs of namespaces (in hex) of which something is followed: what is asked for of each, and what comes. */
export class FollowedLogs {
  readonly #options: FollowedLogsOptions
  readonly #logs = new Map<string, OpenNamespace>()
  readonly #beginnings: Beginnings
  readonly #listening = new Map<string, () => void>()
  /** Of which more is followed than is asked for so far, and what. */
  readonly #stale = new Map<string, Set<FollowEntry>>()
  #stopRefreshing: (() => void) | undefined
  #isClosed = false

  constructor(options: FollowedLogsOptions) {
    this.#options = options
    const { env, namespaces, standing, chance, revoked } = options
    this.#beginnings = new Beginnings({
      env,
      namespaces,
      chance,
      revoked,
      live: (id) => standing.live(toHex(id)),
      present: (entry, agent) => standing.presentation(entry, agent),
      done: (id) => {
        if (this.#logs.has(toHex(id))) this.refresh(toHex(id))
      },
    })
  }

  /** The log of a namespace, once its beginning is here. */
  get(name: string): Namespace | undefined {
    return this.#logs.get(name)?.log
  }

  opened(namespace: OpenNamespace): void {
    this.#logs.set(toHex(namespace.log.id), namespace)
  }

  closed(name: string): void {
    this.#stopListening(name)
    this.#logs.delete(name)
  }

  /** Nothing of it is followed any more. */
  async stop(name: string): Promise<void> {
    const { namespaces, replicator } = this.#options
    this.#stopListening(name)
    const log = this.get(name)
    if (log === undefined) return
    await replicator?.unfollow(log.id)
    await namespaces.unfollowPartial(log.id)
  }

  /** Many come at once: what they change is seen to together. */
  refreshSoon(entry: FollowEntry): void {
    const name = toHex(entry.capability.claims.namespace)
    this.#stale.set(name, (this.#stale.get(name) ?? new Set()).add(entry))
    this.#stopRefreshing ??= this.#options.env.scheduler.setTimer(refreshDelayMs, () => {
      this.#stopRefreshing = undefined
      const stale = [...this.#stale]
      this.#stale.clear()
      for (const [one, entries] of stale) this.refresh(one, entries)
    })
  }

  /** Has the replicator and the log do what is followed of a namespace now: of all, or of some that are new. */
  refresh(name: string, some?: Iterable<FollowEntry>): void {
    const { namespaces, replicator, book, standing, changed, inBackground } = this.#options
    if (this.#isClosed) return
    const id = new Uint8Array(Buffer.from(name, 'hex'))
    // A member has all of it.
    if (namespaces.all.some(({ log }) => equalBytes(log.id, id))) return
    if (!standing.isAnyLive(name)) {
      changed(name)
      return
    }
    const log = this.get(name)
    if (log === undefined) {
      if (replicator !== undefined) this.#beginnings.begin(id)
      return
    }
    const isFirst = !this.#listening.has(name)
    if (isFirst) this.#listen(name, log)
    const fresh = [...((isFirst ? undefined : some) ?? book.of(name))]
    const live = fresh.filter((entry) => standing.refusal(entry) === undefined)
    for (const entry of fresh) entry.following = undefined
    for (const entry of live) {
      const { artifact } = entry.capability.claims
      entry.following = this.#followingOf(entry)
      if (entry.scope !== 'artifact') continue
      const afters = [...book.about(artifact)].filter((one) => standing.refusal(one) === undefined)
      log.partial?.set(artifact, Math.min(...afters.map((one) => afterOf(one.capability.claims))))
    }
    inBackground(this.#hold(log, live).then(() => this.#noteArrivals(live)))
    const following: Following[] = []
    for (const entry of book.of(name)) {
      if (entry.following !== undefined && !entry.isOut) following.push(entry.following)
    }
    replicator?.followPartial(log, following, book.peersOf(name))
  }

  /**
   * Has the beginning of a namespace asked for now, if that is what it lacks, and what waited to be asked for; resolves when it is here, or
   * everybody who may be asked was.
   */
  async asked(namespace: Uint8Array): Promise<void> {
    const name = toHex(namespace)
    const before: Opening | undefined = this.#beginnings.asking(namespace)
    const stale = this.#stale.get(name)
    if (this.#stale.delete(name)) this.refresh(name, stale)
    await this.#beginnings.asked(namespace, before)
  }

  /** Resolves when nothing of it is under way. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#stopRefreshing?.()
    for (const name of [...this.#listening.keys()]) this.#stopListening(name)
    await this.#beginnings.close()
  }

  #listen(name: string, log: Namespace): void {
    const { book, inBackground } = this.#options
    const stop = log.subscribe(({ authChanged, artifacts, entries }) => {
      if (authChanged) this.#onAuthChange(name, entries)
      if (artifacts.length > 0)
        inBackground(this.#noteArrivals(artifacts.flatMap((artifact) => [...book.about(artifact)])))
    })
    this.#listening.set(name, stop)
  }

  #stopListening(name: string): void {
    this.#listening.get(name)?.()
    this.#listening.delete(name)
  }

  #onAuthChange(name: string, entries: Iterable<Entry>): void {
    const { book, changed } = this.#options
    changed(name, endedBy(entries))
    // The next epoch of a group may have been recorded: what was shown before gives nothing any more.
    const isEpoch = [...entries].some(({ auth }) => auth?.kind === 'descriptor')
    if (isEpoch && [...book.of(name)].some(isForGroup)) this.refresh(name)
  }

  #followingOf(entry: FollowEntry): Following {
    const { standing } = this.#options
    const { capability, scope } = entry
    const { audience, artifact } = capability.claims
    const about: SyncScope = scope === 'auth' ? { kind: scope } : { kind: scope, artifact }
    const epochs = audience.map(({ kind, id }) =>
      kind === 'group' ? toHex(standing.groupEpochOf(id) ?? new Uint8Array(0)) : '',
    )
    const name = `${scope} ${toHex(capabilityName(capability.claims))} ${epochs.join()}`
    return { capability, scope: about, present: (provider) => standing.presentation(entry, provider), name }
  }

  /** Has the log open what was sealed for these capabilities. */
  async #hold(log: Namespace, live: readonly FollowEntry[]): Promise<void> {
    const { standing } = this.#options
    const held = live.map(({ capability: { claims } }) => {
      const groups = claims.audience.filter(({ kind }) => kind === 'group').map(({ id }) => id)
      return { artifact: claims.artifact, jti: claims.jti, groups }
    })
    await log.holdCapabilities(held)
    const groups = new Map(held.flatMap((one) => one.groups.map((group) => [toHex(group), group] as const)))
    for (const group of groups.values()) await log.holdGroupKeys(group, standing.groupKeysOf(group))
  }

  async #noteArrivals(entries: readonly FollowEntry[]): Promise<void> {
    const { standing, arrived } = this.#options
    for (const entry of entries) {
      if (entry.hasArrived || !standing.isReadable(entry)) continue
      const { artifact, namespace } = entry.capability.claims
      const record = await this.get(toHex(namespace))?.catalog.get(artifact)
      if (record === undefined || entry.hasArrived) continue
      entry.hasArrived = true
      arrived(entry)
    }
  }
}

/** Jtis (hex) of the capabilities that entries may have ended; `undefined` when it may be any. */
function endedBy(entries: Iterable<Entry>): Set<string> | undefined {
  const jtis = new Set<string>()
  let isOfAuth = false
  for (const { header, auth } of entries) {
    if (header.data !== undefined) continue
    isOfAuth = true
    if (auth?.kind === 'revoke-capability') for (const jti of auth.jtis) jtis.add(toHex(jti))
    else if (auth?.kind !== 'rotate' && auth?.kind !== 'keys') return undefined
  }
  return isOfAuth ? jtis : undefined
}
