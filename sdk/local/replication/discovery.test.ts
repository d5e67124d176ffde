import { expect, test } from 'vitest'
import { bytesText, sha256, toHex } from '../../../src/encoding/index.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import { ManualScheduler, MemoryNetwork } from '../../../test/support/memory-network.ts'
import { NamespaceNode, TestTime } from '../../../test/support/namespace-nodes.ts'
import { Announcement, discoveryKey } from './discovery.ts'

const minute = 60_000

test('the key of a namespace on the DHT is a hash of its id, another than that of the same bytes elsewhere', () => {
  const id = new Uint8Array(32).fill(7)
  const key = toHex(discoveryKey(id))
  expect(key).toBe(toHex(sha256(Buffer.concat([Buffer.from('artifact-hub/provide/v1\0'), id]))))
  expect([toHex(id), toHex(sha256(id))]).not.toContain(key)
})

test('a namespace is told of once it has other members and somebody is connected, under its key and no other, until somebody took that', async () => {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const member = new NamespaceNode(2, time)
  const network = new MemoryNetwork()
  const [own, other] = [network.join(owner.id), network.join(member.id)]
  const scheduler = new ManualScheduler()
  const told: string[] = []
  let isTaken = false
  const discovery = {
    provide: async (key: Uint8Array) => {
      told.push(bytesText(key))
      if (!isTaken) throw new ArtifactHubError('UNAVAILABLE', 'nobody took it')
    },
    async *findProviders() {},
  }
  const announcement = new Announcement({ log: owner.ns, discovery, network: own, scheduler })
  const pass = async (): Promise<void> =>
    await scheduler.until(new Promise((resolve) => scheduler.setTimer(5 * minute, () => resolve())), minute)
  network.connect(own, other)
  await pass()
  expect(told).toEqual([])
  await owner.ns.members.grant({ agent: member.id, role: 'reader' })
  network.disconnect(own, other)
  await pass()
  expect(told).toEqual([])
  network.connect(own, other)
  await pass()
  expect(told.length).toBeGreaterThan(1)
  isTaken = true
  await pass()
  const tries = told.length
  await owner.write('something')
  network.disconnect(own, other)
  network.connect(own, other)
  await pass()
  expect(told).toHaveLength(tries)
  expect(new Set(told)).toEqual(new Set([bytesText(discoveryKey(owner.ns.id))]))
  await announcement.close()
  expect(scheduler.pending).toBe(0)
})
