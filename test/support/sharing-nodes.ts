import type { Audience } from '../../src/capability/index.ts'
import { equalBytes } from '../../src/encoding/index.ts'
import type { AgentKey } from '../../src/identity/index.ts'
import { type HeaderDraft, type KeySection, signEntry } from '../../src/log/index.ts'
import type { Share } from '../../src/namespace/index.ts'
import { NamespaceNode, type TestTime } from './namespace-nodes.ts'

/** An agent as the audience of a share. */
export function agentOf({ id }: NamespaceNode): Audience {
  return { kind: 'agent', id }
}

/** A group as the audience of a share, by the node of any member. */
export function groupOf({ ns }: NamespaceNode): Audience {
  return { kind: 'group', id: ns.id }
}

/** A group and its members, each on a machine of its own, which is beside that of the same agent in a namespace. */
export async function createGroup(
  seed: number,
  time: TestTime,
  members: readonly NamespaceNode[],
): Promise<{ owner: NamespaceNode; members: NamespaceNode[] }> {
  const owner = await new NamespaceNode(seed, time).create({ isGroup: true })
  const nodes: NamespaceNode[] = []
  for (const [at, { agent }] of members.entries()) {
    const node = await new NamespaceNode(seed + 1 + at, time, { agent }).join(owner)
    await owner.ns.members.grant({ agent: node.id, role: 'writer' })
    nodes.push(node)
  }
  for (const node of nodes) await node.pull(owner)
  return { owner, members: nodes }
}

/** Records in a namespace what a group's descriptor is, as a node of that group has it. */
export async function recordGroup({ ns }: NamespaceNode, group: NamespaceNode): Promise<void> {
  const shown = await group.ns.descriptors.own()
  if (shown === undefined) throw new Error('that group has no epoch')
  await ns.descriptors.record(shown)
}

/** Has a node hold capabilities, whomever they are for. */
export async function hold({ ns }: NamespaceNode, shares: readonly Share[]): Promise<void> {
  await ns.holdCapabilities(
    shares.map(({ claims: { artifact, jti, audience } }) => {
      return { artifact, jti, groups: audience.filter(({ kind }) => kind === 'group').map(({ id }) => id) }
    }),
  )
}

/** Has a node hold all keys of a group that another node of the same agent can open. */
export async function holdGroup({ ns }: NamespaceNode, group: NamespaceNode): Promise<void> {
  await ns.holdGroupKeys(group.ns.id, groupKeys(group))
}

function groupKeys({ ns }: NamespaceNode): { epoch: Uint8Array; key: AgentKey }[] {
  return ns.membership.epochs.flatMap(({ id }) => {
    const key = ns.keyring.groupKey(id)
    return key === undefined ? [] : [{ epoch: id, key }]
  })
}

/** Those of shares that are for an agent by name. */
export function sharesWith({ id }: NamespaceNode, shares: readonly Share[]): Share[] {
  return shares.filter(({ claims }) => claims.audience.some((one) => one.kind === 'agent' && equalBytes(one.id, id)))
}

/** Texts of an artifact's versions that a node lists, by number, siblings after each other; `denied` where their content does not open. */
export async function readable(node: NamespaceNode, artifact: Uint8Array): Promise<Record<number, string>> {
  const { items } = await node.ns.catalog.listVersions(artifact, { limit: 1_000 })
  const texts: Record<number, string[]> = {}
  for (const { number, versionId } of items) {
    const text = (await node.read(artifact, versionId).catch(() => 'denied')) ?? 'missing'
    texts[number] = [...(texts[number] ?? []), text]
  }
  return Object.fromEntries(Object.entries(texts).map(([number, some]) => [number, some.sort().join(' ')]))
}

/** The next entry of that agent's chain, whatever it says. */
export function forge(
  { agent, ns }: NamespaceNode,
  draft: Pick<HeaderDraft, 'kind' | 'keyId' | 'data'>,
  make: (place: { grant: Uint8Array; incarnation: Uint8Array; seq: number }) => {
    keys?: KeySection
    body?: Uint8Array
  },
): Uint8Array {
  const own = [...ns.held.tips()].filter(({ author }) => Buffer.compare(author, agent.publicKey) === 0)
  const tip = own.sort((a, b) => b.seq - a.seq)[0]
  const grant = tip?.grant ?? ns.membership.grantsOf(agent.publicKey)[0]?.hash
  if (grant === undefined) throw new Error('it may not write')
  const incarnation = tip?.incarnation ?? ns.env.incarnation
  const place = { grant, incarnation, seq: tip === undefined ? 0 : tip.seq + 1 }
  const header = { namespace: ns.id, heads: [], previous: tip?.hash, clock: ns.env.clock.tick(), ...place, ...draft }
  return signEntry(agent, header, make(place)).bytes
}
