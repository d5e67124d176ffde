import {
  equalBytes,
  formatNamespaceId,
  isGroupId,
  isNamespaceId,
  parseGroupId,
  parseNamespaceId,
} from '../../src/encoding/index.ts'
import { ArtifactHubError, isHubError } from '../../src/errors.ts'
import type { PlanName } from '../../src/limits.ts'
import { decodeEntry } from '../../src/log/index.ts'
import {
  FollowedArtifacts,
  forgetNamespace,
  forgetPartial,
  type LogKind,
  loadCurrentNamespace,
  loadNamespaceRows,
  loadPartials,
  loadRemovals,
  Namespace,
  type NamespaceRow,
  putCurrentNamespace,
  putNamespaceRow,
  putPartial,
  Quota,
  removeRows,
} from '../../src/namespace/index.ts'
import type { LocalEnvironment } from './environment.ts'
import { deleteSettings } from './replication/rows.ts'

/** A namespace, or a group, that this node has open. */
export interface OpenNamespace {
  row: NamespaceRow
  readonly log: Namespace
  readonly quota: Quota
  /** Records of the uploads under way: two of one file must not write one artifact. */
  readonly uploading: Set<string>
}

/** Told of namespaces that come and go. */
export interface NamespaceObserver {
  opened(namespace: OpenNamespace): void
  /** Before it is closed: what is under way in it ends when this resolves. */
  closing(namespace: OpenNamespace): Promise<void>
}

/** What capabilities let this agent read in namespaces that it is no member of. */
export interface ReadRights {
  /**
   * Why an artifact (20 bytes) that this agent was let read cannot be read any more; `undefined` while it can, and for one that it
   * knows nothing of.
   */
  refusalOf(artifact: Uint8Array): string | undefined
}

/** A log that is about to be here. */
interface NewLog {
  /** 32 bytes. */
  readonly id: Uint8Array
  readonly kind: LogKind
  /** Its name on this node. */
  readonly name: string
}

const personalName = 'personal'
const defaultPlan: PlanName = 'enterprise'

/** How work fails whose namespace goes away under it. */
const endings: ReadonlySet<string> = new Set(['CLOSED', 'CORRUPT', 'UNAVAILABLE'])

/**
 * The namespaces of this node, and beside them its groups. All are open while the node runs: each costs a few rows of memory. Those
 * of which only single artifacts are here (`partial`) are kept apart.
 */
export class LocalNamespaces {
  readonly #env: LocalEnvironment
  /** Asked about what is in partial namespaces. */
  rights: ReadRights | undefined
  readonly #open = new Map<string, OpenNamespace>()
  readonly #partial = new Map<string, OpenNamespace>()
  readonly #observers = new Set<NamespaceObserver>()
  #current: OpenNamespace | undefined
  /** Namespaces whose making or removal failed, and may have happened all the same. */
  readonly #unsettled = new Map<string, Uint8Array>()
  /** Creations, deletions and switches, one at a time: names must stay unique. */
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(env: LocalEnvironment) {
    this.#env = env
  }

  /** Opens what the store has; the first time, makes the personal namespace. */
  static async open(env: LocalEnvironment): Promise<LocalNamespaces> {
    const namespaces = new LocalNamespaces(env)
    for (const id of await loadRemovals(env.store)) await namespaces.#remove(id)
    for (const row of await loadNamespaceRows(env.store)) {
      const log = await Namespace.open(env, row.id)
      namespaces.#add(row, log)
    }
    for (const id of await loadPartials(env.store)) {
      const artifacts = new FollowedArtifacts()
      // Which artifacts: whoever keeps the capabilities says so before anything is received.
      if (!namespaces.#open.has(formatNamespaceId(id))) namespaces.#addPartial(await Namespace.open(env, id, artifacts))
    }
    if (namespaces.all.length === 0) await namespaces.create(personalName)
    const current = await loadCurrentNamespace(env.store)
    namespaces.#current =
      namespaces.all.find(({ row }) => current !== undefined && equalBytes(row.id, current)) ?? namespaces.all[0]
    return namespaces
  }

  /** Every log that this node keeps, oldest first. */
  get everything(): OpenNamespace[] {
    return [...this.#open.values()].sort(
      (a, b) => a.row.createdMs - b.row.createdMs || Buffer.compare(a.row.id, b.row.id),
    )
  }

  /** The namespaces, oldest first. */
  get all(): OpenNamespace[] {
    return this.everything.filter(({ row }) => row.kind === 'namespace')
  }

  /** The groups that this agent is in, oldest first. */
  get groups(): OpenNamespace[] {
    return this.everything.filter(({ row }) => row.kind === 'group')
  }

  /** Those of which single artifacts are here, in no order. */
  get partial(): OpenNamespace[] {
    return [...this.#partial.values()]
  }

  /** Every log that has anything in the store. */
  get stored(): OpenNamespace[] {
    return [...this.everything, ...this.partial]
  }

  /** The partial one of that id (32 bytes). */
  findPartial(id: Uint8Array): OpenNamespace | undefined {
    return this.#partial.get(formatNamespaceId(id))
  }

  /** All in which artifacts are found by id: partial ones too. */
  get readable(): OpenNamespace[] {
    return [...this.all, ...this.partial]
  }

  get current(): OpenNamespace {
    if (this.#current === undefined) throw new ArtifactHubError('CLOSED', 'no namespace is open')
    return this.#current
  }

  isCurrent(namespace: OpenNamespace): boolean {
    return namespace === this.#current
  }

  /** The namespace of that name or id; the current one for `undefined`. @throws NOT_FOUND, INVALID_ARGUMENT */
  find(nameOrId: string | undefined): OpenNamespace {
    if (nameOrId === undefined) return this.current
    const id = isNamespaceId(nameOrId) ? parseNamespaceId(nameOrId) : undefined
    return this.#find('namespace', nameOrId, id)
  }

  /** The group of that name or id. @throws NOT_FOUND, INVALID_ARGUMENT */
  findGroup(nameOrId: string): OpenNamespace {
    const id = isGroupId(nameOrId) ? parseGroupId(nameOrId) : undefined
    return this.#find('group', nameOrId, id)
  }

  #find(kind: LogKind, nameOrId: string, id: Uint8Array | undefined): OpenNamespace {
    const found = this.everything.find(
      ({ row }) => row.kind === kind && (id === undefined ? row.name === nameOrId : equalBytes(row.id, id)),
    )
    if (found !== undefined) return found
    throw new ArtifactHubError('NOT_FOUND', `there is no ${kind} ${JSON.stringify(nameOrId)}`, {
      details: { [kind]: nameOrId },
    })
  }

  /** Tells of namespaces that are opened or about to be closed, from now on, until the returned function is called. */
  observe(observer: NamespaceObserver): () => void {
    this.#observers.add(observer)
    return () => this.#observers.delete(observer)
  }

  /**
   * Runs work on a namespace.
   * @throws NOT_FOUND when it fails because the namespace was deleted meanwhile, STORAGE_FAILED when that was tried in vain;
   *   else what `work` throws
   */
  async during<T>(namespace: OpenNamespace, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw await this.reasonOf(namespace, error)
    }
  }

  /** What to tell a caller whose work on this namespace failed with `error`. */
  async reasonOf(namespace: OpenNamespace, error: unknown): Promise<unknown> {
    const { log } = namespace
    const { idText } = log
    if (
      this.#open.get(idText) === namespace ||
      this.#partial.get(idText) === namespace ||
      !isHubError(error) ||
      !endings.has(error.code)
    )
      return error
    await this.#turn
    if (this.#open.has(idText) || this.#unsettled.has(idText)) {
      if (error.code !== 'CLOSED') return error
      const details = { namespace: idText }
      return new ArtifactHubError(
        'STORAGE_FAILED',
        'the namespace could not be deleted, and what was under way in it ended',
        {
          details,
          cause: error,
        },
      )
    }
    if (log.partial !== undefined) {
      const details = { namespace: idText }
      return new ArtifactHubError('ACCESS_DENIED', 'what let this agent read it has ended', { details, cause: error })
    }
    const message = `${namespace.row.kind} ${JSON.stringify(namespace.row.name)} was deleted meanwhile`
    return new ArtifactHubError('NOT_FOUND', message, { details: { namespace: idText }, cause: error })
  }

  /** @throws ALREADY_EXISTS */
  create(name: string, plan: PlanName = defaultPlan, kind: LogKind = 'namespace'): Promise<OpenNamespace> {
    return this.#exclusively(async () => {
      this.#checkName(kind, name)
      const common = { kind, name, plan, owner: this.#env.agent.publicKey, createdMs: this.#env.now() }
      let id: Uint8Array | undefined
      const remember = (drawn: Uint8Array) => {
        id = drawn
        return [putNamespaceRow({ id: drawn, ...common })]
      }
      const make = () => Namespace.create(this.#env, remember, { isGroup: kind === 'group' })
      return await this.#make(make, common, () => id)
    })
  }

  /**
   * Makes room for a namespace that others have: its log comes by replication.
   * @param options.genesis its first entry, whose hash the id is
   * @throws ALREADY_EXISTS, CORRUPT when that is not its genesis, INVALID_ARGUMENT for another kind of log
   */
  join({ genesis, ...target }: NewLog & { genesis: Uint8Array }): Promise<OpenNamespace> {
    return this.#exclusively(async () => {
      this.checkNew(target)
      const { id, kind, name } = target
      const { auth, header } = decodeEntry(genesis)
      const actual = auth?.kind === 'genesis' ? auth.type : undefined
      if (actual !== undefined && actual !== kind)
        throw new ArtifactHubError('INVALID_ARGUMENT', `this is the id of a ${actual}, and a ${kind}’s is needed`)
      const common = { kind, name, plan: defaultPlan, owner: header.author, createdMs: this.#env.now() }
      await this.#dropPartial(id)
      const make = () => Namespace.join(this.#env, id, genesis, () => [putNamespaceRow({ id, ...common })])
      return await this.#make(make, common, () => id)
    })
  }

  /**
   * Makes room for single artifacts of a namespace that this agent is no member of; gives the one that is there if it is.
   * @throws ALREADY_EXISTS when it is a member; CORRUPT when that is not its genesis
   */
  followPartial(id: Uint8Array, genesis: Uint8Array): Promise<OpenNamespace> {
    return this.#exclusively(async () => {
      const idText = formatNamespaceId(id)
      const known = this.#partial.get(idText)
      if (known !== undefined) return known
      if (this.#open.has(idText)) throw new ArtifactHubError('ALREADY_EXISTS', 'this node has that namespace')
      const log = await Namespace.join(this.#env, id, genesis, () => [putPartial(id)], new FollowedArtifacts())
      return this.#addPartial(log)
    })
  }

  /** Removes what is here of a partial namespace. Idempotent. */
  unfollowPartial(id: Uint8Array): Promise<void> {
    return this.#exclusively(() => this.#dropPartial(id))
  }

  async #dropPartial(id: Uint8Array): Promise<void> {
    const namespace = this.#partial.get(formatNamespaceId(id))
    if (namespace === undefined) return
    this.#partial.delete(formatNamespaceId(id))
    await Promise.all([...this.#observers].map((observer) => observer.closing(namespace)))
    await namespace.log.close()
    await this.#env.store.batch(forgetPartial(id), { sync: true })
    await this.#remove(id)
  }

  /** @throws ALREADY_EXISTS when this node has that log, or another one of that kind and name */
  checkNew({ id, kind, name }: NewLog): void {
    const known = this.#open.get(formatNamespaceId(id))
    if (known !== undefined) {
      throw new ArtifactHubError(
        'ALREADY_EXISTS',
        `this node has that ${known.row.kind}, as ${JSON.stringify(known.row.name)}`,
        {
          details: { namespace: known.log.idText },
        },
      )
    }
    this.#checkName(kind, name)
  }

  #checkName(kind: LogKind, name: string): void {
    if (this.#isFree(kind, name)) return
    throw new ArtifactHubError('ALREADY_EXISTS', `there is a ${kind} ${JSON.stringify(name)} already`, {
      details: { [kind]: name },
    })
  }

  #isFree(kind: LogKind, name: string): boolean {
    return this.everything.every(({ row }) => row.kind !== kind || row.name !== name)
  }

  /** That name, or with a number behind it, so that no other log of that kind has it. */
  freeName(kind: LogKind, name: string): string {
    for (let number = 1; ; number++) {
      const free = number === 1 ? name : `${name} ${number}`
      if (this.#isFree(kind, free)) return free
    }
  }

  /** Calls a log otherwise on this node: by that name, or with a number behind it where that is taken. */
  rename(namespace: OpenNamespace, name: string): Promise<void> {
    return this.#exclusively(async () => {
      if (this.#open.get(namespace.log.idText) !== namespace || namespace.row.name === name) return
      const row = { ...namespace.row, name: this.freeName(namespace.row.kind, name) }
      await this.#env.store.batch([putNamespaceRow(row)], { sync: true })
      namespace.row = row
    })
  }

  async #make(
    make: () => Promise<Namespace>,
    common: Omit<NamespaceRow, 'id'>,
    madeId: () => Uint8Array | undefined,
  ): Promise<OpenNamespace> {
    try {
      const log = await make()
      return this.#add({ id: log.id, ...common }, log)
    } catch (error) {
      const id = madeId()
      const made = id && (await this.#settleFailed(id))
      if (made === undefined) throw error
      // It is there; this makes sure that it stays.
      await this.#env.store.batch([putNamespaceRow(made.row)], { sync: true })
      return made
    }
  }

  /** Resolves when the changes asked for so far are through. */
  async settled(): Promise<void> {
    await this.#turn
  }

  use(nameOrId: string): Promise<OpenNamespace> {
    return this.#exclusively(async () => {
      const namespace = this.find(nameOrId)
      await this.#env.store.batch([putCurrentNamespace(namespace.row.id)], { sync: true })
      this.#current = namespace
      return namespace
    })
  }

  setPlan(nameOrId: string, plan: PlanName): Promise<OpenNamespace> {
    return this.#exclusively(async () => {
      const namespace = this.find(nameOrId)
      const row = { ...namespace.row, plan }
      await this.#env.store.batch([putNamespaceRow(row)], { sync: true })
      namespace.row = row
      namespace.quota.plan = plan
      return namespace
    })
  }

  /** Forgets a namespace, then removes what it had: interrupted, the rest is removed at the next start. @throws CONFLICT for the current one */
  delete(nameOrId: string): Promise<void> {
    return this.#delete(() => this.find(nameOrId))
  }

  /** As `delete`, of one that was found already. */
  discard(namespace: OpenNamespace): Promise<void> {
    return this.#delete(() => namespace)
  }

  #delete(find: () => OpenNamespace): Promise<void> {
    return this.#exclusively(async () => {
      const namespace = find()
      if (this.#open.get(namespace.log.idText) !== namespace) return
      if (namespace === this.#current) {
        throw new ArtifactHubError(
          'CONFLICT',
          `namespace ${JSON.stringify(namespace.row.name)} is the current one; use another first`,
        )
      }
      this.#open.delete(namespace.log.idText)
      await Promise.all([...this.#observers].map((observer) => observer.closing(namespace)))
      await namespace.log.close()
      const { id } = namespace.row
      try {
        await this.#env.store.batch([...forgetNamespace(id), deleteSettings(id)], { sync: true })
      } catch (error) {
        if ((await this.#settleFailed(id)) !== undefined || this.#unsettled.size > 0) throw error
        return
      }
      await this.#remove(id)
    })
  }

  /** Waits for what is being written, and lets nothing more be. */
  async close(): Promise<void> {
    await this.#turn
    await Promise.all(this.stored.map(({ log }) => log.close()))
  }

  #add(row: NamespaceRow, log: Namespace): OpenNamespace {
    const namespace = { row, log, quota: new Quota(row.plan, () => log.totals.leafBytes), uploading: new Set<string>() }
    this.#open.set(log.idText, namespace)
    for (const observer of this.#observers) observer.opened(namespace)
    return namespace
  }

  #addPartial(log: Namespace): OpenNamespace {
    const { owner } = log.membership
    const kind = 'namespace' as const
    const row = { id: log.id, kind, name: log.idText, plan: defaultPlan, owner, createdMs: this.#env.now() }
    const namespace = { row, log, quota: new Quota(row.plan, () => log.totals.leafBytes), uploading: new Set<string>() }
    this.#partial.set(log.idText, namespace)
    for (const observer of this.#observers) observer.opened(namespace)
    return namespace
  }

  /**
   * After a failed batch that makes or forgets a namespace: what the store has now decides. Opens what is there, anew for
   * what is closed does not open again; removes what is not. While the store cannot be read, the next change tries again.
   */
  async #settleFailed(id: Uint8Array): Promise<OpenNamespace | undefined> {
    this.#unsettled.set(formatNamespaceId(id), id)
    return await this.#settle(id).catch(() => undefined)
  }

  async #settle(id: Uint8Array): Promise<OpenNamespace | undefined> {
    const row = (await loadNamespaceRows(this.#env.store)).find((one) => equalBytes(one.id, id))
    const settled = row && this.#add(row, await Namespace.open(this.#env, id))
    if (settled === undefined) {
      await this.#env.store.batch(forgetNamespace(id), { sync: true })
      await this.#remove(id)
    }
    this.#unsettled.delete(formatNamespaceId(id))
    return settled
  }

  async #remove(id: Uint8Array): Promise<void> {
    await this.#env.removeBlocks(formatNamespaceId(id))
    await removeRows(this.#env.store, id)
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(async () => {
      for (const id of this.#unsettled.values()) await this.#settle(id)
      return await work()
    })
    this.#turn = result.catch(() => {})
    return result
  }
}
