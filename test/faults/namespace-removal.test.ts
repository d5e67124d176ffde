import { expect, test } from 'vitest'
import { numbers } from '../../node/disk/test-support/simulated-disk.ts'
import { parseNamespaceId } from '../../src/encoding/index.ts'
import { sha256Of } from '../support/ledger.ts'
import { bytesOf } from '../support/mixed-workload.ts'
import { SimulatedMachine, WatchedStore } from '../support/simulated-machine.ts'

test('a namespace whose making or removal is cut off anywhere is there whole or not at all, and leaves nothing behind', async () => {
  const store = new WatchedStore()
  const machine = new SimulatedMachine(41, undefined, store)
  const data = bytesOf(numbers(1), 80_000)
  const cuts: { machine: SimulatedMachine; step: string; at: string }[] = []
  let step = 'nothing'
  const cut = (at: string) => {
    for (const random of [() => 0, () => 0.999]) cuts.push({ machine: machine.afterPowerCut(random), step, at })
  }
  const node = await machine.startNode()
  machine.disk.fault = ({ kind, path }) => {
    cut(`${kind} ${path}`)
    return undefined
  }
  store.onBatch = (moment) => cut(`${moment} a batch`)
  const { id } = await node.client.namespace.create({ name: 'other' })
  step = 'made'
  const artifact = await node.client.artifact.create({ name: 'in it', data, namespace: 'other' })
  await node.client.artifact.createSnippet({ name: 'too', content: 'in it', namespace: 'other' })
  step = 'filled'
  const removing = node.client.namespace.delete({ namespace: 'other' })
  step = 'removing'
  await removing
  step = 'removed'
  cut('the end')
  await node.close()
  expect(cuts.length).toBeGreaterThan(40)
  // The database names it by its hash, the packs' index by its id.
  const namings = [parseNamespaceId(id), Buffer.from(id)].map((name) => Buffer.from(name).toString('hex'))
  for (const { machine: after, step: reached, at } of cuts) {
    const why = `${reached}, ${at}`
    await using restarted = await after.startNode()
    const names = (await restarted.client.namespace.list()).map(({ name }) => name)
    if (reached === 'made' || reached === 'filled') expect(names, why).toContain('other')
    if (reached === 'removed') expect(names, why).toEqual(['personal'])
    if (reached === 'filled') {
      const bytes = await restarted.client.artifact.download({ artifactId: artifact.id })
      expect(sha256Of(bytes), why).toBe(sha256Of(data))
    }
    // Cut off while it is made it may leave its folder, empty.
    if (!names.includes('other') && reached !== 'nothing') {
      expect(await after.disk.readdir('/packs'), why).not.toContain(id)
      expect(await after.disk.readdir('/packs'), why).toHaveLength(1)
      for await (const [row] of after.store.entries({})) {
        const hex = Buffer.from(row).toString('hex')
        expect(
          namings.some((name) => hex.includes(name)),
          `${why}: ${hex}`,
        ).toBe(false)
      }
    }
    expect((await restarted.check({ readData: true })).findings, why).toEqual([])
  }
})
