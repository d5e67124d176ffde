import { toHex } from '../../src/encoding/index.ts'
import type { ReplicatedLog } from '../../src/exchange/index.ts'
import { AgentKey } from '../../src/identity/index.ts'
import { maxClockAheadMs } from '../../src/limits.ts'
import type { Entry } from '../../src/log/index.ts'
import { forgetNamespace, type Namespace, NamespaceKeys, putPartial } from '../../src/namespace/index.ts'
import type { Chance } from './chance.ts'
import { bytesOf, type Ledger } from './ledger.ts'
import type { Mail } from './mail.ts'
import { Run } from './run.ts'
import type { SimulatedNetwork } from './simulated-network.ts'
import { StoreImage } from './simulated-store.ts'
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
  /** What happened in the group. */
  readonly groupLedger: Ledger
  readonly hasShares: boolean
  /** Whether the group may have a role in the namespace. */
  readonly hasGroupRoles: boolean
  /** The group that artifacts are shared with, once it is made. */
  group: Uint8Array | undefined
  readonly machines: readonly Machine[]
}

/** An agent's key whose signatures are made at once: what takes real time would make a run differ from the next. */
export class SimulatedAgent extends AgentKey {
  override async signBeside(...[domain, statement]: Parameters<AgentKey['signBeside']>) {
    return this.sign(domain, statement)
  }
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
  /** Whether its node goes on asking for what it has no right to any more, with all that it ever had in hand. */
  isStubborn = false
  /** Whether its user left the namespace: its node joins it on nobody's word. */
  hasLeft = false
  /** By jti (hex), what was shared with its agent. */
  readonly mail = new Map<string, Mail>()
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

  /** What is followed here by shares. */
  get partial(): Namespace | undefined {
    return this.run?.follower.log
  }

  receive(mail: Mail): void {
    const name = toHex(mail.capability.claims.jti)
    const from = new Set([...(this.mail.get(name)?.from ?? []), ...mail.from])
    this.mail.set(name, { ...mail, from })
    this.run?.follower.look()
  }

  /**
   * What goes from its disk, for that is replaced or the log was dropped, and nobody else has, need not be held by anybody. To be called at that
   * moment: of several who drop the same, the last one is excused.
   */
  excuse(next?: StoreImage): void {
    const { ledger, machines } = this.world
    const id = this.world.id as Uint8Array
    const others = machines.filter((one) => one !== this && one.isHonest).map(({ image }) => image)
    const kept = (next === undefined ? others : [...others, next]).filter((image) => isServed(image, id))
    for (const hash of ledger.told.keys()) {
      const key = new NamespaceKeys(id).key('places', bytesOf(hash))
      const isHere = this.image.get(key) !== undefined
      if (isHere && !kept.some((image) => image.get(key) !== undefined)) ledger.excused.add(hash)
    }
  }

  /** Whether its disk has an entry (hash in hex) in the log of a member, who serves others. */
  keeps(hash: string): boolean {
    const id = this.world.id as Uint8Array
    return isServed(this.image, id) && this.image.get(new NamespaceKeys(id).key('places', bytesOf(hash))) !== undefined
  }

  /** Whether its disk says that the namespace was dropped, and what it had of it is being removed. */
  get isDropping(): boolean {
    return isDropped(this.image, this.world.id as Uint8Array)
  }

  /** Whether it alone has something that was excused: its log says what no other does. */
  get knowsMore(): boolean {
    const { ledger, id, machines } = this.world
    const [owner] = machines as [Machine]
    return [...ledger.excused].some((hash) => {
      const key = new NamespaceKeys(id as Uint8Array).key('places', bytesOf(hash))
      return this.image.get(key) !== undefined && owner.image.get(key) === undefined
    })
  }

  /** Drops the namespace, as its user says, until `comeBack`. */
  leave(): void {
    this.hasLeft = true
    void this.run?.follower.letGo()
  }

  async comeBack(): Promise<void> {
    this.hasLeft = false
    await this.run?.join()
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
    this.excuse(image)
    this.image = image
    this.incarnation = undefined
  }
}

/** Whether others may be served of a namespace from what a disk has of it: not of what is followed by shares, nor of what was dropped. */
function isServed(image: StoreImage, id: Uint8Array): boolean {
  return image.get(putPartial(id).key) === undefined && !isDropped(image, id)
}

function isDropped(image: StoreImage, id: Uint8Array): boolean {
  return forgetNamespace(id).some(({ type, key }) => type === 'put' && image.get(key) !== undefined)
}
