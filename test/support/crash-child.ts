/**
 * Runs a mixed workload on the data directory that is its first argument until it is killed. Each operation is a line
 * of JSON on standard output before it is asked of the node, and another after the node has acknowledged it.
 */
import { writeSync } from 'node:fs'
import { numbers } from '../../node/disk/test-support/simulated-disk.ts'
import { startNode } from '../../node/index.ts'
import { mixedSizes, runWorkload } from './mixed-workload.ts'

const [dataDir, seed, run] = process.argv.slice(2) as [string, string, string]
let nextKey = 0
const say = (line: object) => writeSync(1, `${JSON.stringify(line)}\n`)

const node = await startNode({ network: 'offline', dataDir })
say({ started: true })
await runWorkload({
  node,
  random: numbers(Number(seed)),
  lanes: 3,
  steps: Number.POSITIVE_INFINITY,
  sizes: mixedSizes,
  run,
  witness: {
    begin(intent) {
      say({ begin: nextKey, intent })
      return nextKey++
    },
    acknowledge(key, answer) {
      say({ acknowledge: key, answer: answer && { id: answer.id, version: answer.version } })
    },
    failed(_, error) {
      throw error
    },
  },
})
