import type { HoldingAsker, PeerNetwork, Scheduler } from '../../../src/exchange/index.ts'
import { formatDid } from '../../../src/identity/index.ts'
import { replicaTimeoutMs as defaultTimeoutMs, holderTurnMs } from '../../../src/limits.ts'
import type { ReplicaOptions, ReplicaReport } from '../../peer-client.ts'
import type { Found } from '../lookup.ts'
import { Holders } from './holders.ts'

interface ConfirmOptions {
  readonly network: PeerNetwork
  readonly scheduler: Scheduler
  /** Milliseconds of a clock that never jumps. */
  readonly monotonic: () => number
  /** This node's agent, 32 bytes. */
  readonly self: Uint8Array
  readonly holdings: HoldingAsker
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
  const { network, scheduler, monotonic, holdings } = options
  const end = monotonic() + replicaTimeoutMs
  const done = new AbortController()
  const over = Promise.withResolvers<void>()
  const finish = (): void => {
    done.abort(new DOMException('enough is known', 'AbortError'))
    over.resolve()
  }
  const stopTimer = scheduler.setTimer(replicaTimeoutMs, finish)
  signal?.addEventListener('abort', finish, { once: true })
  const holders = new Holders(log, options)
  const asking = new Set<Promise<void>>()
  const ask = async (agent: Uint8Array): Promise<void> => {
    const began = monotonic()
    const waitMs = Math.max(0, Math.min(holderTurnMs, Math.ceil(end - began)))
    const question = { namespace: log.id, artifact: record.artifact, root: record.root.digest, waitMs }
    holders.told(agent, await holdings.ask(agent, question, done.signal).catch(() => undefined))
    if (holders.confirmed.length >= replicas) finish()
    await pause(scheduler, began + askAgainMs - monotonic(), done.signal)
    holders.release(agent)
  }
  const askMembers = (): void => {
    if (done.signal.aborted) return
    for (let agent = holders.next(); agent !== undefined; agent = holders.next()) {
      const asked = ask(agent).finally(() => {
        asking.delete(asked)
        askMembers()
      })
      asking.add(asked)
    }
  }
  const stops = [
    network.onPeer((_, isConnected) => isConnected && askMembers()),
    log.subscribe(({ authChanged }) => authChanged && askMembers()),
  ]
  try {
    if (signal?.aborted === true) finish()
    askMembers()
    await over.promise
  } finally {
    stopTimer()
    for (const stop of stops) stop()
    signal?.removeEventListener('abort', finish)
    finish()
    await Promise.all(asking)
  }
  signal?.throwIfAborted()
  return { requested: replicas, confirmed: holders.confirmed.map(formatDid) }
}

async function pause(scheduler: Scheduler, delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted || delayMs <= 0) return
  const over = Promise.withResolvers<void>()
  const stop = scheduler.setTimer(delayMs, over.resolve)
  const onAbort = (): void => over.resolve()
  signal.addEventListener('abort', onAbort, { once: true })
  await over.promise
  stop()
  signal.removeEventListener('abort', onAbort)
}
