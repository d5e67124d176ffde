import { toHex } from '../../src/encoding/index.ts'
import { ArtifactHubError } from '../../src/errors.ts'
import { maxRememberedAgents } from '../../src/limits.ts'

/** Why an agent could not be reached: `details.reason` of UNAVAILABLE. */
export type UnreachableReason =
  | 'unknown-address'
  | 'refused'
  | 'no-route'
  | 'timed-out'
  | 'another-agent'
  | 'dial-failed'
  | 'protocol-not-spoken'
  | 'too-many-streams'
  | 'penalised'
  | 'self'
  | 'offline'

/** UNAVAILABLE about an agent, in words that name it and why. */
export function unreachable(
  did: string,
  reason: UnreachableReason,
  message: string,
  cause?: unknown,
): ArtifactHubError {
  return new ArtifactHubError('UNAVAILABLE', `${did} cannot be reached: ${message}`, {
    details: { reason, did, ...(cause === undefined ? {} : { answers: answersOf(cause) }) },
    ...(cause === undefined ? {} : { cause }),
  })
}

/** What each address answered, one text each. */
function answersOf(cause: unknown): string[] {
  const errors = cause instanceof AggregateError ? cause.errors : [cause]
  return errors.slice(0, 16).map((error) => (error instanceof Error ? error.message : String(error)))
}

/** The one reason that says most of a failed dial: that somebody answered, before that nobody did. */
export function dialFailure(cause: unknown): { reason: UnreachableReason; message: string } {
  const errors: unknown[] = cause instanceof AggregateError ? cause.errors : [cause]
  const some = (test: (name: string, text: string) => boolean): boolean =>
    errors.some((error) => error instanceof Error && test(error.name, error.message))
  if (some((name, text) => name === 'UnexpectedPeerError' || /unexpected peer|identity key/i.test(text)))
    return { reason: 'another-agent', message: 'another agent answers at its address' }
  if (some((_, text) => /ECONNREFUSED/.test(text)))
    return { reason: 'refused', message: 'nothing listens at its address' }
  if (some((name) => name === 'ConnectionInterceptedError' || name === 'DialDeniedError'))
    return { reason: 'penalised', message: 'it is refused for misbehaviour' }
  if (some((_, text) => /ENETUNREACH|EHOSTUNREACH|EADDRNOTAVAIL/.test(text)))
    return { reason: 'no-route', message: 'no route leads to its address' }
  if (some((name) => name === 'TimeoutError' || name === 'AbortError'))
    return { reason: 'timed-out', message: 'its address does not answer' }
  return { reason: 'dial-failed', message: 'the connection failed' }
}

/** Why agents could not be reached when last tried. */
export class Failures {
  readonly #agents = new Map<string, { error: ArtifactHubError; since: Date }>()
  readonly #now: () => number

  /** @param now milliseconds since 1970 */
  constructor(now: () => number) {
    this.#now = now
  }

  /** Remembers a failure; its time stays that of the first in a row. */
  failed(agent: Uint8Array, error: ArtifactHubError): void {
    const id = toHex(agent)
    const since = this.#agents.get(id)?.since ?? new Date(this.#now())
    this.#agents.delete(id)
    this.#agents.set(id, { error, since })
    if (this.#agents.size > maxRememberedAgents) this.#agents.delete(this.#agents.keys().next().value as string)
  }

  reached(agent: Uint8Array): void {
    this.#agents.delete(toHex(agent))
  }

  of(agent: Uint8Array): { error: ArtifactHubError; since: Date } | undefined {
    return this.#agents.get(toHex(agent))
  }
}
