import { type ArtifactHubNode, startNode } from '../../node/index.ts'
import { serveJobs } from './job-server.ts'
import { concurrentCallers } from './settings.ts'

const pageItems = 100

let node: ArtifactHubNode | undefined
/** Settles once all that is awaited is shared with this agent. */
let arrivals: Promise<void> | undefined

function running(): ArtifactHubNode {
  if (node === undefined) throw new Error('no node is open')
  return node
}

const jobs = {
  /** Starts a node; gives its DID. */
  open: async ({ dataDir, isOnline }: { dataDir: string; isOnline: boolean }): Promise<string> => {
    node = await startNode({ dataDir, ...(isOnline ? { listen: ['/ip4/127.0.0.1/tcp/0'] } : { network: 'offline' }) })
    return node.did
  },
  close: async (): Promise<void> => {
    await node?.close()
    node = undefined
  },
  ticket: async (): Promise<string> => await running().client.agent.ticket(),
  know: async ({ name, ticket }: { name: string; ticket: string }): Promise<void> => {
    await running().client.agent.add({ name, ticket })
  },
  meet: async (name: string): Promise<void> => {
    await running().ping(name)
  },
  /** Writes small artifacts; gives their ids. */
  write: async (count: number): Promise<string[]> =>
    await concurrently(count, async (number) => {
      const { artifact } = running().client
      const metadata = { category: number % 10, author: 'bench-agent' }
      return (await artifact.createSnippet({ name: `small-${number}.json`, content: { number }, metadata })).id
    }),
  /** Shares each with an agent. */
  shareAll: async ({ ids, agent }: { ids: readonly string[]; agent: string }): Promise<void> => {
    const { artifact } = running().client
    await concurrently(ids.length, (at) => artifact.share({ artifactId: ids[at] as string, withAgents: [agent] }))
  },
  /** Milliseconds that each call took, one after the other: sharing some artifacts, and taking them back. */
  shareAndUnshare: async ({ ids, agent }: { ids: readonly string[]; agent: string }) => {
    const { artifact } = running().client
    const [shared, unshared]: [number[], number[]] = [[], []]
    for (const artifactId of ids) {
      shared.push(await timed(() => artifact.share({ artifactId, withAgents: [agent] })))
      unshared.push(await timed(() => artifact.unshare({ artifactId, agents: [agent] })))
    }
    return { shared, unshared }
  },
  /** Milliseconds of single looks at who has some artifacts. */
  access: async (ids: readonly string[]): Promise<number[]> => {
    const times: number[] = []
    for (const artifactId of ids) times.push(await timed(() => running().client.artifact.access({ artifactId })))
    return times
  },
  /** From now on, counts which of some artifacts can be read here. */
  expectShared: async (ids: readonly string[]): Promise<void> => {
    const events = running().client.artifact.watch()
    const open = new Set(ids)
    arrivals = (async () => {
      for await (const { kind, artifactId } of events) {
        if (kind === 'shared') open.delete(artifactId)
        if (open.size === 0) return
      }
    })()
  },
  /** Waits until all that is expected can be read here. */
  awaitShared: async (): Promise<void> => {
    await arrivals
  },
  /** Milliseconds of single pages, from the first on: each after the one before. */
  pages: async ({ by, filter, count }: { by: 'me' | 'others'; filter: boolean; count: number }): Promise<number[]> => {
    const { artifact } = running().client
    const times: number[] = []
    let cursor: string | undefined
    for (let at = 0; at < count; at++) {
      const query = { by, limit: pageItems, cursor, ...(filter && { metadataFilter: { category: 3 } }) }
      const startedMs = performance.now()
      const page = await artifact.listShared(query)
      times.push(performance.now() - startedMs)
      if (page.items.length !== pageItems) throw new Error(`a page of ${page.items.length}`)
      cursor = page.nextCursor
    }
    return times
  },
}

/** What the process of one node does. */
export type ShareJobs = typeof jobs

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startedMs = performance.now()
  await work()
  return performance.now() - startedMs
}

async function concurrently<T>(count: number, work: (at: number) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  let next = 0
  const caller = async (): Promise<void> => {
    while (next < count) {
      const at = next++
      results[at] = await work(at)
    }
  }
  await Promise.all(Array.from({ length: concurrentCallers }, caller))
  return results
}

serveJobs(jobs)
