import { describe, expect, test } from 'vitest'
import { HoldingAsker, serveHolding } from '../../../src/exchange/index.ts'
import { AgentKey, formatDid } from '../../../src/identity/index.ts'
import { maxHoldersAsked, maxHoldingQuestionsOfAgent, replicaTimeoutMs } from '../../../src/limits.ts'
import { ManualScheduler, MemoryNetwork, type MemoryPeer } from '../../../test/support/memory-network.ts'
import { NamespaceNode, TestTime } from '../../../test/support/namespace-nodes.ts'
import type { Found } from '../lookup.ts'
import { confirmReplicas } from './confirm-replicas.ts'

/** An owner who writes, and members whose nodes say what they hold. */
class World {
  readonly scheduler = new ManualScheduler()
  readonly network = new MemoryNetwork()
  readonly owner = new NamespaceNode(1, new TestTime())
  readonly peer = this.network.join(this.owner.id)
  readonly holdings = new HoldingAsker({ network: this.peer, scheduler: this.scheduler })
  found: Found | undefined
  #members = 0

  async start(): Promise<this> {
    const { ns } = await this.owner.create()
    const record = await ns.catalog.get(await this.owner.write('content'))
    this.found = { namespace: { log: ns }, record } as Found
    return this
  }

  /** A member whose node holds all of it, a part, or none, and is not connected. */
  async member(role: 'reader' | 'replica', holds: () => boolean | 'part'): Promise<MemoryPeer> {
    const agent = new AgentKey(new Uint8Array(32).fill(++this.#members + 10)).publicKey
    await this.owner.ns.members.grant({ agent, role })
    const network = this.network.join(agent)
    serveHolding({
      network,
      scheduler: this.scheduler,
      self: agent,
      lookup: () => ({
        roleOf: () => 'owner',
        rootOf: () => undefined,
        holds: async () => {
          const said = holds()
          return said === 'part' ? said : said ? 'all' : 'none'
        },
        onMore: () => () => {},
      }),
    })
    return network
  }

  confirm(replicas: number, signal?: AbortSignal) {
    const { peer: network, scheduler, holdings } = this
    const options = { network, scheduler, holdings, monotonic: () => scheduler.now(), self: this.owner.id }
    return confirmReplicas(options, this.found as Found, { replicas, signal })
  }
}

describe('copies of a write', () => {
  test('are counted on a replica that comes late, however many members are there who fetch nothing', async () => {
    const world = await new World().start()
    for (let at = 0; at < 2 * maxHoldersAsked; at++) {
      world.network.connect(world.peer, await world.member('reader', () => false))
    }
    const replica = await world.member('replica', () => true)
    const confirming = world.confirm(1)
    world.scheduler.setTimer(3_000, () => world.network.connect(world.peer, replica))
    const report = await world.scheduler.until(confirming)
    expect(report).toEqual({ requested: 1, confirmed: [formatDid(replica.agent)] })
  })

  test('are counted on any member, though replicas that are there never have it', async () => {
    const world = await new World().start()
    for (let at = 0; at < 2 * maxHoldersAsked; at++) {
      world.network.connect(world.peer, await world.member('replica', () => false))
    }
    const reader = await world.member('reader', () => true)
    world.network.connect(world.peer, reader)
    const report = await world.scheduler.until(world.confirm(1))
    expect(report).toEqual({ requested: 1, confirmed: [formatDid(reader.agent)] })
  })

  test('of many writes at once are asked for within the bounds of who holds them', async () => {
    const world = await new World().start()
    let isThere = false
    const replica = await world.member('replica', () => isThere)
    world.network.connect(world.peer, replica)
    const writes = Array.from({ length: 4 * maxHoldingQuestionsOfAgent }, () => world.confirm(1))
    world.scheduler.setTimer(8_000, () => {
      isThere = true
    })
    for (const report of await world.scheduler.until(Promise.all(writes), 200)) {
      expect(report?.confirmed).toEqual([formatDid(replica.agent)])
    }
    expect(replica.penalties).toEqual([])
  })

  test('are whole ones', async () => {
    const world = await new World().start()
    let held: boolean | 'part' = 'part'
    const member = await world.member('replica', () => held)
    world.network.connect(world.peer, member)
    const some = await world.scheduler.until(world.confirm(1))
    expect(some).toEqual({ requested: 1, confirmed: [] })
    held = true
    const all = await world.scheduler.until(world.confirm(1))
    expect(all?.confirmed).toEqual([formatDid(member.agent)])
  })

  test('are waited for half a minute if the caller does not say, and those that there are by then are told of', async () => {
    const world = await new World().start()
    const member = await world.member('replica', () => true)
    world.network.connect(world.peer, member)
    const began = world.scheduler.now()
    const report = await world.scheduler.until(world.confirm(2))
    const tookMs = world.scheduler.now() - began
    expect(report).toEqual({ requested: 2, confirmed: [formatDid(member.agent)] })
    expect(replicaTimeoutMs).toBe(30_000)
    expect(tookMs).toBeGreaterThanOrEqual(replicaTimeoutMs)
    expect(tookMs).toBeLessThan(replicaTimeoutMs + 1_000)
  })

  test('are waited for no longer than the caller wants', async () => {
    const world = await new World().start()
    const stop = new AbortController()
    const waiting = world.confirm(1, stop.signal)
    stop.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    await expect(world.confirm(1, stop.signal)).rejects.toThrow('enough')
    expect(world.scheduler.pending).toBe(0)
  })
})
