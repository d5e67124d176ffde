import { randomInt } from 'node:crypto'
import { expect, test } from 'vitest'
import { numbers } from '../../node/disk/test-support/simulated-disk.ts'
import { Ledger } from '../support/ledger.ts'
import { runWorkload } from '../support/mixed-workload.ts'
import { SimulatedMachine, WatchedStore } from '../support/simulated-machine.ts'

const boundaries = new Set(['datasync', 'syncDirectory', 'rename', 'unlink', 'truncate'])

interface Cut {
  readonly machine: SimulatedMachine
  readonly ledger: Ledger
  readonly at: string
}

test('after a power cut at any fsync of a mixed workload, everything acknowledged reads back and check is clean', async () => {
  const seed = Number(process.env.POWER_CUT_SEED ?? randomInt(2 ** 31))
  console.log(`POWER_CUT_SEED=${seed}`)
  const store = new WatchedStore()
  const machine = new SimulatedMachine(seed, undefined, store)
  const ledger = new Ledger()
  const cuts: Cut[] = []
  const cut = (at: string) => {
    // The unkindest, and one by chance; of every fourth also the kindest.
    for (const random of [() => 0, numbers(seed + cuts.length), ...(cuts.length % 4 === 0 ? [() => 0.999] : [])]) {
      cuts.push({ machine: machine.afterPowerCut(random), ledger: ledger.copy(), at: `${cuts.length}: ${at}` })
    }
  }
  machine.disk.fault = ({ kind, path }) => {
    if (boundaries.has(kind)) cut(`${kind} ${path}`)
    return undefined
  }
  store.onBatch = (moment, { sync }) => {
    if (sync) cut(`${moment} a synced batch`)
  }
  const node = await machine.startNode()
  await runWorkload({
    node,
    witness: {
      begin: (intent) => ledger.begin(intent),
      acknowledge: (key, answer) => ledger.acknowledge(key, answer),
      failed: (_, error) => {
        throw error
      },
    },
    random: numbers(seed),
    lanes: 3,
    steps: 16,
    sizes: [0, 100, 3_000, 32 * 1024, 32 * 1024 + 1, 33_000, 34_000, 40_000, 60_000, 700_000],
    run: 'run',
  })
  cut('the end of the work')
  await node.close()
  console.log(`${cuts.length} cuts`)
  expect(cuts.length).toBeGreaterThan(150)
  for (const { machine: after, ledger: promised, at } of cuts) {
    try {
      await using restarted = await after.startNode()
      await promised.verify(restarted.client)
      expect((await restarted.check({ readData: true })).findings).toEqual([])
      // And it goes on.
      const { id } = await restarted.client.artifact.createSnippet({ name: 'after', content: 'the cut' })
      expect(await restarted.client.artifact.download({ artifactId: id })).toEqual(new TextEncoder().encode('the cut'))
    } catch (cause) {
      throw new Error(`cut ${at}, seed ${seed}: ${(cause as Error).message}`, { cause })
    }
  }
}, 300_000)
