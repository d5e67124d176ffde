import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { numbers } from '../../node/disk/test-support/simulated-disk.ts'
import { inThreadEngine } from '../../src/content/index.ts'
import { parseNamespaceId } from '../../src/encoding/index.ts'
import { NamespaceKeys } from '../../src/namespace/index.ts'
import { useFolder } from '../support/data-place.ts'
import { sha256Of } from '../support/ledger.ts'
import { bytesOf } from '../support/mixed-workload.ts'
import { SimulatedMachine } from '../support/simulated-machine.ts'

const place = useFolder()
const dayMs = 24 * 3600_000
const data = bytesOf(numbers(31), 2_600_000)

async function pendingUploads(machine: SimulatedMachine, namespace: string): Promise<number> {
  const { gte, lt } = new NamespaceKeys(parseNamespaceId(namespace)).all('uploads')
  let count = 0
  for await (const _ of machine.store.entries({ gte, lt })) count++
  return count
}

test('what was stored long ago stays for seven days from its deletion on, and goes after them', async () => {
  const machine = new SimulatedMachine(1)
  await using node = await machine.startNode()
  const { artifact } = node.client
  const { id: artifactId } = await artifact.create({ name: 'old', data })
  await artifact.update({ artifactId, data: data.subarray(0, 700_000) })
  const other = await artifact.create({ name: 'kept', data })
  machine.aheadMs += 30 * dayMs
  await artifact.deleteVersion({ artifactId, version: 1 })
  expect(await node.gc()).toMatchObject({ removedBlocks: 0, erasedBodies: 0 })
  machine.aheadMs += 7 * dayMs - 60_000
  await artifact.delete({ artifactId })
  expect(await node.gc()).toMatchObject({ removedBlocks: 0, erasedBodies: 0 })
  machine.aheadMs += 120_000
  // The first version's alone.
  const first = await node.gc()
  expect(first.removedBlocks).toBeGreaterThan(1)
  expect(first.erasedBodies).toBe(1)
  expect(await node.gc()).toMatchObject({ removedBlocks: 0, erasedBodies: 0 })
  machine.aheadMs += 7 * dayMs
  const second = await node.gc()
  expect(second.removedBlocks).toBeGreaterThan(0)
  expect(second.erasedBodies).toBe(1)
  expect(sha256Of(await artifact.download({ artifactId: other.id }))).toBe(other.sha256)
  expect((await node.check({ readData: true })).findings).toEqual([])
})

test('a clock that goes back a year has nothing go sooner, and what is written goes on', async () => {
  const machine = new SimulatedMachine(2)
  machine.aheadMs = 365 * dayMs
  await using node = await machine.startNode()
  const { artifact } = node.client
  const { id: artifactId, createdAt } = await artifact.create({ name: 'it', data })
  machine.aheadMs = 0
  const second = await artifact.update({ artifactId, data: data.subarray(1) })
  expect([second.version, second.createdAt]).toEqual([2, createdAt])
  expect(second.updatedAt.getTime()).toBeGreaterThanOrEqual(createdAt.getTime())
  await artifact.deleteVersion({ artifactId, version: 1 })
  const { id } = await artifact.create({ name: 'newer', data: Uint8Array.of(1) })
  expect(await node.gc()).toMatchObject({ removedBlocks: 0, erasedBodies: 0 })
  // The newest first, as it was written.
  expect((await artifact.list()).items.map((one) => one.id)).toEqual([id, artifactId])
  expect(sha256Of(await artifact.download({ artifactId }))).toBe(second.sha256)
  expect((await node.check({ readData: true })).findings).toEqual([])
})

test('an interrupted upload is gone on with for seven days, and forgotten with its blocks after them, but not while it runs', async () => {
  const path = join(place.path, 'large.bin')
  await writeFile(path, data)
  const machine = new SimulatedMachine(3)
  const [sealing, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  let isGated = false
  const pass = async () => {
    if (!isGated) return
    sealing.resolve()
    await gate.promise
  }
  const engine: typeof inThreadEngine = {
    ...inThreadEngine,
    nonceOf: async (...call) => await pass().then(() => inThreadEngine.nonceOf(...call)),
    seal: async (...call) => await pass().then(() => inThreadEngine.seal(...call)),
  }
  await using node = await machine.startNode({ engine })
  const { artifact, namespace } = node.client
  const { id } = await namespace.get({ namespace: 'personal' })
  const cutOff = async () => {
    const stop = new AbortController()
    const reason = new Error('cut off')
    const call = artifact.uploadFile({ path, onProgress: () => stop.abort(reason), signal: stop.signal })
    await expect(call).rejects.toBe(reason)
  }
  await cutOff()
  machine.aheadMs += 6 * dayMs
  await node.gc()
  expect(await pendingUploads(machine, id)).toBe(1)
  machine.aheadMs += 2 * dayMs
  isGated = true
  const again = artifact.uploadFile({ path })
  await sealing.promise
  await node.gc()
  expect(await pendingUploads(machine, id)).toBe(1)
  gate.resolve()
  const { id: artifactId } = await again
  expect(await pendingUploads(machine, id)).toBe(0)
  await artifact.delete({ artifactId })
  await cutOff()
  machine.aheadMs += 8 * dayMs
  expect((await node.gc()).removedBlocks).toBeGreaterThan(0)
  expect(await pendingUploads(machine, id)).toBe(0)
  expect((await node.du()).map(({ blocks }) => blocks)).toEqual([0])
})
