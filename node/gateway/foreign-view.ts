import type { Followed, Follows, LocalEnvironment } from '../../sdk/local/index.ts'
import { type Capability, type LinkClaims, timeOf } from '../../src/capability/index.ts'
import { toHex } from '../../src/encoding/index.ts'
import type { KnownPeer } from '../../src/exchange/index.ts'
import type { Namespace } from '../../src/namespace/index.ts'
import { revoked, staleView } from './own-view.ts'
import { SharedWaits } from './shared-waits.ts'

interface ForeignViewOptions {
  readonly env: Pick<LocalEnvironment, 'now'>
  readonly follows: Pick<Follows, 'follow' | 'unfollow' | 'observe' | 'logOf' | 'refresh' | 'refreshedAt'>
  /** Whom a link names as providers, as far as they may be dialled, and its issuer. */
  readonly peersOf: (claims: LinkClaims) => readonly KnownPeer[]
  /** How old what is known of revocations may be, milliseconds. */
  readonly maxAgeMs: number
  /** How long somebody is waited for who tells more, milliseconds. */
  readonly patienceMs: number
}

/** A link that is followed. */
interface Carrier {
  readonly link: Capability<LinkClaims>
  /** Milliseconds since 1970. */
  readonly sinceMs: number
}

/** Namespaces that are followed for the sake of links into them, and links that follow their artifact. */
const maxCarriers = 256
/** Links that are known to have been ended, some 100 bytes each. */
const maxEnded = 10_000

/**
 * Whether links into namespaces that this agent has no part in are in force. Of each namespace one link that is good carries the
 * right to see who may do what there, which is enough to judge all links into it.
 */
export class ForeignView {
  readonly #options: ForeignViewOptions
  readonly #refreshing: SharedWaits
  /** Least recently used first. */
  readonly #carriers = new Map<string, Carrier>()
  /** Names of links that the log of their namespace ended; it may be forgotten here by now. */
  readonly #ended = new Set<string>()
  readonly #stopObserving: () => void

  constructor(options: ForeignViewOptions) {
    this.#options = options
    this.#refreshing = new SharedWaits(options.patienceMs)
    this.#stopObserving = options.follows.observe({ ended: (followed) => this.#noteEnd(followed) })
  }

  /**
   * What is held of the namespace of a link that is in force.
   * @throws REVOKED; STALE_VIEW when nobody who knows could be asked of late
   */
  async logOf(link: Capability<LinkClaims>, signal: AbortSignal): Promise<Namespace> {
    const { claims } = link
    if (this.#ended.has(nameOf(claims))) throw revoked()
    await this.#carry(link)
    if (!this.#isFresh(claims)) {
      // Anyone can sign something for a namespace that is not known here: it must not keep others waiting.
      if (!this.#isProven(claims)) await this.#carryInstead(link)
      await this.#refresh(claims, signal)
    }
    if (!this.#isFresh(claims) && (await this.#carryInstead(link))) await this.#refresh(claims, signal)
    return this.#judged(claims)
  }

  /** Follows none of it any more. */
  async close(): Promise<void> {
    this.#stopObserving()
    await this.#refreshing.close()
    await Promise.all([...this.#carriers.values()].map(({ link }) => this.#drop(link)))
    this.#carriers.clear()
  }

  #judged(claims: LinkClaims): Namespace {
    const log = this.#options.follows.logOf(claims.namespace)
    const refusal = log?.membership.refusalOf(claims)
    if (refusal === 'REVOKED' || this.#ended.has(nameOf(claims))) throw revoked()
    if (log === undefined || !this.#isFresh(claims)) throw staleView()
    if (refusal !== undefined) throw revoked()
    return log
  }

  #isFresh(claims: LinkClaims): boolean {
    const { env, follows, maxAgeMs } = this.#options
    const refreshedAt = follows.refreshedAt(claims.namespace)
    // What was told before an artifact was followed was not about it.
    const sinceMs = claims.pinned === undefined ? (this.#carrierOf(claims)?.sinceMs ?? 0) : 0
    return refreshedAt !== undefined && refreshedAt >= Math.max(env.now() - maxAgeMs, sinceMs)
  }

  #carrierOf(claims: LinkClaims): Carrier | undefined {
    return this.#carriers.get(carrierKey(claims))
  }

  async #refresh(claims: LinkClaims, signal: AbortSignal): Promise<void> {
    const { follows } = this.#options
    const { namespace } = claims
    const carrier = this.#carrierOf(claims)?.link.claims ?? claims
    await this.#refreshing.wait(`${toHex(namespace)} ${nameOf(carrier)}`, signal, (bounded) =>
      follows.refresh(namespace, bounded),
    )
  }

  /** Whether what carries the namespace of a link is known to have been issued by somebody who could. */
  #isProven(claims: LinkClaims): boolean {
    const carrier = this.#carrierOf(claims)?.link.claims
    return carrier !== undefined && this.#options.follows.logOf(claims.namespace)?.isIssued(carrier) === true
  }

  /** Makes sure that some link that is good, as far as is known, carries the namespace. */
  async #carry(link: Capability<LinkClaims>): Promise<void> {
    const key = carrierKey(link.claims)
    const carrier = this.#carriers.get(key)
    if (carrier !== undefined && this.#isGood(carrier.link)) {
      this.#carriers.delete(key)
      this.#carriers.set(key, carrier)
      return
    }
    await this.#carryBy(link, carrier?.link)
  }

  /** Has this link carry its namespace; `false` when it does. */
  async #carryInstead(link: Capability<LinkClaims>): Promise<boolean> {
    const carrier = this.#carrierOf(link.claims)?.link
    if (carrier !== undefined && nameOf(carrier.claims) === nameOf(link.claims)) return false
    await this.#carryBy(link, carrier)
    return true
  }

  async #carryBy(link: Capability<LinkClaims>, before: Capability<LinkClaims> | undefined): Promise<void> {
    const { env, follows, peersOf } = this.#options
    const { claims, token } = link
    const key = carrierKey(claims)
    this.#carriers.delete(key)
    this.#carriers.set(key, { link, sinceMs: env.now() })
    const scope = claims.pinned === undefined ? 'artifact' : 'auth'
    await follows.follow({ token, peers: peersOf(claims), scope, isKept: false })
    // After that: the log goes with the last that carries it.
    if (before !== undefined && nameOf(before.claims) !== nameOf(claims)) await this.#drop(before)
    for (const [oldest, carrier] of this.#carriers) {
      if (this.#carriers.size <= maxCarriers) break
      this.#carriers.delete(oldest)
      await this.#drop(carrier.link)
    }
  }

  async #drop({ claims }: Capability<LinkClaims>): Promise<void> {
    await this.#options.follows.unfollow(claims)
  }

  #isGood({ claims }: Capability<LinkClaims>): boolean {
    const { env, follows } = this.#options
    if (this.#ended.has(nameOf(claims)) || timeOf(claims, env.now(), 0) !== 'valid') return false
    const log = follows.logOf(claims.namespace)
    return log?.isIssued(claims) !== true || log.membership.refusalOf(claims) === undefined
  }

  #noteEnd({ capability: { claims }, reason }: Followed): void {
    if (claims.kind !== 'link' || (reason !== 'REVOKED' && reason !== 'ISSUER_REMOVED')) return
    if (this.#ended.size >= maxEnded) this.#ended.delete(this.#ended.values().next().value as string)
    this.#ended.add(nameOf(claims))
  }
}

/** Links to versions carry their namespace for one another; one that follows its artifact is followed itself. */
function carrierKey(claims: LinkClaims): string {
  const namespace = toHex(claims.namespace)
  return claims.pinned === undefined ? `${namespace} ${nameOf(claims)}` : namespace
}

function nameOf({ issuer, jti }: LinkClaims): string {
  return `${toHex(issuer)} ${toHex(jti)}`
}
