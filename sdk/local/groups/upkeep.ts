import { isHubError } from '../../../src/errors.ts'
import type { NamespaceChange } from '../../../src/namespace/index.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import type { Replication } from '../replication/replication.ts'
import { Background } from './background.ts'
import { announce } from './namespace-records.ts'
import { keepInStep } from './standing.ts'

/** How long another's change is left to whoever made it, milliseconds: one who acts is enough. */
const othersMs = { from: 300, to: 2_000 }

/** Keeps the members of this node's namespaces in step with the groups that have roles there, as groups and namespaces change. */
export class Upkeep {
  readonly #replication: Replication
  readonly #background: Background
  readonly #onAuth: (namespace: OpenNamespace) => void
  readonly #watched = new Map<OpenNamespace, { unsubscribe: () => void; stopTimer: (() => void) | undefined }>()
  readonly #stopObserving: () => void
  /** One namespace after the other: what is owed in one is looked at again after it was written. */
  #turn: Promise<void> = Promise.resolve()

  /** @param onAuth told when who is in a namespace or group may have changed, and when it is opened */
  constructor(replication: Replication, onAuth: (namespace: OpenNamespace) => void) {
    const { namespaces, env } = replication
    this.#replication = replication
    this.#onAuth = onAuth
    this.#background = new Background((error) =>
      env.warn?.('a namespace is not in step with a group', { error: String(error) }),
    )
    this.#stopObserving = namespaces.observe({
      opened: (namespace) => this.#watch(namespace),
      closing: async (namespace) => this.#unwatch(namespace),
    })
    for (const namespace of namespaces.everything) this.#watch(namespace)
  }

  /**
   * Brings a namespace in step now, and what the groups say of it.
   * @param isCertain as for `announce`
   * @throws what the log throws
   */
  async keep(namespace: OpenNamespace, isCertain = false): Promise<void> {
    const turn = this.#turn.then(async () => {
      if (namespace.log.closed) return
      const groups = this.#replication.namespaces.groups.map(({ log }) => log)
      await keepInStep(namespace.log, groups)
      await announce(this.#replication, namespace, isCertain)
    })
    this.#turn = turn.catch(() => {})
    await turn
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#stopObserving()
    for (const namespace of [...this.#watched.keys()]) this.#unwatch(namespace)
    await this.#background.close()
  }

  #watch(namespace: OpenNamespace): void {
    const unsubscribe = namespace.log.subscribe((change) => this.#changed(namespace, change))
    this.#watched.set(namespace, { unsubscribe, stopTimer: undefined })
    this.#onAuth(namespace)
    this.#keepSoon(namespace, othersMs.from)
  }

  #unwatch(namespace: OpenNamespace): void {
    const watched = this.#watched.get(namespace)
    this.#watched.delete(namespace)
    watched?.unsubscribe()
    watched?.stopTimer?.()
  }

  #changed(namespace: OpenNamespace, { authChanged, appended }: NamespaceChange): void {
    if (!authChanged) return
    this.#onAuth(namespace)
    const { from, to } = othersMs
    const delayMs = appended > 0 ? 0 : from + this.#replication.chance() * (to - from)
    const { namespaces } = this.#replication
    const affected = namespace.row.kind === 'group' ? namespaces.all : [namespace]
    for (const one of affected) this.#keepSoon(one, delayMs)
  }

  #keepSoon(namespace: OpenNamespace, delayMs: number): void {
    const watched = this.#watched.get(namespace)
    if (watched === undefined || namespace.row.kind === 'group') return
    if (watched.stopTimer !== undefined && delayMs > 0) return
    watched.stopTimer?.()
    watched.stopTimer = this.#replication.env.scheduler.setTimer(delayMs, () => {
      watched.stopTimer = undefined
      this.#background.run(async () => {
        try {
          await this.keep(namespace)
        } catch (error) {
          // A role that takes more than this agent's is for others to give.
          if (!isHubError(error, 'ACCESS_DENIED') && !namespace.log.closed) throw error
        }
      })
    })
  }
}
