import { toHex } from '../../../src/encoding/index.ts'
import { askHolding, type PeerNetwork, type Scheduler } from '../../../src/exchange/index.ts'
import { formatDid } from '../../../src/identity/index.ts'
import { replicaTimeoutMs as defaultTimeoutMs, maxHoldersAsked, maxHoldingWaitMs } from '../../../src/limits.ts'
import type { ReplicaOptions, ReplicaReport } from '../../peer-client.ts'
import type { Found } from '../lookup.ts'
import { membersByReach } from './members-by-reach.ts'

interface ConfirmOptions {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  /** Milliseconds of a clock that never jumps. */
  readonly monotonic: () => number
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
}

/** An agent that does not answer is asked again after this, milliseconds. */
const askAgainMs = 500

/**
 * Waits until so many other nodes have a version on their disks. Resolves at that, or when the time is over, with those who
 * said so; `undefined` when none were asked for.
 * @throws the signal's reason
 */
export async function confirmReplicas(
  options: ConfirmOptions,
  { namespace: { log }, record }: Found,
  { replicas, replicaTimeoutMs = defaultTimeoutMs, signal }: ReplicaOptions & { signal?: AbortSignal | undefined },
): Promise<ReplicaReport | undefined> {
  if (replicas === undefined || replicas === 0) return undefined
  const { network, scheduler, monotonic } = options
  const confirmed = new Map<string, Uint8Array>()
  const end = monotonic() + replicaTimeoutMs
  const done = new AbortController()
  const over = Promise.withResolvers<void>()
  const finish = (): void => {
    done.abort(new DOMException('enough is known', 'AbortError'))
    over.resolve()
  }
  const stopTimer = scheduler.setTimer(replicaTimeoutMs, finish)
  signal?.addEventListener('abort', finish, { once: true })
  const asking = new Map<string, Promise<void>>()
  const ask = async (agent: Uint8Array): Promise<void> => {
    while (!done.signal.aborted) {
      const waitMs = Math.max(0, Math.min(maxHoldingWaitMs, Math.ceil(end - monotonic())))
      const question = { namespace: log.id, artifact: record.artifact, root: record.root.digest, waitMs }
      const holds = await askHolding({ network, scheduler, signal: done.signal }, agent, question).catch(
        () => undefined,
      )
      if (holds === 'all') {
        confirmed.set(toHex(agent), agent)
        if (confirmed.size >= replicas) finish()
        return
      }
      await pause(scheduler, askAgainMs, done.signal)
    }
  }
  const askMembers = (): void => {
    for (const agent of membersByReach(log, options)) {
      if (done.signal.aborted || asking.size >= maxHoldersAsked) return
      const key = toHex(agent)
      if (!asking.has(key)) asking.set(key, ask(agent))
    }
  }
  const stopListening = network.onPeer((_, isConnected) => {
    if (isConnected) askMembers()
  })
  try {
    if (signal?.aborted === true) finish()
    askMembers()
    await over.promise
  } finally {
    stopTimer()
    stopListening()
    signal?.removeEventListener('abort', finish)
    finish()
    await Promise.all(asking.values())
  }
  signal?.throwIfAborted()
  return { requested: replicas, confirmed: [...confirmed.values()].map(formatDid) }
}

async function pause(scheduler: Scheduler, delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  const over = Promise.withResolvers<void>()
  const stop = scheduler.setTimer(delayMs, over.resolve)
  const onAbort = (): void => over.resolve()
  signal.addEventListener('abort', onAbort, { once: true })
  await over.promise
  stop()
  signal.removeEventListener('abort', onAbort)
}
