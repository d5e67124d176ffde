import { hub } from './contenders.ts'
import { alone, atLeast, atMost, type Figure, median, type Target, type Unit } from './figures.ts'
import type { HubJobs } from './hub-process.ts'
import { JobProcess } from './job-process.ts'
import { writeOutDirtyPages } from './programs.ts'
import type { Section } from './section.ts'
import { concurrentCallers } from './settings.ts'
import { diskBytes } from './workspace.ts'

const getSamples = 5_000
const listSamples = 300

/** Many small artifacts: creating them, finding them again, and starting a node that has them. */
export const smallArtifacts: Section = {
  name: 'small-artifacts',
  run: async ({ settings, workspace, say }) => {
    const { artifacts, runs } = settings
    const seen = new Map<string, { unit: Unit; target: Target | undefined; runs: number[] }>()
    const note = (what: string, unit: Unit, value: number, target?: Target) => {
      const figure = seen.get(what) ?? { unit, target, runs: [] }
      seen.set(what, figure)
      figure.runs.push(value)
    }
    for (let round = 0; round < runs; round++) {
      const dataDir = workspace.newPath('store')
      const node = new JobProcess<HubJobs>(new URL('./hub-process.ts', import.meta.url))
      await node.run('open', dataDir)
      await writeOutDirtyPages()
      const created = await node.run('createSmall', artifacts)
      note(`creates, ${concurrentCallers} callers`, '1/s', (artifacts * 1_000) / created.ms, atLeast(1_500, '1/s'))
      note('creates, peak resident memory', 'MB', created.peakRssBytes / 1e6)
      const { result: gets } = await node.run('getSmall', getSamples)
      note('get, p50', 'ms', median(gets), atMost(1, 'ms'))
      note('get, p99', 'ms', percentile(gets, 99))
      const { result: selective } = await node.run('listSelective', listSamples)
      note('list of 100 by a filter that 100 pass, p50', 'ms', median(selective), atMost(10, 'ms'))
      const { result: unselective } = await node.run('listUnselective', listSamples)
      note('list of 100 by a filter that a quarter passes, p50', 'ms', median(unselective), atMost(10, 'ms'))
      await node.run('close', undefined as never)
      await node.close()
      note('data directory, for each artifact', 'KiB', (await diskBytes(dataDir)) / 1024 / artifacts)
      const again = new JobProcess<HubJobs>(new URL('./hub-process.ts', import.meta.url))
      note('reopening the node', 's', (await again.run('open', dataDir)).ms / 1_000, atMost(2, 's'))
      await again.run('close', undefined as never)
      await again.close()
      await workspace.remove(dataDir)
      say(`small-artifacts ${round + 1}/${runs}: ${(created.ms / 1_000).toFixed(1)} s to create`)
    }
    const figures = [...seen].map(([what, { unit, runs }]): Figure => ({ contender: hub.name, what, unit, runs }))
    return {
      title: `${artifacts.toLocaleString('en-US')} small artifacts`,
      rows: figures.map((figure) => alone(figure, seen.get(figure.what)?.target)),
      figures,
      notes: [
        'each create is awaited by its caller, and is durable then: its entry is in a synced batch that it may share with the other callers’',
        'gets and lists one at a time, through the SDK, right after the creates; no other system ran these',
      ],
    }
  },
}

function percentile(values: readonly number[], percent: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN
}
