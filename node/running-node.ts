import type { UnixFS } from '@helia/unixfs'
import type { Helia } from 'helia'
import type { Client } from '../sdk/index.ts'
import type { LocalEnvironment, LocalNamespaces, OpenCalls } from '../sdk/local/index.ts'
import type { PackStore } from './disk/index.ts'
import { checkNode } from './maintenance/check-node.ts'
import { collectGarbage } from './maintenance/collect-garbage.ts'
import type {
  ArtifactHubNode,
  CheckOptions,
  CheckReport,
  DiskUsage,
  GcOptions,
  GcReport,
  Logger,
  NodeStatus,
} from './node-types.ts'
import { packageVersion } from './version.ts'

interface RunningNodeInit {
  readonly dataDir: string
  readonly env: LocalEnvironment
  readonly namespaces: LocalNamespaces
  readonly packs: PackStore
  readonly client: Client
  readonly calls: OpenCalls
  readonly resources: AsyncDisposableStack
  readonly logger: Logger | undefined
}

/** A node that `startNode` has started. */
export class RunningNode implements ArtifactHubNode {
  readonly client: Client
  readonly did: string
  readonly dataDir: string
  readonly #init: RunningNodeInit
  readonly #startedAt: Date
  #helia: Promise<Helia> | undefined
  #maintenance: Promise<unknown> = Promise.resolve()
  #closing: Promise<void> | undefined

  constructor(init: RunningNodeInit) {
    this.#init = init
    this.client = init.client
    this.did = init.env.agent.did
    this.dataDir = init.dataDir
    this.#startedAt = new Date(init.env.now())
  }

  status(options: { signal?: AbortSignal | undefined } = {}): Promise<NodeStatus> {
    return this.#init.calls.run(options, () => this.#status())
  }

  check(options: CheckOptions = {}): Promise<CheckReport> {
    const { env, dataDir, packs, namespaces } = this.#init
    return this.#maintain(options, (call) => checkNode({ env, dataDir, packs, namespaces: namespaces.all }, call))
  }

  gc(options: GcOptions = {}): Promise<GcReport> {
    const { env, packs, namespaces, logger } = this.#init
    return this.#maintain(options, (call) => collectGarbage({ env, packs, namespaces: namespaces.all, logger }, call))
  }

  du(options: { signal?: AbortSignal | undefined } = {}): Promise<readonly DiskUsage[]> {
    return this.#init.calls.run(options, ({ signal }) => this.#du(signal))
  }

  helia(): Promise<Helia> {
    const { packs, namespaces, calls } = this.#init
    return calls.run({}, () => {
      // Loaded when asked for: it takes longer to load than all the rest to start.
      this.#helia ??= import('./helia.ts').then(({ startHelia }) => startHelia(packs, namespaces))
      return this.#helia
    })
  }

  async unixfs(): Promise<UnixFS> {
    const [helia, { unixfs }] = await Promise.all([this.helia(), import('@helia/unixfs')])
    return unixfs(helia)
  }

  async #status(): Promise<NodeStatus> {
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
    return {
      did,
      dataDir,
      version,
      network: 'offline',
      startedAt: this.#startedAt,
      namespaces: await Promise.all(rows),
    }
  }

  async #du(signal: AbortSignal | undefined): Promise<DiskUsage[]> {
    const { packs, namespaces } = this.#init
    const rows: DiskUsage[] = []
    for (const { row, log } of namespaces.all) {
      signal?.throwIfAborted()
      const { diskBytes: packBytes, deadBytes, blocks } = await (await packs.namespace(log.idText)).usage()
      rows.push({
        namespace: log.idText,
        name: row.name,
        packBytes,
        deadBytes,
        blocks,
        entryBytes: log.totals.entryBytes,
      })
    }
    return rows
  }

  /** Check and gc look at the same things from two sides: one at a time. */
  #maintain<O extends { signal?: AbortSignal | undefined }, T>(options: O, work: (call: O) => Promise<T>): Promise<T> {
    return this.#init.calls.run(options, (call) => {
      const result = this.#maintenance.then(() => {
        call.signal?.throwIfAborted()
        return work(call)
      })
      this.#maintenance = result.catch(() => {})
      return result
    })
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { calls, resources } = this.#init
    try {
      await calls.close()
      const helia = await this.#helia?.catch(() => undefined)
      await helia?.stop()
    } finally {
      await resources.disposeAsync()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
