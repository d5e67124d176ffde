import type {
  EndedStatus,
  LogStatus,
  NamespaceStatus,
  NodeStatus,
  Peer,
  SharingStatus,
  TransferStatus,
} from '../../node-types.ts'
import { awaitSync } from '../await-sync.ts'
import type { Session } from '../session.ts'
import { escapeControls, fieldLines, formatBytes, formatRate, formatTime, parseDuration } from '../text/index.ts'
import { reachText } from './network.ts'

/** What `status` does. */
export async function status(session: Session, options: { wait: string }): Promise<void> {
  const timeoutMs = parseDuration(options.wait, '--wait')
  const since = new Date()
  const { signal } = session
  const node = await session.node()
  // A node that has just started has not met anyone yet.
  if (session.isOnline) await awaitSync(node, { since, timeoutMs, signal })
  const found = await node.status({ signal })
  await session.result(found, statusText(session, found))
}

function statusText(session: Session, found: NodeStatus): string {
  const head = fieldLines([
    ['agent', found.did],
    ['data directory', found.dataDir],
    ['release', found.version],
    ['network', found.network],
    ...found.addresses.map((address) => ['address', address] as const),
    ...found.relays.map(({ address, reserved }) => ['relay', `${address}${reserved ? '' : ' (not yet)'}`] as const),
    ['started', formatTime(found.startedAt)],
  ])
  const namespaces = session.table<NamespaceStatus>([
    { title: '', cell: (row) => (row.current ? '*' : '') },
    { title: 'NAMESPACE', cell: (row) => row.name, shrinkTo: 16 },
    { title: 'ROLE', cell: (row) => row.role ?? (row.removed === undefined ? 'none' : 'removed') },
    { title: 'PLAN', cell: (row) => row.plan },
    { title: 'MEMBERS', cell: (row) => row.members.toLocaleString('en-US'), align: 'right' },
    { title: 'ARTIFACTS', cell: (row) => row.artifacts.toLocaleString('en-US'), align: 'right' },
    { title: 'USED', cell: (row) => formatBytes(row.usedBytes), align: 'right' },
    { title: 'ENTRIES', cell: (row) => row.entries.toLocaleString('en-US'), align: 'right' },
    ...(session.isOnline ? [{ title: 'SYNC', cell: syncText }] : []),
    { title: 'ID', cell: (row) => row.id },
  ])
  return [
    head,
    namespaces.render(found.namespaces),
    groupsText(session, found.groups),
    peersText(session, found.peers),
    transfersText(session, found.transfers),
    remarksText(found),
  ]
    .filter((part) => part !== '')
    .join('\n')
}

function groupsText(session: Session, groups: readonly LogStatus[]): string {
  if (groups.length === 0) return ''
  return session
    .table<LogStatus>([
      { title: 'GROUP', cell: (row) => row.name, shrinkTo: 16 },
      { title: 'ROLE', cell: roleText },
      { title: 'MEMBERS', cell: (row) => row.members.toLocaleString('en-US'), align: 'right' },
      ...(session.isOnline ? [{ title: 'SYNC', cell: syncText }] : []),
      { title: 'ID', cell: (row) => row.id },
    ])
    .render(groups)
}

function roleText({ role, removed }: LogStatus): string {
  if (role === undefined) return removed === undefined ? 'none' : 'removed'
  return role === 'writer' ? 'member' : role
}

function syncText({ sync, members, contentsToFetch }: LogStatus): string {
  if (members <= 1) return 'no other members'
  const last = sync.lastSyncAt === undefined ? 'not yet' : formatTime(sync.lastSyncAt)
  const behind = sync.behind > 0 ? `, ${sync.behind} behind` : ''
  return `${last}${behind}${contentsToFetch > 0 ? `, ${contentsToFetch} to fetch` : ''}`
}

function peersText(session: Session, peers: readonly Peer[]): string {
  if (peers.length === 0) return ''
  return session
    .table<Peer>([
      { title: 'PEER', cell: (row) => row.name ?? '', shrinkTo: 10 },
      { title: 'REACHED', cell: ({ reach }) => reachText(reach), shrinkTo: 12 },
      { title: 'DID', cell: (row) => row.did },
    ])
    .render(peers)
}

function transfersText(session: Session, transfers: readonly TransferStatus[]): string {
  if (transfers.length === 0) return ''
  return session
    .table<TransferStatus>([
      { title: 'FETCHING', cell: (row) => row.artifactId },
      { title: 'DONE', cell: (row) => `${formatBytes(row.fetchedBytes)} of ${formatBytes(row.totalBytes)}` },
      { title: 'RATE', cell: (row) => formatRate(row.bytesPerSecond), align: 'right' },
      { title: 'FROM', cell: (row) => row.providers.map(({ did }) => did).join(' '), shrinkTo: 12 },
    ])
    .render(transfers)
}

/** Why something is not here any more. */
export function endedText({ reason, by, at }: EndedStatus): string {
  return reason === 'GROUP'
    ? 'this agent had it by way of a group that it is in no more'
    : `this agent was removed by ${by} at ${formatTime(at)}`
}

function endedRemark(ended: EndedStatus): string {
  const { kind, name, diskBytes, isKept } = ended
  const leave = `\`${kind === 'group' ? 'group' : 'ns'} leave\` removes it`
  const kept = isKept ? ', and nothing else, for this agent wrote in it' : ''
  return `${name}: ${endedText(ended)}; ${formatBytes(diskBytes)} of it are kept out of reach, ${leave}${kept}`
}

/** What somebody should look at, a line each. */
function remarksText(found: NodeStatus): string {
  const lines = [
    ...[...found.namespaces, ...found.groups].flatMap(logRemarks),
    ...found.ended.map(endedRemark),
    ...found.vouched.leftOut.map(
      ({ namespace, group, by }) =>
        `${by} of ${group} says that the group has a role in ${namespace}, and there is no room for more of these: \`ns join\` takes it all the same`,
    ),
    ...found.invitations.map(({ namespace, from }) => `${from} says that this agent has a role in ${namespace}`),
    ...sharingRemarks(found.sharing),
    ...Object.entries(found.misbehaviour)
      .filter(([, count]) => count > 0)
      .map(([kind, count]) => `misbehaviour of others: ${kind}, ${count} times`),
    ...found.refusedAgents.map((did) => `refused for misbehaviour: ${did}`),
    ...Object.entries(found.refusedConnections)
      .filter(([, count]) => count > 0)
      .map(([limit, count]) => `connections turned away, limit ${limit}: ${count}`),
  ]
  return lines.map((line) => `${escapeControls(line)}\n`).join('')
}

function sharingRemarks({ fullSenders, leftOut, undelivered }: SharingStatus): string[] {
  return [
    ...undelivered.map(({ with: whom, shares, state }) =>
      state === 'full'
        ? `${whom} has no room for ${shares} shares: given up, until something is shared with it again`
        : `${whom} has not been told of ${shares} shares yet`,
    ),
    ...fullSenders.map((did) => `as many shares of ${did} are followed as may be`),
    ...(leftOut > 0 ? [`${leftOut} shares with groups are not followed: there is no room for more`] : []),
  ]
}

function logRemarks({ name, role, sync, forks, owed }: LogStatus): string[] {
  return [
    ...(role === undefined ? [`${name}: this agent is a member no more`] : []),
    ...(sync.lastError === undefined ? [] : [`${name}: the last sync failed: ${sync.lastError.message}`]),
    ...forks.map(
      ({ author, seq, heads }) =>
        `${name}: FORK of the chain of ${author} at ${seq}; \`artifact-hub ns adopt\` makes one branch count: ${heads.join(' or ')}`,
    ),
    ...(owed.rotation ? [`${name}: keys are to be changed, for a member was removed; an admin’s node does so`] : []),
    ...owed.boxes.map((did) => `${name}: ${did} has not been given the current key yet`),
    ...owed.keys.map(
      (did) =>
        `${name}: others have not been given a key that ${did} wrote under yet; their node gives it, or that of who has it too`,
    ),
  ]
}
