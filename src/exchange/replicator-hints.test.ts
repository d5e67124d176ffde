import { expect, it } from 'vitest'
import { ManualScheduler, MemoryNetwork } from '../../test/support/memory-network.ts'
import { equalBytes } from '../encoding/index.ts'
import { agentOf, MemoryLog } from './memory-log.test-helper.ts'
import { LogHints } from './replicator-hints.ts'
import { hintTopic } from './sync-offer.ts'

/** The hints of a log among other agents, each of which can tell of a hash; and who was asked. */
function among(others: number) {
  const network = new MemoryNetwork()
  const log = Object.assign(MemoryLog.create(agentOf(0)), { isReceiving: false })
  const self = network.join(log.agent.publicKey)
  const peers = Array.from({ length: others }, (_, at) => network.join(agentOf(at + 1).publicKey))
  for (const peer of peers) network.connect(peer, self)
  const scheduler = new ManualScheduler()
  const asked: number[] = []
  const hints = new LogHints({
    log,
    network: self,
    scheduler,
    random: () => 0,
    isMember: () => true,
    connectedMembers: () => self.connected(),
    onNews: (agent) => asked.push(peers.findIndex((peer) => equalBytes(peer.agent, agent))),
  })
  const tell = async (hashOf = (at: number) => new Uint8Array(32).fill(at + 1)): Promise<void> => {
    for (const [at, peer] of peers.entries()) peer.hint(hintTopic(log.id), hashOf(at))
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { log, scheduler, asked, hints, tell }
}

it('asks two at a time of those who tell of something new, the others after a while', async () => {
  const { scheduler, asked, hints, tell } = among(5)
  await tell()
  scheduler.advance(100)
  expect(asked).toEqual([0, 1])
  scheduler.advance(600)
  expect(asked).toEqual([0, 1, 2, 3])
  scheduler.advance(600)
  expect(asked).toEqual([0, 1, 2, 3, 4])
  scheduler.advance(60_000)
  expect(asked).toHaveLength(5)
  hints.close()
})

it('asks nobody while entries come that are not stored yet, though not for ever', async () => {
  const { log, scheduler, asked, hints, tell } = among(1)
  log.isReceiving = true
  await tell()
  scheduler.advance(2_000)
  expect(asked).toEqual([])
  log.isReceiving = false
  scheduler.advance(600)
  expect(asked).toEqual([0])
  hints.close()

  const busy = among(1)
  busy.log.isReceiving = true
  await busy.tell()
  busy.scheduler.advance(10_000)
  expect(busy.asked).toEqual([0])
  busy.hints.close()
})

it('asks more seldom, and one at a time, as long as entries keep coming, and as soon as before once they do not', async () => {
  const { log, scheduler, asked, hints, tell } = among(3)
  log.isReceiving = true
  const during = async (seconds: number, from: number): Promise<number> => {
    const before = asked.length
    for (let second = 0; second < seconds; second++) {
      await tell((at) => new Uint8Array(32).fill(at + 1).fill(from + second, 0, 1))
      scheduler.advance(1_000)
    }
    return asked.length - before
  }
  expect(await during(8, 0)).toBe(1)
  expect(await during(68, 8)).toBe(7)
  // However long: whoever keeps entries coming keeps nobody from hearing what is pushed by nobody.
  for (const from of [76, 116, 156]) expect(await during(40, from)).toBeGreaterThanOrEqual(3)
  log.isReceiving = false
  await tell((at) => new Uint8Array(32).fill(at + 101))
  scheduler.advance(1_200)
  log.isReceiving = true
  expect(await during(8, 200)).toBeGreaterThanOrEqual(1)
  hints.close()
})
