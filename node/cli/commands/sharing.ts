import { Option } from 'commander'
import type { ArtifactRef } from '../../../sdk/client.ts'
import type { Access, InboxRequest, Recipient, Share, SharedArtifact } from '../../../sdk/sharing-client.ts'
import { ArtifactHubError } from '../../../src/errors.ts'
import type { ArtifactHubNode } from '../../node-types.ts'
import { awaitReached, looking } from '../await-sync.ts'
import { type CommandGroup, collect } from '../command.ts'
import { resolveArtifactId } from '../resolve-artifact.ts'
import type { Session } from '../session.ts'
import { type Column, fieldLines, formatBytes, formatTime, parseDurationMs } from '../text/index.ts'
import { artifactJson } from './artifact-json.ts'
import { isToldOf, tellMs } from './members.ts'
import { artifactColumns, type FindOptions, finding, paged, pageLimit, queryFrom, showPages } from './pages.ts'

/** One artifact for agents and groups: `share`, `unshare`, `shared`, `access`, `inbox …`. */
export const sharingCommands: CommandGroup = (program, act) => {
  program
    .command('share')
    .description('let agents and groups that are no members of the namespace read an artifact')
    .argument('<id>', 'artifact')
    .option('--with <agent>', 'name, DID or ticket; may be given again', collect)
    .option('--group <group>', 'name, id or ticket; may be given again', collect)
    .option('--expires <duration>', 'for so long: 1h, 7d (default: until it is taken back)')
    .option('--from-now', 'only versions written from now on')
    .option('--message <text>', 'a line for those it is shared with')
    .addHelpText('after', shareHelp)
    .action(act(share))
  program
    .command('unshare')
    .description('take an artifact back from agents and groups; the next version is under a key they never had')
    .argument('<id>', 'artifact')
    .option('--with <agent>', 'name, DID or ticket; may be given again', collect)
    .option('--group <group>', 'name, id or ticket; may be given again', collect)
    .addHelpText('after', unshareHelp)
    .action(act(unshare))
  finding(paged(program.command('shared').description('list what others share with this agent')))
    .addOption(new Option('--by-me', 'what this agent shares instead'))
    .action(act(shared))
  program
    .command('access')
    .description('show who can read an artifact now, and through what')
    .argument('<id>', 'artifact')
    .action(act(access))
  const inbox = program
    .command('inbox')
    .description('what strangers want to share with this agent, and groups that they add it to')
  inbox.command('ls').description('list what waits; what contacts do does not wait here').action(act(requests))
  inbox
    .command('accept')
    .description('take what a stranger shares, or join the group')
    .argument('<request>', 'its id, as `inbox ls` shows it')
    .action(act(accept))
  inbox
    .command('drop')
    .description('do not take it, now or later')
    .argument('<request>', 'its id, as `inbox ls` shows it')
    .action(act(drop))
}

const shareHelp = `
Those who are connected learn of it at once, others when they meet this node or another member's.

Examples:
  artifact-hub share report.pdf --with bob --expires 7d
  artifact-hub share report.pdf --group data-team --message 'the figures of May'`

const unshareHelp = `
Other nodes stop serving as they learn of it. What was fetched cannot be unread. The next version stores its full size again.

Example:
  artifact-hub unshare report.pdf --with bob`

interface WithOptions {
  readonly with?: string[]
  readonly group?: string[]
}

async function share(
  session: Session,
  options: WithOptions & { expires?: string; fromNow?: boolean; message?: string },
  reference: string,
): Promise<void> {
  requireSomebody(options)
  const expiresIn = options.expires === undefined ? undefined : seconds(options.expires)
  const node = await session.online()
  const answered = answeredBy(node)
  const artifact = await refOf(session, reference)
  const shares = await node.client.artifact.share({
    ...artifact,
    withAgents: options.with,
    withGroups: options.group,
    expiresIn,
    fromNow: options.fromNow,
    message: options.message,
  })
  const [away, waiting] = await Promise.all([reach(session, node, shares), deliver(session, node, artifact, shares)])
  noteLate(session, waiting)
  await give(session, node, answered, new Set(shares).difference(new Set([...away, ...waiting])))
  await showShares(session, shares)
}

async function unshare(session: Session, options: WithOptions, reference: string): Promise<void> {
  requireSomebody(options)
  const { with: agents = [], group = [] } = options
  const node = await session.online()
  const answered = answeredBy(node)
  const artifact = await refOf(session, reference)
  const ended = await node.client.artifact.unshare({ ...artifact, agents, groups: group })
  const [away, isTold] = await Promise.all([reach(session, node, ended), areProvidersTold(session, node, ended)])
  await give(session, node, answered, new Set(ended).difference(new Set(away)))
  noteLate(session, away)
  if (!isTold) session.note('no other member could be reached: they stop serving when they learn of it')
  await showShares(session, ended)
  session.note('the next version stores its full size again, under a key that they never had')
}

/** Whether some other member, if there is any, knows what has ended. */
async function areProvidersTold(session: Session, node: ArtifactHubNode, ended: readonly Share[]): Promise<boolean> {
  const namespace = ended[0]?.namespace
  return !session.isOnline || namespace === undefined || (await isToldOf(session, node, namespace))
}

async function shared(session: Session, options: FindOptions & { byMe?: boolean }): Promise<void> {
  const query = { ...queryFrom(options), by: options.byMe ? ('me' as const) : ('others' as const) }
  const limit = pageLimit(options)
  const client = await session.client()
  const contacts = await client.agent.list({ signal: session.signal })
  const names = new Map(contacts.map(({ name, did }) => [did, name]))
  const whose = (one: Share): string => (options.byMe ? nameOf(one.with) : (names.get(one.by) ?? one.by))
  const who: Column<SharedArtifact> = {
    title: options.byMe ? 'WITH' : 'BY',
    cell: ({ shares }) => [...new Set(shares.map(whose))].join(' '),
    shrinkTo: 12,
  }
  await showPages(session, options, {
    page: (cursor) => client.artifact.listShared({ ...query, limit, cursor, signal: session.signal }),
    columns: [...artifactColumns, who],
    json: (row) => ({ ...artifactJson(row), shares: row.shares.map(shareJson) }),
    none: options.byMe ? 'nothing that matches is shared by this agent' : 'nobody shares anything that matches',
  })
}

async function access(session: Session, _options: unknown, reference: string): Promise<void> {
  const client = await session.client()
  const rows = await client.artifact.access(await refOf(session, reference))
  const table = session.table<Access>([
    { title: 'THROUGH', cell: (row) => row.through },
    { title: 'NAME', cell: (row) => row.name ?? '', shrinkTo: 12 },
    { title: 'ROLE', cell: (row) => row.role ?? '' },
    { title: 'SINCE', cell: (row) => formatTime(row.since, 'short') },
    { title: 'UNTIL', cell: (row) => (row.expiresAt === undefined ? '' : formatTime(row.expiresAt, 'short')) },
    { title: 'TOLD', cell: (row) => row.told ?? '' },
    { title: 'ID', cell: (row) => row.id },
  ])
  await session.result(rows.map(accessJson), table.render(rows))
}

async function requests(session: Session): Promise<void> {
  const client = await session.client()
  const rows = await client.inbox.list({ signal: session.signal })
  const table = session.table<InboxRequest>([
    { title: 'REQUEST', cell: (row) => row.id },
    { title: 'KIND', cell: (row) => row.kind },
    { title: 'NAME', cell: (row) => row.name, shrinkTo: 12 },
    { title: 'SIZE', cell: (row) => (row.sizeBytes === undefined ? '' : formatBytes(row.sizeBytes)), align: 'right' },
    { title: 'RECEIVED', cell: (row) => formatTime(row.receivedAt, 'short') },
    { title: 'FROM', cell: (row) => row.from, shrinkTo: 12 },
    { title: 'MESSAGE', cell: (row) => row.message ?? '', shrinkTo: 8 },
  ])
  await session.result(rows.map(requestJson), rows.length === 0 ? '' : table.render(rows))
  if (rows.length === 0) session.note('nothing waits')
}

async function accept(session: Session, _options: unknown, id: string): Promise<void> {
  const { client } = await session.online()
  await client.inbox.accept({ id, signal: session.signal })
  await session.result({ accepted: id }, fieldLines([['accepted', id]]))
}

async function drop(session: Session, _options: unknown, id: string): Promise<void> {
  const client = await session.client()
  await client.inbox.drop({ id, signal: session.signal })
  await session.result({ dropped: id }, fieldLines([['dropped', id]]))
}

/** The artifact that a person means, which may be one that was shared with this agent. */
async function refOf(session: Session, reference: string): Promise<ArtifactRef> {
  const client = await session.client()
  const { namespace, signal } = session
  return { artifactId: await resolveArtifactId(client, reference, { namespace, signal }), namespace, signal }
}

/** Stays until the agents that can be reached are connected, within a bound: what they are owed goes over the connection by itself. Gives the shares of the others. */
async function reach(session: Session, node: ArtifactHubNode, shares: readonly Share[]): Promise<Share[]> {
  if (!session.isOnline) return []
  const { signal } = session
  const ofAgents = shares.filter((share) => share.with.kind === 'agent')
  const found = await Promise.allSettled(
    ofAgents.map((share) => awaitReached(node, { agent: share.with.id, timeoutMs: tellMs, signal })),
  )
  signal.throwIfAborted()
  return ofAgents.filter((_, at) => found[at]?.status === 'rejected')
}

/** Stays until those whom something was shared with have taken it, or refused, within a bound; of a group somebody, who writes it down for all. Gives the other shares. */
async function deliver(
  session: Session,
  { client }: ArtifactHubNode,
  artifact: ArtifactRef,
  shares: readonly Share[],
): Promise<readonly Share[]> {
  if (!session.isOnline) return []
  return await looking({ timeoutMs: tellMs, signal: session.signal }, async () => {
    const rows = await client.artifact.access(artifact)
    const waiting = new Set(rows.flatMap(({ shareId, told }) => (told === 'waiting' && shareId ? [shareId] : [])))
    const value = shares.filter(({ id }) => waiting.has(id))
    return { done: value.length === 0, value }
  })
}

/** So long who is being sent something may take to store it, milliseconds: it is there, and would not hear of it before its next connection. */
const pushMs = 20_000

/** Ids of the shares that somebody was answered about, from now on. */
function answeredBy(node: ArtifactHubNode): ReadonlySet<string> {
  const ids = new Set<string>()
  node.onAnswered(({ shareId }) => ids.add(shareId))
  return ids
}

/**
 * Stays until whoever each of these shares is for, of a group somebody, has asked about it and was answered, within a bound: who is told of a share asks at once, and so
 * does, on a new connection, who has one; perhaps nobody else can be asked for a while. Who asked before something changed is sent that, and has taken it when this ends.
 */
async function give(
  session: Session,
  node: ArtifactHubNode,
  answered: ReadonlySet<string>,
  shares: ReadonlySet<Share>,
): Promise<void> {
  if (!session.isOnline) return
  const { signal } = session
  await looking({ timeoutMs: tellMs, signal }, async () => {
    return { done: [...shares].every(({ id }) => answered.has(id)), value: undefined }
  })
  await looking({ timeoutMs: pushMs, signal }, async () => {
    const { syncServed } = (await node.status({ signal })).counters
    return { done: (syncServed?.pushing ?? 0) === 0, value: undefined }
  })
}

function noteLate(session: Session, shares: readonly Share[]): void {
  const names = shares.map((share) => nameOf(share.with))
  if (names.length > 0) session.note(`not reached now, and told when they connect: ${names.join(', ')}`)
}

async function showShares(session: Session, shares: readonly Share[]): Promise<void> {
  const lines = shares.map(({ id, with: to, expiresAt }) => {
    const until = expiresAt === undefined ? '' : `  until ${formatTime(expiresAt, 'short')}`
    return [id, `${nameOf(to)}${until}`] as const
  })
  await session.result(shares.map(shareJson), fieldLines(lines))
}

function nameOf({ name, id }: Recipient): string {
  return name ?? id
}

function requireSomebody({ with: agents = [], group = [] }: WithOptions): void {
  if (agents.length + group.length === 0)
    throw new ArtifactHubError('INVALID_ARGUMENT', 'say with whom: --with AGENT or --group GROUP')
}

/** No timer waits for it: it may be years. */
function seconds(text: string): number {
  const ms = parseDurationMs(text)
  if (ms !== undefined && ms >= 1_000) return Math.round(ms / 1_000)
  throw new ArtifactHubError('INVALID_ARGUMENT', `--expires must be a duration like 1h, 7d or 52w, not "${text}"`)
}

function shareJson(share: Share): Record<string, unknown> {
  const { id, artifactId, namespace, with: to, by, createdAt, expiresAt, afterVersion, message } = share
  return {
    id,
    artifactId,
    namespace,
    with: { kind: to.kind, id: to.id, name: to.name ?? null },
    by,
    createdAt: createdAt.toISOString(),
    expiresAt: expiresAt?.toISOString() ?? null,
    afterVersion,
    message: message ?? null,
  }
}

function accessJson({ through, id, name, role, shareId, by, since, expiresAt, told }: Access): Record<string, unknown> {
  return {
    through,
    id,
    name: name ?? null,
    role: role ?? null,
    shareId: shareId ?? null,
    by: by ?? null,
    since: since.toISOString(),
    expiresAt: expiresAt?.toISOString() ?? null,
    told: told ?? null,
  }
}

function requestJson(request: InboxRequest): Record<string, unknown> {
  const { id, kind, from, receivedAt, name, group, artifactId, contentType, sizeBytes, message } = request
  return {
    id,
    kind,
    from,
    receivedAt: receivedAt.toISOString(),
    name,
    group: group ?? null,
    artifactId: artifactId ?? null,
    contentType: contentType ?? null,
    sizeBytes: sizeBytes ?? null,
    message: message ?? null,
  }
}
