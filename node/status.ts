import {
  type EndedLog,
  type Groups,
  isForPerson,
  type OpenNamespace,
  type Replication,
  type Sharing,
} from '../sdk/local/index.ts'
import { formatArtifactId, formatGroupId, formatNamespaceId, toHex } from '../src/encoding/index.ts'
import { formatDid } from '../src/identity/index.ts'
import { maxLogsByAgent, maxLogsByGroup, maxLogsByOthers } from '../src/limits.ts'
import { chainIdOf } from '../src/namespace/index.ts'
import type { PackStore } from './disk/index.ts'
import type { Network } from './network/index.ts'
import type {
  EndedStatus,
  ForkStatus,
  LogStatus,
  NamespaceStatus,
  NodeStatus,
  Peer,
  SharingStatus,
  TransferStatus,
  VouchedStatus,
} from './node-types.ts'
import { packageVersion } from './version.ts'

interface StatusSource {
  readonly network: Network
  readonly replication: Replication
}

/** A node at a glance. @throws the signal's reason */
export async function nodeStatus(
  node: StatusSource & {
    readonly did: string
    readonly dataDir: string
    readonly startedAt: Date
    readonly groups: Groups
    readonly sharing: Sharing
    readonly packs: PackStore
  },
  signal: AbortSignal | undefined,
): Promise<NodeStatus> {
  const { did, dataDir, startedAt, network, replication, groups, sharing } = node
  const { mode, addresses, relays, misbehaviour, refusedAgents, refusedConnections } = network.status()
  return {
    did,
    dataDir,
    version: await packageVersion(),
    network: mode,
    addresses,
    relays,
    startedAt,
    namespaces: await Promise.all(
      replication.namespaces.all.map((namespace) => namespaceStatus(replication, namespace)),
    ),
    groups: await Promise.all(replication.namespaces.groups.map((group) => logStatus(replication, group))),
    ended: await Promise.all(replication.namespaces.ended.map((ended) => endedStatus(node.packs, ended))),
    vouched: vouchedStatus(groups),
    peers: await peersOf(node, signal),
    transfers: transfersOf(replication),
    invitations: groups.invitations,
    misbehaviour,
    refusedAgents,
    refusedConnections,
    sharing: sharingStatus(sharing),
    counters: { ...replication.counters, fetches: replication.env.fetches.counters },
  }
}

/** Connected agents first, then other members of this node's namespaces, each by DID. @throws the signal's reason */
export async function peersOf(
  { network, replication }: StatusSource,
  signal: AbortSignal | undefined,
): Promise<Peer[]> {
  const { namespaces, contacts, env } = replication
  const connections = new Map((await network.peers({ signal })).map((peer) => [toHex(peer.agent), peer]))
  const roles = new Map<string, { readonly agent: Uint8Array; readonly namespaces: string[] }>()
  for (const { agent } of connections.values()) roles.set(toHex(agent), { agent, namespaces: [] })
  for (const { row, log } of namespaces.all) {
    for (const agent of log.memberAgents()) {
      const key = toHex(agent)
      const known = roles.get(key) ?? { agent, namespaces: [] }
      known.namespaces.push(row.name)
      roles.set(key, known)
    }
  }
  roles.delete(toHex(env.agent.publicKey))
  const peers = [...roles].map(([key, { agent, namespaces: names }]): Peer => {
    const common = {
      did: formatDid(agent),
      name: contacts.nameOf(agent),
      reach: network.reachability(agent),
      namespaces: names,
    }
    const connected = connections.get(key)
    if (connected === undefined) return common
    const { addresses, encryption, latencyMs, since, protocols } = connected
    return { ...common, connection: { addresses, encryption, latencyMs, since, protocols } }
  })
  return peers.sort(
    (a, b) => Number(b.connection !== undefined) - Number(a.connection !== undefined) || (a.did < b.did ? -1 : 1),
  )
}

async function namespaceStatus(replication: Replication, namespace: OpenNamespace): Promise<NamespaceStatus> {
  const { row, log } = namespace
  const { artifacts } = await log.catalog.counts()
  return {
    ...(await logStatus(replication, namespace)),
    current: replication.namespaces.isCurrent(namespace),
    plan: row.plan,
    artifacts,
    usedBytes: log.totals.leafBytes,
    policy: replication.policyOf(namespace),
  }
}

async function logStatus(replication: Replication, namespace: OpenNamespace): Promise<LogStatus> {
  const { row, log } = namespace
  const self = replication.env.agent.publicKey
  const keys = log.roleOf(self) === undefined ? [] : await log.healer.owedKeys()
  // Both of one moment: the round that brought that the role ended is no sign of being in step.
  const role = log.roleOf(self)
  const sync = replication.syncStatus(namespace)
  const { rotation, boxes } = log.membership.owed
  return {
    id: row.kind === 'group' ? formatGroupId(row.id) : log.idText,
    name: row.name,
    entries: log.totals.entries,
    logHash: toHex(log.held.vectorHash),
    role,
    removed: removalOf(namespace),
    members: log.membership.members.length,
    contentsToFetch: replication.missing(namespace),
    sync: {
      behind: sync?.behind ?? 0,
      lastSyncAt: dateOf(sync?.lastSyncAt),
      lastError: sync?.lastError,
      peers: (sync?.peers ?? []).map(({ agent, lastSyncAt, outcome }) => ({
        did: formatDid(agent),
        lastSyncAt: dateOf(lastSyncAt),
        outcome,
      })),
    },
    forks: forksOf(namespace),
    owed: { rotation, boxes: boxes.map(({ agent }) => formatDid(agent)), keys: keys.map(formatDid) },
  }
}

function removalOf({ log }: OpenNamespace): LogStatus['removed'] {
  const [ending] = log.membership.endingsOf(log.env.agent.publicKey)
  return ending && { role: ending.role, by: formatDid(ending.author), at: new Date(ending.clock.wallMs) }
}

async function endedStatus(packs: PackStore, { namespace, ending }: EndedLog): Promise<EndedStatus> {
  const { row, log } = namespace
  const id = row.kind === 'group' ? formatGroupId(row.id) : log.idText
  const by = ending.by && formatDid(ending.by)
  return {
    kind: row.kind,
    id,
    name: row.name,
    reason: ending.reason,
    by,
    at: new Date(ending.atMs),
    diskBytes: (await packBytes(packs, log)) + log.totals.entryBytes,
    isKept: await isForPerson(namespace),
  }
}

async function packBytes(packs: PackStore, log: OpenNamespace['log']): Promise<number> {
  // Once it is closed its folder goes, and is not to be made again.
  if (log.closed) return 0
  try {
    return (await (await packs.namespace(log.folder)).usage()).diskBytes
  } catch (error) {
    if (!log.closed) throw error
    return 0
  }
}

function vouchedStatus({ vouched }: Groups): VouchedStatus {
  const leftOut = vouched.leftOut.map(({ namespace, group, by }) => {
    return { namespace: formatNamespaceId(namespace), group: formatGroupId(group), by: formatDid(by) }
  })
  const limits = { all: maxLogsByOthers, ofAgent: maxLogsByAgent, ofGroup: maxLogsByGroup }
  return { logs: vouched.logs, limits, leftOut }
}

function forksOf({ log }: OpenNamespace): ForkStatus[] {
  return log.membership.forks.map(({ author, grant, incarnation, seq }) => {
    const chain = toHex(chainIdOf(author, grant, incarnation))
    const tips = [...log.held.tips()].filter((tip) => toHex(tip.chain) === chain)
    return { author: formatDid(author), seq, heads: tips.map(({ hash }) => toHex(hash)).sort() }
  })
}

function sharingStatus({ status }: Sharing): SharingStatus {
  const { followed, fullSenders, leftOut, undelivered } = status
  return {
    following: followed,
    fullSenders: fullSenders.map((sender) => formatDid(new Uint8Array(Buffer.from(sender, 'hex')))),
    leftOut,
    undelivered: undelivered.map(({ kind, id, state, count }) => ({
      with: kind === 'group' ? formatGroupId(id) : formatDid(id),
      shares: count,
      state,
    })),
  }
}

function transfersOf({ env }: Replication): TransferStatus[] {
  return env.fetches.underWay.map(({ log, artifact, root, fetchedBytes, elapsedMs, providers }) => ({
    namespace: log.idText,
    artifactId: formatArtifactId(artifact),
    totalBytes: root.storedBytes,
    fetchedBytes,
    bytesPerSecond: elapsedMs > 0 ? (fetchedBytes * 1_000) / elapsedMs : 0,
    providers: providers.map((provider) => ({ did: formatDid(provider.agent), fetchedBytes: provider.fetchedBytes })),
  }))
}

function dateOf(ms: number | undefined): Date | undefined {
  return ms === undefined ? undefined : new Date(ms)
}
