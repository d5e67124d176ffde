import { describe, expect, test } from 'vitest'
import { ManualScheduler, MemoryNetwork, type MemoryPeer } from '../../test/support/memory-network.ts'
import { encodeCanonical } from '../encoding/index.ts'
import {
  maxEnvelopeBytes,
  maxEnvelopesInDelivery,
  maxInboxMessageBytes,
  maxInboxQuestions,
  maxInboxQuestionsOfAgent,
  strangersDeliveries,
} from '../limits.ts'
import { type Delivery, deliver, type Receipt, serveInbox } from './inbox.ts'
import { until } from './transfer.test-helper.ts'

const protocol = '/artifact-hub/inbox/1'
const group = new Uint8Array(32).fill(5)

class World {
  readonly scheduler = new ManualScheduler()
  readonly network = new MemoryNetwork()
  readonly sender: MemoryPeer = this.network.join(new Uint8Array(32).fill(8))
  readonly taker: MemoryPeer = this.network.join(new Uint8Array(32).fill(9))
  readonly taken: (Delivery & { readonly from: Uint8Array })[] = []
  answer: (delivery: Delivery, signal: AbortSignal) => Promise<readonly Receipt[]> = async ({ envelopes }) =>
    envelopes.map(() => 'taken')
  isKnown = true
  readonly server = serveInbox({
    network: this.taker,
    scheduler: this.scheduler,
    isKnown: () => this.isKnown,
    receive: async (delivery, from, signal) => {
      this.taken.push({ ...delivery, from })
      return await this.answer(delivery, signal)
    },
  })

  constructor() {
    this.network.connect(this.sender, this.taker)
  }

  deliver(delivery: Delivery): Promise<readonly Receipt[]> {
    const { scheduler, sender, taker } = this
    return deliver({ network: sender, scheduler, signal: new AbortController().signal }, taker.agent, delivery)
  }

  /** Sends bytes as they are; resolves once the other side ended the stream. */
  async send(...pieces: readonly Uint8Array[]): Promise<void> {
    const stream = await this.sender.open(this.taker.agent, protocol)
    try {
      for (const piece of pieces) await stream.write(piece)
      await stream.closeWrite()
      while ((await stream.read()) !== undefined);
    } catch {
      // Cut: what a hostile sender gets.
    }
    stream.abort(new Error('the test is through with it'))
  }
}

const framed = (message: unknown): Uint8Array => {
  const payload = encodeCanonical(message)
  const length = new Uint8Array(4)
  new DataView(length.buffer).setUint32(0, payload.length)
  return new Uint8Array(Buffer.concat([length, payload]))
}
const someEnvelopes = (count: number, bytes = 100) =>
  Array.from({ length: count }, (_, at) => new Uint8Array(bytes).fill(at))

describe('deliveries of a stranger', () => {
  test('come at the rate at which they can be checked, and floods are held against who makes them', async () => {
    const at = new World()
    const delivery = { envelopes: someEnvelopes(1), group: undefined, peers: [] }
    const { burst, perSecond } = strangersDeliveries
    for (let one = 0; one < burst + 8; one++) await at.deliver(delivery)
    expect(at.taken).toHaveLength(burst + 8)
    at.isKnown = false
    for (let one = 0; one < burst; one++) await at.deliver(delivery)
    await expect(at.deliver(delivery)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(at.taken).toHaveLength(2 * burst + 8)
    expect(at.taker.penalties.map(({ misbehaviour }) => misbehaviour)).toEqual(['flood'])
    at.scheduler.advance(1_000 / perSecond)
    await at.deliver(delivery)
    expect(at.taken).toHaveLength(2 * burst + 9)
  })
})

describe('a delivery', () => {
  test('comes as it was sent, and each envelope has its receipt', async () => {
    const at = new World()
    at.answer = async () => ['taken', 'full', 'refused']
    const peers = [{ agent: new Uint8Array(32).fill(1), addresses: ['/ip4/192.0.2.1/tcp/4001'] }]
    const delivery = { envelopes: someEnvelopes(3), group, peers }
    expect(await at.deliver(delivery)).toEqual(['taken', 'full', 'refused'])
    expect(at.taken).toEqual([{ ...delivery, from: at.sender.agent }])
    await at.deliver({ envelopes: someEnvelopes(3), group: undefined, peers: [] })
    expect(at.taken[1]?.group).toBeUndefined()
    expect(at.network.openStreams).toBe(0)
    expect(at.scheduler.pending).toBe(0)
  })

  test('is as large as it may be', async () => {
    const at = new World()
    const envelopes = someEnvelopes(maxEnvelopesInDelivery, maxEnvelopeBytes)
    expect(await at.deliver({ envelopes, group, peers: [] })).toHaveLength(maxEnvelopesInDelivery)
  })

  test('whose answer does not fit it counts for nothing', async () => {
    const at = new World()
    at.answer = async () => ['taken']
    await expect(at.deliver({ envelopes: someEnvelopes(2), group, peers: [] })).rejects.toMatchObject({
      code: 'CORRUPT',
    })
  })
})

describe('what no honest sender sends', () => {
  const fits = { v: 1, env: someEnvelopes(1), group: null, peers: [] }
  test.each([
    ['no map', framed([1, 2])],
    ['no envelope', framed({ ...fits, env: [] })],
    ['too many envelopes', framed({ ...fits, env: someEnvelopes(maxEnvelopesInDelivery + 1) })],
    ['an envelope too long', framed({ ...fits, env: someEnvelopes(1, maxEnvelopeBytes + 1) })],
    ['a group of another length', framed({ ...fits, group: new Uint8Array(31) })],
    ['a peer without a key', framed({ ...fits, peers: [[new Uint8Array(3), []]] })],
    ['an address without end', framed({ ...fits, peers: [[new Uint8Array(32), ['/a'.repeat(1000)]]] })],
    ['a member that nobody knows', framed({ ...fits, more: 1 })],
    ['a length without end', new Uint8Array(4).fill(0xff)],
    ['more than it announced', new Uint8Array([...framed(fits), 0])],
    ['bytes that are no message', new Uint8Array([0, 0, 0, 3, 0xff, 0xff, 0xff])],
  ])('is refused and held against it: %s', async (_, bytes) => {
    const at = new World()
    await at.send(bytes)
    await until(() => at.taker.penalties.length > 0)
    expect(at.taker.penalties.map(({ misbehaviour }) => misbehaviour)).toEqual(['bad-frame'])
    expect(at.taken).toEqual([])
  })

  test.each([0, 2])('is not held against who speaks version %s', async (v) => {
    const at = new World()
    await at.send(framed({ ...fits, v }))
    await until(() => at.network.openStreams === 0)
    expect(at.taker.penalties).toEqual([])
    expect(at.taken).toEqual([])
  })

  test('is not waited for without end, nor kept in memory', async () => {
    const at = new World()
    const stream = await at.sender.open(at.taker.agent, protocol)
    const start = new Uint8Array(4)
    new DataView(start.buffer).setUint32(0, maxInboxMessageBytes)
    await stream.write(start)
    await until(() => at.scheduler.pending > 0)
    at.scheduler.advance(30_000)
    await until(() => at.network.openStreams === 0)
    expect(at.taken).toEqual([])
  })

  test('is not served more of than one agent may ask at once', async () => {
    const at = new World()
    const { promise, resolve } = Promise.withResolvers<void>()
    at.answer = async ({ envelopes }) => {
      await promise
      return envelopes.map(() => 'taken')
    }
    const one = { envelopes: someEnvelopes(1), group, peers: [] }
    const all = Array.from({ length: maxInboxQuestionsOfAgent }, () => at.deliver(one))
    await until(() => at.taken.length === maxInboxQuestionsOfAgent)
    await expect(at.deliver(one)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(at.taker.penalties.map(({ misbehaviour }) => misbehaviour)).toEqual(['flood'])
    resolve()
    expect(await Promise.all(all)).toEqual(all.map(() => ['taken']))
  })
})

test('who only holds streams keeps nobody from delivering', async () => {
  const at = new World()
  for (let one = 0; one < maxInboxQuestions; one++) {
    const agent = new Uint8Array(32).fill(100 + Math.floor(one / maxInboxQuestionsOfAgent))
    const stranger = at.network.find(agent) ?? at.network.join(agent)
    at.network.connect(stranger, at.taker)
    await stranger.open(at.taker.agent, protocol)
  }
  await until(() => at.taker.openStreams === maxInboxQuestions)
  expect(await at.deliver({ envelopes: someEnvelopes(1), group, peers: [] })).toEqual(['taken'])
  expect(at.taker.penalties).toEqual([])
})

test('a closed inbox ends what it was taking', async () => {
  const at = new World()
  at.answer = (_, signal) =>
    new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  const delivering = at.deliver({ envelopes: someEnvelopes(1), group, peers: [] })
  const outcome = delivering.then(
    () => 'taken',
    (error) => error.code,
  )
  await until(() => at.taken.length === 1)
  await at.server.close()
  expect(await outcome).toBe('UNAVAILABLE')
  expect(at.network.openStreams).toBe(0)
})
