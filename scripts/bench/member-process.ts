import { setTimeout as delay } from 'node:timers/promises'
import { type ArtifactHubNode, startNode } from '../../node/index.ts'
import { serveJobs } from './job-server.ts'
import { concurrentCallers } from './settings.ts'

/** Name of the one namespace that the members share. */
const shared = 'shared'
/** Between two looks at a state that nothing tells of, milliseconds. */
const lookMs = 20

let node: ArtifactHubNode | undefined
const closing = new AbortController()
let watching: Promise<void> | undefined
const seen = new Map<string, { resolve: (at: bigint) => void; readonly at: Promise<bigint> }>()

function running(): ArtifactHubNode {
  if (node === undefined) throw new Error('no node is open')
  return node
}

const jobs = {
  /** Starts a node on loopback TCP; gives its DID. */
  open: async (dataDir: string): Promise<string> => {
    node = await startNode({ dataDir, listen: ['/ip4/127.0.0.1/tcp/0'] })
    return node.did
  },
  /** Processor time of this process so far, all threads, milliseconds. */
  cpu: async (): Promise<number> => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1_000
  },
  close: async (): Promise<void> => {
    closing.abort()
    await watching
    await node?.close()
    node = undefined
  },
  /** Makes the namespace that all share. */
  found: async (): Promise<void> => {
    const { namespace } = running().client
    await namespace.create({ name: shared })
    await namespace.use({ namespace: shared })
  },
  /** Gives agents a role; gives the namespace's ticket. */
  grant: async ({ dids, role }: { dids: readonly string[]; role: 'writer' | 'reader' }): Promise<string> => {
    const { namespace } = running().client
    for (const agent of dids) await namespace.grant({ agent, role })
    return await namespace.ticket()
  },
  join: async (ticket: string): Promise<void> => {
    const { namespace } = running().client
    await namespace.join({ ticket, name: shared })
    await namespace.use({ namespace: shared })
  },
  /** Waits until so many artifacts are listed here, and can be read. */
  awaitArtifacts: async (count: number): Promise<void> => {
    const { namespace } = running().client
    while ((await namespace.usage({ namespace: shared })).artifacts < count) await delay(lookMs)
    const { items } = await running().client.artifact.list({ limit: 1 })
    if (count > 0 && items.length === 0) throw new Error('what is counted is not listed')
  },
  upload: async (path: string): Promise<string> => (await running().client.artifact.uploadFile({ path })).id,
  update: async ({ artifactId, path }: { artifactId: string; path: string }): Promise<void> => {
    await running().client.artifact.update({ artifactId, path })
  },
  awaitVersion: async ({ artifactId, version }: { artifactId: string; version: number }): Promise<void> => {
    const { artifact } = running().client
    while (
      (await artifact.get({ artifactId }).then(
        (found) => found.version,
        () => 0,
      )) < version
    )
      await delay(lookMs)
  },
  /** Fetches everything that is not here into this node's store, and waits until it is there, durable. */
  fetchAll: async (): Promise<void> => {
    await running().client.namespace.setPolicy({ fetch: 'eager' })
    for (;;) {
      const { namespaces, transfers } = await running().status()
      if (namespaces.some((row) => row.name === shared && row.contentsToFetch === 0)) return
      const [{ totalBytes = 0, fetchedBytes = 0, bytesPerSecond = 0 } = {}] = transfers
      const leftMs = bytesPerSecond > 0 ? ((totalBytes - fetchedBytes) * 1_000) / bytesPerSecond : 0
      // Each look takes of the time that is measured: few far from the end.
      await delay(Math.min(Math.max(leftMs / 2, lookMs / 2), 10 * lookMs))
    }
  },
  download: async ({ artifactId, path }: { artifactId: string; path: string }): Promise<void> => {
    await running().client.artifact.downloadFile({ artifactId, path })
  },
  /** Milliseconds from the call to the first byte of a content. */
  firstByte: async (artifactId: string): Promise<number> => {
    const startedMs = performance.now()
    for await (const _ of running().client.artifact.downloadStream({ artifactId })) return performance.now() - startedMs
    throw new Error('there is no content')
  },
  /** Bytes of blocks that this node has sent to others since it started. */
  servedBytes: async (): Promise<number> => (await running().status()).counters.blocksServed?.sentBytes ?? 0,
  writeSmall: async (count: number): Promise<void> => {
    let next = 0
    const caller = async () => {
      while (next < count) await writeSnippet(next++)
    }
    await Promise.all(Array.from({ length: concurrentCallers }, caller))
  },
  /** Writes at a steady pace for a while, each without waiting for the one before; gives how many. */
  writeSteadily: async ({ perSecond, seconds }: { perSecond: number; seconds: number }): Promise<number> => {
    const startedMs = performance.now()
    const writes: Promise<string>[] = []
    // Not all in one moment.
    const offsetMs = (Math.random() * 1_000) / perSecond
    for (let at = 0; at < perSecond * seconds; at++) {
      await delay(Math.max(0, startedMs + offsetMs + (at * 1_000) / perSecond - performance.now()))
      writes.push(writeSnippet(at))
    }
    await Promise.all(writes)
    return writes.length
  },
  /** From now on takes down when artifacts that others write can be read here. */
  watch: async (): Promise<void> => {
    const { signal } = closing
    const { artifact } = running().client
    watching = (async () => {
      for await (const { artifactId } of artifact.watch({ signal })) {
        await artifact.download({ artifactId })
        readableAt(artifactId).resolve(process.hrtime.bigint())
      }
    })().catch((error) => {
      if (!signal.aborted) throw error
    })
  },
  /** Writes one snippet; gives its id and when the call was made: nanoseconds of the machine's monotonic clock. */
  writeOne: async (number: number): Promise<{ id: string; at: bigint }> => {
    const at = process.hrtime.bigint()
    return { id: await writeSnippet(number), at }
  },
  /** When it could be read here, by the same clock. */
  awaitReadable: async (id: string): Promise<bigint> => await readableAt(id).at,
  rss: async (): Promise<number> => process.memoryUsage.rss(),
}

/** What the process of one member does. */
export type MemberJobs = typeof jobs

async function writeSnippet(number: number): Promise<string> {
  const content = { number, model: 'x', temperature: 0.7, prompt: `artifact ${number} of a run of the bench` }
  const metadata = { category: number % 4 === 0 ? 'reports' : 'notes', author: 'bench-agent' }
  return (await running().client.artifact.createSnippet({ name: `small-${number}.json`, content, metadata })).id
}

function readableAt(id: string): { resolve: (at: bigint) => void; readonly at: Promise<bigint> } {
  let one = seen.get(id)
  if (one === undefined) {
    const { promise, resolve } = Promise.withResolvers<bigint>()
    one = { resolve, at: promise }
    seen.set(id, one)
  }
  return one
}

serveJobs(jobs)
