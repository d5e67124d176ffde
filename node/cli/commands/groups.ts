import type { Group } from '../../../sdk/group-client.ts'
import { awaitSync } from '../await-sync.ts'
import type { CommandGroup } from '../command.ts'
import type { Session } from '../session.ts'
import { fieldLines } from '../text/index.ts'
import { isToldOf, maxTold, memberJson, showMembers, tellGone, tellMs, tellOf, toLeave } from './members.ts'
import { mustConfirm } from './remove.ts'

/** `group …`: named sets of agents with which artifacts and namespaces are shared. */
export const groupCommands: CommandGroup = (program, act) => {
  const group = program
    .command('group')
    .description('groups of agents: create, add, rm, members, ls, ticket, join, leave')
  group
    .command('create')
    .description('create a group that this agent owns')
    .argument('<name>', 'its name on this node, and what its members see first')
    .action(act(create))
  group
    .command('add')
    .description('add agents to a group; those that can be reached are told before this ends')
    .argument('<group>', 'name or id')
    .argument('<agents...>', 'names, DIDs or tickets')
    .option('--admin', 'let them add and remove members')
    .addHelpText(
      'after',
      '\nBeing added is enough for those who have this agent as a contact; with others it waits in their inbox.\n\nExample:\n  artifact-hub group add data-team bob carol',
    )
    .action(act(add))
  group
    .command('rm')
    .description('remove agents from a group: what is shared with it from now on is under keys that they do not get')
    .argument('<group>', 'name or id')
    .argument('<agents...>', 'names, DIDs or tickets')
    .action(act(remove))
  group
    .command('members')
    .description('list the members of a group')
    .argument('<group>', 'name or id')
    .action(act(members))
  group.command('ls').description('list the groups that this agent is in').action(act(list))
  group
    .command('ticket')
    .description('print a group’s ticket: whoever has it can share with the group; it lets nobody in')
    .argument('<group>', 'name or id')
    .addHelpText('after', '\nExample:\n  artifact-hub group ticket data-team --listen /ip4/192.0.2.7/tcp/4001')
    .action(act(ticket))
  group
    .command('join')
    .description('join a group that this agent was added to')
    .argument('<ticket>', 'the group’s ticket')
    .option('--name <name>', 'its name on this node (default: what the ticket proposes)')
    .option('--wait', 'wait to be added, until Ctrl-C')
    .action(act(join))
  group
    .command('leave')
    .description('remove a group from this node; an admin has still to remove this agent from the group')
    .argument('<group>', 'name or id')
    .option('-y, --yes', 'do not ask')
    .action(act(leave))
}

async function create(session: Session, _options: unknown, name: string): Promise<void> {
  const client = await session.client()
  const created = await client.group.create({ name, signal: session.signal })
  await session.result(groupJson(created), fieldLines([[created.id, created.name]]))
}

async function add(
  session: Session,
  options: { admin?: boolean },
  group: string,
  agents: readonly string[],
): Promise<void> {
  const node = await session.online()
  const { signal } = session
  const role = options.admin ? ('admin' as const) : ('member' as const)
  const added = await node.client.group.add({ group, agents, role, signal })
  const { id } = await node.client.group.get({ group, signal })
  const told = await Promise.all(
    added.map(async ({ did }, at) => {
      if (at >= maxTold) return false
      return await tellOf(session, node, { agent: agents[at] as string, did, log: id })
    }),
  )
  const rows = added.map((member, at) => ({ ...memberJson(member), told: told[at] === true }))
  const lines = added.map(
    ({ did, role: now }, at) => [did, `${now}${told[at] ? '' : '; learns of it when it connects'}`] as const,
  )
  await session.result({ group: id, added: rows }, fieldLines(lines))
}

async function remove(session: Session, _options: unknown, group: string, agents: readonly string[]): Promise<void> {
  const node = await session.online()
  const { signal } = session
  const { id } = await node.client.group.get({ group, signal })
  const before = await node.client.group.members({ group: id, signal })
  await node.client.group.remove({ group: id, agents, signal })
  const left = await node.client.group.members({ group: id, signal })
  const [told] = await Promise.all([
    session.isOnline && isToldOf(session, node, id),
    tellGone(session, node, { before, left, log: id }),
  ])
  await session.result({ group: id, removed: agents, told }, fieldLines(agents.map((agent) => ['removed', agent])))
  if (!told) session.note('no other member could be reached: they learn of it when this node is on the network')
}

async function members(session: Session, _options: unknown, group: string): Promise<void> {
  const client = await session.client()
  const found = await client.group.members({ group, signal: session.signal })
  await showMembers(session, client.did, found)
}

async function list(session: Session): Promise<void> {
  const client = await session.client()
  const found = await client.group.list({ signal: session.signal })
  const table = session.table<Group>([
    { title: 'NAME', cell: (row) => row.name, shrinkTo: 16 },
    { title: 'ROLE', cell: (row) => row.role },
    { title: 'MEMBERS', cell: (row) => row.members.toLocaleString('en-US'), align: 'right' },
    { title: 'ID', cell: (row) => row.id },
  ])
  await session.result(found.map(groupJson), found.length === 0 ? '' : table.render(found))
  if (found.length === 0) session.note('this agent is in no group: `artifact-hub group create NAME` makes one')
}

async function ticket(session: Session, _options: unknown, group: string): Promise<void> {
  const client = await session.client()
  const made = await client.group.ticket({ group, signal: session.signal })
  await session.result({ ticket: made }, `${made}\n`)
}

async function join(session: Session, options: { name?: string; wait?: boolean }, given: string): Promise<void> {
  const node = await session.online()
  const { name, wait } = options
  const { signal } = session
  if (wait) session.note(`waiting for ${node.did} to be added`)
  const since = new Date()
  const joined = await node.client.group.join({ ticket: given, name, wait, signal })
  const { rows, isSynced } = await awaitSync(node, { since, timeoutMs: tellMs, namespace: joined.id, signal })
  await session.result(groupJson(joined), fieldLines([[joined.id, `${joined.name}  ${joined.role}`]]))
  if (!rows.every(isSynced)) session.note('its log is not all here yet: `artifact-hub sync` brings the rest')
}

async function leave(session: Session, options: { yes?: boolean }, group: string): Promise<void> {
  const client = await session.client()
  const { signal } = session
  const { id, name } = await toLeave('group', group, client.group.get({ group, signal }))
  await mustConfirm(session, options.yes, `Remove the group "${name}" from this node?`)
  await client.group.leave({ group: id, signal })
  await session.result({ left: { id, name } }, fieldLines([['left', name]]))
}

function groupJson({ id, name, owner, role, members: count, createdAt }: Group): Record<string, unknown> {
  return { id, name, owner, role, members: count, createdAt: createdAt.toISOString() }
}
