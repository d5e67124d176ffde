import { setTimeout as delay } from 'node:timers/promises'
import { ArtifactHubError, isHubError } from '../../src/errors.ts'
import type { ArtifactHubNode, LogStatus } from '../node-types.ts'

/** Milliseconds between two looks at the state of a node: nothing tells of a round that is through, or of who was told. */
const lookEveryMs = 100

type SyncState = Pick<LogStatus, 'role' | 'members' | 'contentsToFetch' | 'sync'>

/**
 * Waits until each of the namespaces and groups, or the one of that id or name, has been compared with a member's copy since a moment, or has no other members, or the
 * time is up. Gives the state in which it ended.
 */
export async function awaitSync(
  node: ArtifactHubNode,
  options: { since: Date; timeoutMs: number; signal: AbortSignal; namespace?: string | undefined },
): Promise<{ rows: readonly LogStatus[]; isSynced: (row: SyncState) => boolean }> {
  const { since, namespace, signal } = options
  const isSynced = (row: SyncState): boolean => {
    // A round may have brought that its role was taken away: then it is about to be here no more.
    if (row.role === undefined) return false
    return row.members <= 1 || (syncedWith(row, since).length > 0 && row.sync.behind + row.contentsToFetch === 0)
  }
  return await looking(options, async () => {
    const { namespaces, groups } = await node.status({ signal })
    const isAsked = (row: LogStatus): boolean => namespace === undefined || row.id === namespace
    const rows = [...namespaces.filter((row) => isAsked(row) || row.name === namespace), ...groups.filter(isAsked)]
    return { done: rows.every(isSynced), value: { rows, isSynced } }
  })
}

/** Waits until an agent has the log of a namespace or group (by its id) as it is now, or the time is up. */
export async function awaitTold(
  node: ArtifactHubNode,
  options: { did: string; namespace: string; since: Date; timeoutMs: number; signal: AbortSignal },
): Promise<void> {
  await looking(options, async () => {
    const { namespaces, groups } = await node.status({ signal: options.signal })
    const row = [...namespaces, ...groups].find(({ id }) => id === options.namespace)
    const isTold = row !== undefined && syncedWith(row, options.since).includes(options.did)
    return { done: isTold, value: undefined }
  })
}

/**
 * The round trip to an agent, milliseconds, once it can be reached: one that is found by multicast is not known at once.
 * @throws as `ping`, UNAVAILABLE when the time is up, whoever holds the connection then and says nothing
 */
export async function awaitReached(
  node: ArtifactHubNode,
  { agent, timeoutMs, signal }: { agent: string; timeoutMs: number; signal: AbortSignal },
): Promise<number> {
  const late = AbortSignal.timeout(timeoutMs)
  const timely = AbortSignal.any([signal, late])
  let failure: unknown = new ArtifactHubError('UNAVAILABLE', 'the agent was not reached in time')
  return await looking({ timeoutMs, signal }, async () => {
    try {
      return { done: true, value: await node.ping(agent, { signal: timely }) }
    } catch (error) {
      signal.throwIfAborted()
      if (isHubError(error, 'UNAVAILABLE')) failure = error
      if (late.aborted) throw failure
      // Nobody comes to reach this node from itself.
      if (!isHubError(error, 'UNAVAILABLE') || error.details.reason === 'self') throw error
      return { done: false, value: Number.NaN }
    }
  })
}

/** DIDs of those whose copy has been compared with this one since then. */
export function syncedWith(row: Pick<LogStatus, 'sync'>, since: Date): string[] {
  return row.sync.peers
    .filter(({ outcome, lastSyncAt }) => {
      const isWell = outcome === 'same' || outcome === 'exchanged'
      return isWell && lastSyncAt !== undefined && lastSyncAt >= since
    })
    .map(({ did }) => did)
}

/** Looks until it is done, or the time is up. Gives what the last look found. @throws what a look throws; the signal's reason */
export async function looking<T>(
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
  look: () => Promise<{ done: boolean; value: T }>,
): Promise<T> {
  const endMs = performance.now() + timeoutMs
  for (;;) {
    const isLast = performance.now() >= endMs
    const { done, value } = await look()
    if (done || isLast) return value
    await delay(lookEveryMs, undefined, { signal })
  }
}
