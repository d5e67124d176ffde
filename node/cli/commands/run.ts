import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '../../logger.ts'
import type { ArtifactHubNode, NamespaceStatus } from '../../node-types.ts'
import type { CommandGroup } from '../command.ts'
import { Interrupted } from '../failure.ts'
import type { OnlineExtra, Session } from '../session.ts'
import { fieldLines, formatBytes, formatCount, jsonText } from '../text/index.ts'
import { endedText } from './status.ts'

/** Milliseconds between two looks at what the node does; what has not changed is not told again. */
const lookEveryMs = 500

/** Nodes that stay on the network: `run`, `replicate`. */
export const runCommands: CommandGroup = (program, act) => {
  program
    .command('run')
    .description('stay on the network, until Ctrl-C: serve, sync, fetch what policies say; prints tickets')
    .option('--relay', 'relay for others that cannot be dialled, within limits')
    .addHelpText('after', runHelp)
    .action(act(run))
  program
    .command('replicate')
    .description('stay on the network, until Ctrl-C, and keep copies of namespaces for others')
    .argument('<tickets...>', 'tickets of namespaces; each is joined once this agent has a role there')
    .option('--relay', 'relay for others that cannot be dialled, within limits')
    .addHelpText('after', replicateHelp)
    .action(act(replicate))
}

const runHelp = `
One process has a data directory open at a time: while this one runs, other commands on the same directory end with LOCKED.
With --json: one object with did, addresses, ticket and namespaces, then one for each change of a namespace, a line each.

Examples:
  artifact-hub run --listen /ip4/0.0.0.0/tcp/4001
  artifact-hub run --network-key-file team.key --bootstrap /ip4/192.0.2.7/tcp/4001/p2p/12D3Koo…`

const replicateHelp = `
The owner or an admin lets it: artifact-hub ns grant DID replica. It then stores and serves all content, and has no keys to it.

Example:
  artifact-hub replicate ahub1… --listen /ip4/0.0.0.0/tcp/4001 --data-dir /srv/replica`

interface RunOptions {
  readonly relay?: boolean
}

async function run(session: Session, { relay }: RunOptions): Promise<void> {
  await stayOnline(session, { relay })
}

// Commander hands the tickets over as one array.
async function replicate(session: Session, { relay }: RunOptions, tickets: unknown): Promise<void> {
  const replicate = tickets as readonly string[]
  await stayOnline(session, { relay, replicate })
}

/** Starts the node with its network, tells what happens, and ends when the session is told to stop. */
export async function stayOnline(session: Session, extra: OnlineExtra): Promise<void> {
  const node = await session.online({ ...extra, logger: loggerOf(session) })
  try {
    await introduce(session, node)
    await follow(session, node)
  } catch (error) {
    // Being told to stop is how this ends.
    if (!(session.signal.aborted && session.signal.reason instanceof Interrupted)) throw error
  }
}

async function introduce(session: Session, { client, gateway }: ArtifactHubNode): Promise<void> {
  const { signal } = session
  const { did, addresses } = await client.agent.self({ signal })
  const ticket = await client.agent.ticket({ signal })
  const namespaces: { id: string; name: string; ticket: string }[] = []
  for (const { id, name } of await client.namespace.list({ signal }))
    namespaces.push({ id, name, ticket: await client.namespace.ticket({ namespace: id, signal }) })
  await tell(
    session,
    { did, addresses, ticket, namespaces, ...(gateway && { gateway }) },
    fieldLines([
      ['agent', did],
      ...addresses.map((address) => ['address', address] as const),
      ['ticket', ticket],
      ...(gateway === undefined ? [] : [['gateway', gateway.url] as const]),
      ...namespaces.map(({ name, ticket }) => [`ticket of ${name}`, ticket] as const),
    ]),
  )
}

/** Tells of every change of a namespace and of invitations, until the signal. */
async function follow(session: Session, node: ArtifactHubNode): Promise<never> {
  const told = new Map<string, string>()
  for (;;) {
    const { namespaces, invitations, ended } = await node.status({ signal: session.signal })
    for (const one of ended) {
      const at = one.at.toISOString()
      if (told.get(one.id) === at) continue
      told.set(one.id, at)
      await tell(session, { ended: { ...one, by: one.by ?? null, at } }, `${one.name}: ${endedText(one)}\n`)
    }
    for (const { namespace, from } of invitations) {
      if (told.get(namespace) === from) continue
      told.set(namespace, from)
      const text = `${from} says that this agent has a role in ${namespace}: \`ns join\` with its ticket\n`
      await tell(session, { invitation: { namespace, from } }, text)
    }
    for (const row of namespaces) {
      const { json, text } = changed(row)
      const now = jsonText(json)
      if (told.get(row.id) === now) continue
      told.set(row.id, now)
      await tell(session, json, text)
    }
    await delay(lookEveryMs, undefined, { signal: session.signal })
  }
}

function changed(row: NamespaceStatus): { json: Record<string, unknown>; text: string } {
  const { id, name, role, members, artifacts, usedBytes, entries, contentsToFetch, sync } = row
  const connected = sync.peers.length
  const parts = [
    role ?? 'no role',
    formatCount(members, 'member'),
    formatCount(artifacts, 'artifact'),
    formatBytes(usedBytes),
    formatCount(entries, 'entry', 'entries'),
    ...(sync.behind > 0 ? [`${sync.behind} behind`] : []),
    ...(contentsToFetch > 0 ? [`${contentsToFetch} to fetch`] : []),
    `in touch with ${connected}`,
  ]
  const json = {
    namespace: id,
    name,
    role: role ?? null,
    members,
    artifacts,
    usedBytes,
    entries,
    behind: sync.behind,
    contentsToFetch,
    peers: sync.peers.map(({ did }) => did),
  }
  return { json, text: fieldLines([[name, parts.join(', ')]]) }
}

/** One line of JSON, or the text. */
async function tell(session: Session, json: unknown, text: string): Promise<void> {
  await session.output.write(session.json ? `${jsonText(json)}\n` : text)
}

function loggerOf(session: Session): Logger {
  const note = (message: string, fields?: Readonly<Record<string, unknown>>): void =>
    session.note(fields === undefined ? message : `${message} ${jsonText(fields)}`)
  return { debug: () => {}, info: note, warn: note, error: note }
}
