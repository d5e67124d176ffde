import type { OpenNamespace, Replication } from '../../sdk/local/index.ts'
import { type Capability, type LinkClaims, openLinkKey } from '../../src/capability/index.ts'
import { equalBytes } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import type { ContentSource, LinkContent } from './content-source.ts'
import { OwnContents } from './own-contents.ts'
import { OwnView } from './own-view.ts'

interface LinkSourceOptions {
  readonly replication: Replication
  /** Links of anyone; else of this agent, of its namespaces and of its contacts. */
  readonly open: boolean
  /** How old what is known of revocations may be, milliseconds. */
  readonly maxViewAgeMs: number
}

/** How long a request waits for news of revocations, milliseconds: a dial takes its time, and clients wait longer. */
const patienceMs = 8_000

/** Where the contents of links are: whose links are served, whether they are in force, and what they give. */
export class LinkSource implements ContentSource, AsyncDisposable {
  readonly #options: LinkSourceOptions
  readonly #view: OwnView
  readonly #contents: OwnContents
  /** Opening a box costs more than all else of a small request. */
  readonly #keys = new WeakMap<LinkClaims, Uint8Array>()

  constructor(options: LinkSourceOptions) {
    const { replication, maxViewAgeMs } = options
    this.#options = options
    this.#view = new OwnView({ replication, maxAgeMs: maxViewAgeMs, patienceMs })
    this.#contents = new OwnContents(replication.env)
  }

  async find({ claims }: Capability<LinkClaims>, signal: AbortSignal): Promise<LinkContent> {
    const { namespaces } = this.#options.replication
    const namespace = namespaces.all.find(({ log }) => equalBytes(log.id, claims.namespace))
    this.#requireServed(claims, namespace)
    if (namespace === undefined) throw new ArtifactHubError('UNAVAILABLE', 'this gateway has no part in that namespace')
    await this.#view.requireInForce(namespace, claims, signal)
    const { pinned } = claims
    if (pinned === undefined) return await this.#contents.latest(namespace, claims)
    return await this.#contents.pinned(namespace, claims, pinned, this.#keyOf(claims))
  }

  async close(): Promise<void> {
    await this.#view.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #requireServed({ issuer }: LinkClaims, namespace: OpenNamespace | undefined): void {
    const { replication, open } = this.#options
    if (open || namespace !== undefined || equalBytes(issuer, replication.env.agent.publicKey)) return
    if (replication.contacts.all.some(({ agent }) => equalBytes(agent, issuer))) return
    throw new ArtifactHubError('ACCESS_DENIED', 'this gateway does not serve links of that agent')
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
