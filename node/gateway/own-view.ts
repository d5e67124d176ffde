import type { LocalEnvironment, OpenNamespace, Replication } from '../../sdk/local/index.ts'
import type { LinkClaims } from '../../src/capability/index.ts'
import { equalBytes, toHex } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import { rankOf } from '../../src/membership/index.ts'
import { SharedWaits } from './shared-waits.ts'

interface OwnViewOptions {
  readonly env: Pick<LocalEnvironment, 'now' | 'agent'>
  readonly replication: Pick<Replication, 'syncStatus' | 'refresh'>
  /** How old what is known of revocations may be, milliseconds. */
  readonly maxAgeMs: number
  /** How long somebody is waited for who tells more, milliseconds. */
  readonly patienceMs: number
}

/** Whether links into the namespaces of this node are in force, by a log that is known to be in step. */
export class OwnView {
  readonly #options: OwnViewOptions
  readonly #refreshing: SharedWaits

  constructor(options: OwnViewOptions) {
    this.#options = options
    this.#refreshing = new SharedWaits(options.patienceMs)
  }

  /** @throws REVOKED; STALE_VIEW when nobody who could have ended the link was heard of late */
  async requireInForce(namespace: OpenNamespace, claims: LinkClaims, signal: AbortSignal): Promise<void> {
    requireNotRevoked(namespace, claims)
    if (!this.#mayHaveChanged(namespace, claims) || this.#isFresh(namespace)) return
    await this.#refreshing.wait(toHex(namespace.log.id), signal, (bounded) =>
      this.#options.replication.refresh(namespace, bounded),
    )
    requireNotRevoked(namespace, claims)
    if (!this.#isFresh(namespace)) throw staleView()
  }

  /** Ends what is under way. */
  async close(): Promise<void> {
    await this.#refreshing.close()
  }

  #isFresh(namespace: OpenNamespace): boolean {
    const { env, replication, maxAgeMs } = this.#options
    const { lastSyncAt } = replication.syncStatus(namespace) ?? {}
    return lastSyncAt !== undefined && lastSyncAt >= env.now() - maxAgeMs
  }

  /** Whether anybody else could have ended it, or its issuer's right: of others' links the issuer, of all who ranks above it. */
  #mayHaveChanged({ log }: OpenNamespace, { issuer, grant }: LinkClaims): boolean {
    const self = this.#options.env.agent.publicKey
    if (!equalBytes(issuer, self)) return true
    const under = log.membership.grantOf(grant)
    const rank = under === undefined ? 0 : rankOf(under.role)
    return log.membership.members.some(({ agent, role }) => rankOf(role) > rank && !equalBytes(agent, self))
  }
}

function requireNotRevoked({ log }: OpenNamespace, claims: LinkClaims): void {
  if (log.membership.refusalOf(claims) !== undefined) throw revoked()
}

/** The error for a link that was ended, or whose issuer has no right any more. */
export function revoked(): ArtifactHubError {
  return new ArtifactHubError('REVOKED', 'the link, or the right of its issuer, was taken back')
}

/** The error for a link of which it is not known whether it was ended. */
export function staleView(): ArtifactHubError {
  return new ArtifactHubError('STALE_VIEW', 'nobody who knows whether the link was revoked could be asked of late')
}
