import { type ArtifactHubNode, startNode } from '../../node/index.ts'
import { serveJobs } from './job-server.ts'
import { concurrentCallers } from './settings.ts'

let node: ArtifactHubNode | undefined
const smallIds: string[] = []

function running(): ArtifactHubNode {
  if (node === undefined) throw new Error('no node is open')
  return node
}

/** How many small artifacts share one value of `metadata.batch`: a page of a list and no more. */
const sharesBatch = 100
/** Values of `metadata.category`: a filter that a quarter of everything passes. */
const categories = ['reports', 'plans', 'logs', 'notes']

const jobs = {
  open: async (dataDir: string): Promise<void> => {
    node = await startNode({ network: 'offline', dataDir })
  },
  close: async (): Promise<void> => {
    await node?.close()
    node = undefined
  },
  upload: async (path: string): Promise<string> => (await running().client.artifact.uploadFile({ path })).id,
  update: async ({ artifactId, path }: { artifactId: string; path: string }): Promise<string> =>
    (await running().client.artifact.update({ artifactId, path })).id,
  download: async ({ artifactId, path }: { artifactId: string; path: string }): Promise<void> => {
    await running().client.artifact.downloadFile({ artifactId, path })
  },
  /** Creates `count` small artifacts, each awaited by one of the concurrent callers. */
  createSmall: async (count: number): Promise<void> => {
    const { artifact } = running().client
    let next = 0
    const caller = async () => {
      while (next < count) {
        const number = next++
        const metadata = {
          category: categories[number % categories.length] as string,
          batch: Math.floor(number / sharesBatch),
          author: 'bench-agent',
        }
        const content = { number, model: 'x', temperature: 0.7, prompt: `artifact ${number} of a run of the bench` }
        smallIds.push((await artifact.createSnippet({ name: `small-${number}.json`, content, metadata })).id)
      }
    }
    await Promise.all(Array.from({ length: concurrentCallers }, caller))
  },
  /** Latencies of gets of artifacts spread over all of them, one at a time, milliseconds. */
  getSmall: async (samples: number): Promise<number[]> => {
    const { artifact } = running().client
    return await latencies(samples, async (sample) => {
      const artifactId = smallIds[(sample * 7_919) % smallIds.length] as string
      await artifact.get({ artifactId })
    })
  },
  /** Latencies of pages of 100 by a filter that `sharesBatch` artifacts pass, milliseconds. */
  listSelective: async (samples: number): Promise<number[]> => {
    const { artifact } = running().client
    const batches = Math.floor(smallIds.length / sharesBatch)
    return await latencies(samples, async (sample) => {
      const { items } = await artifact.list({ metadataFilter: { batch: (sample * 31) % batches }, limit: 100 })
      if (items.length !== sharesBatch) throw new Error(`a page has ${items.length} artifacts, not ${sharesBatch}`)
    })
  },
  /** Latencies of first pages of 100 by a filter that a quarter of all artifacts pass, milliseconds. */
  listUnselective: async (samples: number): Promise<number[]> => {
    const { artifact } = running().client
    return await latencies(samples, async (sample) => {
      const category = categories[sample % categories.length] as string
      const { items } = await artifact.list({ metadataFilter: { category }, limit: 100 })
      if (items.length !== 100) throw new Error(`a page has ${items.length} artifacts, not 100`)
    })
  },
}

/** What the process of our contender does. */
export type HubJobs = typeof jobs

async function latencies(samples: number, call: (sample: number) => Promise<void>): Promise<number[]> {
  const all: number[] = []
  for (let sample = 0; sample < samples; sample++) {
    const startedMs = performance.now()
    await call(sample)
    all.push(performance.now() - startedMs)
  }
  return all
}

serveJobs(jobs)
