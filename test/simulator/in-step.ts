import { type Capability, type ShareClaims, timeOf } from '../../src/capability/index.ts'
import { equalBytes, toHex } from '../../src/encoding/index.ts'
import type { Namespace } from '../../src/namespace/index.ts'
import { isWriter, membersOf } from './invariants.ts'
import type { Machine } from './machine.ts'

/**
 * What is not in step yet of what is shared: the members of the group have the same of it, the namespace knows its epoch, and whoever follows
 * artifacts has what the owner has for it. `undefined` when all is.
 */
export async function behindIn(machines: readonly Machine[]): Promise<string | undefined> {
  const [owner] = machines as [Machine]
  const { ns } = owner
  const group = machines.find(({ run }) => run?.group?.roleOf(run.machine.id) === 'owner')?.run?.group
  if (ns === undefined || group === undefined) return 'there is no group'
  for (const { run, name } of groupMembersOf(machines, group)) {
    if (run?.group === undefined || !equalBytes(run.group.held.vectorHash, group.held.vectorHash))
      return `the group of ${name}`
  }
  const epoch = group.membership.groups.epoch?.epoch
  const apart = foundersApart(machines, group)
  // What more comes of a group than is written down each who writes is told by itself.
  for (const { ns: own, id, name } of apart.length > 0 ? [] : [owner, ...membersOf(machines)]) {
    const known = isWriter(ns, id) ? own?.descriptors.newest(group.id) : undefined
    if (known !== undefined && epoch !== undefined && !equalBytes(known.epoch, epoch))
      return `the group’s epoch at ${name}`
  }
  const auth = (await ns.held.authIds()).ids.map(toHex)
  for (const machine of machines) {
    if (!machine.isHonest || machine.isStubborn || ns.roleOf(machine.id) !== undefined || isMistaken(machine, ns))
      continue
    if (apart.includes(machine)) continue
    const behind = await behindOf(machine, machines, auth, group)
    if (behind !== undefined) return `${machine.name}: ${behind}`
  }
  return undefined
}

/** As `membersOf`, of the group. */
function groupMembersOf(machines: readonly Machine[], group: Namespace): Machine[] {
  const apart = foundersApart(machines, group)
  return apart.length > 0 ? apart.slice(0, 1) : machines.filter((one) => isIn(one, group))
}

/**
 * Machines of the group's owner if there are several and nobody is between: they hear of each other only by others whom neither has removed. Two groups by one name
 * they are then: each goes by an epoch of its own, and what a namespace records is that of one.
 */
export function foundersApart(machines: readonly Machine[], group: Namespace): Machine[] {
  const founders = machines.filter(({ id, run }) => run?.group !== undefined && group.roleOf(id) === 'owner')
  const isBetween = (one: Machine) => !founders.includes(one) && founders.every(({ run }) => isIn(one, run?.group))
  return founders.length < 2 || machines.some(isBetween) ? [] : founders
}

function isIn({ isHonest, id }: Machine, group: Namespace | undefined): boolean {
  return isHonest && group?.roleOf(id) !== undefined
}

async function behindOf(
  machine: Machine,
  machines: readonly Machine[],
  auth: readonly string[],
  group: Namespace,
): Promise<string | undefined> {
  const { partial, run, now } = machine
  const ns = machines[0]?.ns as Namespace
  // By one whose issuer's clock was ahead nothing is given until it begins. By one whose issuer's grant came to nothing, for the admin who gave it forked, nothing
  // is ever given, and no reason told: its issuer never could write. Nor by one with the group to who was never in it, for the admin who added it had been removed.
  const isOutside = isMistakenIn(group, run?.group, machine.id)
  const live = (run?.follower.live() ?? []).filter(
    ({ claims }) =>
      timeOf(claims, now()) !== 'not-yet' &&
      ns.isIssued(claims) &&
      !(isOutside && claims.audience.every(({ kind }) => kind === 'group')),
  )
  if (live.length === 0) return undefined
  // That all of it has ended, nobody tells who has nothing and knows only of former members, for these serve nobody any more.
  const isOver = live.every(({ claims }) => ns.membership.refusalOf(claims) !== undefined)
  const wasTold = live.every(({ claims }) => run?.follower.wasToldOver(claims))
  if (partial === undefined && isOver && (wasTold || !knowsHolder(machine, machines, live))) return undefined
  if (partial === undefined) return 'has nothing yet'
  // It may have more: what liars told it themselves, and others do not tell of any more.
  const held = new Set((await partial.held.authIds()).ids.map(toHex))
  if (!auth.every((id) => held.has(id))) return 'auth entries'
  for await (const hash of partial.held.incomplete()) {
    // What liars left out may be nowhere else.
    const { header, body } = (await ns.held.entry(hash)) ?? {}
    const data = header?.data
    if (body === undefined || data === undefined) continue
    const isGiven = live.some(
      ({ claims }) => equalBytes(claims.artifact, ns.artifactOf(data.artifactSalt)) && data.gen > claims.after,
    )
    if (isGiven) return 'bodies'
  }
  for (const { claims } of live) {
    const { artifact, jti, after } = claims
    for await (const { hash } of ns.held.artifactEntries(artifact, { after, share: jti }))
      if (!(await partial.held.has(hash))) return `entries of ${toHex(artifact).slice(0, 8)}`
  }
  return undefined
}

/** Whether somebody whom a machine was told to ask for what is shared with it has the namespace: who has only what is shared with them serves nobody. */
function knowsHolder(
  { mail, id }: Machine,
  machines: readonly Machine[],
  live: readonly Capability<ShareClaims>[],
): boolean {
  const named = new Set(live.flatMap(({ claims }) => [...(mail.get(toHex(claims.jti))?.from ?? [])]))
  return machines.some((one) => !equalBytes(one.id, id) && named.has(toHex(one.id)) && one.ns !== undefined)
}

/**
 * Whether a machine holds its agent for a member by a grant that came to nothing, for the admin who gave it forked: nobody tells it so, also if its agent was a member
 * by another grant before.
 */
export function isMistaken({ ns: own, id }: Machine, ns: Namespace): boolean {
  return isMistakenIn(ns, own, id)
}

function isMistakenIn(ns: Namespace, own: Namespace | undefined, id: Uint8Array): boolean {
  const live = own?.membership.grantsOf(id) ?? []
  return ns.roleOf(id) === undefined && live.some(({ hash }) => ns.membership.grantOf(hash) === undefined)
}
