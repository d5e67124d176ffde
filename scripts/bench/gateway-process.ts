import { type ArtifactHubNode, startNode } from '../../node/index.ts'
import { serveJobs } from './job-server.ts'

let node: ArtifactHubNode | undefined

function running(): ArtifactHubNode {
  if (node === undefined) throw new Error('no node is open')
  return node
}

const jobs = {
  open: async (dataDir: string): Promise<void> => {
    node = await startNode({ network: 'offline', dataDir, gateway: {} })
  },
  close: async (): Promise<void> => {
    await node?.close()
    node = undefined
  },
  /** Stores a file and a small content; gives their ids. */
  store: async ({ path, small }: { path: string; small: Uint8Array }): Promise<{ large: string; small: string }> => {
    const { artifact } = running().client
    const large = await artifact.uploadFile({ path })
    return { large: large.id, small: (await artifact.create({ name: 'small.bin', data: small })).id }
  },
  /** A link to an artifact at this gateway. */
  link: async (artifactId: string): Promise<string> => {
    const { client, did, gateway } = running()
    const gateways = [{ agent: did, url: gateway?.url as string }]
    return (await client.artifact.getSignedUrl({ artifactId, gateways })).url
  },
  /** Does nothing: what its process took is told with every job. */
  rest: async (): Promise<void> => {},
}

/** What the process of a gateway does. */
export type GatewayJobs = typeof jobs

serveJobs(jobs)
