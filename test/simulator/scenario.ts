import { isHubError } from '../../src/errors.ts'
import { rankOf } from '../../src/membership/index.ts'
import { Namespace } from '../../src/namespace/index.ts'
import { Chance } from './chance.ts'
import { create, listed, remove, update } from './deeds.ts'
import { checkGroupRoles } from './group-roles.ts'
import { disguised, lie } from './hostile.ts'
import { behindIn } from './in-step.ts'
import { checkEnd, checkRebuilt, membersOf } from './invariants.ts'
import { Ledger } from './ledger.ts'
import { Machine, SimulatedAgent, type World } from './machine.ts'
import type { Run } from './run.ts'
import { checkSharing, type SharingTally } from './sharing-invariants.ts'
import { groupRoleWeights, type SharingDeed, SharingStory, sharingWeights } from './sharing-story.ts'
import { fine, SimulatedNetwork, type Weather } from './simulated-network.ts'
import type { StoreImage } from './simulated-store.ts'
import { VirtualTime } from './virtual-time.ts'

/** How long a fine day may take until everybody has the same, in virtual time. */
const quietMs = 15 * 60_000
/** How long everything must then stay as it is. */
const stillMs = 12_000

export interface ScenarioOptions {
  readonly seed: number
  /** Cuts a machine's power at that boundary of a batch, counted from 1 over all machines from the moment that members have joined. */
  readonly crashAtBoundary?: number
  /** With agents who are no members and follow what is shared with them, and a group. */
  readonly sharing?: boolean
  /** Members leave and come back, and with `sharing` the group has a role in the namespace at times. */
  readonly comings?: boolean
  /** Things done. By default the seed says. */
  readonly steps?: number
}

/** What a scenario was. */
export interface ScenarioOutcome {
  readonly boundaries: number
  readonly events: number
  readonly entries: number
  readonly virtualMs: number
  /** How often what happened. */
  readonly counts: Readonly<Record<string, number>>
  /** How often what of shares was checked. */
  readonly sharing: SharingTally | undefined
}

const hour = 3_600_000
const maxFairSkewMs = 20_000

const writing: readonly string[] = ['leave', 'create', 'update', 'delete', 'drop', 'share', 'unshare', 'shareGroup']

/** What happens next, and how often of 100. */
const weights = {
  create: 26,
  update: 22,
  delete: 4,
  drop: 2,
  grant: 9,
  revoke: 7,
  rotate: 3,
  adopt: 3,
  kill: 3,
  powerCut: 3,
  restart: 2,
  split: 3,
  heal: 4,
  skew: 2,
  twin: 2,
  backup: 1,
  restore: 1,
  lie: 8,
  rebuild: 1,
}

/** As `weights`, with `comings`. */
const comingWeights = { leave: 14 }

type Deed = keyof typeof weights | keyof typeof comingWeights | SharingDeed

/** Plays what a seed says, ends with a day on which nothing goes wrong, and checks what must then be true. @throws with the seed and what happened */
export async function play(options: ScenarioOptions): Promise<ScenarioOutcome> {
  const scenario = new Scenario(options)
  try {
    return await scenario.play()
  } catch (cause) {
    const story = scenario.world.ledger.story.slice(-60).join('\n')
    throw new Error(`SEED=${options.seed}: ${(cause as Error).message}\n${story}`, { cause })
  }
}

class Scenario {
  readonly world: World
  readonly #options: ScenarioOptions
  readonly #chance: Chance
  readonly #time = new VirtualTime()
  readonly #machines: Machine[] = []
  readonly #backups = new Map<Machine, StoreImage>()
  /** Machines that are about to crash, and when. */
  readonly #doomed = new Map<
    Machine,
    { readonly moment: 'before' | 'after'; left: number; readonly crash: () => void }
  >()
  readonly #counts: Record<string, number> = {}
  readonly #agents: SimulatedAgent[] = []
  readonly #sharing: SharingStory | undefined
  #boundaries = 0
  #isCounting = false
  #texts = 0
  /** What of shares was not in step when that was last looked at. */
  #behind: string | undefined

  constructor(options: ScenarioOptions) {
    this.#options = options
    this.#chance = new Chance(options.seed)
    const weather: Weather = {
      latencyMs: this.#chance.pick([5, 40, 300]) as number,
      hintLoss: this.#chance.pick([0, 0.2, 0.7]) as number,
      hintTwice: 0.1,
      cut: this.#chance.pick([0, 0, 0.01, 0.05]) as number,
    }
    const network = new SimulatedNetwork(this.#time, this.#chance.apart(), weather)
    this.world = {
      time: this.#time,
      network,
      ledger: new Ledger(),
      groupLedger: new Ledger(),
      failures: [],
      id: undefined,
      group: undefined,
      hasShares: options.sharing === true,
      hasGroupRoles: options.comings === true && options.sharing === true,
      machines: this.#machines,
    }
    if (!this.world.hasShares) return
    this.#sharing = new SharingStory({
      world: this.world,
      chance: this.#chance,
      agents: this.#agents,
      act: (log, run, deed) => this.#attempt(log, run, deed),
      nameOf: (agent) => this.#nameOf(agent),
      tell: (what) => this.#tell(what),
    })
  }

  async play(): Promise<ScenarioOutcome> {
    const began = this.#time.now()
    await this.#begin()
    this.#isCounting = true
    await this.#storm()
    this.#isCounting = false
    await this.#quiet()
    await checkEnd(this.world, this.#machines)
    const sharing = await this.#checkSharing()
    const [owner] = this.#machines as [Machine]
    return {
      boundaries: this.#boundaries,
      events: this.#time.events,
      entries: owner.ns?.totals.entries ?? 0,
      virtualMs: this.#time.now() - began,
      counts: this.#counts,
      sharing,
    }
  }

  async #checkSharing(): Promise<SharingTally | undefined> {
    if (this.#sharing === undefined) return undefined
    await this.#sharing.end(this.#machines)
    // What ends soon has ended then.
    await this.#time.pass(100_000)
    // Who writes last is to know all: whom it asks of the group it draws.
    if (!(await this.#time.until(this.#isInStep()))) await this.#quiet()
    const last = await this.#sharing.writeAll(this.#machines)
    await this.#quiet()
    await checkEnd(this.world, this.#machines)
    if (this.world.hasGroupRoles) this.#counts.byGroup = await checkGroupRoles(this.world, this.#machines)
    return await checkSharing(this.world, this.#machines, last)
  }

  /** The owner makes the namespace, some agents get a role and join. */
  async #begin(): Promise<void> {
    const chance = this.#chance
    const count = 3 + chance.int(4)
    const outsiders = this.#sharing === undefined ? 0 : 2 + chance.int(2)
    const liars = chance.is(0.6) ? 1 + chance.int(2) : 0
    for (let at = 0; at < count; at++) {
      const agent = new SimulatedAgent(chance.bytes(32))
      this.#agents.push(agent)
      this.#add(agent, at === 0 ? 'owner' : `m${at}`, at > 0 && at <= liars)
    }
    const [owner] = this.#machines as [Machine]
    for (let at = 1; at <= outsiders; at++) {
      const agent = new SimulatedAgent(chance.bytes(32))
      this.#agents.push(agent)
      this.#add(agent, `o${at}`, false).isStubborn = chance.is(0.3)
    }
    for (const machine of this.#machines) machine.start()
    const run = owner.run as Run
    const creating = Namespace.create(run.env, () => [])
    await this.#time.pass(100)
    const ns = await creating
    this.world.id = ns.id
    run.follow(ns)
    for (const { publicKey } of this.#agents.slice(1, count)) {
      const role = chance.weighted({ admin: 4, writer: 5, reader: 2, replica: 1, none: 2 })
      if (role !== 'none') void this.#do(owner, () => ns.members.grant({ agent: publicKey, role }))
    }
    await this.#sharing?.begin(this.#machines.at(-1) as Machine)
    this.world.network.discover(1)
    this.#discover()
    await this.#time.pass(4_000)
  }

  #add(agent: SimulatedAgent, name: string, isLiar: boolean): Machine {
    const chance = this.#chance.apart()
    const skewMs = this.#chance.is(0.4) ? this.#skew(6) : 0
    const disguise = isLiar ? disguised(chance) : undefined
    const machine = new Machine(this.world, { name, agent, chance, skewMs, disguise })
    machine.onBoundary = (moment) => {
      const doom = this.#doomed.get(machine)
      if (doom?.moment === moment && doom.left-- === 0) doom.crash()
      if (!this.#isCounting) return
      this.#boundaries += 1
      if (this.#boundaries !== this.#options.crashAtBoundary || machine.run === undefined) return
      this.#tell(`${name} loses power at boundary ${this.#boundaries}`)
      machine.cutPower()
      this.#time.setTimer(1_000, () => machine.start())
    }
    this.#machines.push(machine)
    return machine
  }

  /** Of clocks that are off by hours what was shared for some seconds says little. */
  #skew(hours: number): number {
    const most = this.#sharing !== undefined && this.#chance.is(0.8) ? maxFairSkewMs : hours * hour
    return this.#chance.between(-most, most)
  }

  /** Nodes find each other, now and then. */
  #discover(): void {
    this.#time.setTimer(this.#chance.between(500, 3_000), () => {
      this.world.network.discover(0.3)
      this.#discover()
    })
  }

  async #storm(): Promise<void> {
    const steps = this.#options.steps ?? 15 + this.#chance.int(30)
    for (let step = 0; step < steps; step++) {
      // Some things happen at once.
      if (this.#chance.is(0.75)) await this.#time.pass(this.#chance.between(0, 2_500))
      this.#step()
      this.#throwIfFailed()
    }
    await this.#time.pass(3_000)
  }

  #step(): void {
    const chance = this.#chance
    const kind = this.#nextDeed()
    const machine = (chance.pick(this.#ableTo(kind)) ?? chance.pick(this.#machines)) as Machine
    const { network } = this.world
    switch (kind) {
      case 'kill':
      case 'powerCut': {
        if (machine.run === undefined || this.#doomed.has(machine)) return
        this.#tell(`${machine.name}: ${kind}`)
        // At a boundary of a batch, if there is one soon.
        const crash = () => {
          if (!this.#doomed.delete(machine) || machine.run === undefined) return
          if (kind === 'kill') machine.kill()
          else machine.cutPower()
          this.#time.setTimer(chance.between(100, 20_000), () => machine.start())
        }
        this.#doomed.set(machine, { moment: chance.pick(['before', 'after']) as 'before', left: chance.int(3), crash })
        this.#time.setTimer(3_000, crash)
        return
      }
      case 'restart':
        this.#tell(`${machine.name}: restart`)
        void machine.stop().then(() => this.#time.setTimer(chance.between(0, 5_000), () => machine.start()))
        return
      case 'split': {
        const sides = new Map(this.#machines.map((one) => [one.run?.endpoint, chance.int(2)]))
        this.#tell('split')
        network.split((endpoint) => sides.get(endpoint) ?? 0)
        return
      }
      case 'heal':
        this.#tell('heal')
        network.heal()
        return
      case 'skew':
        machine.skewMs = this.#skew(8)
        this.#tell(`${machine.name}: clock is off by ${Math.round(machine.skewMs / 60_000)} min`)
        return
      case 'backup':
        this.#backups.set(machine, machine.image.copy())
        return
      case 'restore':
        this.#restore(machine)
        return
      case 'twin': {
        if (this.#machines.length > this.#agents.length + 1 || machine.ns === undefined || !machine.isHonest) return
        this.#tell(`${machine.name}: is copied, and both run`)
        const twin = this.#add(machine.agent, `${machine.name}'`, false)
        twin.image = machine.image.copy()
        twin.incarnation = machine.incarnation
        for (const mail of machine.mail.values()) twin.receive(mail)
        twin.start()
        return
      }
      case 'lie':
        if (machine.isHonest || machine.ns === undefined) return
        this.#tell(`${machine.name}: lies`)
        void this.#do(machine, (ns) => lie(machine, ns, this.#machines, chance))
        return
      case 'rebuild':
        if (machine.isHonest) void this.#do(machine, (ns) => checkRebuilt(machine, ns))
        return
      case 'leave':
        // The owner is whom the others are held against.
        if (machine === this.#machines[0] || machine.ns === undefined || !machine.isHonest || machine.hasLeft) return
        void this.#leave(machine)
        return
      case 'share':
      case 'unshare':
      case 'shareGroup':
      case 'addToGroup':
      case 'removeFromGroup':
      case 'rotateGroup':
      case 'giveGroupRole':
        void this.#sharing?.play(kind, machine)
        return
      default:
        void this.#act(kind, machine)
    }
  }

  /** Writes something, with nobody connected at times, leaves, and comes back some time later to write on. */
  async #leave(machine: Machine): Promise<void> {
    const { network } = this.world
    const [awayMs, isAlone] = [this.#chance.between(500, 15_000), this.#chance.is(0.5)]
    if (isAlone) network.split((endpoint) => (endpoint === machine.run?.endpoint ? 1 : 0))
    const write = async (ns: Namespace) => await create(machine, ns, `text ${++this.#texts} of ${machine.name}`)
    await this.#do(machine, write)
    this.#tell(`${machine.name}: leaves`)
    machine.leave()
    this.#time.setTimer(awayMs, async () => {
      if (isAlone) network.heal()
      await machine.comeBack()
      await this.#do(machine, write)
    })
  }

  #nextDeed(): Deed {
    const { comings } = this.#options
    const all = {
      ...weights,
      ...(this.#sharing && sharingWeights),
      ...(comings && comingWeights),
      ...(comings && this.#sharing && groupRoleWeights),
    }
    return this.#chance.weighted(all as Record<Deed, number>)
  }

  /** Machines whose agents may do a thing as far as they know, most of the time. */
  #ableTo(kind: Deed): Machine[] {
    if (kind === 'lie') return this.#machines.filter(({ isHonest }) => !isHonest)
    if (kind === 'addToGroup' || kind === 'removeFromGroup' || kind === 'rotateGroup')
      return this.#machines.filter(({ run, id }) => ['owner', 'admin'].includes(run?.group?.roleOf(id) ?? ''))
    const ranked = (['grant', 'revoke', 'rotate', 'adopt', 'giveGroupRole'] as string[]).includes(kind) ? 2 : 1
    const isWrite = ranked === 2 || writing.includes(kind)
    if (!isWrite || this.#chance.is(0.1)) return this.#machines
    return this.#machines.filter(({ ns, id }) => {
      const role = ns?.roleOf(id)
      return role !== undefined && rankOf(role) >= ranked
    })
  }

  async #act(
    kind: 'create' | 'update' | 'delete' | 'drop' | 'grant' | 'revoke' | 'rotate' | 'adopt',
    machine: Machine,
  ): Promise<void> {
    const chance = this.#chance
    const text = `text ${++this.#texts} of ${machine.name}`
    const other = (chance.pick(this.#agents) as SimulatedAgent).publicKey
    const role = chance.weighted({ admin: 3, writer: 5, reader: 3, replica: 1 })
    const [drawn, isOdd] = [chance.next(), chance.is(0.5)]
    // What is shared is mostly what came first, and is to be written again.
    const draw = this.#sharing === undefined ? drawn : drawn * drawn
    const name = this.#nameOf(other)
    await this.#do(machine, async (ns) => {
      const artifact = async () => {
        const all = await listed(ns)
        return all[Math.floor(draw * all.length)]
      }
      if (kind === 'create') await create(machine, ns, text)
      else if (kind === 'grant') await ns.members.grant({ agent: other, role })
      else if (kind === 'revoke') await ns.members.revoke({ agent: other })
      else if (kind === 'rotate') await ns.members.rotate()
      else if (kind === 'adopt') {
        const hashes = [
          ...ns.membership.forks.flatMap((fork) => fork.hashes),
          ...[...ns.held.tips()].map(({ hash }) => hash),
        ]
        await ns.members.adopt({ hash: hashes[Math.floor(draw * draw * hashes.length)] as Uint8Array })
      } else {
        const found = await artifact()
        if (found === undefined) return
        if (kind === 'update') await update(machine, ns, found, isOdd ? { content: text } : { name: text })
        else await remove(ns, found, kind === 'drop' ? (await ns.catalog.get(found))?.number : undefined)
      }
      this.#tell(`${machine.name}: ${kind} ${kind === 'grant' ? `${role} to ${name}` : kind === 'revoke' ? name : ''}`)
    })
  }

  /** Does something on a node that has the namespace; what a node may refuse is no failure. */
  async #do(machine: Machine, deed: (ns: Namespace) => Promise<void>): Promise<void> {
    await this.#attempt(machine.ns, machine.run, deed)
  }

  async #attempt(
    log: Namespace | undefined,
    run: Run | undefined,
    deed: (log: Namespace) => Promise<void>,
  ): Promise<void> {
    if (log === undefined || run === undefined) return
    try {
      await deed(log)
    } catch (error) {
      const isRefusal = isHubError(error) && refusals.has(error.code)
      if (!isRefusal && run.power.on) this.world.failures.push(error)
    }
  }

  #restore(machine: Machine): void {
    const image = this.#backups.get(machine)
    if (image === undefined) return
    this.#tell(`${machine.name}: an older copy of its disk is put back`)
    this.#backups.delete(machine)
    machine.restore(image)
    machine.start()
  }

  /** A fine day: all run and reach each other, nobody does anything more. Ends when nothing has moved for a while. */
  async #quiet(): Promise<void> {
    const { network } = this.world
    this.#tell('quiet')
    network.weather = fine
    network.heal()
    for (const machine of this.#machines) {
      machine.start()
      if (this.#sharing !== undefined) machine.skewMs = 0
    }
    let last = ''
    let since = this.#time.now()
    const end = this.#time.now() + quietMs
    while (this.#time.now() < end) {
      network.discover(1)
      await this.#time.pass(1_000)
      this.#throwIfFailed()
      const now = this.#stateOfAll()
      if (now !== last || now.includes('differ')) {
        last = now
        since = this.#time.now()
      } else if (this.#time.now() - since > stillMs && (await this.#time.until(this.#isInStep()))) return
    }
    throw new Error(`not in step after ${quietMs / 60_000} quiet minutes: ${last} ${this.#behind ?? ''}`)
  }

  #stateOfAll(): string {
    const [owner] = this.#machines as [Machine]
    const hash = hashOf(owner)
    const states = membersOf(this.#machines).map((machine) =>
      hashOf(machine) === hash
        ? ''
        : `${machine.name} differs (${machine.ns?.totals.entries ?? 'not joined'} of ${owner.ns?.totals.entries} entries)`,
    )
    const owed = owner.ns?.membership.owed
    return `${hash} owed ${owed?.rotation} ${owed?.boxes.length} ${states
      .filter((text) => text !== '')
      .map((text) => text.replace('differs', 'differ'))
      .join(', ')}`
  }

  async #isInStep(): Promise<boolean> {
    this.#behind = this.#sharing && (await behindIn(this.#machines))
    return this.#behind === undefined && (await this.#isWhole())
  }

  async #isWhole(): Promise<boolean> {
    const members = membersOf(this.#machines)
    for (const { ns } of members) {
      // Who has a key that others lack may wait, for a removal that it has not heard of.
      if (ns?.healer.isPutOff === true && (await ns.healer.owedKeys()).length > 0) return false
      for await (const hash of ns?.held.incomplete() ?? []) {
        // What liars left out may be nowhere else.
        for (const other of members) if ((await other.ns?.held.entry(hash))?.body !== undefined) return false
      }
    }
    return true
  }

  #nameOf(agent: Uint8Array): string {
    return this.#machines.find(({ id }) => Buffer.compare(id, agent) === 0)?.name ?? 'a stranger'
  }

  #tell(what: string): void {
    const [name = ''] = what.replace(/^[^ ]+: /, '').split(' ')
    this.#counts[name] = (this.#counts[name] ?? 0) + 1
    this.world.ledger.story.push(`${((this.#time.now() - 1_790_000_000_000) / 1_000).toFixed(3)} ${what}`)
  }

  #throwIfFailed(): void {
    if (this.world.failures.length > 0) throw this.world.failures[0]
  }
}

const refusals = new Set(['ACCESS_DENIED', 'NOT_FOUND', 'INVALID_ARGUMENT', 'CONFLICT', 'CLOSED', 'UNAVAILABLE'])

function hashOf({ ns }: Machine): string {
  return ns === undefined ? 'none' : Buffer.from(ns.held.vectorHash).toString('hex').slice(0, 12)
}
