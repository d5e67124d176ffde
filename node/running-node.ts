import type { UnixFS } from '@helia/unixfs'
import type { Helia } from 'helia'
import type { Client } from '../sdk/index.ts'
import {
  checked,
  type Groups,
  isForPerson,
  type LocalEnvironment,
  type LocalNamespaces,
  type OpenCalls,
  type OpenNamespace,
  type Replication,
  type Sharing,
} from '../sdk/local/index.ts'
import { toHex } from '../src/encoding/index.ts'
import { ArtifactHubError } from '../src/errors.ts'
import { formatDid } from '../src/identity/index.ts'
import { gcGraceMs } from '../src/limits.ts'
import type { PackStore } from './disk/index.ts'
import type { Gateway } from './gateway/index.ts'
import type { StartedHelia } from './helia.ts'
import type { Logger } from './logger.ts'
import { checkNode } from './maintenance/check-node.ts'
import { collectGarbage } from './maintenance/collect-garbage.ts'
import type { Network } from './network/index.ts'
import { nodeShapes } from './node-options.ts'
import type {
  ArtifactHubNode,
  CheckOptions,
  CheckReport,
  DiskUsage,
  GatewayStatus,
  GcOptions,
  GcReport,
  NodeStatus,
  Peer,
} from './node-types.ts'
import { nodeStatus, peersOf } from './status.ts'

interface RunningNodeInit {
  readonly dataDir: string
  readonly env: LocalEnvironment
  readonly network: Network
  readonly replication: Replication
  readonly groups: Groups
  readonly sharing: Sharing
  readonly packs: PackStore
  readonly client: Client
  readonly calls: OpenCalls
  readonly gateway: Gateway | undefined
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
  #helia: Promise<StartedHelia> | undefined
  #maintenance: Promise<unknown> = Promise.resolve()
  #closing: Promise<void> | undefined

  constructor(init: RunningNodeInit) {
    this.#init = init
    this.client = init.client
    this.did = init.env.agent.did
    this.dataDir = init.dataDir
    this.#startedAt = new Date(init.env.now())
  }

  get gateway(): GatewayStatus | undefined {
    const { gateway } = this.#init
    return gateway && { url: gateway.url, port: gateway.port, adminPort: gateway.adminPort }
  }

  async status(options: { signal?: AbortSignal | undefined } = {}): Promise<NodeStatus> {
    const { did, dataDir } = this
    const { network, replication, groups, sharing, packs, calls } = this.#init
    return await calls.run(checked('status', nodeShapes.nothing, options), ({ signal }) =>
      nodeStatus({ did, dataDir, startedAt: this.#startedAt, network, replication, groups, sharing, packs }, signal),
    )
  }

  async check(options: CheckOptions = {}): Promise<CheckReport> {
    const { env, dataDir, packs } = this.#init
    const namespaces = this.#namespaces
    return await this.#maintain(checked('check', nodeShapes.check, options), (call) =>
      checkNode({ env, dataDir, packs, namespaces: namespaces.stored }, call),
    )
  }

  async gc(options: GcOptions = {}): Promise<GcReport> {
    const { env, packs, logger } = this.#init
    const namespaces = this.#namespaces
    return await this.#maintain(checked('gc', nodeShapes.gc, options), async (call) => {
      await namespaces.removeEnded(call.now === true ? Number.POSITIVE_INFINITY : env.now() - gcGraceMs)
      const kept = new Set<OpenNamespace>()
      // What counts no more by what this node heard last may count again when it is let in.
      for (const { namespace } of namespaces.ended) if (await isForPerson(namespace)) kept.add(namespace)
      const swept = namespaces.stored.filter((namespace) => !kept.has(namespace))
      return await collectGarbage({ env, packs, namespaces: swept, logger }, call)
    })
  }

  async peers(options: { signal?: AbortSignal | undefined } = {}): Promise<readonly Peer[]> {
    const { network, replication, calls } = this.#init
    const call = checked('peers', nodeShapes.nothing, options)
    return await calls.run(call, ({ signal }) => peersOf({ network, replication }, signal))
  }

  async ping(agent: string, options: { signal?: AbortSignal | undefined } = {}): Promise<number> {
    const { network, replication, calls } = this.#init
    return await calls.run(checked('ping', nodeShapes.nothing, options), async ({ signal }) => {
      if (typeof agent !== 'string' || agent === '')
        throw new ArtifactHubError('INVALID_ARGUMENT', 'ping: agent must be a contact, a DID or a ticket')
      return await network.ping(replication.contacts.resolve(agent).agent, { signal })
    })
  }

  onAnswered(listener: (answered: { readonly did: string; readonly shareId: string }) => void): () => void {
    return this.#init.replication.onAnswered((agent, jtis) => {
      const did = formatDid(agent)
      for (const jti of jtis) listener({ did, shareId: toHex(jti) })
    })
  }

  /** Joins and fetches the namespaces of these tickets from now on. @throws INVALID_ARGUMENT */
  replicate(tickets: readonly string[]): void {
    this.#init.replication.replicate(tickets)
  }

  async du(options: { signal?: AbortSignal | undefined } = {}): Promise<readonly DiskUsage[]> {
    return await this.#init.calls.run(checked('du', nodeShapes.nothing, options), ({ signal }) => this.#du(signal))
  }

  helia(): Promise<Helia> {
    const { packs, env, calls } = this.#init
    const namespaces = this.#namespaces
    return calls.run({}, async () => {
      // Loaded when asked for: it takes longer to load than all the rest to start.
      this.#helia ??= import('./helia.ts').then(({ startHelia }) =>
        startHelia({ packs, namespaces, fetches: env.fetches }),
      )
      return (await this.#helia).helia
    })
  }

  async unixfs(): Promise<UnixFS> {
    const [helia, { unixfs }] = await Promise.all([this.helia(), import('@helia/unixfs')])
    return unixfs(helia)
  }

  get #namespaces(): LocalNamespaces {
    return this.#init.replication.namespaces
  }

  async #du(signal: AbortSignal | undefined): Promise<DiskUsage[]> {
    const { packs } = this.#init
    const namespaces = this.#namespaces
    const rows: DiskUsage[] = []
    for (const { row, log } of [...namespaces.everything, ...namespaces.ended.map((one) => one.namespace)]) {
      signal?.throwIfAborted()
      const { diskBytes: packBytes, deadBytes, blocks } = await (await packs.namespace(log.folder)).usage()
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
    const { calls, gateway, resources } = this.#init
    try {
      // Bodies in flight may need what closes after them.
      await gateway?.close()
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
