import { expect, test } from 'vitest'
import { toHex } from '../../../src/encoding/index.ts'
import { type Receipt, serveInbox } from '../../../src/exchange/index.ts'
import { maxDeliveriesAtOnce, maxFullAnswers } from '../../../src/limits.ts'
import { MemoryKeyValueStore } from '../../../test/support/memory-key-value.ts'
import { ManualScheduler, MemoryNetwork, type MemoryPeer } from '../../../test/support/memory-network.ts'
import { NamespaceNode, TestTime } from '../../../test/support/namespace-nodes.ts'
import { agentOf, createGroup, groupOf, recordGroup } from '../../../test/support/sharing-nodes.ts'
import { Deliveries } from './deliveries.ts'
import { Outbox } from './outbox.ts'

const hour = 3_600_000

/** An owner of a namespace with an outbox, and agents whose inboxes answer what they are told to. */
class Post {
  readonly time = new TestTime()
  readonly scheduler = new ManualScheduler()
  readonly network = new MemoryNetwork()
  readonly store = new MemoryKeyValueStore()
  readonly owner = new NamespaceNode(1, this.time)
  readonly own: MemoryPeer
  /** Deliveries that came, by agent in hex: how many envelopes each. */
  readonly came = new Map<string, number[]>()
  readonly answers = new Map<string, Receipt>()
  /** Whom the ticket of every group names, and who decides there. */
  readonly ofGroup: NamespaceNode[] = []
  readonly deciders: NamespaceNode[] = []
  #seed = 10

  constructor() {
    this.own = this.network.join(this.owner.id)
  }

  async open(): Promise<Outbox> {
    const { scheduler, own: network } = this
    return new Outbox({
      network,
      scheduler,
      chance: () => 1,
      self: this.owner.id,
      deliveries: await Deliveries.open(this.store),
      peersOf: () => [],
      peersOfGroup: () => this.ofGroup.map(({ id }) => ({ agent: id, addresses: [] })),
      decidersOf: async () => this.deciders.map(({ id }) => id),
      deposit: async () => undefined,
      warn: (message, fields) => expect.fail(`${message} ${JSON.stringify(fields)}`),
    })
  }

  /** An agent with a node, that takes what comes unless it is told otherwise; connected unless it is said to be away. */
  agent({ isAway = false } = {}): NamespaceNode {
    const node = new NamespaceNode(this.#seed++, this.time)
    const peer = this.network.join(node.id)
    const name = toHex(node.id)
    serveInbox({
      network: peer,
      scheduler: this.scheduler,
      isKnown: () => true,
      receive: async ({ envelopes }) => {
        this.came.set(name, [...(this.came.get(name) ?? []), envelopes.length])
        return envelopes.map(() => this.answers.get(name) ?? 'taken')
      },
    })
    if (!isAway) this.network.connect(this.own, peer)
    return node
  }

  meet({ id }: NamespaceNode): void {
    const peer = this.network.find(id)
    if (peer !== undefined) this.network.connect(this.own, peer)
  }

  of({ id }: NamespaceNode): readonly number[] {
    return this.came.get(toHex(id)) ?? []
  }

  /** Until nothing is under way: what is said goes over a few turns. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve))
  }

  async rows(): Promise<number> {
    return (await Array.fromAsync(this.store.entries({}))).length
  }
}

test('who has no room is told again ever later, not at each connection, and given up after a day, until something is shared anew', async () => {
  const post = new Post()
  await post.owner.create()
  const bob = post.agent()
  post.answers.set(toHex(bob.id), 'full')
  const outbox = await post.open()
  const { ns } = post.owner
  const artifact = await post.owner.write('one')
  const shares = await ns.sharing.share({ artifact, audience: [agentOf(bob)] })
  const claims = shares[0]?.claims ?? expect.fail('it is shared')
  outbox.tell(ns, shares)
  await post.settle()
  expect([post.of(bob), outbox.stateOf(claims)]).toEqual([[1], 'waiting'])
  const peer = post.network.find(bob.id) ?? expect.fail('it has a node')
  for (let at = 0; at < 5; at++) {
    post.network.disconnect(post.own, peer)
    post.network.connect(post.own, peer)
    await post.settle()
  }
  await outbox.look(ns)
  await post.settle()
  expect(post.of(bob)).toEqual([1])
  const waits: number[] = []
  for (let hours = 0; outbox.stateOf(claims) === 'waiting' && hours < 100; hours += 0.25) {
    post.scheduler.advance(hour / 4)
    await post.settle()
    if (post.of(bob).length > waits.length + 1) waits.push(hours)
  }
  expect(post.of(bob)).toHaveLength(maxFullAnswers)
  expect(waits.at(-1)).toBeGreaterThan(20)
  expect(waits.at(-1)).toBeLessThan(30)
  expect(outbox.stateOf(claims)).toBe('full')
  expect(outbox.undelivered).toEqual([{ kind: 'agent', id: bob.id, state: 'full', count: 1 }])
  post.scheduler.advance(100 * hour)
  await outbox.look(ns)
  await post.settle()
  expect(post.of(bob)).toHaveLength(maxFullAnswers)
  expect(post.scheduler.pending).toBe(0)
  // There is room now, and something else is shared: both arrive.
  post.answers.delete(toHex(bob.id))
  outbox.tell(ns, await ns.sharing.share({ artifact: await post.owner.write('two'), audience: [agentOf(bob)] }))
  await post.settle()
  expect(post.of(bob).at(-1)).toBe(2)
  expect([outbox.stateOf(claims), outbox.undelivered]).toEqual(['taken', []])
  await outbox.close()
})

test('a connection has to do with that agent alone, and what was answered is not told again, over a restart too', async () => {
  const post = new Post()
  await post.owner.create()
  const [bob, carol, dave] = [post.agent({ isAway: true }), post.agent({ isAway: true }), post.agent({ isAway: true })]
  post.answers.set(toHex(carol.id), 'refused')
  const { ns } = post.owner
  const artifact = await post.owner.write('one')
  const outbox = await post.open()
  const shares = await ns.sharing.share({ artifact, audience: [bob, carol, dave].map(agentOf) })
  outbox.tell(ns, shares)
  await post.settle()
  const states = (box: Outbox) => shares.map(({ claims }) => box.stateOf(claims))
  expect(states(outbox)).toEqual(['waiting', 'waiting', 'waiting'])
  post.meet(bob)
  await post.settle()
  expect([post.of(bob), post.of(carol), post.of(dave)]).toEqual([[1], [], []])
  post.meet(carol)
  await post.settle()
  expect(states(outbox)).toEqual(['taken', 'refused', 'waiting'])
  await outbox.close()
  const again = await post.open()
  await again.look(ns)
  await post.settle()
  expect(states(again)).toEqual(['taken', 'refused', 'waiting'])
  post.meet(dave)
  await post.settle()
  expect([post.of(bob), post.of(carol), post.of(dave)]).toEqual([[1], [1], [1]])
  await again.close()
})

test('what was answered is forgotten once the share has ended: taken back, by its time, or with its namespace', async () => {
  const post = new Post()
  await post.owner.create()
  const [bob, carol, dave] = [post.agent(), post.agent(), post.agent()]
  const { ns } = post.owner
  const artifact = await post.owner.write('one')
  const outbox = await post.open()
  outbox.tell(ns, await ns.sharing.share({ artifact, audience: [agentOf(bob)] }))
  outbox.tell(ns, await ns.sharing.share({ artifact, audience: [agentOf(carol)], expiresIn: 60 }))
  outbox.tell(ns, await ns.sharing.share({ artifact, audience: [agentOf(dave)] }))
  await post.settle()
  expect(await post.rows()).toBe(3)
  await outbox.ended(ns, await ns.sharing.unshare({ artifact, audience: [agentOf(bob)] }))
  expect(await post.rows()).toBe(2)
  post.time.nowMs += 200_000
  await outbox.look(ns)
  expect(await post.rows()).toBe(1)
  await outbox.forget(ns)
  expect(await post.rows()).toBe(0)
  await outbox.close()
})

test('many are told a few at a time, and who could not be reached is tried ever later', async () => {
  const post = new Post()
  await post.owner.create()
  const many = Array.from({ length: 3 * maxDeliveriesAtOnce }, () => post.agent())
  const away = post.agent({ isAway: true })
  let [open, most, tries] = [0, 0, 0]
  const { open: connect } = post.own
  post.own.open = async (agent, ...more) => {
    if (toHex(agent) === toHex(away.id)) tries += 1
    open += 1
    most = Math.max(most, open)
    // As long as a dial takes.
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
    try {
      return await connect.call(post.own, agent, ...more)
    } finally {
      open -= 1
    }
  }
  const { ns } = post.owner
  const outbox = await post.open()
  outbox.tell(
    ns,
    await ns.sharing.share({ artifact: await post.owner.write('one'), audience: [...many, away].map(agentOf) }),
  )
  await post.settle()
  await post.settle()
  expect(many.map((one) => post.of(one))).toEqual(many.map(() => [1]))
  expect(most).toBe(maxDeliveriesAtOnce)
  expect(outbox.undelivered).toEqual([{ kind: 'agent', id: away.id, state: 'waiting', count: 1 }])
  tries = 0
  for (let minutes = 0; minutes < 60; minutes++) {
    post.scheduler.advance(60_000)
    await post.settle()
  }
  // 1, 2, 4 … 512 s, then every ten minutes.
  expect(tries).toBeGreaterThan(8)
  expect(tries).toBeLessThan(18)
  await outbox.close()
})

/** An artifact that is shared with a group, whose ticket names some agents. */
async function withGroup(post: Post) {
  await post.owner.create()
  const outbox = await post.open()
  const { ns } = post.owner
  const { owner: group } = await createGroup(40, post.time, [])
  await recordGroup(post.owner, group)
  const artifact = await post.owner.write('one')
  const shares = await ns.sharing.share({ artifact, audience: [groupOf(group)] })
  const claims = shares[0]?.claims ?? expect.fail('it is shared')
  return { outbox, ns, shares, claims }
}

test('one agent that a group’s ticket names keeps nothing from the group by saying that it took it', async () => {
  const post = new Post()
  const { outbox, ns, shares, claims } = await withGroup(post)
  const [mallory, bob, carol] = [post.agent(), post.agent({ isAway: true }), post.agent()]
  post.ofGroup.push(mallory, bob)
  outbox.tell(ns, shares)
  await post.settle()
  expect([post.of(mallory), post.of(bob)]).toEqual([[1], []])
  expect([outbox.stateOf(claims), outbox.undelivered]).toEqual(['taken', []])
  // Not Mallory again, and Bob as soon as he is met.
  post.meet(bob)
  await post.settle()
  expect([post.of(mallory), post.of(bob), post.of(carol)]).toEqual([[1], [1], []])
  post.scheduler.advance(24 * hour)
  await post.settle()
  expect([post.of(mallory), post.of(bob)]).toEqual([[1], [1]])
  // Nothing is forgotten past a restart.
  await outbox.close()
  expect((await post.open()).stateOf(claims)).toBe('taken')
})

test('what an owner or admin of a group took is told to nobody else, nor what one took if nobody else is known', async () => {
  for (const isAdmin of [true, false]) {
    const post = new Post()
    const { outbox, ns, shares, claims } = await withGroup(post)
    const [admin, bob] = [post.agent(), post.agent()]
    if (isAdmin) post.deciders.push(admin)
    else post.ofGroup.push(admin)
    if (isAdmin) post.ofGroup.push(bob)
    outbox.tell(ns, shares)
    await post.settle()
    post.scheduler.advance(24 * hour)
    await post.settle()
    expect([post.of(admin), post.of(bob)]).toEqual([[1], []])
    expect(outbox.stateOf(claims)).toBe('taken')
    await outbox.close()
  }
})
