import { describe, expect, it } from 'vitest'
import { MemoryNetwork, type MemoryPeer } from '../../test/support/memory-network.ts'
import { NamespaceNode, TestTime } from '../../test/support/namespace-nodes.ts'
import { toHex } from '../encoding/index.ts'
import {
  groupQuestionBurst,
  groupTellCost,
  maxGroupQuestions,
  maxGroupQuestionsOfAgent,
  maxProofBytes,
} from '../limits.ts'
import { readProof } from '../membership/index.ts'
import type { ShownDescriptor } from '../namespace/index.ts'
import { askDescriptor, serveGroups, tellDescriptor } from './group-protocol.ts'
import { framed } from './question.test-helper.ts'
import type { QuestionServer } from './question.ts'
import type { Scheduler } from './scheduler.ts'
import { until } from './transfer.test-helper.ts'

const protocol = '/artifact-hub/group/1'
const agentOf = (seed: number) => new Uint8Array(32).fill(seed)

/** Time that stands still, and timers that fire at once. */
const still: Scheduler = {
  now: () => 1_790_000_000_000,
  setTimer: (delayMs, work) => {
    // A frame's timeout never comes; a refusal's delay is over at once.
    const timer = delayMs < 1_000 ? setImmediate(work) : undefined
    return () => timer && clearImmediate(timer)
  },
}

interface World extends AsyncDisposable {
  readonly server: QuestionServer
  readonly member: MemoryPeer
  readonly asker: MemoryPeer
  readonly group: NamespaceNode
  readonly told: ShownDescriptor[]
  readonly askers: string[]
  readonly options: { network: MemoryPeer; scheduler: Scheduler; signal: AbortSignal }
}

/** A node that is in a group, and an agent connected to it that is not. */
async function world(): Promise<World> {
  const group = await new NamespaceNode(1, new TestTime()).create({ isGroup: true })
  const network = new MemoryNetwork()
  const [member, asker] = [network.join(agentOf(1)), network.join(agentOf(2))]
  network.connect(member, asker)
  const told: ShownDescriptor[] = []
  const askers: string[] = []
  const server = serveGroups({
    network: member,
    scheduler: still,
    shown: async (id, agent) => {
      askers.push(toHex(agent))
      return toHex(id) === toHex(group.ns.id) ? await group.ns.descriptors.own() : undefined
    },
    told: async (descriptor) => {
      readProof(descriptor.group, descriptor.proof)
      told.push(descriptor)
    },
  })
  const options = { network: asker, scheduler: still, signal: new AbortController().signal }
  return { server, member, asker, group, told, askers, options, [Symbol.asyncDispose]: () => server.close() }
}

/** Sends bytes as they are; gives what comes back until the end. */
async function raw(asker: MemoryPeer, to: Uint8Array, ...pieces: Uint8Array[]): Promise<Uint8Array> {
  const stream = await asker.open(to, protocol)
  const came: Uint8Array[] = []
  try {
    for (const piece of pieces) await stream.write(piece)
    await stream.closeWrite()
    for (let piece = await stream.read(); piece !== undefined; piece = await stream.read()) came.push(piece)
  } finally {
    stream.abort(new Error('done'))
  }
  return new Uint8Array(Buffer.concat(came))
}

describe('questions about groups', () => {
  it('are answered with what proves the epoch, to whoever knows the id, and alike for what is not there', async () => {
    await using w = await world()
    const { group, member, options } = w
    const shown = await askDescriptor(options, member.agent, group.ns.id)
    expect(shown).toEqual(await group.ns.descriptors.own())
    const elsewhere = await new NamespaceNode(5, new TestTime()).create()
    for (const id of [elsewhere.ns.id, agentOf(9)])
      expect(await askDescriptor(options, member.agent, id)).toBeUndefined()
    expect(w.member.penalties).toEqual([])
  })

  it('bring news, which are read as whoever is told says', async () => {
    await using w = await world()
    const descriptor = (await w.group.ns.descriptors.own()) as ShownDescriptor
    await tellDescriptor(w.options, w.member.agent, descriptor)
    expect(w.told).toEqual([descriptor])
    const [genesis] = descriptor.proof as [Uint8Array]
    for (const proof of [[new Uint8Array(100)], [genesis, genesis]]) {
      const telling = tellDescriptor(w.options, w.member.agent, { ...descriptor, proof })
      await expect(telling).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    }
    expect(w.told).toHaveLength(1)
    expect(w.member.penalties.map(({ misbehaviour }) => misbehaviour)).toEqual(['bad-frame', 'bad-frame'])
  })

  it.each([
    ['nothing known', { v: 1 }],
    ['no version', { ask: agentOf(3) }],
    ['a group id of another length', { v: 1, ask: new Uint8Array(31) }],
    ['both at once', { v: 1, ask: agentOf(3), tell: agentOf(3), proof: [new Uint8Array(1)] }],
    ['no proof', { v: 1, tell: agentOf(3), proof: [] }],
    ['a proof of no bytes', { v: 1, tell: agentOf(3), proof: ['text'] }],
    [
      'a proof of more entries than any',
      { v: 1, tell: agentOf(3), proof: Array.from({ length: 257 }, () => new Uint8Array(1)) },
    ],
    ['a text', 'ask'],
  ])('are refused for %s, and held against who asks', async (_, message) => {
    await using w = await world()
    await expect(raw(w.asker, w.member.agent, framed(message))).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(w.told).toEqual([])
    expect(w.askers).toEqual([])
    expect(w.member.penalties.map(({ misbehaviour }) => misbehaviour)).toEqual(['bad-frame'])
  })

  it.each([0, 2])('of version %s are refused, and held against nobody', async (v) => {
    await using w = await world()
    const asking = raw(w.asker, w.member.agent, framed({ v, ask: w.group.ns.id }))
    await expect(asking).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(w.askers).toEqual([])
    expect(w.member.penalties).toEqual([])
  })

  it('are bounded before they are there: a length over the limit, and bytes behind the end', async () => {
    await using w = await world()
    const long = new Uint8Array(4)
    new DataView(long.buffer).setUint32(0, maxProofBytes * 2)
    await expect(raw(w.asker, w.member.agent, long)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    const behind = Buffer.concat([framed({ v: 1, ask: w.group.ns.id }), new Uint8Array(9)])
    await expect(raw(w.asker, w.member.agent, behind)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(w.askers).toEqual([])
    expect(w.member.penalties).toHaveLength(2)
  })

  it('come at the rate at which they can be answered: news cost more, and floods are held against who makes them', async () => {
    await using w = await world()
    const descriptor = (await w.group.ns.descriptors.own()) as ShownDescriptor
    const tells = groupQuestionBurst / groupTellCost
    for (let at = 0; at < tells; at++) await tellDescriptor(w.options, w.member.agent, descriptor)
    await expect(tellDescriptor(w.options, w.member.agent, descriptor)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(w.told).toHaveLength(tells)
    await expect(askDescriptor(w.options, w.member.agent, w.group.ns.id)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(w.member.penalties.map(({ misbehaviour }) => misbehaviour)).toEqual(['flood', 'flood'])
  })

  it('are looked into in bounded number, of one agent and in all: more of one is a flood, and more in all wait for nobody', async () => {
    const network = new MemoryNetwork()
    const member = network.join(agentOf(1))
    const answers = new Set<() => void>()
    const shown = () => new Promise<undefined>((resolve) => answers.add(() => resolve(undefined)))
    await using _ = serveGroups({ network: member, scheduler: still, shown, told: async () => {} })
    const ask = (from: MemoryPeer) =>
      askDescriptor(
        { network: from, scheduler: still, signal: new AbortController().signal },
        member.agent,
        agentOf(9),
      ).catch((error) => error)
    const agent = (seed: number) => {
      const peer = network.join(agentOf(seed))
      network.connect(member, peer)
      return peer
    }
    const first = agent(2)
    const asked = Array.from({ length: maxGroupQuestionsOfAgent }, () => ask(first))
    await until(() => answers.size === maxGroupQuestionsOfAgent)
    expect(await ask(first)).toMatchObject({ code: 'UNAVAILABLE' })
    expect(member.penalties.map(({ misbehaviour }) => misbehaviour)).toEqual(['flood'])
    for (let seed = 3; asked.length < maxGroupQuestions; seed++) {
      const peer = agent(seed)
      for (let own = 0; own < maxGroupQuestionsOfAgent && asked.length < maxGroupQuestions; own++) asked.push(ask(peer))
    }
    await until(() => answers.size === maxGroupQuestions)
    const late = agent(99)
    expect(await ask(late)).toMatchObject({ code: 'UNAVAILABLE' })
    expect([answers.size, member.penalties.length]).toEqual([maxGroupQuestions, 1])
    for (const answer of answers) answer()
    expect(await Promise.all(asked)).toEqual(asked.map(() => undefined))
    answers.clear()
    const answered = ask(late)
    await until(() => answers.size === 1)
    for (const answer of answers) answer()
    expect(await answered).toBeUndefined()
  })

  it('are not answered any more by a node that closes', async () => {
    const w = await world()
    await w.server.close()
    await expect(askDescriptor(w.options, w.member.agent, w.group.ns.id)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })

  it('whose answers are not what they must be are refused by who asked', async () => {
    const network = new MemoryNetwork()
    const [liar, asker] = [network.join(agentOf(1)), network.join(agentOf(2))]
    network.connect(liar, asker)
    const options = { network: asker, scheduler: still, signal: new AbortController().signal }
    const answers = [
      [{ v: 1, proof: 'yes' }, 'CORRUPT'],
      [{ v: 1 }, 'CORRUPT'],
      [{ v: 1, proof: [] }, 'CORRUPT'],
      [null, 'CORRUPT'],
      [{ v: 0, proof: null }, 'UNSUPPORTED_FORMAT'],
      [{ v: 2, proof: null }, 'UNSUPPORTED_FORMAT'],
    ] as const
    for (const [answer, code] of answers) {
      const unhandle = liar.handle(protocol, async (stream) => {
        await stream.write(framed(answer))
        await stream.closeWrite()
      })
      await expect(askDescriptor(options, liar.agent, agentOf(3))).rejects.toMatchObject({ code })
      unhandle()
    }
  })
})
