import { equalBytes } from '../../../src/encoding/index.ts'
import { groupAskMs } from '../../../src/limits.ts'
import type { OpenNamespace } from '../namespace-book.ts'
import type { Replication } from '../replication/replication.ts'
import type { Background } from './background.ts'
import { endingOf } from './endings.ts'

type IsOver = Parameters<typeof endingOf>[1]

/** Puts groups and namespaces out of reach once this agent is in them no more. */
export class Ends {
  readonly #replication: Replication
  readonly #background: Background
  readonly #removed: (namespace: OpenNamespace) => void
  readonly #stop: () => void

  /** @param removed told once of what is out of reach since now because a role was taken away: it may have been given again meanwhile */
  constructor(replication: Replication, background: Background, removed: (namespace: OpenNamespace) => void) {
    this.#replication = replication
    this.#background = background
    this.#removed = removed
    // What ended while it was being joined was not looked at.
    this.#stop = replication.joins.onJoined((id) => {
      const joined = replication.namespaces.everything.find(({ row }) => equalBytes(row.id, id))
      if (joined !== undefined) this.look(joined)
    })
  }

  close(): void {
    this.#stop()
  }

  /** Ends what is known to be over by what is here, asking nobody: what a former process learned and did not come to write. */
  async begin(): Promise<void> {
    for (const namespace of this.#replication.namespaces.everything) {
      if (endingOf(namespace, () => undefined) !== undefined) await this.#endIfOver(namespace, () => undefined, false)
    }
  }

  /** Who is in a namespace or group may have changed. */
  look(namespace: OpenNamespace): void {
    const { joins, namespaces } = this.#replication
    const isOver = (group: Uint8Array) => namespaces.endingOf(group)
    // While it is being joined its role has still to come.
    if (joins.isJoining(namespace.row.id)) return
    this.#background.run(async () => {
      await this.#endIfOver(namespace, isOver, true)
      if (isOver(namespace.row.id) !== undefined) await this.#endThrough(isOver, true)
    })
  }

  /** This agent leaves a group (32 bytes): what it has by way of it alone ends. */
  async leave(group: Uint8Array): Promise<void> {
    const { namespaces, env } = this.#replication
    const now = { atMs: env.now() }
    await this.#endThrough((via) => (equalBytes(via, group) ? now : namespaces.endingOf(via)), false)
  }

  /** @param isAsking whether members are asked first for what is not known here, of one that ends with a group: it may have been given by name meanwhile */
  async #endIfOver(namespace: OpenNamespace, isOver: IsOver, isAsking: boolean): Promise<void> {
    const { namespaces, env } = this.#replication
    const find = () => (namespace.log.closed ? undefined : endingOf(namespace, isOver))
    if (isAsking && find()?.reason === 'GROUP') await this.#ask(namespace)
    const ending = find()
    if (ending === undefined) return
    const isEnded = await namespaces.end(namespace, { ...ending, learnedMs: env.now() })
    if (isEnded && ending.reason === 'REMOVED') this.#removed(namespace)
  }

  async #ask(namespace: OpenNamespace): Promise<void> {
    const late = new AbortController()
    const stop = this.#replication.env.scheduler.setTimer(groupAskMs, () => late.abort(new Error('nobody answered')))
    try {
      const timely = AbortSignal.any([late.signal, this.#background.signal])
      await this.#replication.refresh(namespace, timely).catch(() => false)
    } finally {
      stop()
    }
  }

  async #endThrough(isOver: IsOver, isAsking: boolean): Promise<void> {
    await Promise.all(this.#replication.namespaces.all.map((one) => this.#endIfOver(one, isOver, isAsking)))
  }
}
