import { equalBytes, formatNamespaceId } from '../../src/encoding/index.ts'
import { ArtifactHubError, isHubError } from '../../src/errors.ts'
import type { PlanName } from '../../src/limits.ts'
import { decodeEntry } from '../../src/log/index.ts'
import {
  forgetNamespace,
  type LogKind,
  loadCurrentNamespace,
  loadNamespaceRows,
  loadRemovals,
  Namespace,
  type NamespaceRow,
  putCurrentNamespace,
  putNamespaceRow,
  Quota,
} from '../../src/namespace/index.ts'
import type { KeyValueChange } from '../../src/storage/index.ts'
import { deleteEnded, type Ending, endedError, isForPerson, loadEnding, putEnded } from './ended.ts'
import type { LocalEnvironment } from './environment.ts'
import { NamespaceBook, type NewLog, type OpenNamespace } from './namespace-book.ts'
import { makePartial, openPartials, removePartial } from './partial-logs.ts'
import { finishRemoval, removeForgotten } from './removals.ts'
import { deleteSettings } from './replication/rows.ts'

/** What capabilities let this agent read in namespaces that it is no member of. */
export interface ReadRights {
  /**
   * Why an artifact (20 bytes) that this agent was let read cannot be read any more; `undefined` while it can, and for one that it
   * knows nothing of.
   */
  refusalOf(artifact: Uint8Array): string | undefined
  /** Whether something lets this agent read an artifact (20 bytes), be it here or not. */
  isReadable(artifact: Uint8Array): boolean
}

const personalName = 'personal'
const defaultPlan: PlanName = 'enterprise'

/** How work fails whose namespace goes away under it. */
const closings: ReadonlySet<string> = new Set(['CLOSED', 'CORRUPT', 'UNAVAILABLE'])

/**
 * The namespaces of this node, and beside them its groups. All are open while the node runs: each costs a few rows of memory. Those
 * of which only single artifacts are here (`partial`) are kept apart, and so are those that this agent is in no more (`ended`).
 */
export class LocalNamespaces extends NamespaceBook {
  readonly #env: LocalEnvironment
  /** Asked about what is in partial namespaces. */
  rights: ReadRights | undefined
  /** Namespaces whose making or removal failed, and may have happened all the same. */
  readonly #unsettled = new Map<string, Uint8Array>()
  /** Creations, deletions and switches, one at a time: names must stay unique. */
  #turn: Promise<unknown> = Promise.resolve()

  private constructor(env: LocalEnvironment) {
    super()
    this.#env = env
  }

  /** Opens what the store has; the first time, makes the personal namespace. */
  static async open(env: LocalEnvironment): Promise<LocalNamespaces> {
    const namespaces = new LocalNamespaces(env)
    for (const id of await loadRemovals(env.store)) await removeForgotten(env, id)
    for (const row of await loadNamespaceRows(env.store)) await namespaces.#restore(row)
    const kept = [
      ...namespaces.everything.map(({ row: { id } }) => ({ id, isEnded: false })),
      ...namespaces.ended.map(({ namespace: { row } }) => ({ id: row.id, isEnded: true })),
    ]
    for (const log of await openPartials(env, kept)) namespaces.#addPartial(log)
    if (namespaces.all.length === 0) await namespaces.create(personalName)
    const current = await loadCurrentNamespace(env.store)
    namespaces.currentOne =
      namespaces.all.find(({ row }) => current !== undefined && equalBytes(row.id, current)) ?? namespaces.all[0]
    return namespaces
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
      this.opened.get(idText) === namespace ||
      this.partials.get(idText) === namespace ||
      !isHubError(error) ||
      !closings.has(error.code)
    )
      return error
    await this.#turn
    if (log.partial !== undefined) return partialGone(namespace, this.opened.has(idText), error)
    const ended = this.endings.get(idText)
    if (ended !== undefined) return endedError(ended, error)
    if (this.opened.has(idText) || this.#unsettled.has(idText)) {
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
    const message = `${namespace.row.kind} ${JSON.stringify(namespace.row.name)} was deleted meanwhile`
    return new ArtifactHubError('NOT_FOUND', message, { details: { namespace: idText }, cause: error })
  }

  /** @throws ALREADY_EXISTS */
  create(name: string, plan: PlanName = defaultPlan, kind: LogKind = 'namespace'): Promise<OpenNamespace> {
    return this.#exclusively(() => this.#create(name, plan, kind))
  }

  async #create(name: string, plan: PlanName, kind: LogKind): Promise<OpenNamespace> {
    this.checkName(kind, name)
    const common = { kind, name, plan, owner: this.#env.agent.publicKey, createdMs: this.#env.now() }
    let id: Uint8Array | undefined
    const remember = (drawn: Uint8Array) => {
      id = drawn
      return [putNamespaceRow({ id: drawn, ...common })]
    }
    const make = () => Namespace.create(this.#env, remember, { isGroup: kind === 'group' })
    return await this.#make(make, common, () => id)
  }

  /**
   * Makes room for a namespace that others have: its log comes by replication. Of one that ended gives what is kept, which stays out of reach until `takeUp`.
   * @param options.genesis its first entry, whose hash the id is
   * @throws ALREADY_EXISTS, CORRUPT when that is not its genesis, INVALID_ARGUMENT for another kind of log, STORAGE_FAILED while what was here before cannot be removed
   */
  join({ genesis, ...target }: NewLog & { genesis: Uint8Array }): Promise<OpenNamespace> {
    return this.#exclusively(async () => {
      this.checkNew(target)
      const { id, kind, name } = target
      const { auth, header } = decodeEntry(genesis)
      const actual = auth?.kind === 'genesis' ? auth.type : undefined
      if (actual !== undefined && actual !== kind)
        throw new ArtifactHubError('INVALID_ARGUMENT', `this is the id of a ${actual}, and a ${kind}’s is needed`)
      const ended = this.endings.get(formatNamespaceId(id))
      if (ended !== undefined) return ended.namespace
      const common = { kind, name, plan: defaultPlan, owner: header.author, createdMs: this.#env.now() }
      await this.#dropPartial(id)
      await finishRemoval(this.#env, id)
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
      const known = this.partials.get(idText)
      if (known !== undefined) return known
      if (this.opened.has(idText)) throw new ArtifactHubError('ALREADY_EXISTS', 'this node has that namespace')
      // What ended is kept as it is: what this agent wrote may be nowhere else.
      const log = await makePartial(this.#env, id, genesis, { isBeside: this.endings.has(idText) })
      return this.#addPartial(log)
    })
  }

  /**
   * This agent is in one that ended again: it is back as it was.
   * @param name what it is called from now on, with a number behind it where that is taken
   * @throws NOT_FOUND when it was removed meanwhile
   */
  takeUp(namespace: OpenNamespace, name: string): Promise<OpenNamespace> {
    return this.#exclusively(async () => {
      const { log } = namespace
      if (this.opened.get(log.idText) === namespace) return namespace
      if (this.endings.get(log.idText)?.namespace !== namespace)
        throw new ArtifactHubError('NOT_FOUND', 'the namespace was removed meanwhile', {
          details: { namespace: log.idText },
        })
      const row = { ...namespace.row, name: this.freeName(namespace.row.kind, name) }
      await this.#env.store.batch([putNamespaceRow(row), deleteEnded(row.id)], { sync: true })
      namespace.row = row
      this.endings.delete(log.idText)
      this.opened.set(log.idText, namespace)
      this.#env.fetches.admit(log)
      // Before anybody follows the whole: two logs of one namespace are not kept in step at once. What of it does not go now goes at the next start.
      await this.#dropPartial(log.id).catch((error) =>
        this.#env.warn?.('what lay beside a namespace could not be removed', {
          namespace: log.idText,
          error: String(error),
        }),
      )
      for (const observer of this.observers) observer.opened(namespace)
      return namespace
    })
  }

  /**
   * This agent is in it no more: it is out of reach from now on, though kept, until it is joined again or its grace period is over. Idempotent: gives
   * whether it was in reach until now. Of the current namespace the oldest other one takes the place.
   */
  end(namespace: OpenNamespace, ending: Ending): Promise<boolean> {
    return this.#exclusively(async () => {
      const { row, log } = namespace
      if (this.opened.get(log.idText) !== namespace) return false
      const next = namespace === this.currentOne ? await this.#anotherThan(namespace) : undefined
      const alsoCurrent = next === undefined ? [] : [putCurrentNamespace(next.row.id)]
      await this.#env.store.batch([putEnded(row.id, ending), ...alsoCurrent], { sync: true })
      this.opened.delete(log.idText)
      const ended = { namespace, ending }
      this.endings.set(log.idText, ended)
      this.currentOne = next ?? this.currentOne
      this.#env.fetches.shut(log, endedError(ended))
      await Promise.all([...this.observers].map((observer) => observer.closing(namespace, true)))
      return true
    })
  }

  async #anotherThan(namespace: OpenNamespace): Promise<OpenNamespace> {
    const other = this.all.find((one) => one !== namespace)
    return other ?? (await this.#create(this.freeName('namespace', personalName), defaultPlan, 'namespace'))
  }

  /**
   * Removes those that ended, as this node learned, before that time, milliseconds since 1970; not those that only a person removes (`isForPerson`).
   */
  removeEnded(before: number): Promise<void> {
    return this.#exclusively(async () => {
      for (const { namespace, ending } of this.ended)
        if (ending.learnedMs < before && !(await isForPerson(namespace))) await this.#forget(namespace)
    })
  }

  /** Removes what is here of a partial namespace. Idempotent. */
  unfollowPartial(id: Uint8Array): Promise<void> {
    return this.#exclusively(() => this.#dropPartial(id))
  }

  async #dropPartial(id: Uint8Array): Promise<void> {
    const namespace = this.partials.get(formatNamespaceId(id))
    if (namespace === undefined) return
    this.partials.delete(formatNamespaceId(id))
    await Promise.all([...this.observers].map((observer) => observer.closing(namespace, false)))
    await namespace.log.close()
    await removePartial(this.#env, namespace.log)
  }

  /** Calls a log otherwise on this node: by that name, or with a number behind it where that is taken. */
  rename(namespace: OpenNamespace, name: string): Promise<void> {
    return this.#exclusively(async () => {
      if (this.opened.get(namespace.log.idText) !== namespace || namespace.row.name === name) return
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
      this.currentOne = namespace
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

  /**
   * Forgets a namespace, one that ended too, then removes what it had: interrupted, the rest is removed at the next start.
   * @param also what is written in the same batch
   * @throws NOT_FOUND; CONFLICT for the current one
   */
  delete(nameOrId: string, also: (found: OpenNamespace) => KeyValueChange[]): Promise<void> {
    return this.#exclusively(async () => {
      const found = this.findKept('namespace', nameOrId)
      await this.#forget(found, also(found))
    })
  }

  /** As `delete`, of a namespace or group that was found already. Idempotent. */
  discard(namespace: OpenNamespace): Promise<void> {
    return this.#exclusively(() => this.#forget(namespace))
  }

  async #forget(namespace: OpenNamespace, also: readonly KeyValueChange[] = []): Promise<void> {
    const { idText } = namespace.log
    const isEnded = this.endings.get(idText)?.namespace === namespace
    if (!isEnded && this.opened.get(idText) !== namespace) return
    if (namespace === this.currentOne) {
      throw new ArtifactHubError(
        'CONFLICT',
        `namespace ${JSON.stringify(namespace.row.name)} is the current one; use another first`,
      )
    }
    this.opened.delete(idText)
    this.endings.delete(idText)
    await Promise.all([...this.observers].map((observer) => observer.closing(namespace, false)))
    await namespace.log.close()
    const { id } = namespace.row
    try {
      await this.#env.store.batch([...forgetNamespace(id), deleteSettings(id), deleteEnded(id), ...also], {
        sync: true,
      })
    } catch (error) {
      if ((await this.#settleFailed(id)) !== undefined || this.#unsettled.size > 0) throw error
      return
    }
    await removeForgotten(this.#env, id)
  }

  /** Waits for what is being written, and lets nothing more be. */
  async close(): Promise<void> {
    await this.#turn
    await Promise.all(this.stored.map(({ log }) => log.close()))
  }

  /** Opens what the store has. */
  async #restore(row: NamespaceRow): Promise<OpenNamespace> {
    const log = await Namespace.open(this.#env, row.id)
    const ending = await loadEnding(this.#env.store, row.id)
    if (ending === undefined) return this.#add(row, log)
    const namespace = withQuota(row, log)
    this.endings.set(log.idText, { namespace, ending })
    return namespace
  }

  #add(row: NamespaceRow, log: Namespace): OpenNamespace {
    const namespace = withQuota(row, log)
    this.opened.set(log.idText, namespace)
    for (const observer of this.observers) observer.opened(namespace)
    return namespace
  }

  #addPartial(log: Namespace): OpenNamespace {
    const { owner } = log.membership
    const kind = 'namespace' as const
    const row = { id: log.id, kind, name: log.idText, plan: defaultPlan, owner, createdMs: this.#env.now() }
    const namespace = withQuota(row, log)
    this.partials.set(log.idText, namespace)
    for (const observer of this.observers) observer.opened(namespace)
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
    const settled = row && (await this.#restore(row))
    if (settled === undefined) {
      await this.#env.store.batch([...forgetNamespace(id), deleteEnded(id)], { sync: true })
      await removeForgotten(this.#env, id)
    }
    this.#unsettled.delete(formatNamespaceId(id))
    return settled
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

/** What to tell a caller who read single artifacts of a namespace, and lost the log under it. */
function partialGone({ log }: OpenNamespace, isMember: boolean, cause: unknown): ArtifactHubError {
  const details = { namespace: log.idText }
  return isMember
    ? new ArtifactHubError('UNAVAILABLE', 'this agent has all of its namespace now: try again', { details, cause })
    : new ArtifactHubError('ACCESS_DENIED', 'what let this agent read it has ended', { details, cause })
}

function withQuota(row: NamespaceRow, log: Namespace): OpenNamespace {
  return { row, log, quota: new Quota(row.plan, () => log.totals.leafBytes), uploading: new Set<string>() }
}
