import { expect, test } from 'vitest'
import { ManualScheduler, MemoryNetwork } from '../../test/support/memory-network.ts'
import { maxPushBytes, maxPushQueueBytes, syncPushCloseMs } from '../limits.ts'
import { agentOf, MemoryLog } from './memory-log.test-helper.ts'
import type { PeerNetwork } from './peer-network.ts'
import { roomOf } from './sync-codec.ts'
import { PushLink } from './sync-push.ts'
import { syncProtocol } from './sync-run.ts'
import { RawStream } from './sync-world.test-helper.ts'
import { until } from './transfer.test-helper.ts'

const [writer, reader] = [agentOf(1), agentOf(2)]
const entry = new Uint8Array(5_000)

test('what waits for a slow agent goes in pushes of a bounded size, and is dropped for a round when it is too much', async () => {
  const network = new MemoryNetwork()
  const scheduler = new ManualScheduler()
  const [own, other] = [network.join(writer.publicKey), network.join(reader.publicKey)]
  network.connect(own, other)
  const log = MemoryLog.create(writer)
  /** Bytes of each push that came. */
  const came: number[] = []
  let isSlow = true
  other.handle(syncProtocol, async (stream) => {
    const raw = new RawStream(stream)
    for (let message = await raw.receive(); message?.type === 'push'; message = await raw.receive()) {
      came.push(message.entries.reduce((sum, bytes) => sum + roomOf(bytes), 0))
      await until(() => !isSlow)
      await raw.send({ type: 'done', hash: log.vectorHash, stored: 0, unlinked: 0 })
    }
  })
  const lost: string[] = []
  const { signal } = new AbortController()
  const link = new PushLink(reader.publicKey, {
    ...{ network: own, scheduler, signal },
    onDone: () => {},
    onLost: (_, why) => lost.push(why),
  })
  const write = (bytes: number): void => {
    for (let written = 0; written < bytes; written += entry.length) link.push(log, [entry])
  }
  write(maxPushQueueBytes / 2)
  await until(() => came.length === 1)
  expect([lost, link.isBusy]).toEqual([[], true])
  write(maxPushQueueBytes)
  expect(lost).toEqual(['overflow'])
  isSlow = false
  // Idle, it is ended after a while.
  await until(() => scheduler.pending > 0)
  await scheduler.until(new Promise<void>((resolve) => scheduler.setTimer(2 * syncPushCloseMs, resolve)), 1_000)
  expect([lost, link.isBusy]).toEqual([['overflow'], false])
  expect(Math.max(...came)).toBeLessThanOrEqual(maxPushBytes)
  expect(came.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(maxPushQueueBytes)
  expect(network.openStreams).toBe(0)
  await link.close()
})

test('a link that is closed while its stream is being opened leaves no stream behind', async () => {
  const network = new MemoryNetwork()
  const [own, other] = [network.join(writer.publicKey), network.join(reader.publicKey)]
  network.connect(own, other)
  const log = MemoryLog.create(writer)
  other.handle(syncProtocol, async (stream, cut) => {
    const raw = new RawStream(stream)
    await raw.receive()
    await raw.send({ type: 'done', hash: log.vectorHash, stored: 0, unlinked: 0 })
    await new Promise((resolve) => cut.addEventListener('abort', resolve))
  })
  const opened = Promise.withResolvers<void>()
  const penalise = (): void => {}
  const open = async (agent: Uint8Array, protocol: string) => {
    await opened.promise
    return await own.open(agent, protocol)
  }
  const slow: PeerNetwork = Object.assign(Object.create(own), { open, penalise })
  const { signal } = new AbortController()
  const lost: string[] = []
  const link = new PushLink(reader.publicKey, {
    ...{ network: slow, scheduler: new ManualScheduler(), signal },
    onDone: () => {},
    onLost: (_, why) => lost.push(why),
  })
  link.push(log, [entry])
  const closing = link.close()
  opened.resolve()
  await closing
  expect([network.openStreams, lost]).toEqual([0, []])
})
