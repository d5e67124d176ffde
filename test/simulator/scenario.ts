import { isHubError } from '../../src/errors.ts'
import { rankOf } from '../../src/membership/index.ts'
import { Namespace, NamespaceKeys } from '../../src/namespace/index.ts'
import { Chance } from './chance.ts'
import { create, listed, remove, update } from './deeds.ts'
import { disguised, lie } from './hostile.ts'
import { checkEnd, checkRebuilt, membersOf } from './invariants.ts'
import { bytesOf, Ledger } from './ledger.ts'
import { Machine, type Run, SimulatedAgent, type World } from './machine.ts'
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
}

const hour = 3_600_000

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
  #boundaries = 0
  #isCounting = false
  #texts = 0

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
    this.world = { time: this.#time, network, ledger: new Ledger(), failures: [], id: undefined }
  }

  async play(): Promise<ScenarioOutcome> {
    const began = this.#time.now()
    await this.#begin()
    this.#isCounting = true
    await this.#storm()
    this.#isCounting = false
    await this.#quiet()
    await checkEnd(this.world, this.#machines)
    const [owner] = this.#machines as [Machine]
    return {
      boundaries: this.#boundaries,
      events: this.#time.events,
      entries: owner.ns?.entries ?? 0,
      virtualMs: this.#time.now() - began,
      counts: this.#counts,
    }
  }

  /** The owner makes the namespace, some agents get a role and join. */
  async #begin(): Promise<void> {
    const chance = this.#chance
    const count = 3 + chance.int(4)
    const liars = chance.is(0.6) ? 1 + chance.int(2) : 0
    for (let at = 0; at < count; at++) {
      const agent = new SimulatedAgent(chance.bytes(32))
      this.#agents.push(agent)
      this.#add(agent, at === 0 ? 'owner' : `m${at}`, at > 0 && at <= liars)
    }
    const [owner] = this.#machines as [Machine]
    for (const machine of this.#machines) machine.start()
    const run = owner.run as Run
    const creating = Namespace.create(run.env, () => [])
    await this.#time.pass(100)
    const ns = await creating
    this.world.id = ns.id
    run.follow(ns)
    for (const { publicKey } of this.#agents.slice(1)) {
      const role = chance.weighted({ admin: 4, writer: 5, reader: 2, replica: 1, none: 2 })
      if (role !== 'none') void this.#do(owner, () => ns.grant({ agent: publicKey, role }))
    }
    this.world.network.discover(1)
    this.#discover()
    await this.#time.pass(4_000)
  }

  #add(agent: SimulatedAgent, name: string, isLiar: boolean): Machine {
    const chance = this.#chance.apart()
    const skewMs = this.#chance.is(0.4) ? this.#chance.between(-6 * hour, 6 * hour) : 0
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
    const kind = chance.weighted(weights)
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
        machine.skewMs = chance.between(-8 * hour, 8 * hour)
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
      default:
        void this.#act(kind, machine)
    }
  }

  /** Machines whose agents may do a thing as far as they know, most of the time. */
  #ableTo(kind: keyof typeof weights): Machine[] {
    if (kind === 'lie') return this.#machines.filter(({ isHonest }) => !isHonest)
    const ranked = (['grant', 'revoke', 'rotate', 'adopt'] as string[]).includes(kind) ? 2 : 1
    const isWrite = ranked === 2 || (['create', 'update', 'delete', 'drop'] as string[]).includes(kind)
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
    const [draw, isOdd] = [chance.next(), chance.is(0.5)]
    const name = this.#nameOf(other)
    await this.#do(machine, async (ns) => {
      const artifact = async () => {
        const all = await listed(ns)
        return all[Math.floor(draw * all.length)]
      }
      if (kind === 'create') await create(machine, ns, text)
      else if (kind === 'grant') await ns.grant({ agent: other, role })
      else if (kind === 'revoke') await ns.revoke({ agent: other })
      else if (kind === 'rotate') await ns.rotate()
      else if (kind === 'adopt') {
        const hashes = [
          ...ns.membership.forks.flatMap((fork) => fork.hashes),
          ...[...ns.tips()].map(({ hash }) => hash),
        ]
        await ns.adopt({ hash: hashes[Math.floor(draw * draw * hashes.length)] as Uint8Array })
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
    const { run } = machine
    if (run?.ns === undefined) return
    try {
      await deed(run.ns)
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
    const { ledger, id } = this.world
    machine.restore(image)
    for (const [hash, told] of ledger.told) {
      const isHeld = this.#machines.some(
        (one) => one.isHonest && one.image.get(placeKey(id as Uint8Array, hash)) !== undefined,
      )
      if (told.machine === machine && !isHeld) ledger.excused.add(hash)
    }
    machine.start()
  }

  /** A fine day: all run and reach each other, nobody does anything more. Ends when nothing has moved for a while. */
  async #quiet(): Promise<void> {
    const { network } = this.world
    this.#tell('quiet')
    network.weather = fine
    network.heal()
    for (const machine of this.#machines) machine.start()
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
      } else if (this.#time.now() - since > stillMs && (await this.#time.until(this.#isWhole()))) return
    }
    throw new Error(`not in step after ${quietMs / 60_000} quiet minutes: ${last}`)
  }

  #stateOfAll(): string {
    const [owner] = this.#machines as [Machine]
    const hash = hashOf(owner)
    const states = membersOf(this.#machines).map((machine) =>
      hashOf(machine) === hash
        ? ''
        : `${machine.name} differs (${machine.ns?.entries ?? 'not joined'} of ${owner.ns?.entries} entries)`,
    )
    const owed = owner.ns?.owed
    return `${hash} owed ${owed?.rotation} ${owed?.boxes.length} ${states
      .filter((text) => text !== '')
      .map((text) => text.replace('differs', 'differ'))
      .join(', ')}`
  }

  async #isWhole(): Promise<boolean> {
    const members = membersOf(this.#machines)
    for (const { ns } of members) {
      for await (const hash of ns?.incomplete() ?? []) {
        // What liars left out may be nowhere else.
        for (const other of members) if ((await other.ns?.entry(hash))?.body !== undefined) return false
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
  return ns === undefined ? 'none' : Buffer.from(ns.vectorHash).toString('hex').slice(0, 12)
}

function placeKey(id: Uint8Array, hash: string): Uint8Array {
  return new NamespaceKeys(id).key('places', bytesOf(hash))
}
