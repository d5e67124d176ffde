import { equalBytes, toHex } from '../../src/encoding/index.ts'
import { Namespace } from '../../src/namespace/index.ts'
import type { Chance } from './chance.ts'
import { create, listed, update } from './deeds.ts'
import { isWriter, membersOf } from './invariants.ts'
import type { Machine, SimulatedAgent, World } from './machine.ts'
import type { Run } from './run.ts'

/** What else happens in a scenario with shares, and how often beside the rest. */
export const sharingWeights = {
  create: 10,
  update: 28,
  share: 16,
  unshare: 12,
  shareGroup: 12,
  addToGroup: 7,
  removeFromGroup: 9,
  rotateGroup: 2,
}
/** As `sharingWeights`, when the group may have a role in the namespace. */
export const groupRoleWeights = { giveGroupRole: 8 }
export type SharingDeed = Exclude<keyof typeof sharingWeights, 'create' | 'update'> | keyof typeof groupRoleWeights

/** What the scenario lends. */
interface Stage {
  readonly world: World
  readonly chance: Chance
  readonly agents: readonly SimulatedAgent[]
  /** Does something on a node that has the namespace, or the group. */
  act(log: Namespace | undefined, run: Run | undefined, deed: (log: Namespace) => Promise<void>): Promise<void>
  nameOf(agent: Uint8Array): string
  tell(what: string): void
}

/** Shares, and a group that some of them are with. */
export class SharingStory {
  readonly #stage: Stage

  constructor(stage: Stage) {
    this.#stage = stage
  }

  /** Somebody makes the group, with some agents in it. */
  async begin(founder: Machine): Promise<void> {
    const { world, chance, agents, act } = this.#stage
    const run = founder.run as Run
    const creating = Namespace.create(run.env, () => [], { isGroup: true })
    await world.time.pass(100)
    const group = await creating
    world.group = group.id
    run.follow(group)
    for (const { publicKey: agent } of agents) {
      if (equalBytes(agent, founder.id) || chance.is(0.5)) continue
      const role = chance.is(0.2) ? 'admin' : 'writer'
      void act(group, run, () => group.members.grant({ agent, role }))
    }
  }

  async play(kind: SharingDeed, machine: Machine): Promise<void> {
    const { chance, agents, act, nameOf, tell } = this.#stage
    const run = machine.run
    const [draw, isPlain] = [chance.next(), chance.is(0.5)]
    const terms = isPlain
      ? {}
      : chance.is(0.5)
        ? { fromNow: true }
        : { expiresIn: chance.pick([5, 15, 40, 9_000]) as number }
    const agent = this.#someone(machine)
    const member = (chance.pick(agents) as SimulatedAgent).publicKey
    const role = chance.is(0.2) ? ('admin' as const) : ('writer' as const)
    const name = `${machine.name}: ${kind}`
    if (kind === 'addToGroup' || kind === 'removeFromGroup' || kind === 'rotateGroup') {
      await act(run?.group, run, async (group) => {
        if (kind === 'addToGroup') await group.members.grant({ agent: member, role })
        else if (kind === 'rotateGroup') await group.members.rotate()
        else {
          const others = group.membership.members.filter(({ role: its }) => its !== 'owner')
          const { agent: gone } = others[Math.floor(draw * others.length)] ?? { agent: member }
          await group.members.revoke({ agent: gone })
          return tell(`${name} ${nameOf(gone)}`)
        }
        tell(`${name} ${kind === 'rotateGroup' ? '' : nameOf(member)}`)
      })
      return
    }
    if (kind === 'giveGroupRole') {
      const given = draw < 0.3 ? 'none' : draw < 0.7 ? 'writer' : draw < 0.9 ? 'reader' : 'replica'
      await act(run?.ns, run, async () => {
        if (await run?.roles.give(given)) tell(`${name} ${given}`)
      })
      return
    }
    const { group, ledger } = this.#stage.world
    await act(run?.ns, run, async (ns) => {
      if (kind === 'unshare') {
        const shares = [...ledger.shares.values()]
        const { artifact, audience } = shares[Math.floor(draw * shares.length)] ?? {}
        if (artifact === undefined || audience === undefined) return
        await ns.sharing.unshare({ artifact, audience })
        tell(`${name} ${shortOf(artifact)} ${audience.map(({ id }) => nameOf(id))}`)
        return
      }
      const all = await listed(ns)
      const artifact = all[Math.floor(draw * draw * all.length)]
      if (artifact === undefined || group === undefined) return
      if (kind === 'shareGroup') await run?.news.prepare()
      const one = kind === 'share' ? { kind: 'agent' as const, id: agent } : { kind: 'group' as const, id: group }
      await ns.sharing.share({ artifact, audience: [one], ...terms })
      tell(`${name} ${shortOf(artifact)} ${kind === 'share' ? nameOf(agent) : ''} ${Object.entries(terms)}`)
    })
  }

  /** What every scenario ends with: of two new artifacts one is with the group, which then lets somebody go, and the other with somebody from now on. */
  async end(machines: readonly Machine[]): Promise<void> {
    const { world, chance, agents, act } = this.#stage
    const [owner] = machines as [Machine]
    const founder = machines.find(({ run, id }) => run?.group?.roleOf(id) === 'owner')
    const inGroup = (deed: (group: Namespace) => Promise<unknown>) =>
      world.time.until(
        act(founder?.run?.group, founder?.run, async (group) => {
          await deed(group)
        }),
      )
    const strangers = agents.filter(
      ({ publicKey }) =>
        owner.ns?.roleOf(publicKey) === undefined && !(founder !== undefined && equalBytes(publicKey, founder.id)),
    )
    const agent = chance.pick(strangers)?.publicKey
    if (agent === undefined) return
    await inGroup(async (group) => {
      if (group.roleOf(agent) === undefined) await group.members.grant({ agent, role: 'writer' })
    })
    await world.time.pass(5_000)
    await world.time.until(
      act(owner.ns, owner.run, async (ns) => {
        const before = new Set((await listed(ns)).map(toHex))
        for (const text of ['one of the last', 'the last']) await create(owner, ns, text)
        const [one, other] = (await listed(ns)).filter((artifact) => !before.has(toHex(artifact))) as [
          Uint8Array,
          Uint8Array,
        ]
        await owner.run?.news.prepare()
        await ns.sharing.share({ artifact: one, audience: [{ kind: 'group', id: world.group as Uint8Array }] })
        await ns.sharing.share({
          artifact: other,
          audience: [{ kind: 'agent', id: this.#someone(owner) }],
          fromNow: true,
        })
      }),
    )
    await world.time.pass(5_000)
    await inGroup((group) => group.members.revoke({ agent }))
  }

  /** Whoever may write all of it writes to every artifact. Gives the hashes (hex) of the entries. */
  async writeAll(machines: readonly Machine[]): Promise<Set<string>> {
    const { world, chance, act } = this.#stage
    const [owner] = machines as [Machine]
    const written = new Set<string>()
    const writers = membersOf(machines).filter(({ id }) => isWriter(owner.ns, id))
    for (const artifact of await listed(owner.ns as Namespace)) {
      const writer = chance.pick(writers) as Machine
      await world.time.until(
        act(writer.ns, writer.run, async (ns) => {
          const before = new Set(world.ledger.puts.keys())
          await update(writer, ns, artifact, { content: `the last of ${writer.name}` })
          for (const hash of world.ledger.puts.keys()) if (!before.has(hash)) written.add(hash)
        }),
      )
    }
    return written
  }

  /** Mostly somebody who has no role. */
  #someone({ ns }: Machine): Uint8Array {
    const { chance, agents } = this.#stage
    const strangers = agents.filter(({ publicKey }) => ns?.roleOf(publicKey) === undefined)
    return ((chance.is(0.9) ? chance.pick(strangers) : undefined) ?? (chance.pick(agents) as SimulatedAgent)).publicKey
  }
}

function shortOf(artifact: Uint8Array): string {
  return Buffer.from(artifact).toString('hex', 0, 4)
}
