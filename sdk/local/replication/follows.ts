import {
  type Capability,
  type CapabilityClaims,
  capabilityName,
  decodeCapability,
  decodeUnverifiedCapability,
} from '../../../src/capability/index.ts'
import { equalBytes, toHex } from '../../../src/encoding/index.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import type { KnownPeer, Replicator } from '../../../src/exchange/index.ts'
import { maxPresentations } from '../../../src/limits.ts'
import type { Namespace } from '../../../src/namespace/index.ts'
import type { LocalEnvironment } from '../environment.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import type { LocalNamespaces, ReadRights } from '../namespaces.ts'
import type { FetchRights } from './fetches.ts'
import { FollowBook, type FollowBound, type FollowEntry, isForGroup } from './follow-book.ts'
import { FollowEnds, type FollowObserver, type LostArtifact } from './follow-ends.ts'
import { deleteFollowRow, type FollowedClaims, loadFollowRows, putFollow } from './follow-rows.ts'
import { type Followed, FollowStanding, type GroupKeys, isOutside, type OutsideReason } from './follow-standing.ts'
import { FollowedLogs } from './followed-logs.ts'

/** What to follow, as it came. */
export interface FollowOptions extends Omit<CheckedFollowOptions, 'capability'> {
  /** A capability whose audience this agent is, or a group that it is in. */
  readonly token: Uint8Array
}

/** What to follow. */
interface CheckedFollowOptions {
  /** Its audience is this agent, or a group that it is in. */
  readonly capability: Capability
  /** Who may have it, beside the members. They are dialled: leave out who should not be. */
  readonly peers: readonly KnownPeer[]
  /** `auth`: only who may do what in the namespace, to see whether the capability is in force. Default: the artifact too. */
  readonly scope?: 'artifact' | 'auth' | undefined
  /** Whether it is remembered past a restart; only what is counts towards how many may be. Default: true. */
  readonly isKept?: boolean | undefined
  /** What whoever shared it said with it. */
  readonly message?: string | undefined
  /** On whose word it is followed, if that is not whoever shared it: it counts as theirs then. */
  readonly by?: Uint8Array | undefined
}

interface FollowsOptions {
  readonly env: LocalEnvironment
  readonly namespaces: LocalNamespaces
  /** Absent offline. */
  readonly replicator: Replicator | undefined
  /** A number from 0 up to 1, for jitter. */
  readonly chance: () => number
}

/**
 * The artifacts that this node follows in namespaces that its agent is no member of, by capabilities. What somebody else says of a
 * capability ends it only when the namespace's own entries do; when these say later that it is in force, it is followed again.
 */
export class Follows implements ReadRights, FetchRights {
  readonly #options: FollowsOptions
  readonly #book = new FollowBook()
  readonly #standing: FollowStanding
  readonly #ends: FollowEnds
  readonly #logs: FollowedLogs
  readonly #ending = new AbortController()
  /** Of groups, in hex. */
  readonly #listening = new Map<string, () => void>()
  #stopObserving = (): void => {}
  /** One change of what is remembered at a time: what was counted holds when it is written. */
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(options: FollowsOptions) {
    this.#options = options
    const { env } = options
    const book = this.#book
    const inBackground = (work: Promise<void>): void => this.#inBackground(work)
    const logOf = (namespace: Uint8Array) => this.logOf(namespace)
    this.#standing = new FollowStanding({ book, self: this.#self, now: () => env.now(), logOf })
    this.#ends = new FollowEnds({
      env,
      book,
      standing: this.#standing,
      logOf,
      inBackground,
      expired: (names) => {
        for (const name of names) this.#inBackground(this.#settle(name))
      },
      inTurn: (work) => this.#inBackground(this.#exclusively(work)),
    })
    this.#logs = new FollowedLogs({
      ...options,
      book,
      standing: this.#standing,
      arrived: (entry) => this.#ends.arrived(entry),
      changed: (name, jtis) => this.#inBackground(this.#settle(name, jtis)),
      revoked: async (entry, unheard) => {
        entry.unheard ??= unheard
        await this.#ends.end([{ entry, reason: 'REVOKED' }])
      },
      inBackground,
    })
  }

  /** @throws CORRUPT */
  static async open(options: FollowsOptions): Promise<Follows> {
    const follows = new Follows(options)
    const { env, namespaces } = options
    const rows = await loadFollowRows(env.store)
    // In the order of their ends.
    rows.sort((a, b) => (a.ended?.atMs ?? 0) - (b.ended?.atMs ?? 0))
    for (const row of rows) {
      // Checked before it was stored.
      const capability = decodeUnverifiedCapability(row.token)
      const { peers, ended, message, by } = row
      const entry = { ...entryOf(capability, { peers, message, by }), ended, isOut: ended !== undefined }
      follows.#book.add(entry)
      follows.#ends.noteLoaded(entry)
    }
    follows.#stopObserving = namespaces.observe({
      opened: (namespace) => follows.#onOpened(namespace),
      closing: async ({ log, row }, isKept) => follows.#onClosing(log, row.kind === 'group', isKept),
    })
    const stopHearing = env.network.onPeer((agent, isConnected) => {
      if (isConnected) follows.#inBackground(follows.#askAfterAll(agent))
    })
    const stopObserving = follows.#stopObserving
    follows.#stopObserving = () => {
      stopHearing()
      stopObserving()
    }
    for (const namespace of namespaces.partial) follows.#onOpened(namespace)
    namespaces.rights = follows
    env.fetches.useRights(follows)
    // What was followed for a while only.
    for (const { log } of namespaces.partial) {
      if (!follows.#standing.isAnyLive(toHex(log.id))) await namespaces.unfollowPartial(log.id)
    }
    return follows
  }

  /** Begins: as far as there is a network, asks for what is new. */
  start(): void {
    this.#inBackground(this.#revive([...this.#standing.endedEarly()]))
    for (const name of [...this.#book.namespaces]) this.#logs.refresh(name)
    for (const entry of this.#book.all()) this.#ends.expect(entry)
    this.#ends.forgetEnded()
  }

  /** Takes the groups that this agent is in into account, and what becomes of them. */
  useGroups(groups: GroupKeys): void {
    this.#standing.useGroups(groups)
    for (const group of this.#options.namespaces.groups) this.#watchGroup(group.log)
    this.#groupsChanged()
  }

  #watchGroup(log: Namespace): void {
    const name = toHex(log.id)
    if (this.#listening.has(name)) return
    const stop = log.subscribe(({ authChanged, keysGained }) => {
      if (authChanged || keysGained) this.#groupsChanged()
    })
    this.#listening.set(name, stop)
  }

  /** Who may show what to whom may be another. */
  #groupsChanged(): void {
    for (const name of [...this.#book.namespaces]) {
      for (const entry of this.#book.of(name)) {
        if (!isForGroup(entry)) continue
        this.#logs.refresh(name)
        this.#inBackground(this.#settle(name))
        break
      }
    }
  }

  observe(observer: FollowObserver): () => void {
    return this.#ends.observe(observer)
  }

  /**
   * Follows an artifact, from now on, until the capability ends or `unfollow`. Resolves once that is remembered. Again: adds peers.
   * @throws CORRUPT, TOO_LARGE, UNSUPPORTED_FORMAT for what is no capability; INVALID_ARGUMENT for one that is not for this agent; TOO_LARGE when
   *   as many are followed as may be
   */
  async follow({ token, ...options }: FollowOptions): Promise<Followed> {
    const [followed] = await this.followAll([{ ...options, capability: decodeCapability(token) }])
    if (typeof followed === 'object') return followed
    throw new ArtifactHubError('TOO_LARGE', 'this node follows as many shared artifacts as it may', {
      details: { bound: followed ?? null },
    })
  }

  /**
   * As `follow`, several, remembered in one batch. Gives of each what stands in its way, if there is no room for it.
   * @throws INVALID_ARGUMENT for one that is not for this agent
   */
  followAll(all: readonly CheckedFollowOptions[]): Promise<(Followed | FollowBound)[]> {
    return this.#exclusively(async () => {
      const { store } = this.#options.env
      const entries = all.map((options) => this.#admitted(options))
      const added: FollowEntry[] = []
      const results: (FollowEntry | FollowBound)[] = []
      for (const entry of entries) {
        const bound = this.#boundFor(entry, added)
        results.push(bound ?? entry)
        if (bound === undefined) added.push(entry)
      }
      const rows = added.filter(({ isKept }) => isKept)
      if (rows.length > 0) await store.batch(rows.map(putFollow), { sync: true })
      for (const entry of added) {
        this.#book.add(entry)
        this.#ends.expect(entry)
        this.#ends.found(entry)
        this.#logs.refreshSoon(entry)
      }
      return results.map((result) => (typeof result === 'object' ? this.#standing.present(result) : result))
    })
  }

  #admitted({ capability, peers, scope = 'artifact', isKept = true, message, by }: CheckedFollowOptions): FollowEntry {
    const { claims } = capability
    const self = this.#self
    const isOwn = claims.audience.some(({ kind, id }) => kind === 'group' || equalBytes(id, self))
    if (!isOwn) throw new ArtifactHubError('INVALID_ARGUMENT', 'this capability is for other agents')
    const before = this.#book.get(capabilityName(claims))
    const others = peers.filter(({ agent }) => !equalBytes(agent, self))
    const known = (before?.peers ?? []).filter(({ agent }) => !others.some((one) => equalBytes(one.agent, agent)))
    return {
      ...entryOf(capability, { peers: [...others, ...known].slice(0, 16), message: message ?? before?.message, by }),
      scope: before?.scope === 'artifact' ? 'artifact' : scope,
      isKept: isKept || before?.isKept === true,
      hasArrived: before?.ended === undefined && before?.hasArrived === true,
    }
  }

  #boundFor(entry: FollowEntry, beside: readonly FollowEntry[]): FollowBound | undefined {
    const { capability, isKept } = entry
    const before = this.#book.get(capabilityName(capability.claims))
    const isCounted = before?.isKept === true && before.ended === undefined
    if (!isKept || isCounted) return undefined
    return this.#book.boundFor(entry, beside)
  }

  /** Follows it no more, and forgets it. What came of the artifact goes with the last that let this agent read it. Idempotent. */
  async unfollow(claims: FollowedClaims): Promise<void> {
    await this.#exclusively(async () => {
      const entry = this.#book.get(capabilityName(claims))
      if (entry === undefined) return
      if (entry.isKept) await this.#options.env.store.batch([deleteFollowRow(claims)], { sync: true })
      this.#book.remove(entry)
    })
    await this.#settle(toHex(claims.namespace), [])
  }

  /** Whether the capability of that name (`capabilityName`) is followed, or was and has ended. */
  has(name: Uint8Array): boolean {
    return this.#book.get(name) !== undefined
  }

  /** Whether the capability of that name was followed and has ended for good. */
  hasEnded(name: Uint8Array): boolean {
    const entry = this.#book.get(name)
    return entry?.ended !== undefined && !isOutside(entry)
  }

  /** Whether the capability of that name was followed and has ended, but not by what this node holds itself: it may be in force again. */
  mayRevive(name: Uint8Array): boolean {
    const entry = this.#book.get(name)
    return entry !== undefined && this.#standing.mayRevive(entry)
  }

  /** Capabilities by which this agent follows an artifact (20 bytes), and that are in force, with what was said with them. */
  inForce(artifact: Uint8Array): Pick<FollowEntry, 'capability' | 'message'>[] {
    return [...this.#book.about(artifact)].filter((entry) => this.#standing.isReadable(entry))
  }

  /** Whether something that is followed lets this agent read an artifact (20 bytes), be it here or not. */
  isReadable(artifact: Uint8Array): boolean {
    for (const entry of this.#book.about(artifact)) if (this.#standing.isReadable(entry)) return true
    return false
  }

  /** Everything that is followed, or was and has ended. */
  followed(): Followed[] {
    return [...this.#book.all()].map((entry) => this.#standing.present(entry))
  }

  /** How many are followed past a restart, how many have ended, and senders (hex) of whom no more will be. */
  get counts(): { readonly followed: number; readonly ended: number; readonly fullSenders: readonly string[] } {
    return { followed: this.#book.size, ended: this.#book.ended.size, fullSenders: this.#book.fullSenders }
  }

  /** Whether anything is followed past a restart that counts as an agent's. */
  isSender(agent: Uint8Array): boolean {
    return this.#book.isSender(toHex(agent))
  }

  /** When the last of what is remembered ended: see `LostArtifact`. */
  get lastEndMs(): number {
    return this.#ends.lastEndMs
  }

  /** What ended after a time and cannot be read now, each artifact once, the oldest end first: as far back as is remembered. */
  lostSince(ms: number): LostArtifact[] {
    return this.#ends.lostSince(ms)
  }

  /** The partial log of a namespace (32 bytes), once its beginning is here. */
  logOf(namespace: Uint8Array): Namespace | undefined {
    return this.#logs.get(toHex(namespace))
  }

  /**
   * Has somebody tell now what is new in a namespace of which something is followed, from its beginning if need be. Gives whether
   * somebody did; `false` as soon as everybody who may be asked was.
   * @throws the signal's reason
   */
  async refresh(namespace: Uint8Array, signal?: AbortSignal): Promise<boolean> {
    await untilAborted(this.#logs.asked(namespace), signal)
    if (this.logOf(namespace) === undefined) return false
    return ((await this.#options.replicator?.syncNow(namespace, { signal })) ?? 0) > 0
  }

  /** When somebody last told what is new in a namespace, milliseconds since 1970. */
  refreshedAt(namespace: Uint8Array): number | undefined {
    return this.#options.replicator?.status(namespace)?.lastSyncAt
  }

  refusalOf(artifact: Uint8Array): string | undefined {
    return this.#standing.refusalOf(artifact)
  }

  present(namespace: Uint8Array, artifact: Uint8Array, provider: Uint8Array): Uint8Array[] {
    return [...this.#book.about(artifact)]
      .filter(
        (entry) =>
          equalBytes(entry.capability.claims.namespace, namespace) && this.#standing.refusal(entry) === undefined,
      )
      .flatMap((entry) => this.#standing.presentation(entry, provider) ?? [])
      .slice(0, maxPresentations)
  }

  peersOf(namespace: Uint8Array): Uint8Array[] {
    return this.#book.peersOf(toHex(namespace)).map(({ agent }) => agent)
  }

  /** Stops; resolves when nothing of it is under way. Idempotent. */
  async close(): Promise<void> {
    this.#ending.abort(new ArtifactHubError('CLOSED', 'the node is closed'))
    this.#ends.close()
    this.#stopObserving()
    for (const stop of this.#listening.values()) stop()
    this.#listening.clear()
    await this.#logs.close()
    await this.#turn
  }

  get #self(): Uint8Array {
    return this.#options.env.agent.publicKey
  }

  /** Follows again what ended, as far as there is room. */
  async #revive(entries: readonly FollowEntry[]): Promise<void> {
    if (entries.length > 0) await this.followAll(entries)
  }

  /** Whoever could not be asked whether something ended may say that it did not: each of them once. */
  async #askAfterAll(agent: Uint8Array): Promise<void> {
    const name = toHex(agent)
    const open = [...this.#book.ended].filter(
      (entry) => entry.unheard?.includes(name) && this.#standing.mayRevive(entry),
    )
    await this.#revive([...open, ...this.#standing.endedEarly()])
    for (const { capability, unheard } of open) {
      const again = this.#book.get(capabilityName(capability.claims))
      if (again !== undefined) again.unheard = unheard?.filter((one) => one !== name)
    }
  }

  #onOpened(namespace: OpenNamespace): void {
    const { log, row } = namespace
    if (log.partial !== undefined) this.#logs.opened(namespace)
    else if (row.kind === 'group') {
      this.#watchGroup(log)
      // One that ended may be here again.
      this.#groupsChanged()
    }
  }

  #onClosing({ id, partial }: Namespace, isGroup: boolean, isKept: boolean): void {
    const name = toHex(id)
    if (partial !== undefined) {
      this.#logs.closed(name)
      return
    }
    this.#listening.get(name)?.()
    this.#listening.delete(name)
    const { namespaces } = this.#options
    const changed = async (): Promise<void> => {
      await namespaces.settled()
      // Kept it is when others removed this agent.
      if (isGroup) await this.#leaveGroup(id, isKept ? 'GROUP_EPOCH' : 'LEFT')
      this.#groupsChanged()
    }
    this.#inBackground(changed())
    // A member that leaves may still follow what is shared with it.
    if (this.#standing.isAnyLive(name)) this.#inBackground(namespaces.settled().then(() => this.#logs.refresh(name)))
  }

  /** What this agent has by way of a group alone ends with its being in it, and is in force again when it is back. */
  async #leaveGroup(group: Uint8Array, reason: OutsideReason): Promise<void> {
    const isOther = ({ kind, id }: CapabilityClaims['audience'][number]): boolean =>
      kind === 'group' ? !equalBytes(id, group) : equalBytes(id, this.#self)
    const entries = [...this.#book.all()].filter(
      ({ capability, ended }) => ended === undefined && !capability.claims.audience.some(isOther),
    )
    await this.#ends.end(entries.map((entry) => ({ entry, reason })))
    for (const name of new Set(entries.map(({ capability }) => toHex(capability.claims.namespace))))
      await this.#settle(name, [])
  }

  /**
   * Ends what has ended in a namespace (hex), and removes what nothing lets this agent read any more.
   * @param jtis (hex) of those to look at; absent: all
   */
  async #settle(name: string, jtis?: Iterable<string>): Promise<void> {
    const some =
      jtis === undefined ? this.#book.of(name) : [...jtis].flatMap((jti) => [...this.#book.withJti(name, jti)])
    const ends: { entry: FollowEntry; reason: string }[] = []
    const back: FollowEntry[] = []
    for (const entry of some) {
      if (this.#standing.isBack(entry)) {
        back.push(entry)
        continue
      }
      const reason = this.#standing.refusal(entry)
      if (reason === undefined) {
        entry.isOut = false
        this.#ends.found(entry)
      } else if (reason === 'GROUP_EPOCH') {
        // Who leaves a group may come back, in another epoch of it.
        entry.refusedEpoch = this.#standing.epochOf(entry.capability.claims)
        this.#ends.suspend(entry, reason)
      } else if (entry.ended === undefined) ends.push({ entry, reason })
    }
    await this.#ends.end(ends)
    await this.#revive(back)
    if (!this.#standing.isAnyLive(name)) await this.#logs.stop(name)
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {})
    return result
  }

  #inBackground(work: Promise<void>): void {
    work.catch((error) => {
      if (!this.#ending.signal.aborted)
        this.#options.env.warn?.('could not follow what changed', { error: String(error) })
    })
  }
}

function entryOf(capability: Capability, more: Pick<FollowEntry, 'peers' | 'message' | 'by'>): FollowEntry {
  const fresh = { ended: undefined, hasArrived: false, isOut: false, following: undefined }
  return { capability, scope: 'artifact', isKept: true, ...fresh, ...more }
}

async function untilAborted(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return await work
  signal.throwIfAborted()
  const { promise, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await Promise.race([work, promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
