import { artifactIdOf, equalBytes, toHex } from '../encoding/index.ts'
import { maxFollowedScopes } from '../limits.ts'
import { type Entry, encodeEntry, publicBytes } from '../log/index.ts'
import { type FollowedScope, followedName } from './followed-scope.ts'
import { afterOf, mayRead } from './may-read.ts'
import type { Scheduler } from './scheduler.ts'
import type { LogChange, ReplicatedLog } from './sync-log.ts'

interface FollowerNewsOptions {
  readonly scheduler: Scheduler
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
  /** Sends entries to a connected agent. */
  readonly push: (agent: Uint8Array, log: ReplicatedLog, entries: readonly Uint8Array[]) => void
}

/** A connected agent, and what it was served. */
interface Follower {
  readonly agent: Uint8Array
  /** By capability, the oldest first. */
  readonly scopes: Map<string, FollowedScope>
  /** By artifact, and by jti (hex), keys of scopes. */
  readonly byArtifact: Map<string, Set<string>>
  readonly byJti: Map<string, Set<string>>
}

/** Connected agents that are no members of a log, and what each was served of it: they are told what comes after. */
export class FollowerNews {
  readonly #log: ReplicatedLog
  readonly #options: FollowerNewsOptions
  readonly #followers = new Map<string, Follower>()

  constructor(log: ReplicatedLog, options: FollowerNewsOptions) {
    this.#log = log
    this.#options = options
  }

  /** An agent was served what there is. */
  add(agent: Uint8Array, followed: FollowedScope): void {
    const name = toHex(agent)
    const none = { scopes: new Map(), byArtifact: new Map(), byJti: new Map() }
    const follower: Follower = this.#followers.get(name) ?? { agent: Uint8Array.from(agent), ...none }
    this.#followers.set(name, follower)
    const { scopes, byArtifact, byJti } = follower
    const key = followedName(followed)
    // Set again: the one unheard of for longest makes way.
    remove(follower, key)
    scopes.set(key, followed)
    addTo(byArtifact, artifactOf(followed), key)
    addTo(byJti, jtiOf(followed), key)
    const [oldest] = scopes.keys()
    if (scopes.size > maxFollowedScopes && oldest !== undefined) remove(follower, oldest)
  }

  /** It is not connected any more: it asks again when it is. */
  forget(agent: Uint8Array): void {
    this.#followers.delete(toHex(agent))
  }

  /**
   * Tells each what is new for it. Whoever lost its right by that is told what says so, and nothing after.
   */
  tell({ entries = [] }: LogChange): void {
    if (this.#followers.size === 0) return
    const news = [...entries].map((entry) => new News(entry, this.#log.id))
    if (news.length === 0) return
    const auth = news.filter(({ isAuth }) => isAuth)
    // One that ends capabilities by name has to do with these alone; of those, most are for others.
    const isNarrow = auth.every(({ ends }) => ends !== undefined)
    for (const [name, follower] of this.#followers) {
      const { agent, scopes } = follower
      const told = new Set<Uint8Array>()
      const keys = isNarrow ? concerned(follower, news) : [...scopes.keys()]
      for (const key of keys) {
        const followed = scopes.get(key)
        if (followed === undefined) continue
        const isEnded = !this.#mayRead(agent, followed)
        if (isEnded) remove(follower, key)
        for (const one of isEnded ? auth : news) {
          const bytes = one.bytesFor(followed)
          if (bytes !== undefined) told.add(bytes)
        }
      }
      if (auth.length > 0 && !auth.every((one) => told.has(one.public)) && this.#isAnyAllowed(follower))
        for (const one of auth) told.add(one.public)
      if (scopes.size === 0) this.#followers.delete(name)
      if (told.size > 0) this.#options.push(agent, this.#log, [...told])
    }
  }

  #isAnyAllowed({ agent, scopes }: Follower): boolean {
    for (const followed of scopes.values()) if (this.#mayRead(agent, followed)) return true
    return false
  }

  #mayRead(agent: Uint8Array, { scope, presentation }: FollowedScope): boolean {
    const { self: provider, scheduler } = this.#options
    const asker = { agent, presentations: [presentation], provider, nowMs: scheduler.now() }
    return mayRead(this.#log, asker, scope).allowed
  }
}

/** Keys of the scopes that entries may have to do with: about their artifacts, or of capabilities that they end. */
function concerned({ byArtifact, byJti }: Follower, news: readonly News[]): Set<string> {
  const keys = new Set<string>()
  for (const { artifact, ends } of news) {
    for (const key of (artifact && byArtifact.get(artifact)) ?? []) keys.add(key)
    for (const jti of ends ?? []) for (const key of byJti.get(jti) ?? []) keys.add(key)
  }
  return keys
}

function remove({ scopes, byArtifact, byJti }: Follower, key: string): void {
  const followed = scopes.get(key)
  if (followed === undefined) return
  scopes.delete(key)
  removeFrom(byArtifact, artifactOf(followed), key)
  removeFrom(byJti, jtiOf(followed), key)
}

function jtiOf({ presentation }: FollowedScope): string {
  return toHex(presentation.capability.claims.jti)
}

function artifactOf({ scope }: FollowedScope): string {
  return scope.kind === 'artifact' ? toHex(scope.artifact) : ''
}

function addTo(all: Map<string, Set<string>>, name: string, one: string): void {
  const some = all.get(name)
  if (some === undefined) all.set(name, new Set([one]))
  else some.add(one)
}

function removeFrom(all: Map<string, Set<string>>, name: string, one: string): void {
  const some = all.get(name)
  some?.delete(one)
  if (some?.size === 0) all.delete(name)
}

/** An entry, and what of it is for whom. */
class News {
  readonly isAuth: boolean
  /** Jtis (hex) of the capabilities that it ends, when it says nothing else; none when it can end no right. `undefined` for other auth entries. */
  readonly ends: readonly string[] | undefined
  /** The artifact that it is about, hex. */
  readonly artifact: string | undefined
  readonly #entry: Entry
  #bare: Uint8Array | undefined
  #whole: Uint8Array | undefined

  constructor(entry: Entry, namespace: Uint8Array) {
    const { data } = entry.header
    this.#entry = entry
    this.isAuth = data === undefined
    this.artifact = data && toHex(artifactIdOf(namespace, data.artifactSalt))
    this.ends = endsOf(entry)
  }

  /** The same bytes each time: what is for several scopes of one agent is sent once. */
  bytesFor({ scope, presentation }: FollowedScope): Uint8Array | undefined {
    const { kind, data } = this.#entry.header
    if (data === undefined) return this.public
    const { claims } = presentation.capability
    if (scope.kind !== 'artifact' || toHex(scope.artifact) !== this.artifact) return undefined
    if (kind === 'share' && (data.jti === undefined || !equalBytes(data.jti, claims.jti))) return undefined
    if (kind === 'put' && data.gen <= afterOf(claims)) return this.public
    this.#whole ??= encodeEntry(this.#entry)
    return this.#whole
  }

  get public(): Uint8Array {
    this.#bare ??= publicBytes(this.#entry)
    return this.#bare
  }
}

function endsOf({ header, auth }: Entry): string[] | undefined {
  if (auth?.kind === 'revoke-capability') return auth.jtis.map(toHex)
  const endsNothing = auth?.kind === 'grant' || auth?.kind === 'rotate' || auth?.kind === 'keys'
  return header.data !== undefined || endsNothing ? [] : undefined
}
