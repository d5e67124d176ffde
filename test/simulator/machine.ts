import { toHex } from '../../src/encoding/index.ts'
import { isHubError } from '../../src/errors.ts'
import { joinNamespace, type ReplicatedLog, Replicator, type Scheduler } from '../../src/exchange/index.ts'
import { AgentKey } from '../../src/identity/index.ts'
import { maxClockAheadMs } from '../../src/limits.ts'
import { type Entry, HybridClock, isSignedByAuthor } from '../../src/log/index.ts'
import { keySpaces, Namespace, type NamespaceEnvironment, NamespaceKeys } from '../../src/namespace/index.ts'
import { MemoryBlocks } from '../support/namespace-nodes.ts'
import type { Chance } from './chance.ts'
import type { Ledger } from './ledger.ts'
import type { Endpoint, SimulatedNetwork } from './simulated-network.ts'
import { type Power, SimulatedStore, StoreImage } from './simulated-store.ts'
import type { VirtualTime } from './virtual-time.ts'

/** What all machines of a simulation share. */
export interface World {
  readonly time: VirtualTime
  readonly network: SimulatedNetwork
  readonly ledger: Ledger
  /** What must not happen and did. */
  readonly failures: unknown[]
  /** The namespace, once the owner has made it. */
  id: Uint8Array | undefined
}

/** An agent's key whose signatures are made at once: what takes real time would make a run differ from the next. */
export class SimulatedAgent extends AgentKey {
  override async signBeside(...[domain, statement]: Parameters<AgentKey['signBeside']>) {
    return this.sign(domain, statement)
  }
}

const verdicts = new Map<string, boolean>()

/** As nodes check it; each signature once for all machines of this process, which changes no answer. */
function isSigned(entry: Entry): boolean {
  const name = toHex(entry.hash) + toHex(entry.signature)
  let verdict = verdicts.get(name)
  if (verdict === undefined) {
    verdict = isSignedByAuthor(entry)
    if (verdicts.size > 50_000) verdicts.clear()
    verdicts.set(name, verdict)
  }
  return verdict
}

export interface MachineOptions {
  readonly name: string
  readonly agent: SimulatedAgent
  readonly chance: Chance
  readonly skewMs: number
  /** What it shows others of its log; by default all of it, as it is. */
  readonly disguise?: ((log: Namespace) => ReplicatedLog) | undefined
}

/** One agent's machine: its disk, its clock, and at times a node that runs on it. */
export class Machine {
  readonly name: string
  readonly agent: SimulatedAgent
  readonly chance: Chance
  readonly isHonest: boolean
  readonly world: World
  readonly disguise: MachineOptions['disguise']
  image = new StoreImage()
  skewMs: number
  /** What the marker beside the database says. */
  incarnation: Uint8Array | undefined
  run: Run | undefined
  #latestMs = 0
  /** Called around every batch. */
  onBoundary: (moment: 'before' | 'after') => void = () => {}

  constructor(world: World, options: MachineOptions) {
    this.world = world
    this.name = options.name
    this.agent = options.agent
    this.chance = options.chance
    this.skewMs = options.skewMs
    this.disguise = options.disguise
    this.isHonest = options.disguise === undefined
  }

  /** What the clock beside its node says: not the time, with some bad luck. */
  readonly now = (): number => {
    const now = this.world.time.now() + this.skewMs
    this.#latestMs = Math.max(this.#latestMs, now)
    return now
  }

  /** Notes an entry that is dated beyond what its node may have believed of others. */
  checkClock({ header }: Entry): void {
    this.now()
    if (header.clock.wallMs > this.#latestMs + maxClockAheadMs)
      this.world.failures.push(new Error(`${this.name} followed a clock that is far ahead of its own`))
  }

  get id(): Uint8Array {
    return this.agent.publicKey
  }

  /** The namespace, while a node runs that has it. */
  get ns(): Namespace | undefined {
    return this.run?.ns
  }

  /** Starts a node, unless one runs. */
  start(): void {
    if (this.run !== undefined) return
    this.incarnation ??= this.chance.bytes(16)
    this.run = new Run(this, this.incarnation)
    void this.run.begin()
  }

  /** Ends the node in order. */
  async stop(): Promise<void> {
    const { run } = this
    this.run = undefined
    await run?.end()
  }

  /** Ends the process and nothing else: what it handed to the system is still written. */
  kill(): void {
    this.run?.crash()
    this.run = undefined
  }

  /** Ends the machine: unsynced batches may be lost. What starts after a boot draws another incarnation. */
  cutPower(): void {
    this.kill()
    this.image.losePower(this.chance)
    this.incarnation = undefined
  }

  /** Puts an older copy of the disk back, as from a backup; the node that starts on it notices. */
  restore(image: StoreImage): void {
    this.kill()
    this.image = image
    this.incarnation = undefined
  }
}

/** A node, from its start to its end. */
export class Run {
  readonly machine: Machine
  readonly power: Power = { on: true }
  readonly endpoint: Endpoint
  readonly replicator: Replicator
  readonly env: NamespaceEnvironment
  readonly #scheduler: Scheduler
  #isBusy = true
  ns: Namespace | undefined

  constructor(machine: Machine, incarnation: Uint8Array) {
    this.machine = machine
    const { world, agent, chance } = machine
    const { time } = world
    const { now } = machine
    this.endpoint = world.network.join(agent.publicKey)
    const blocks = new MemoryBlocks()
    this.env = {
      store: new SimulatedStore(machine.image, {
        power: this.power,
        time,
        chance,
        onBoundary: (moment) => {
          if (this.power.on) machine.onBoundary(moment)
        },
      }),
      packs: async () => blocks,
      agent,
      incarnation,
      clock: new HybridClock(now),
      random: chance.bytes,
      verify: async (entries) => entries.map(isSigned),
    }
    this.#scheduler = {
      now,
      setTimer: (delayMs, work) =>
        time.setTimer(delayMs, () => {
          if (this.power.on) work()
        }),
    }
    this.replicator = new Replicator({
      network: this.endpoint,
      scheduler: this.#scheduler,
      random: chance.next,
      self: agent.publicKey,
      onInvited: (_, from) => void this.#join(from),
    })
  }

  /** Opens the namespace if it is on the disk; else waits to be invited. */
  async begin(): Promise<void> {
    const { id } = this.machine.world
    const isThere =
      id !== undefined && (await this.env.store.get(new NamespaceKeys(id).key('places', id))) !== undefined
    if (isThere) await this.#guard(async () => this.follow(await Namespace.open(this.env, id)))
    this.#isBusy = false
  }

  /** Keeps a namespace in step with others. */
  follow(ns: Namespace): void {
    const { ledger } = this.machine.world
    this.ns = ns
    this.#isBusy = false
    ns.subscribe(({ written }) => {
      if (this.power.on) for (const bytes of written) ledger.tell(this.machine, bytes)
    })
    this.replicator.follow(this.machine.disguise?.(ns) ?? ns)
  }

  async end(): Promise<void> {
    await this.#guard(async () => {
      await this.replicator.close()
      await this.ns?.close()
    })
    this.crash()
  }

  crash(): void {
    this.power.on = false
    this.machine.world.network.leave(this.endpoint)
  }

  async #join(from: Uint8Array): Promise<void> {
    const { id } = this.machine.world
    if (this.#isBusy || this.ns !== undefined || id === undefined || !this.power.on) return
    this.#isBusy = true
    let joined: Namespace | undefined
    try {
      await joinNamespace({
        network: this.endpoint,
        scheduler: this.#scheduler,
        id,
        providers: [{ agent: from, addresses: [] }],
        create: async (genesis) => {
          joined = await Namespace.join(this.env, id, genesis, () => [])
          return joined
        },
      })
    } catch (error) {
      if (!isHubError(error, 'UNAVAILABLE') && !isHubError(error, 'ACCESS_DENIED') && !isHubError(error, 'CORRUPT'))
        this.machine.world.failures.push(error)
    }
    // As a node does: cut off in the middle it goes on by itself, but without a role there is nothing to go on with.
    if (joined !== undefined && joined.roleOf(this.machine.id) !== undefined) this.follow(joined)
    else if (joined !== undefined) {
      await joined.close()
      await this.#forget()
    }
    this.#isBusy = false
  }

  async #forget(): Promise<void> {
    const rows = []
    for (const space of [keySpaces.namespace, keySpaces.scratch]) {
      for await (const [key] of this.env.store.entries({ gte: Uint8Array.of(space), lt: Uint8Array.of(space + 1) }))
        rows.push({ type: 'del' as const, key })
    }
    await this.env.store.batch(rows, { sync: true })
  }

  async #guard(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.machine.world.failures.push(error)
    }
  }
}
