import { believedPeers, type OpenNamespace, type Replication } from '../../sdk/local/index.ts'
import { type Capability, type LinkClaims, openLinkKey } from '../../src/capability/index.ts'
import { equalBytes } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import type { KnownPeer } from '../../src/exchange/index.ts'
import type { ContentSource, LinkContent } from './content-source.ts'
import { ForeignContents } from './foreign-contents.ts'
import { ForeignView } from './foreign-view.ts'
import { OwnContents } from './own-contents.ts'
import { OwnView, revoked } from './own-view.ts'

interface LinkSourceOptions {
  readonly replication: Replication
  /** Links of anyone; else of this agent, of its namespaces and of its contacts. */
  readonly open: boolean
  /** Dial private addresses on a stranger's word. */
  readonly allowPrivateProviders: boolean
  /** How old what is known of revocations may be, milliseconds. */
  readonly maxViewAgeMs: number
  /** Memory for blocks of namespaces that this agent has no part in, bytes. */
  readonly strangerCacheBytes: number
}

/** How long a request waits for news of revocations, milliseconds: a dial takes its time, and clients wait longer. */
const patienceMs = 8_000

/** Where the contents of links are: whose links are served, whether they are in force, and what they give. */
export class LinkSource implements ContentSource, AsyncDisposable {
  readonly #options: LinkSourceOptions
  readonly #ownView: OwnView
  readonly #ownContents: OwnContents
  readonly #foreignView: ForeignView
  readonly #foreignContents: ForeignContents
  /** Opening a box costs more than all else of a small request. */
  readonly #keys = new WeakMap<LinkClaims, Uint8Array>()

  constructor(options: LinkSourceOptions) {
    const { replication, maxViewAgeMs: maxAgeMs, strangerCacheBytes: cacheBytes } = options
    const { env, follows } = replication
    const peersOf = (claims: LinkClaims) => this.#peersOf(claims)
    this.#options = options
    this.#ownView = new OwnView({ env, replication, maxAgeMs, patienceMs })
    this.#ownContents = new OwnContents(env)
    this.#foreignView = new ForeignView({ env, follows, peersOf, maxAgeMs, patienceMs })
    this.#foreignContents = new ForeignContents({ env, peersOf, cacheBytes })
  }

  async find(link: Capability<LinkClaims>, signal: AbortSignal): Promise<LinkContent> {
    const { claims } = link
    const { pinned } = claims
    const { namespaces } = this.#options.replication
    const namespace = namespaces.all.find(({ log }) => equalBytes(log.id, claims.namespace))
    this.#requireServed(claims, namespace)
    if (namespace === undefined) {
      // What this node knows by itself nobody has to be asked for; what was given there since it was removed it does not know.
      const ended = namespaces.findEnded(claims.namespace)?.namespace.log
      if (ended?.isIssued(claims) === true && ended.membership.refusalOf(claims) !== undefined) throw revoked()
      const log = await this.#foreignView.logOf(link, signal)
      if (pinned === undefined) return await this.#foreignContents.latest(link, log)
      return this.#foreignContents.pinned(link, log, pinned, this.#keyOf(claims))
    }
    await this.#ownView.requireInForce(namespace, claims, signal)
    if (pinned === undefined) return await this.#ownContents.latest(namespace, claims)
    return await this.#ownContents.pinned(namespace, claims, pinned, this.#keyOf(claims))
  }

  /** Idempotent. */
  async close(): Promise<void> {
    await Promise.all([this.#ownView.close(), this.#foreignView.close(), this.#foreignContents.close()])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #requireServed({ issuer }: LinkClaims, namespace: OpenNamespace | undefined): void {
    const { open } = this.#options
    if (open || namespace !== undefined || this.#isKnown(issuer)) return
    throw new ArtifactHubError('ACCESS_DENIED', 'this gateway does not serve links of that agent')
  }

  /** This agent, or a contact of it. */
  #isKnown(agent: Uint8Array): boolean {
    const { env, contacts } = this.#options.replication
    return equalBytes(agent, env.agent.publicKey) || contacts.nameOf(agent) !== undefined
  }

  /** Whom a link names as providers, with the addresses at which they may be dialled on its issuer's word; and the issuer. */
  #peersOf({ issuer, via }: LinkClaims): KnownPeer[] {
    const isBelieved = this.#options.allowPrivateProviders || this.#isKnown(issuer)
    const named = believedPeers(via, isBelieved)
    return named.some(({ agent }) => equalBytes(agent, issuer)) ? named : [...named, { agent: issuer, addresses: [] }]
  }

  /** @throws SIGNATURE_INVALID when what is sealed in it is not for this agent */
  #keyOf(claims: LinkClaims): Uint8Array {
    const key = this.#keys.get(claims) ?? openLinkKey(claims, this.#options.replication.env.agent)
    if (key === undefined) {
      throw new ArtifactHubError('SIGNATURE_INVALID', 'the link brings no key that this gateway can open')
    }
    this.#keys.set(claims, key)
    return key
  }
}
