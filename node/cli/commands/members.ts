import { Argument, type Command, Option } from 'commander'
import type { Client } from '../../../sdk/client.ts'
import type { GroupMember } from '../../../sdk/group-client.ts'
import type { GrantableRole, Member } from '../../../sdk/peer-client.ts'
import { isHubError } from '../../../src/errors.ts'
import type { ArtifactHubNode } from '../../node-types.ts'
import { awaitReached, awaitSync, awaitTold, looking } from '../await-sync.ts'
import type { Act } from '../command.ts'
import type { Session } from '../session.ts'
import { fieldLines, formatTime, parseBytes } from '../text/index.ts'
import { mustConfirm } from './remove.ts'

const roles = ['admin', 'writer', 'reader', 'replica'] as const satisfies readonly GrantableRole[]

/** How long a change of members or of shares waits for others to have it, milliseconds. What they miss they get when they connect. */
export const tellMs = 5_000

/** Agents that a command tries to reach, all at once: the others learn of it when they connect. */
export const maxTold = 16

type Somebody = Pick<Member | GroupMember, 'did'>

/** How long an agent that is connected takes at most to be told of a namespace that it does not have, milliseconds. */
const inviteMs = 1_500

/** The part of `ns …` that is about members. */
export function memberCommands(group: Command, act: Act): void {
  group.command('members').description('list the members of a namespace').action(act(members))
  group
    .command('grant')
    .description('give an agent a role in a namespace; one that can be reached is told before this ends')
    .argument('<agent>', 'name, DID or ticket; with --group, a group of this agent’s')
    .option('--group', 'give the role to the members of a group, who come later too')
    .addArgument(new Argument('<role>', 'replica: stores and serves without keys').choices(roles))
    .addHelpText(
      'after',
      '\nA group’s members sync the namespace by themselves; an agent joins it by its ticket.\n\nExamples:\n  artifact-hub ns grant bob writer\n  artifact-hub ns grant did:key:z6Mk… reader --ns team\n  artifact-hub ns grant --group data-team writer',
    )
    .action(act(grant))
  group
    .command('revoke')
    .description(
      'end an agent’s membership: what it writes from now on counts nowhere, new keys are not for it, and its node denies it what it has',
    )
    .argument('<agent>', 'name, DID or ticket; with --group, a group of this agent’s')
    .option('--group', 'end what the members of a group are by way of it')
    .action(act(revoke))
  group
    .command('ticket')
    .description(
      'print a namespace’s ticket: one string with its id and where members can be dialled; it gives no right',
    )
    .addHelpText('after', '\nExample:\n  artifact-hub ns ticket --ns team --listen /ip4/192.0.2.7/tcp/4001')
    .action(act(ticket))
  group
    .command('join')
    .description('join a namespace in which this agent was granted a role')
    .argument('<ticket>', 'the namespace’s ticket')
    .option('--name <name>', 'its name on this node (default: what the ticket proposes)')
    .option('--wait', 'wait for the grant, until Ctrl-C')
    .action(act(join))
  group
    .command('leave')
    .description('remove a namespace from this node, with its log and its blocks; the membership stays')
    .argument('<namespace>', 'name or id')
    .option('-y, --yes', 'do not ask')
    .action(act(leave))
  group
    .command('adopt')
    .description('let one branch of a forked chain count again')
    .argument('<head>', 'newest entry of the branch: 64 hex digits, as `status` shows them')
    .action(act(adopt))
  group
    .command('policy')
    .description('say when this node fetches what others write')
    .addArgument(
      new Argument('<fetch>', 'lazy: when asked for; eager: as soon as it is known').choices(['lazy', 'eager']),
    )
    .addOption(new Option('--max-size <size>', 'leave larger files to be fetched when asked for: 100MB'))
    .action(act(policy))
}

async function members(session: Session): Promise<void> {
  const client = await session.client()
  const { namespace, signal } = session
  const found = await client.namespace.members({ namespace, signal })
  await showMembers(session, client.did, found)
}

/** The members of a namespace or group, and which of them this agent is. */
export async function showMembers(
  session: Session,
  self: string,
  members: readonly (Member | GroupMember)[],
): Promise<void> {
  const table = session.table<Member | GroupMember>([
    { title: 'ROLE', cell: ({ role }) => role },
    {
      title: 'NAME',
      cell: ({ did, name }) => (did === self ? [name, '(this agent)'].join(' ').trim() : (name ?? '')),
      shrinkTo: 14,
    },
    { title: 'SINCE', cell: ({ since }) => formatTime(since, 'short') },
    ...(session.isOnline
      ? [{ title: 'CONNECTED', cell: ({ connected }: Member | GroupMember) => (connected ? 'yes' : '') }]
      : []),
    { title: 'DID', cell: ({ did }) => did },
  ])
  await session.result(members.map(memberJson), table.render(members))
}

async function grant(
  session: Session,
  options: { group?: boolean },
  agent: string,
  role: string | undefined,
): Promise<void> {
  const node = await session.online()
  const { namespace, signal } = session
  if (options.group) {
    const given = await node.client.namespace.grant({ namespace, group: agent, role: role as GrantableRole, signal })
    const told = session.isOnline && (await othersTold(session, node))
    const line = `${given.role}, ${given.members} agents`
    await session.result({ ...given, told }, fieldLines([[given.name, line]]))
    return
  }
  const member = await node.client.namespace.grant({ namespace, agent, role: role as GrantableRole, signal })
  const told = await tell(session, node, { agent, did: member.did })
  await session.result(
    { ...memberJson(member), told },
    fieldLines([[member.did, `${member.role}${told ? '' : '; learns of it when it connects'}`]]),
  )
}

async function revoke(session: Session, options: { group?: boolean }, agent: string): Promise<void> {
  const node = await session.online()
  const { namespace, signal } = session
  const before = await node.client.namespace.members({ namespace, signal })
  await node.client.namespace.revoke({ namespace, ...(options.group ? { group: agent } : { agent }), signal })
  const left = await node.client.namespace.members({ namespace, signal })
  const log = await namespaceId(session, node.client)
  const [told] = await Promise.all([
    session.isOnline && isToldOf(session, node, log),
    tellGone(session, node, { before, left, log }),
  ])
  await session.result({ revoked: agent, told }, fieldLines([['revoked', agent]]))
  if (!told) session.note('no other member could be reached: they learn of it when this node is on the network')
}

/** Whether some other member has the log as it is now, within a bound; if there is none, nobody is left to tell. */
async function othersTold(session: Session, node: ArtifactHubNode): Promise<boolean> {
  return await isToldOf(session, node, await namespaceId(session, node.client))
}

/** As `othersTold`, of the namespace or group of that id. */
export async function isToldOf(session: Session, node: ArtifactHubNode, namespace: string): Promise<boolean> {
  const since = new Date()
  const options = { since, timeoutMs: tellMs, namespace, signal: session.signal }
  const { rows, isSynced } = await awaitSync(node, options)
  return rows.every(isSynced)
}

/**
 * Whether the agent could be reached, within a bound: whoever has a role is told of it on every connection. This node stays for that
 * until the agent has the log, or for as long as somebody takes who does not have the namespace yet.
 */
async function tell(
  session: Session,
  node: ArtifactHubNode,
  { agent, did }: { agent: string; did: string },
): Promise<boolean> {
  return await tellOf(session, node, { agent, did, log: await namespaceId(session, node.client) })
}

/** As `tell`, of the namespace or group of the id `log`. */
export async function tellOf(
  session: Session,
  node: ArtifactHubNode,
  { agent, did, log, waitMs = inviteMs }: { agent: string; did: string; log: string; waitMs?: number },
): Promise<boolean> {
  if (!session.isOnline) return false
  const since = new Date()
  const bounds = { timeoutMs: tellMs, signal: session.signal }
  try {
    // Makes a connection if there is none; what is owed over it goes by itself.
    await awaitReached(node, { agent, ...bounds })
  } catch (error) {
    if (isHubError(error, 'UNAVAILABLE')) return false
    throw error
  }
  await awaitTold(node, { did, namespace: log, since, ...bounds, timeoutMs: waitMs })
  return true
}

/** Has those who are members of a namespace or group (id `log`) no more hear of it, as far as they can be reached, within a bound. */
export async function tellGone(
  session: Session,
  node: ArtifactHubNode,
  { before, left, log }: { before: readonly Somebody[]; left: readonly Somebody[]; log: string },
): Promise<void> {
  const dids = new Set(left.map(({ did }) => did))
  const gone = before.filter(({ did }) => !dids.has(did)).slice(0, maxTold)
  const since = new Date()
  const { signal } = session
  await Promise.all(
    gone.map(async ({ did }) => {
      if (!(await tellOf(session, node, { agent: did, did, log, waitMs: 0 }))) return
      // A round that began before says nothing: whoever is told of its removal is given an entry.
      await looking({ timeoutMs: tellMs, signal }, async () => {
        const { namespaces, groups } = await node.status({ signal })
        const peer = [...namespaces, ...groups].find(({ id }) => id === log)?.sync.peers.find((one) => one.did === did)
        const isTold = peer?.outcome === 'exchanged' && peer.lastSyncAt !== undefined && peer.lastSyncAt >= since
        return { done: isTold, value: undefined }
      })
    }),
  )
}

/** The id of the namespace that the command is about. */
async function namespaceId(session: Session, client: Client): Promise<string> {
  const { namespace, signal } = session
  if (namespace !== undefined) return (await client.namespace.get({ namespace, signal })).id
  return (await client.namespace.usage({ signal })).namespace
}

async function ticket(session: Session): Promise<void> {
  const client = await session.client()
  const made = await client.namespace.ticket({ namespace: session.namespace, signal: session.signal })
  await session.result({ ticket: made }, `${made}\n`)
}

async function join(session: Session, options: { name?: string; wait?: boolean }, given: string): Promise<void> {
  const node = await session.online()
  const { name, wait } = options
  if (wait) session.note(`waiting for a grant to ${node.did}`)
  const since = new Date()
  const joined = await node.client.namespace.join({ ticket: given, name, wait, signal: session.signal })
  const { rows, isSynced } = await awaitSync(node, {
    since,
    timeoutMs: tellMs,
    namespace: joined.id,
    signal: session.signal,
  })
  await session.result(
    { id: joined.id, name: joined.name, role: joined.role },
    fieldLines([[joined.id, `${joined.name}  ${joined.role}`]]),
  )
  if (!rows.every(isSynced)) session.note('its log is not all here yet: `artifact-hub sync` brings the rest')
  session.note('`artifact-hub ns use` makes it the current one; --ns NAME uses it once')
}

async function leave(session: Session, options: { yes?: boolean }, reference: string): Promise<void> {
  const client = await session.client()
  const { signal } = session
  const { id, name } = await toLeave('namespace', reference, client.namespace.get({ namespace: reference, signal }))
  await mustConfirm(session, options.yes, `Remove the namespace "${name}" from this node?`)
  await client.namespace.leave({ namespace: id, signal })
  await session.result({ left: { id, name } }, fieldLines([['left', name]]))
}

/** What is to be left, by what was found under that name: it may be one that this agent is in no more. */
export async function toLeave(
  kind: 'namespace' | 'group',
  reference: string,
  found: Promise<{ readonly id: string; readonly name: string }>,
): Promise<{ readonly id: string; readonly name: string }> {
  try {
    return await found
  } catch (error) {
    const id = isHubError(error, 'ACCESS_DENIED') ? error.details[kind] : undefined
    if (typeof id !== 'string') throw error
    return { id, name: reference }
  }
}

async function adopt(session: Session, _options: unknown, head: string): Promise<void> {
  const client = await session.client()
  await client.namespace.adopt({ namespace: session.namespace, head, signal: session.signal })
  await session.result({ adopted: head }, fieldLines([['adopted', head]]))
}

async function policy(session: Session, options: { maxSize?: string }, fetch: string): Promise<void> {
  const client = await session.client()
  const maxBytes = options.maxSize === undefined ? undefined : parseBytes(options.maxSize)
  const set = { fetch: fetch as 'eager' | 'lazy', maxBytes }
  await client.namespace.setPolicy({ namespace: session.namespace, ...set, signal: session.signal })
  await session.result({ fetch, maxBytes: maxBytes ?? null }, fieldLines([['fetch', fetch]]))
}

export function memberJson({ did, role, name, since, connected }: Member | GroupMember): Record<string, unknown> {
  return { did, role, name: name ?? null, since: since.toISOString(), connected }
}
