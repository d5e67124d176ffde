import type { Helia } from 'helia'
import type { LocalEnvironment, LocalNamespaces } from '../sdk/local/index.ts'
import type { Client } from '../sdk/index.ts'
import type { PackStore } from './disk/index.ts'
import type {
  ArtifactHubNode,
  CheckOptions,
  CheckReport,
  DiskUsage,
  GcOptions,
  GcReport,
  NodeStatus,
} from './node-types.ts'
import { packageVersion } from './version.ts'

interface RunningNodeInit {
  readonly dataDir: string
  readonly env: LocalEnvironment
  readonly namespaces: LocalNamespaces
  readonly packs: PackStore
  readonly client: Client
  readonly resources: AsyncDisposableStack
}

/** A node that `startNode` has started. */
export class RunningNode implements ArtifactHubNode {
  readonly client: Client
  readonly did: string
  readonly dataDir: string
  readonly #init: RunningNodeInit
  readonly #startedAt: Date
  #closing: Promise<void> | undefined

  constructor(init: RunningNodeInit) {
    this.#init = init
    this.client = init.client
    this.did = init.env.agent.did
    this.dataDir = init.dataDir
    this.#startedAt = new Date(init.env.now())
  }

  async status(): Promise<NodeStatus> {
    const { namespaces } = this.#init
    const rows = namespaces.all.map(async (namespace) => {
      const { row, log } = namespace
      const { artifacts } = await log.catalog.counts()
      const { leafBytes: usedBytes } = log.totals
      const current = namespaces.isCurrent(namespace)
      return { id: log.idText, name: row.name, current, plan: row.plan, artifacts, usedBytes, entries: log.entries }
    })
    const { did, dataDir } = this
    const version = await packageVersion()
    return { did, dataDir, version, network: 'offline', startedAt: this.#startedAt, namespaces: await Promise.all(rows) }
  }

  async check(options?: CheckOptions): Promise<CheckReport> {
    throw options
  }

  async gc(options?: GcOptions): Promise<GcReport> {
    throw options
  }

  async du(): Promise<readonly DiskUsage[]> {
    throw new Error()
  }

  helia(): Promise<Helia> {
    throw new Error()
  }

  close(): Promise<void> {
    this.#closing ??= this.#init.resources.disposeAsync()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
