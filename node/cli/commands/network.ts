import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { ArtifactHubError } from '../../../src/errors.ts'
import type { LogStatus, Peer, PeerReach } from '../../node-types.ts'
import { awaitReached, awaitSync, syncedWith } from '../await-sync.ts'
import type { CommandGroup } from '../command.ts'
import type { Session } from '../session.ts'
import { fieldLines, formatCount, formatDuration, parseCount, parseDuration } from '../text/index.ts'

/** Milliseconds between two looks at who is there. */
const lookEveryMs = 100

/** The other nodes: `peers`, `ping`, `sync`, and the key of a private network. */
export const networkCommands: CommandGroup = (program, act) => {
  program
    .command('sync')
    .description('bring every namespace in step with another member’s copy; exit 10 when that could not be done')
    .option('--timeout <duration>', 'how long to try', '30s')
    .action(act(sync))
  program
    .command('peers')
    .description('show who is connected, and the members of this node’s namespaces')
    .option('--wait <duration>', 'how long to look for them', '3s')
    .action(act(peers))
  program
    .command('ping')
    .description('measure the round trip to an agent')
    .argument('<agent>', 'name, DID or ticket')
    .option('--count <number>', 'how many times', '3')
    .option('--timeout <duration>', 'how long to look for it', '10s')
    .action(act(ping))
  program
    .command('network-key')
    .description('make the key of a private network: a file to copy, over a safe way, to every node of it')
    .argument('<file>', 'where to write it; must not be there yet')
    .addHelpText(
      'after',
      `
Example:
  artifact-hub network-key team.key
  artifact-hub run --network-key-file team.key`,
    )
    .action(act(networkKey))
}

async function sync(session: Session, options: { timeout: string }): Promise<void> {
  const timeoutMs = parseDuration(options.timeout, '--timeout')
  const since = new Date()
  const node = await session.online()
  const { namespace, signal } = session
  const { rows, isSynced } = await awaitSync(node, { since, timeoutMs, namespace, signal })
  const table = session.table<LogStatus>([
    { title: 'NAMESPACE', cell: (row) => row.name, shrinkTo: 16 },
    { title: 'SYNC', cell: (row) => (isSynced(row) ? 'in step' : 'not in step') },
    { title: 'BEHIND', cell: (row) => row.sync.behind.toLocaleString('en-US'), align: 'right' },
    { title: 'TO FETCH', cell: (row) => row.contentsToFetch.toLocaleString('en-US'), align: 'right' },
    { title: 'WITH', cell: (row) => syncedWith(row, since).join(' '), shrinkTo: 12 },
  ])
  const json = rows.map((row) => ({
    id: row.id,
    name: row.name,
    synced: isSynced(row),
    behind: row.sync.behind,
    contentsToFetch: row.contentsToFetch,
    with: syncedWith(row, since),
  }))
  await session.result(json, table.render(rows))
  const late = rows.filter((row) => !isSynced(row)).map(({ name }) => name)
  if (rows.length === 0 && namespace !== undefined) {
    // Of one that this agent is in no more, why.
    await node.client.namespace.get({ namespace, signal })
    throw new ArtifactHubError('NOT_FOUND', `no namespace is named "${namespace}" here`, { details: { namespace } })
  }
  if (late.length === 0) return
  const message = `no member’s whole copy could be reached in ${formatDuration(timeoutMs)}: ${late.join(', ')}`
  throw new ArtifactHubError('UNAVAILABLE', message, { details: { namespaces: late } })
}

async function peers(session: Session, options: { wait: string }): Promise<void> {
  const endMs = performance.now() + parseDuration(options.wait, '--wait')
  const node = await session.online()
  const { signal } = session
  let found = await node.peers({ signal })
  while (performance.now() < endMs && (found.length === 0 || found.some(({ reach }) => reach.state === 'unknown'))) {
    await delay(lookEveryMs, undefined, { signal })
    found = await node.peers({ signal })
  }
  const table = session.table<Peer>([
    { title: 'NAME', cell: (row) => row.name ?? '', shrinkTo: 10 },
    { title: 'REACHED', cell: ({ reach }) => reachText(reach), shrinkTo: 12 },
    { title: 'PING', cell: ({ connection }) => latencyText(connection?.latencyMs), align: 'right' },
    { title: 'CRYPTO', cell: ({ connection }) => connection?.encryption ?? '' },
    { title: 'NAMESPACES', cell: ({ namespaces }) => namespaces.join(' '), shrinkTo: 10 },
    { title: 'DID', cell: ({ did }) => did },
  ])
  await session.result(found, found.length === 0 ? '' : table.render(found))
  if (found.length === 0) session.note('nobody is connected, and no namespace here has other members')
}

/** How an agent can be reached, in words. */
export function reachText(reach: PeerReach): string {
  return reach.state === 'unreachable' ? `no: ${reach.message}` : reach.state
}

async function ping(session: Session, options: { count: string; timeout: string }, agent: string): Promise<void> {
  const count = parseCount(options.count, '--count', { min: 1, max: 1_000 })
  const timeoutMs = parseDuration(options.timeout, '--timeout')
  const node = await session.online()
  const { signal } = session
  // Whoever is found by multicast is known a moment after the start.
  const latenciesMs = [await awaitReached(node, { agent, timeoutMs, signal })]
  while (latenciesMs.length < count) latenciesMs.push(await node.ping(agent, { signal }))
  const shown = latenciesMs.map((ms) => latencyText(ms))
  await session.result({ agent, latenciesMs }, fieldLines([[formatCount(count, 'round trip'), shown.join(', ')]]))
}

function latencyText(ms: number | undefined): string {
  return ms === undefined ? '' : `${ms.toFixed(ms < 10 ? 1 : 0)} ms`
}

async function networkKey(session: Session, _options: unknown, path: string): Promise<void> {
  const { formatSwarmKey } = await import('../../network/index.ts')
  try {
    await writeFile(path, formatSwarmKey(randomBytes(32)), { mode: 0o600, flag: 'wx' })
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'EEXIST')
      throw new ArtifactHubError('ALREADY_EXISTS', `${path} is there already`, { details: { path }, cause })
    throw new ArtifactHubError('STORAGE_FAILED', `cannot write ${path} (${code})`, { details: { path }, cause })
  }
  await session.result({ path }, fieldLines([['network key', path]]))
  session.note('whoever has this file can connect to the network: copy it to its nodes, and nowhere else')
}
