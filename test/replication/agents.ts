import { localFiles } from '../../node/local-files.ts'
import { type Network, type StartNetworkOptions, startNetwork } from '../../node/network/index.ts'
import type { Client } from '../../sdk/index.ts'
import {
  createLocalClient,
  Fetches,
  Groups,
  Links,
  type LocalEnvironment,
  LocalNamespaces,
  OpenCalls,
  type OpenNamespace,
  Replication,
  Sharing,
} from '../../sdk/local/index.ts'
import { decodeEnvelope } from '../../src/capability/index.ts'
import { inThreadEngine, LeafMemory } from '../../src/content/index.ts'
import { parseArtifactId } from '../../src/encoding/index.ts'
import type { KnownPeer } from '../../src/exchange/index.ts'
import { AgentKey } from '../../src/identity/index.ts'
import { HybridClock } from '../../src/log/index.ts'
import { MemoryKeyValueStore } from '../support/memory-key-value.ts'
import { MemoryBlocks } from '../support/namespace-nodes.ts'

/** An agent's node on loopback TCP whose disk is memory, and all parts of it in reach: it can be stopped and started again. */
export class LocalAgent {
  readonly key: AgentKey
  /** What of its network is not as usual. */
  readonly #networkOptions: Partial<StartNetworkOptions>
  readonly #store = new MemoryKeyValueStore()
  readonly #blocks = new Map<string, MemoryBlocks>()
  readonly #incarnation = random(16)
  /** What the node takes for the time, beyond the machine's. */
  aheadMs = 0
  /** Timers that have not gone off. */
  readonly #timers = new Set<{ readonly atMs: number; readonly stop: () => void; readonly fire: () => void }>()
  #keptMs = Number.POSITIVE_INFINITY
  #running: Running | undefined

  private constructor(key: AgentKey, networkOptions: Partial<StartNetworkOptions>) {
    this.key = key
    this.#networkOptions = networkOptions
  }

  static async start(key = new AgentKey(random(32)), network: Partial<StartNetworkOptions> = {}): Promise<LocalAgent> {
    const agent = new LocalAgent(key, network)
    await agent.start()
    return agent
  }

  /** Lets time pass for this node: what it waits for that long comes now. */
  advance(ms: number): void {
    this.aheadMs += ms
    const due = [...this.#timers].filter(({ atMs }) => atMs <= Date.now() + this.aheadMs)
    for (const { fire } of due.sort((a, b) => a.atMs - b.atMs)) fire()
  }

  /** Whether it waits for something for so long yet, milliseconds. */
  isWaiting({ from, to }: { readonly from: number; readonly to: number }): boolean {
    const now = Date.now() + this.aheadMs
    return [...this.#timers].some(({ atMs }) => atMs - now >= from && atMs - now <= to)
  }

  /** From now on what this node waits for so long, milliseconds, or longer, never comes. */
  keepOnlyTimersBelow(ms: number): void {
    this.#keptMs = ms
    const now = Date.now() + this.aheadMs
    for (const { atMs, stop } of this.#timers) if (atMs - now >= ms) stop()
  }

  get id(): Uint8Array {
    return this.key.publicKey
  }

  get client(): Client {
    return this.#parts.client
  }

  get replication(): Replication {
    return this.#parts.replication
  }

  get network(): Network {
    return this.#parts.network
  }

  get env(): LocalEnvironment {
    return this.#parts.env
  }

  /** How others may reach it. */
  get peer(): KnownPeer {
    return { agent: this.id, addresses: this.network.addresses() }
  }

  /** Blocks of a namespace, wherever it has it from. */
  blocksOf(namespace: string): MemoryBlocks {
    const blocks = this.#blocks.get(namespace) ?? new MemoryBlocks()
    this.#blocks.set(namespace, blocks)
    return blocks
  }

  namespace(name?: string): OpenNamespace {
    return this.replication.namespaces.find(name)
  }

  async start(): Promise<void> {
    const now = () => Date.now() + this.aheadMs
    const monotonic = () => performance.now()
    const network = await startNetwork({
      agent: this.key,
      mode: 'lan',
      listen: ['/ip4/127.0.0.1/tcp/0'],
      now: Date.now,
      monotonic,
      random,
      ...this.#networkOptions,
    })
    const scheduler = {
      now,
      setTimer: (delayMs: number, work: () => void) => {
        if (delayMs >= this.#keptMs) return () => {}
        const stop = (): void => {
          clearTimeout(timeout)
          this.#timers.delete(timer)
        }
        const timer = {
          atMs: now() + delayMs,
          stop,
          fire: () => {
            stop()
            work()
          },
        }
        const timeout = setTimeout(timer.fire, delayMs)
        this.#timers.add(timer)
        return stop
      },
    }
    const fetches = new Fetches({ network, scheduler, engine: inThreadEngine, monotonic, self: this.id })
    const env: LocalEnvironment = {
      store: this.#store,
      packs: async (id) => this.blocksOf(id),
      removeBlocks: async (id) => void this.#blocks.delete(id),
      agent: this.key,
      incarnation: this.#incarnation,
      clock: new HybridClock(now),
      random,
      network,
      discovery: network,
      isOnline: true,
      scheduler,
      fetches,
      engine: inThreadEngine,
      files: localFiles,
      leafMemory: new LeafMemory(1_000),
      now,
      monotonic,
    }
    const namespaces = await LocalNamespaces.open(env)
    const replication = await Replication.open(env, namespaces)
    const groups = await Groups.open(replication)
    const sharing = await Sharing.open(groups)
    const calls = new OpenCalls()
    this.#running = {
      network,
      env,
      fetches,
      namespaces,
      replication,
      groups,
      sharing,
      calls,
      client: createLocalClient(sharing, await Links.open(env), calls),
    }
  }

  async stop(): Promise<void> {
    const running = this.#running
    this.#running = undefined
    if (running === undefined) return
    await running.calls.close()
    await running.sharing.close()
    await running.groups[Symbol.asyncDispose]()
    await running.replication.close()
    await running.namespaces.close()
    await running.fetches.close()
    await running.network.close()
  }

  get groups(): Groups {
    return this.#parts.groups
  }

  get sharing(): Sharing {
    return this.#parts.sharing
  }

  /** Shares an artifact with another agent, or with a group (its ticket); gives the capability. */
  async share(artifactId: string, to: LocalAgent | string, terms: { expiresIn?: number; fromNow?: boolean } = {}) {
    const { log } = this.namespace()
    const group = typeof to === 'string' ? this.groups.resolve(to) : undefined
    if (group !== undefined) await this.groups.prepare(this.namespace(), group)
    const audience = [
      group === undefined
        ? { kind: 'agent' as const, id: (to as LocalAgent).id }
        : { kind: 'group' as const, id: group.group },
    ]
    const [share] = await log.sharing.share({ artifact: parseArtifactId(artifactId), audience, ...terms })
    const envelope = share && (await log.sharing.envelopeOf(share))
    if (envelope === undefined) throw new Error('it is shared already')
    return decodeEnvelope(envelope).capability.token
  }

  get #parts(): Running {
    if (this.#running === undefined) throw new Error('this node is stopped')
    return this.#running
  }
}

interface Running {
  readonly network: Network
  readonly env: LocalEnvironment
  readonly fetches: Fetches
  readonly namespaces: LocalNamespaces
  readonly replication: Replication
  readonly groups: Groups
  readonly sharing: Sharing
  readonly calls: OpenCalls
  readonly client: Client
}

/** Agents of a test, all stopped in the end. */
export class LocalAgents implements AsyncDisposable {
  readonly #all: LocalAgent[] = []

  async start(network: Partial<StartNetworkOptions> = {}): Promise<LocalAgent> {
    const agent = await LocalAgent.start(undefined, network)
    this.#all.push(agent)
    return agent
  }

  /** An owner of a namespace, and members of those roles that have joined it. */
  async team(...roles: ('admin' | 'writer' | 'reader' | 'replica')[]): Promise<LocalAgent[]> {
    const owner = await this.start()
    const team = [owner]
    await owner.client.namespace.create({ name: 'shared' })
    await owner.client.namespace.use({ namespace: 'shared' })
    for (const [at, role] of roles.entries()) {
      const member = await this.start()
      const name = `${role}-${at}`
      await owner.client.agent.add({ name, did: member.client.did })
      await owner.client.namespace.grant({ agent: name, role })
      await member.client.namespace.join({ ticket: await owner.client.namespace.ticket() })
      await member.client.namespace.use({ namespace: 'shared' })
      team.push(member)
    }
    return team
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#all.map((agent) => agent.stop()))
  }
}

/** Random bytes. */
function random(length: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(length))
}
