import { artifactIdOf, equalBytes, toHex } from '../encoding/index.ts'
import { maxFollowedScopes } from '../limits.ts'
import { type Entry, encodeEntry, publicBytes } from '../log/index.ts'
import { afterOf, mayRead } from './may-read.ts'
import type { Scheduler } from './scheduler.ts'
import type { LogChange, ReplicatedLog } from './sync-log.ts'
import type { FollowedScope } from './sync-serve.ts'

interface FollowerNewsOptions {
  readonly scheduler: Scheduler
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
  /** Sends entries to a connected agent. */
  readonly push: (agent: Uint8Array, log: ReplicatedLog, entries: readonly Uint8Array[]) => void
}

/** Connected agents that are no members of a log, and what each was served of it: they are told what comes after. */
export class FollowerNews {
  readonly #log: ReplicatedLog
  readonly #options: FollowerNewsOptions
  /** By agent, then by capability, the oldest first. */
  readonly #followers = new Map<string, { readonly agent: Uint8Array; readonly scopes: Map<string, FollowedScope> }>()

  constructor(log: ReplicatedLog, options: FollowerNewsOptions) {
    this.#log = log
    this.#options = options
  }

  /** An agent was served what there is. */
  add(agent: Uint8Array, followed: FollowedScope): void {
    const name = toHex(agent)
    const found = this.#followers.get(name) ?? { agent: Uint8Array.from(agent), scopes: new Map() }
    this.#followers.set(name, found)
    const key = `${followed.scope.kind} ${toHex(followed.presentation.capability.claims.jti)}`
    // Set again: the one unheard of for longest makes way.
    found.scopes.delete(key)
    found.scopes.set(key, followed)
    const [oldest] = found.scopes.keys()
    if (found.scopes.size > maxFollowedScopes && oldest !== undefined) found.scopes.delete(oldest)
  }

  /** It is not connected any more: it asks again when it is. */
  forget(agent: Uint8Array): void {
    this.#followers.delete(toHex(agent))
  }

  /**
   * Tells each what is new for it. Whoever lost its right by that is told what says so, and nothing after.
   */
  tell({ entries = [], authChanged }: LogChange): void {
    if (this.#followers.size === 0) return
    const news = [...entries].map((entry) => new News(entry, this.#log.id))
    if (news.length === 0) return
    const auth = news.filter(({ isAuth }) => isAuth)
    for (const [name, { agent, scopes }] of this.#followers) {
      const told = new Set<Uint8Array>()
      for (const [key, followed] of scopes) {
        if (!news.some((one) => one.isFor(followed))) continue
        const isEnded = !this.#mayRead(agent, followed)
        if (isEnded) scopes.delete(key)
        for (const one of isEnded ? (authChanged ? auth : []) : news) {
          const bytes = one.bytesFor(followed)
          if (bytes !== undefined) told.add(bytes)
        }
      }
      if (scopes.size === 0) this.#followers.delete(name)
      if (told.size > 0) this.#options.push(agent, this.#log, [...told])
    }
  }

  #mayRead(agent: Uint8Array, { scope, presentation }: FollowedScope): boolean {
    const { self: provider, scheduler } = this.#options
    const asker = { agent, presentations: [presentation], provider, nowMs: scheduler.now() }
    return mayRead(this.#log, asker, scope).allowed
  }
}

/** An entry, and what of it is for whom. */
class News {
  readonly isAuth: boolean
  readonly #entry: Entry
  readonly #artifact: Uint8Array | undefined
  #bare: Uint8Array | undefined
  #whole: Uint8Array | undefined

  constructor(entry: Entry, namespace: Uint8Array) {
    const { data } = entry.header
    this.#entry = entry
    this.isAuth = data === undefined
    this.#artifact = data && artifactIdOf(namespace, data.artifactSalt)
  }

  /** Whether it may be for that scope: to ask by what right costs more. */
  isFor({ scope }: FollowedScope): boolean {
    if (this.#artifact === undefined) return true
    return scope.kind === 'artifact' && equalBytes(scope.artifact, this.#artifact)
  }

  /** The same bytes each time: what is for several scopes of one agent is sent once. */
  bytesFor({ scope, presentation }: FollowedScope): Uint8Array | undefined {
    const { kind, data } = this.#entry.header
    if (data === undefined) return this.#public
    const { claims } = presentation.capability
    if (scope.kind !== 'artifact' || this.#artifact === undefined || !equalBytes(scope.artifact, this.#artifact)) {
      return undefined
    }
    if (kind === 'share' && (data.jti === undefined || !equalBytes(data.jti, claims.jti))) return undefined
    if (kind === 'put' && data.gen <= afterOf(claims)) return this.#public
    this.#whole ??= encodeEntry(this.#entry)
    return this.#whole
  }

  get #public(): Uint8Array {
    this.#bare ??= publicBytes(this.#entry)
    return this.#bare
  }
}
