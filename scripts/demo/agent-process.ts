/**
 * One agent of the demo: a node in a process of its own, which does what its parent asks over the channel between them. Started
 * with its data directory, its listen address or `offline`, and `gateway` if it is to serve links.
 */
import { type Artifact, type ArtifactHubNode, isHubError, type OnProgress, startNode } from 'artifact-hub'

const [dataDir = '', listen = 'offline', role = 'agent'] = process.argv.slice(2)

/** What the parent asks for. */
export interface Request {
  readonly call: number
  readonly action: keyof Actions
  readonly options: never
}

/** What it is told. `atMs` is the time when it was done, milliseconds since 1970, with fractions. */
export type Reply =
  | { readonly ready: string }
  | { readonly call: number; readonly progress: Parameters<OnProgress>[0] }
  | { readonly call: number; readonly value: unknown; readonly atMs: number }
  | { readonly call: number; readonly error: { readonly code: string; readonly message: string } }

/** Everything that agents of the demo can do. */
export type Actions = ReturnType<typeof actionsOf>

function actionsOf({ client, status, did }: Pick<ArtifactHubNode, 'client' | 'status' | 'did'>) {
  const { agent, artifact, group, namespace } = client
  // Begun before something is written elsewhere, and awaited after.
  const awaited = new Map<string, Promise<number>>()
  return {
    ticket: () => agent.ticket(),
    addContact: (options: { name: string; ticket: string }) => agent.add(options),
    createNamespace: (options: { name: string }) => namespace.create(options),
    grant: (options: { namespace: string; agent: string; role: 'writer' | 'reader' | 'replica' }) =>
      namespace.grant(options),
    revoke: (options: { namespace: string; agent: string }) => namespace.revoke(options),
    namespaceTicket: (options: { namespace: string }) => namespace.ticket(options),
    join: (options: { ticket: string }) => namespace.join({ ...options, wait: true }),
    members: (options: { namespace: string }) => namespace.members(options),
    createSnippet: (options: { namespace?: string; name: string; content: string }) => artifact.createSnippet(options),
    updateSnippet: (options: { artifactId: string; content: string }) => artifact.update(options),
    createFile: (options: { path: string }) => artifact.uploadFile(options),
    createGroup: (options: { name: string }) => group.create(options),
    addToGroup: (options: { group: string; agents: string[] }) => group.add(options),
    removeFromGroup: (options: { group: string; agents: string[] }) => group.remove(options),
    groupTicket: (options: { group: string }) => group.ticket(options),
    share: (options: { artifactId: string; withGroups: string[] }) => artifact.share(options),
    sharedWithMe: async () => (await artifact.listShared()).items,
    access: (options: { artifactId: string }) => artifact.access(options),
    link: async (options: { artifactId: string; expiresIn: number }) => {
      const { url, jti, expiresAt } = await artifact.getSignedUrl(options)
      return { url, jti, expiresAt }
    },
    revokeLink: (options: { jti: string }) => artifact.revokeSignedUrl(options),
    uploadFile: (options: { namespace: string; path: string; replicas: number }, onProgress: OnProgress) =>
      artifact.uploadFile({ ...options, replicaTimeoutMs: 60_000, onProgress }),
    downloadFile: (options: { artifactId: string; path: string }, onProgress: OnProgress) =>
      artifact.downloadFile({ ...options, onProgress }),
    download: async (options: { artifactId: string }) => Buffer.from(await artifact.download(options)).toString(),
    where: (options: { artifactId: string }) => artifact.status(options),
    list: async (options: { namespace: string }) => {
      const found: Artifact[] = []
      for await (const one of artifact.list(options)) found.push(one)
      return found
    },
    /** Looks out for an artifact of that name from now on. */
    lookOut: async ({ namespace: where, name }: { namespace: string; name: string }) => {
      const events = artifact.watch({ namespace: where })[Symbol.asyncIterator]()
      const seen = async (): Promise<number> => {
        for (;;) {
          const { value, done } = await events.next()
          if (done) throw new Error('watching ended')
          if (value.artifact?.name !== name) continue
          await events.return?.()
          return nowMs()
        }
      }
      awaited.set(name, seen())
    },
    /** When it saw it, milliseconds since 1970. */
    seen: ({ name }: { name: string }) => awaited.get(name),
    /** How another member's node has taken this one's rounds. */
    standing: async ({ namespace: name }: { namespace: string }) => {
      const row = (await status()).namespaces.find((one) => one.name === name)
      return { role: row?.role, entries: row?.entries, outcomes: row?.sync.peers.map(({ outcome }) => outcome) ?? [] }
    },
    who: async () => did,
  }
}

function nowMs(): number {
  return performance.timeOrigin + performance.now()
}

function tell(reply: Reply): void {
  process.send?.(reply)
}

async function answer(actions: Actions, { call, action, options }: Request): Promise<void> {
  const onProgress: OnProgress = (progress) => tell({ call, progress })
  try {
    const value = await (actions[action] as (options: never, onProgress: OnProgress) => unknown)(options, onProgress)
    tell({ call, value, atMs: nowMs() })
  } catch (error) {
    const code = isHubError(error) ? error.code : 'INTERNAL'
    tell({ call, error: { code, message: error instanceof Error ? error.message : String(error) } })
  }
}

const node = await startNode({
  dataDir,
  ...(listen === 'offline' ? { network: 'offline' } : { network: 'lan', listen: [listen] }),
  // No patience with clocks that differ: a link of this machine's ends when it says so.
  ...(role === 'gateway' ? { gateway: { host: '127.0.0.1', port: 0, clockSkewSeconds: 0 } } : {}),
})
const actions = actionsOf({ client: node.client, status: (options) => node.status(options), did: node.did })
process.on('message', (request) => void answer(actions, request as Request))
process.once('disconnect', () => void node.close())
tell({ ready: node.did })
