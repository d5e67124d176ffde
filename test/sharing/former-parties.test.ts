/**
 * Whoever could read once, with every key that it ever held and every byte that was ever written: it looks for keys in whatever opens,
 * not where our own code would. What was written by who knew of its removal stays closed, to all of them together too.
 */
import { expect, test } from 'vitest'
import { inThreadEngine } from '../../src/content/index.ts'
import { artifactIdOf, toHex } from '../../src/encoding/index.ts'
import { type AgentKey, openSealed, unwrapKey, wrappingKey } from '../../src/identity/index.ts'
import { decodeEntry, type Entry } from '../../src/log/index.ts'
import { ArtifactKey } from '../../src/sharing/index.ts'
import { NamespaceNode, TestTime } from '../support/namespace-nodes.ts'
import { agentOf, createGroup, groupOf, recordGroup } from '../support/sharing-nodes.ts'

/** What somebody has: keys to open boxes with, and secrets that it has come by. */
interface Possession {
  readonly agents: readonly AgentKey[]
  /** Of epochs and artifacts, by hex. Grows while it looks. */
  readonly secrets: Map<string, Uint8Array>
}

const noSubject = new Uint8Array(0)

async function entriesOf({ ns }: NamespaceNode): Promise<Entry[]> {
  return (await Array.fromAsync(ns.held.all())).map(({ bytes }) => decodeEntry(bytes))
}

/** Opens all that opens, over and over, until nothing more does. */
function ransack(namespace: Uint8Array, entries: readonly Entry[], { agents, secrets }: Possession): void {
  const gain = (secret: Uint8Array | undefined): boolean => {
    if (secret === undefined || secrets.has(toHex(secret))) return false
    secrets.set(toHex(secret), secret)
    return true
  }
  for (const { header, keys } of entries) {
    if (keys?.ephemeral === undefined) continue
    for (const box of keys.boxes) {
      for (const context of contextsOf(namespace, header, box.keyId)) {
        for (const agent of agents) gain(openSealed(keys.ephemeral, [box], agent, context))
      }
    }
  }
  for (let gained = true; gained; ) {
    gained = false
    const under = [...secrets.values()].map(wrappingKey)
    for (const { header, keys } of entries) {
      for (const { keyId, box } of keys?.wraps ?? []) {
        for (const context of contextsOf(namespace, header, keyId)) {
          for (const one of under) gained = gain(unwrapKey(box, one, context)) || gained
        }
      }
    }
  }
}

/** Both of what a key that stands in an entry can be. */
function contextsOf(namespace: Uint8Array, { data }: Entry['header'], keyId: Uint8Array) {
  const epoch = { kind: 'epoch' as const, namespace, subject: noSubject, keyId }
  if (data === undefined) return [epoch]
  return [epoch, { kind: 'artifact' as const, namespace, subject: artifactIdOf(namespace, data.artifactSalt), keyId }]
}

/** Numbers of the versions of an artifact that open: what they say of it (`says`), and their content. */
async function opened(namespace: Uint8Array, entries: readonly Entry[], artifact: Uint8Array, { secrets }: Possession) {
  const found = { says: new Set<number>(), content: new Set<number>() }
  const keys = [...secrets.values()].map((secret) => new ArtifactKey(secret, namespace, artifact))
  for (const { header, body, leaf } of entries) {
    const { data, grant, author, incarnation, seq } = header
    if (header.kind !== 'put' || data?.root === undefined || grant === undefined || body === undefined) continue
    if (toHex(artifactIdOf(namespace, data.artifactSalt)) !== toHex(artifact)) continue
    for (const key of keys) {
      try {
        key.openBody(body, { namespace, author, grant, incarnation, seq })
        found.says.add(data.gen)
      } catch {}
      if (leaf === undefined) continue
      await inThreadEngine.open(leaf.slice(), data.root.digest, key.content.encryption).then(
        () => found.content.add(data.gen),
        () => {},
      )
    }
  }
  return { says: [...found.says].sort(), content: [...found.content].sort() }
}

test('what is written by who knows that they are gone opens with nothing that they ever had', async () => {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const { ns } = owner
  const member = async (seed: number, role: 'admin' | 'writer' | 'reader') => {
    const node = await new NamespaceNode(seed, time).join(owner)
    await ns.members.grant({ agent: node.id, role })
    return node
  }
  const members = [await member(2, 'admin'), await member(3, 'writer'), await member(4, 'reader')]
  const stays = await member(5, 'reader')
  const [recipient, grouped, remains] = [6, 7, 8].map((seed) => new NamespaceNode(seed, time)) as [
    NamespaceNode,
    NamespaceNode,
    NamespaceNode,
  ]
  const { owner: group } = await createGroup(50, time, [grouped, remains])
  await recordGroup(owner, group)
  const artifact = await owner.write('one', 'report')
  const unshared = [agentOf(recipient)]
  await ns.sharing.share({ artifact, audience: [...unshared, groupOf(group), agentOf(remains)] })
  await owner.update(artifact, 'two', 'report')

  const groupKeys = () => group.ns.membership.epochs.flatMap(({ id }) => group.ns.keyring.groupKey(id) ?? [])
  const formerKeys = groupKeys()
  const possession = (agents: readonly AgentKey[]): Possession => ({ agents, secrets: new Map() })
  const former = new Map<string, Possession>([
    ...members.map(({ agent }, at) => [['admin', 'writer', 'reader'][at] as string, possession([agent])] as const),
    ['recipient', possession([recipient.agent])],
    ['member of a group', possession([grouped.agent, ...formerKeys])],
    ['all of them', possession([...members, recipient, grouped].map(({ agent }) => agent).concat(formerKeys))],
  ])
  const readable = async (who: Possession, what = artifact) => {
    const entries = await entriesOf(owner)
    ransack(ns.id, entries, who)
    return await opened(ns.id, entries, what, who)
  }
  const both = { says: [1, 2], content: [1, 2] }
  for (const [who, has] of former) expect([who, await readable(has)]).toEqual([who, both])

  await ns.members.revokeAll({ agents: members.map(({ id }) => id) })
  await ns.sharing.unshare({ artifact, audience: unshared })
  await group.ns.members.revoke({ agent: grouped.id })
  await recordGroup(owner, group)
  // New content, a change of the name alone, another artifact, and a share of it: by whom it is known.
  await owner.update(artifact, 'three', 'report')
  await owner.update(artifact, undefined, 'renamed')
  const later = await owner.write('later')
  await ns.sharing.share({ artifact: later, audience: [agentOf(remains), groupOf(group)] })
  await ns.members.rotate()
  await owner.update(later, 'later still')
  await ns.healer.run()
  for (const [who, has] of former) {
    expect([who, await readable(has)]).toEqual([who, both])
    expect([who, await readable(has, later)]).toEqual([who, { says: [], content: [] }])
  }
  // It is not that nobody could.
  const all = { says: [1, 2, 3, 4], content: [1, 2, 3, 4] }
  for (const agents of [[stays.agent], [remains.agent], [remains.agent, ...groupKeys()], groupKeys()]) {
    expect(await readable(possession(agents))).toEqual(all)
    expect(await readable(possession(agents), later)).toEqual({ says: [1, 2], content: [1, 2] })
  }
})

test('who shares from now on gives nothing of before, whatever else is sealed to the recipient later', async () => {
  const time = new TestTime()
  const owner = await new NamespaceNode(1, time).create()
  const { ns } = owner
  const bob = new NamespaceNode(2, time)
  const artifact = await owner.write('one', 'report')
  await owner.update(artifact, 'two', 'report')
  await ns.sharing.share({ artifact, audience: [agentOf(bob)], fromNow: true })
  await owner.update(artifact, 'three', 'report')
  await ns.members.rotate()
  await owner.update(artifact, 'four', 'report')
  await ns.healer.run()
  const entries = await entriesOf(owner)
  const has = { agents: [bob.agent], secrets: new Map() }
  ransack(ns.id, entries, has)
  expect(await opened(ns.id, entries, artifact, has)).toEqual({ says: [3, 4], content: [3, 4] })
})
