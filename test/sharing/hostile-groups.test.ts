import { expect, test } from 'vitest'
import { startNetwork } from '../../node/network/index.ts'
import { deleteRecord, writeRecord } from '../../sdk/local/groups/group-records.ts'
import { capabilityName, decodeUnverifiedCapability, sealEnvelope, signCapability } from '../../src/capability/index.ts'
import { sealInline } from '../../src/content/index.ts'
import { encodeCanonical, equalBytes, formatGroupId, toHex } from '../../src/encoding/index.ts'
import { serveGroups } from '../../src/exchange/index.ts'
import { AgentKey } from '../../src/identity/index.ts'
import { maxFollowedNamespacesOfSender, maxRequestsByMember } from '../../src/limits.ts'
import { writeFirstVersion } from '../../src/namespace/index.ts'
import { failureOf } from '../client/contract-support.ts'
import { type LocalAgent, LocalAgents } from '../replication/agents.ts'
import { eventually } from '../replication/nodes.ts'

const shared = async ({ client }: LocalAgent) =>
  (await Array.fromAsync(client.artifact.listShared())).map(({ name }) => name)
const groupsOf = async ({ client }: LocalAgent) => (await client.group.list()).map(({ id }) => id)

async function knows(one: LocalAgent, name: string, other: LocalAgent): Promise<void> {
  await one.client.agent.add({ name, ticket: await other.client.agent.ticket() })
  await one.network.ping(other.id)
}

/** One more agent, who knows the group by the ticket that a member gives, and has an artifact to share with it. */
async function withFigures(agents: LocalAgents, { ann, group }: { ann: LocalAgent; group: string }) {
  const alice = await agents.start()
  await knows(ann, 'alice', alice)
  await alice.client.agent.add({ name: 'team', ticket: await ann.client.group.ticket({ group }) })
  const { id: artifactId } = await alice.client.artifact.create({ name: 'figures', data: Buffer.from('one') })
  return { alice, artifactId }
}

/** As a member that keeps no rules: a record of a share whose content is under a key that nobody else has. */
async function writeClosedRecord({ groups }: LocalAgent, group: string): Promise<void> {
  const { log, quota } = groups.replication.namespaces.findGroup(group)
  const salt = log.env.random(16)
  const artifact = log.artifactOf(salt)
  const [key, other] = [log.artifactKeys.fresh(artifact), log.artifactKeys.fresh(artifact)]
  const { leaf, sha256, ...root } = sealInline(encodeCanonical({ v: 1 }), other.content)
  await writeFirstVersion(log, {
    handle: { artifact, salt, key },
    wrap: undefined,
    isNew: true,
    state: { name: `share-${'0f'.repeat(16)}`, contentType: 'application/vnd.artifact-hub.share', metadata: {} },
    content: { root: { ...root, inline: true, keyId: other.id }, sha256, leaf },
    quota,
    reservation: undefined,
    also: [],
  })
}

test('a record that nobody can open keeps no member from what else is shared with the group', async () => {
  await using agents = new LocalAgents()
  const [ann, mallory, carol, alice] = [
    await agents.start(),
    await agents.start(),
    await agents.start(),
    await agents.start(),
  ]
  const { id: group } = await ann.client.group.create({ name: 'data-team' })
  for (const one of [mallory, carol]) await knows(one, 'ann', ann)
  for (const [name, one] of Object.entries({ mallory, carol, alice })) await knows(ann, name, one)
  await ann.client.group.add({ group, agents: ['mallory'] })
  await eventually(async () => expect(await groupsOf(mallory)).toEqual([group]))
  await alice.client.agent.add({ name: 'team', ticket: await ann.client.group.ticket({ group }) })
  const { id: artifactId } = await alice.client.artifact.create({ name: 'figures', data: Buffer.from('one') })
  await alice.client.artifact.share({ artifactId, withGroups: ['team'] })
  for (const one of [ann, mallory]) await eventually(async () => expect(await shared(one)).toEqual(['figures']))

  const before = ann.groups.replication.namespaces.findGroup(group).log.totals.entries
  await writeClosedRecord(mallory, group)
  await eventually(() =>
    expect(ann.groups.replication.namespaces.findGroup(group).log.totals.entries).toBeGreaterThan(before),
  )
  await ann.client.group.add({ group, agents: ['carol'] })
  await eventually(async () => expect(await shared(carol)).toEqual(['figures']))
})

test('a group that a contact adds this agent to does not take the place of another that it knows by that name', async () => {
  await using agents = new LocalAgents()
  const [ann, bob, mallory] = [await agents.start(), await agents.start(), await agents.start()]
  await ann.client.group.create({ name: 'data-team' })
  const theirs = await ann.client.group.ticket({ group: 'data-team' })
  await bob.client.agent.add({ name: 'data-team', ticket: theirs })
  const meant = bob.groups.resolve('data-team').group
  await knows(bob, 'mallory', mallory)
  await knows(mallory, 'bob', bob)
  await mallory.client.group.create({ name: 'data-team' })
  await mallory.client.group.add({ group: 'data-team', agents: ['bob'] })
  await eventually(async () => expect(await groupsOf(bob)).toHaveLength(1))
  const [brought] = bob.groups.replication.namespaces.groups
  await eventually(async () =>
    expect(await bob.client.group.members({ group: brought?.row.name ?? '' })).toHaveLength(2),
  )
  expect(bob.groups.resolve('data-team').group).toEqual(meant)
  const { id: artifactId } = await bob.client.artifact.create({ name: 'secret', data: Buffer.from('for ann’s') })
  const [share] = await bob.client.artifact.share({ artifactId, withGroups: ['data-team'] })
  expect(share?.with.id).toBe(formatGroupId(meant))
  await failureOf(mallory.client.artifact.get({ artifactId }), 'NOT_FOUND')

  // The other way round: nobody is to guess which.
  await mallory.client.group.create({ name: 'ml-team' })
  await mallory.client.group.add({ group: 'ml-team', agents: ['bob'] })
  const names = async () => (await bob.client.group.list()).map(({ name }) => name)
  await eventually(async () => expect(await names()).toContain('ml-team'))
  await bob.client.agent.add({ name: 'ml-team', ticket: theirs })
  await failureOf(bob.client.artifact.share({ artifactId, withGroups: ['ml-team'] }), 'CONFLICT')
})

/** Ann's group with Mallory, and Carol who is added later: she knows Ann, and Mallory by the group alone. */
async function infiltrated(agents: LocalAgents) {
  const [ann, mallory, carol] = [await agents.start(), await agents.start(), await agents.start()]
  const { id: group } = await ann.client.group.create({ name: 'data-team' })
  for (const one of [mallory, carol]) await knows(one, 'ann', ann)
  for (const [name, one] of Object.entries({ mallory, carol })) await knows(ann, name, one)
  await ann.client.group.add({ group, agents: ['mallory'] })
  await eventually(async () => expect(await groupsOf(mallory)).toEqual([group]))
  const inSync = async () => {
    const [here, there] = [ann, mallory].map(({ groups }) => groups.replication.namespaces.findGroup(group).log)
    await eventually(() =>
      expect(toHex(here?.held.vectorHash as Uint8Array)).toBe(toHex(there?.held.vectorHash as Uint8Array)),
    )
  }
  return { ann, mallory, carol, group, inSync }
}

const address = '/ip4/192.168.0.1/tcp/22'
const publicAddress = '/ip4/1.1.1.1/tcp/4001'

/** As a member that keeps no rules: a share of an invented agent, out of an invented namespace, in the group's log. */
async function writeInvented(
  { groups }: LocalAgent,
  group: string,
  number: number,
  { as, metadata = {} }: { as?: string; metadata?: Record<string, boolean> } = {},
): Promise<void> {
  const open = groups.replication.namespaces.findGroup(group)
  const seed = new Uint8Array(32).fill(7)
  new DataView(seed.buffer).setUint32(0, number + 1)
  const invented = new AgentKey(seed)
  const capability = signCapability(invented, {
    kind: 'share',
    issuer: invented.publicKey,
    grant: seed,
    namespace: seed,
    artifact: seed.slice(0, 20),
    audience: [{ kind: 'group', id: open.row.id }],
    notBefore: 0,
    expires: undefined,
    jti: seed.slice(0, 16),
    after: 0,
  })
  const said = { capability, name: `invented ${number}`, contentType: 'text/plain', sizeBytes: 1, message: undefined }
  const env = sealEnvelope(invented, said)
  const content = encodeCanonical({ v: 1, env, peers: [[seed, [address, publicAddress]]] })
  const name = as ?? `share-${toHex(capabilityName(capability.claims))}`
  await writeRecord(open, { name, contentType: 'application/vnd.artifact-hub.share', metadata, content })
}

test('what a member says that agents share whom nobody knows counts as its own, and it has nobody dial private addresses', async () => {
  await using agents = new LocalAgents()
  const { ann, mallory, carol, group, inSync } = await infiltrated(agents)
  for (let at = 0; at < maxFollowedNamespacesOfSender + 3; at++) await writeInvented(mallory, group, at)
  await inSync()
  await ann.client.group.add({ group, agents: ['carol'] })
  const { follows } = carol.groups.replication
  await eventually(() => expect(follows.counts.followed).toBe(maxFollowedNamespacesOfSender))
  await eventually(() => expect(carol.sharing.status.leftOut).toBe(3))
  expect(follows.counts.fullSenders).toEqual([toHex(mallory.id)])
  const named = follows.followed().flatMap(({ peers }) => peers.flatMap(({ addresses }) => addresses))
  expect(new Set(named)).toEqual(new Set([publicAddress]))

  // Remembered past a restart.
  await carol.stop()
  await carol.start()
  expect(carol.groups.replication.follows.counts.fullSenders).toEqual([toHex(mallory.id)])
})

test('what a member says that strangers share fills nobody’s inbox', async () => {
  await using agents = new LocalAgents()
  const { ann, mallory, carol, group, inSync } = await infiltrated(agents)
  for (let at = 0; at < maxRequestsByMember + 3; at++)
    await writeInvented(mallory, group, at, { metadata: { stranger: true } })
  await inSync()
  await ann.client.group.add({ group, agents: ['carol'] })
  await eventually(async () => expect(await carol.client.inbox.list()).toHaveLength(maxRequestsByMember))
})

test('what members write time and again costs no more than it takes to look at some of it', async () => {
  await using agents = new LocalAgents()
  const { client, groups } = await agents.start()
  const { id: group } = await client.group.create({ name: 'data-team' })
  const open = groups.replication.namespaces.findGroup(group)
  let looks = 0
  const { artifactKeys } = open.log
  const openKey = artifactKeys.open
  artifactKeys.open = (...of) => {
    looks += 1
    return openKey.apply(artifactKeys, of)
  }
  const count = 200
  for (let at = 0; at < count; at++) {
    const name = `share-${at.toString(16).padStart(32, '0')}`
    const [contentType, content] = ['application/vnd.artifact-hub.share', encodeCanonical({ v: 1 })]
    await writeRecord(open, { name, contentType, metadata: {}, content })
  }
  await eventually(() => expect(looks).toBeGreaterThanOrEqual(count))
  // All of it at each would be some 20,000.
  expect(looks).toBeLessThan(5_000)
})

test('a record that has a share’s name and holds something else keeps it from nobody', async () => {
  await using agents = new LocalAgents()
  const { ann, mallory, carol, group, inSync } = await infiltrated(agents)
  const { alice, artifactId } = await withFigures(agents, { ann, group })
  // Mallory hears of it before anybody is told.
  const { claims } = decodeUnverifiedCapability(await alice.share(artifactId, 'team'))
  const name = `share-${toHex(capabilityName(claims))}`
  const open = mallory.groups.replication.namespaces.findGroup(group)
  const contentType = 'application/vnd.artifact-hub.share'
  await writeRecord(open, { name, contentType, metadata: {}, content: encodeCanonical({ v: 1 }) })
  await writeInvented(mallory, group, 1, { as: name })
  await inSync()
  await alice.client.artifact.share({ artifactId, withGroups: ['team'] })
  await eventually(async () => expect(await shared(ann)).toEqual(['figures']))
  await ann.client.group.add({ group, agents: ['carol'] })
  await eventually(async () => expect(await shared(carol)).toEqual(['figures']))
})

test('what a member takes out of the group’s log comes to those who join later once it is shared again', async () => {
  await using agents = new LocalAgents()
  const { ann, mallory, carol, group, inSync } = await infiltrated(agents)
  const { alice, artifactId } = await withFigures(agents, { ann, group })
  const share = async () => await alice.client.artifact.share({ artifactId, withGroups: ['team'] })
  const told = async () => (await alice.client.artifact.access({ artifactId })).at(-1)?.told
  const [first] = await share()
  await eventually(async () => expect(await shared(ann)).toEqual(['figures']))
  await eventually(async () => expect(await told()).toBe('taken'))
  const open = mallory.groups.replication.namespaces.findGroup(group)
  const records = async () => (await open.log.catalog.list({ contentType: 'application/vnd.artifact-hub.share' })).items
  await eventually(async () => expect(await records()).toHaveLength(1))
  for (const record of await records()) await deleteRecord(open, record)
  await inSync()
  expect((await share())[0]?.id).toBe(first?.id)
  await eventually(async () => expect(await records()).toHaveLength(1))
  await ann.client.group.add({ group, agents: ['carol'] })
  await eventually(async () => expect(await shared(carol)).toEqual(['figures']))
  expect(await told()).toBe('taken')
})

test('who was removed from a group has nothing sealed to what it last knew by being the first to answer', async () => {
  await using agents = new LocalAgents()
  const [ann, bob, alice] = [await agents.start(), await agents.start(), await agents.start()]
  const { id: group } = await ann.client.group.create({ name: 'data-team' })
  await knows(bob, 'ann', ann)
  await knows(ann, 'bob', bob)
  await ann.client.group.add({ group, agents: ['bob'] })
  await eventually(async () => expect(await groupsOf(bob)).toEqual([group]))
  const own = bob.groups.replication.namespaces.findGroup(group)
  await eventually(() => expect(bob.groups.epochOf(own.row.id)).toBeDefined())
  const stale = (await own.log.descriptors.own()) ?? expect.fail('it has an epoch')
  const known = bob.groups.epochOf(own.row.id)
  await alice.client.agent.add({ name: 'team', ticket: await bob.client.group.ticket({ group }) })
  await bob.stop()
  await ann.client.group.remove({ group, agents: ['bob'] })

  // In his place something that goes on saying what he knew, and is done before the owner has said a word.
  const answered = Promise.withResolvers<void>()
  const { scheduler } = alice.env
  await using network = await startNetwork({
    ...{ agent: bob.key, mode: 'lan' as const, listen: ['/ip4/127.0.0.1/tcp/0'] },
    ...{ now: Date.now, monotonic: () => performance.now(), random: alice.env.random },
  })
  await using _ = serveGroups({ network, scheduler, shown: async () => stale, told: async () => {} })
  const { network: hers } = alice
  const open = hers.open.bind(hers)
  hers.open = async (agent, protocol, options) => {
    if (protocol !== '/artifact-hub/group/1') return await open(agent, protocol, options)
    if (equalBytes(agent, ann.id)) {
      await answered.promise
      return await open(agent, protocol, options)
    }
    const stream = await open(agent, protocol, options)
    const close = stream.close.bind(stream)
    stream.close = async () => {
      answered.resolve()
      await close()
    }
    return stream
  }
  hers.addAddresses(bob.id, network.addresses())
  await hers.ping(bob.id)
  await hers.ping(ann.id)
  const { id: artifactId } = await alice.client.artifact.create({ name: 'secret', data: Buffer.from('not for bob') })
  await alice.client.artifact.share({ artifactId, withGroups: ['team'] })
  const sealed = alice.namespace().log.descriptors.newest(own.row.id)?.epoch
  expect(sealed).toBeDefined()
  expect(sealed).not.toEqual(known)
})
