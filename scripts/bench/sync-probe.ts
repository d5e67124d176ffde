import { randomFillSync } from 'node:crypto'
import { LevelStore } from '../../node/disk/index.ts'
import { startNetwork } from '../../node/network/index.ts'
import { joinNamespace, runSync, type SyncOutcome } from '../../src/exchange/index.ts'
import { AgentKey, parseTicket } from '../../src/identity/index.ts'
import { HybridClock } from '../../src/log/index.ts'
import { Namespace } from '../../src/namespace/index.ts'
import { MemoryBlocks } from '../../test/support/namespace-nodes.ts'

const random = (length: number): Uint8Array<ArrayBuffer> => randomFillSync(new Uint8Array(length))

const scheduler = {
  now: Date.now,
  setTimer: (delayMs: number, work: () => void): (() => void) => {
    const timer = setTimeout(work, delayMs)
    return () => clearTimeout(timer)
  },
}

/** The key of an agent that rounds are asked for as. */
export function probeAgent(): AgentKey {
  return new AgentKey(random(32))
}

/**
 * Joins the namespace of a ticket as an agent that has a role there, then runs rounds with a member until one finds nothing new.
 *
 * @param dbPath where its database is made: one in memory takes the longer for a row the more it has, until a member takes it for too slow
 */
export async function noOpRound(
  agent: AgentKey,
  ticketText: string,
  dbPath: string,
): Promise<SyncOutcome & { readonly ms: number }> {
  const { id, peers } = parseTicket(ticketText)
  const provider = peers[0]
  if (provider === undefined) throw new Error('the ticket names nobody')
  await using network = await startNetwork({
    agent,
    mode: 'lan',
    listen: ['/ip4/127.0.0.1/tcp/0'],
    now: Date.now,
    monotonic: () => performance.now(),
    random,
  })
  await using store = await LevelStore.open({ path: dbPath })
  const env = {
    store,
    packs: async () => new MemoryBlocks(),
    agent,
    incarnation: random(16),
    clock: new HybridClock(Date.now),
    random,
  }
  const { log } = await joinNamespace({
    network,
    scheduler,
    self: agent.publicKey,
    id,
    providers: [provider],
    create: async (genesis) => await Namespace.join(env, id, genesis, () => []),
  })
  for (;;) {
    const startedMs = performance.now()
    const outcome = await runSync({ network, scheduler, log, agent: provider.agent })
    if (outcome.result === 'same') return { ...outcome, ms: performance.now() - startedMs }
  }
}
