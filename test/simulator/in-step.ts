import { timeOf } from '../../src/capability/index.ts'
import { equalBytes, toHex } from '../../src/encoding/index.ts'
import type { Namespace } from '../../src/namespace/index.ts'
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
    if (run?.group === undefined || !equalBytes(run.group.vectorHash, group.vectorHash)) return `the group of ${name}`
  }
  const known = ns.newestDescriptor(group.id)
  const epoch = group.membership.groups.epoch?.epoch
  if (known !== undefined && epoch !== undefined && !equalBytes(known.epoch, epoch)) return 'the group’s epoch'
  const auth = (await ns.authIds()).ids.map(toHex)
  for (const machine of machines) {
    if (!machine.isHonest || machine.isStubborn || ns.roleOf(machine.id) !== undefined || isMistaken(machine, ns))
      continue
    const behind = await behindOf(machine, ns, auth)
    if (behind !== undefined) return `${machine.name}: ${behind}`
  }
  return undefined
}

/** As `membersOf`, of the group: copies of its owner's machine hear of each other only by others whom neither has removed. */
function groupMembersOf(machines: readonly Machine[], group: Namespace): Machine[] {
  const founders = machines.filter(({ id, run }) => run?.group !== undefined && group.roleOf(id) === 'owner')
  const isIn = ({ isHonest, id }: Machine, log: Namespace | undefined) => isHonest && log?.roleOf(id) !== undefined
  const between = machines.some((one) => !founders.includes(one) && founders.every(({ run }) => isIn(one, run?.group)))
  return between ? machines.filter((one) => isIn(one, group)) : founders.slice(0, 1)
}

async function behindOf(
  { partial, run, now }: Machine,
  ns: Namespace,
  auth: readonly string[],
): Promise<string | undefined> {
  // By one whose issuer's clock was ahead nothing is given until it begins. By one whose issuer's grant came to nothing, for the admin who gave it forked, nothing
  // is ever given, and no reason told: its issuer never could write.
  const live = (run?.follower.live() ?? []).filter(
    ({ claims }) => timeOf(claims, now()) !== 'not-yet' && ns.isIssued(claims),
  )
  if (live.length === 0) return undefined
  if (partial === undefined) return 'has nothing yet'
  // It may have more: what liars told it themselves, and others do not tell of any more.
  const held = new Set((await partial.authIds()).ids.map(toHex))
  if (!auth.every((id) => held.has(id))) return 'auth entries'
  for await (const hash of partial.incomplete()) {
    // What liars left out may be nowhere else.
    const { header, body } = (await ns.entry(hash)) ?? {}
    const data = header?.data
    if (body === undefined || data === undefined) continue
    const isGiven = live.some(
      ({ claims }) => equalBytes(claims.artifact, ns.artifactOf(data.artifactSalt)) && data.gen > claims.after,
    )
    if (isGiven) return 'bodies'
  }
  for (const { claims } of live) {
    const { artifact, jti, after } = claims
    for await (const { hash } of ns.artifactEntries(artifact, { after, share: jti }))
      if (!(await partial.hasEntry(hash))) return `entries of ${toHex(artifact).slice(0, 8)}`
  }
  return undefined
}

/** Whether a machine holds its agent for a member by a grant that came to nothing, for the admin who gave it forked: nobody tells it so. */
export function isMistaken({ ns: own, id }: Machine, ns: Namespace): boolean {
  return own?.roleOf(id) !== undefined && !ns.hadRole(id)
}
