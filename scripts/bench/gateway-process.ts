import { LinkCheck } from '../../node/gateway/link-check.ts'
import { type ArtifactHubNode, startNode } from '../../node/index.ts'
import { decodeCapability, parseLinkUrl } from '../../src/capability/index.ts'
import { serveJobs } from './job-server.ts'

let node: ArtifactHubNode | undefined

function running(): ArtifactHubNode {
  if (node === undefined) throw new Error('no node is open')
  return node
}

/** How a gateway is opened. */
export interface GatewayPlace {
  readonly dataDir: string
  /** Others reach it over loopback TCP, and it them, whoever made a link. */
  readonly isOnline?: boolean
  /** PEM. */
  readonly tls?: { readonly key: string; readonly cert: string }
}

const jobs = {
  open: async ({ dataDir, isOnline = false, tls }: GatewayPlace): Promise<{ did: string; url: string }> => {
    const network = isOnline ? 'lan' : 'offline'
    const listen = isOnline ? ['/ip4/127.0.0.1/tcp/0'] : undefined
    node = await startNode({ network, listen, dataDir, gateway: { tls, open: true, allowPrivateProviders: true } })
    return { did: node.did, url: node.gateway?.url as string }
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
  /** Stores content; gives its id. */
  create: async (data: Uint8Array): Promise<string> => (await running().client.artifact.create({ name: 'x', data })).id,
  /** A link to an artifact at this gateway. */
  link: async (artifactId: string): Promise<string> => {
    const { client, did, gateway } = running()
    const gateways = [{ agent: did, url: gateway?.url as string }]
    return (await client.artifact.getSignedUrl({ artifactId, gateways })).url
  },
  /** A link to an artifact at another gateway. */
  linkFor: async ({ artifactId, did, url }: { artifactId: string; did: string; url: string }): Promise<string> =>
    (await running().client.artifact.getSignedUrl({ artifactId, gateways: [{ agent: did, url }] })).url,
  /** How long each of so many links takes to be checked that were not seen before, µs. */
  check: async ({ artifactId, count }: { artifactId: string; count: number }): Promise<number[]> => {
    const caps: string[] = []
    for (let made = 0; made < count; made++)
      caps.push(new URL(await jobs.link(artifactId)).searchParams.get('cap') ?? '')
    const { audience } = decodeCapability(parseLinkUrl(await jobs.link(artifactId)).token).claims
    const self = audience[0]?.id as Uint8Array
    const check = new LinkCheck({ self, skewSeconds: 60, now: Date.now })
    return caps.map((cap) => {
      const startedMs = performance.now()
      check.check({ artifact: artifactId, caps: [cap], address: '127.0.0.1' })
      return (performance.now() - startedMs) * 1000
    })
  },
  /** Does nothing: what its process took is told with every job. */
  rest: async (): Promise<void> => {},
}

/** What the process of a gateway does. */
export type GatewayJobs = typeof jobs

serveJobs(jobs)
