import { expect, test } from 'vitest'
import { encodePresentation } from '../../src/capability/index.ts'
import { parseGroupId, parseNamespaceId } from '../../src/encoding/index.ts'
import { fetchGenesis } from '../../src/exchange/index.ts'
import { AgentKey } from '../../src/identity/index.ts'
import { failureOf } from '../client/contract-support.ts'
import { type LocalAgent, LocalAgents } from '../replication/agents.ts'
import { eventually } from '../replication/nodes.ts'
import { groupsOf, pair } from './pair.ts'

const monthMs = 30 * 24 * 3_600_000
const shared = async ({ client }: LocalAgent) =>
  (await Array.fromAsync(client.artifact.listShared())).map(({ name }) => name)
const text = async ({ client }: LocalAgent, artifactId: string) =>
  Buffer.from(await client.artifact.download({ artifactId })).toString()

/** The owner of a group, a member, and somebody outside of it who holds its ticket and shares an artifact with it. */
async function shareFromOutside(agents: LocalAgents) {
  const [ann, bob, alice] = [await agents.start(), await agents.start(), await agents.start()]
  await ann.client.agent.add({ name: 'bob', ticket: await bob.client.agent.ticket() })
  await bob.client.agent.add({ name: 'ann', ticket: await ann.client.agent.ticket() })
  await ann.client.agent.add({ name: 'alice', ticket: await alice.client.agent.ticket() })
  await ann.network.ping(bob.id)
  const { id: group } = await ann.client.group.create({ name: 'data-team' })
  await ann.client.group.add({ group, agents: ['bob'] })
  await eventually(async () => expect(await groupsOf(bob)).toEqual(['data-team']))
  await alice.client.agent.add({ name: 'their-team', ticket: await ann.client.group.ticket({ group }) })
  const { id: artifactId } = await alice.client.artifact.create({ name: 'figures', data: Buffer.from('first') })
  await alice.client.artifact.share({ artifactId, withGroups: ['their-team'] })
  await eventually(async () => expect(await shared(bob)).toEqual(['figures']))
  await eventually(async () => expect(await text(bob, artifactId)).toBe('first'))
  return { ann, bob, alice, group, artifactId }
}

/** Never resolves; ends with the signal. */
async function abortOf(signal: AbortSignal | undefined): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>()
  signal?.addEventListener('abort', () => reject(signal.reason))
  return await promise
}

test('a member that comes back after months and many epochs has the group, what is shared with it and its namespaces as they are', async () => {
  await using agents = new LocalAgents()
  const { ann, bob, alice, group, artifactId } = await shareFromOutside(agents)
  await ann.client.namespace.create({ name: 'shared' })
  await ann.client.namespace.grant({ namespace: 'shared', group, role: 'reader' })
  await eventually(async () => expect((await bob.client.namespace.list()).map(({ name }) => name)).toContain('shared'))
  await bob.stop()
  const written: string[] = []
  for (let month = 1; month <= 6; month++) {
    ann.aheadMs += monthMs
    alice.aheadMs += monthMs
    const guest = new AgentKey(Buffer.alloc(32, `guest of month ${month}`)).did
    await ann.client.group.add({ group, agents: [guest] })
    await ann.client.group.remove({ group, agents: [guest] })
    const log = alice.namespace().log
    await eventually(() => expect(log.descriptors.newest(parseGroupId(group))?.number).toBe(month + 1))
    await alice.client.artifact.update({ artifactId, data: Buffer.from(`of month ${month}`) })
    const note = await ann.client.artifact.createSnippet({
      namespace: 'shared',
      name: `note ${month}`,
      content: `${month}`,
    })
    written.push(note.id)
  }
  const { id: later } = await alice.client.artifact.create({ name: 'later', data: Buffer.from('later') })
  await alice.client.artifact.share({ artifactId: later, withGroups: ['their-team'] })
  bob.aheadMs = ann.aheadMs
  await bob.start()
  await bob.network.ping(ann.id)
  await eventually(async () => expect((await shared(bob)).sort()).toEqual(['figures', 'later']))
  await eventually(async () => expect(await text(bob, artifactId)).toBe('of month 6'))
  expect(await text(bob, later)).toBe('later')
  for (const [at, id] of written.entries()) await eventually(async () => expect(await text(bob, id)).toBe(`${at + 1}`))
  expect(await bob.client.group.members({ group })).toHaveLength(2)
})

test('a removal reaches connected providers within five seconds: a proof from before gives nothing any more', async () => {
  await using agents = new LocalAgents()
  const { ann, bob, alice, group, artifactId } = await shareFromOutside(agents)
  const id = parseGroupId(group)
  const replica = await agents.start()
  const namespace = alice.namespace()
  await alice.client.namespace.grant({ agent: replica.client.did, role: 'replica' })
  await replica.client.namespace.join({ ticket: await alice.client.namespace.ticket(), name: 'hers' })
  await ann.network.ping(alice.id)
  const token = bob.replication.follows.followed()[0]?.capability.token as Uint8Array
  const { network, scheduler } = bob.env
  const asked = new Map(
    [alice, replica].map((provider) => {
      const proof = bob.groups.proveMember({ group: id, provider: provider.id })
      if (proof === undefined) throw new Error('he is in the group')
      return [provider, encodePresentation(token, proof)] as const
    }),
  )
  const ask = async (provider: LocalAgent) => {
    network.addAddresses(provider.id, provider.peer.addresses)
    const presentation = asked.get(provider)
    const about = { namespace: namespace.log.id, scope: { kind: 'auth' as const }, presentation }
    return await fetchGenesis({
      network,
      scheduler,
      agent: provider.id,
      signal: new AbortController().signal,
      ...about,
    })
  }
  for (const provider of [alice, replica]) await eventually(() => ask(provider))
  const since = performance.now()
  await ann.client.group.remove({ group, agents: ['bob'] })
  for (const provider of [alice, replica]) await eventually(() => failureOf(ask(provider), 'ACCESS_DENIED'))
  expect(performance.now() - since).toBeLessThan(5_000)
  await eventually(async () => expect(await shared(bob)).toEqual([]))
  const { details } = await failureOf(bob.client.artifact.download({ artifactId }), 'ACCESS_DENIED')
  expect(details.reason).toBe('GROUP_EPOCH')
})

test('who leaves a group is not brought what it was about to bring', async () => {
  await using agents = new LocalAgents()
  const { ann, bob, group } = await pair(agents)
  const { id } = await ann.client.namespace.create({ name: 'shared' })
  const namespace = parseNamespaceId(id)
  const { network, replication } = bob
  const open = network.open.bind(network)
  const goesOn = Promise.withResolvers<void>()
  // Its beginning is here, and the rest of it comes later.
  const openOrWait: typeof open = async (to, protocol, options) => {
    if (replication.namespaces.has(namespace)) await Promise.race([goesOn.promise, abortOf(options?.signal)])
    return await open(to, protocol, options)
  }
  Object.assign(network, { open: openOrWait })
  await ann.client.namespace.grant({ namespace: id, group, role: 'writer' })
  await eventually(() => expect(replication.namespaces.has(namespace)).toBe(true))
  await bob.client.group.leave({ group })
  goesOn.resolve()
  await eventually(() => expect(replication.joins.isJoining(namespace)).toBe(false))
  expect((await bob.client.namespace.list()).map(({ name }) => name)).toEqual(['personal'])
  expect(bob.groups.vouched.logs).toBe(0)
})
