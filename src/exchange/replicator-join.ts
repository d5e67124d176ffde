import { ArtifactHubError, isHubError } from '../errors.ts'
import { formatDid } from '../identity/index.ts'
import type { Pace } from './pace.ts'
import type { PeerNetwork } from './peer-network.ts'
import type { KnownPeer } from './replicator.ts'
import type { Scheduler } from './scheduler.ts'
import type { ReplicatedLog } from './sync-log.ts'
import { fetchGenesis, runSync, type SyncOutcome } from './sync-run.ts'

/** What it takes to join a namespace. */
export interface JoinOptions<Log extends ReplicatedLog> {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
  /** 32 bytes. */
  readonly id: Uint8Array
  /** Who may have it: from a ticket, or whoever told of a grant. */
  readonly providers: readonly KnownPeer[]
  /** Makes the log on this node from its genesis entry, which has been checked against the id. */
  readonly create: (genesis: Uint8Array) => Promise<Log>
  /** By which streams to a provider are opened. */
  readonly pace?: Pace | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Joins a namespace that this agent has a role in: its genesis from the first provider that serves it, then one whole round with
 * that provider, or with the next if what came gives this agent no role: who has none there any more can give the beginning. What was received when this throws stays in the log that `create` made, and a later round goes on from there.
 *
 * @throws ACCESS_DENIED when somebody was reached and nobody serves this agent (`details.asked` says who answered what); UNAVAILABLE when
 * nobody was reached; what `create` and the log throw; the signal's reason
 */
export async function joinNamespace<Log extends ReplicatedLog>(
  options: JoinOptions<Log>,
): Promise<{ log: Log; outcome: SyncOutcome }> {
  const { network, scheduler, self, id, providers, create, pace, signal } = options
  const inTurn = <T>(agent: Uint8Array, work: () => Promise<T>): Promise<T> =>
    pace === undefined ? work() : pace.run(agent, signal, work)
  const asked: string[] = []
  let isDenied = false
  let log: Log | undefined
  for (const { agent, addresses } of providers) {
    signal?.throwIfAborted()
    network.addAddresses(agent, addresses)
    try {
      const genesisOf = () => fetchGenesis({ network, scheduler, agent, namespace: id, signal })
      log ??= await create(await inTurn(agent, genesisOf))
      const round = { network, scheduler, log, agent, signal }
      const outcome = await inTurn(agent, () => runSync(round))
      if (outcome.result === 'denied') throw new ArtifactHubError('ACCESS_DENIED', 'this agent is served no more')
      if (log.roleOf(self) === undefined)
        throw new ArtifactHubError('ACCESS_DENIED', 'by what it has this agent has no role')
      return { log, outcome }
    } catch (error) {
      signal?.throwIfAborted()
      const isAnswer = ['ACCESS_DENIED', 'UNAVAILABLE', 'CORRUPT', 'TOO_LARGE', 'UNSUPPORTED_FORMAT'] as const
      if (!isHubError(error) || !isAnswer.some((code) => code === error.code)) throw error
      isDenied ||= error.code === 'ACCESS_DENIED'
      const { reason } = error.details
      asked.push(`${formatDid(agent)}: ${error.code}${typeof reason === 'string' ? ` (${reason})` : ''}`)
    }
  }
  const message = isDenied
    ? 'none of the agents that were asked serves this namespace to this one: it has no role there, or not yet'
    : 'none of the agents that may have this namespace can be reached'
  throw new ArtifactHubError(isDenied ? 'ACCESS_DENIED' : 'UNAVAILABLE', message, { details: { asked } })
}
