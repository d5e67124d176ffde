import { describe, expect, test } from 'vitest'
import { ManualScheduler, MemoryNetwork, type MemoryPeer } from '../../test/support/memory-network.ts'
import { toHex } from '../encoding/index.ts'
import {
  blockRefusalMs,
  maxHoldingMessageBytes,
  maxHoldingQuestions,
  maxHoldingQuestionsOfAgent,
  maxHoldingWaitMs,
} from '../limits.ts'
import { askHolding, type HeldNamespace, serveHolding } from './holding.ts'
import { type Holds, holdingProtocol } from './holding-codec.ts'
import { until } from './transfer.test-helper.ts'

const namespace = new Uint8Array(32).fill(1)
const artifact = new Uint8Array(20).fill(2)
const root = new Uint8Array(32).fill(3)

class World {
  readonly scheduler = new ManualScheduler()
  readonly network = new MemoryNetwork()
  readonly asker: MemoryPeer = this.network.join(new Uint8Array(32).fill(8))
  readonly holder: MemoryPeer = this.network.join(new Uint8Array(32).fill(9))
  readonly listeners = new Set<() => void>()
  isMember = true
  holds: Holds = 'none'
  readonly server = serveHolding({
    network: this.holder,
    scheduler: this.scheduler,
    self: this.holder.agent,
    lookup: (id): HeldNamespace | undefined => {
      if (toHex(id) !== toHex(namespace)) return undefined
      return {
        roleOf: () => (this.isMember ? 'reader' : undefined),
        rootOf: () => undefined,
        holds: async () => this.holds,
        onMore: (_, listener) => {
          this.listeners.add(listener)
          return () => this.listeners.delete(listener)
        },
      }
    },
  })

  ask(
    waitMs: number,
    signal = new AbortController().signal,
    id = namespace,
    asker: MemoryPeer = this.asker,
  ): Promise<Holds> {
    const { scheduler, holder } = this
    return askHolding({ network: asker, scheduler, signal }, holder.agent, { namespace: id, artifact, root, waitMs })
  }

  /** One more agent, connected to the holder. */
  another(seed: number): MemoryPeer {
    const peer = this.network.join(new Uint8Array(32).fill(seed))
    this.network.connect(peer, this.holder)
    return peer
  }
}

async function world(): Promise<World> {
  const made = new World()
  made.network.connect(made.asker, made.holder)
  return made
}

describe('what another holds', () => {
  test('is told at once when nobody waits, and when it is all', async () => {
    const at = await world()
    expect(await at.ask(0)).toBe('none')
    at.holds = 'part'
    expect(await at.ask(0)).toBe('part')
    at.holds = 'all'
    expect(await at.ask(10_000)).toBe('all')
    expect(at.listeners.size).toBe(0)
    expect(at.scheduler.pending).toBe(0)
    expect(at.network.openStreams).toBe(0)
  })

  test('is told the moment that it is all, and after the wait with what it is then', async () => {
    const at = await world()
    const answers: string[] = []
    const first = at.ask(10_000).then((holds) => answers.push(holds))
    await until(() => at.listeners.size === 1)
    at.holds = 'all'
    for (const listener of at.listeners) listener()
    await first
    at.holds = 'part'
    const second = at.ask(10_000).then((holds) => answers.push(holds))
    await until(() => at.listeners.size === 1)
    at.scheduler.advance(9_999)
    expect(answers).toEqual(['all'])
    at.scheduler.advance(1)
    await second
    expect(answers).toEqual(['all', 'part'])
  })

  test('is told to no stranger, and nobody hears whether there is such a namespace, nor sooner', async () => {
    const at = await world()
    at.holds = 'all'
    for (const prepare of [() => (at.isMember = false), () => (at.isMember = true)]) {
      prepare()
      const id = at.isMember ? new Uint8Array(32).fill(77) : namespace
      const asked = at.ask(10_000, undefined, id)
      const outcome = asked.then(
        () => 'told',
        (error) => error.code,
      )
      let isSettled = false
      void outcome.then(() => {
        isSettled = true
      })
      await until(() => at.scheduler.pending === 2)
      at.scheduler.advance(blockRefusalMs - 1)
      await until(() => true)
      expect(isSettled).toBe(false)
      at.scheduler.advance(1)
      expect(await outcome).toBe('ACCESS_DENIED')
    }
  })

  test('is not told any more to one who was removed while waiting', async () => {
    const at = await world()
    const asked = at.ask(10_000)
    await until(() => at.listeners.size === 1)
    at.isMember = false
    at.holds = 'all'
    for (const listener of at.listeners) listener()
    await expect(asked).rejects.toMatchObject({ code: 'ACCESS_DENIED' })
  })

  test('is asked for no longer once the asker aborts', async () => {
    const at = await world()
    const stop = new AbortController()
    const asked = at.ask(10_000, stop.signal)
    await until(() => at.listeners.size === 1)
    stop.abort(new Error('enough'))
    await expect(asked).rejects.toThrow('enough')
    await until(() => at.listeners.size === 0)
  })
})

test('a frame over the limit, or one that is no question, is held against its sender', async () => {
  const at = await world()
  for (const bytes of [
    Uint8Array.of(0, 1, 0, 0),
    Uint8Array.of(0, 0, 0, 1, 0xa0),
    new Uint8Array(maxHoldingMessageBytes + 5),
  ]) {
    const stream = await at.asker.open(at.holder.agent, holdingProtocol.name)
    await stream.write(bytes).catch(() => {})
    await stream.read().catch(() => {})
    stream.abort(new Error('done'))
  }
  expect(at.holder.penalties.map(({ misbehaviour }) => misbehaviour)).toEqual(['bad-frame', 'bad-frame', 'bad-frame'])
})

test('a question that would wait for longer than a minute is held against its sender', async () => {
  const at = await world()
  expect(maxHoldingWaitMs).toBe(60_000)
  const asked = at.ask(maxHoldingWaitMs)
  await until(() => at.listeners.size === 1)
  await expect(at.ask(maxHoldingWaitMs + 1)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  expect(at.holder.penalties.map(({ misbehaviour }) => misbehaviour)).toEqual(['bad-frame'])
  at.holds = 'all'
  for (const listener of at.listeners) listener()
  expect(await asked).toBe('all')
})

test('more questions than one agent may have open are a flood; the others are answered', async () => {
  const at = await world()
  const asked = Array.from({ length: maxHoldingQuestionsOfAgent }, () => at.ask(10_000))
  await until(() => at.listeners.size === maxHoldingQuestionsOfAgent)
  await expect(at.ask(10_000)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  expect(at.holder.penalties.map(({ misbehaviour }) => misbehaviour)).toEqual(['flood'])
  at.holds = 'all'
  for (const listener of at.listeners) listener()
  expect(await Promise.all(asked)).toEqual(asked.map(() => 'all'))
})

test('no more questions wait than there is room for, whoever asks: one more is held against nobody, and is answered when one ends', async () => {
  const at = await world()
  const stop = new AbortController()
  const asked: Promise<unknown>[] = []
  for (let seed = 20; asked.length < maxHoldingQuestions; seed++) {
    const peer = at.another(seed)
    for (let own = 0; own < maxHoldingQuestionsOfAgent && asked.length < maxHoldingQuestions; own++)
      asked.push(at.ask(10_000, stop.signal, namespace, peer).catch((error) => error))
  }
  await until(() => at.listeners.size === maxHoldingQuestions)
  await expect(at.ask(0)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  expect(at.holder.penalties).toEqual([])
  stop.abort(new Error('enough'))
  await Promise.all(asked)
  await until(() => at.listeners.size === 0)
  expect(await at.ask(0)).toBe('none')
})

test('closing cuts what waits and serves no more', async () => {
  const at = await world()
  const asked = at.ask(10_000)
  await until(() => at.listeners.size === 1)
  await Promise.all([at.server.close(), at.server.close()])
  await expect(asked).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  await expect(at.ask(0)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  expect(at.listeners.size).toBe(0)
})
