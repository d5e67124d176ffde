import { keepInStep } from '../../sdk/local/groups/standing.ts'
import { equalBytes, toHex } from '../../src/encoding/index.ts'
import { isHubError } from '../../src/errors.ts'
import { decodeUnverifiedEntry, type GroupRole } from '../../src/log/index.ts'
import { rankOf } from '../../src/membership/index.ts'
import { foundersApart } from './in-step.ts'
import type { Machine, World } from './machine.ts'
import { Ruling } from './ruling.ts'
import type { Run } from './run.ts'

/** How long another's change is left to whoever made it, milliseconds, as the SDK does. */
const othersMs = { from: 300, to: 2_000 }

/** Keeps the members of the namespace in step with the group, when that has a role there: by the SDK's own rule, with a timer in the place of `Upkeep`. */
export class GroupRoles {
  readonly #run: Run
  #turn: Promise<void> = Promise.resolve()
  #isWaiting = false

  constructor(run: Run) {
    this.#run = run
  }

  /** Who is in the namespace or the group may have changed. */
  look(): void {
    const { scheduler, machine } = this.#run
    if (!machine.world.hasGroupRoles || !machine.isHonest || this.#isWaiting) return
    this.#isWaiting = true
    scheduler.setTimer(machine.chance.between(othersMs.from, othersMs.to), () => {
      this.#isWaiting = false
      void this.#keep()
    })
  }

  /** Gives the group a role, `none` to end it, as far as this agent may and is in the group. Gives whether it did. @throws as `KnownDescriptors.record` */
  async give(role: GroupRole): Promise<boolean> {
    const { ns, group, machine } = this.#run
    const isIn = group?.roleOf(machine.id) !== undefined
    const shown = isIn ? await group?.descriptors.own() : undefined
    if (ns === undefined || shown === undefined) return false
    if (role === 'none' && !ns.membership.groups.hasRole(shown.group)) return false
    await ns.descriptors.record(shown, role)
    await this.#keep()
    return true
  }

  async #keep(): Promise<void> {
    const { power, machine } = this.#run
    this.#turn = this.#turn
      .then(async () => {
        const { ns, group } = this.#run
        if (ns === undefined || ns.closed) return
        await keepInStep(ns, group === undefined ? [] : [group])
      })
      .catch((error) => {
        const isToBe = isHubError(error) && ['ACCESS_DENIED', 'CLOSED'].includes(error.code)
        if (power.on && !isToBe) machine.world.failures.push(error)
      })
    await this.#turn
  }
}

/**
 * Who is in the group has the role that it has in the namespace, and who is not has none by way of it, if there is anybody who may bring that about. Gives how many have one.
 * Of who was ever removed by name it only says the latter: whether they were added since goes by clocks.
 */
export async function checkGroupRoles({ ledger }: World, machines: readonly Machine[]): Promise<number> {
  const [owner] = machines as [Machine]
  const { ns } = owner
  const group = machines.find(({ run }) => run?.group?.roleOf(run.machine.id) === 'owner')?.run?.group
  if (ns === undefined || group === undefined || foundersApart(machines, group).length > 0) return 0
  const entries = await Array.fromAsync(group.held.all())
  const ruling = new Ruling(
    group.id,
    entries.map(({ bytes }) => decodeUnverifiedEntry(bytes)),
  )
  const rule = ns.membership.groups.roles.get(toHex(group.id))
  const held = ns.membership.members.flatMap(({ agent, grants }) => {
    const roles = grants.flatMap(({ via, role }) => (via === undefined ? [] : [role]))
    return roles.length === 0 ? [] : [{ agent, roles }]
  })
  if (rule === undefined && held.length > 0)
    throw new Error(`${held.length} have a role by way of the group, which has none`)
  const highest = Math.max(0, ...[rule?.role ?? 'reader', ...held.flatMap(({ roles }) => roles)].map(rankOf))
  const isAble = ({ id, isHonest, run }: Machine): boolean =>
    isHonest &&
    run?.ns !== undefined &&
    run.group !== undefined &&
    group.roleOf(id) !== undefined &&
    rankOf(ns.roleOf(id) ?? 'reader') > Math.max(1, highest)
  if (rule === undefined || !machines.some(isAble)) return held.length
  for (const { agent } of held) {
    if (ruling.roleOf(agent) === undefined && group.membership.everGrantedTo(agent).length > 0)
      throw new Error('somebody who was removed from the group has a role by way of it')
  }
  for (const { agent } of group.membership.members) {
    const wasRevoked = (ledger.revokes.get(toHex(agent)) ?? []).some((entry) => ns.membership.counts(entry))
    const has = held.find((one) => equalBytes(one.agent, agent))?.roles ?? []
    if (!wasRevoked && !equalBytes(agent, owner.id) && !has.includes(rule.role))
      throw new Error(
        `somebody is in the group, which has the role ${rule.role}, and has ${has.join() || 'none'} by way of it`,
      )
  }
  return held.length
}
