import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { ManualScheduler, MemoryNetwork, type MemoryPeer } from '../../test/support/memory-network.ts'
import { equalBytes, toHex } from '../encoding/index.ts'
import { ArtifactHubError } from '../errors.ts'
import type { AgentKey } from '../identity/index.ts'
import {
  healAgainMs,
  maxPushPeers,
  maxSyncOffers,
  maxSyncRounds,
  syncFrameTimeoutMs,
  syncRoundTurnMs,
  syncRoundWaitMs,
  syncStreamBurst,
} from '../limits.ts'
import { elapsed } from './elapsed.ts'
import { agentOf, MemoryLog } from './memory-log.test-helper.ts'
import { Replicator, type ReplicatorOptions } from './replicator.ts'
import type { SyncMessage } from './sync-codec.ts'
import { hintTopic, offerState, offerTag } from './sync-offer.ts'
import { syncProtocol } from './sync-run.ts'
import { ann, bob, eve, owner, RawStream } from './sync-world.test-helper.ts'

interface Node {
  readonly peer: MemoryPeer
  readonly replicator: Replicator
  /** Streams that this node opened, and bytes that it wrote to them. */
  readonly opened: { streams: number; bytes: number }
  readonly invited: { readonly namespace: string; readonly from: string }[]
}

class World {
  readonly network = new MemoryNetwork()
  readonly scheduler = new ManualScheduler()
  readonly nodes: Node[] = []
  #seed = 1

  add(agent: AgentKey, more: Partial<ReplicatorOptions> = {}): Node {
    const peer = this.network.join(agent.publicKey)
    const opened = { streams: 0, bytes: 0 }
    const open = peer.open.bind(peer)
    peer.open = async (...args) => {
      const stream = await open(...args)
      opened.streams += 1
      const write = stream.write.bind(stream)
      stream.write = async (bytes, options) => {
        opened.bytes += bytes.length
        await write(bytes, options)
      }
      return stream
    }
    const invited: Node['invited'] = []
    const replicator = new Replicator({
      network: peer,
      scheduler: this.scheduler,
      random: () => {
        this.#seed = (this.#seed * 48_271) % 2_147_483_647
        return this.#seed / 2_147_483_647
      },
      self: agent.publicKey,
      onInvited: (namespace, from) => invited.push({ namespace: toHex(namespace), from: toHex(from) }),
      ...more,
    })
    const node = { peer, replicator, opened, invited }
    this.nodes.push(node)
    return node
  }

  follow(log: MemoryLog): Node {
    const node = this.add(log.agent)
    node.replicator.follow(log)
    return node
  }

  connect(one: Node, other: Node): void {
    this.network.connect(one.peer, other.peer)
  }

  disconnect(one: Node, other: Node): void {
    this.network.disconnect(one.peer, other.peer)
  }

  /** Lets that much time pass, and all that follows from it. */
  async pass(ms: number, stepMs = 5): Promise<void> {
    for (let passed = 0; passed <= ms; passed += stepMs) {
      this.scheduler.advance(passed === 0 ? 0 : stepMs)
      await this.work()
    }
  }

  /** Lets everything run that needs no time to pass. */
  async work(): Promise<void> {
    for (let turn = 0; turn < 40; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
  }

  get streams(): number {
    return this.nodes.reduce((sum, { opened }) => sum + opened.streams, 0)
  }

  async close(): Promise<void> {
    await Promise.all(this.nodes.map(({ replicator }) => replicator.close()))
  }
}

let world = new World()
afterEach(async () => {
  await world.close()
  expect(world.scheduler.pending).toBe(0)
  expect(world.network.openStreams).toBe(0)
  world = new World()
})

/** Logs of the owner and of so many writers, all alike. */
function logsOf(count: number): MemoryLog[] {
  const first = MemoryLog.create(owner)
  const agents = Array.from({ length: count - 1 }, (_, at) => agentOf(at + 1))
  for (const agent of agents) first.grant(agent, 'writer')
  return [first, ...agents.map((agent) => first.copy(agent))]
}

const two = (): [MemoryLog, MemoryLog] => logsOf(2) as [MemoryLog, MemoryLog]

describe('connected members', () => {
  it('have a new entry before any time has passed, over a stream that stays', async () => {
    const [a, b] = two()
    const [one, other] = [world.follow(a), world.follow(b)]
    world.connect(one, other)
    await world.pass(100)
    const before = one.opened.streams
    for (let written = 0; written < 5; written++) {
      a.put()
      await world.work()
      expect(b.hashes).toEqual(a.hashes)
    }
    expect(one.opened.streams - before).toBe(1)
    await world.pass(70_000, 1_000)
    expect(world.network.openStreams).toBe(0)
    a.put()
    await world.work()
    expect(b.hashes).toEqual(a.hashes)
  })

  it('of any number of namespaces keep them in step without being taken for a flood', async () => {
    const pairs = Array.from({ length: syncStreamBurst + 50 }, two)
    const [one, other] = [world.add(owner), world.add(agentOf(1))]
    for (const [a, b] of pairs) {
      one.replicator.follow(a)
      other.replicator.follow(b)
      b.put()
    }
    const inStep = (): boolean => pairs.every(([a, b]) => equalBytes(a.vectorHash, b.vectorHash))
    world.connect(one, other)
    for (let seconds = 0; seconds < 60 && !inStep(); seconds += 5) await world.pass(5_000, 1_000)
    expect(inStep()).toBe(true)
    const before = world.streams
    await world.pass(3 * 60_000, 10_000)
    // Nothing happens, and each looks all the same.
    expect(world.streams - before).toBeGreaterThan(pairs.length)
    expect([...one.peer.penalties, ...other.peer.penalties]).toEqual([])
  })

  it('of more namespaces than one offer tells of are told of the rest in another', async () => {
    const one = world.add(owner)
    for (let made = 0; made <= maxSyncOffers; made++) {
      const log = MemoryLog.create(owner)
      log.grant(ann, 'writer')
      one.replicator.follow(log)
    }
    const offers: number[] = []
    const other = world.network.join(ann.publicKey)
    other.handle(syncProtocol, async (stream) => {
      const raw = new RawStream(stream)
      const message = await raw.receive()
      if (message?.type !== 'offer') return
      offers.push(message.rows.length)
      await raw.send({ type: 'offered', same: message.rows.map((_row, at) => at), unknown: [] })
      expect(await raw.receive()).toBeUndefined()
    })
    world.network.connect(one.peer, other)
    await world.pass(10)
    expect(offers).toEqual([maxSyncOffers, 1])
  })

  it('have their rounds, though another says nothing in the rounds of many namespaces', async () => {
    const mute = world.network.join(agentOf(1).publicKey)
    mute.handle(syncProtocol, () => new Promise(() => {}))
    const one = world.add(owner)
    const silent = Array.from({ length: 2 * maxSyncRounds }, () => two()[0])
    for (const log of silent) one.replicator.follow(log)
    const log = MemoryLog.create(owner)
    log.grant(agentOf(2), 'writer')
    const copy = log.copy(agentOf(2))
    one.replicator.follow(log)
    const other = world.add(agentOf(2))
    other.replicator.follow(copy)
    world.network.connect(one.peer, mute)
    const waiting = silent.map(({ id }) => one.replicator.syncNow(id))
    await world.work()
    world.connect(one, other)
    const began = world.scheduler.now()
    expect(await world.scheduler.until(one.replicator.syncNow(log.id), 100)).toBe(1)
    expect(world.scheduler.now() - began).toBeLessThan(syncFrameTimeoutMs)
    world.network.disconnect(one.peer, mute)
    await world.scheduler.until(Promise.all(waiting), 1_000)
  })

  it('have their rounds, though others give what they have little by little, in rounds that have no end', async () => {
    const one = world.add(owner)
    const slow = [agentOf(1), agentOf(2)].map((agent) => {
      const logs = Array.from({ length: maxSyncRounds }, () => {
        const log = MemoryLog.create(owner)
        log.grant(agent, 'writer')
        one.replicator.follow(log)
        return log
      })
      const peer = world.network.join(agent.publicKey)
      // An entry every 20 seconds.
      peer.handle(syncProtocol, async (stream, signal) => {
        const raw = new RawStream(stream)
        const hello = await raw.receive()
        if (hello?.type !== 'hello') return
        const log = logs.find(({ id }) => equalBytes(id, hello.namespace))?.copy(agent) as MemoryLog
        await raw.send({ type: 'vector', same: false, rows: [], ids: [], wants: [], more: false })
        for (;;) {
          await elapsed(world.scheduler, 20_000, signal)
          const [hash] = log.putMany(1)
          await raw.send({ type: 'entries', entries: [(await log.bytes(hash as Uint8Array)) as Uint8Array] })
        }
      })
      world.network.connect(one.peer, peer)
      return { peer, waiting: logs.map(({ id }) => one.replicator.syncNow(id)) }
    })
    await world.work()
    const log = MemoryLog.create(owner)
    log.grant(agentOf(3), 'writer')
    const other = world.follow(log.copy(agentOf(3)))
    one.replicator.follow(log)
    world.connect(one, other)
    const began = world.scheduler.now()
    expect(await world.scheduler.until(one.replicator.syncNow(log.id), 1_000)).toBe(1)
    expect(world.scheduler.now() - began).toBeLessThan(syncRoundTurnMs + syncRoundWaitMs)
    expect(one.peer.penalties).toEqual([])
    for (const { peer } of slow) world.network.disconnect(one.peer, peer)
    await world.scheduler.until(Promise.all(slow.flatMap(({ waiting }) => waiting)), 1_000)
  })

  it('have their rounds, though others are dialled in any number and do not answer', async () => {
    const one = world.add(owner)
    const silent = new Set<string>()
    const open = one.peer.open.bind(one.peer)
    one.peer.open = (agent, ...more) =>
      silent.has(toHex(agent))
        ? elapsed(world.scheduler, 3_600_000, more[1]?.signal).then(() => expect.fail('it does not answer'))
        : open(agent, ...more)
    for (let seed = 10; seed < 10 + 2 * maxSyncRounds; seed++) {
      const log = MemoryLog.create(owner)
      log.grant(agentOf(seed), 'writer')
      silent.add(toHex(agentOf(seed).publicKey))
      one.replicator.follow(log)
    }
    await world.pass(10)
    const log = MemoryLog.create(owner)
    log.grant(agentOf(3), 'writer')
    const other = world.follow(log.copy(agentOf(3)))
    one.replicator.follow(log)
    world.connect(one, other)
    expect(await one.replicator.syncNow(log.id)).toBe(1)
  })

  it('are told of what is new by pushes up to a number, and all others by hints', async () => {
    const logs = logsOf(maxPushPeers + 9)
    const [first, ...others] = logs.map((log) => world.follow(log)) as [Node, ...Node[]]
    for (const other of others) world.connect(first, other)
    await world.pass(200)
    const before = first.opened.streams
    logs[0]?.put()
    await world.work()
    expect(first.opened.streams - before).toBe(maxPushPeers)
    await world.pass(3_000, 20)
    for (const log of logs) expect(log.hashes).toEqual(logs[0]?.hashes)
  })

  it('in two groups that know of each other meet, though none of them is alone', async () => {
    const logs = logsOf(4)
    const [a, b, c, d] = logs.map((log) => world.follow(log)) as [Node, Node, Node, Node]
    world.connect(a, b)
    world.connect(c, d)
    await world.pass(1_000, 100)
    for (const one of [a, b, c, d])
      for (const other of [a, b, c, d]) one.peer.addAddresses(other.peer.agent, other.peer.addresses())
    logs[0]?.put()
    await world.pass(3 * 60_000, 1_000)
    for (const log of logs) expect(log.hashes).toEqual(logs[0]?.hashes)
  })

  it('that already have the same on connecting only say so', async () => {
    const [a, b] = two()
    const [one, other] = [world.follow(a), world.follow(b)]
    world.connect(one, other)
    await world.pass(5_000)
    expect(world.streams).toBe(2)
    expect(one.opened.bytes + other.opened.bytes).toBeLessThan(300)
    for (const { replicator } of world.nodes) {
      expect(replicator.status(a.id)).toMatchObject({ behind: 0, lastError: undefined, peers: [{ outcome: 'same' }] })
    }
  })

  it('that differ on connecting are in step all the same when the one whose part it is does not begin', async () => {
    const [a, b] = two()
    a.putMany(4)
    const [one, other] = [world.follow(a), world.follow(b)]
    const [first, second] = Buffer.compare(owner.publicKey, ann.publicKey) < 0 ? [one, other] : [other, one]
    const { open } = first.peer
    // It offers, and then cannot open a stream for a while.
    let opened = 0
    first.peer.open = async (...args) => {
      opened += 1
      if (opened > 1) throw new ArtifactHubError('UNAVAILABLE', 'no streams left')
      return await open(...args)
    }
    world.connect(first, second)
    await world.pass(2_500)
    expect(b.hashes).toEqual(a.hashes)
  })

  it('have all of what is written while a push is under way', async () => {
    const [a, b] = two()
    const [one, other] = [world.follow(a), world.follow(b)]
    world.connect(one, other)
    await world.pass(100)
    for (let turn = 0; turn < 300; turn++) {
      a.put(1)
      // At every point of a push, the very last included.
      for (let step = 0; step < turn % 30; step++) await Promise.resolve()
      if (turn % 7 === 0) for (let step = 0; step < turn % 12; step++) await new Promise((r) => setImmediate(r))
    }
    await world.work()
    expect(b.hashes).toEqual(a.hashes)
  })

  it('that differ on connecting run one round, whoever of them is behind', async () => {
    const [a, b] = two()
    a.putMany(40)
    b.putMany(30)
    const [one, other] = [world.follow(a), world.follow(b)]
    world.connect(one, other)
    await world.pass(1_000)
    expect(a.hashes).toEqual(b.hashes)
    expect(world.streams).toBe(3)
    await world.pass(10_000)
    expect(world.streams).toBe(3)
    expect(other.replicator.status(a.id)).toMatchObject({ behind: 0, peers: [{ agent: owner.publicKey }] })
  })

  it('meet again after a time apart', async () => {
    const [a, b] = two()
    const [one, other] = [world.follow(a), world.follow(b)]
    world.connect(one, other)
    await world.pass(100)
    world.disconnect(one, other)
    a.putMany(10)
    b.putMany(10)
    await world.pass(600_000, 1_000)
    expect(a.size).not.toBe(22)
    world.connect(one, other)
    await world.pass(500)
    expect(a.size).toBe(22)
    expect(b.hashes).toEqual(a.hashes)
  })

  it('pass on what came from others: a chain of nodes is in step within two seconds', async () => {
    const logs = logsOf(5)
    const nodes = logs.map((log) => world.follow(log))
    for (let at = 1; at < nodes.length; at++) world.connect(nodes[at - 1] as Node, nodes[at] as Node)
    await world.pass(2_000)
    logs[0]?.put()
    logs[4]?.put()
    await world.pass(1_500)
    for (const log of logs) expect(log.hashes).toEqual(logs[0]?.hashes)
  })

  it('whose store failed once are brought in step by a round', async () => {
    const [a, b] = two()
    const [one, other] = [world.follow(a), world.follow(b)]
    world.connect(one, other)
    await world.pass(100)
    b.beforeStore = async () => {
      throw new ArtifactHubError('STORAGE_FULL', 'the disk is full')
    }
    a.put()
    await world.pass(3_000)
    expect(b.size).toBe(2)
    b.beforeStore = undefined
    await world.pass(30_000, 100)
    expect(b.hashes).toEqual(a.hashes)
    expect(one.replicator.status(a.id)?.lastError).toBeUndefined()
  })
})

describe('who may know of a namespace', () => {
  it('an agent that is granted a role while connected is told at once, and joins', async () => {
    const a = MemoryLog.create(owner)
    const [one, other] = [world.follow(a), world.add(eve)]
    world.connect(one, other)
    await world.pass(1_000)
    expect(one.opened.streams).toBe(0)
    expect(other.invited).toEqual([])
    a.grant(eve, 'writer')
    await world.pass(20)
    expect(other.invited).toEqual([{ namespace: toHex(a.id), from: toHex(owner.publicKey) }])
    const joined = MemoryLog.join(eve, a.id, (await a.bytes(a.id)) as Uint8Array)
    other.replicator.follow(joined)
    expect(await other.replicator.syncNow(a.id)).toBe(1)
    expect(joined.hashes).toEqual(a.hashes)
    joined.put()
    a.put()
    await world.work()
    expect(a.hashes).toEqual(joined.hashes)
    expect(other.invited.length).toBe(1)
  })

  it('one whose role ended is told at once when it has one again, on the same connection', async () => {
    const a = MemoryLog.create(owner)
    const [one, other] = [world.follow(a), world.add(eve)]
    world.connect(one, other)
    a.grant(eve, 'writer')
    await world.pass(20)
    expect(other.invited).toHaveLength(1)
    const roleOf = a.roleOf.bind(a)
    a.roleOf = (agent) => (toHex(agent) === toHex(eve.publicKey) ? undefined : roleOf(agent))
    a.grant(agentOf(1), 'reader')
    await world.pass(60_000, 500)
    other.invited.length = 0
    a.roleOf = roleOf
    a.grant(agentOf(2), 'reader')
    await world.pass(20)
    expect(other.invited).toEqual([{ namespace: toHex(a.id), from: toHex(owner.publicKey) }])
  })

  it('who asks an agent that has no role by its log invites it to nothing', async () => {
    const a = MemoryLog.create(owner)
    const [one, other] = [world.add(owner), world.add(eve)]
    one.replicator.follow(a, { peers: [{ agent: eve.publicKey, addresses: [] }] })
    world.connect(one, other)
    await world.pass(120_000, 500)
    expect(other.opened.streams + one.opened.streams).toBeGreaterThan(0)
    expect(one.replicator.status(a.id)?.peers).toMatchObject([{ outcome: 'denied' }])
    expect(other.invited).toEqual([])
  })

  it('whoever may heal a log does it when roles have changed: the owner soon, a writer only later', async () => {
    const healed: string[] = []
    const heal = (log: MemoryLog, name: string): MemoryLog =>
      Object.assign(log, { healer: { run: async () => void healed.push(name), isPutOff: false } })
    const [a, b] = two()
    const [one, other] = [world.follow(heal(a, 'owner')), world.follow(heal(b, 'writer'))]
    world.connect(one, other)
    await world.pass(60_000, 500)
    healed.length = 0
    a.grant(eve, 'reader')
    await world.pass(1_000)
    expect(healed).toEqual(['owner'])
    await world.pass(15_000, 100)
    expect(healed).toEqual(['owner', 'writer'])
  })

  it('a heal that failed is tried again, though nothing comes meanwhile', async () => {
    const [a] = two()
    let runs = 0
    let isPutOff = false
    const run = async () => {
      runs += 1
      isPutOff = runs < 3
      if (isPutOff) throw new ArtifactHubError('STORAGE_FAILED', 'the disk is full')
    }
    const healer = {
      run,
      get isPutOff() {
        return isPutOff
      },
    }
    world.follow(Object.assign(a, { healer }))
    a.grant(eve, 'reader')
    await world.pass(healAgainMs / 2, 500)
    expect(runs).toBe(1)
    await world.pass(4 * healAgainMs, 500)
    expect(runs).toBe(3)
  })

  it('one that the others have not heard of yet brings the grant itself', async () => {
    const [a, m] = two()
    const [one, middle] = [world.follow(a), world.follow(m)]
    a.grant(bob, 'writer')
    const b = a.copy(bob)
    b.putMany(3)
    const newcomer = world.follow(b)
    world.connect(newcomer, middle)
    await world.pass(1_000)
    expect(m.hashes).toEqual(b.hashes)
    expect(m.roleOf(bob.publicKey)).toBe('writer')
    m.put()
    await world.work()
    expect(b.hashes).toEqual(m.hashes)
    expect(one.opened.streams).toBe(0)
  })

  it('one that comes to ask without having been offered anything is asked in return', async () => {
    const [a, m] = two()
    a.grant(bob, 'writer')
    const b = a.copy(bob)
    b.putMany(3)
    const middle = world.follow(m)
    const newcomer = world.add(bob)
    world.connect(newcomer, middle)
    await world.pass(100)
    newcomer.replicator.follow(b)
    // It asks at once, before any offer.
    expect(await world.scheduler.until(newcomer.replicator.syncNow(b.id))).toBe(0)
    for (let turn = 0; turn < 10; turn++) await world.work()
    expect(m.hashes).toEqual(b.hashes)
  })

  it('a stranger that knows its id cannot tell a node that has it from one that has not', async () => {
    const [a] = two()
    const heard: unknown[][] = []
    for (const node of [world.follow(a), world.add(bob)]) {
      const stranger = world.network.join(eve.publicKey)
      const answers: unknown[] = []
      heard.push(answers)
      stranger.handle('/artifact-hub/sync/1', async () => void answers.push('is asked in return'))
      world.network.connect(stranger, node.peer)
      const self = node.peer.agent
      const ask = async (message: SyncMessage, ...more: SyncMessage[]): Promise<void> => {
        const raw = await RawStream.open(stranger, self)
        const began = world.scheduler.now()
        await raw.send(message)
        const answer = await world.scheduler.until(raw.receive(), 1)
        answers.push(answer, world.scheduler.now() - began)
        for (const one of more) await raw.send(one)
        await raw.stream.close()
      }
      const [namespace, tag] = [a.id, offerTag(a.id, eve.publicKey, self)]
      await ask({ type: 'hello', namespace, scope: { kind: 'namespace' }, hash: a.vectorHash, presentation: undefined })
      await ask({ type: 'push', namespace, entries: [new Uint8Array(1)] })
      const rows = [{ tag, state: offerState(tag, a.vectorHash) }]
      await ask({ type: 'offer', rows }, { type: 'names', namespaces: [namespace] })
      // A grant that it made up itself.
      const own = MemoryLog.create(eve)
      const grant = (await own.bytes(own.grant(eve, 'writer'))) as Uint8Array
      await ask({ type: 'claim', namespace, entries: [grant] })
      await world.pass(120_000, 500)
      world.network.disconnect(stranger, node.peer)
    }
    expect(heard[0]).toEqual(heard[1])
    expect(heard[0]).toContainEqual({ type: 'denied', reason: undefined, evidence: [] })
  })

  it('one that offers many namespaces that are not known here makes this node ask for a bounded number', async () => {
    const node = world.add(bob)
    const stranger = world.network.join(eve.publicKey)
    world.network.connect(stranger, node.peer)
    await world.pass(10)
    const rows = Array.from({ length: 1_000 }, (_, at) => {
      const namespace = agentOf(100 + at).publicKey
      const tag = offerTag(namespace, eve.publicKey, node.peer.agent)
      return { tag, state: offerState(tag, namespace) }
    })
    const raw = await RawStream.open(stranger, node.peer.agent)
    await raw.send({ type: 'offer', rows })
    const answer = await world.scheduler.until(raw.receive(), 1)
    expect(answer).toEqual({ type: 'offered', same: [], unknown: Array.from({ length: 64 }, (_, at) => at) })
    await raw.send({ type: 'names', namespaces: rows.slice(0, 64).map(({ tag }) => tag) })
    await raw.stream.close()
    await world.pass(100)
    expect(node.invited).toHaveLength(64)
  })

  it('a stranger that is connected hears nothing, whatever is written, and its own words are not heard', async () => {
    const [a, b] = two()
    const [one, other] = [world.follow(a), world.follow(b)]
    const stranger = world.network.join(eve.publicKey)
    let asked = 0
    stranger.handle('/artifact-hub/sync/1', async () => {
      asked += 1
    })
    world.network.connect(stranger, one.peer)
    world.network.connect(stranger, other.peer)
    world.connect(one, other)
    await world.pass(100)
    const before = world.streams
    for (let hint = 0; hint < 1_000; hint++) {
      stranger.hint(hintTopic(a.id), new Uint8Array(32).fill(hint))
      stranger.hint(hintTopic(a.id), new Uint8Array(hint))
    }
    await world.pass(5_000)
    expect(world.streams).toBe(before)
    a.put()
    await world.pass(120_000, 500)
    expect(asked).toBe(0)
    expect(b.hashes).toEqual(a.hashes)
  })

  it('a member whose hints all lie, though it answers, causes two rounds a second at most', async () => {
    const [a, b] = two()
    const [one, other] = [world.follow(a), world.follow(b)]
    world.connect(one, other)
    await world.pass(1_000)
    const before = one.opened.streams
    for (let hint = 0; hint < 200; hint++) {
      other.peer.hint(hintTopic(a.id), new Uint8Array(32).fill(hint + 1))
      await world.pass(20, 10)
    }
    expect(one.opened.streams - before).toBeGreaterThan(2)
    expect(one.opened.streams - before).toBeLessThan(15)
  })

  it('a member whose hints all lie causes a bounded number of rounds', async () => {
    const [a, b] = two()
    const one = world.follow(a)
    const liar = world.network.join(ann.publicKey)
    world.network.connect(liar, one.peer)
    for (let hint = 0; hint < 200; hint++) {
      liar.hint(hintTopic(a.id), new Uint8Array(32).fill(hint))
      liar.hint(hintTopic(a.id), new Uint8Array(5))
      await world.pass(50, 10)
    }
    expect(one.opened.streams).toBe(0)
    expect(one.replicator.status(a.id)?.peers[0]).toMatchObject({ outcome: 'failed', error: 'UNAVAILABLE' })
    expect(one.peer.penalties.length).toBe(200)
    expect(b.size).toBe(2)
  })
})

describe('finding others', () => {
  it('dials whom a ticket names, and members, with longer and longer waits', async () => {
    const [a, b] = two()
    b.putMany(5)
    const one = world.add(owner)
    let dialled = 0
    const { open } = one.peer
    one.peer.open = async (...args) => {
      dialled += 1
      return await open(...args)
    }
    one.replicator.follow(a)
    await world.pass(600_000, 500)
    expect(dialled).toBeGreaterThan(5)
    expect(dialled).toBeLessThan(60)
    const other = world.follow(b)
    one.replicator.follow(a, { peers: [{ agent: ann.publicKey, addresses: other.peer.addresses() }] })
    await world.pass(61_000, 500)
    expect(a.hashes).toEqual(b.hashes)
  })

  it('dials a member whose connection was lost again within seconds, though another is connected', async () => {
    const logs = logsOf(3)
    const [one, other, lost] = logs.map((log) => world.follow(log)) as [Node, Node, Node]
    world.connect(one, other)
    world.connect(one, lost)
    await world.pass(1_000, 50)
    let dialled = 0
    const { open } = one.peer
    one.peer.open = async (...args) => {
      if (toHex(args[0]) === toHex(agentOf(2).publicKey)) dialled += 1
      return await open(...args)
    }
    world.disconnect(one, lost)
    await world.pass(20_000, 200)
    expect(dialled).toBeGreaterThan(1)
    expect(dialled).toBeLessThan(12)
  })

  it('waits longer and longer for a member that always fails', async () => {
    const [a] = two()
    const one = world.follow(a)
    const peer = world.network.join(ann.publicKey)
    let asked = 0
    peer.handle('/artifact-hub/sync/1', async () => {
      asked += 1
      throw new Error('broken')
    })
    world.network.connect(one.peer, peer)
    await world.pass(600_000, 500)
    expect(asked).toBeGreaterThan(8)
    expect(asked).toBeLessThan(45)
    expect(one.replicator.status(a.id)).toMatchObject({
      lastError: { code: 'UNAVAILABLE' },
      peers: [{ agent: ann.publicKey, outcome: 'failed', lastSyncAt: undefined }],
    })
  })

  it('syncNow runs rounds at once and says how many worked', async () => {
    const [a, b] = two()
    const [one, other] = [world.follow(a), world.follow(b)]
    world.connect(one, other)
    await world.pass(100)
    const synced = one.replicator.syncNow(a.id)
    expect(await synced).toBe(1)
    await expect(one.replicator.syncNow(new Uint8Array(32))).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  it('syncNow waits for nobody else when one is enough, and for all while none has worked', async () => {
    const [a, b, c] = logsOf(3) as [MemoryLog, MemoryLog, MemoryLog]
    const [one, other] = [world.follow(a), world.follow(b)]
    const silent = world.network.join(c.agent.publicKey)
    const answer = Promise.withResolvers<void>()
    silent.handle('/artifact-hub/sync/1', () => answer.promise)
    world.network.connect(one.peer, silent)
    await world.work()
    const alone = one.replicator.syncNow(a.id, { isOneEnough: true })
    world.connect(one, other)
    await world.work()
    expect(await one.replicator.syncNow(a.id, { isOneEnough: true })).toBe(1)
    answer.reject(new Error('it gives up'))
    expect(await alone).toBe(0)
  })
})

describe('ending', () => {
  it('a namespace that is followed no more is neither served nor told of', async () => {
    const [a, b] = two()
    const [one, other] = [world.follow(a), world.follow(b)]
    world.connect(one, other)
    await world.pass(100)
    await one.replicator.unfollow(a.id)
    await one.replicator.unfollow(a.id)
    expect(one.replicator.status(a.id)).toBeUndefined()
    b.put()
    a.put()
    await world.pass(5_000)
    expect(a.size).toBe(3)
    expect(b.size).toBe(3)
    expect(other.replicator.status(a.id)?.peers[0]).toMatchObject({ outcome: 'denied' })
  })

  it('in the middle of a round cuts it and leaves nothing behind', async () => {
    const [a, b] = two()
    a.putMany(3_000)
    const [one, other] = [world.follow(a), world.follow(b)]
    world.connect(one, other)
    world.scheduler.advance(20)
    while (b.seen.batches === 0) await world.work()
    await Promise.all([other.replicator.close(), one.replicator.close(), one.replicator.close()])
    expect(world.network.openStreams).toBe(0)
    expect(() => one.replicator.follow(a)).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  })

  it('waits for what a round is storing that somebody asked for', async () => {
    const [a, b] = two()
    a.putMany(3)
    const [one, other] = [world.follow(a), world.follow(b)]
    const [begun, stored] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    b.beforeStore = async () => {
      begun.resolve()
      await stored.promise
    }
    world.connect(one, other)
    const syncing = other.replicator.syncNow(a.id)
    await begun.promise
    const ends: string[] = []
    const ending = other.replicator.unfollow(a.id).then(() => ends.push('unfollowed'))
    await world.work()
    ends.push('stored')
    stored.resolve()
    await ending
    expect(ends).toEqual(['stored', 'unfollowed'])
    expect(await syncing).toBe(0)
  })

  it('a part of a namespace takes nothing along that is followed while it closes', async () => {
    const [a, b] = two()
    const [one, other] = [world.follow(a), world.add(b.agent)]
    world.connect(one, other)
    other.replicator.followPartial(b.copy(), [], [])
    const closing = other.replicator.unfollow(a.id)
    other.replicator.follow(b)
    await closing
    await world.pass(50)
    a.put()
    await world.pass(50)
    expect(b.hashes).toEqual(a.hashes)
  })
})

describe('many nodes', () => {
  it('twenty that each write five times a second are in step at once when it ends, without a storm of rounds', async () => {
    const logs = logsOf(20)
    const nodes = logs.map((log) => world.follow(log))
    for (const [at, one] of nodes.entries()) for (const other of nodes.slice(at + 1)) world.connect(one, other)
    await world.pass(1_000, 50)
    const before = world.streams
    for (let turn = 0; turn < 20; turn++) {
      for (const [at, log] of logs.entries()) {
        if (at % 4 === turn % 4) log.put()
      }
      await world.pass(50, 50)
    }
    await world.pass(500, 50)
    for (const log of logs) expect(log.hashes).toEqual(logs[0]?.hashes)
    // One stream of pushes for each pair and direction, and hardly a round.
    expect(world.streams - before).toBeLessThan(20 * 19 + 60)
    const afterwards = world.streams
    await world.pass(20_000, 100)
    expect(world.streams - afterwards).toBeLessThan(100)
  })

  it('whatever the connections were, are in step soon after they are connected', async () => {
    const plans = fc.array(
      fc.record({
        action: fc.constantFrom('write', 'write', 'connect', 'disconnect', 'pass'),
        one: fc.nat(4),
        other: fc.nat(4),
        amount: fc.integer({ min: 1, max: 12 }),
      }),
      { maxLength: 30 },
    )
    await fc.assert(
      fc.asyncProperty(plans, async (plan) => {
        const logs = logsOf(5)
        const nodes = logs.map((log) => world.follow(log))
        for (const { action, one, other, amount } of plan) {
          const [a, b] = [nodes[one], nodes[other]] as [Node, Node]
          if (action === 'write') logs[one]?.putMany(amount)
          if (action === 'connect' && one !== other) world.connect(a, b)
          if (action === 'disconnect' && one !== other) world.disconnect(a, b)
          if (action === 'pass') await world.pass(amount * 20, 10)
        }
        // In a ring, so that nobody is connected to all.
        for (const [at, node] of nodes.entries()) world.connect(node, nodes[(at + 1) % nodes.length] as Node)
        await world.pass(5_000, 20)
        const all = [...new Set(logs.flatMap(({ hashes }) => hashes))].sort()
        for (const log of logs) expect(log.hashes).toEqual(all)
        for (const { peer } of nodes) expect(peer.penalties).toEqual([])
        await world.close()
        expect(world.scheduler.pending).toBe(0)
        world = new World()
      }),
      { numRuns: 20 },
    )
  })
})
